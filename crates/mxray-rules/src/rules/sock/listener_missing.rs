//! SOCK101: a mail service that is configured or expected has no listener.

use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Purpose, Server, Sockets, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SOCK101",
    name: "listener-missing",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a mail service that is configured, declared or expected has no listener",
    page: include_str!("listener_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        cut_off(evidence, instance, server).into_iter().for_each(|finding| judgement.find(finding));
    }
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        let words = Words::new(evidence, server);
        for (key, wanted) in &server.wanted {
            let missing = missing_addresses(sockets, wanted);
            if missing.is_empty() {
                if !wanted.addresses.is_empty() {
                    judgement.well(format!("{} listens", view::service_text(wanted)));
                }
                continue;
            }
            let elsewhere = !view::listeners_on(sockets, wanted.port).is_empty();
            judgement.find(configured(instance, server, (key, wanted), &missing, elsewhere, &words));
        }
        match expected(evidence, instance, server, sockets, &words) {
            Expected::Found(finding) => judgement.find(*finding),
            Expected::Open(why) => judgement.blind(&RULE, &Blind::NotAttempted { why }),
            Expected::No => {}
        }
    }
    Ok(judgement)
}

/// The addresses on which a connection would find nobody. For a service on all addresses it is enough that one family
/// is served: which families must be is another rule's question (SOCK113).
fn missing_addresses(sockets: &Sockets, wanted: &WantedListener) -> Vec<IpAddr> {
    let (any, named): (Vec<IpAddr>, Vec<IpAddr>) = wanted.addresses.iter().partition(|a| a.is_unspecified());
    let listeners = view::listeners_on(sockets, wanted.port);
    // A listener of a family that is not asked for serves none of them.
    if any.iter().any(|address| listeners.iter().any(|(_, listener)| view::overlaps(*address, listener))) {
        return Vec::new();
    }
    let unserved = named.into_iter().filter(|a| !listeners.iter().any(|(_, l)| l.covers(*a)));
    unserved.chain(any).collect()
}

fn configured(
    instance: &str,
    server: &Server,
    (key, wanted): (&str, &WantedListener),
    missing: &[IpAddr],
    elsewhere: bool,
    words: &Words<'_>,
) -> Finding {
    let addresses: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let severity = if wanted.purpose == Purpose::Other { Severity::Error } else { Severity::Critical };
    let running = server.master.value().is_some();
    let step = match &server.master {
        Seen::Value(_) if elsewhere => {
            words.listen_anew("Restart the server: it listens on other addresses, and a reload does not change these.")
        }
        Seen::Value(_) => {
            Fix::here("Make the running server open what its configuration asks for; a reload opens new services.")
                .command(words.reload())
        }
        Seen::Absent => Fix::here("Start the mail server.").command(words.check()).command(words.start()),
        Seen::Unknown(_) => Fix::here("Start the mail server, or let it open the service if it runs.")
            .command(words.check())
            .command(words.start())
            .command(words.reload()),
    };
    RULE.finding_as(
        severity,
        view::endpoint(missing, wanted.port),
        format!("Nothing listens for {}, which {} asks for.", view::service_text(wanted), wanted.at),
    )
    .confidence(if running { 0.95 } else { 0.9 })
    .touches(Subject::service(instance))
    .touches(view::port_scope(wanted.port))
    .because(
        format!("The service {} ({}) is configured on port {}.", wanted.service, wanted.command, wanted.port),
        wanted.at.to_string(),
        view::server_pointer(instance, &["wanted", key]),
    )
    .because(
        format!("No TCP socket listens on port {} of {}.", wanted.port, addresses.join(", ")),
        "sock_diag",
        view::pointer(["sockets", "value", "listeners"]),
    )
    .data("port", wanted.port)
    .data("service", wanted.service.clone())
    .data("addresses", addresses)
    .data("expected_from", "configuration")
    .fix(step.verify(view::look_again(wanted.port)))
    .reference(words.manual())
}

