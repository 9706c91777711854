//! A session with IMAP, POP3 or ManageSieve, which go through the same steps in different words.

use super::{AuthAttempt, Ending, Extension, Raw, StarttlsOutcome, Transcript};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which of the three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailboxProtocol {
    /// RFC 9051, RFC 3501
    #[default]
    Imap,
    /// RFC 1939, RFC 2449
    Pop3,
    /// ManageSieve, RFC 5804
    Sieve,
}

/// The step that a session was at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MailboxStage {
    #[default]
    Greeting,
    Capabilities,
    Starttls,
    Handshake,
    Login,
    Goodbye,
}

/// What a server answers at the end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    pub ok: bool,
    /// In upper case: `+OK`, `-ERR`; `OK`, `NO`, `BAD`, `BYE`, `PREAUTH`.
    pub status: String,
    /// What stands in brackets, without them: `AUTHENTICATIONFAILED`, `CAPABILITY IMAP4rev1 …`, `IN-USE`.
    pub code: Option<String>,
    pub text: Raw,
    /// From the moment from which it was awaited, in milliseconds.
    pub after_ms: u64,
    /// Its place in the transcript.
    pub entry: u32,
}

/// One list of capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Capabilities {
    pub tls: bool,
    /// By keyword in upper case. IMAP's `AUTH=PLAIN` stands as `AUTH` with the parameter `PLAIN`, POP3's and ManageSieve's
    /// `SASL` likewise. `Absent`: the server does not know the command. Unknown: it did not answer, or said no.
    pub listed: Seen<BTreeMap<String, Extension>>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MailboxSession {
    pub protocol: MailboxProtocol,
    pub greeting: Seen<Answer>,
    /// POP3: the greeting has a time stamp for APOP.
    pub apop: bool,
    /// In order: before TLS, after TLS.
    pub capabilities: Vec<Capabilities>,
    /// `Absent`: not announced.
    pub starttls: Seen<StarttlsOutcome<Answer>>,
    /// `Absent`: no way to log in is announced.
    pub login: Seen<AuthAttempt<Answer>>,
    pub goodbye: Seen<Answer>,
    pub stage: MailboxStage,
    pub ending: Ending,
    pub transcript: Transcript,
}
