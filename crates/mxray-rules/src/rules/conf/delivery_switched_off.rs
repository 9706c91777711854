//! CONF101: a switch in the mail server's configuration keeps mail from being accepted or delivered.

mod exim;
mod lacking;
mod refused;

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Server, Setting, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "CONF101",
    name: "delivery-switched-off",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "defer_transports, a hold for all mail, a disabled service or a stopped instance",
    page: include_str!("delivery_switched_off.md"),
    check,
};

/// One switch that is off.
struct Switch<'a> {
    parameter: &'static str,
    /// The service that overrides the parameter; `None`: it stands in main.cf.
    service: Option<&'a WantedListener>,
    effect: String,
    severity: Severity,
    /// The value that ends it.
    wanted: String,
    /// Ports that it takes away.
    ports: Vec<u16>,
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in servers {
        if !server.enabled && server.software == "exim" {
            exim::not_started(evidence, instance, server, &mut judgement);
            continue;
        }
        if !server.enabled && view::is_dovecot(server) {
            judgement.find(disabled_unit(instance, server));
            continue;
        }
        if !server.enabled && server.software == "postfix" {
            judgement.find(disabled_instance(evidence, instance, server));
            continue;
        }
        if server.software == "exim" {
            exim::switched_off(evidence, instance, server, &mut judgement);
        }
        if let Some(setting) = server.settings.get("match reject") {
            judgement.find(all_rejected(evidence, instance, server, setting));
        }
        if server.software != "postfix" {
            continue;
        }
        let mut switches = Vec::new();
        switches.extend(deferred(server));
        switches.extend(disabled_services(evidence, server));
        switches.extend(DELIVERY_PARAMETERS.iter().filter_map(|(name, default)| dead_transport(server, name, default)));
        switches.extend(LISTS.iter().filter_map(|list| held_or_refused(server, list)));
        switches.extend(LISTS.iter().filter_map(|list| strangers_refused(evidence, server, list)));
        switches.extend(without_names(server));
        switches.extend(tried_once(server));
        refused::parts(evidence, instance, server, &mut judgement);
        lacking::services(evidence, instance, server, &mut judgement);
        if switches.is_empty() && server.refused.is_empty() {
            judgement.well(format!(
                "{instance}: no parameter switches delivery off or holds all mail (tables in files are not read)"
            ));
        }
        for switch in switches {
            judgement.find(finding(instance, server, &switch, &Words::new(evidence, server)));
        }
    }
    Ok(judgement)
}

/// With their defaults (postconf(5)).
const DELIVERY_PARAMETERS: [(&str, &str); 5] = [
    ("default_transport", "smtp"),
    ("relay_transport", "relay"),
    ("local_transport", "local:$myhostname"),
    ("virtual_transport", "virtual"),
    ("mailbox_transport", ""),
];

const LISTS: [&str; 8] = [
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "header_checks",
];

/// OpenSMTPD goes by the first rule that matches (smtpd.conf(5)): behind one that rejects everybody all others are dead.
fn all_rejected(evidence: &Evidence, instance: &str, server: &Server, setting: &Setting) -> Finding {
    let words = Words::new(evidence, server);
    let file = setting.at.as_ref().map_or_else(|| server.config_dir.clone(), |at| at.file.clone());
    let mut finding = RULE
        .finding(
            Subject::service(format!("{instance} match")),
            format!(
                "The first rule of {file} rejects all that comes from other hosts; no rule behind it is ever asked."
            ),
        )
        .confidence(0.95)
        .because(
            setting.value.clone(),
            setting.at.as_ref().map_or_else(|| file.clone(), ToString::to_string),
            view::server_pointer(instance, &["settings", "match reject"]),
        )
        .data("parameter", "match")
        .data("value", setting.value.clone())
        .touches(Subject::service(instance))
        .touches(Subject::service(format!("{instance} delivery")))
        .fix(
            Fix::here("Put it behind all others, or take it out: what no rule takes is rejected anyway.")
                .config(file, setting.at.as_ref().map(|at| at.line), format!("# {}", setting.value))
                .command(words.check())
                .verify(words.check()),
        )
        .fix(Fix::here("Then start the server anew.").command(words.restart()))
        .reference("smtpd.conf(5), match");
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}

