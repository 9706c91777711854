//! Sockets of this network namespace: every listener, and connections summed up.
//!
//! `mxray sockets` lists connections one by one; an examination keeps what rules need, so that a report of a host with
//! 100,000 connections stays small.

use super::process::Owner;
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How many peers, networks and destinations are kept of each sum, largest first.
pub const TOP_KEPT: usize = 20;

/// The sockets of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Sockets {
    /// `sock_diag`, or `/proc/net` where netlink was refused (then without units, drops and ages).
    pub source: String,
    /// TCP listeners and unconnected bound UDP sockets by `tcp/0.0.0.0:25`, `tcp/[::]:25`; a second one on the same
    /// tuple has `#2` behind it.
    pub listeners: BTreeMap<String, Listener>,
    /// How many listeners were left out because there are so many; none on a port that bears on mail.
    pub listeners_left_out: u32,
    /// Inbound TCP connections by local port; only ports with a listener.
    pub services: BTreeMap<u16, Load>,
    /// Outbound TCP connections by source address, destination address and port: the fullest ones.
    pub towards: Vec<Towards>,
    /// What was sent on open connections that this host made to others' mail ports, by that port.
    pub sent_to: BTreeMap<u16, Sent>,
    /// TCP sockets by state, in `ss`'s words (`ESTAB`, `SYN-RECV`, `TIME-WAIT`, …).
    pub states: BTreeMap<String, u64>,
}

/// One socket that waits for peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listener {
    /// `tcp` or `udp`
    pub protocol: String,
    pub address: IpAddr,
    pub port: u16,
    /// An IPv6 socket that refuses IPv4. `Absent` on IPv4 sockets.
    pub v6_only: Seen<bool>,
    /// Index of the interface or VRF that it is bound to (SO_BINDTODEVICE); 0: none.
    #[serde(default)]
    pub interface: u32,
    /// User that created it, as this user namespace numbers it.
    pub uid: u32,
    pub inode: u64,
    /// systemd unit or container, from the socket's cgroup. `Absent`: created in the root cgroup.
    pub unit: Seen<String>,
    /// The processes that hold it.
    pub owners: Seen<Vec<Owner>>,
    pub queue: Seen<AcceptQueue>,
    /// Drops counted on this one listener (`sk_drops`); not only overflows.
    pub drops: Seen<Drops>,
}

impl Listener {
    /// Reachable from this machine alone.
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        }
    }

    pub fn is_wildcard(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Would a connection to `address` reach this socket?
    pub fn covers(&self, address: IpAddr) -> bool {
        if self.address == address {
            return true;
        }
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified(),
            (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified(),
            // The kernel hands IPv4 connections to an IPv6 wildcard socket unless it is v6-only.
            (IpAddr::V6(own), IpAddr::V4(v4)) => {
                (own.is_unspecified() && self.v6_only == Seen::Value(false)) || own.to_ipv4_mapped() == Some(v4)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

/// Connections that are established and wait for `accept`, against the limit.
///
/// Linux reports these on a LISTEN socket as Recv-Q and Send-Q; they are connections, not bytes. The kernel takes one
/// more than the limit: full is `waiting > limit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AcceptQueue {
    pub waiting: u32,
    pub limit: u32,
    /// How long the longest waiting one has been there, in milliseconds. `Absent`: nobody waits.
    #[serde(default)]
    pub oldest_ms: Seen<u64>,
    /// Within the window, did any connection that waited leave the queue? `Absent`: nobody waited.
    #[serde(default)]
    pub drained: Seen<bool>,
}

impl AcceptQueue {
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }
}

/// A listener's drop counter at both ends of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drops {
    pub first: u32,
    pub last: u32,
}

/// The connections of one service, by its local port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Load {
    /// Accepted and established.
    pub established: u32,
    /// Established, waiting for `accept`.
    pub waiting: u32,
    /// SYN received, handshake not finished.
    pub half_open: u32,
    pub close_wait: u32,
    pub time_wait: u32,
    /// Established connections (accepted or waiting) by remote address, most first.
    pub peers: Vec<Count>,
    /// The same by network: /24 of IPv4, /64 of IPv6.
    pub networks: Vec<Count>,
    /// Half-open connections by remote address, most first.
    pub half_open_peers: Vec<Count>,
    /// Different remote addresses among the established, and among the half-open.
    pub peers_distinct: u32,
    pub half_open_distinct: u32,
    /// What should have ended, and has not.
    pub stale: Seen<Stale>,
    /// What was sent on its open connections.
    pub sent: Seen<Sent>,
}

