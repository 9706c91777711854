//! DANE106: TLSA records that senders of mail cannot use.

use super::{Held, by_name, finding, records_of, sort};
use crate::policies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{DaneResult, TlsaProblem};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DANE106",
    name: "tlsa-bad-usage",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "TLSA records that cannot be used for mail: usage 0 or 1, or damaged",
    page: include_str!("tlsa_bad_usage.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for held in by_name(evidence).into_values() {
        // Of records that nobody goes by it is said that they have no effect (DANE104).
        let judged = |held: &&Held<'_>| !matches!(held.verdict.result, DaneResult::Ineffective);
        let held: Vec<Held<'_>> = held.iter().filter(judged).copied().collect();
        let bad =
            sort(&RULE, &held, |held| held.verdict.records.iter().any(|one| one.problem.is_some()), &mut judgement);
        let Some(first) = bad.first() else {
            if let Some(well) = held.iter().find(|held| !held.verdict.records.is_empty()) {
                judgement.well(format!("{}: the TLSA records can be used for mail", well.verdict.name));
            }
            continue;
        };
        let name = first.verdict.name.clone();
        let none = first.verdict.records.iter().all(|one| one.problem.is_some());
        let severity = if none { RULE.severity } else { Severity::Warning };
        let what: Vec<String> = first
            .verdict
            .records
            .iter()
            .filter_map(|one| Some(format!("`{}`: {}", short(&one.record), words(one.problem.as_ref()?))))
            .collect();
        let effect = if none { "so that nothing is checked" } else { "beside others that can be" };
        let found = finding(evidence, &RULE, severity, &bad, |place| {
            format!("TLSA records of {place} cannot be used for mail, {effect}: {}.", what.join("; "))
        });
        let publish = first
            .of
            .step(format!("Publish `3 1 1` with the SHA-256 of the server's public key at {name}, and take away the records that cannot be used."))
            .undo("publish the old records again");
        let publish = records_of(evidence, &bad, publish);
        judgement
            .findings
            .extend(found.map(|found| found.data("problems", what).fix(publish).reference("RFC 7672 section 3.1.3")));
    }
    Ok(judgement)
}

fn words(problem: &TlsaProblem) -> String {
    match problem {
        TlsaProblem::Usage => "only usages 2 and 3 are for mail (RFC 7672 section 3.1.3)".to_owned(),
        TlsaProblem::Selector => "there is no such selector".to_owned(),
        TlsaProblem::MatchingType => "there is no such matching type".to_owned(),
        TlsaProblem::Length { bytes, wanted } => format!("its hash has {bytes} bytes in place of {wanted}"),
        TlsaProblem::NotHexadecimal => "its data is not hexadecimal".to_owned(),
    }
}

/// Of a whole certificate the beginning is enough.
fn short(record: &str) -> String {
    const SHOWN: usize = 24;
    let start: String = record.chars().take(SHOWN).collect();
    if start.len() < record.len() { format!("{start}…") } else { start }
}
