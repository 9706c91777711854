//! SPF110: the record says nothing of those whom it does not name.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF110",
    name: "spf-no-default",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "an SPF record says nothing of hosts that it does not name",
    page: include_str!("no_default.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "the SPF record says what becomes of all others", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::NoDefault { term: Some(term) } => Some(format!(
            "\"{term}\" in the record of {} gives everybody else neutral, as if there were no record",
            flaw.domain
        )),
        SpfProblem::NoDefault { term: None } => {
            Some(format!("the record of {} has neither all nor redirect: everybody else gets neutral", flaw.domain))
        }
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let whose = picked.first().map_or_else(String::new, |one| spf::whose(of, one.flaw));
    let summary =
        format!("{whose} says nothing of hosts that it does not name: forged mail is as good as if there were none.");
    let record = survey.record.as_deref().unwrap_or_default();
    let is_neutral = |term: &&str| !term.is_empty() && !term.eq_ignore_ascii_case("?all");
    let closed = format!("{} ~all", record.split(' ').filter(is_neutral).collect::<Vec<_>>().join(" "));
    spf::finding(&RULE, of, summary)
        .fix(spf::verified(
            publish(
                "End the record with ~all, and with -all when reports show that nobody is left out. Where the default stands in \
                 a record that it redirects to, change it there.",
                of.name,
                &closed,
            ),
            of,
        ))
        .reference("RFC 7208 section 4.7")
}
