//! PORT111: something listens on a port that the assignments file forbids, or will at its next start.

use crate::assigned;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Assignments, Forbidden, Listener};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "PORT111",
    name: "port-must-not-listen",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "something listens on a port that the assignments file forbids",
    page: include_str!("must_not_listen.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (key, forbidden) in &assignments.forbidden {
        let on_it = |listener: &Listener| {
            listener.protocol == forbidden.protocol
                && listener.port == forbidden.port
                && !(forbidden.except_loopback && listener.is_loopback())
        };
        let listening: Vec<(&String, &Listener)> =
            sockets.listeners.iter().filter(|(_, listener)| on_it(listener)).collect();
        if !listening.is_empty() {
            judgement.find(listens(assignments, key, forbidden, &listening));
            continue;
        }
        match next_start(evidence, assignments, key, forbidden) {
            Some(finding) => judgement.find(finding),
            None => judgement.well(format!("nothing listens on {key}, as it should be")),
        }
    }
    if let (Seen::Unknown(blind), false) = (&evidence.servers, assignments.forbidden.is_empty()) {
        judgement.blind(&RULE, blind);
    }
    Ok(judgement)
}

fn where_(forbidden: &Forbidden) -> &'static str {
    if forbidden.except_loopback { " off loopback" } else { "" }
}

fn reason(forbidden: &Forbidden) -> String {
    if forbidden.reason.is_empty() { String::new() } else { format!(" ({})", forbidden.reason) }
}

fn base(key: &str, forbidden: &Forbidden, severity: Severity, summary: String) -> Finding {
    RULE.finding_as(severity, assigned::subject(&forbidden.protocol, &[], forbidden.port), summary)
        .because(
            format!("{key} must not listen{}{}.", where_(forbidden), reason(forbidden)),
            forbidden.at.to_string(),
            view::pointer(["assignments", "value", "forbidden", key]),
        )
        .data("protocol", forbidden.protocol.clone())
        .data("port", forbidden.port)
        .data("reason", forbidden.reason.clone())
}

fn listens(assignments: &Assignments, key: &str, forbidden: &Forbidden, listening: &[(&String, &Listener)]) -> Finding {
    let places: Vec<String> = listening.iter().map(|(_, listener)| assigned::place(listener)).collect();
    let holder = listening.first().map(|(_, listener)| assigned::holder(listener)).unwrap_or_default();
    let summary =
        format!("{holder} listens on {}, which {} forbids{}.", places.join(", "), forbidden.at, reason(forbidden));
    let mut finding = base(key, forbidden, RULE.severity, summary).data("holder", holder);
    for (listener_key, listener) in listening {
        let text = format!("{} listens on {}.", assigned::holder(listener), assigned::place(listener));
        finding = finding.because(text, "sock_diag", view::listener_pointer(listener_key));
    }
    let unit = listening.iter().find_map(|(_, listener)| listener.unit.value());
    let unit = unit.filter(|unit| unit.ends_with(".service") && !unit.starts_with("user@"));
    let stop = match (forbidden.except_loopback, unit) {
        (true, _) => Fix::here("Bind it to loopback in its own configuration, and restart it.")
            .command(format!("mxray sockets --listening --port {} --pids", forbidden.port)),
        (false, Some(unit)) => Fix::here(
            "Take the listener out of its configuration; or, if nothing else depends on the service, stop it.",
        )
        .command(format!("systemctl disable --now {}", shell_word(unit)))
        .undo(format!("systemctl enable --now {}", shell_word(unit))),
        (false, None) => Fix::here("Find what starts it, and take the listener out there.")
            .command(format!("mxray sockets --listening --port {} --pids", forbidden.port)),
    };
    finding.fix(stop.verify("mxray ports audit")).fix(
        Fix::here("If it may listen after all, take the entry out of the file.").config(
            assignments.file.clone(),
            Some(forbidden.at.line),
            "# [[forbidden]] …",
        ),
    )
}

/// A mail server that asks for it, and has not opened it yet.
fn next_start(evidence: &Evidence, assignments: &Assignments, key: &str, forbidden: &Forbidden) -> Option<Finding> {
    let servers = evidence.servers.value()?;
    let (instance, server, wanted_key, wanted) = view::enabled(servers).find_map(|(instance, server)| {
        let (wanted_key, wanted) = server.wanted.iter().find(|(_, wanted)| {
            forbidden.protocol == "tcp"
                && wanted.port == forbidden.port
                && !(forbidden.except_loopback && wanted.is_loopback_only())
                && !wanted.addresses.is_empty()
        })?;
        Some((instance, server, wanted_key, wanted))
    })?;
    let summary = format!(
        "{instance} will listen on {key} at its next start ({}), which {} forbids{}.",
        wanted.at,
        forbidden.at,
        reason(forbidden)
    );
    let words = Words::new(evidence, server);
    let finding =
        base(key, forbidden, Severity::Warning, summary).data("configured_at", wanted.at.to_string()).because(
            format!("{} is configured for port {}.", wanted.service, wanted.port),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", wanted_key]),
        );
    let out = Fix::here("Take the service out of the configuration, and look at it again.")
        .config(wanted.at.file.clone(), Some(wanted.at.line), format!("# {}", wanted.service))
        .command(words.check())
        .verify("mxray ports audit");
    Some(finding.fix(out).fix(Fix::here("If it may listen after all, take the entry out of the file.").config(
        assignments.file.clone(),
        Some(forbidden.at.line),
        "# [[forbidden]] …",
    )))
}
