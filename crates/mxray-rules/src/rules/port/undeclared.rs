//! PORT104: something listens, and the assignments file does not have it.

use crate::assigned::{self, Bound};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Assignments, Listener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Severity};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "PORT104",
    name: "port-undeclared",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a listener that the assignments file does not have",
    page: include_str!("undeclared.md"),
    check,
};

/// The sockets on one port, by protocol and port.
type Groups<'a> = BTreeMap<(&'a str, u16), Vec<(&'a String, &'a Listener)>>;

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut undeclared: Groups<'_> = BTreeMap::new();
    for (key, listener) in &sockets.listeners {
        let declared =
            assignments.services.values().any(|entry| assigned::is_of(evidence, assignments, entry, listener));
        if !declared && !assigned::is_client(evidence, listener) {
            undeclared.entry((&listener.protocol, listener.port)).or_default().push((key, listener));
        }
    }
    if undeclared.is_empty() {
        judgement.well(format!("everything that listens is in {}", assignments.file));
    }
    for ((protocol, port), listeners) in undeclared {
        judgement.find(found(evidence, assignments, protocol, port, &listeners));
    }
    if sockets.listeners_left_out > 0 {
        let why = format!("{} more listeners were left out of the evidence", sockets.listeners_left_out);
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
    Ok(judgement)
}

/// The widest of the sockets on one port decides how bad it is: what only this machine reaches comes and goes.
fn found(
    evidence: &Evidence,
    assignments: &Assignments,
    protocol: &str,
    port: u16,
    listeners: &[(&String, &Listener)],
) -> Finding {
    let only_here = listeners.iter().all(|(_, listener)| assigned::bound(evidence, listener) == Bound::Loopback);
    let severity = if only_here { Severity::Notice } else { RULE.severity };
    let places: Vec<String> = listeners.iter().map(|(_, listener)| assigned::place(listener)).collect();
    let addresses: Vec<_> = listeners.iter().map(|(_, listener)| listener.address).collect();
    let holder = listeners.first().map(|(_, listener)| assigned::holder(listener)).unwrap_or_default();
    let reach = if only_here { "for this machine alone" } else { "open to other machines" };
    let mut finding = RULE
        .finding_as(
            severity,
            assigned::subject(protocol, &addresses, port),
            format!(
                "{holder} listens on {} ({protocol}), {reach}, and the assignments file does not have it.",
                places.join(", ")
            ),
        )
        .touches(assigned::subject(protocol, &[], port))
        .data("protocol", protocol)
        .data("port", port)
        .data("addresses", addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
        .data("holder", holder.clone());
    for (key, listener) in listeners {
        let text = format!("{} listens on {}.", assigned::holder(listener), assigned::place(listener));
        finding = finding.because(text, "sock_diag", view::listener_pointer(key));
    }
    let unit = listeners.iter().find_map(|(_, listener)| listener.unit.value());
    let lasting = unit.filter(|unit| unit.ends_with(".service") && !unit.starts_with("user@"));
    let stop = Fix::here("Or, if nobody needs it, switch it off.");
    let stop = match lasting {
        Some(unit) => stop
            .command(format!("systemctl disable --now {}", shell_word(unit)))
            .undo(format!("systemctl enable --now {}", shell_word(unit))),
        None => stop.command(format!("mxray sockets --listening --port {port} --pids")),
    };
    let entry = format!(
        "[[service]]\nname = \"NAME\"\n{}port = {port}\nexposure = \"{}\"",
        if protocol == "tcp" { String::new() } else { format!("protocol = \"{protocol}\"\n") },
        if only_here { "loopback" } else { "public" }
    );
    finding
        .because(
            format!("No [[service]] of the file has {protocol} port {port} at such an address."),
            assignments.file.clone(),
            "/assignments/value/services",
        )
        .fix(
            Fix::here("Find out what it is for. If it is meant to be there, write it down.")
                .config(assignments.file.clone(), None, entry)
                .verify("mxray ports audit"),
        )
        .fix(stop)
}