/// An instance may be disabled on purpose: retired, or not set up yet. Not so one that is there to receive mail, while
/// nobody listens on a port of it.
fn disabled_instance(evidence: &Evidence, instance: &str, server: &Server) -> Finding {
    let name = shell_word(instance);
    let unserved = unserved(evidence, server);
    let missed = unserved.filter(|_| view::receives_mail(evidence, server).is_some());
    let (severity, effect) = match missed {
        Some(wanted) => (Severity::Critical, format!(", and nobody else listens on port {}", wanted.port)),
        None => (Severity::Notice, String::new()),
    };
    RULE.finding_as(
        severity,
        Subject::service(instance),
        format!("The instance {instance} is disabled{effect}: it is not started with the others."),
    )
    .confidence(if missed.is_some() { 0.8 } else { 0.9 })
    .because(
        "multi_instance_enable is not yes.",
        format!("{}/main.cf", server.config_dir),
        view::server_pointer(instance, &["enabled"]),
    )
    .data("parameter", "multi_instance_enable")
    .data("value", "no")
    .fix(
        Fix::here("If it should run, enable and start it.")
            .command(format!("postmulti -i {name} -e enable"))
            .command(format!("postmulti -i {name} -p start"))
            .undo(format!("postmulti -i {name} -p stop; postmulti -i {name} -e disable"))
            .verify(format!("postmulti -i {name} -p status")),
    )
    .reference("postmulti(1)")
}

/// A server that systemd would not start with the machine: retired, or not wanted yet. What depends on it says so itself.
fn disabled_unit(instance: &str, server: &Server) -> Finding {
    let unit = shell_word(&server.software);
    RULE.finding_as(
        Severity::Notice,
        Subject::service(instance),
        format!("{instance} is installed and does not run: its unit is not started with the machine."),
    )
    .confidence(0.9)
    .because(
        "No unit that the machine starts wants it.",
        "/etc/systemd/system",
        view::server_pointer(instance, &["enabled"]),
    )
    .data("parameter", "unit")
    .data("value", "disabled")
    .fix(
        Fix::here("If it should run, enable and start it.")
            .command(format!("systemctl unmask {unit}"))
            .command(format!("systemctl enable --now {unit}"))
            .undo(format!("systemctl disable --now {unit}"))
            .verify(format!("systemctl status {unit}")),
    )
    .reference("systemctl(1)")
}

/// A public service of its, on whose port nobody listens.
fn unserved<'a>(evidence: &Evidence, server: &'a Server) -> Option<&'a WantedListener> {
    server.wanted.values().filter(|wanted| !wanted.is_loopback_only()).find(|wanted| {
        let sockets = evidence.sockets.value();
        sockets.is_some_and(|sockets| view::listeners_on(sockets, wanted.port).is_empty())
    })
}

/// The transports that mail of this server can take: by the parameters that name them, or these parameters' defaults.
fn transports_in_use(server: &Server) -> Vec<&str> {
    let value = |(parameter, default): &(&str, &'static str)| match server.settings.get(*parameter) {
        Some(setting) => view::transport_name(&setting.value),
        None => view::transport_name(default),
    };
    DELIVERY_PARAMETERS.iter().map(value).filter(|name| !name.is_empty()).collect()
}

