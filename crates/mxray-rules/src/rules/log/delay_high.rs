//! LOG110: mail takes long, and in which phase.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG110",
    name: "delay-high",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "most deliveries take long, and one phase of them takes most of it",
    page: include_str!("delay_high.md"),
    check,
};

/// Under so many deliveries a median says nothing.
const DELIVERIES_MIN: u64 = 20;

/// A phase, from which median it is long, what it is, and where to look.
const PHASES: [(&str, u64, &str, &str); 4] = [
    (
        "before_queue",
        300_000,
        "before the queue takes it up, or while it waits between two attempts",
        "Milters and filters that take long, or receivers that put mail off: what the queue says decides.",
    ),
    (
        "in_queue",
        10_000,
        "in the queue, waiting for a process that delivers",
        "More mail than processes: a destination that takes long holds them (default_process_limit, the transport's maxproc, a transport of its own for the slow one).",
    ),
    (
        "connecting",
        10_000,
        "until a session stands: name lookups, connection, TLS, greeting",
        "Name servers that answer late, addresses that do not answer (IPv6 above all), or greetings that come late.",
    ),
    (
        "sending",
        30_000,
        "until the receiver has taken the message",
        "A slow line, a receiver that scans before it answers, or packets that are lost.",
    ),
];

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let lately = logged::lately(logs);
    let enough = |sums: &mxray_model::evidence::LogSums| {
        sums.delays.get("total").is_some_and(|total| total.count >= DELIVERIES_MIN)
    };
    let (sums, of) = match (enough(lately), enough(&logs.whole)) {
        (true, _) if logs.recent.value().is_some() => (lately, &["recent", "value", "delays"][..]),
        // What was before the last hour may be over.
        (false, true) if logs.recent.value().is_some() => {
            judgement.well("too few deliveries in the last hour to speak of delays");
            return Ok(judgement);
        }
        (_, true) => (&logs.whole, &["whole", "delays"][..]),
        _ => return Ok(judgement),
    };
    let total = sums.delays.get("total").copied().unwrap_or_default();
    for (phase, limit_ms, what, hint) in PHASES {
        let Some(delay) = sums.delays.get(phase).filter(|delay| delay.p50_ms >= limit_ms) else { continue };
        judgement.find(
            logged::touching_delivery(
                RULE.finding(
                    Subject::service(format!("delay {phase}")),
                    format!("Half of the deliveries wait {} or longer {what}.", logged::span(delay.p50_ms / 1_000)),
                ),
                evidence,
                None,
            )
            .confidence(0.75)
            .data("phase", phase)
            .data("p50_ms", delay.p50_ms)
            .data("p95_ms", delay.p95_ms)
            .data("deliveries", total.count)
            .because(
                format!(
                    "Of {} deliveries: in this phase {} in the middle, {} for one in twenty; from arrival to delivery {}.",
                    total.count,
                    logged::span(delay.p50_ms / 1_000),
                    logged::span(delay.p95_ms / 1_000),
                    logged::span(total.p50_ms / 1_000)
                ),
                logged::SOURCE,
                logged::log_pointer(of),
            )
            .fix(Fix::here(hint).command("mxray queue").verify("mxray logs --since 1h")),
        );
    }
    if judgement.findings.is_empty() {
        judgement.well(format!(
            "half of {} deliveries took less than {}",
            total.count,
            logged::span(total.p50_ms / 1_000 + 1)
        ));
    }
    Ok(judgement)
}
