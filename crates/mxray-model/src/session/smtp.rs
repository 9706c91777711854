//! An SMTP or LMTP session: its replies, its extensions, how far it came.

use super::{AuthAttempt, Ending, Extension, Raw, StarttlsOutcome, Transcript};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    Connect,
    Greeting,
    /// Extensions, before and after TLS.
    Ehlo,
    Tls,
    Auth,
    /// MAIL and RCPT, then RSET: nothing is sent.
    Rcpt,
    /// A message is handed over.
    Message,
}

/// The step that a session was at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    Greeting,
    Ehlo,
    /// After EHLO was refused.
    Helo,
    Starttls,
    Handshake,
    /// Postfix's XCLIENT: to be taken for another client.
    Xclient,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The message itself, up to the reply behind its end.
    Message,
    Rset,
    Quit,
}

/// A reply of the server (RFC 5321 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reply {
    /// Of its last line.
    pub code: u16,
    /// RFC 3463, where the text begins with one (RFC 2034).
    pub enhanced: Option<Enhanced>,
    /// The text of each line, without code and ending.
    pub lines: Vec<Raw>,
    /// From the moment from which it was awaited to its last byte, in milliseconds.
    pub after_ms: u64,
    /// Its first line's place in the transcript.
    pub entry: u32,
}

impl Reply {
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// 4yz: come again.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5yz
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }
}

/// An enhanced status code, `5.7.1` (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Enhanced {
    pub class: u8,
    pub subject: u16,
    pub detail: u16,
}

impl std::fmt::Display for Enhanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One EHLO, LHLO or HELO, and what it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    pub verb: String,
    pub tls: bool,
    pub reply: Reply,
    /// By keyword in upper case. Unknown where the reply was not positive: a server that says "come again" has not said
    /// that it lacks an extension. `Absent`: HELO, which announces none.
    pub extensions: Seen<BTreeMap<String, Extension>>,
}

/// One recipient, and what the server said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Recipient {
    pub address: String,
    pub reply: Seen<Reply>,
    /// LMTP: the reply for this one after the message (RFC 2033 section 4.2).
    pub delivered: Seen<Reply>,
}

/// One mail transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Transaction {
    /// The envelope sender; empty is the null sender.
    pub sender: String,
    pub mail: Seen<Reply>,
    pub recipients: Vec<Recipient>,
    /// To DATA. Unknown with BDAT, which has none.
    pub data: Seen<Reply>,
    /// Behind the end of the message.
    pub accepted: Seen<Reply>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SmtpSession {
    pub greeting: Seen<Reply>,
    /// In order: before TLS, after TLS, HELO where EHLO was refused.
    pub hellos: Vec<Hello>,
    /// `Absent`: not announced. Unknown: nobody asked, or the announcement was not seen.
    pub starttls: Seen<StarttlsOutcome<Reply>>,
    /// `Absent`: the server announces no AUTH.
    pub auth: Seen<AuthAttempt<Reply>>,
    /// To a MAIL that was sent without TLS, only to learn whether TLS is required. It was taken back with RSET.
    pub mail_in_clear: Seen<Reply>,
    /// To XCLIENT, where that was asked for. `Absent`: the server does not announce it.
    pub xclient: Seen<Reply>,
    pub transaction: Option<Transaction>,
    /// Those behind the first one, where several were asked for. Each was taken back with RSET.
    pub further: Vec<Transaction>,
    pub quit: Seen<Reply>,
    /// How far it came, and how it ended there.
    pub stage: Stage,
    pub ending: Ending,
    pub transcript: Transcript,
}

impl SmtpSession {
    /// The extensions that hold at the end of the session: those behind TLS, where there is TLS.
    pub fn extensions(&self) -> &Seen<BTreeMap<String, Extension>> {
        static NOBODY_ASKED: std::sync::LazyLock<Seen<BTreeMap<String, Extension>>> =
            std::sync::LazyLock::new(|| Seen::not_attempted("no EHLO was answered"));
        self.hellos.last().map_or(&NOBODY_ASKED, |hello| &hello.extensions)
    }

    /// All transactions, in order.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.transaction.iter().chain(&self.further)
    }
}