fn deferred(server: &Server) -> Option<Switch<'static>> {
    let value = server.setting("defer_transports");
    let entries = view::list(value);
    if entries.is_empty() {
        return None;
    }
    let in_use = transports_in_use(server);
    let used = entries.iter().any(|entry| in_use.contains(entry));
    // Tables may lead there, too, and a filter.
    let perhaps = ["transport_maps", "sender_dependent_default_transport_maps", "content_filter"]
        .iter()
        .any(|name| !server.setting(name).trim().is_empty());
    Some(Switch {
        parameter: "defer_transports",
        service: None,
        effect: format!("mail for the transport {} waits in the queue until somebody flushes it", entries.join(", ")),
        severity: match (used, perhaps) {
            (true, _) => Severity::Critical,
            (false, true) => Severity::Warning,
            (false, false) => Severity::Notice,
        },
        wanted: String::new(),
        ports: Vec::new(),
    })
}

fn disabled_services(evidence: &Evidence, server: &Server) -> Option<Switch<'static>> {
    const SERVICES: [(&str, u16); 7] = [
        ("smtp", 25),
        ("25", 25),
        ("submission", 587),
        ("587", 587),
        ("submissions", 465),
        ("smtps", 465),
        ("465", 465),
    ];
    let disabled = SERVICES.iter().filter(|(name, _)| view::is_disabled(server, name));
    let mut ports: Vec<u16> = disabled.map(|(_, port)| *port).collect();
    ports.dedup();
    if ports.is_empty() {
        return None;
    }
    let receives = ports.contains(&25) && view::receives_mail(evidence, server).is_some();
    let submits = ports.iter().any(|port| *port != 25) && view::logins_sign(server).is_some();
    // This is how the null client of a host with several instances is told to listen nowhere (postmulti -e create).
    let sends_only = server.set_at("relayhost").is_some() || server.setting("mydestination").trim().is_empty();
    Some(Switch {
        parameter: "master_service_disable",
        service: None,
        effect: format!("no service on port {} is opened, whatever master.cf says", join(&ports)),
        severity: match (receives || submits, sends_only) {
            (true, _) => Severity::Critical,
            (false, true) => Severity::Notice,
            (false, false) => Severity::Warning,
        },
        wanted: String::new(),
        ports,
    })
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn dead_transport(server: &Server, parameter: &'static str, default: &str) -> Option<Switch<'static>> {
    let name = view::transport_name(server.setting(parameter));
    let set = server.set_at(parameter).is_some();
    // A domain that is taken in only to be returned; tables of transports may send each of its addresses elsewhere.
    let takes = parameter == "virtual_transport" && !server.setting("virtual_mailbox_domains").trim().is_empty();
    let all = server.setting("transport_maps").trim().is_empty();
    let (effect, severity) = match name {
        "error" if takes && all => ("mail to its virtual mailboxes is refused or returned", Severity::Critical),
        "error" if takes => (
            "mail to its virtual mailboxes is refused or returned, but for those that transport_maps names",
            Severity::Warning,
        ),
        "retry" => ("mail stays in the queue", Severity::Critical),
        "discard" => ("mail is thrown away, and its sender is told that it was delivered", Severity::Critical),
        // Debian's "local only" sets this on purpose; mail to others is then refused as unroutable.
        "error" => ("mail is returned to its sender", Severity::Notice),
        _ => return None,
    };
    // local_transport = error: is how a null client says that it has no local users.
    if !set || (name == "error" && parameter == "local_transport") {
        return None;
    }
    Some(Switch {
        parameter,
        service: None,
        effect: effect.to_owned(),
        severity,
        wanted: default.to_owned(),
        ports: Vec::new(),
    })
}

/// A list that treats everybody alike, in main.cf or in a service that the public reaches and that has its own.
fn held_or_refused<'a>(server: &'a Server, parameter: &'static str) -> Option<Switch<'a>> {
    // Headers are looked at by cleanup, whichever service took the mail.
    if parameter == "header_checks" {
        return switched_list(parameter, server.setting(parameter), None)
            .filter(|_| server.set_at(parameter).is_some());
    }
    let public = || server.wanted.values().filter(|w| view::is_public_smtp(w) && !w.is_loopback_only());
    let own = public().find_map(|wanted| switched_list(parameter, wanted.overrides.get(parameter)?, Some(wanted)));
    let used = server.set_at(parameter).is_some() && public().any(|wanted| !wanted.overrides.contains_key(parameter));
    let common = used.then(|| switched_list(parameter, server.setting(parameter), None)).flatten();
    common.or(own)
}

/// Its first word decides, or a table with one answer for all, and it decides against the mail.
fn switched_list<'a>(parameter: &'static str, value: &str, service: Option<&'a WantedListener>) -> Option<Switch<'a>> {
    let entries = view::list(value);
    let holds = entries.iter().any(|entry| holds_all(entry));
    let first = entries.first().map(|entry| entry.to_ascii_lowercase());
    // A service without mail from outside is closed like this on purpose; only main.cf's list closes all of them.
    let effect = match first.as_deref().filter(|_| parameter != "header_checks" && service.is_none()) {
        _ if holds => "every message is put on hold: it stays in the hold queue until an admin releases it",
        Some("reject") => "every client is refused",
        Some("defer") => "every client is told to try again later",
        _ => return None,
    };
    Some(Switch {
        parameter,
        service,
        effect: effect.to_owned(),
        severity: Severity::Critical,
        wanted: without_switch(&entries, holds).join(", "),
        ports: Vec::new(),
    })
}

/// A list that lets own programs through and ends everybody else, on a server that is the final destination of mail. What
/// stands behind a filter or a gateway has that host in mynetworks.
fn strangers_refused<'a>(evidence: &Evidence, server: &'a Server, parameter: &'static str) -> Option<Switch<'a>> {
    const OWN: [&str; 4] =
        ["permit_mynetworks", "permit_sasl_authenticated", "permit_inet_interfaces", "permit_tls_clientcerts"];
    let at_rcpt = ["smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions"];
    if !at_rcpt.contains(&parameter) && parameter != "smtpd_recipient_restrictions"
        || server.set_at(parameter).is_none()
    {
        return None;
    }
    let mut public =
        server.wanted.values().filter(|w| w.port == 25 && view::is_public_smtp(w) && !w.is_loopback_only());
    let is_used = public.any(|wanted| !wanted.overrides.contains_key(parameter) && wanted.command == "smtpd");
    let entries = view::list(server.setting(parameter));
    let end = entries.iter().position(|entry| !OWN.contains(entry))?;
    let word = entries.get(end)?.to_ascii_lowercase();
    if end == 0 || !is_used || !matches!(word.as_str(), "reject" | "defer") {
        return None;
    }
    view::receives_mail(evidence, server)?;
    let only_own = view::list(server.setting("mynetworks"))
        .iter()
        .all(|network| view::prefix(network).is_some_and(|prefix| prefix.address.to_canonical().is_loopback()));
    Some(Switch {
        parameter,
        service: None,
        effect: format!(
            "every client but those of mynetworks and users with a login is turned away ({word}), also on port 25"
        ),
        severity: if only_own { Severity::Critical } else { Severity::Notice },
        wanted: entries
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != end)
            .map(|(_, entry)| *entry)
            .collect::<Vec<_>>()
            .join(", "),
        ports: Vec::new(),
    })
}

