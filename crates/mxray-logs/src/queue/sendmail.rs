//! Control files of Sendmail's queue: a letter and its value on each line (Sendmail's Installation and Operation Guide, "Format of
//! queue files").

use super::{Entry, RECIPIENTS_MAX, Recipient, State, bounded, number};

/// One control file. `set_aside`: its name says that the message is quarantined. `None`: it is none, or was cut before its envelope.
pub fn control(id: &[u8], text: &[u8], set_aside: bool) -> Option<Entry> {
    let mut entry = Entry {
        id: bounded(id),
        state: State::Incoming,
        arrived_s: 0,
        bytes: None,
        sender: Vec::new(),
        recipients: Vec::new(),
        next_try_s: None,
        last_try_s: None,
    };
    let (mut version, mut created, mut tried, mut quarantined, mut why) = (false, false, 0, set_aside, Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let Some((letter, value)) = line.split_first() else { continue };
        match letter {
            b'V' => version = number(value).is_some(),
            // Creation and last attempt; zero: none was made.
            b'T' => (entry.arrived_s, created) = (number(value)?, true),
            b'K' => entry.last_try_s = number(value).filter(|at| *at > 0),
            b'N' => tried = number(value)?,
            // Why it waits, in Sendmail's words.
            b'M' => why = bounded(value),
            b'q' => quarantined = true,
            b'S' => entry.sender = bounded(bare(value)),
            b'R' if entry.recipients.len() < RECIPIENTS_MAX => {
                entry.recipients.push(Recipient { address: bounded(bare(recipient(value))), reason: Vec::new() });
            }
            b'.' => break,
            // Headers and what continues them, flags, macros, priority.
            _ => {}
        }
    }
    // What has no recipient left is about to be taken away.
    if !version || !created || entry.recipients.is_empty() {
        return None;
    }
    if quarantined {
        entry.state = State::Hold;
    } else if tried > 0 || entry.last_try_s.is_some() || !why.is_empty() {
        entry.state = State::Deferred;
    }
    for recipient in &mut entry.recipients {
        recipient.reason.clone_from(&why);
    }
    Some(entry)
}

/// `PFD:<bob@far.example>`: letters of what is to be notified, a colon, the address. Old files have the address alone.
fn recipient(value: &[u8]) -> &[u8] {
    match memchr::memchr(b':', value) {
        Some(at) if value[..at].iter().all(u8::is_ascii_alphabetic) => &value[at + 1..],
        _ => value,
    }
}

fn bare(address: &[u8]) -> &[u8] {
    crate::cut::bare(address.trim_ascii())
}
