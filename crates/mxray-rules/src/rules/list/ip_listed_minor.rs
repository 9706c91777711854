//! LIST102: a sending address on a list that few receivers go by, or that lists whole networks.

use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "LIST102",
    name: "ip-listed-minor",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "an address that mail leaves from is on a list that few receivers use",
    page: include_str!("ip_listed_minor.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (text, entries) in super::by_subject(evidence, true, &RULE, &mut judgement) {
        super::clear(&RULE, text, &entries, false, &mut judgement);
        let listed = super::listed(&entries, false);
        if let Some(first) = listed.first() {
            let more = if listed.len() > 1 { format!(" and {} more", listed.len() - 1) } else { String::new() };
            let network = if first.listing.netblock { ", which lists its whole network" } else { "" };
            let summary =
                format!("{text} is on {}{network}{more}; few receivers go by it.", super::in_words(first.listing));
            judgement.find(super::finding(&RULE, RULE.severity, super::address(text), &summary, &listed));
        }
    }
    Ok(judgement)
}
