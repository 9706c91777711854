//! LOOK010: a part of the examination crashed or was cut off.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::PartOutcome;
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOOK010",
    name: "collector-failed",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a part of the examination crashed or was cut off; what it would have told is unknown",
    page: include_str!("collector_failed.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, part) in &evidence.parts {
        let (what, fix) = match &part.outcome {
            PartOutcome::Finished => continue,
            PartOutcome::CutOff => (
                match part.took_ms {
                    0 => "was not begun, the time being over".to_owned(),
                    took_ms => format!("was cut off after {took_ms} ms"),
                },
                Fix::here("Give the run more time; if that does not help, look at what hangs (a dead network file system, an overloaded machine).")
                    .command("mxray doctor --deadline 60"),
            ),
            PartOutcome::Crashed { message } => (
                format!("crashed: {message}"),
                Fix::here("Report it to mxray with the saved report.").command("mxray doctor --json > report.json"),
            ),
        };
        judgement.find(
            RULE.finding(
                Subject::new(mxray_model::SubjectKind::Report, name.clone()),
                format!("The part \"{name}\" of this examination {what}; what it would have told is unknown."),
            )
            .because(format!("The part {name} {what}."), "mxray", view::pointer(["parts", name]))
            .data("part", name.clone())
            .data("took_ms", part.took_ms)
            .fix(fix.verify("mxray doctor"))
            .reference("mxray doctor --deadline"),
        );
    }
    if judgement.findings.is_empty() && !evidence.parts.is_empty() {
        judgement.well(format!("all {} parts of the examination came back", evidence.parts.len()));
    }
    Ok(judgement)
}
