//! A message that somebody gave, with what is missing in front of it.

use crate::draft::Stamp;
use crate::head::Head;
use crate::{Field, Trouble};

/// A completed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    pub bytes: Vec<u8>,
    /// Names of fields that were to be added and are there already: they were kept.
    pub kept: Vec<String>,
}

/// Adds what a message must have (Date, From: RFC 5322 section 3.6) or should have (Message-ID), and the fields that are
/// asked for, each only where there is none of its name; `always` is added in any case. Everything that was there stays
/// as it was, but for the first line of a mailbox file, which is no part of a message.
///
/// # Errors
/// A field to be added cannot be written.
pub fn complete(
    message: &[u8],
    always: &[Field],
    absent: &[Field],
    stamp: &Stamp,
    utf8: bool,
) -> Result<Completed, Trouble> {
    let head = Head::read(message);
    let message = message.get(head.mailbox_line_bytes..).unwrap_or_default();
    let ending = if message.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r")) {
        "\r\n"
    } else {
        "\n"
    };
    let (mut front, mut kept) = (String::new(), Vec::new());
    for field in always {
        front.push_str(&field.write(utf8)?);
    }
    let stamps = stamp.fields()?;
    for (field, asked) in absent.iter().map(|field| (field, true)).chain(stamps.iter().map(|field| (field, false))) {
        let there = head.has(field.name()) || always.iter().any(|known| known.is_named(field.name()));
        if !there && (asked || !absent.iter().any(|known| known.is_named(field.name()))) {
            front.push_str(&field.write(utf8)?);
        } else if asked && there {
            kept.push(field.name().to_owned());
        }
    }
    // Whoever has one line ending has it throughout.
    let mut bytes = front.replace("\r\n", ending).into_bytes();
    bytes.extend_from_slice(message);
    if head.body_at == message.len() + head.mailbox_line_bytes && !message.ends_with(ending.repeat(2).as_bytes()) {
        // No empty line: the head is all there is, and it must not swallow what follows on the wire.
        if !message.ends_with(b"\n") && !message.is_empty() {
            bytes.extend_from_slice(ending.as_bytes());
        }
        if !head_is_closed(message) {
            bytes.extend_from_slice(ending.as_bytes());
        }
    }
    Ok(Completed { bytes, kept })
}

/// An empty line ends the head already, and there is no body behind it.
fn head_is_closed(message: &[u8]) -> bool {
    [&b"\n\n"[..], b"\r\n\r\n", b"\n\r\n", b"\r\r"].iter().any(|end| message.ends_with(end))
        || message == b"\n"
        || message == b"\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp() -> Stamp {
        Stamp { date: "Sat, 1 Jan 2000 00:00:00 +0000".to_owned(), message_id: "1@mx.example".to_owned() }
    }

    fn completed(message: &[u8], absent: &[&str]) -> (String, Vec<String>) {
        let fields: Vec<Field> = absent.iter().map(|text| Field::parse(text).unwrap()).collect();
        let done = complete(message, &[], &fields, &stamp(), false).unwrap();
        (String::from_utf8(done.bytes).unwrap(), done.kept)
    }

    #[test]
    fn what_is_missing_comes_in_front() {
        let (text, kept) = completed(b"subject: a\n\nb\n", &["Subject: other", "From: x@y.example"]);
        assert_eq!(
            text,
            "From: x@y.example\nDate: Sat, 1 Jan 2000 00:00:00 +0000\nMessage-ID: <1@mx.example>\nsubject: a\n\nb\n"
        );
        assert_eq!(kept, ["Subject"]);
        let whole = "Date: never\r\nMESSAGE-ID: x\r\n\r\nb";
        assert_eq!(completed(whole.as_bytes(), &[]).0, whole);
    }

    #[test]
    fn a_mailbox_line_is_no_part_and_a_head_without_body_is_closed() {
        let stamps = "Date: Sat, 1 Jan 2000 00:00:00 +0000\nMessage-ID: <1@mx.example>\n";
        assert_eq!(completed(b"From x Mon\nA: 1\n\nb", &[]).0, format!("{stamps}A: 1\n\nb"));
        assert_eq!(completed(b"A: 1", &[]).0, format!("{stamps}A: 1\n\n"));
        assert_eq!(completed(b"A: 1\n\n", &[]).0, format!("{stamps}A: 1\n\n"));
    }

    proptest! {
        /// What is there stays there, byte for byte, at the end; and no field is added twice.
        #[test]
        fn nothing_is_touched(
            names in proptest::collection::vec(prop_oneof![Just("Date"), Just("message-id"), Just("X-Odd"), Just("FROM")], 1..5),
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut message: Vec<u8> = names.iter().flat_map(|name| format!("{name}:  odd\t\r\n").into_bytes()).collect();
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(&body);
            let from = Field::parse("From: a@b.example").unwrap();
            let done = complete(&message, &[], &[from], &stamp(), false).unwrap();
            prop_assert!(done.bytes.ends_with(&message));
            let head = Head::read(&done.bytes);
            for name in ["date", "message-id", "from"] {
                let before = names.iter().filter(|known| known.eq_ignore_ascii_case(name)).count().max(1);
                prop_assert_eq!(head.names.iter().filter(|known| known.eq_ignore_ascii_case(name)).count(), before);
            }
            let again = complete(&done.bytes, &[], &[], &stamp(), false).unwrap();
            prop_assert_eq!(again.bytes, done.bytes);
        }

        #[test]
        fn nothing_hurts(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let done = complete(&message, &[], &[], &stamp(), false).unwrap();
            prop_assert!(done.bytes.len() >= message.len().saturating_sub(Head::read(&message).mailbox_line_bytes));
        }
    }
}
