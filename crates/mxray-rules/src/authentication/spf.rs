//! What the rules on SPF share: surveys, their flaws by rule, and records with an address added.

use super::{Of, each, subject};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity};
use std::net::IpAddr;

/// A flaw that a rule speaks of.
pub struct Picked<'a> {
    /// Its place among the survey's flaws.
    pub at: usize,
    pub flaw: &'a SpfFlaw,
    /// In one sentence.
    pub why: String,
}

/// Every record that was surveyed. A domain without one is SPF101's.
pub fn surveys(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Of<'_>, &SpfSurvey, &mut Judgement)) -> Said {
    each(evidence, rule, |of, judgement| match &of.domain.spf {
        Seen::Value(survey) => judge(of, survey, judgement),
        Seen::Absent => judgement.well(format!("{}: there is no SPF record that this could be said of", of.name)),
        Seen::Unknown(blind) => judgement.blind(rule, blind),
    })
}

/// Speaks of those flaws that `pick` has words for, once for each domain. Records that could not be looked at may have more.
pub fn flawed(
    evidence: &Evidence,
    rule: &Rule,
    well: &str,
    pick: impl Fn(&SpfFlaw) -> Option<String>,
    say: impl Fn(&Of<'_>, &SpfSurvey, &[Picked<'_>]) -> Finding,
) -> Said {
    surveys(evidence, rule, |of, survey, judgement| {
        let flaws = survey.flaws.iter().enumerate();
        let picked: Vec<Picked<'_>> =
            flaws.filter_map(|(at, flaw)| Some(Picked { at, flaw, why: pick(flaw)? })).collect();
        if picked.is_empty() {
            return match unseen(survey) {
                Some(blind) => judgement.blind(rule, &blind),
                None => judgement.well(format!("{}: {well}", of.name)),
            };
        }
        judgement.find(grounds(say(of, survey, &picked), of, &picked));
    })
}

/// What a finding rests on, and whose records they are.
fn grounds(mut finding: Finding, of: &Of<'_>, picked: &[Picked<'_>]) -> Finding {
    for one in picked {
        let pointer = of.pointer(&["spf", "value", "flaws", &one.at.to_string()]);
        finding = finding.because(one.why.as_str(), format!("TXT {}", one.flaw.domain), pointer);
    }
    let mut records: Vec<&str> = picked.iter().map(|one| one.flaw.domain.as_str()).collect();
    records.dedup();
    finding.data("records", records).touches(subject(of.name))
}

/// What of the tree could not be looked at.
pub fn unseen(survey: &SpfSurvey) -> Option<Blind> {
    survey.flaws.iter().find_map(|flaw| match &flaw.problem {
        SpfProblem::NotSeen { what, why } => Some(Blind::Failed { step: what.clone(), error: why.clone() }),
        _ => None,
    })
}

/// Begins a sentence about a record.
pub fn whose(of: &Of<'_>, flaw: &SpfFlaw) -> String {
    if flaw.domain == of.name {
        format!("The SPF record of {}", of.name)
    } else {
        format!("The SPF record of {}, which that of {} leads to,", flaw.domain, of.name)
    }
}

/// Of the domain's own record, or of one that somebody else keeps.
pub fn is_own(of: &Of<'_>, picked: &[Picked<'_>]) -> bool {
    picked.iter().any(|one| one.flaw.domain == of.name)
}

/// A finding of a domain's records, at its rule's severity, milder where nothing is sent in the domain's name.
pub fn finding(rule: &Rule, of: &Of<'_>, summary: String) -> Finding {
    let severity = if of.is_parked() { rule.severity.min(Severity::Warning) } else { rule.severity };
    rule.finding_as(severity, of.subject(), summary).data("domain", of.name)
}

/// The step that looks again.
pub fn verified(fix: Fix, of: &Of<'_>) -> Fix {
    fix.verify(format!("mxray domain {} --trace --no-connect", of.name))
}

/// The record with the address as its first mechanism: it is reached whatever follows, and costs no lookup. `None`: it has it
/// already, or is no record.
pub fn with_address(record: &str, address: IpAddr) -> Option<String> {
    let (version, rest) = record.split_at_checked("v=spf1".len())?;
    if !version.eq_ignore_ascii_case("v=spf1") || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let kind = if address.is_ipv4() { "ip4" } else { "ip6" };
    let term = format!("{kind}:{address}");
    let rest = rest.trim();
    if rest.split(' ').any(|have| have.trim_start_matches('+').eq_ignore_ascii_case(&term)) {
        return None;
    }
    let text = if rest.is_empty() { format!("{version} {term}") } else { format!("{version} {term} {rest}") };
    Some(text)
}

/// The record without the terms for which `leave` is true.
pub fn without(record: &str, leave: impl Fn(&str) -> bool) -> String {
    record.split(' ').filter(|term| !term.is_empty() && !leave(term)).collect::<Vec<_>>().join(" ")
}
