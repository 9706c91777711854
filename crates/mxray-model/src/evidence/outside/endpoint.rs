//! One endpoint: why it was examined, where its name led, and address by address what was said.

use super::conduct::{Conduct, NodeSample, Retried, RoleSign, StarttlsFacts};
use super::{Dial, TlsFacts};
use crate::Seen;
use crate::evidence::{Purpose, TlsMode};
use crate::session::{MailboxProtocol, MailboxSession, SmtpSession, TlsHelloSession};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One service at one name or address. Its key in the evidence is `host:port/protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExaminedEndpoint {
    /// The name or address, as it was asked for.
    pub host: String,
    pub port: u16,
    pub protocol: SessionProtocol,
    /// How TLS begins here.
    pub tls: TlsMode,
    pub purpose: Purpose,
    pub why: BTreeSet<EndpointWhy>,
    /// The addresses behind the name. `Absent`: the name has none.
    pub resolved: Seen<Vec<IpAddr>>,
    /// Each in its own right, by address.
    pub addresses: BTreeMap<String, ExaminedAddress>,
}

impl ExaminedEndpoint {
    /// `host:port/protocol`; an IPv6 address in brackets.
    pub fn key(host: &str, port: u16, protocol: SessionProtocol) -> String {
        let protocol = protocol.as_str();
        if host.contains(':') { format!("[{host}]:{port}/{protocol}") } else { format!("{host}:{port}/{protocol}") }
    }
}

/// What an endpoint is to us.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointWhy {
    /// Named by the one who asks.
    Asked,
    /// One of the usual ports of a host that was named without one: that it is closed says nothing against the host.
    Surveyed,
    /// A listener of this host, by the keys of `servers` and of its `wanted`.
    Own { server: String, wanted: String },
    /// A server of this host hands its mail to it.
    Smarthost { server: String },
    /// It takes the mail of a domain.
    Exchanger { domain: String, preference: u16 },
}

/// The protocols that sessions are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionProtocol {
    Smtp,
    Lmtp,
    Imap,
    Pop3,
    Sieve,
}

impl SessionProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            SessionProtocol::Smtp => "smtp",
            SessionProtocol::Lmtp => "lmtp",
            SessionProtocol::Imap => "imap",
            SessionProtocol::Pop3 => "pop3",
            SessionProtocol::Sieve => "sieve",
        }
    }

    pub fn mailbox(self) -> Option<MailboxProtocol> {
        match self {
            SessionProtocol::Smtp | SessionProtocol::Lmtp => None,
            SessionProtocol::Imap => Some(MailboxProtocol::Imap),
            SessionProtocol::Pop3 => Some(MailboxProtocol::Pop3),
            SessionProtocol::Sieve => Some(MailboxProtocol::Sieve),
        }
    }
}

/// What is usual at a port (RFC 8314 section 7, IANA's registry). `None`: no mail service is.
pub fn standard_service(port: u16) -> Option<(SessionProtocol, TlsMode, Purpose)> {
    use SessionProtocol::{Imap, Lmtp, Pop3, Sieve, Smtp};
    let service = match port {
        24 => (Lmtp, TlsMode::Starttls, Purpose::Internal),
        25 => (Smtp, TlsMode::Starttls, Purpose::Relay),
        465 => (Smtp, TlsMode::Implicit, Purpose::Submissions),
        587 | 2525 => (Smtp, TlsMode::Starttls, Purpose::Submission),
        143 => (Imap, TlsMode::Starttls, Purpose::Mailbox),
        993 => (Imap, TlsMode::Implicit, Purpose::Mailbox),
        110 => (Pop3, TlsMode::Starttls, Purpose::Mailbox),
        995 => (Pop3, TlsMode::Implicit, Purpose::Mailbox),
        4190 => (Sieve, TlsMode::Starttls, Purpose::Mailbox),
        _ => return None,
    };
    Some(service)
}

/// One address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExaminedAddress {
    pub dial: Dial,
    /// The user that connected, where it was not the one who asks.
    #[serde(default)]
    pub as_user: Option<String>,
    /// `Absent`: no connection came to stand.
    pub session: Seen<Session>,
    /// `Absent`: no handshake was begun.
    pub tls: Seen<TlsFacts>,
    /// Single hellos of old versions, asked where the handshake failed.
    #[serde(default)]
    pub hellos: Vec<TlsHelloSession>,
    /// Whether the service goes on without TLS: mail on a submission port, logins elsewhere. Unknown: nobody asked, or it
    /// did not say.
    #[serde(default)]
    pub requires_tls: Seen<bool>,
    /// STARTTLS as four facts: none of them follows from another.
    #[serde(default)]
    pub starttls: StarttlsFacts,
    /// How it treats whoever comes, besides what it can do.
    #[serde(default)]
    pub conduct: Vec<Conduct>,
    /// What it looks like in the words of RFC 5321 section 2.3.10, and by what.
    #[serde(default)]
    pub roles: Vec<RoleSign>,
    /// Several connections to this address, the session itself the first: one address may be many hosts. Empty: one was held.
    #[serde(default)]
    pub samples: Vec<NodeSample>,
    /// Sessions that were held later because a recipient was put off.
    #[serde(default)]
    pub retried: Vec<Retried>,
    /// Other ports of the same address that were dialled for comparison, by port.
    #[serde(default)]
    pub compared: BTreeMap<String, Dial>,
    pub timings: Vec<PhaseTime>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// LMTP, too.
    Smtp(Box<SmtpSession>),
    Mailbox(Box<MailboxSession>),
}

/// The steps whose duration is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Resolve,
    Connect,
    Greeting,
    /// EHLO, or the question for capabilities.
    Ehlo,
    Starttls,
    Tls,
    Auth,
    Mail,
    Rcpt,
    Quit,
}

/// How long one step took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhaseTime {
    pub phase: Phase,
    pub took_ms: u64,
}
