//! Postfix's queue: `postqueue -j`, one JSON object a line, since Postfix 3.1 (members are expected to grow: unknown ones are passed
//! over); and its files, for a server that does not run.

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

/// The state that a directory of the queue stands for.
fn state_of(directory: &str) -> State {
    match directory {
        "maildrop" => State::Maildrop,
        "incoming" => State::Incoming,
        "active" => State::Active,
        "hold" => State::Hold,
        "corrupt" => State::Corrupt,
        _ => State::Deferred,
    }
}

/// Jumps within one file that are followed; cleanup(8) leaves one for each edit of a milter.
const JUMPS_MAX: usize = 1_000;

/// A queue file, and what `defer/` holds of it. `None`: it is none, or was cut before its envelope.
///
/// Records of a type, a length in groups of seven bits, and so many bytes (Postfix's `rec_type.h`, `record.c`): `C` size, `T` time of
/// arrival, `S` sender, `R` recipient, `D` one that is done, `p` a jump, `M` and `X` around the content, `E` the end.
pub fn file(id: &[u8], directory: &str, text: &[u8], deferred: &[u8]) -> Option<Entry> {
    let (mut arrived_s, mut bytes, mut sender) = (None, None, None);
    let mut recipients: Vec<Recipient> = Vec::new();
    let (mut at, mut jumps) = (0, 0);
    while let Some((kind, value, next)) = record(text, at) {
        at = next;
        let words = || value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        match kind {
            b'C' => bytes = words().next().and_then(super::number).and_then(|size| u64::try_from(size).ok()),
            b'T' => arrived_s = arrived_s.or(words().next().and_then(super::number)),
            b'S' if sender.is_none() => sender = Some(bounded(value)),
            b'R' if recipients.len() < RECIPIENTS_MAX => {
                recipients.push(Recipient { address: bounded(value), reason: Vec::new() });
            }
            b'p' => {
                let to = super::number(value).and_then(|to| usize::try_from(to).ok()).filter(|to| *to > 0);
                if let Some(to) = to.filter(|_| jumps < JUMPS_MAX) {
                    (at, jumps) = (to, jumps + 1);
                }
            }
            b'E' => break,
            _ => {}
        }
    }
    let (arrived_s, sender) = (arrived_s?, sender?);
    for (address, reason) in reasons(deferred) {
        for recipient in recipients.iter_mut().filter(|recipient| recipient.address == address) {
            recipient.reason = bounded(reason);
        }
    }
    let id = bounded(id);
    let state = state_of(directory);
    Some(Entry { id, state, arrived_s, bytes, sender, recipients, next_try_s: None, last_try_s: None })
}

/// Type, value and where the next record begins.
fn record(text: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let kind = *text.get(at)?;
    let (mut length, mut used) = (0usize, 1);
    loop {
        let byte = *text.get(at.checked_add(used)?)?;
        // Four groups are 256 MB: no record is as long.
        if used > 4 {
            return None;
        }
        length |= usize::from(byte & 0x7f) << (7 * (used - 1));
        used += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let begin = at.checked_add(used)?;
    let end = begin.checked_add(length)?;
    Some((kind, text.get(begin..end)?, end))
}

/// Recipients and reasons of a file below `defer/`: blocks of `name=value` lines, `recipient` before `reason`.
fn reasons(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut recipient: &[u8] = b"";
    text.split(|byte| *byte == b'\n').filter_map(move |line| {
        if let Some(address) = line.strip_prefix(b"recipient=") {
            recipient = address;
            return None;
        }
        Some((recipient, line.strip_prefix(b"reason=")?))
    })
}

/// One line. `None`: it is no entry.
pub fn line(line: &[u8]) -> Option<Entry> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let state = state_of(line.queue_name);
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
