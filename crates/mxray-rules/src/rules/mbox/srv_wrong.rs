//! MBOX105: an SRV record leads users' programs to where no service is, or to one whose certificate they refuse.

use crate::policies::{self, Of};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{ServiceReached, ServiceRecord, ServiceTls};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "MBOX105",
    name: "srv-wrong",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an SRV record leads users' programs to a closed port, to nowhere, or to a certificate for another name",
    page: include_str!("srv_wrong.md"),
    check,
};

struct Wrong {
    kind: &'static str,
    severity: Severity,
    text: String,
    /// Below the record.
    at: &'static str,
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence).filter(Of::is_ours) {
        let discovery = match &of.domain.discovery {
            Seen::Value(discovery) => discovery,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        let mut by_name: BTreeMap<&str, Vec<(usize, &ServiceRecord)>> = BTreeMap::new();
        for (place, record) in discovery.services.iter().enumerate() {
            by_name.entry(&record.name).or_default().push((place, record));
        }
        for (name, records) in by_name {
            let mut wrong = Vec::new();
            let mut unseen = false;
            for (place, record) in &records {
                match judge(record, records.len()) {
                    Seen::Value(one) => wrong.push((*place, *record, one)),
                    Seen::Absent => {}
                    Seen::Unknown(blind) => {
                        unseen = true;
                        judgement.blind(&RULE, &blind);
                    }
                }
            }
            if !wrong.is_empty() {
                judgement.find(finding(of, name, &records, &wrong));
            } else if records.iter().all(|(_, record)| record.target.is_empty()) {
                judgement.well(format!("{name}: it says that there is no such service"));
            } else if !unseen {
                judgement.well(format!("{name}: the record leads to a service"));
            }
        }
    }
    Ok(judgement)
}

/// Absent: nothing is wrong with it.
fn judge(record: &ServiceRecord, records: usize) -> Seen<Wrong> {
    let target = format!("{}:{}", record.target, record.port);
    let wrong = |kind, severity, text, at| Seen::Value(Wrong { kind, severity, text, at });
    if record.target.is_empty() {
        // RFC 2782: "." says that the service is decidedly not there, and says it alone.
        return match records {
            1 => Seen::Absent,
            _ => wrong(
                "not-alone",
                Severity::Error,
                "it says that there is no such service, beside others".to_owned(),
                "target",
            ),
        };
    }
    match &record.addresses {
        Seen::Absent => {
            let text = format!("{} has no address", record.target);
            return wrong("no-address", Severity::Error, text, "addresses");
        }
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
        Seen::Value(_) => {}
    }
    match &record.reached {
        Seen::Value(ServiceReached::Closed) => {
            return wrong("closed", Severity::Error, format!("{target} refuses connections"), "reached");
        }
        Seen::Value(ServiceReached::Open { tls: Seen::Value(ServiceTls::Refused { why }) }) => {
            return wrong("certificate", Severity::Error, format!("{target}: {why}"), "reached");
        }
        Seen::Value(ServiceReached::Open { .. }) | Seen::Absent | Seen::Unknown(_) => {}
    }
    if let Some(alias) = &record.alias {
        // RFC 2782 forbids it, and programs follow it all the same.
        let text = format!("{} is an alias of {alias}, which an SRV record must not name", record.target);
        return wrong("alias", Severity::Warning, text, "alias");
    }
    match &record.reached {
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        _ => Seen::Absent,
    }
}

fn finding(
    of: Of<'_>,
    name: &str,
    all: &[(usize, &ServiceRecord)],
    wrong: &[(usize, &ServiceRecord, Wrong)],
) -> Finding {
    let worst = wrong.iter().map(|(_, _, one)| one.severity).max().unwrap_or(RULE.severity);
    // Where others of the same service are well, programs go on to those.
    let severity = if wrong.len() < all.len() { worst.min(Severity::Warning) } else { worst };
    let texts: Vec<&str> = wrong.iter().map(|(_, _, one)| one.text.as_str()).collect();
    let kinds: Vec<&str> = wrong.iter().map(|(_, _, one)| one.kind).collect();
    let subject = Subject::new(SubjectKind::Name, name);
    let mut finding = of
        .finding(
            &RULE,
            severity,
            subject,
            format!("The SRV record {name} leads users' programs wrong: {}.", texts.join("; ")),
        )
        .data("kinds", kinds)
        .data(
            "targets",
            wrong.iter().map(|(_, record, _)| format!("{}:{}", record.target, record.port)).collect::<Vec<_>>(),
        );
    for (place, record, one) in wrong {
        let place = place.to_string();
        let pointer = of.pointer(&["discovery", "value", "services", &place, one.at]);
        finding = finding.because(format!("{name} SRV {}: {}", value(record), one.text), "DNS and connection", pointer);
        if one.kind == "closed" || one.kind == "certificate" {
            finding = finding.touches(crate::view::port_scope(record.port));
        }
    }
    for (_, record, one) in wrong {
        finding = finding.fix(fix(of, record, one));
    }
    finding.reference("RFC 2782").reference("RFC 6186 section 3.4")
}

fn value(record: &ServiceRecord) -> String {
    let ServiceRecord { priority, weight, port, target, .. } = record;
    format!("{priority} {weight} {port} {target}.")
}

fn fix(of: Of<'_>, record: &ServiceRecord, wrong: &Wrong) -> Fix {
    let name = &record.name;
    let none = "0 0 0 .";
    match wrong.kind {
        "closed" => of
            .step(format!(
                "Start the service at {}:{}, or publish the port at which it is; if there is none, say so:",
                record.target, record.port
            ))
            .record(name, "SRV", none),
        "no-address" => of
            .step(format!("Give {} an address, or publish another target; if there is no such service, say so:", record.target))
            .record(name, "SRV", none),
        "certificate" => of.step(format!(
            "Have the service at {}:{} present a certificate that carries {}, or publish a target that its certificate carries.",
            record.target, record.port, record.target
        )),
        "alias" => {
            let target = record.alias.clone().unwrap_or_default();
            let direct = ServiceRecord { target: target.trim_end_matches('.').to_owned(), ..record.clone() };
            of.step("Name the host itself; its certificate has to carry that name.").record(name, "SRV", value(&direct))
        }
        _ => of.step(format!("Take away either the record with `.` or the others at {name}.")),
    }
    .undo(format!("publish `{}` again", value(record)))
}
