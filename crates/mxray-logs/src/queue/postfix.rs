//! `postqueue -j`: one JSON object a line, since Postfix 3.1. Members are expected to grow: unknown ones are passed over.

use serde::Deserialize;

use super::{Entry, RECIPIENTS_MAX, Recipient, State, bounded};

#[derive(Deserialize)]
struct Line<'a> {
    queue_name: &'a str,
    #[serde(borrow)]
    queue_id: std::borrow::Cow<'a, str>,
    arrival_time: i64,
    #[serde(default)]
    message_size: Option<u64>,
    #[serde(default, borrow)]
    sender: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    recipients: Vec<Waits<'a>>,
}

#[derive(Deserialize)]
struct Waits<'a> {
    #[serde(default, borrow)]
    address: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    delay_reason: std::borrow::Cow<'a, str>,
    /// Since 3.11: bounced, and its notice is still to be sent.
    #[serde(default, borrow)]
    bounce_reason: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    other_reason: std::borrow::Cow<'a, str>,
}

/// One line. `None`: it is no entry.
pub fn line(line: &[u8]) -> Option<Entry> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let state = match line.queue_name {
        "maildrop" => State::Maildrop,
        "incoming" => State::Incoming,
        "active" => State::Active,
        "hold" => State::Hold,
        "corrupt" => State::Corrupt,
        _ => State::Deferred,
    };
    let recipient = |waits: Waits<'_>| {
        let reasons = [&waits.delay_reason, &waits.bounce_reason, &waits.other_reason];
        let reason = reasons.into_iter().find(|reason| !reason.is_empty());
        Recipient {
            address: bounded(waits.address.as_bytes()),
            reason: bounded(reason.map_or(&b""[..], |reason| reason.as_bytes())),
        }
    };
    let sender = line.sender.as_bytes();
    Some(Entry {
        id: bounded(line.queue_id.as_bytes()),
        state,
        arrived_s: line.arrival_time,
        bytes: line.message_size,
        // The listing's word for the null sender.
        sender: if sender == b"MAILER-DAEMON" { Vec::new() } else { bounded(sender) },
        recipients: line.recipients.into_iter().take(RECIPIENTS_MAX).map(recipient).collect(),
        next_try_s: None,
        last_try_s: None,
    })
}

/// A whole listing: its entries, and how many lines were none.
pub fn listing(text: &[u8], most: usize) -> (Vec<Entry>, u64, bool) {
    let (mut entries, mut foreign) = (Vec::new(), 0);
    for one in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if entries.len() >= most {
            return (entries, foreign, true);
        }
        match line(one) {
            Some(entry) => entries.push(entry),
            None => foreign += 1,
        }
    }
    (entries, foreign, false)
}

/// When a deferred message of this age is tried again, at the latest, in seconds from now: Postfix waits as long as the message
/// is old, between the two limits, and looks every `queue_run_delay` (qmgr(8)).
pub fn next_try_in_s(age_s: i64, minimal_s: i64, maximal_s: i64, run_s: i64) -> i64 {
    let wait = age_s.max(minimal_s).min(maximal_s.max(minimal_s));
    wait.saturating_add(run_s)
}
