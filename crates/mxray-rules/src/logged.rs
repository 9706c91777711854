//! What logs and queues say, made comparable: how old it is, whether it still holds, what else it touches.
//!
//! A line that is older than the end of its fault must not accuse: the newest evidence about a receiver decides. What must not
//! live here: which of it is a fault (rules).

use crate::reach::{egress_scope, family_scope};
use crate::rule::{Judgement, Rule};
use crate::{outside, support, view};
use mxray_model::evidence::{LogCause, LogSums, MailLogs, Queue};
use mxray_model::{Evidence, Finding, Seen, Severity, Subject, SubjectKind};

pub const SOURCE: &str = "mail log";

/// Replies that are older, of messages that do not wait, are history.
const HISTORY_S: i64 = 6 * 3_600;
/// Of replies about single addresses: the address is wrong today as well, and nobody has to act for this host.
const HISTORY_OF_ADDRESSES_S: i64 = 3_600;
/// Deliveries that say that a receiver's judgement of our messages has changed: one may be another kind of message.
const CLEARED_BY_MESSAGES: u64 = 3;
/// A cause that concerns fewer of all recipients is one of the many things that happen to a mail server.
const SHARE_MIN_PERCENT: u64 = 5;
/// A share of fewer recipients says nothing: of three mails a day one mistyped address is a third.
const PATTERN_MIN: u64 = 3;

/// The logs, or what a rule says early without them.
///
/// # Errors
/// There are none (nothing to say), or they could not be read (the rule cannot tell).
pub fn logs<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a MailLogs, Judgement> {
    let logs = match &evidence.logs {
        Seen::Value(logs) => logs,
        Seen::Absent => return Err(Judgement::nothing()),
        Seen::Unknown(blind) => return Err(Judgement::cannot_tell(rule, blind)),
    };
    if logs.lines.read > 0 {
        return Ok(logs);
    }
    // Nothing was read: because nothing is there, or because we may not.
    match logs.sources.values().find_map(Seen::blind) {
        Some(blind) => Err(Judgement::cannot_tell(rule, blind)),
        None => Err(Judgement::nothing()),
    }
}

/// The sums to judge a rate by, where the fault may have ended: those of the last hour where they hold enough, else all.
pub fn lately(logs: &MailLogs) -> &LogSums {
    logs.recent.value().unwrap_or(&logs.whole)
}

/// Seconds since 1970 of a time in evidence.
pub fn seconds(at: &str) -> Option<i64> {
    let (date, time) = at.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    Some(support::begins_s(date)? + hour * 3_600 + minute * 60 + second)
}

/// Now, or the last line where logs are read by themselves.
pub fn now_s(evidence: &Evidence, logs: &MailLogs) -> Option<i64> {
    match &evidence.clock.now_s {
        Seen::Value(now_s) => Some(*now_s),
        _ => seconds(logs.last.value()?),
    }
}

/// How long ago. A clock that was set back makes nothing younger than now.
pub fn age_s(evidence: &Evidence, logs: &MailLogs, at: &str) -> Option<i64> {
    Some((now_s(evidence, logs)? - seconds(at)?).max(0))
}

/// `12 min`, `3 h`
pub fn span(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { crate::transport::span(seconds) }
}

/// The queues that were read, with their servers' names.
pub fn queues(evidence: &Evidence) -> impl Iterator<Item = (&String, &Queue)> {
    evidence.queues.iter().filter_map(|(name, queue)| Some((name, queue.value()?)))
}

/// Recipients that wait for this cause at this receiver. `None`: some queue could not be looked at.
pub fn waiting(evidence: &Evidence, cause: &str, receiver: &str) -> Option<u64> {
    if evidence.queues.is_empty() || evidence.queues.values().any(|queue| queue.blind().is_some()) {
        return None;
    }
    let causes = queues(evidence).flat_map(|(_, queue)| &queue.causes);
    Some(causes.filter(|row| row.cause == cause && row.receiver == receiver).map(|row| row.recipients).sum())
}

/// Does what a receiver said still hold?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// Mail went through since.
    Cleared,
    /// Nothing waits for it any more.
    Gone,
    Old,
}

pub fn about_the_address(cause: &LogCause) -> bool {
    cause.finality == "address-gone" || cause.cause.starts_with("rcpt-")
}

