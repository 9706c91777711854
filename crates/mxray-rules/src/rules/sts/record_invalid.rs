//! STS102: there is a record for MTA-STS, and senders cannot use it.

use crate::policies::{self, Of, Policy};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{StsProblem, StsRecord};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "STS102",
    name: "sts-record-invalid",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the record for MTA-STS cannot be used: senders act as if there were no policy",
    page: include_str!("record_invalid.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for of in policies::domains(evidence) {
        let Some(sts) = of.sts(&RULE, &mut judgement) else { continue };
        match &sts.record {
            Seen::Value(record) if record.problems.is_empty() => {
                judgement.well(format!("{}: the record for MTA-STS is as it should be", of.name));
            }
            Seen::Value(record) => judgement.find(finding(evidence, of, record)),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

/// In the words of whoever mends it.
pub(super) fn words(problem: &StsProblem) -> String {
    match problem {
        StsProblem::Record { column, why } => format!("at column {column}: {why}"),
        StsProblem::SeveralRecords { count } => format!("{count} records, of which senders take none"),
        StsProblem::Policy { line: 0, why } => why.clone(),
        StsProblem::Policy { line, why } => format!("in line {line}: {why}"),
        StsProblem::MissingKey { key } => format!("there is no {key}"),
        StsProblem::NoMx => "it names no mx".to_owned(),
        StsProblem::MaxAge { found } => format!("max_age: {found} is no number up to 31557600"),
        StsProblem::ShortAge { seconds } => format!("max_age of {seconds} s is less than a week"),
        StsProblem::ContentType { found } => format!("it is served as {found} in place of text/plain"),
    }
}

fn finding(evidence: &Evidence, of: Of<'_>, record: &StsRecord) -> Finding {
    let name = of.name;
    let what: Vec<String> = record.problems.iter().map(words).collect();
    let severity = of.severity(evidence, Policy::Sts, RULE.severity);
    let id = match record.id.as_deref() {
        Some(id) if id.len() <= 32 && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            id.to_owned()
        }
        other => policies::new_id(evidence, other),
    };
    let fix = of
        .step(format!("Publish exactly this one TXT record at _mta-sts.{name}, and take away what else stands there."))
        .record(format!("_mta-sts.{name}"), "TXT", policies::quoted(&policies::sts_record(&id)))
        .undo(format!("publish `{}` again", record.text));
    of.finding(
        &RULE,
        severity,
        of.subject(),
        format!("The MTA-STS record of {name} cannot be used: {}.", what.join("; ")),
    )
    .data("record", record.text.clone())
    .data("problems", what)
    .because(
        format!("_mta-sts.{name} TXT {}", policies::quoted(&record.text)),
        "DNS",
        of.pointer(&["sts", "value", "record", "value"]),
    )
    .fix(fix)
    .reference("RFC 8461 section 3.1")
}
