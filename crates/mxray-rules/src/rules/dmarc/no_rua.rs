//! DMARC105: nobody is sent reports.

use crate::authentication::dmarc::{records, with_tag};
use crate::authentication::publish;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcProblem;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC105",
    name: "dmarc-no-rua",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a DMARC record asks for no reports (rua)",
    page: include_str!("no_rua.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    records(evidence, &RULE, |applied, judgement| {
        let record = applied.record;
        let Some(at) = record.problems.iter().position(|problem| *problem == DmarcProblem::NoReports) else {
            return judgement.well(format!("the DMARC record of {} says where reports go", applied.owner));
        };
        // Where nothing is sent there is little to learn.
        let severity = if applied.of.is_parked() { Severity::Notice } else { RULE.severity };
        let address = format!("mailto:dmarc-reports@{}", applied.owner);
        let text = "Name an address of yours that takes mail; reports are many and compressed, so let a program read them \
                    (mxray reports).";
        let step = publish(text, &applied.name(), &with_tag(&record.text, "rua", &address));
        judgement.find(
            applied
                .finding(
                    &RULE,
                    severity,
                    format!(
                        "The DMARC record of {} asks for no reports: nobody learns whose mail fails.",
                        applied.owner
                    ),
                )
                .because("there is no rua=", applied.source(), applied.pointer(&["problems", &at.to_string()]))
                .fix(applied.verified(step))
                .reference("RFC 9989 section 4.7"),
        );
    })
}
