//! The head of a message that somebody gave: which fields it has, and where it ends. Nothing here changes it.

use crate::field::is_name;

/// Fields by which text is recognised as a message. Any text may begin with `Note: …`.
const TELLING: [&str; 18] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "received",
    "return-path",
    "delivered-to",
    "sender",
    "reply-to",
    "mime-version",
    "content-type",
    "dkim-signature",
    "authentication-results",
    "in-reply-to",
    "references",
    "resent-from",
];

/// What stands in front of the first empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The names of its fields as they are written, in order.
    pub names: Vec<String>,
    /// All its lines are fields, or go on with one.
    pub well_formed: bool,
    /// A first line `From …`, as mailbox files have it, which is no part of the message: so many bytes.
    pub mailbox_line_bytes: usize,
    /// Where the body begins.
    pub body_at: usize,
}

impl Head {
    pub fn read(message: &[u8]) -> Self {
        let mut head = Head { names: Vec::new(), well_formed: true, mailbox_line_bytes: 0, body_at: message.len() };
        let mut at = 0;
        for line in lines(message) {
            let text = line.trim_ascii_end();
            if line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                head.body_at = at + line.len();
                break;
            }
            if at == 0 && line.starts_with(b"From ") {
                head.mailbox_line_bytes = line.len();
            } else if matches!(line.first(), Some(b' ' | b'\t')) {
                head.well_formed &= !head.names.is_empty();
            } else if let Some(name) = name_of(text) {
                head.names.push(name);
            } else {
                head.well_formed = false;
            }
            at += line.len();
        }
        head
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The text is a message already: its head is one, and has a field by which messages are known.
pub fn is_message(text: &[u8]) -> bool {
    let head = Head::read(text);
    head.well_formed && TELLING.iter().any(|name| head.has(name))
}

fn name_of(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    // RFC 5322 section 4.5: old messages have blanks in front of the colon.
    let name = line.get(..colon)?.trim_ascii_end();
    is_name(name).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Lines with their endings. LF ends a line, and so does CR, with or without LF behind it.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(at) if rest.get(at..at + 2) == Some(b"\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, behind) = rest.split_at(end);
        rest = behind;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_from_text() {
        assert!(is_message(b"Subject: x\n\nbody"));
        assert!(is_message(b"X-A: 1\r\nfrom : a@b\r\n folded\r\n\r\nbody"));
        assert!(is_message(b"From a@b Mon Jan  1\nSubject: x\n\nbody"));
        assert!(is_message(b"Subject: without a body"));
        for text in [&b"Hello: world\n\nfoo"[..], b"hello\nSubject: x\n\n", b"", b"\nSubject: x\n", b" Subject: x\n"] {
            assert!(!is_message(text), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_head_ends_at_the_first_empty_line() {
        let head = Head::read(b"A: 1\r\nb: 2\r\n\r\nC: 3\r\n");
        assert_eq!((head.names.clone(), head.body_at), (vec!["A".to_owned(), "b".to_owned()], 14));
        assert!(head.has("B") && !head.has("c"));
    }
}
