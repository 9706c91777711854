//! DMARC106: reports are to go where none can.

use crate::authentication::dmarc::{Applied, records};
use crate::authentication::{change, listed};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{DmarcProblem, DmarcUri};
use mxray_model::{Blind, Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC106",
    name: "dmarc-rua-invalid",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an address for DMARC reports is no URI, or its domain takes no mail",
    page: include_str!("rua_invalid.md"),
    check,
};

/// An address that gets nothing, why, and where that was seen.
struct Bad {
    uri: String,
    why: String,
    pointer: String,
}

fn check(evidence: &Evidence) -> Said {
    records(evidence, &RULE, |applied, judgement| {
        let mut bad = not_uris(applied);
        bad.extend(not_mailed(applied));
        let mut blind: Option<Blind> = None;
        match &applied.of.domain.report_targets {
            Seen::Value(targets) => {
                for (at, target) in targets.iter().enumerate() {
                    match &target.receives {
                        Seen::Value(true) => {}
                        Seen::Value(false) | Seen::Absent => bad.push(Bad {
                            uri: target.uri.clone(),
                            why: format!("{} takes no mail", target.domain),
                            pointer: applied.of.pointer(&["report_targets", "value", &at.to_string()]),
                        }),
                        Seen::Unknown(why) => blind = Some(why.clone()),
                    }
                }
            }
            Seen::Absent => {}
            Seen::Unknown(why) => blind = Some(why.clone()),
        }
        match (bad.is_empty(), blind) {
            (false, _) => judgement.find(finding(applied, &bad)),
            (true, Some(why)) => judgement.blind(&RULE, &why),
            (true, None) => judgement.well(format!("reports about {} can be sent where they are to go", applied.owner)),
        }
    })
}

fn not_uris(applied: &Applied<'_>) -> Vec<Bad> {
    let one = |(at, problem): (usize, &DmarcProblem)| match problem {
        DmarcProblem::Uri { tag, uri, why } => Some(Bad {
            uri: uri.clone(),
            why: format!("{tag}={uri}: {why}"),
            pointer: applied.pointer(&["problems", &at.to_string()]),
        }),
        _ => None,
    };
    applied.record.problems.iter().enumerate().filter_map(one).collect()
}

/// Only mail is defined as a way for reports (RFC 9990 section 2.6): where nothing else is asked for, none come. Beside an address
/// for mail, other URIs hurt nobody.
fn not_mailed(applied: &Applied<'_>) -> Vec<Bad> {
    let uris = &applied.record.aggregate;
    if uris.iter().any(|uri| uri.domain.is_some()) {
        return Vec::new();
    }
    let bad = |(at, uri): (usize, &DmarcUri)| Bad {
        uri: uri.uri.clone(),
        why: format!("rua={}: reports are sent by mail alone", uri.uri),
        pointer: applied.pointer(&["aggregate", &at.to_string()]),
    };
    uris.iter().enumerate().map(bad).collect()
}

fn finding(applied: &Applied<'_>, bad: &[Bad]) -> Finding {
    let uris: Vec<&str> = bad.iter().map(|one| one.uri.as_str()).collect();
    let summary = format!(
        "Reports about {} are to go to {}, where none can be sent: {}.",
        applied.owner,
        listed(&uris),
        bad.first().map_or("", |one| one.why.as_str())
    );
    // Where nothing is sent there is little to learn.
    let severity = if applied.of.is_parked() { Severity::Warning } else { RULE.severity };
    let mut finding = applied.finding(&RULE, severity, summary).data("uris", uris);
    for one in bad {
        finding = finding.because(one.why.as_str(), applied.source(), one.pointer.as_str());
    }
    let step =
        change("Write each address as mailto:NAME@DOMAIN, divided by commas, and have that domain take mail for it.");
    finding.fix(applied.verified(step)).reference("RFC 9989 section 4.7").reference("RFC 9990 section 4")
}
