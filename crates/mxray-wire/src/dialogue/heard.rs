//! What the server says: lines as they come, which of them end a reply, and what that reply is.

use super::said::Giving;
use super::{Awaited, Dialogue, Kind};
use crate::Moment;
use crate::mailbox::{bracketed, literal, sieve_answer, sieve_strings};
use crate::sasl::Mechanism;
use crate::smtp::{Separator, enhanced, parse_reply};
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Enhanced;
use mxray_model::text::untrusted;
use std::time::Duration;

/// What is given out of one line: more than any protocol's line has, and few screens.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Most keywords that are kept of one list.
const CAPABILITIES_MAX: usize = 256;

/// How a line came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    CrLf,
    /// No line of any mail protocol ends so.
    Lf,
    /// It goes on beyond what is given out, and has no end yet.
    Long,
    /// The end of a line that was too long: so many more bytes than were given out.
    Rest(u64),
    /// Nothing more came of it.
    Open,
}

/// One line of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Without its ending, secrets masked.
    pub text: Vec<u8>,
    pub cut: Cut,
    /// Since we last said something, or since the session began.
    pub after: Duration,
    pub meaning: Meaning,
}

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Part of a reply or of a list, or nothing that needs an answer.
    Part,
    /// The end of a reply.
    Answer(Answered),
    /// The server asks for something within a command: a message of a login, a literal, the end of IDLE.
    Asks(Vec<u8>),
    /// It is nothing in this protocol.
    Foreign,
}

/// A reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The command that it answers, in upper case; empty: the greeting. `None`: nobody asked.
    pub verb: Option<String>,
    /// 2yz and 3yz, `OK`, `+OK`, `PREAUTH`.
    pub good: bool,
    /// SMTP and LMTP.
    pub code: Option<u16>,
    pub enhanced: Option<Enhanced>,
    /// `OK`, `-ERR`; empty in SMTP.
    pub status: String,
    /// What stands in brackets.
    pub response_code: String,
}

/// Lines under way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub pending: Vec<u8>,
    /// Of a line that was too long: its beginning, and how many bytes came behind.
    clipped: Option<(Vec<u8>, u64)>,
    /// Bytes of a literal that are still to come.
    literal: u64,
    /// What stands in front of a literal, which ends where the literal does.
    begun: Vec<u8>,
    /// Within a list of POP3.
    listing: bool,
    /// A list of capabilities is under way: forget the older one first.
    fresh: bool,
}

