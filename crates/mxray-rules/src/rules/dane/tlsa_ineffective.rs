//! DANE104: TLSA records are published, and nobody goes by them, since something before them is not signed.

use super::{Held, by_name, finding, sort};
use crate::policies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DaneResult;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DANE104",
    name: "tlsa-ineffective",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "TLSA records without effect: the MX records, the host's addresses or the records themselves are not signed",
    page: include_str!("tlsa_ineffective.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for held in by_name(evidence).into_values() {
        // By the domain of somebody else the records of our host may well be without effect.
        let ours: Vec<Held<'_>> = held.into_iter().filter(|held| held.of.is_ours()).collect();
        let bad = sort(&RULE, &ours, |held| held.verdict.result == DaneResult::Ineffective, &mut judgement);
        let Some(first) = bad.first() else {
            if let Some(well) = ours.iter().find(|held| held.verdict.result == DaneResult::Authenticated) {
                judgement.well(format!("{}: the TLSA records have effect", well.verdict.name));
            }
            continue;
        };
        let (name, reason) = (&first.verdict.name, &first.verdict.reason);
        let domain = first.of.name;
        let found = finding(evidence, &RULE, RULE.severity, &bad, |place| {
            format!("The TLSA records of {place} have no effect for mail to {domain}: {reason}.")
        });
        let sign = first.of.step(format!(
            "Have the zones signed from the root down: that of {domain} (its MX records), that of the host (its addresses and {name}), each with a DS record at its parent. Most providers of DNS do that by one switch."
        ));
        let remove = first
            .of
            .step(format!("Or take the TLSA records at {name} away: they protect nothing, and have to be kept in step with the certificate all the same."))
            .undo("publish them again");
        judgement.findings.extend(
            found.map(|found| found.data("domain", domain).fix(sign).fix(remove).reference("RFC 7672 section 2.2")),
        );
    }
    Ok(judgement)
}
