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

impl Dial {
    /// Of a connection of which nothing is known yet.
    pub fn of(peer: SocketAddr) -> Self {
        Dial {
            peer,
            local: Seen::not_attempted("the connection did not come to stand"),
            took_ms: 0,
            outcome: DialOutcome::Connected,
            icmp: Seen::not_attempted("the error queue was not read"),
            distance: Seen::not_attempted("the way was not measured"),
        }
    }
}

/// The outcomes of connect(2) that mean different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DialOutcome {
    Connected,
    /// ECONNRESET: something accepted the connection and ended it before anything could be said.
    Reset,
    /// ECONNREFUSED: a RST, or an ICMP port unreachable (then `icmp` says from whom).
    Refused,
    /// EACCES, EPERM: a `prohibit` route or rule, a local rule or a security module; for IPv6 also an ICMPv6 prohibition.
    Prohibited,
    /// EHOSTUNREACH: an `unreachable` route, a neighbour that does not resolve (then after seconds, and `icmp` is this host's
    /// own), or an ICMP message.
    HostUnreachable,
    /// ENETUNREACH: no route, or an ICMP message. EAFNOSUPPORT: the kernel does not know the family at all.
    NetworkUnreachable,
    /// EINVAL from connect(2): a `blackhole` route.
    Blackhole,
    /// EADDRNOTAVAIL: the source address is not on this host, or none of its addresses can be used towards this peer.
    NoLocalAddress,
    /// EADDRNOTAVAIL from connect(2): every local port towards this peer is taken.
    NoLocalPort,
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
            DialOutcome::Reset => "connected and reset at once",
            DialOutcome::Refused => "connection refused",
            DialOutcome::Prohibited => "not allowed (prohibited by a route, a rule or a security module)",
            DialOutcome::HostUnreachable => "host unreachable",
            DialOutcome::NetworkUnreachable => "no route",
            DialOutcome::Blackhole => "a blackhole route",
            DialOutcome::NoLocalAddress => "no local address",
            DialOutcome::NoLocalPort => "no local port is left",
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

/// "Destination unreachable" of ICMP (kind 3) by code: RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1.
const UNREACHABLE4: [&str; 16] = [
    "network unreachable",
    "host unreachable",
    "protocol unreachable",
    "port unreachable",
    "fragmentation needed",
    "source route failed",
    "network unknown",
    "host unknown",
    "source host isolated",
    "network administratively prohibited",
    "host administratively prohibited",
    "network unreachable for this type of service",
    "host unreachable for this type of service",
    "administratively prohibited",
    "host precedence violation",
    "precedence cutoff in effect",
];

/// "Destination unreachable" of ICMPv6 (kind 1) by code: RFC 4443 section 3.1, RFC 6550 section 20.14.
const UNREACHABLE6: [&str; 8] = [
    "no route to destination",
    "administratively prohibited",
    "beyond the scope of the source address",
    "address unreachable",
    "port unreachable",
    "source address failed the policy",
    "route rejected",
    "error in the source routing header",
];

impl IcmpError {
    /// With the name that the RFCs give to it.
    pub fn new(from: IpAddr, kind: u8, code: u8) -> Self {
        let table: &[&str] = match (from.is_ipv4(), kind) {
            (true, 3) => &UNREACHABLE4,
            (false, 1) => &UNREACHABLE6,
            _ => &[],
        };
        let name = match (from.is_ipv4(), kind) {
            (true, 11) | (false, 3) => "time exceeded".to_owned(),
            (true, 12) | (false, 4) => "parameter problem".to_owned(),
            (false, 2) => "packet too big".to_owned(),
            _ => table
                .get(usize::from(code))
                .map_or_else(|| format!("ICMP kind {kind} code {code}"), |name| (*name).to_owned()),
        };
        IcmpError { from, kind, code, name }
    }

    /// A router's answer to a packet that had come to the end of its TTL.
    pub fn is_time_exceeded(&self) -> bool {
        let kind = if self.from.is_ipv4() { 11 } else { 3 };
        (self.kind, self.code) == (kind, 0)
    }

