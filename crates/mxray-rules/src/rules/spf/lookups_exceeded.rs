//! SPF104: more than ten terms that ask.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change, listed};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF104",
    name: "spf-lookups-exceeded",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "evaluating an SPF record takes more than ten lookups",
    page: include_str!("lookups_exceeded.md"),
    check,
};

/// Terms that are named in the summary.
const NAMED: usize = 3;

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "the SPF record takes at most ten lookups", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match flaw.problem {
        SpfProblem::LookupsExceeded { lookups } => Some(format!(
            "its terms and those of all records that they lead to make {lookups} lookups, and ten are allowed"
        )),
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, _: &[Picked<'_>]) -> Finding {
    let mut costs = costs(survey);
    costs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let named: Vec<String> = costs.iter().take(NAMED).map(|(term, cost)| format!("{term} {cost}")).collect();
    let least = if survey.exact { "" } else { "at least " };
    let summary = format!(
        "The SPF record of {} takes {least}{} lookups, and ten are allowed (most: {}): mail from whoever stands behind the \
         tenth ends in permerror.",
        of.name,
        survey.lookups,
        listed(&named)
    );
    let data: Vec<serde_json::Value> =
        costs.iter().map(|(term, cost)| serde_json::json!({"term": term, "lookups": cost})).collect();
    let own = |term: &&str| matches!(bare(term), "a" | "mx" | "ptr") || bare(term).starts_with("ptr:");
    let cheap: Vec<&str> = costs.iter().map(|(term, _)| *term).filter(own).collect();
    let mut text = "Take out what sends no mail for the domain any more, the costliest first.".to_owned();
    if !cheap.is_empty() {
        text.push_str(&format!(
            " Write the addresses of your own hosts as ip4: and ip6:, which cost nothing, in place of {}.",
            listed(&cheap)
        ));
    }
    text.push_str(
        " A service that sends for a part of the mail only can have a subdomain of its own as sender, with its own ten lookups.",
    );
    spf::finding(&RULE, of, summary)
        .data("lookups", survey.lookups)
        .data("exact", survey.exact)
        .data("terms", data)
        .fix(spf::verified(change(text), of))
        .reference("RFC 7208 section 4.6.4")
}

/// The domain's own terms, each with what it and all below it cost.
pub(super) fn costs(survey: &SpfSurvey) -> Vec<(&str, u32)> {
    let mut costs: Vec<(&str, u32)> = Vec::new();
    for node in &survey.tree {
        match costs.last_mut() {
            Some(last) if node.depth > 0 => last.1 += node.lookups,
            _ => costs.push((node.term.as_str(), node.lookups)),
        }
    }
    costs.retain(|(_, cost)| *cost > 0);
    costs
}

fn bare(term: &str) -> &str {
    term.trim_start_matches(['+', '-', '~', '?'])
}
