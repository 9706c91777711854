//! SOCK114: a local service that the mail server depends on does not answer.

use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{AcceptQueue, Helper, HelperKind, HelperState, Server, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;

mod closed;
mod dovecot;
mod unlinked;

pub const RULE: Rule = Rule {
    code: "SOCK114",
    name: "helper-service-down",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a local service that the mail server depends on does not answer",
    page: include_str!("helper_service_down.md"),
    check,
};

/// Words in an endpoint's name, and the unit that usually provides it.
const USUAL_PROVIDERS: [(&str, &str); 21] = [
    ("mysqld", "mariadb"),
    (":3306", "mariadb"),
    ("PGSQL", "postgresql"),
    (":5432", "postgresql"),
    ("postgrey", "postgrey"),
    (":10023", "postgrey"),
    ("postsrsd", "postsrsd"),
    (":10001", "postsrsd"),
    (":10002", "postsrsd"),
    ("opendkim", "opendkim"),
    ("opendmarc", "opendmarc"),
    ("rspamd", "rspamd"),
    (":11332", "rspamd"),
    (":8891", "opendkim"),
    (":8893", "opendmarc"),
    ("dovecot", "dovecot"),
    ("private/auth", "dovecot"),
    ("spamass", "spamass-milter"),
    ("clamav", "clamav-milter"),
    (":10024", "amavis"),
    ("saslauthd", "saslauthd"),
];

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let systemd = evidence.vantage.service_manager == Seen::Value("systemd".to_owned());
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        unlinked::sockets(evidence, instance, server, &mut judgement);
        // Two parameters may name one endpoint: it is down once.
        let mut down: BTreeMap<String, Finding> = BTreeMap::new();
        for (key, helper) in &server.helpers {
            if let Some(blind) = place::helper_blind(evidence, instance, server, &helper.endpoint) {
                judgement.blind(&RULE, &named(helper, &blind));
                continue;
            }
            let Some(what) = fault(&helper.state) else {
                stands(helper, &mut judgement);
                continue;
            };
            let finding = is_down(instance, server, key, helper, what);
            let barred = helper.state.value().and_then(|state| state.barred.value());
            let finding = match barred {
                Some(barred) => closed::told(evidence, instance, key, helper, barred, finding),
                None => finding,
            };
            let finding = match dovecot::explained(evidence, server, helper, &finding) {
                Some(finding) if !finding.fix.is_empty() => finding,
                explained => match explained.unwrap_or(finding) {
                    // What is closed is there: starting it again would change nothing.
                    finding if barred.is_some() => finding,
                    finding => finding.fix(start(helper, &helper.endpoint.to_string(), systemd)),
                },
            };
            let finding = unmasked(evidence, helper, finding);
            let endpoint = helper.endpoint.to_string();
            let kept = match down.remove(&endpoint) {
                Some(other) if other.severity >= finding.severity => also_named(other, finding),
                Some(other) => also_named(finding, other),
                None => finding,
            };
            down.insert(endpoint, kept);
        }
        down.into_values().for_each(|finding| judgement.find(finding));
    }
    Ok(judgement)
}

/// Nothing says that it is down.
fn stands(helper: &Helper, judgement: &mut Judgement) {
    let hidden = match &helper.state {
        Seen::Value(state) => {
            judgement.well(format!("{} {} listens", helper.kind.as_str(), helper.endpoint));
            // A stopped process goes on listening: whose state is hidden may be stopped.
            state.stopped.blind()
        }
        state => state.blind(),
    };
    if let Some(blind) = hidden {
        judgement.blind(&RULE, &named(helper, blind));
    }
}

/// Why it cannot be of use to whoever needs it; `None`: nothing says so.
fn fault(state: &Seen<HelperState>) -> Option<&'static str> {
    match state {
        Seen::Absent => Some("nothing listens there"),
        Seen::Value(state) if state.stopped == Seen::Value(true) => Some("its process is stopped"),
        Seen::Value(state) if state.queue.value().is_some_and(AcceptQueue::is_full) => {
            Some("its accept queue is full, nobody takes connections")
        }
        Seen::Value(state) if state.barred.value().is_some() => Some("the file system does not let it be opened"),
        Seen::Value(_) | Seen::Unknown(_) => None,
    }
}

/// Whether a service waits for, or fails without, a helper that is down.
pub(super) fn is_missed_by(evidence: &Evidence, instance: &str, server: &Server, wanted: &WantedListener) -> bool {
    let needed = |helper: &&Helper| {
        helper.needed_by.is_empty() || helper.needed_by.iter().any(|key| server.wanted.get(key) == Some(wanted))
    };
    let seen = |helper: &&Helper| place::helper_blind(evidence, instance, server, &helper.endpoint).is_none();
    server.helpers.values().filter(needed).filter(seen).any(|helper| fault(&helper.state).is_some())
}

/// One finding of two about one endpoint: the worse one, saying who else names it.
fn also_named(mut kept: Finding, other: Finding) -> Finding {
    let behind_first = 1.min(kept.because.len());
    kept.because.splice(behind_first..behind_first, other.because.into_iter().take(1));
    kept
}