impl Dialogue {
    /// Bytes came; `heard` gives them out in lines. Take all lines before more bytes are received.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.reader.pending.extend_from_slice(bytes);
    }

    /// The next line that is complete, or long enough.
    pub fn heard(&mut self, now: Moment) -> Option<Heard> {
        let after = now.saturating_sub(self.spoke);
        let pending = &mut self.reader.pending;
        let Some(end) = pending.iter().position(|byte| *byte == b'\n') else { return self.long(after) };
        let rest = pending.split_off(end + 1);
        let line = std::mem::replace(pending, rest);
        self.kept.server(&self.secrets.masked(&line));
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let (text, cut) = text.strip_suffix(b"\r").map_or((text, Cut::Lf), |text| (text, Cut::CrLf));
        if let Some((head, more)) = self.reader.clipped.take() {
            let meaning = self.read(&head, more + line.len() as u64);
            let more = (more + line.len() as u64).saturating_sub(head.len() as u64);
            return Some(Heard { text: Vec::new(), cut: Cut::Rest(more), after, meaning });
        }
        let meaning = self.read(text, line.len() as u64);
        let shown = text.get(..LINE_BYTES_MAX).unwrap_or(text);
        let cut = if shown.len() < text.len() { Cut::Rest((line.len() - shown.len()) as u64) } else { cut };
        Some(Heard { text: self.secrets.masked(shown), cut, after, meaning })
    }

    /// What came without an end: to be shown when nothing more comes. It is not judged.
    pub fn rest(&mut self, now: Moment) -> Option<Heard> {
        let line = std::mem::take(&mut self.reader.pending);
        if line.is_empty() {
            return None;
        }
        let text = self.secrets.masked(&line);
        self.kept.server(&text);
        let after = now.saturating_sub(self.spoke);
        Some(Heard { text, cut: Cut::Open, after, meaning: Meaning::Part })
    }

    /// A line without an end so far: its beginning is given out once it is long, the rest is counted.
    fn long(&mut self, after: Duration) -> Option<Heard> {
        if self.reader.clipped.is_none() && self.reader.pending.len() <= LINE_BYTES_MAX {
            return None;
        }
        let line = std::mem::take(&mut self.reader.pending);
        if line.is_empty() {
            return None;
        }
        self.kept.server(&self.secrets.masked(&line));
        if let Some((_, more)) = &mut self.reader.clipped {
            *more += line.len() as u64;
            return None;
        }
        let head = line.get(..LINE_BYTES_MAX).unwrap_or(&line).to_vec();
        let text = self.secrets.masked(&head);
        self.reader.clipped = Some((head, line.len() as u64));
        Some(Heard { text, cut: Cut::Long, after, meaning: Meaning::Part })
    }

    /// `bytes`: the line's length with its ending.
    fn read(&mut self, text: &[u8], bytes: u64) -> Meaning {
        match self.protocol {
            SessionProtocol::Smtp | SessionProtocol::Lmtp => self.read_smtp(text),
            SessionProtocol::Pop3 => self.read_pop3(text),
            SessionProtocol::Imap | SessionProtocol::Sieve => {
                let Some(whole) = self.whole(text, bytes) else { return Meaning::Part };
                if self.protocol == SessionProtocol::Imap { self.read_imap(&whole) } else { self.read_sieve(&whole) }
            }
        }
    }

    fn read_smtp(&mut self, text: &[u8]) -> Meaning {
        let Some((code, separator, said)) = parse_reply(text) else { return Meaning::Foreign };
        // The first line of an answer to EHLO holds the server's name.
        let hello = self.awaited.front().is_some_and(|front| matches!(front.verb.as_str(), "EHLO" | "LHLO"));
        if hello && code == 250 {
            match std::mem::take(&mut self.reader.fresh) {
                true => self.forget(),
                false => self.announced_line(said),
            }
        }
        if separator == Separator::More {
            return Meaning::Part;
        }
        self.reader.fresh = true;
        if self.giving == Giving::Response {
            self.giving = Giving::Commands;
        }
        let good = (200..400).contains(&code);
        let mut answered = Answered { good, code: Some(code), enhanced: enhanced(said, code), ..Answered::default() };
        // A server may say at any time that it goes away (RFC 5321 section 3.8), also instead of an answer.
        let Some(front) = self.awaited.pop_front() else { return Meaning::Answer(answered) };
        answered.verb = Some(front.verb.clone());
        match (front.verb.as_str(), code) {
            ("AUTH", 334) => {
                self.awaited.push_front(front);
                self.giving = Giving::Response;
                return Meaning::Asks(said.to_vec());
            }
            ("DATA", 354) => {
                let kind = Kind::Message(self.answers_to_message());
                self.awaited.push_front(Awaited { kind, ..front });
                self.giving = Giving::Message;
            }
            ("RCPT", 200..=299) => self.recipients = self.recipients.saturating_add(1),
            _ => {
                if let Kind::Message(left) = front.kind
                    && left > 1
                    && code != 421
                {
                    self.awaited.push_front(Awaited { kind: Kind::Message(left - 1), ..front });
                }
            }
        }
        Meaning::Answer(answered)
    }

    fn read_pop3(&mut self, text: &[u8]) -> Meaning {
        if self.reader.listing {
            if text == b"." {
                self.reader.listing = false;
                self.reader.fresh = true;
                let verb = self.awaited.pop_front().map(|front| front.verb);
                return Meaning::Answer(Answered { verb, good: true, ..Answered::default() });
            }
            if self.awaited.front().is_some_and(|front| front.verb == "CAPA") {
                self.announced_line(text);
            }
            return Meaning::Part;
        }
        let (word, said) = split_word(text);
        let status = untrusted(word).to_ascii_uppercase();
        if status == "+" {
            return self.asks(said);
        }
        if !matches!(status.as_str(), "+OK" | "-ERR") {
            return Meaning::Foreign;
        }
        let good = status == "+OK";
        let response_code = bracketed(said).0.unwrap_or_default();
        if good && self.awaited.front().is_some_and(|front| front.kind == Kind::List) {
            self.reader.listing = true;
            self.reader.fresh = true;
            return Meaning::Part;
        }
        let verb = self.awaited.pop_front().map(|front| front.verb);
        self.giving = Giving::Commands;
        Meaning::Answer(Answered { verb, good, status, response_code, ..Answered::default() })
    }

    /// One response with the literals in it; `None`: it goes on.
    fn whole(&mut self, text: &[u8], bytes: u64) -> Option<Vec<u8>> {
        let reader = &mut self.reader;
        let left = std::mem::take(&mut reader.literal);
        if reader.begun.len() + text.len() <= LINE_BYTES_MAX {
            reader.begun.extend_from_slice(text);
        }
        if bytes <= left {
            reader.literal = left - bytes;
            return None;
        }
        // Behind a literal the response goes on in its last line.
        let behind = usize::try_from(left).ok().and_then(|left| text.get(left..)).unwrap_or_default();
        if let Some(size) = literal(behind) {
            reader.literal = size;
            let at = reader.begun.iter().rposition(|byte| *byte == b'{').unwrap_or_default();
            reader.begun.truncate(at);
            return None;
        }
        Some(std::mem::take(&mut reader.begun))
    }

    fn read_imap(&mut self, whole: &[u8]) -> Meaning {
        let (tag, rest) = split_word(whole);
        if tag == b"+" {
            return self.asks(rest);
        }
        let (word, said) = split_word(rest);
        let status = untrusted(word).to_ascii_uppercase();
        let response_code = bracketed(said).0.unwrap_or_default();
        if let Some(list) = response_code.strip_prefix("CAPABILITY ") {
            self.announced_words(list.as_bytes());
        }
        let good = matches!(status.as_str(), "OK" | "PREAUTH");
        let known = good || matches!(status.as_str(), "NO" | "BAD" | "BYE");
        let answered = |verb| Answered { verb, good, status: status.clone(), response_code, ..Answered::default() };
        if tag == b"*" {
            if status == "CAPABILITY" {
                self.announced_words(said);
            }
            let greeting = self.awaited.front().is_some_and(|front| front.kind == Kind::Greeting);
            if greeting && known {
                let verb = self.awaited.pop_front().map(|front| front.verb);
                return Meaning::Answer(answered(verb));
            }
            return Meaning::Part;
        }
        if !known {
            return Meaning::Foreign;
        }
        let tag = String::from_utf8_lossy(tag);
        let place = self.awaited.iter().position(|awaited| awaited.tag == tag && awaited.kind != Kind::Greeting);
        let verb = place.and_then(|place| self.awaited.remove(place)).map(|awaited| awaited.verb);
        if verb.is_some() {
            // A command that was refused wants no literal any more.
            self.giving = Giving::Commands;
        }
        Meaning::Answer(answered(verb))
    }

    fn read_sieve(&mut self, whole: &[u8]) -> Meaning {
        if let Some(answer) = sieve_answer(whole, 0) {
            let verb = self.awaited.pop_front().map(|front| front.verb);
            self.reader.fresh = true;
            self.giving = Giving::Commands;
            let response_code = answer.code.unwrap_or_default();
            return Meaning::Answer(Answered {
                verb,
                good: answer.ok,
                status: answer.status,
                response_code,
                ..Answered::default()
            });
        }
        let verb = self.awaited.front().map(|front| front.verb.as_str());
        if verb == Some("AUTHENTICATE") {
            let challenge = sieve_strings(whole).into_iter().next().unwrap_or_else(|| whole.to_vec());
            return self.asks(&challenge);
        }
        if let Some((keyword, values)) = sieve_strings(whole).split_first()
            && matches!(verb, Some("" | "CAPABILITY"))
        {
            let mut line = keyword.clone();
            for value in values {
                line.push(b' ');
                line.extend_from_slice(value);
            }
            self.announced_line(&line);
        }
        Meaning::Part
    }

    /// The server asks for something within the command that waits.
    fn asks(&mut self, said: &[u8]) -> Meaning {
        if self.awaited.is_empty() {
            return Meaning::Foreign;
        }
        self.giving = match self.giving {
            Giving::Await(0) => Giving::Rest,
            Giving::Await(size) => Giving::Bytes(size),
            _ => Giving::Response,
        };
        Meaning::Asks(said.to_vec())
    }

    fn forget(&mut self) {
        self.capabilities.clear();
        self.mechanisms.clear();
    }

    /// `KEYWORD words`, one of a list.
    fn announced_line(&mut self, line: &[u8]) {
        if std::mem::take(&mut self.reader.fresh) {
            self.forget();
        }
        let text = untrusted(line);
        let mut words = text.split_ascii_whitespace();
        let Some(first) = words.next() else { return };
        let (keyword, joined) = match first.split_once('=') {
            // Old servers say `AUTH=PLAIN LOGIN` for old clients.
            Some((keyword, value)) if keyword.eq_ignore_ascii_case("AUTH") => (keyword, Some(value)),
            _ => (first, None),
        };
        let keyword = keyword.to_ascii_uppercase();
        if matches!(keyword.as_str(), "AUTH" | "SASL") {
            joined.into_iter().chain(words).for_each(|word| self.mechanism(word));
        }
        if self.capabilities.len() < CAPABILITIES_MAX {
            self.capabilities.push(keyword);
        }
    }

    /// IMAP's list, in one line.
    fn announced_words(&mut self, words: &[u8]) {
        self.forget();
        for word in words.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(CAPABILITIES_MAX) {
            let word = untrusted(word).to_ascii_uppercase();
            if let Some(mechanism) = word.strip_prefix("AUTH=") {
                self.mechanism(mechanism);
            }
            self.capabilities.push(word);
        }
    }

    fn mechanism(&mut self, word: &str) {
        let name = Mechanism::named(word).map_or_else(|| word.to_ascii_uppercase(), |known| known.name().to_owned());
        if self.mechanisms.len() < CAPABILITIES_MAX && !self.mechanisms.contains(&name) {
            self.mechanisms.push(name);
        }
    }
}

/// The first word, and what stands behind it and one blank.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, rest.get(1..).unwrap_or_default())
}
