//! ManageSieve's words (RFC 5804): quoted strings, literals, capabilities that come unasked.

use super::imap::literal;
use super::{Awaits, Command, Event, Words};
use crate::lines::{LINE_BYTES_MAX, Line, Lines};
use mxray_model::session::{AnomalyKind, Answer, Limit, Raw};
use mxray_model::text::untrusted;

/// Most lines in front of an answer.
const LIST_LINES_MAX: usize = 256;
const INITIAL_BYTES_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Sieve {
    listed: usize,
    begun: Vec<u8>,
    literal: usize,
}

impl Words for Sieve {
    fn write(&mut self, command: Command<'_>) -> String {
        match command {
            Command::Capabilities => "CAPABILITY".to_owned(),
            Command::Starttls => "STARTTLS".to_owned(),
            Command::Authenticate { mechanism, initial: Some(initial) } => {
                format!("AUTHENTICATE \"{mechanism}\" \"{initial}\"")
            }
            Command::Authenticate { mechanism, initial: None } => format!("AUTHENTICATE \"{mechanism}\""),
            Command::Response(coded) => format!("\"{coded}\""),
            Command::Cancel => "\"*\"".to_owned(),
            Command::Goodbye => "LOGOUT".to_owned(),
        }
    }

    fn read(&mut self, line: &Line, awaits: Awaits, lines: &mut Lines) -> Result<Event, Limit> {
        self.begun.extend_from_slice(&line.text);
        if self.begun.len() > LINE_BYTES_MAX {
            return Err(Limit::LineBytes);
        }
        if self.literal > line.bytes {
            self.literal -= line.bytes;
            return Ok(Event::Nothing);
        }
        self.literal = 0;
        if let Some(size) = literal(&line.text) {
            if size > LINE_BYTES_MAX as u64 {
                return Err(Limit::LineBytes);
            }
            self.literal = size as usize;
            // The challenge of a login is a string of its own: its announcement means nothing.
            let at = self.begun.iter().rposition(|byte| *byte == b'{').unwrap_or_default();
            self.begun.truncate(at);
            return Ok(Event::Nothing);
        }
        let text = std::mem::take(&mut self.begun);
        self.event(&text, line, awaits, lines)
    }

    fn initial_bytes_max(&self, _: &dyn Fn(&str) -> bool) -> usize {
        INITIAL_BYTES_MAX
    }

    fn starttls(&self) -> &'static str {
        "STARTTLS"
    }

    fn mechanisms(&self) -> &'static str {
        "SASL"
    }

    fn announces_unasked(&self) -> bool {
        true
    }
}

impl Sieve {
    fn event(&mut self, text: &[u8], line: &Line, awaits: Awaits, lines: &mut Lines) -> Result<Event, Limit> {
        if let Some(answer) = answer(text, line.entry) {
            self.listed = 0;
            return Ok(Event::Answer(answer));
        }
        let strings = quoted(text);
        // Within a login a string alone on its line is a challenge; a literal has lost its quotes on the way.
        if awaits == Awaits::Answer {
            let challenge = strings.first().cloned().unwrap_or_else(|| text.to_vec());
            return Ok(Event::Challenge(challenge));
        }
        self.listed += 1;
        if self.listed > LIST_LINES_MAX {
            return Err(Limit::ReplyLines);
        }
        match strings.split_first() {
            Some((keyword, values)) => {
                let words = values.iter().flat_map(|value| value.split(u8::is_ascii_whitespace));
                let parameters = words.filter(|word| !word.is_empty()).map(untrusted).collect();
                Ok(Event::Listed(vec![(untrusted(keyword).to_ascii_uppercase(), parameters, line.entry)]))
            }
            None => {
                let greeting = awaits == Awaits::Greeting;
                lines.odd(if greeting { AnomalyKind::TextBeforeGreeting } else { AnomalyKind::NotAReply }, line.entry);
                Ok(Event::Nothing)
            }
        }
    }
}

/// `OK`, `NO (AUTH-TOO-WEAK) "text"`, `BYE`.
pub(crate) fn answer(text: &[u8], entry: u32) -> Option<Answer> {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'(' | b'"')).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let status = String::from_utf8_lossy(word).to_ascii_uppercase();
    if !matches!(status.as_str(), "OK" | "NO" | "BYE") {
        return None;
    }
    // Parentheses within the text are text.
    let inner = rest.trim_ascii_start().strip_prefix(b"(");
    let code = inner.and_then(|inner| inner.get(..inner.iter().position(|byte| *byte == b')')?)).map(untrusted);
    let said = quoted(rest).pop().unwrap_or_else(|| rest.trim_ascii().to_vec());
    Some(Answer { ok: status == "OK", status, code, text: Raw(said), after_ms: 0, entry })
}

/// The strings of a line, with `\"` and `\\` as what they stand for.
pub(crate) fn quoted(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut bytes = text.iter().copied();
    while bytes.any(|byte| byte == b'"') {
        let mut string = Vec::new();
        loop {
            match bytes.next() {
                Some(b'\\') => string.extend(bytes.next()),
                Some(b'"') | None => break,
                Some(byte) => string.push(byte),
            }
        }
        found.push(string);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_answers() {
        assert_eq!(quoted(br#""SASL" "PLAIN \"x\"""#), [&b"SASL"[..], b"PLAIN \"x\""]);
        let no = answer(br#"NO (TRYLATER) "busy""#, 1).unwrap();
        assert_eq!((no.ok, no.code.as_deref(), no.text.to_string().as_str()), (false, Some("TRYLATER"), "busy"));
        assert_eq!(answer(br#"OK "ready (1)""#, 1).unwrap().code, None);
        assert!(answer(b"OK", 1).unwrap().ok && answer(b"OKAY", 1).is_none());
    }
}