    /// Somebody forbids it, and says so.
    pub fn is_prohibition(&self) -> bool {
        match (self.from.is_ipv4(), self.kind) {
            (true, 3) => matches!(self.code, 9 | 10 | 13),
            (false, 1) => matches!(self.code, 1 | 5 | 6),
            _ => false,
        }
    }
}

/// What connects with small TTLs told of the way to one port.
///
/// A packet that a router forwards has lived through the router's own TTL check. So what a filter at hop N answers is seen
/// from TTL N + 1 on, and a filter in the last router stands as far away as the destination itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Distance {
    /// Hops that answered with "time exceeded", nearest first.
    pub hops: Vec<HopAnswer>,
    /// The smallest TTL at which something other than "time exceeded" came. `Absent`: nothing did, up to `asked_to`.
    pub answered_at: Seen<u8>,
    /// What came at that TTL. `Absent`: nothing.
    pub answer: Seen<WayAnswer>,
    /// How many hops answered packets to this port itself. Where none did, `hops` are those of the way to `reference`. `None`: an
    /// older report does not tell.
    pub own_hops: Option<u8>,
    /// The largest TTL that was tried.
    pub asked_to: u8,
    /// How far the host itself is, by a port that it accepts connections on. Unknown: no such port is known.
    pub host_at: Seen<u8>,
    /// That port.
    pub reference: Option<u16>,
}

impl Distance {
    /// Does the answer come from as far as the host is? Unknown where either distance is.
    pub fn is_full(&self) -> Seen<bool> {
        match (&self.answered_at, &self.host_at) {
            (Seen::Value(answered), Seen::Value(host)) => Seen::Value(answered >= host),
            (Seen::Absent, _) => Seen::Absent,
            (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
            (_, Seen::Absent) => Seen::Absent,
        }
    }

    /// The last hop that was heard of.
    pub fn last_hop(&self) -> Option<&HopAnswer> {
        self.hops.last()
    }
}

/// What ends a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WayAnswer {
    /// SYN-ACK: something accepts the connection.
    Accepted,
    /// RST.
    Reset,
    Icmp(IcmpError),
}

/// One answer on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HopAnswer {
    pub ttl: u8,
    pub from: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_errors_have_their_names() {
        let name = |from: &str, kind, code| IcmpError::new(from.parse().unwrap(), kind, code);
        assert_eq!(name("192.0.2.1", 3, 3).name, "port unreachable");
        assert_eq!(name("192.0.2.1", 3, 13).name, "administratively prohibited");
        assert_eq!(name("2001:db8::1", 1, 1).name, "administratively prohibited");
        assert_eq!(name("2001:db8::1", 1, 4).name, "port unreachable");
        assert_eq!(name("192.0.2.1", 3, 99).name, "ICMP kind 3 code 99");
        assert!(name("192.0.2.1", 11, 0).is_time_exceeded() && name("2001:db8::1", 3, 0).is_time_exceeded());
        // ICMP's "destination unreachable" is ICMPv6's "time exceeded".
        assert!(!name("192.0.2.1", 3, 0).is_time_exceeded() && !name("2001:db8::1", 11, 0).is_time_exceeded());
        assert!(name("192.0.2.1", 3, 10).is_prohibition() && name("2001:db8::1", 1, 1).is_prohibition());
        assert!(!name("192.0.2.1", 3, 1).is_prohibition() && !name("2001:db8::1", 1, 3).is_prohibition());
    }

    #[test]
    fn a_distance_is_full_only_where_both_ends_are_known() {
        let at = |answered: Seen<u8>, host: Seen<u8>| {
            Distance { answered_at: answered, host_at: host, ..Distance::default() }.is_full()
        };
        assert_eq!(at(Seen::Value(4), Seen::Value(4)), Seen::Value(true));
        assert_eq!(at(Seen::Value(3), Seen::Value(4)), Seen::Value(false));
        assert_eq!(at(Seen::Absent, Seen::Value(4)), Seen::Absent);
        assert!(at(Seen::Value(4), Seen::not_attempted("no port")).blind().is_some());
    }
}
