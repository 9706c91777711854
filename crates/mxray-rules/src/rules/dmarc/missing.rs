//! DMARC101: no DMARC record applies.

use crate::authentication::dmarc::{discoveries, verified};
use crate::authentication::{Of, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{DmarcDiscovery, DmarcFound};
use mxray_model::{Blind, Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC101",
    name: "dmarc-missing",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "no DMARC record applies to a domain",
    page: include_str!("missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    discoveries(evidence, &RULE, |of, found, judgement| {
        match (&found.current.record_of, &found.current.unknown) {
            (Some(owner), _) => judgement.well(format!("{}: the DMARC record of {owner} applies", of.name)),
            (None, Some(why)) => judgement.blind(&RULE, &Blind::NotAttempted { why: why.clone() }),
            // Those say why none applies.
            (None, None) if spoilt(found) => {
                judgement.well(format!("{}: there are DMARC records, and none that counts", of.name));
            }
            (None, None) => judgement.find(finding(of, found)),
        }
    })
}

/// Records that count for nothing: several, or what is none.
fn spoilt(found: &DmarcDiscovery) -> bool {
    found.walk.iter().any(|step| matches!(step.found, DmarcFound::Several { .. } | DmarcFound::NotRecord { .. }))
}

fn finding(of: &Of<'_>, found: &DmarcDiscovery) -> Finding {
    let severity = if of.is_parked() { Severity::Notice } else { RULE.severity };
    let walked: Vec<&str> = found.walk.iter().map(|step| step.domain.as_str()).collect();
    let mut finding = RULE
        .finding_as(
            severity,
            of.subject(),
            format!(
                "No DMARC record applies to {}: anybody can write in its name, and large receivers refuse bulk mail without one.",
                of.name
            ),
        )
        .because(
            format!("there is none at _dmarc. of {}", walked.join(", ")),
            format!("TXT _dmarc.{}", of.name),
            of.pointer(&["dmarc", "value", "walk"]),
        )
        .data("domain", of.name)
        .data("walked", walked);
    if !found.misplaced.is_empty() {
        finding = finding.because(
            format!("{} itself has a record that nobody looks for there", of.name),
            format!("TXT {}", of.name),
            of.pointer(&["dmarc", "value", "misplaced"]),
        );
    }
    let at = found.current.organizational.as_deref().unwrap_or(of.name);
    let (text, record) = match of.is_parked() {
        true => ("If nothing is sent in its name, have all of it refused:", "v=DMARC1; p=reject".to_owned()),
        false => (
            "Begin by having reports sent, to an address of yours that takes them. When they show that all of your mail is \
             aligned, go on to p=quarantine and p=reject.",
            format!("v=DMARC1; p=none; rua=mailto:dmarc-reports@{at}"),
        ),
    };
    finding.fix(verified(publish(text, &format!("_dmarc.{at}"), &record), of.name)).reference("RFC 9989 section 4.10")
}
