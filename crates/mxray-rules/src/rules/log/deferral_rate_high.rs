//! LOG103: much of the mail is put off.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Mover, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG103",
    name: "deferral-rate-high",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "many of the recipients are put off at least once",
    page: include_str!("deferral_rate_high.md"),
    check,
};

const PERCENT: u64 = 20;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let rate = logs.whole.deferral;
    if !rate.reaches(PERCENT) {
        judgement.well(format!("put off at least once: {} recipients", rate.text()));
        return Ok(judgement);
    }
    let deferring = || logs.causes.iter().filter(|cause| cause.retry.value().copied() != Some(false));
    let attempts: u64 = deferring().map(|cause| cause.attempts).sum();
    let greylisted: u64 = deferring().filter(|cause| cause.cause == "greylist").map(|cause| cause.attempts).sum();
    // The last hour has enough to say that it is over; and what is put off on purpose arrives at the second try.
    let lately = logged::lately(logs);
    let over = lately.deferral.denominator >= mxray_model::evidence::LogRate::RECIPIENTS_MIN
        && !lately.deferral.reaches(PERCENT);
    let quiet = logs.recent.value().is_some_and(|recent| recent.attempts.deferred == 0);
    let harmless = over || quiet || greylisted.saturating_mul(2) > attempts;
    let mut finding = RULE
        .finding_as(
            if harmless { Severity::Notice } else { RULE.severity },
            Subject::service("deferrals"),
            format!("{} recipients were put off at least once.", rate.text()),
        )
        .confidence(0.7)
        .data("numerator", rate.numerator)
        .data("denominator", rate.denominator)
        .data("threshold_percent", PERCENT)
        .because(format!("Put off: {}.", rate.text()), logged::SOURCE, logged::log_pointer(&["whole", "deferral"]))
        .reference("RFC 5321 section 4.5.4.1");
    if let Some(cause) = deferring().max_by_key(|cause| cause.attempts) {
        finding.whose_move = cause.whose_move;
        finding = finding.data("cause", cause.cause.clone()).data("receiver", cause.receiver.clone()).because(
            format!("Most of all {} at {}: {} attempts: {}", cause.cause, cause.receiver, cause.attempts, cause.sample),
            logged::SOURCE,
            logged::log_pointer(&["causes"]),
        );
    } else {
        finding.whose_move = Mover::Us;
    }
    for cause in deferring() {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
    }
    judgement.find(
        logged::touching_delivery(finding, evidence, None).fix(
            Fix::here("See which receivers put it off and why; what they say decides what helps.")
                .command("mxray queue")
                .verify("mxray logs --since 1h"),
        ),
    );
    Ok(judgement)
}
