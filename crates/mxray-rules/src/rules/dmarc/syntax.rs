//! DMARC103: a DMARC record that says something else than is meant, or nothing.

use crate::authentication::dmarc::{Applied, discoveries, records, verified};
use crate::authentication::{change, subject};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DmarcFound, DmarcProblem};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC103",
    name: "dmarc-syntax",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a DMARC record has an error",
    page: include_str!("syntax.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = records(evidence, &RULE, |applied, judgement| {
        let found: Vec<(usize, Severity, String)> = applied
            .record
            .problems
            .iter()
            .enumerate()
            .filter_map(|(at, problem)| {
                words(problem, !applied.record.aggregate.is_empty()).map(|(severity, why)| (at, severity, why))
            })
            .collect();
        match found.is_empty() {
            true => judgement.well(format!("the DMARC record of {} can be read", applied.owner)),
            false => judgement.find(finding(applied, &found)),
        }
    })?;
    let not_records = discoveries(evidence, &RULE, near)?;
    judgement.findings.extend(not_records.findings);
    Ok(judgement)
}

/// What a problem means, where reports are asked for and where not. `None`: it is no error, or another rule's.
fn words(problem: &DmarcProblem, reports: bool) -> Option<(Severity, String)> {
    match problem {
        DmarcProblem::Syntax { column, why } => Some((Severity::Error, format!("column {column}: {why}"))),
        DmarcProblem::Value { tag, value, column } => {
            let severity = if matches!(tag.as_str(), "p" | "sp" | "np") { Severity::Error } else { Severity::Warning };
            Some((severity, format!("column {column}: {tag}= cannot be \"{value}\", and counts as not there")))
        }
        DmarcProblem::PolicyMissing => {
            // RFC 7489 section 6.6.3, step 6: what asks for reports is read as p=none.
            let why = match reports {
                true => "there is no p=: it counts as none",
                false => "there is no p=: it counts as none (RFC 9989), and receivers of RFC 7489 ignore the record",
            };
            Some((Severity::Warning, why.to_owned()))
        }
        DmarcProblem::PolicyNotSecond => {
            Some((Severity::Notice, "p= does not stand second, as receivers of RFC 7489 ask for".to_owned()))
        }
        // Unknown tags are ignored by all; the others have codes of their own.
        DmarcProblem::UnknownTag { .. }
        | DmarcProblem::RemovedTag { .. }
        | DmarcProblem::SizeLimit { .. }
        | DmarcProblem::Uri { .. }
        | DmarcProblem::NoReports
        | DmarcProblem::Weaker { .. }
        | DmarcProblem::Testing => None,
    }
}

fn finding(applied: &Applied<'_>, found: &[(usize, Severity, String)]) -> Finding {
    let severity = found.iter().map(|(_, severity, _)| *severity).max().unwrap_or(RULE.severity);
    let worst = found.iter().find(|(_, one, _)| *one == severity).map_or("", |(_, _, why)| why.as_str());
    let mut finding =
        applied.finding(&RULE, severity, format!("The DMARC record of {} has an error: {worst}.", applied.owner));
    for (at, _, why) in found {
        finding = finding.because(why.as_str(), applied.source(), applied.pointer(&["problems", &at.to_string()]));
    }
    finding.fix(applied.verified(change("Correct the record."))).reference("RFC 9989 section 4.8")
}

/// What is meant as a record and is none.
fn near(
    of: &crate::authentication::Of<'_>,
    found: &mxray_model::evidence::published::DmarcDiscovery,
    judgement: &mut Judgement,
) {
    for (at, step) in found.walk.iter().enumerate() {
        let DmarcFound::NotRecord { text, why } = &step.found else { continue };
        judgement.find(
            RULE.finding(
                subject(&step.domain),
                format!("What _dmarc.{} has is no DMARC record, and is ignored: {why}.", step.domain),
            )
            .because(
                format!("\"{text}\""),
                format!("TXT _dmarc.{}", step.domain),
                of.pointer(&["dmarc", "value", "walk", &at.to_string()]),
            )
            .data("domain", of.name)
            .data("record", text.as_str())
            .touches(of.subject())
            .fix(verified(change("Write it exactly as v=DMARC1; and then the tags."), of.name))
            .reference("RFC 9989 section 4.8"),
        );
    }
}
