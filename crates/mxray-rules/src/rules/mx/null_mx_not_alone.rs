//! MX104: a null MX beside other MX records.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::MailRouteProblem;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MX104",
    name: "null-mx-not-alone",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a null MX stands beside other MX records",
    page: include_str!("null_mx_not_alone.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        if !routed.problems().any(|problem| matches!(problem, MailRouteProblem::NullBesideOthers)) {
            judgement.well(format!("{} has no null MX beside other MX records", routed.name));
            continue;
        }
        let name = routed.name;
        let summary = format!(
            "{name} has a null MX (\".\") beside other MX records: some senders take it at its word and send nothing."
        );
        let text =
            "Take the record with \".\" away, and keep these; or keep it alone, if the domain is to take no mail.";
        let fix = routed.records(routed.step(text), |host| Some(host.name.clone()));
        let finding = routed.finding(&RULE, RULE.severity, false, summary).reference("RFC 7505 section 3").fix(fix);
        judgement.find(finding);
    }
    Ok(judgement)
}
