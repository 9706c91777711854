//! How a server treats whoever comes: whether it puts off, slows down or turns away, what it looks like, and whether it is one
//! server at all. Values only; they are made from a session by whoever held it.

use super::DialOutcome;
use crate::Seen;
use crate::evidence::Session;
use crate::session::Ending;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// STARTTLS (STLS), as four facts. Where TLS is there from the first byte, the first and the last are not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct StarttlsFacts {
    /// It is announced. Unknown where the announcement was not seen: a server that says "come again" lacks nothing.
    pub offered: Seen<bool>,
    /// The handshake comes to its end.
    pub negotiates: Seen<bool>,
    /// Nothing is wrong with the certificate. It says nothing about the two before it (RFC 7435).
    pub validates: Seen<bool>,
    /// The service does not go on without it.
    pub required: Seen<bool>,
}

/// One thing that a server does to whoever comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Conduct {
    /// It says "come again" (421, 4yz) where it would have told something: what comes behind this step is unknown, not absent.
    PutsOff { step: String, code: u16, text: String },
    /// It refuses the one who asks, by the address or by where it stands on a list: it says nothing about the server.
    TurnsUsAway { step: String, code: u16, text: String },
    /// 450 or 451 to a recipient, as greylisting does (RFC 6647). `accepted_later` only where it was asked again.
    Greylists { recipient: String, text: String, accepted_later: Seen<bool> },
    /// The greeting comes late. RFC 5321 section 4.5.3.2.1 has clients wait for five minutes.
    GreetsLate { after_ms: u64 },
    /// Replies are drawn out on purpose: every one of them slow, though the network is quick, or line by line.
    Tarpits {
        /// The quickest of the slow replies.
        least_ms: u64,
        replies: u32,
    },
}

/// What RFC 5321 section 2.3.10 calls the systems that speak SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Brings mail into the Internet: users hand theirs in here.
    Originating,
    /// Takes mail in for the mailboxes behind it.
    Delivery,
    /// Hands mail on to others as it is.
    Relay,
    /// Hands mail on into another environment, and may change it on the way.
    Gateway,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Originating => "originating",
            Role::Delivery => "delivery",
            Role::Relay => "relay",
            Role::Gateway => "gateway",
        }
    }
}

/// A role, and what speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoleSign {
    pub role: Role,
    pub because: String,
}

/// What one of several connections met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeSample {
    pub outcome: DialOutcome,
    /// The first line, without its code.
    pub greeting: Seen<String>,
    /// The keywords of the first list, before TLS where there is one.
    pub announced: Seen<BTreeSet<String>>,
    pub starttls: StarttlsFacts,
    /// SHA-256 of the server's own certificate.
    pub certificate: Seen<String>,
    pub ending: Ending,
}

/// A session that was held again, and how long after the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Retried {
    pub after_s: u64,
    /// `Absent`: no connection came to stand.
    pub session: Seen<Session>,
}
