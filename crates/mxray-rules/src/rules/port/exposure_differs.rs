//! PORT107: a port is bound or reached wider, or narrower, than the assignments file says.

mod addresses;
mod reached;

use crate::assigned;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Assignment, Assignments, Exposure, Listener};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "PORT107",
    name: "port-exposure-differs",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a port is bound or reached wider or narrower than the assignments file says",
    page: include_str!("exposure_differs.md"),
    check,
};

/// Which way a port differs from what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Wider,
    Narrower,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Way::Wider => "wider",
            Way::Narrower => "narrower",
        }
    }
}

/// One thing that is not as declared.
#[derive(Debug)]
struct Drift {
    way: Way,
    /// `it is bound to 0.0.0.0:25, and the file has 127.0.0.1`
    text: String,
    /// A JSON pointer to what shows it.
    pointer: String,
    source: &'static str,
}

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    drifts: Vec<Drift>,
    blind: Vec<Blind>,
    /// The packet filters were not asked about it, and it depends on them.
    not_asked: bool,
}

/// The sockets of an entry.
type Sockets<'a> = [(&'a String, &'a Listener)];

fn check(evidence: &Evidence) -> Said {
    let assignments = assigned::file(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut not_asked = Vec::new();
    for (name, entry) in &assignments.services {
        let listeners = assigned::listeners(evidence, assignments, entry, sockets);
        if listeners.is_empty() {
            continue;
        }
        let mut compared = Compared::default();
        addresses::compare(evidence, entry, &listeners, &mut compared);
        reached::compare(evidence, entry, &listeners, &mut compared);
        compared.blind.iter().for_each(|blind| judgement.blind(&RULE, blind));
        if !compared.drifts.is_empty() {
            let finding = found(assignments, (name, entry), &listeners, &compared.drifts);
            judgement.find(assigned::for_people(finding, name, entry));
        } else if compared.not_asked {
            not_asked.push(format!("{name} ({})", assigned::ports_text(entry)));
        } else if compared.blind.is_empty() {
            judgement.well(format!("{name} can be reached from where it should: {}", exposure_text(&entry.exposure)));
        }
    }
    if !not_asked.is_empty() {
        judgement.blind(&RULE, &assigned::not_asked(&not_asked));
    }
    Ok(judgement)
}

/// `this machine alone`, `anywhere`
fn exposure_text(exposure: &Exposure) -> String {
    match exposure {
        Exposure::Loopback => "this machine alone".to_owned(),
        Exposure::Private => "private networks".to_owned(),
        Exposure::Public => "anywhere".to_owned(),
        Exposure::Prefixes(prefixes) => prefixes.join(", "),
    }
}

fn found(
    assignments: &Assignments,
    (name, entry): (&str, &Assignment),
    listeners: &Sockets<'_>,
    drifts: &[Drift],
) -> Finding {
    let wider = drifts.iter().any(|drift| drift.way == Way::Wider);
    // What nobody was promised harms nobody where it is missing: only a public service has a public.
    let severity = if wider || entry.exposure == Exposure::Public { RULE.severity } else { Severity::Warning };
    let texts: Vec<&str> = drifts.iter().map(|drift| drift.text.as_str()).collect();
    let way = if wider { Way::Wider } else { Way::Narrower };
    let mut finding = RULE
        .finding_as(
            severity,
            assigned::subject_of(entry),
            format!("{name} is open {} than {} says: {}.", way.as_str(), entry.at, texts.join("; ")),
        )
        .confidence(0.9)
        .touches(assigned::subject(&entry.protocol, &[], entry.ports.0))
        .because(
            format!("{name} is for {}.", exposure_text(&entry.exposure)),
            entry.at.to_string(),
            assigned::pointer(name),
        )
        .data("service", name)
        .data("port", entry.ports.0)
        .data("way", way.as_str())
        .data("bound", listeners.iter().map(|(_, listener)| assigned::place(listener)).collect::<Vec<_>>());
    for drift in drifts {
        let mut text = drift.text.clone();
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        finding = finding.because(format!("{text}."), drift.source, drift.pointer.clone());
    }
    let port = entry.ports.0;
    let bind = match way {
        Way::Wider => {
            "Bind it to fewer addresses in its own configuration, or close it to the others in the packet filter."
        }
        Way::Narrower => "Bind it to the addresses that the file has, or open it in the packet filter.",
    };
    finding
        .fix(
            Fix::here(bind)
                .command(format!("mxray sockets --listening --port {port} --pids"))
                .verify("mxray ports audit"),
        )
        .fix(Fix::here("Or, if it is right as it is, say so in the file.").config(
            assignments.file.clone(),
            Some(entry.at.line),
            "exposure = …",
        ))
}
