//! LOG109: lines of a mail server that this program does not know.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG109",
    name: "log-not-understood",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "some lines of the log were not understood: what they say is missing from all figures",
    page: include_str!("log_not_understood.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let lines = &logs.lines;
    if lines.not_understood == 0 {
        judgement.well(format!(
            "all {} lines of mail servers were understood ({} of other programs)",
            lines.understood, lines.foreign
        ));
        return Ok(judgement);
    }
    let mut finding = RULE
        .finding(
            Subject::service("log"),
            format!("{} of {} lines of the log were not understood.", lines.not_understood, lines.read),
        )
        .data("not_understood", lines.not_understood)
        .data("read", lines.read)
        .data("samples", lines.samples.clone());
    for sample in lines.samples.iter().take(3) {
        finding = finding.because(
            format!("Not understood: {sample}"),
            logged::SOURCE,
            logged::log_pointer(&["lines", "samples"]),
        );
    }
    judgement.find(
        finding.fix(
            Fix::here("Please report the samples to mxray, with names and addresses changed.").verify("mxray logs"),
        ),
    );
    Ok(judgement)
}
