//! LOG107: TLS fails in sessions with other servers, or for all clients.

use crate::logged;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOG107",
    name: "tls-failures",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "TLS handshakes fail in numbers",
    page: include_str!("tls_failures.md"),
    check,
};

const OUT_MIN: u64 = 10;
const OUT_PERCENT: u64 = 5;
/// Scanners fail at every public port; that no client at all comes through is something else.
const IN_MIN: u64 = 20;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let all = logs.whole.tls;
    let lately = logged::lately(logs).tls;
    let sessions_out = all.sent_tls + all.failures_out;
    if all.failures_out >= OUT_MIN && all.failures_out.saturating_mul(100) >= sessions_out.saturating_mul(OUT_PERCENT) {
        // Fewer failures than successes in the last hour: the rest is the habit of single receivers.
        let over = lately.failures_out == 0;
        judgement.find(
            RULE.finding_as(
                if over { Severity::Notice } else { RULE.severity },
                Subject::service("tls to others"),
                format!("TLS failed in {} of {sessions_out} sessions with other servers.", all.failures_out),
            )
            .confidence(0.8)
            .data("direction", "out")
            .data("failures", all.failures_out)
            .data("sessions", all.sent_tls)
            .because(
                format!("{} failures, {} deliveries with TLS.", all.failures_out, all.sent_tls),
                logged::SOURCE,
                logged::log_pointer(&["whole", "tls"]),
            )
            .fix(
                Fix::here("See with which receivers it fails and what the handshake says; most often it is a policy that asks for more than they have.")
                    .command("mxray logs")
                    .verify("mxray logs --since 1h"),
            )
            .reference("RFC 8461")
            .reference("RFC 7672"),
        );
    }
    if all.failures_in >= IN_MIN && lately.failures_in > 0 {
        let none = all.received_tls == 0;
        judgement.find(
            RULE.finding_as(
                if none { RULE.severity } else { Severity::Notice },
                Subject::service("tls of clients"),
                if none {
                    format!("{} TLS handshakes of clients failed, and not one succeeded.", all.failures_in)
                } else {
                    format!("{} TLS handshakes of clients failed, {} succeeded.", all.failures_in, all.received_tls)
                },
            )
            .confidence(if none { 0.8 } else { 0.5 })
            .data("direction", "in")
            .data("failures", all.failures_in)
            .data("sessions", all.received_tls)
            .because(
                format!("{} failures, {} sessions with TLS.", all.failures_in, all.received_tls),
                logged::SOURCE,
                logged::log_pointer(&["whole", "tls"]),
            )
            .fix(
                Fix::here("See what the server presents: a certificate that clients do not take, or versions that they do not speak. Where most succeed, those that fail are scanners.")
                    .command("mxray probe localhost:25")
                    .verify("mxray logs --since 1h"),
            ),
        );
    }
    if judgement.findings.is_empty() {
        judgement.well(format!(
            "TLS: {} of {} deliveries to other hosts, {} failures",
            all.sent_tls, all.sent_remote, all.failures_out
        ));
    }
    Ok(judgement)
}