/// The same reason, saying which helper it is about.
fn named(helper: &Helper, blind: &Blind) -> Blind {
    let endpoint = format!("{} {}", helper.kind.as_str(), helper.endpoint);
    match blind {
        Blind::NotAttempted { why } => Blind::NotAttempted { why: format!("{endpoint}: {why}") },
        Blind::NotPermitted { what, needs } => {
            Blind::NotPermitted { what: format!("{endpoint}: {what}"), needs: needs.clone() }
        }
        other => other.clone(),
    }
}

fn severity(helper: &Helper) -> Severity {
    match helper.on_failure.as_str() {
        // Mail flows on, without what the helper would have done to it.
        "accept" => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn consequence(helper: &Helper) -> &'static str {
    match (helper.kind, helper.on_failure.as_str()) {
        (HelperKind::Milter | HelperKind::Policy, "accept") => "mail passes without it",
        (HelperKind::Milter | HelperKind::Policy, "reject") => "mail is rejected",
        (HelperKind::Milter, "quarantine") => "mail is put on hold and stays in the queue",
        (HelperKind::Milter, _) => "mail is refused with a 4xx reply",
        (HelperKind::Sasl, _) => "users cannot log in to send",
        (HelperKind::Policy, _) => "mail is refused with a 4xx reply",
        (HelperKind::ContentFilter | HelperKind::Delivery, _) => "mail stays in the queue",
        (HelperKind::Lookup, "no_login") => "users cannot log in",
        (HelperKind::Lookup, _) => "lookups fail and mail is deferred",
    }
}

fn is_down(instance: &str, server: &Server, key: &str, helper: &Helper, what: &str) -> Finding {
    let endpoint = helper.endpoint.to_string();
    let source = helper.at.as_ref().map_or_else(|| server.config_dir.clone(), ToString::to_string);
    let needed_by: Vec<String> = helper.needed_by.iter().cloned().collect();
    let mut finding = RULE
        .finding_as(
            severity(helper),
            Subject::endpoint(&endpoint),
            format!("The {} {endpoint} does not answer ({what}): {}.", helper.kind.as_str(), consequence(helper)),
        )
        .confidence(0.95)
        .touches(Subject::service(format!("{instance} helpers")))
        .because(
            format!(
                "{} names it{}.",
                helper.setting,
                if needed_by.is_empty() { String::new() } else { format!(" for {}", needed_by.join(", ")) }
            ),
            source,
            view::server_pointer(instance, &["helpers", key]),
        )
        .because(
            format!("{endpoint}: {what}."),
            "sock_diag",
            view::server_pointer(instance, &["helpers", key, "state"]),
        )
        .data("kind", helper.kind.as_str())
        .data("endpoint", endpoint.clone())
        .data("setting", helper.setting.clone())
        .data("on_failure", helper.on_failure.clone())
        .reference(if view::is_dovecot(server) { "doveconf(1)" } else { "postconf(5)" });
    if let Some(Seen::Value(owners)) = helper.state.value().map(|state| &state.owners) {
        for owner in owners {
            finding = finding.because(
                format!("{} (process {}) holds the socket.", owner.name, owner.pid),
                "/proc",
                view::server_pointer(instance, &["helpers", key, "state"]),
            );
        }
    }
    finding
}

/// systemd starts no unit that is masked: that has to go first.
fn unmasked(evidence: &Evidence, helper: &Helper, mut finding: Finding) -> Finding {
    let endpoint = helper.endpoint.to_string();
    let Some((_, provider)) = USUAL_PROVIDERS.iter().find(|(word, _)| endpoint.contains(word)) else { return finding };
    let name = format!("{provider}.service");
    let unit = evidence.units.value().and_then(|units| units.services.get(&name)).and_then(Seen::value);
    let Some(unit) = unit.filter(|unit| unit.masked && helper.state.is_absent()) else { return finding };
    finding.fix.insert(
        0,
        Fix::here("Unmask the unit that is to serve it.")
            .command(format!("systemctl unmask {provider}"))
            .undo(format!("systemctl mask {provider}")),
    );
    finding.because(
        format!("{name} is masked: systemd refuses to start it."),
        unit.file.clone(),
        view::pointer(["units", "value", "services", name.as_str()]),
    )
}

fn start(helper: &Helper, endpoint: &str, systemd: bool) -> Fix {
    let stopped = helper.state.value().filter(|state| state.stopped == Seen::Value(true));
    let owners = stopped.and_then(|state| state.owners.value()).filter(|owners| !owners.is_empty());
    if let Some(owners) = owners {
        let pids: Vec<String> = owners.iter().map(|owner| owner.pid.to_string()).collect();
        return Fix::here("Let the process go on; then find out who stopped it, or restart it.")
            .command(format!("kill -CONT {}", pids.join(" ")))
            .verify("mxray doctor");
    }
    let provider = USUAL_PROVIDERS.iter().find(|(word, _)| endpoint.contains(word));
    match provider {
        Some((_, unit)) => {
            Fix::here(format!("Start the service behind it (by its name, {unit}), and read its log if it ends again."))
                .command(if systemd { format!("systemctl restart {unit}") } else { format!("service {unit} restart") })
                .command(if systemd {
                    format!("journalctl -u {unit} -n 50")
                } else {
                    format!("grep {unit} /var/log/mail.log | tail -n 50")
                })
                .verify("mxray doctor")
        }
        None => Fix::here(format!(
            "Start the service that should listen on {endpoint}, or take it out of {}.",
            helper.setting
        ))
        .verify("mxray doctor"),
    }
}
