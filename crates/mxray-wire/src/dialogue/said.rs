//! What the client says: which of its bytes are commands, which are a message or a literal, which must not be shown.

use super::{Awaited, Dialogue, Kind};
use crate::Moment;
use crate::base64;
use crate::mailbox::literal;
use crate::secret::MASK;
use mxray_model::evidence::SessionProtocol;

/// Most commands that are remembered as unanswered. Who pipelines more reads the replies by eye.
const AWAITED_MAX: usize = 1000;
/// A line of ours without an end: beyond this, it is passed on unread.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What the next bytes of ours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Giving {
    Commands,
    /// A message: lines up to a dot.
    Message,
    /// The server has to agree before so many bytes follow (RFC 9051 section 4.3).
    Await(u64),
    /// Exactly so many bytes.
    Bytes(u64),
    /// The rest of a command, behind its literal.
    Rest,
    /// A line that the server asked for.
    Response,
}

impl Giving {
    /// Whose turn it is: the server's.
    pub fn waits(self) -> bool {
        matches!(self, Giving::Commands | Giving::Await(_))
    }
}

/// A name that cannot be an argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAName;

/// A protocol's own word for a common command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Common {
    pub capabilities: &'static str,
    pub starttls: &'static str,
    pub goodbye: &'static str,
}

impl Dialogue {
    fn common(&self) -> Common {
        let (capabilities, starttls, goodbye) = match self.protocol {
            SessionProtocol::Smtp => ("EHLO", "STARTTLS", "QUIT"),
            SessionProtocol::Lmtp => ("LHLO", "STARTTLS", "QUIT"),
            SessionProtocol::Imap => ("CAPABILITY", "STARTTLS", "LOGOUT"),
            SessionProtocol::Pop3 => ("CAPA", "STLS", "QUIT"),
            SessionProtocol::Sieve => ("CAPABILITY", "STARTTLS", "LOGOUT"),
        };
        Common { capabilities, starttls, goodbye }
    }

