//! LOG101: too many recipients do not exist.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::LogCause;
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG101",
    name: "bounce-rate-high",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "too many of the recipients that mail was sent to do not exist: receivers take that for a bought or an old list",
    page: include_str!("bounce_rate_high.md"),
    check,
};

/// What the large receivers and all sending services call too much.
const PERCENT: u64 = 2;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let rate = logs.whole.bounce;
    if !rate.reaches(PERCENT) {
        judgement.well(format!("wrong addresses: {} recipients that are final", rate.text()));
        return Ok(judgement);
    }
    // The last hour has enough to say that it is over.
    let over = logs.recent.value().filter(|recent| {
        recent.bounce.denominator >= mxray_model::evidence::LogRate::RECIPIENTS_MIN && !recent.bounce.reaches(PERCENT)
    });
    let severity = if over.is_some() { Severity::Notice } else { RULE.severity };
    let ended = over.map_or_else(String::new, |recent| format!(", of the last hour {}", recent.bounce.text()));
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service("sending"),
            format!(
                "Of recipients that are final, {} had addresses that do not exist{ended}; {PERCENT} % is too much.",
                rate.text()
            ),
        )
        .confidence(0.9)
        .data("numerator", rate.numerator)
        .data("denominator", rate.denominator)
        .data("threshold_percent", PERCENT)
        .because(
            format!("Wrong addresses: {}.", rate.text()),
            logged::SOURCE,
            logged::log_pointer(&["whole", "bounce"]),
        )
        .reference("RFC 5321 section 4.2.3")
        .reference("Gmail sender guidelines");
    for cause in wrong(&logs.causes).take(3) {
        finding = finding.because(
            format!("{}: {} recipients: {}", cause.receiver, cause.recipients, cause.sample),
            logged::SOURCE,
            logged::log_pointer(&["causes"]),
        );
    }
    for cause in wrong(&logs.causes) {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
    }
    if let Some(account) = logs.accounts.iter().max_by_key(|account| account.bounce.numerator) {
        if account.bounce.numerator.saturating_mul(2) > rate.numerator {
            finding = finding.data("account", account.name.clone()).because(
                format!("The account {} sent most of it: {}.", account.name, account.bounce.text()),
                logged::SOURCE,
                logged::log_pointer(&["accounts"]),
            );
        }
    }
    judgement.find(finding.fix(
        Fix::here("Stop the mailing that causes it, take the addresses out that bounced, and write only to those who asked for it.")
            .command("mxray logs")
            .verify("mxray logs --since 1h"),
    ));
    Ok(judgement)
}

fn wrong(causes: &[LogCause]) -> impl Iterator<Item = &LogCause> {
    causes.iter().filter(|cause| cause.finality == "address-gone")
}
