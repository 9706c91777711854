//! IMAP (RFC 9051, RFC 3501), POP3 (RFC 1939, 2449, 2595, 5034) and ManageSieve (RFC 5804) from the client's side.
//!
//! The three go through the same steps: greeting, capabilities, STARTTLS, capabilities again, login, goodbye. `client` is
//! these steps; `imap`, `pop3` and `sieve` are the words: how a command is written, and what a line of the server means.

mod client;
mod imap;
mod pop3;
mod sieve;
#[cfg(test)]
mod tests;

pub use client::Mailbox;
pub(crate) use imap::literal;
pub(crate) use sieve::{answer as sieve_answer, quoted as sieve_strings};

use crate::lines::{Line, Lines};
use crate::{Auth, Moment, Starttls};
use mxray_model::session::{Answer, Depth, Limit, MailboxProtocol};
use mxray_model::text::untrusted;

/// What a session is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub protocol: MailboxProtocol,
    /// Up to `Auth`; `Ehlo` stands for the capabilities.
    pub depth: Depth,
    /// TLS from the first byte (ports 993, 995).
    pub implicit_tls: bool,
    pub starttls: Starttls,
    pub auth: Option<Auth>,
    pub patience: Patience,
}

/// How long each step is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub greeting: Moment,
    pub reply: Moment,
    /// For the answer to a login: servers delay a failed one on purpose.
    pub login: Moment,
    pub goodbye: Moment,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            greeting: Moment::from_secs(10),
            reply: Moment::from_secs(10),
            login: Moment::from_secs(20),
            goodbye: Moment::from_secs(2),
        }
    }
}

impl Plan {
    /// To the capabilities behind TLS.
    pub fn new(protocol: MailboxProtocol) -> Self {
        Plan {
            protocol,
            depth: Depth::Tls,
            implicit_tls: false,
            starttls: Starttls::IfOffered,
            auth: None,
            patience: Patience::default(),
        }
    }
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Capabilities,
    Starttls,
    /// With the first message, where the protocol and the server allow it.
    Authenticate {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
    /// A message within a login.
    Response(&'a str),
    Cancel,
    Goodbye,
}

/// A keyword and its parameters.
pub(crate) type Listed = Vec<(String, Vec<String>, u32)>;

/// What a line, or several, mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// More lines are needed, or it means nothing to us.
    Nothing,
    /// Part of a list of capabilities, or all of it.
    Listed(Listed),
    /// The server asks for the next message of a login.
    Challenge(Vec<u8>),
    /// The end of what was asked, or the greeting.
    Answer(Answer),
    /// The server goes away, unasked.
    Leaves,
}

/// What the words of a protocol are read against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    Greeting,
    /// An answer of several lines (POP3's CAPA).
    List,
    Answer,
    Nothing,
}

/// One protocol's words.
pub(crate) trait Words: std::fmt::Debug {
    /// The bytes of a command up to the last message, without its line ending.
    fn write(&mut self, command: Command<'_>) -> String;

    /// Reads one line.
    ///
    /// # Errors
    /// More than anybody reads.
    fn read(&mut self, line: &Line, awaits: Awaits, lines: &mut Lines) -> Result<Event, Limit>;

    /// The most bytes of a first message that may go with the command; 0: none.
    fn initial_bytes_max(&self, has: &dyn Fn(&str) -> bool) -> usize;

    /// The capability that announces STARTTLS.
    fn starttls(&self) -> &'static str;

    /// The capability that lists the mechanisms.
    fn mechanisms(&self) -> &'static str;

    /// The protocol's own command to log in with a password, where a server takes it. We do not use it.
    fn has_other_login(&self, _: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        None
    }

    /// The server says its capabilities by itself: in the greeting, and behind TLS.
    fn announces_unasked(&self) -> bool {
        false
    }
}

/// `WORD rest`, the first word in upper case.
fn first_word(text: &str) -> (String, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word.to_ascii_uppercase(), rest)
}

/// `[CODE rest] text` → the code and the text behind it, byte for byte.
pub(crate) fn bracketed(text: &[u8]) -> (Option<String>, &[u8]) {
    let inner = text.strip_prefix(b"[");
    let end = inner.and_then(|inner| inner.iter().position(|byte| *byte == b']'));
    match inner.zip(end).and_then(|(inner, end)| inner.split_at_checked(end)) {
        Some((code, rest)) => (Some(untrusted(code)), rest.get(1..).unwrap_or_default().trim_ascii_start()),
        None => (None, text),
    }
}

/// What stands behind so many words, each with one blank behind it.
fn behind_words(line: &[u8], words: usize) -> &[u8] {
    line.splitn(words + 1, |byte| *byte == b' ').nth(words).unwrap_or_default()
}
