//! MX107: an MX record that leads to an alias.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{MailHost, MailRouteProblem};
use mxray_model::{Evidence, Severity};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "MX107",
    name: "mx-is-alias",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an MX record names an alias (CNAME)",
    page: include_str!("is_alias.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        if !routed.by_mx() {
            continue;
        }
        let aliases: BTreeMap<&str, &str> = routed.problems().filter_map(alias).collect();
        let Some((first, target)) = aliases.first_key_value() else {
            judgement.well(format!("no MX record of {} names an alias", routed.name));
            continue;
        };
        let name = routed.name;
        let more = if aliases.len() > 1 { format!(" (and {} more)", aliases.len() - 1) } else { String::new() };
        let summary = format!(
            "An MX record of {name} names {first}, which is an alias of {target}{more}: most senders follow it, some bounce."
        );
        let named: Vec<&str> = aliases.keys().copied().collect();
        let renamed = |host: &MailHost| {
            Some(aliases.get(host.name.as_str()).map_or_else(|| host.name.clone(), |target| (*target).to_owned()))
        };
        let step = routed.step(
            "Let the MX records name the hosts themselves; or give the name address records in place of the CNAME.",
        );
        let finding = routed
            .finding(&RULE, RULE.severity, false, summary)
            .data("aliases", named)
            .reference("RFC 2181 section 10.3")
            .reference("RFC 5321 section 5.1")
            .fix(routed.records(step, renamed));
        judgement.find(finding);
    }
    Ok(judgement)
}

fn alias(problem: &MailRouteProblem) -> Option<(&str, &str)> {
    match problem {
        MailRouteProblem::Alias { name, target } => Some((name, target)),
        _ => None,
    }
}
