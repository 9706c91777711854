//! LIST104: a domain of ours on a list of domains.

use crate::published::listing_severity;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "LIST104",
    name: "domain-listed",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a domain that mail is written for is on a list",
    page: include_str!("domain_listed.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, entries) in super::by_subject(evidence, false, &RULE, &mut judgement) {
        for major in [true, false] {
            super::clear(&RULE, name, &entries, major, &mut judgement);
        }
        let listed: Vec<_> = [true, false].into_iter().flat_map(|major| super::listed(&entries, major)).collect();
        let Some(first) = listed.first() else { continue };
        let severity = listed.iter().filter_map(|entry| listing_severity(entry.listing)).max().unwrap_or(RULE.severity);
        let more = if listed.len() > 1 { format!(" and {} more", listed.len() - 1) } else { String::new() };
        let summary = format!(
            "{name} is on {}{more}: mail that comes from it, or only names it, is refused or filed as spam.",
            super::in_words(first.listing)
        );
        judgement.find(super::finding(&RULE, severity, super::domain(name), &summary, &listed));
    }
    Ok(judgement)
}