pub fn holds(evidence: &Evidence, logs: &MailLogs, cause: &LogCause) -> Holds {
    let of_messages = matches!(cause.finality.as_str(), "message-dead" | "address-gone");
    let enough = if of_messages { CLEARED_BY_MESSAGES.max(cause.attempts) } else { 1 };
    if cause.delivered_since >= enough && !about_the_address(cause) {
        return Holds::Cleared;
    }
    let waits = waiting(evidence, &cause.cause, &cause.receiver);
    if waits.is_some_and(|waits| waits > 0) {
        return Holds::Yes;
    }
    // Whoever is to be tried again stands in the queue; what was bounced does not.
    let retried = cause.retry.value().copied().unwrap_or(!of_messages);
    if retried && waits == Some(0) {
        return Holds::Gone;
    }
    let history = if about_the_address(cause) { HISTORY_OF_ADDRESSES_S } else { HISTORY_S };
    match age_s(evidence, logs, &cause.last) {
        Some(age) if age > history => Holds::Old,
        _ => Holds::Yes,
    }
}

/// Does it concern a part of the mail that is worth a word by itself?
pub fn matters(logs: &MailLogs, cause: &LogCause) -> bool {
    let all = logs.whole.deferral.denominator.max(cause.recipients);
    cause.recipients > 0 && cause.recipients.saturating_mul(100) >= all.saturating_mul(SHARE_MIN_PERCENT)
}

/// The same for what one wrong address or one odd message brings about: it takes several of them, or that nothing went
/// through at all, which no single address accounts for.
pub fn is_a_pattern(logs: &MailLogs, cause: &LogCause) -> bool {
    let nothing_went = logs.whole.attempts.sent == 0 && !about_the_address(cause);
    matters(logs, cause) && (cause.recipients >= PATTERN_MIN || nothing_went)
}

/// Causes that say that nobody was reached, or that the way there is broken.
pub fn is_of_the_way(cause: &str) -> bool {
    matches!(
        cause,
        "refused"
            | "connect-timeout"
            | "unreachable"
            | "session-timeout"
            | "lost-connection"
            | "dns-temp"
            | "greeting-refused"
    )
}

/// Causes that the server itself makes before anybody is asked.
pub fn is_of_the_server(cause: &str) -> bool {
    matches!(cause, "local-config" | "local-resource")
}

/// `3 attempts, the last at 2026-05-01T13:55:00Z: 450 4.7.1 …`
pub fn attempts_text(cause: &LogCause) -> String {
    match cause.attempts {
        1 => format!("1 attempt, at {}: {}", cause.last, cause.sample),
        attempts => format!("{attempts} attempts, the last at {}: {}", cause.last, cause.sample),
    }
}

/// A foreign text at the end of a sentence of ours: one full stop.
pub fn quoted(sample: &str) -> &str {
    sample.trim_end_matches(['.', ' '])
}

pub fn receiver_scope(receiver: &str) -> Subject {
    Subject::new(SubjectKind::Receiver, receiver)
}

/// Everything by which this host's own mail could be held up: whatever stops it explains that it waits.
pub fn touching_delivery(mut finding: Finding, evidence: &Evidence, instance: Option<&str>) -> Finding {
    let servers = evidence.servers.value().into_iter().flatten();
    for (name, server) in servers.filter(|(name, server)| server.enabled && instance.is_none_or(|one| one == *name)) {
        finding = finding
            .touches(Subject::service(name))
            .touches(Subject::service(format!("{name} delivery")))
            .touches(Subject::service(format!("{name} egress")))
            .touches(Subject::service(format!("{name} helpers")));
        for helper in server.helpers.values() {
            finding = finding.touches(Subject::endpoint(helper.endpoint.to_string()));
        }
    }
    for ipv4 in [true, false] {
        finding = finding.touches(family_scope(ipv4));
        for port in [25, 465, 587] {
            finding = finding.touches(egress_scope(port, ipv4));
        }
    }
    finding.touches(Subject::host())
}

/// The endpoints that were examined behind a host, a domain or a smarthost.
pub fn touching_endpoints(mut finding: Finding, evidence: &Evidence, hosts: &[&str], domains: &[&str]) -> Finding {
    for domain in domains.iter().filter(|domain| !domain.is_empty()) {
        finding = finding.touches(Subject::new(SubjectKind::Domain, *domain));
    }
    for (key, endpoint) in &evidence.endpoints {
        let by_name = hosts.iter().any(|host| !host.is_empty() && endpoint.host.eq_ignore_ascii_case(host));
        let by_address = endpoint.addresses.values().any(|seen| {
            let address = seen.dial.peer.ip().to_string();
            hosts.contains(&address.as_str())
        });
        let by_domain = endpoint.why.iter().any(|why| {
            matches!(why, mxray_model::evidence::EndpointWhy::Exchanger { domain, .. } if domains.contains(&domain.as_str()))
        });
        if by_name || by_address || by_domain || outside::is_smarthost(endpoint) {
            finding = finding.touches(outside::subject(key));
        }
    }
    finding
}