    /// The command that asks what the server can do; `name` is who asks, where the protocol wants to know.
    ///
    /// # Errors
    /// The name holds a blank or a control character.
    pub fn hello(&mut self, name: &str) -> Result<Vec<u8>, NotAName> {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NotAName);
        }
        let verb = self.common().capabilities;
        Ok(match self.protocol {
            SessionProtocol::Smtp | SessionProtocol::Lmtp => self.tagged(&format!("{verb} {name}")),
            _ => self.tagged(verb),
        })
    }

    pub fn starttls(&mut self) -> Vec<u8> {
        self.tagged(self.common().starttls)
    }

    pub fn leave(&mut self) -> Vec<u8> {
        self.tagged(self.common().goodbye)
    }

    /// A command as the protocol writes it, with a tag where it has tags.
    pub(super) fn tagged(&mut self, command: &str) -> Vec<u8> {
        if self.protocol != SessionProtocol::Imap {
            return format!("{command}\r\n").into_bytes();
        }
        self.tags += 1;
        format!("x{} {command}\r\n", self.tags).into_bytes()
    }

    /// These bytes go out. What comes back is what may be shown of them.
    pub fn say(&mut self, mut bytes: &[u8], now: Moment) -> Vec<u8> {
        self.spoke = now;
        let mut shown = Vec::new();
        while !bytes.is_empty() {
            if let Giving::Bytes(left) = self.giving {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (given, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
                bytes = rest;
                self.give(given, left, &mut shown);
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            bytes = rest;
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LINE_BYTES_MAX {
                self.end_of_line(&mut shown);
            }
        }
        shown.extend(self.flush_line());
        shown
    }

    /// Bytes of a literal or of a chunk.
    fn give(&mut self, given: &[u8], left: u64, shown: &mut Vec<u8>) {
        let masked = if self.is_login() { self.hidden(given) } else { self.secrets.masked(given) };
        self.kept.client(&masked);
        shown.extend(masked);
        let left = left.saturating_sub(given.len() as u64);
        self.giving = match self.protocol {
            _ if left > 0 => Giving::Bytes(left),
            SessionProtocol::Imap | SessionProtocol::Sieve => Giving::Rest,
            _ => Giving::Commands,
        };
    }

    fn end_of_line(&mut self, shown: &mut Vec<u8>) {
        shown.extend(self.flush_line());
        let line = std::mem::take(&mut self.line);
        self.line_kept = 0;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match self.giving {
            Giving::Message if text == b"." => self.giving = Giving::Commands,
            Giving::Message | Giving::Bytes(_) | Giving::Await(_) => {}
            Giving::Response | Giving::Rest => {
                self.responses = self.responses.saturating_add(1);
                self.giving = Giving::Commands;
                self.literal_follows(text);
            }
            Giving::Commands => self.command(text),
        }
    }

    /// Records what is not recorded yet of the line under way; what may be shown of it comes back.
    fn flush_line(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.line);
        let (said, fresh) = line.split_at_checked(self.line_kept).unwrap_or((&line, &[]));
        let secret_at = self.secret_at(&line);
        let ending = fresh.len() - without_ending(fresh).len();
        let (body, ending) = fresh.split_at_checked(fresh.len() - ending).unwrap_or((fresh, &[]));
        let masked = match secret_at {
            Some(at) => {
                let open = at.saturating_sub(said.len()).min(body.len());
                let (open, secret) = body.split_at_checked(open).unwrap_or((body, &[]));
                let mut masked = self.secrets.masked(open);
                if !secret.is_empty() {
                    masked.extend(self.hidden(secret));
                }
                masked.extend_from_slice(ending);
                masked
            }
            None => self.secrets.masked(fresh),
        };
        self.line_kept = line.len();
        self.line = line;
        if !masked.is_empty() {
            self.kept.client(&masked);
        }
        masked
    }

    /// The mask, and from here on what the server repeats of the secret is masked, too.
    fn hidden(&mut self, secret: &[u8]) -> Vec<u8> {
        if matches!(secret, b"*" | b"=" | b"\"*\"" | b"") {
            return secret.to_vec();
        }
        // Of a login that we lead, the secret's own forms are hidden already; of a typed LOGIN the first answer is the name.
        if self.attempt.is_some() || (self.responses == 0 && self.logs_in_by("LOGIN")) {
            return MASK.to_vec();
        }
        for word in secret.split(|byte| matches!(byte, b' ' | b'"' | b'\r' | b'\n')) {
            self.secrets.add(word);
            self.secrets.add(base64::encode(word).as_bytes());
            let decoded = base64::decode(word).unwrap_or_default();
            self.secrets.add(&decoded);
            // PLAIN: the password stands behind the second NUL. Only then is it a part of its own.
            if let Some(password) = decoded.split(|byte| *byte == 0).nth(2) {
                self.secrets.add(password);
                self.secrets.add(base64::encode(password).as_bytes());
            }
        }
        MASK.to_vec()
    }

    fn logs_in_by(&self, mechanism: &str) -> bool {
        self.awaited.front().is_some_and(|front| front.mechanism.eq_ignore_ascii_case(mechanism))
    }

    /// The command that waits for an answer is a login.
    fn is_login(&self) -> bool {
        let verb = self.awaited.front().map_or("", |awaited| &awaited.verb);
        matches!(verb, "AUTH" | "AUTHENTICATE" | "LOGIN")
    }

    /// Where in this line of ours a secret begins.
    fn secret_at(&self, line: &[u8]) -> Option<usize> {
        match self.giving {
            Giving::Response | Giving::Rest if self.is_login() => {
                // The size of the next literal is no secret.
                let size = literal(without_ending(line)).is_some() && line.trim_ascii_start().starts_with(b"{");
                return (!size).then_some(0);
            }
            Giving::Commands => {}
            _ => return None,
        }
        let line = without_ending(line);
        let tag = if self.protocol == SessionProtocol::Imap { 1 } else { 0 };
        let verb = nth_word(line, tag).map(<[u8]>::to_ascii_uppercase)?;
        let words = match (self.protocol, verb.as_slice()) {
            (SessionProtocol::Smtp | SessionProtocol::Lmtp | SessionProtocol::Pop3, b"AUTH") => 2,
            (SessionProtocol::Pop3, b"PASS") => 1,
            (SessionProtocol::Pop3, b"APOP") => 2,
            (SessionProtocol::Imap, b"LOGIN" | b"AUTHENTICATE") => 3,
            (SessionProtocol::Sieve, b"AUTHENTICATE") => 2,
            _ => return None,
        };
        let at = behind_words(line, words)?;
        // The size of a literal is no secret, and has to be read.
        (literal(line).is_none() && at < line.len()).then_some(at)
    }

    /// A complete command.
    fn command(&mut self, text: &[u8]) {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let tag = if self.protocol == SessionProtocol::Imap { word(words.next()) } else { String::new() };
        let verb = word(words.next()).to_ascii_uppercase();
        let argument = word(words.next());
        self.goodbye |= verb == self.common().goodbye;
        let mut kind = Kind::One;
        match self.protocol {
            SessionProtocol::Smtp | SessionProtocol::Lmtp => {
                if matches!(verb.as_str(), "MAIL" | "RSET" | "HELO" | "EHLO" | "LHLO") {
                    self.recipients = 0;
                }
                if verb == "BDAT" {
                    let last = words.any(|word| word.eq_ignore_ascii_case(b"LAST"));
                    let answers = if last { self.answers_to_message() } else { 1 };
                    kind = Kind::Message(answers);
                    if let Some(size) = argument.parse().ok().filter(|size| *size > 0) {
                        self.giving = Giving::Bytes(size);
                    }
                }
            }
            SessionProtocol::Pop3 => {
                let list = matches!(verb.as_str(), "CAPA" | "RETR" | "TOP")
                    || argument.is_empty() && matches!(verb.as_str(), "LIST" | "UIDL" | "AUTH" | "LANG");
                kind = if list { Kind::List } else { Kind::One };
            }
            SessionProtocol::Imap | SessionProtocol::Sieve => self.literal_follows(text),
        }
        self.responses = 0;
        let mechanism = if matches!(verb.as_str(), "AUTH" | "AUTHENTICATE") { argument } else { String::new() };
        if self.awaited.len() < AWAITED_MAX {
            self.awaited.push_back(Awaited { verb, tag, mechanism, kind });
        }
    }

    /// LMTP answers for each recipient that it took.
    pub(super) fn answers_to_message(&self) -> u32 {
        if self.protocol == SessionProtocol::Lmtp { self.recipients.max(1) } else { 1 }
    }

    fn literal_follows(&mut self, text: &[u8]) {
        if !matches!(self.protocol, SessionProtocol::Imap | SessionProtocol::Sieve) {
            return;
        }
        let Some(size) = literal(text) else { return };
        // ManageSieve knows only the kind that does not wait (RFC 5804 section 4).
        let waits = self.protocol == SessionProtocol::Imap && !text.ends_with(b"+}");
        self.giving = match size {
            _ if waits => Giving::Await(size),
            0 => Giving::Rest,
            size => Giving::Bytes(size),
        };
    }
}

fn word(word: Option<&[u8]>) -> String {
    String::from_utf8_lossy(word.unwrap_or_default()).into_owned()
}

fn without_ending(line: &[u8]) -> &[u8] {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// The places at which words begin.
fn beginnings(line: &[u8]) -> impl Iterator<Item = usize> {
    let blank = |at: usize| line.get(at).is_none_or(u8::is_ascii_whitespace);
    (0..line.len()).filter(move |at| !blank(*at) && (*at == 0 || blank(*at - 1)))
}

fn nth_word(line: &[u8], place: usize) -> Option<&[u8]> {
    let rest = line.get(beginnings(line).nth(place)?..)?;
    rest.split(u8::is_ascii_whitespace).next()
}

/// Where the word behind so many others begins.
fn behind_words(line: &[u8], words: usize) -> Option<usize> {
    beginnings(line).nth(words)
}
