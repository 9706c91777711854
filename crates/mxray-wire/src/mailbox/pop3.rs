//! POP3's words.

use super::{Awaits, Command, Event, Words, behind_words, bracketed, first_word};
use crate::lines::{Line, Lines};
use mxray_model::session::{AnomalyKind, Answer, Limit, Raw};
use mxray_model::text::untrusted;

/// Most lines of a list.
const LIST_LINES_MAX: usize = 256;
/// RFC 5034 section 4: a command line has at most 255 bytes.
const INITIAL_BYTES_MAX: usize = 220;

#[derive(Debug, Default)]
pub(crate) struct Pop3 {
    /// Lines of a list so far; `None`: not within one.
    within: Option<usize>,
    answer: Option<Answer>,
}

impl Words for Pop3 {
    fn write(&mut self, command: Command<'_>) -> String {
        match command {
            Command::Capabilities => "CAPA".to_owned(),
            Command::Starttls => "STLS".to_owned(),
            // An empty first message is `=` (RFC 5034 section 4).
            Command::Authenticate { mechanism, initial: Some("") } => format!("AUTH {mechanism} ="),
            Command::Authenticate { mechanism, initial: Some(initial) } => format!("AUTH {mechanism} {initial}"),
            Command::Authenticate { mechanism, initial: None } => format!("AUTH {mechanism}"),
            Command::Response(coded) => coded.to_owned(),
            Command::Cancel => "*".to_owned(),
            Command::Goodbye => "QUIT".to_owned(),
        }
    }

    fn read(&mut self, line: &Line, awaits: Awaits, lines: &mut Lines) -> Result<Event, Limit> {
        let text = untrusted(&line.text);
        if let Some(count) = &mut self.within {
            if text == "." {
                self.within = None;
                return Ok(self.answer.take().map_or(Event::Nothing, Event::Answer));
            }
            *count += 1;
            if *count > LIST_LINES_MAX {
                return Err(Limit::ReplyLines);
            }
            // A dot at the beginning of a line is doubled (RFC 1939 section 3).
            let (keyword, rest) = first_word(text.strip_prefix('.').unwrap_or(&text));
            let parameters = rest.split_ascii_whitespace().map(str::to_owned).collect();
            return Ok(Event::Listed(vec![(keyword, parameters, line.entry)]));
        }
        if let Some(challenge) = line.text.strip_prefix(b"+ ").or_else(|| (line.text == b"+").then_some(&[][..])) {
            return Ok(Event::Challenge(challenge.to_vec()));
        }
        let (status, _) = first_word(&text);
        if !matches!(status.as_str(), "+OK" | "-ERR") {
            lines.odd(AnomalyKind::NotAReply, line.entry);
            return Ok(Event::Nothing);
        }
        let ok = status == "+OK";
        let (code, rest) = bracketed(behind_words(&line.text, 1));
        let answer = Answer { ok, status, code, text: Raw::from(rest), after_ms: 0, entry: line.entry };
        if ok && awaits == Awaits::List {
            self.within = Some(0);
            self.answer = Some(answer);
            return Ok(Event::Nothing);
        }
        Ok(Event::Answer(answer))
    }

    fn initial_bytes_max(&self, _: &dyn Fn(&str) -> bool) -> usize {
        INITIAL_BYTES_MAX
    }

    /// RFC 2449 section 6.2
    fn has_other_login(&self, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        has("USER").then_some("USER")
    }

    fn starttls(&self) -> &'static str {
        "STLS"
    }

    fn mechanisms(&self) -> &'static str {
        "SASL"
    }
}

/// A time stamp in the greeting offers APOP (RFC 1939 section 7): `<1896.697170952@dbc.mtview.ca.us>`.
pub(crate) fn has_stamp(greeting: &[u8]) -> bool {
    let Some(at) = greeting.iter().rposition(|byte| *byte == b'<') else { return false };
    let rest = greeting.get(at + 1..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'>');
    end.is_some_and(|end| rest.get(..end).is_some_and(|stamp| stamp.contains(&b'@') && !stamp.contains(&b' ')))
}
