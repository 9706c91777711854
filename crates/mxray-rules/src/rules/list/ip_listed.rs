//! LIST101: a sending address on a list that decides about mail.

use super::Entry;
use crate::published::listing_severity;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "LIST101",
    name: "ip-listed",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an address that mail leaves from is on a list that many receivers use",
    page: include_str!("ip_listed.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (text, entries) in super::by_subject(evidence, true, &RULE, &mut judgement) {
        super::clear(&RULE, text, &entries, true, &mut judgement);
        let listed = super::listed(&entries, true);
        if let Some(first) = listed.first() {
            judgement.find(finding(evidence, text, first, &listed));
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, text: &str, first: &Entry<'_>, listed: &[Entry<'_>]) -> Finding {
    let worst = listed.iter().filter_map(|entry| listing_severity(entry.listing)).max().unwrap_or(RULE.severity);
    let in_use = super::is_in_use(evidence, text);
    // Lists of addresses that are to send nothing by themselves accuse nobody; whoever sends by himself is refused all the same.
    let severity = match (in_use, worst) {
        (true, Severity::Error) => Severity::Critical,
        (true, Severity::Warning) => Severity::Error,
        (_, other) => other,
    };
    let more = if listed.len() > 1 { format!(" and {} more", listed.len() - 1) } else { String::new() };
    let what = if in_use { format!("Mail leaves from {text}, which is on") } else { format!("{text} is on") };
    let summary = format!("{what} {}{more}: receivers that use it refuse its mail.", super::in_words(first.listing));
    super::finding(&RULE, severity, super::address(text), &summary, listed)
}
