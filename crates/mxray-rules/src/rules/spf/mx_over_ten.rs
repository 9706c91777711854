//! SPF112: mx of a domain with more than ten MX records.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF112",
    name: "spf-mx-over-ten",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "mx in an SPF record stands for more than ten hosts, which is an error for receivers",
    page: include_str!("mx_over_ten.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "no mx of the SPF record stands for more than ten hosts", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::MxOverTen { name, count } => {
            Some(format!("{name} has {count} MX records, and mx in the record of {} asks for them", flaw.domain))
        }
        _ => None,
    }
}

fn finding(of: &Of<'_>, _: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let name = |one: &Picked<'_>| match &one.flaw.problem {
        SpfProblem::MxOverTen { name, .. } => name.clone(),
        _ => String::new(),
    };
    let names: Vec<String> = picked.iter().map(name).collect();
    let summary = format!(
        "mx in the SPF record of {} stands for more than ten hosts ({}): checks that get there end in permerror.",
        of.name,
        names.join(", ")
    );
    spf::finding(&RULE, of, summary)
        .data("names", names)
        .fix(spf::verified(change("Write the networks of these hosts as ip4: and ip6: in place of mx."), of))
        .reference("RFC 7208 section 4.6.4")
}
