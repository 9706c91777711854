//! A session that a person leads: what is typed goes out as it is, and what comes is understood as far as its frame goes.
//!
//! Bytes and time come in; what is known of them comes out: which line ends a reply, whose turn it is, what was announced,
//! what must not be shown. `said` reads what the client says, `heard` what the server says, `login` leads an exchange of
//! SASL, `kept` is what a scenario file is made of. Nothing here says no: whoever types knows what they do.
//!
//! What must not live here: sockets, clocks, TLS, slash commands, the meaning of codes (`mxray-render`).

mod heard;
mod kept;
mod login;
mod said;
#[cfg(test)]
mod tests;

pub use heard::{Answered, Cut, Heard, Meaning};
pub use login::challenge_text;
pub use said::NotAName;

use crate::Moment;
use crate::auth::Attempt;
use crate::secret::Secrets;
use kept::Kept;
use mxray_model::evidence::SessionProtocol;
use said::Giving;
use std::collections::VecDeque;

/// What a reply is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Awaited {
    /// The command in upper case; empty: the greeting, or what follows by itself.
    verb: String,
    /// IMAP's.
    tag: String,
    /// Of a login, as it was typed.
    mechanism: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Greeting,
    One,
    /// POP3: lines up to a dot, where the answer is positive.
    List,
    /// The message of a transaction; LMTP answers so many times (RFC 2033 section 4.2).
    Message(u32),
}

impl Awaited {
    /// Something that the server says without being asked.
    fn unasked(kind: Kind) -> Self {
        Awaited { verb: String::new(), tag: String::new(), mechanism: String::new(), kind }
    }
}

/// The session.
#[derive(Debug)]
pub struct Dialogue {
    protocol: SessionProtocol,
    tls: bool,
    secrets: Secrets,
    awaited: VecDeque<Awaited>,
    kept: Kept,
    /// When we last said something, or the session began.
    spoke: Moment,

    giving: Giving,
    /// What was said of a line that has no end yet, and how much of it is kept already.
    line: Vec<u8>,
    line_kept: usize,
    tags: u32,
    /// LMTP: recipients of this transaction that were taken.
    recipients: u32,
    /// Lines that were said within a command that waits.
    responses: u32,
    goodbye: bool,

    reader: heard::Reader,
    capabilities: Vec<String>,
    mechanisms: Vec<String>,
    attempt: Option<Attempt>,
}

impl Dialogue {
    /// The connection stands. The server speaks first, under implicit TLS once the handshake is over.
    pub fn new(protocol: SessionProtocol) -> Self {
        Dialogue {
            protocol,
            tls: false,
            secrets: Secrets::default(),
            awaited: VecDeque::from([Awaited::unasked(Kind::Greeting)]),
            kept: Kept::default(),
            spoke: Moment::ZERO,
            giving: Giving::Commands,
            line: Vec::new(),
            line_kept: 0,
            tags: 0,
            recipients: 0,
            responses: 0,
            goodbye: false,
            reader: heard::Reader::default(),
            capabilities: Vec::new(),
            mechanisms: Vec::new(),
            attempt: None,
        }
    }

    pub fn protocol(&self) -> SessionProtocol {
        self.protocol
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The server owes us something, and it is not our turn within that.
    pub fn is_waiting(&self) -> bool {
        !self.awaited.is_empty() && self.giving.waits()
    }

    /// The greeting has come.
    pub fn is_greeted(&self) -> bool {
        self.awaited.iter().all(|awaited| awaited.kind != Kind::Greeting)
    }

    /// What is said now is a message, or bytes that were announced: no command would be understood as one.
    pub fn is_giving(&self) -> bool {
        !matches!(self.giving, Giving::Commands | Giving::Await(_))
    }

    /// A message of SMTP, in lines.
    pub fn is_giving_message(&self) -> bool {
        self.giving == Giving::Message
    }

    /// We took our leave.
    pub fn has_left(&self) -> bool {
        self.goodbye
    }

    /// Keywords in upper case, of the last list that came.
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// Login mechanisms of the last list that came.
    pub fn mechanisms(&self) -> &[String] {
        &self.mechanisms
    }

    /// What came of a line that has no end yet, secrets masked.
    pub fn partial(&self) -> Vec<u8> {
        self.secrets.masked(&self.reader.pending)
    }

    /// Bytes behind the last complete line.
    pub fn pending_bytes(&self) -> usize {
        self.reader.pending.len()
    }

    /// The handshake's outcome. Behind it everything that was announced counts for nothing (RFC 3207 section 4.2).
    pub fn on_tls(&mut self, established: bool, now: Moment) {
        self.kept.tls(established);
        self.spoke = now;
        if established {
            self.tls = true;
            self.capabilities.clear();
            self.mechanisms.clear();
            // ManageSieve says its capabilities again by itself (RFC 5804 section 2.2).
            if self.protocol == SessionProtocol::Sieve && self.is_greeted() {
                self.awaited.push_back(Awaited::unasked(Kind::One));
            }
        }
    }

    /// The peer closed in order, or broke the connection.
    pub fn on_closed(&mut self, in_order: bool) {
        self.kept.closed(in_order);
    }

    /// The conversation so far as a scenario file (`scenario.rs`), secrets masked.
    pub fn scenario(&self, title: &str) -> String {
        // What came in pieces was masked piece by piece; a secret may lie across two.
        self.kept.scenario(title, |bytes| self.secrets.masked(bytes))
    }
}