/// With a lifetime of nothing a message is tried once (postconf(5)): whoever greylists it (RFC 6647), or is away for a minute, gets
/// none of it. RFC 5321 section 4.5.4.1 speaks of four to five days.
fn tried_once(server: &Server) -> Option<Switch<'static>> {
    const HOUR: u64 = 3_600;
    let value = server.setting("maximal_queue_lifetime").trim();
    let seconds = seconds(value)?;
    (server.set_at("maximal_queue_lifetime").is_some() && seconds < HOUR && server.egress.sends).then(|| Switch {
        parameter: "maximal_queue_lifetime",
        service: None,
        effect: if seconds == 0 {
            "every message is tried once: what a receiver puts off is returned to its sender at once".to_owned()
        } else {
            format!("what a receiver puts off for longer than {value} is returned to its sender")
        },
        severity: Severity::Warning,
        wanted: "5d".to_owned(),
        ports: Vec::new(),
    })
}

/// A time of this parameter; without a unit it is days (postconf(5)).
fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match value.get(digits.len()..)? {
        "" | "d" => 86_400,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "w" => 604_800,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Without DNS no mail exchanger is found; all that goes to other hosts has to go to a relay host.
fn without_names(server: &Server) -> Option<Switch<'static>> {
    let by_switch = server.setting("disable_dns_lookups").eq_ignore_ascii_case("yes");
    let by_level = server.setting("smtp_dns_support_level").eq_ignore_ascii_case("disabled");
    let direct = server.egress.sends
        && !view::has_relayhost(server)
        && view::transport_name(server.setting("default_transport")) == "smtp"
        && server.setting("sender_dependent_relayhost_maps").is_empty();
    let (parameter, wanted) = match (by_level, by_switch) {
        (true, _) => ("smtp_dns_support_level", "enabled"),
        (false, true) => ("disable_dns_lookups", "no"),
        (false, false) => return None,
    };
    (direct && server.set_at(parameter).is_some()).then(|| Switch {
        parameter,
        service: None,
        effect: "the mail exchangers of other domains are never looked up: mail to domains without an address of their own is returned".to_owned(),
        severity: Severity::Critical,
        wanted: wanted.to_owned(),
        ports: Vec::new(),
    })
}