/// A server that others are to reach, in a network namespace that has no interface but loopback: what it listens on
/// there, nobody finds. What asks for loopback alone is well served by that.
fn cut_off(evidence: &Evidence, instance: &str, server: &Server) -> Option<Finding> {
    let (key, _) = place::cut_off(evidence, instance, server)?;
    // A socket that the service manager opened here and handed in is reached all the same.
    let served_here = |wanted: &WantedListener| {
        evidence.sockets.value().is_some_and(|sockets| !view::listeners_of(sockets, wanted).is_empty())
    };
    let unreached: Vec<&WantedListener> = server
        .wanted
        .values()
        .filter(|wanted| view::is_public_smtp(wanted) && !wanted.is_loopback_only() && !served_here(wanted))
        .collect();
    let first = unreached.iter().find(|wanted| wanted.purpose == Purpose::Relay).or_else(|| unreached.first())?;
    let words = Words::new(evidence, server);
    let services: Vec<String> = unreached.iter().map(|wanted| view::service_text(wanted)).collect();
    let mut finding = RULE
        .finding(
            view::port_scope(first.port),
            format!(
                "{instance} runs in a network namespace without any interface but loopback: nobody reaches {}.",
                services.join(", ")
            ),
        )
        .confidence(0.95)
        .touches(Subject::service(instance))
        .because(
            format!("The namespace of its first process ({key}) has the interface lo and no other."),
            format!("/proc/{}/net/dev", server.master.value().map_or(0, |master| master.pid)),
            view::pointer(["namespaces", "value", "others", key, "interfaces"]),
        )
        .data("port", first.port)
        .data("service", first.service.clone())
        .data("addresses", Vec::<String>::new())
        .data("expected_from", "configuration")
        .data("namespace", key)
        .reference("systemd.exec(5), PrivateNetwork=")
        .reference("network_namespaces(7)");
    for wanted in unreached.iter().filter(|wanted| wanted.port != first.port) {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    Some(match place::private_network(evidence, server) {
        Some((unit, setting)) => {
            let at = setting.at.as_ref();
            let source = at.map_or_else(|| unit.to_owned(), ToString::to_string);
            finding
                .because(
                    format!("PrivateNetwork={} of {unit} takes the network away.", setting.value),
                    source,
                    view::pointer(["units", "value", "services", unit, "value", "settings", "PrivateNetwork"]),
                )
                .fix(
                    Fix::here("Take PrivateNetwork= out of the unit, and restart the service.")
                        .config(at.map_or_else(String::new, |at| at.file.clone()), at.map(|at| at.line), "PrivateNetwork=no")
                        .command("systemctl daemon-reload")
                        .command(words.restart())
                        .verify(view::look_again(first.port)),
                )
        }
        None => finding.fix(
            Fix::here("Start it in the namespace that has the addresses: find what starts it, and take the namespace out there.")
                .command(format!("mxray --netns {} sockets --listening --pids", shell_word(key)))
                .command(words.restart())
                .verify(view::look_again(first.port)),
        ),
    })
}

/// Is mail from outside expected, where nothing takes it?
enum Expected {
    Found(Box<Finding>),
    /// Something speaks for it, not enough to accuse the host.
    Open(String),
    No,
}

/// Port 25 on a host that clearly receives mail, where the configuration has no such service at all.
///
/// Mail may come in by another way (LMTP from a gateway, another port, another process): all of these must be missing too.
fn expected(evidence: &Evidence, instance: &str, server: &Server, sockets: &Sockets, words: &Words<'_>) -> Expected {
    const WAYS_IN: [u16; 2] = [25, 24];
    let Some(domains) = view::serves_domains(server).or_else(|| view::names_domain(server)) else {
        return Expected::No;
    };
    let takes_mail = |w: &WantedListener| {
        w.purpose == Purpose::Relay
            || (!w.is_loopback_only() && !matches!(w.purpose, Purpose::Submission | Purpose::Submissions))
    };
    let mailboxes_here = view::mailbox_port(evidence).is_some();
    let way_in =
        server.wanted.values().any(takes_mail) || WAYS_IN.iter().any(|p| !view::listeners_on(sockets, *p).is_empty());
    let disabled = view::is_disabled(server, "smtp");
    if way_in || disabled || server.master.value().is_none() {
        return Expected::No;
    }
    // Such a host may have its mail fetched, or handed over by whoever it sends through.
    if !mailboxes_here || view::has_relayhost(server) {
        return Expected::Open(format!(
            "{instance} takes no mail from other hosts, and {domains}: whether it should stands in the domain's MX records, which are not looked up"
        ));
    }
    Expected::Found(Box::new(without_way_in(instance, server, domains, words)))
}

fn without_way_in(instance: &str, server: &Server, domains: String, words: &Words<'_>) -> Finding {
    let is_postfix = server.software == "postfix";
    let at = server.settings.get("mydestination").and_then(|s| s.at.clone());
    let (services_in, manual) = if is_postfix { (words.master_cf(), "master(5)") } else { words.listeners_in() };
    let source = at.map_or_else(|| words.listeners_in().0, |at| at.to_string());
    let finding = RULE
        .finding(
            view::port_scope(25),
            format!("Nothing listens on port 25, although this server is the final destination of mail ({domains})."),
        )
        .confidence(0.7)
        .touches(Subject::service(instance))
        .because(
            domains.clone(),
            source,
            view::server_pointer(instance, &[if is_postfix { "settings" } else { "domains" }]),
        )
        .because(
            format!("{services_in} has no enabled service that takes mail from other servers."),
            services_in.clone(),
            view::server_pointer(instance, &["wanted"]),
        )
        .because(
            "No TCP socket listens on port 25 or 24.",
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        )
        .data("port", 25)
        .data("service", "smtp")
        .data("addresses", Vec::<String>::new())
        .data("expected_from", domains)
        .reference(manual);
    if !is_postfix {
        return finding.fix(
            Fix::here("Let it listen on port 25, then restart it.")
                .config(services_in, None, words.listen_line(25))
                .command(words.restart())
                .verify(view::look_again(25)),
        );
    }
    finding.fix(
        Fix::here("Enable the SMTP service, then let the server open it.")
            .command(words.set_service_line("smtp/inet", "smtp inet n - y - - smtpd"))
            .command(words.reload())
            .config(words.master_cf(), None, "smtp      inet  n       -       y       -       -       smtpd")
            .undo(words.remove_service("smtp/inet"))
            .verify(view::look_again(25)),
    )
}
