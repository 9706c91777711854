//! QUEUE101: more comes than leaves.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::Queue;
use mxray_model::{Evidence, Finding, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "QUEUE101",
    name: "queue-growing",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "deferred mail grows: much of what came within the last hour is still there",
    page: include_str!("queue_growing.md"),
    check,
};

/// Of the last hour, tried and put off.
const YOUNG_MIN: u64 = 30;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    if logged::blind_queues(evidence, &RULE, &mut judgement) {
        return Ok(judgement);
    }
    for (instance, queue) in logged::queues(evidence) {
        if queue.young_deferred < YOUNG_MIN || !outgrows(evidence, queue) {
            judgement.well(format!(
                "{instance}: {} messages wait, {} of them came within the last hour and were put off",
                queue.messages, queue.young_deferred
            ));
            continue;
        }
        judgement.find(finding(evidence, instance, queue));
    }
    Ok(judgement)
}

/// More of the last hour's mail waits than a fifth of what was delivered in it.
fn outgrows(evidence: &Evidence, queue: &Queue) -> bool {
    match evidence.logs.value().and_then(|logs| logs.recent.value()) {
        Some(recent) => queue.young_deferred.saturating_mul(5) >= recent.recipients.delivered,
        None => true,
    }
}

fn finding(evidence: &Evidence, instance: &str, queue: &Queue) -> Finding {
    let destination = logged::most(queue.destinations.iter().map(|(name, row)| (name, row.recipients)));
    let cause = queue.causes.iter().max_by_key(|cause| cause.recipients);
    // What is put off on purpose leaves by itself.
    let greylisted =
        cause.is_some_and(|cause| cause.cause == "greylist" && cause.recipients.saturating_mul(2) > queue.recipients);
    let towards =
        destination.map_or_else(String::new, |(name, count)| format!(", most of it for {name} ({count} recipients)"));
    let why = cause.map_or_else(String::new, |cause| format!(": {} ({})", cause.about, cause.receiver));
    let mut finding = RULE
        .finding_as(
            if greylisted { Severity::Notice } else { RULE.severity },
            Subject::new(SubjectKind::Queue, instance),
            format!(
                "The queue of {instance} grows: {} messages of the last hour were put off{towards}{why}.",
                queue.young_deferred
            ),
        )
        .confidence(0.75)
        .data("messages", queue.messages)
        .data("young_deferred", queue.young_deferred)
        .because(
            format!(
                "{} messages wait, {} of them deferred and younger than an hour.",
                queue.messages, queue.young_deferred
            ),
            queue.source.clone(),
            logged::queue_pointer(instance, "young_deferred"),
        );
    if let Some((name, _)) = destination {
        finding = finding.data("destination", name.clone());
    }
    if let Some(cause) = cause {
        finding.whose_move = cause.whose_move;
        finding = finding.data("cause", cause.cause.clone()).data("receiver", cause.receiver.clone()).because(
            format!("{} recipients: {}", cause.recipients, cause.sample),
            queue.source.clone(),
            logged::queue_pointer(instance, "causes"),
        );
    }
    touching(finding, evidence, instance, queue).fix(
        Fix::here(
            "End the cause first; then let the server try again. Trying again before only makes receivers slower.",
        )
        .command("mxray queue")
        .verify("mxray queue --interval 60"),
    )
}

/// Whatever holds up one of its large parts explains the whole.
pub fn touching(mut finding: Finding, evidence: &Evidence, instance: &str, queue: &Queue) -> Finding {
    for cause in queue.causes.iter().filter(|cause| cause.recipients.saturating_mul(4) >= queue.recipients) {
        finding = finding.touches(logged::receiver_scope(&cause.receiver));
        finding = logged::touching_endpoints(finding, evidence, &[&cause.host], &[&cause.domain]);
    }
    logged::touching_delivery(finding, evidence, Some(instance))
}
