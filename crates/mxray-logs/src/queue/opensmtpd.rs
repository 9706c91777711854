//! Envelope files of OpenSMTPD's queue: `key: value` lines, one file for one recipient.

use super::{Entry, Recipient, State, bounded, number};

/// One envelope. `None`: it is none (a compressed or an encrypted queue has other bytes).
pub fn envelope(id: &[u8], text: &[u8]) -> Option<Entry> {
    let mut entry = Entry {
        id: bounded(id),
        state: State::Incoming,
        arrived_s: 0,
        bytes: None,
        sender: Vec::new(),
        recipients: vec![Recipient::default()],
        next_try_s: None,
        last_try_s: None,
    };
    let (mut created, mut held) = (false, false);
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (key, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii());
        match key {
            b"ctime" => (entry.arrived_s, created) = (number(value)?, true),
            b"last-try" => entry.last_try_s = number(value).filter(|at| *at > 0),
            b"sender" => entry.sender = bounded(if value == b"@" { b"" } else { value }),
            b"rcpt" | b"dest" => {
                if let Some(recipient) = entry.recipients.first_mut()
                    && (key == b"dest" || recipient.address.is_empty())
                {
                    recipient.address = bounded(value);
                }
            }
            b"errorline" => {
                if let Some(recipient) = entry.recipients.first_mut() {
                    recipient.reason = bounded(value);
                }
            }
            b"flags" => held = value.split(|byte| *byte == b' ').any(|flag| flag == b"suspended" || flag == b"hold"),
            _ => {}
        }
    }
    if !created || entry.recipients.first()?.address.is_empty() {
        return None;
    }
    if held {
        entry.state = State::Hold;
    } else if entry.last_try_s.is_some() || !entry.recipients.first()?.reason.is_empty() {
        entry.state = State::Deferred;
    }
    Some(entry)
}

/// The parts of one message put together: its id is the first eight digits of each envelope's.
pub fn joined(envelopes: Vec<Entry>) -> Vec<Entry> {
    let mut messages: std::collections::BTreeMap<Vec<u8>, Entry> = std::collections::BTreeMap::new();
    for mut envelope in envelopes {
        let id = envelope.id.get(..8).unwrap_or(&envelope.id).to_vec();
        match messages.get_mut(&id) {
            Some(message) => {
                message.recipients.append(&mut envelope.recipients);
                message.recipients.truncate(super::RECIPIENTS_MAX);
                // One that is not tried yet does not make a message new.
                if message.state == State::Incoming {
                    message.state = envelope.state;
                }
                message.last_try_s = message.last_try_s.max(envelope.last_try_s);
            }
            None => {
                envelope.id.clone_from(&id);
                messages.insert(id, envelope);
            }
        }
    }
    messages.into_values().collect()
}
