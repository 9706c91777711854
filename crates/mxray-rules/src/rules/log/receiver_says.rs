//! LOG108: what a receiver says of our mail, by the cause that its words mean.

use crate::logged::{self, Holds};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{LogCause, MailLogs};
use mxray_model::{Evidence, Finding, Fix, Mover, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "LOG108",
    name: "receiver-says",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a receiver's replies, or what became of the way to it, carry one cause",
    page: include_str!("receiver_says.md"),
    check,
};

/// Most findings: the others are in `mxray logs`.
const FINDINGS_MAX: usize = 12;

fn check(evidence: &Evidence) -> Said {
    let logs = logged::logs(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let (mut cleared, mut told) = (0u32, 0usize);
    for cause in &logs.causes {
        if matches!(cause.finality.as_str(), "no-failure")
            || matches!(cause.cause.as_str(), "suspended-echo" | "expired")
        {
            continue;
        }
        match logged::holds(evidence, logs, cause) {
            Holds::Yes if told < FINDINGS_MAX => {
                told += 1;
                judgement.find(finding(evidence, logs, cause));
            }
            Holds::Yes => {}
            Holds::Cleared | Holds::Gone | Holds::Old => cleared += 1,
        }
    }
    if judgement.findings.is_empty() {
        let past = if cleared > 0 { format!("; {cleared} causes of earlier are over") } else { String::new() };
        judgement.well(format!(
            "{} deliveries, and nothing that a receiver says holds mail up now{past}",
            logs.whole.attempts.sent
        ));
    }
    Ok(judgement)
}

/// How the join of log lines names deliveries within this host.
const LOCAL: &str = "(local)";

/// This host's own delivery service (LMTP over a UNIX socket) says "not now", for a reason that is none of the recipient's.
fn is_own_service(cause: &LogCause) -> bool {
    cause.receiver == LOCAL
        && matches!(cause.finality.as_str(), "wait" | "slow-down")
        && matches!(cause.whose_move, Mover::Receiver | Mover::Nobody | Mover::Network)
        && cause.cause != "greylist"
}

/// Words that no rule knows, and no other server's reply: this server's own, of itself or of the way.
fn is_own_word(cause: &LogCause) -> bool {
    is_unknown(cause) && matches!(cause.retry, Seen::Absent)
}

fn is_unknown(cause: &LogCause) -> bool {
    cause.cause == "unknown"
}

/// By whose move it is and how final; milder where it concerns little of the mail. What is wrong on our side is so for the
/// next message as well, so its share alone counts; of the rest, a few are what happens to every server.
fn severity(logs: &MailLogs, cause: &LogCause) -> Severity {
    let step = |much: bool, much_is: Severity, little_is: Severity| if much { much_is } else { little_is };
    let (share, pattern) = (logged::matters(logs, cause), logged::is_a_pattern(logs, cause));
    match cause.cause.as_str() {
        "greylist" => Severity::Info,
        "unknown" => step(pattern, Severity::Warning, Severity::Info),
        _ if cause.recipients == 0 => Severity::Info,
        _ if is_own_service(cause) => step(share, Severity::Error, Severity::Warning),
        "auth-spf" | "auth-dkim" | "auth-dmarc" | "sender-domain-bad" | "callout-verify" | "local-config" => {
            step(share, Severity::Error, Severity::Warning)
        }
        _ => match (cause.whose_move, cause.finality.as_str()) {
            (Mover::Us, "stop-lane") => step(share, Severity::Error, Severity::Warning),
            (Mover::Nobody, _) => Severity::Info,
            (Mover::Recipient, _) => step(pattern, Severity::Warning, Severity::Info),
            (_, _) => step(pattern, Severity::Warning, Severity::Notice),
        },
    }
}

fn finding(evidence: &Evidence, logs: &MailLogs, cause: &LogCause) -> Finding {
    let waits = logged::waiting(evidence, &cause.cause, &cause.receiver).filter(|waits| *waits > 0);
    let waiting = match waits {
        None => String::new(),
        Some(1) => "; 1 waits".to_owned(),
        Some(waits) => format!("; {waits} wait"),
    };
    let speaks = if logged::is_of_the_server(&cause.cause) || is_own_word(cause) {
        "This server's own"
    } else if is_own_service(cause) {
        "This host's own delivery service"
    } else {
        &cause.receiver
    };
    let count = match (cause.recipients, cause.attempts) {
        (0, 1) => "1 attempt, delivered in the end".to_owned(),
        (0, attempts) => format!("{attempts} attempts, all delivered in the end"),
        (1, _) => "1 recipient".to_owned(),
        (recipients, _) => format!("{recipients} recipients"),
    };
    let about = if is_own_word(cause) {
        format!("what it says of {} is not known to our rules", cause.receiver)
    } else {
        cause.about.clone()
    };
    let mut finding = RULE
        .finding_as(
            severity(logs, cause),
            mxray_model::Subject::new(
                mxray_model::SubjectKind::Receiver,
                format!("{} {}", cause.receiver, cause.cause),
            ),
            format!("{speaks}: {about} ({count}{waiting}): {}.", logged::quoted(&cause.sample)),
        )
        .confidence(if is_unknown(cause) { 0.5 } else { 0.8 })
        .data("cause", cause.cause.clone())
        .data("receiver", cause.receiver.clone())
        .data("finality", cause.finality.clone())
        .data("attempts", cause.attempts)
        .data("recipients", cause.recipients)
        .data("first", cause.first.clone())
        .data("last", cause.last.clone())
        .data("sample", cause.sample.clone())
        .data("rule", cause.rule.clone())
        .because(logged::attempts_text(cause), logged::SOURCE, logged::log_pointer(&["causes"]))
        .touches(logged::receiver_scope(&cause.receiver))
        .reference("RFC 5321 section 4.2.1");
    // Of what nobody has understood, nobody can say that it ends by itself: somebody here has to read it.
    finding.whose_move = if is_own_service(cause) || is_unknown(cause) { Mover::Us } else { cause.whose_move };
    if let Some(retry) = cause.retry.value() {
        finding = finding.data("retry", *retry);
    }
    if let Some(waits) = waits {
        finding = finding.data("waiting", waits);
    }
    finding = logged::touching_endpoints(finding, evidence, &[&cause.host], &[&cause.domain]);
    let is_ours = logged::is_of_the_server(&cause.cause) || is_own_word(cause) || cause.cause == "relayhost-auth";
    if is_ours || logged::is_of_the_way(&cause.cause) {
        finding = logged::touching_delivery(finding, evidence, None);
    }
    if is_own_service(cause) {
        finding = logged::touching_delivery(finding, evidence, None);
        return finding.fix(own_service());
    }
    if cause.whose_move == Mover::Us {
        finding = logged::touching_identity(finding, evidence);
    }
    finding.fix(fix(cause))
}

fn own_service() -> Fix {
    Fix::here(
        "Its own log of the same second says why: a file of users or a directory of mailboxes that it may not read or write, \
         a database that does not answer. Put that right, then let the queue try again.",
    )
    .command("doveadm log errors | tail -n 5")
    .command("postqueue -f")
    .verify("mxray logs --since 10m")
}

fn fix(cause: &LogCause) -> Fix {
    let who = match cause.whose_move {
        Mover::Recipient => "whoever has or wrote the address",
        Mover::Receiver => "admin of the receiver",
        Mover::Network => "whoever runs the way between",
        Mover::Us | Mover::Nobody => "admin of this host",
    };
    let text = match cause.finality.as_str() {
        _ if is_unknown(cause) && cause.retry == Seen::Value(false) => {
            "The message was refused for good. Read the words: what they name has to change before it is sent again."
        }
        _ if is_unknown(cause) => {
            "Read the words: what they name has to end or to change. Until then it is tried again by itself."
        }
        "address-gone" => "Take the address out of what is sent, or write it right.",
        "stop-lane" => {
            "Everything towards this receiver fails until it is changed: do what the reply says, then let the queue try again."
        }
        "slow-down" => "Send less and more slowly to this receiver; faster retries make it worse.",
        "message-dead" => "This message will not arrive; change what the reply names before it is sent again.",
        _ => "The next attempt may succeed; what the reply names has to end first.",
    };
    let mut fix = Fix::here(text);
    who.clone_into(&mut fix.who);
    if !cause.proof.is_empty() && !is_unknown(cause) {
        fix.text = format!("{} To confirm it: {}.", fix.text, cause.proof);
    }
    let host = if cause.host.is_empty() { &cause.domain } else { &cause.host };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !host.is_empty() && host.bytes().all(plain) && logged::is_of_the_way(&cause.cause) {
        fix = fix.command(format!("mxray probe {host}:{}", port_of(&cause.sample)));
    }
    fix.verify("mxray logs --since 1h")
}

/// Of `connect to mx.example.org[192.0.2.1]:2525: Connection refused`: a transport may go to another port than that of mail.
fn port_of(sample: &str) -> u16 {
    let behind = sample.match_indices("]:").map(|(at, mark)| &sample[at + mark.len()..]);
    let digits = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse().ok());
    behind.filter_map(digits).find(|port| *port > 0).unwrap_or(25)
}

#[cfg(test)]
mod tests {
    use super::port_of;

    #[test]
    fn the_port_is_the_one_that_was_tried() {
        assert_eq!(port_of("connect to mx.example.org[192.0.2.1]:2525: Connection refused"), 2525);
        assert_eq!(port_of("connect to mx.example.org[2001:db8::1]:587: Connection timed out"), 587);
        assert_eq!(
            port_of("lost connection with mx.example.org[192.0.2.1] while receiving the initial server greeting"),
            25
        );
        assert_eq!(port_of("x]:99999999"), 25);
    }
}
