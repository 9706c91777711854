//! SPF103: an SPF record that cannot be read.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF103",
    name: "spf-syntax",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an SPF record has a syntax error, which spoils all of it",
    page: include_str!("syntax.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "every SPF record can be read", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::Syntax { column, text, why } => {
            Some(format!("column {column} of the record of {}, \"{text}\": {why}", flaw.domain))
        }
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let terms: Vec<&str> = picked.iter().filter_map(|one| term(&one.flaw.problem)).collect();
    let whose = picked.first().map_or_else(String::new, |one| spf::whose(of, one.flaw));
    let summary = format!(
        "{whose} has a syntax error (\"{}\"): every check for {} ends in permerror, whatever the rest says.",
        terms.first().copied().unwrap_or_default(),
        of.name
    );
    let own: Vec<&str> =
        picked.iter().filter(|one| one.flaw.domain == of.name).filter_map(|one| term(&one.flaw.problem)).collect();
    let step = if own.is_empty() {
        change(
            "Tell whoever keeps that record; until it is mended, take the include out, or name their addresses instead.",
        )
    } else {
        let mut step = change(
            "Correct the term, or take it out. The whole record counts as an error while one term cannot be read, also where an \
             earlier term would have matched.",
        );
        let left = spf::without(survey.record.as_deref().unwrap_or_default(), |term| own.contains(&term));
        if left.len() > "v=spf1".len() && survey.record.as_deref() != Some(left.as_str()) {
            step =
                crate::authentication::publish(format!("{} Without it the record reads:", step.text), of.name, &left);
        }
        step
    };
    spf::finding(&RULE, of, summary).data("terms", terms).fix(spf::verified(step, of)).reference("RFC 7208 section 4.6")
}

fn term(problem: &SpfProblem) -> Option<&str> {
    match problem {
        SpfProblem::Syntax { text, .. } => Some(text),
        _ => None,
    }
}
