//! SPF108: records that lead back to themselves.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF108",
    name: "spf-loop",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "SPF records lead back to themselves",
    page: include_str!("includes_itself.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "no SPF record leads back to itself", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::Loop { target } => {
            Some(format!("the record of {} leads to {target}, which led to it", flaw.domain))
        }
        _ => None,
    }
}

fn finding(of: &Of<'_>, _: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let target = |one: &Picked<'_>| match &one.flaw.problem {
        SpfProblem::Loop { target } => target.clone(),
        _ => String::new(),
    };
    let targets: Vec<String> = picked.iter().map(target).collect();
    let summary = format!(
        "The SPF record of {} leads back to {}: whoever is not matched before ends in permerror after ten lookups.",
        of.name,
        targets.first().map_or("itself", String::as_str)
    );
    spf::finding(&RULE, of, summary)
        .data("targets", targets)
        .fix(spf::verified(
            change(
                "Take out the include or redirect that leads back. It can match nobody that is not matched already.",
            ),
            of,
        ))
        .reference("RFC 7208 section 4.6.4")
}
