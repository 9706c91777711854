//! SPF102: more than one SPF record.

use crate::authentication::{change, spf};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::SpfProblem;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "SPF102",
    name: "spf-multiple",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "more than one SPF record under one name, which is an error for receivers",
    page: include_str!("multiple.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let well = "there is one SPF record under each name";
    let pick = |flaw: &mxray_model::evidence::published::SpfFlaw| match flaw.problem {
        SpfProblem::Multiple { count } => Some(format!("{count} TXT records of {} begin with v=spf1", flaw.domain)),
        _ => None,
    };
    spf::flawed(evidence, &RULE, well, pick, |of, _, picked| {
        let names: Vec<&str> = picked.iter().map(|one| one.flaw.domain.as_str()).collect();
        let whose = names.join(", ");
        let summary = format!("{whose} has more than one SPF record: every check for {} ends in permerror.", of.name);
        let step = if spf::is_own(of, picked) {
            "Make one record of them: v=spf1, then the mechanisms of all, then one `all`. Two records do not add up, they cancel \
             each other out."
        } else {
            "Tell whoever keeps that record, and until it is mended take the include out, or name their addresses instead."
        };
        spf::finding(&RULE, of, summary).fix(spf::verified(change(step), of)).reference("RFC 7208 section 4.5")
    })
}
