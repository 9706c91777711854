//! IMAP's words: tags, untagged lines, response codes, literals.

use super::{Awaits, Command, Event, Listed, Words, behind_words, bracketed, first_word};
use crate::lines::{LINE_BYTES_MAX, Line, Lines};
use mxray_model::session::{AnomalyKind, Answer, Limit, Raw};
use mxray_model::text::untrusted;

/// A first message that fits into a command line of any server.
const INITIAL_BYTES_MAX: usize = 4000;

#[derive(Debug, Default)]
pub(crate) struct Imap {
    commands: u32,
    /// What came of a response that a literal continues.
    begun: Vec<u8>,
    /// Bytes of the literal that are still to come.
    literal: usize,
    entry: Option<u32>,
}

impl Imap {
    fn tag(&self) -> String {
        format!("m{}", self.commands)
    }

    /// One response: a line, with the literals in it. `None`: it goes on.
    fn whole(&mut self, line: &Line) -> Result<Option<(Vec<u8>, u32)>, Limit> {
        let entry = *self.entry.get_or_insert(line.entry);
        self.begun.extend_from_slice(&line.text);
        if self.begun.len() > LINE_BYTES_MAX {
            return Err(Limit::LineBytes);
        }
        if self.literal > line.bytes {
            self.literal -= line.bytes;
            self.begun.extend_from_slice(b"\r\n");
            return Ok(None);
        }
        self.literal = 0;
        if let Some(size) = literal(&line.text) {
            if size > LINE_BYTES_MAX as u64 {
                return Err(Limit::LineBytes);
            }
            self.literal = size as usize;
            self.begun.push(b' ');
            return Ok(None);
        }
        self.entry = None;
        Ok(Some((std::mem::take(&mut self.begun), entry)))
    }
}

/// `… {12}` and `… {12+}` at the end of a line: so many bytes follow.
pub(crate) fn literal(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let at = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = std::str::from_utf8(inner.get(at + 1..)?).ok()?;
    let digits = digits.strip_suffix('+').unwrap_or(digits);
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().unwrap_or(u64::MAX))
        .filter(|_| !digits.is_empty())
}

impl Words for Imap {
    fn write(&mut self, command: Command<'_>) -> String {
        if !matches!(command, Command::Response(_) | Command::Cancel) {
            self.commands += 1;
        }
        let tag = self.tag();
        match command {
            Command::Capabilities => format!("{tag} CAPABILITY"),
            Command::Starttls => format!("{tag} STARTTLS"),
            // An empty first message is `=` (RFC 4959).
            Command::Authenticate { mechanism, initial: Some("") } => format!("{tag} AUTHENTICATE {mechanism} ="),
            Command::Authenticate { mechanism, initial: Some(initial) } => {
                format!("{tag} AUTHENTICATE {mechanism} {initial}")
            }
            Command::Authenticate { mechanism, initial: None } => format!("{tag} AUTHENTICATE {mechanism}"),
            Command::Response(coded) => coded.to_owned(),
            Command::Cancel => "*".to_owned(),
            Command::Goodbye => format!("{tag} LOGOUT"),
        }
    }

    fn read(&mut self, line: &Line, awaits: Awaits, lines: &mut Lines) -> Result<Event, Limit> {
        let Some((response, entry)) = self.whole(line)? else { return Ok(Event::Nothing) };
        if let Some(challenge) = response.strip_prefix(b"+ ").or_else(|| (response == b"+").then_some(&[][..])) {
            return Ok(Event::Challenge(challenge.to_vec()));
        }
        let text = untrusted(&response);
        let (tag, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (status, _) = first_word(rest);
        let said = behind_words(&response, 2);
        let known = matches!(status.as_str(), "OK" | "NO" | "BAD" | "BYE" | "PREAUTH");
        if tag == "*" {
            return Ok(match status.as_str() {
                "CAPABILITY" => Event::Listed(capabilities(&response, entry)),
                _ if awaits == Awaits::Greeting && known => {
                    if status == "PREAUTH" {
                        lines.odd(AnomalyKind::PreAuthenticated, entry);
                    }
                    Event::Answer(answer(&status, said, entry))
                }
                "BYE" => Event::Leaves,
                _ => Event::Nothing,
            });
        }
        if known && tag == self.tag() && awaits != Awaits::Greeting {
            return Ok(Event::Answer(answer(&status, said, entry)));
        }
        let kind = if awaits == Awaits::Greeting {
            AnomalyKind::TextBeforeGreeting
        } else if known {
            AnomalyKind::Unasked
        } else {
            AnomalyKind::Malformed
        };
        lines.odd(kind, entry);
        Ok(Event::Nothing)
    }

    fn initial_bytes_max(&self, has: &dyn Fn(&str) -> bool) -> usize {
        // Part of IMAP4rev2; before that an extension (RFC 4959).
        if has("SASL-IR") || has("IMAP4REV2") { INITIAL_BYTES_MAX } else { 0 }
    }

    /// Every server has it that does not say otherwise (RFC 9051 section 6.2.3).
    fn has_other_login(&self, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        (!has("LOGINDISABLED")).then_some("LOGIN")
    }

    fn starttls(&self) -> &'static str {
        "STARTTLS"
    }

    fn mechanisms(&self) -> &'static str {
        "AUTH"
    }
}

fn answer(status: &str, rest: &[u8], entry: u32) -> Answer {
    let (code, text) = bracketed(rest);
    let ok = matches!(status, "OK" | "PREAUTH");
    Answer { ok, status: status.to_owned(), code, text: Raw::from(text), after_ms: 0, entry }
}

/// `* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN`. Word by word: as one text, a long list would be clipped.
pub(super) fn capabilities(response: &[u8], entry: u32) -> Listed {
    let words = response.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(2);
    words
        .map(untrusted)
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword.to_ascii_uppercase(), vec![value.to_owned()], entry),
            None => (word.to_ascii_uppercase(), Vec::new(), entry),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        assert_eq!(literal(b"* ID (\"name\" {12}"), Some(12));
        assert_eq!(literal(b"* X {7+}"), Some(7));
        assert_eq!(literal(b"* X {99999999999999999999999}"), Some(u64::MAX));
        for none in [&b"* X {}"[..], b"* X {a}", b"* X 12}", b"{1} x", b""] {
            assert_eq!(literal(none), None);
        }
    }
}
