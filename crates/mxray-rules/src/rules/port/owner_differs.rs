//! PORT106: the socket is not its declared owner's.

use crate::assigned::{self, Difference};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Assignment, Assignments, Listener};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "PORT106",
    name: "port-owner-differs",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "another unit, user or package holds a port than the assignments file says",
    page: include_str!("owner_differs.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, entry) in &assignments.services {
        let mut clean = !assigned::is_range(entry);
        for (key, listener) in assigned::listeners(evidence, assignments, entry, sockets) {
            let owned = assigned::owned(evidence, assignments, entry, listener);
            owned.blind.iter().for_each(|blind| judgement.blind(&RULE, blind));
            clean &= owned.blind.is_empty() && owned.differs.is_empty();
            if !owned.differs.is_empty() {
                let finding = differs(assignments, (name, entry), (key, listener), &owned.differs);
                judgement.find(assigned::for_people(finding, name, entry));
            }
        }
        if clean {
            judgement.well(format!("{name} is nobody else's"));
        }
    }
    Ok(judgement)
}

fn differs(
    assignments: &Assignments,
    (name, entry): (&str, &Assignment),
    (key, listener): (&str, &Listener),
    differences: &[Difference],
) -> Finding {
    let texts: Vec<String> =
        differences.iter().map(|one| format!("the {} {}, and it is {}", one.what, one.declared, one.actual)).collect();
    let holder = assigned::holder(listener);
    let place = assigned::place(listener);
    let mut finding = RULE
        .finding(
            assigned::subject(&listener.protocol, &[listener.address], listener.port),
            format!("{place} is not {name}'s: the file has {}.", texts.join("; ")),
        )
        .confidence(0.9)
        .touches(assigned::subject(&listener.protocol, &[], listener.port))
        .because(
            format!("{name} has {} for {}.", declared(entry), assigned::ports_text(entry)),
            entry.at.to_string(),
            assigned::pointer(name),
        )
        .because(format!("{holder} listens on {place}."), "sock_diag", view::listener_pointer(key))
        .data("service", name)
        .data("port", listener.port)
        .data("holder", holder.clone());
    for one in differences {
        finding = finding.data(&format!("declared_{}", one.what), one.declared.clone());
    }
    let stop =
        Fix::here("If it took the port by accident (a leftover, another program), stop it and start the right one.")
            .command(format!("mxray sockets --listening --port {} --pids", listener.port));
    let unit = listener.unit.value().filter(|unit| unit.ends_with(".service") && !unit.starts_with("user@"));
    let stop = match unit {
        Some(unit) => stop
            .command(format!("systemctl disable --now {}", shell_word(unit)))
            .undo(format!("systemctl enable --now {}", shell_word(unit))),
        None => stop,
    };
    let stop = match entry.owner.unit.is_empty() {
        true => stop,
        false => stop.command(format!("systemctl start {}", shell_word(&entry.owner.unit))),
    };
    finding.fix(stop.verify("mxray ports audit")).fix(
        Fix::here("If it is the right one now, say so in the file.").config(
            assignments.file.clone(),
            Some(entry.at.line),
            "owner = { … }",
        ),
    )
}

fn declared(entry: &Assignment) -> String {
    let owner = &entry.owner;
    let parts = [("unit", &owner.unit), ("user", &owner.user), ("package", &owner.package)];
    let named: Vec<String> =
        parts.iter().filter(|(_, value)| !value.is_empty()).map(|(what, value)| format!("{what} {value}")).collect();
    named.join(", ")
}
