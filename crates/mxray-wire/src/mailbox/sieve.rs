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
        let shown = untrusted(text);
        if let Some(answer) = answer(&shown, line.entry) {
            self.listed = 0;
            return Ok(Event::Answer(answer));
        }
        let strings = quoted(&shown);
        // Within a login a string alone on its line is a challenge; a literal has lost its quotes on the way.
        if awaits == Awaits::Answer {
            let challenge = strings.first().cloned().unwrap_or(shown);
            return Ok(Event::Challenge(challenge.into_bytes()));
        }
        self.listed += 1;
        if self.listed > LIST_LINES_MAX {
            return Err(Limit::ReplyLines);
        }
        match strings.split_first() {
            Some((keyword, values)) => {
                let parameters = values.iter().flat_map(|value| value.split_ascii_whitespace()).map(str::to_owned);
                Ok(Event::Listed(vec![(keyword.to_ascii_uppercase(), parameters.collect(), line.entry)]))
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
fn answer(text: &str, entry: u32) -> Option<Answer> {
    let (word, rest) = text.split_once([' ', '(', '"']).unwrap_or((text, ""));
    let status = word.to_ascii_uppercase();
    if !matches!(status.as_str(), "OK" | "NO" | "BYE") {
        return None;
    }
    let rest = text.get(text.len() - rest.len()..).unwrap_or_default();
    let code = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code.to_owned());
    let said = quoted(text).pop().unwrap_or_else(|| rest.to_owned());
    Some(Answer { ok: status == "OK", status, code, text: Raw::from(said.as_str()), after_ms: 0, entry })
}

/// The strings of a line, with `\"` and `\\` as what they stand for.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars();
    while chars.any(|c| c == '"') {
        let mut string = String::new();
        loop {
            match chars.next() {
                Some('\\') => string.extend(chars.next()),
                Some('"') | None => break,
                Some(c) => string.push(c),
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
        assert_eq!(quoted(r#""SASL" "PLAIN \"x\"""#), ["SASL", "PLAIN \"x\""]);
        let no = answer(r#"NO (TRYLATER) "busy""#, 1).unwrap();
        assert_eq!((no.ok, no.code.as_deref(), no.text.to_string().as_str()), (false, Some("TRYLATER"), "busy"));
        assert!(answer("OK", 1).unwrap().ok && answer("OKAY", 1).is_none());
    }
}
