//! LOG102: receivers refuse for reputation or policy, and not only one.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{LogCause, LogRate};
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG102",
    name: "block-rate-high",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "receivers refuse many of the recipients for reputation, content or policy",
    page: include_str!("block_rate_high.md"),
    check,
};

/// A forwarder of mail has some of it always; beyond this a receiver has stopped trusting the sender.
const PERCENT: u64 = 5;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let rate = logs.whole.block;
    if !rate.reaches(PERCENT) {
        judgement.well(format!("refused for reputation or policy: {} recipients that are final", rate.text()));
        return Ok(judgement);
    }
    let over = logs
        .recent
        .value()
        .is_some_and(|recent| recent.block.denominator >= LogRate::RECIPIENTS_MIN && !recent.block.reaches(PERCENT));
    let mut finding = RULE
        .finding_as(
            if over { Severity::Notice } else { RULE.severity },
            Subject::service("reputation"),
            format!("Receivers refused {} recipients for reputation, content or policy.", rate.text()),
        )
        .confidence(0.85)
        .data("numerator", rate.numerator)
        .data("denominator", rate.denominator)
        .data("threshold_percent", PERCENT)
        .because(format!("Refused: {}.", rate.text()), logged::SOURCE, logged::log_pointer(&["whole", "block"]))
        .reference("RFC 5321 section 4.2.3");
    let blocks = || logs.causes.iter().filter(|cause| is_block(cause));
    for cause in blocks().take(3) {
        finding = finding.because(
            format!("{} ({}): {} recipients: {}", cause.receiver, cause.cause, cause.recipients, cause.sample),
            logged::SOURCE,
            logged::log_pointer(&["causes"]),
        );
    }
    let receivers: Vec<String> = blocks().map(|cause| cause.receiver.clone()).take(20).collect();
    finding = finding.data("receivers", receivers);
    for cause in blocks() {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
    }
    judgement.find(logged::touching_identity(finding, evidence).fix(
        Fix::here("Find what is sent that should not be: an account that is abused, a form, a forwarding; stop it, then ask the receivers for removal. Faster retries make it worse.")
            .command("mxray logs")
            .verify("mxray logs --since 1h"),
    ));
    Ok(judgement)
}

/// The causes that `mxray-logs` counts in the block rate.
pub fn is_block(cause: &LogCause) -> bool {
    matches!(
        cause.cause.as_str(),
        "ip-block-private"
            | "dnsbl-public"
            | "domain-block"
            | "rate-reputation"
            | "rate-new-ip"
            | "complaints"
            | "spam-content"
            | "virus"
            | "format"
    )
}
