//! SPF109: everybody passes.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF109",
    name: "spf-pass-all",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an SPF record lets everybody send",
    page: include_str!("pass_all.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "the SPF record does not let everybody send", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::PassAll { term } => {
            Some(format!("\"{term}\" in the record of {} matches every address", flaw.domain))
        }
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let term = |one: &Picked<'_>| match &one.flaw.problem {
        SpfProblem::PassAll { term } => term.clone(),
        _ => String::new(),
    };
    let terms: Vec<String> = picked.iter().map(term).collect();
    let whose = picked.first().map_or_else(String::new, |one| spf::whose(of, one.flaw));
    let summary = format!(
        "{whose} lets everybody send (\"{}\"): forged mail passes SPF, and with it DMARC.",
        terms.first().map_or("", String::as_str)
    );
    let is_all = |term: &str| matches!(term.to_ascii_lowercase().as_str(), "all" | "+all");
    let record = survey.record.as_deref().unwrap_or_default();
    let step = if record.split(' ').any(is_all) {
        let closed: Vec<&str> = record.split(' ').map(|term| if is_all(term) { "~all" } else { term }).collect();
        publish("Close it: name the hosts that send, and end with ~all, later -all.", of.name, &closed.join(" "))
    } else {
        change("Take the term out, or the include that leads to it, and name the hosts that send.")
    };
    spf::finding(&RULE, of, summary).data("terms", terms).fix(spf::verified(step, of)).reference("RFC 7208 section 5.1")
}
