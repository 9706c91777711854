//! SPF106: more than two lookups without an answer.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF106",
    name: "spf-voids-exceeded",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "evaluating an SPF record asks for more than two names that have nothing",
    page: include_str!("voids_exceeded.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "at most two names of the SPF record have nothing", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match flaw.problem {
        SpfProblem::VoidsExceeded { voids } => Some(format!(
            "{voids} questions have no answer (no such name, or no record of the kind), and two are allowed"
        )),
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, _: &[Picked<'_>]) -> Finding {
    let void: Vec<(&str, &str)> =
        survey.tree.iter().flat_map(|node| node.voids.iter().map(|void| (node.term.as_str(), void.as_str()))).collect();
    let mut terms: Vec<&str> = void.iter().map(|(term, _)| *term).collect();
    terms.dedup();
    let summary = format!(
        "The SPF record of {} asks for {} names that have nothing ({}); most receivers end in permerror after two.",
        of.name,
        survey.voids,
        terms.join(", ")
    );
    let questions: Vec<&str> = void.iter().map(|(_, question)| *question).collect();
    spf::finding(&RULE, of, summary)
        .data("voids", survey.voids)
        .data("terms", terms)
        .data("questions", questions)
        .fix(spf::verified(
            change("Take those terms out, or give the names their addresses back. They match nobody as they are."),
            of,
        ))
        .reference("RFC 7208 section 4.6.4")
}