/// Connections of one service that should have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Stale {
    /// In CLOSE-WAIT for [`Stale::CLOSE_WAIT_AGED_MS`] or longer: the peer has ended it, and the program that holds it
    /// has not closed it.
    pub close_wait: u32,
    /// How long the oldest of these has been so, in milliseconds: at least, since what the peer still acknowledges
    /// begins the time anew. 0 where there is none.
    pub close_wait_oldest_ms: u64,
    /// Bytes wait to be acknowledged, none was between the two looks, and the kernel has asked again
    /// [`Stale::UNANSWERED_MIN`] times or more.
    pub send_stuck: u32,
    /// Who holds a few of the first kind. `Absent`: there is none.
    pub owners: Seen<Vec<Owner>>,
}

impl Stale {
    /// A program that works on what the peer sent last (a filter, a slow lookup) closes later than the peer, but not by
    /// a minute.
    pub const CLOSE_WAIT_AGED_MS: u64 = 60_000;
    /// With Linux's timeouts (200 ms at least, doubled each time) that is more than 6 s without any answer.
    pub const UNANSWERED_MIN: u8 = 5;
}

/// What was sent on open connections, whatever their age: peers on loopback and peers that do not answer at this moment
/// are left out, since a machine that has gone says nothing about the path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Sent {
    pub connections: u32,
    /// Segments with data, those sent again included (`tcpi_data_segs_out`).
    pub segments: u64,
    /// Segments sent again (`tcpi_total_retrans`).
    pub retransmitted: u64,
    /// Different networks (/24, /64) of the peers, and those in which the share sent again is 2 % or more.
    pub networks: u32,
    pub networks_lossy: u32,
}

impl Sent {
    /// Share of segments sent again, in percent, from which a network counts as lossy: below, TCP hardly slows down.
    pub const LOSSY_PERCENT: u64 = 2;
}

/// How many of something one address or network holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Count {
    /// An address, or a network as `192.0.2.0/24`.
    pub who: String,
    pub count: u32,
}

/// Local ports in use towards one destination, which is how the kernel counts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Towards {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
    /// All of them that hold a local port of the ephemeral range, TIME-WAIT included.
    pub ports_used: u32,
    pub time_wait: u32,
    /// SYN sent, no answer yet.
    pub connecting: u32,
    /// Units of the sockets, most first.
    pub units: Vec<Count>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, v6_only: Seen<bool>) -> Listener {
        Listener {
            protocol: "tcp".into(),
            address: address.parse().unwrap(),
            port: 25,
            v6_only,
            uid: 0,
            interface: 0,
            inode: 1,
            unit: Seen::Absent,
            owners: Seen::Absent,
            queue: Seen::Absent,
            drops: Seen::Absent,
        }
    }

    #[test]
    fn a_dual_stack_wildcard_covers_both_families() {
        let dual = listener("::", Seen::Value(false));
        assert!(dual.covers("192.0.2.1".parse().unwrap()));
        assert!(dual.covers("2001:db8::1".parse().unwrap()));
        let six = listener("::", Seen::Value(true));
        assert!(!six.covers("192.0.2.1".parse().unwrap()));
        assert!(!listener("0.0.0.0", Seen::Absent).covers("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn the_mapped_loopback_is_loopback() {
        assert!(listener("::ffff:127.0.0.1", Seen::Value(false)).is_loopback());
        assert!(listener("127.8.9.1", Seen::Absent).is_loopback());
        assert!(!listener("::", Seen::Value(false)).is_loopback());
    }
}