fn holds_all(entry: &str) -> bool {
    view::answer_to_all(entry).as_deref() == Some("hold")
}

/// The list as it was before somebody put the switch into it.
fn without_switch<'a>(entries: &[&'a str], holds: bool) -> Vec<&'a str> {
    if !holds {
        return entries.iter().skip(1).copied().collect();
    }
    let mut kept: Vec<&str> = Vec::new();
    for entry in entries {
        if !holds_all(entry) {
            kept.push(entry);
        } else if kept.last().is_some_and(|word| word.starts_with("check_") && word.ends_with("_access")) {
            kept.pop();
        }
    }
    kept
}

const STEP: &str = "Switch it on again.";

fn finding(instance: &str, server: &Server, switch: &Switch<'_>, words: &Words<'_>) -> Finding {
    let parameter = switch.parameter;
    let (value, source, pointer, mut steps) = match switch.service {
        Some(wanted) => (
            server.setting_of(wanted, parameter),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", &format!("{}/inet", wanted.service), "overrides", parameter]),
            words.override_fix(STEP, wanted, parameter, &switch.wanted),
        ),
        None => (
            server.setting(parameter),
            server.set_at(parameter).map_or_else(|| words.main_cf(), ToString::to_string),
            view::server_pointer(instance, &["settings", parameter]),
            words.setting_fix(STEP, parameter, &switch.wanted),
        ),
    };
    if !switch.ports.is_empty() {
        steps = steps.verify(switch.ports.first().map_or_else(String::new, |port| view::look_again(*port)));
    }
    let mut finding = RULE
        .finding_as(
            switch.severity,
            Subject::service(format!("{instance} {parameter}")),
            format!("{instance}: {parameter} = {value}: {}.", switch.effect),
        )
        .confidence(0.95)
        .touches(Subject::service(format!("{instance} delivery")))
        .because(format!("{parameter} = {value}"), source, pointer)
        .data("parameter", parameter)
        .data("value", value)
        .fix(steps)
        .fix(release(words, switch))
        .reference(format!("postconf(5), {parameter}"));
    for port in &switch.ports {
        finding = finding.touches(view::port_scope(*port));
    }
    finding
}

/// What must happen to the mail that piled up.
fn release(words: &Words<'_>, switch: &Switch<'_>) -> Fix {
    let fix = Fix::here("Let the running server read it, then move what waits.").command(words.reload());
    if switch.effect.contains("hold queue") {
        fix.command("postsuper -H ALL").verify("postqueue -p")
    } else {
        fix.command("postqueue -f").verify("postqueue -p")
    }
}
