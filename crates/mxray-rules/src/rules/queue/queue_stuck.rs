//! QUEUE102: mail waits, and nothing leaves.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::Queue;
use mxray_model::{Evidence, Finding, Fix, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "QUEUE102",
    name: "queue-stuck",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "mail waits in the queue, and nothing leaves it",
    page: include_str!("queue_stuck.md"),
    check,
};

/// A message is taken up in seconds where the server works.
const UNTOUCHED_S: u64 = 600;
/// The same of Sendmail: told to queue only, it leaves everything to the next queue run, which may be an hour away.
const UNTOUCHED_RUNS_S: u64 = 5_400;
/// In the last hour, so that a host that hears of two dead domains is left alone.
const RECEIVED_MIN: u64 = 5;
const DEFERRED_MIN: u64 = 5;
const WAITING_MIN: u64 = 5;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    if logged::blind_queues(evidence, &RULE, &mut judgement) {
        return Ok(judgement);
    }
    for (instance, queue) in logged::queues(evidence) {
        match stuck(evidence, instance, queue) {
            Some((text, confidence, part)) => {
                judgement.find(finding(evidence, instance, queue, &text, confidence, part));
            }
            None if queue.messages == 0 => judgement.well(format!("{instance}: its queue is empty")),
            None => judgement
                .well(format!("{instance}: {} messages wait, and nothing says that none leaves", queue.messages)),
        }
    }
    Ok(judgement)
}

/// How long nothing may happen to a message.
fn untouched_s(evidence: &Evidence, instance: &str) -> u64 {
    let server = evidence.servers.value().and_then(|servers| servers.get(instance));
    if server.is_some_and(|server| server.software == "sendmail") { UNTOUCHED_RUNS_S } else { UNTOUCHED_S }
}

/// What shows it, how sure that is, and where it stands.
fn stuck(evidence: &Evidence, instance: &str, queue: &Queue) -> Option<(String, f32, &'static str)> {
    for (state, what) in [
        ("maildrop", "what local programs handed in was not picked up"),
        ("incoming", "what was accepted was never tried"),
    ] {
        let oldest = queue.states.get(state).filter(|row| row.oldest_s >= untouched_s(evidence, instance));
        if let Some(row) = oldest {
            return Some((
                format!("{what}: {} messages, the oldest since {}", row.messages, logged::span(row.oldest_s)),
                0.85,
                "states",
            ));
        }
    }
    let recent = evidence.logs.value()?.recent.value()?;
    let deferred = queue.states.get("deferred").map_or(0, |row| row.messages);
    let active = queue.states.get("active").map_or(0, |row| row.messages);
    let nothing = recent.attempts.sent == 0 && recent.recipients.delivered == 0;
    if nothing
        && recent.received >= RECEIVED_MIN
        && recent.attempts.deferred >= DEFERRED_MIN
        && deferred + active >= WAITING_MIN
    {
        let text = format!(
            "within the last hour {} messages came, {} attempts were put off and nothing was delivered",
            recent.received, recent.attempts.deferred
        );
        return Some((text, 0.8, "states"));
    }
    None
}

fn finding(evidence: &Evidence, instance: &str, queue: &Queue, text: &str, confidence: f32, part: &str) -> Finding {
    let mut finding = RULE
        .finding(Subject::new(SubjectKind::Queue, instance), format!("Nothing leaves the queue of {instance}: {text}."))
        .confidence(confidence)
        .data("messages", queue.messages)
        .because(
            format!("{} messages wait: {text}.", queue.messages),
            queue.source.clone(),
            logged::queue_pointer(instance, part),
        );
    for (state, row) in &queue.states {
        finding = finding.data(state, row.messages);
    }
    if let Some(cause) = queue.causes.iter().max_by_key(|cause| cause.recipients) {
        finding = finding.data("cause", cause.cause.clone()).because(
            format!("{} recipients: {}", cause.recipients, cause.sample),
            queue.source.clone(),
            logged::queue_pointer(instance, "causes"),
        );
    }
    super::queue_growing::touching(finding, evidence, instance, queue).fix(
        Fix::here("See whether the server's own programs run (Postfix: qmgr and pickup), then what the oldest message waits for.")
            .command("mxray queue")
            .verify("mxray queue --interval 60"),
    )
}
