//! SPF119: what the record asks for depends on who sends.

use crate::authentication::change;
use crate::authentication::spf;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "SPF119",
    name: "spf-dynamic",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "an SPF record uses macros: its lookups can only be counted for a sender",
    page: include_str!("macros.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "no SPF record depends on who sends", pick, |of, survey, picked| {
        let term = |one: &spf::Picked<'_>| match &one.flaw.problem {
            SpfProblem::Dynamic { term, .. } => term.clone(),
            _ => String::new(),
        };
        let terms: Vec<String> = picked.iter().map(term).collect();
        let summary = format!(
            "The SPF record of {} depends on who sends ({}): {} lookups without a sender is a bound.",
            of.name,
            terms.first().map_or("", String::as_str),
            survey.lookups
        );
        let step = change("Nothing is wrong. To see what it says of one sender, evaluate it for that sender.");
        spf::finding(&RULE, of, summary)
            .data("terms", terms)
            .fix(step.verify(format!("mxray domain {} --spf --ip CLIENT --helo NAME --mail-from ADDRESS", of.name)))
            .reference("RFC 7208 section 7")
    })
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::Dynamic { term, column } => {
            Some(format!("column {column} of the record of {}: \"{term}\" has macros", flaw.domain))
        }
        _ => None,
    }
}
