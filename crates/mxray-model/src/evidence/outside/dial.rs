//! One attempt to open a connection, and who answered it.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// One connect(2) and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Dial {
    pub peer: SocketAddr,
    /// Our side: what was asked for, or what the kernel chose. Unknown where the connection did not come that far.
    pub local: Seen<SocketAddr>,
    pub took_ms: u64,
    pub outcome: DialOutcome,
    /// The ICMP error that came for it. `Absent`: looked for, none came.
    #[serde(default)]
    pub icmp: Seen<IcmpError>,
    /// Who answered, and from how far. Looked for only where a refusal or a silence has to be explained.
    #[serde(default)]
    pub distance: Seen<Distance>,
}

/// The outcomes of connect(2) that mean different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DialOutcome {
    Connected,
    /// ECONNREFUSED: a RST, or an ICMP port unreachable (then `icmp` says from whom).
    Refused,
    /// EACCES, EPERM: a `prohibit` route or rule, a local rule or a security module; for IPv6 also an ICMPv6 prohibition.
    Prohibited,
    /// EHOSTUNREACH: an `unreachable` route, a neighbour that does not resolve, or an ICMP message.
    HostUnreachable,
    /// ENETUNREACH: no route.
    NetworkUnreachable,
    /// EINVAL from connect(2): a `blackhole` route.
    Blackhole,
    /// EADDRNOTAVAIL: no local port is left, or the source address is not on this host.
    NoLocalAddress,
    /// Nothing answered.
    TimedOut {
        after_ms: u64,
    },
    /// Anything else, with what the system says: we failed to look.
    Failed {
        error: String,
    },
}

impl DialOutcome {
    /// What happened, to be put behind the peer's name.
    pub fn as_str(&self) -> &str {
        match self {
            DialOutcome::Connected => "connected",
            DialOutcome::Refused => "connection refused",
            DialOutcome::Prohibited => "not allowed (prohibited by a route, a rule or a security module)",
            DialOutcome::HostUnreachable => "host unreachable",
            DialOutcome::NetworkUnreachable => "no route",
            DialOutcome::Blackhole => "a blackhole route",
            DialOutcome::NoLocalAddress => "no local address or port",
            DialOutcome::TimedOut { .. } => "no answer",
            DialOutcome::Failed { error } => error,
        }
    }
}

/// An ICMP or ICMPv6 error (RFC 792, RFC 4443), as the socket's error queue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IcmpError {
    /// Who sent it.
    pub from: IpAddr,
    pub kind: u8,
    pub code: u8,
    /// `port unreachable`, `administratively prohibited`, `time exceeded`.
    pub name: String,
}

/// What connects with small TTLs told of the way to one port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Distance {
    /// Hops that answered with "time exceeded", nearest first.
    pub hops: Vec<HopAnswer>,
    /// The smallest TTL at which something other than "time exceeded" came. Unknown: nothing did.
    pub answered_at: Seen<u8>,
    /// How far the host itself is, by a port that it answers on. Unknown: no such port is known.
    pub host_at: Seen<u8>,
}

/// One answer on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HopAnswer {
    pub ttl: u8,
    pub from: IpAddr,
}
