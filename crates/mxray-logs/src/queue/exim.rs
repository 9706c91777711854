//! Files of Exim's spool: `ID-H` with the envelope, `ID-J` with those delivered since, `msglog/ID` with what was tried.

use super::{Entry, RECIPIENTS_MAX, Recipient, State, bounded, number};

/// The envelope file. `None`: it is none, or was cut.
///
/// Name, user and group, sender in angle brackets, time and warnings, options in lines that begin with `-`, a tree of those done
/// (`YN address`, or `XX`), the number of recipients, the recipients (Exim specification, chapter 56).
pub fn header(id: &[u8], text: &[u8]) -> Option<Entry> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    if first.get(..id.len())? != id || first.get(id.len()..)? != b"-H" {
        return None;
    }
    lines.next()?;
    let sender = lines.next()?.strip_prefix(b"<")?;
    let sender = sender.strip_suffix(b">")?;
    let arrived_s = number(lines.next()?.split(|byte| *byte == b' ').next()?)?;
    let mut state = State::Incoming;
    let mut done: Vec<&[u8]> = Vec::new();
    let mut line = lines.next()?;
    while line.starts_with(b"-") {
        match line {
            frozen if frozen.starts_with(b"-frozen") => state = State::Hold,
            b"-deliver_firsttime" => {}
            b"-manual_thaw" => state = State::Deferred,
            _ => {}
        }
        line = lines.next()?;
    }
    // Tree of those done: each node tells whether it has a left and a right child.
    while let [b'Y' | b'N', b'Y' | b'N', b' ', address @ ..] = line {
        done.push(address);
        line = lines.next()?;
    }
    if line == b"XX" {
        line = lines.next()?;
    }
    let count = usize::try_from(number(line)?).ok()?;
    let mut recipients = Vec::new();
    for _ in 0..count.min(RECIPIENTS_MAX) {
        let line = lines.next()?;
        // With more behind it where it has an errors address or DSN options: `address …#3`.
        let address = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        if !done.contains(&address) {
            recipients.push(Recipient { address: bounded(address), reason: Vec::new() });
        }
    }
    let (sender, id) = (bounded(sender), bounded(id));
    Some(Entry { id, state, arrived_s, bytes: None, sender, recipients, next_try_s: None, last_try_s: None })
}

/// Takes those out that were delivered after the envelope was written.
pub fn journal(entry: &mut Entry, text: &[u8]) {
    let done: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    entry.recipients.retain(|recipient| !done.contains(&recipient.address.as_slice()));
}

/// The message's own log: the last `==` of each recipient says why it waits. A message that was tried is no longer new.
pub fn message_log(entry: &mut Entry, text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        // `2026-05-01 10:00:00 [+0200] [pid] ADDRESS R=… T=… defer (-44) H=…: text`, with `==` before or without.
        let Some(at) = memchr::memmem::find(line, b" defer (") else { continue };
        let words = line.get(..at).unwrap_or_default();
        let reason = line.get(at + 1..).unwrap_or_default();
        if entry.state == State::Incoming {
            entry.state = State::Deferred;
        }
        for recipient in &mut entry.recipients {
            let named = words.split(u8::is_ascii_whitespace).any(|word| {
                let word = word.strip_prefix(b"<").unwrap_or(word);
                word.strip_suffix(b">").unwrap_or(word) == recipient.address.as_slice()
            });
            if named {
                recipient.reason = bounded(said(reason));
            }
        }
    }
}

/// What stands behind `defer (-44): ` and what Exim puts before the reply.
fn said(reason: &[u8]) -> &[u8] {
    // The first one closes the number; the reply may hold more.
    let behind = memchr::memchr(b')', reason).map_or(reason, |at| reason.get(at + 1..).unwrap_or_default());
    behind.strip_prefix(b":").unwrap_or(behind).trim_ascii()
}
