//! SPF107: include or redirect leads to a domain without an SPF record.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change, listed, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF107",
    name: "spf-include-no-record",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "include or redirect leads to a name without an SPF record, which is an error for receivers",
    page: include_str!("include_no_record.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "every name that it includes has an SPF record", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::IncludeNoRecord { target } => {
            // The name itself is told, or the record whose term has a name that is none.
            Some(match flaw.domain == *target {
                true => format!("{target}, which a term leads to, has no SPF record"),
                false => format!("the record of {} leads to {target}, which has no SPF record", flaw.domain),
            })
        }
        _ => None,
    }
}

fn target(flaw: &SpfFlaw) -> &str {
    match &flaw.problem {
        SpfProblem::IncludeNoRecord { target } => target,
        _ => "",
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let targets: Vec<&str> = picked.iter().map(|one| target(one.flaw)).collect();
    let summary = format!(
        "The SPF record of {} leads to {}, where there is none: checks that get there end in permerror.",
        of.name,
        listed(&targets)
    );
    let record = survey.record.as_deref().unwrap_or_default();
    let dead = |term: &str| {
        let bare = term.trim_start_matches(['+', '-', '~', '?']);
        let leads = |rest: &str| targets.iter().any(|target| rest.trim_end_matches('.').eq_ignore_ascii_case(target));
        match bare.split_at_checked("include:".len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case("include:") => leads(rest),
            _ => false,
        }
    };
    let left = spf::without(record, dead);
    let step = if left != record && !record.is_empty() {
        publish(
            "Take the term out; if that service still sends for the domain, ask it for the name to include.",
            of.name,
            &left,
        )
    } else {
        change(
            "Correct the name, or take the term out. One in a record of somebody else is for its keeper to mend; until then \
                name their addresses instead of the include.",
        )
    };
    spf::finding(&RULE, of, summary)
        .data("targets", targets)
        .fix(spf::verified(step, of))
        .reference("RFC 7208 section 5.2")
        .reference("RFC 7208 section 6.1")
}
