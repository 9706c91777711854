//! PORT105: the assignments file has a service, and nothing listens for it.

use crate::assigned;
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Assignment, Assignments, Server, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "PORT105",
    name: "port-declared-missing",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the assignments file has a service, and nothing listens for it",
    page: include_str!("declared_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, entry) in &assignments.services {
        if !assigned::listeners(evidence, assignments, entry, sockets).is_empty() {
            judgement.well(format!("{name} listens on {}", assigned::ports_text(entry)));
        } else if let Some(by) = taken_before(evidence, entry) {
            judgement.well(format!("{name}: {by} takes what comes to {}", assigned::ports_text(entry)));
        } else if let Some(blind) = hidden(evidence, entry) {
            judgement.blind(&RULE, &blind);
        } else if sockets.listeners_left_out > 0 {
            let why = format!("{name} may be among {} listeners that were left out", sockets.listeners_left_out);
            judgement.blind(&RULE, &Blind::NotAttempted { why });
        } else {
            let finding = missing(evidence, assignments, name, entry);
            judgement.find(assigned::for_people(finding, name, entry));
        }
    }
    Ok(judgement)
}

/// A container's published port needs no socket of this host: its packets are sent on before any listener.
fn taken_before(evidence: &Evidence, entry: &Assignment) -> Option<String> {
    let ports = entry.ports.0..=entry.ports.1;
    let published = evidence.bystanders.value().into_iter().flat_map(|bystanders| bystanders.listeners.values());
    let mut published = published.filter(|asked| {
        asked.by_dnat
            && asked.protocol == entry.protocol
            && ports.contains(&asked.port)
            && asked.running != Seen::Absent
            && asked.running != Seen::Value(false)
    });
    if let Some(asked) = published.next() {
        return Some(format!("{} ({})", asked.service, asked.at));
    }
    let answers = evidence.firewall.value().into_iter().flat_map(|firewall| firewall.answers.values());
    let mut rewritten = answers.filter(|answer| {
        answer.packet.protocol == entry.protocol
            && answer.packet.destination_port.is_some_and(|port| ports.contains(&port))
            && answer.packet.direction != mxray_model::evidence::Direction::Out
    });
    rewritten
        .find_map(|answer| answer.rewritten_to.as_ref())
        .map(|to| format!("a rule of the packet filter ({})", to.by.text))
}

/// Its sockets are in another network namespace than the one that was looked at.
fn hidden(evidence: &Evidence, entry: &Assignment) -> Option<Blind> {
    let namespaces = evidence.namespaces.value()?;
    let ports = entry.ports.0..=entry.ports.1;
    let has_it = |listener: &String| {
        listener.starts_with(&format!("{}/", entry.protocol))
            && place::port(listener).is_some_and(|port| ports.contains(&port))
    };
    let found =
        namespaces.others.iter().find(|(_, other)| other.listeners.value().is_some_and(|all| all.iter().any(has_it)));
    found.map(|(key, _)| Blind::Elsewhere {
        why: format!(
            "{} listens in another network namespace ({key}) than the one that was looked at",
            assigned::ports_text(entry)
        ),
        look: format!("mxray --netns {} ports audit", shell_word(key)),
    })
}

/// The configured service that would open such a port.
fn configured<'a>(
    evidence: &'a Evidence,
    entry: &Assignment,
) -> Option<(&'a String, &'a Server, &'a WantedListener, &'a String)> {
    let servers = evidence.servers.value()?;
    let of_server = |(instance, server): (&'a String, &'a Server)| {
        let (key, wanted) = server
            .wanted
            .iter()
            .find(|(_, wanted)| entry.protocol == "tcp" && (entry.ports.0..=entry.ports.1).contains(&wanted.port))?;
        Some((instance, server, wanted, key))
    };
    view::enabled(servers).find_map(of_server)
}

fn missing(evidence: &Evidence, assignments: &Assignments, name: &str, entry: &Assignment) -> Finding {
    let ports = assigned::ports_text(entry);
    let mut finding = RULE
        .finding(
            assigned::subject_of(entry),
            format!("Nothing listens on {ports}, which {} assigns to {name}.", entry.at),
        )
        .touches(assigned::subject(&entry.protocol, &[], entry.ports.0))
        .data("service", name)
        .data("protocol", entry.protocol.clone())
        .data("port", entry.ports.0)
        .data("declared_at", entry.at.to_string())
        .because(format!("{name} has {ports}."), entry.at.to_string(), assigned::pointer(name))
        .because(
            format!("No socket listens on {ports} at its addresses."),
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        );
    let look = match configured(evidence, entry) {
        Some((instance, server, wanted, key)) => {
            let runs = if server.master.is_absent() { "does not run" } else { "runs" };
            finding = finding.touches(Subject::service(instance)).data("configured_at", wanted.at.to_string()).because(
                format!("{instance}, which {runs}, is configured to listen there ({}).", wanted.service),
                wanted.at.to_string(),
                view::server_pointer(instance, &["wanted", key]),
            );
            Fix::here(format!("Find out why {instance} does not listen there.")).command("mxray doctor")
        }
        None => {
            Fix::here("Start the service, or configure it for the port: no configuration that mxray reads asks for it.")
        }
    };
    let unit = &entry.owner.unit;
    let look = match unit.is_empty() {
        true => look,
        false => look
            .command(format!("systemctl status {}", shell_word(unit)))
            .command(format!("journalctl -b -u {} -n 50", shell_word(unit))),
    };
    finding.fix(look.verify("mxray ports audit")).fix(
        Fix::here("Or, if it was given up, take its entry out of the file.").config(
            assignments.file.clone(),
            Some(entry.at.line),
            "# [[service]] …",
        ),
    )
}