/// What this host is known by: the domains and addresses whose records a receiver judges.
pub fn touching_identity(mut finding: Finding, evidence: &Evidence) -> Finding {
    for domain in evidence.names.domains.keys() {
        finding = finding.touches(Subject::new(SubjectKind::Domain, domain));
    }
    for address in evidence.names.senders.keys() {
        finding = finding.touches(Subject::new(SubjectKind::Address, address));
    }
    finding
}

/// A receiver that puts our mail off, by its replies in the log.
pub struct PuttingOff<'a> {
    pub cause: &'a LogCause,
    /// Recipients of ours that wait for it now.
    waits: u64,
}

impl PuttingOff<'_> {
    /// A warning while our mail waits, and the words for it.
    pub fn while_waiting(&self, usual: Severity) -> (Severity, String) {
        match self.waits {
            0 => (usual, String::new()),
            1 => (Severity::Warning, "; 1 recipient of ours waits".to_owned()),
            waits => (Severity::Warning, format!("; {waits} recipients of ours wait")),
        }
    }

    pub fn finding(&self, rule: &Rule, severity: Severity, summary: String, evidence: &Evidence) -> Finding {
        let cause = self.cause;
        let finding = rule
            .finding_as(severity, receiver_scope(&cause.receiver), summary)
            .data("cause", cause.cause.clone())
            .data("receiver", cause.receiver.clone())
            .data("attempts", cause.attempts)
            .data("waiting", self.waits)
            .data("last", cause.last.clone())
            .because(attempts_text(cause), SOURCE, log_pointer(&["causes"]))
            .touches(Subject::service("deferrals"));
        touching_endpoints(finding, evidence, &[&cause.host], &[&cause.domain])
    }
}

/// Why what receivers say could not be read, where there is a log.
pub fn forbidden(evidence: &Evidence) -> Option<&mxray_model::Blind> {
    let logs = evidence.logs.value().filter(|logs| logs.lines.read == 0)?;
    logs.sources.values().find_map(Seen::blind)
}

/// Receivers that put mail off for one of these causes, and have not taken any since.
pub fn putting_off<'a>(evidence: &'a Evidence, causes: &[&str]) -> Vec<PuttingOff<'a>> {
    let Seen::Value(logs) = &evidence.logs else { return Vec::new() };
    let of_them =
        logs.causes.iter().filter(|cause| causes.contains(&cause.cause.as_str()) && cause.retry != Seen::Value(false));
    of_them
        .filter(|cause| holds(evidence, logs, cause) == Holds::Yes)
        .map(|cause| PuttingOff {
            cause,
            waits: waiting(evidence, &cause.cause, &cause.receiver).unwrap_or(cause.recipients),
        })
        .collect()
}

/// `/logs/value/…`
pub fn log_pointer(parts: &[&str]) -> String {
    view::pointer(["logs", "value"].iter().copied().chain(parts.iter().copied()))
}

pub fn queue_pointer(instance: &str, part: &str) -> String {
    view::pointer(["queues", instance, "value", part])
}

/// The rule's word for queues that could not be looked at; `true` where there was none at all.
pub fn blind_queues(evidence: &Evidence, rule: &Rule, judgement: &mut Judgement) -> bool {
    for queue in evidence.queues.values() {
        if let Seen::Unknown(blind) = queue {
            judgement.blind(rule, blind);
        }
    }
    if evidence.queues.is_empty()
        && let Seen::Unknown(blind) = &evidence.servers
    {
        judgement.blind(rule, blind);
    }
    evidence.queues.values().all(|queue| queue.value().is_none())
}

/// Who has most, of rows by name.
pub fn most<'a>(rows: impl IntoIterator<Item = (&'a String, u64)>) -> Option<(&'a String, u64)> {
    rows.into_iter().max_by(|one, other| one.1.cmp(&other.1).then_with(|| other.0.cmp(one.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(seconds("1970-01-01T00:00:01Z"), Some(1));
        assert_eq!(seconds("2026-05-01T14:00:00Z"), Some(1_777_644_000));
        for bad in ["", "2026-05-01", "2026-05-01T14:00Z", "xT1:2:3Z"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
