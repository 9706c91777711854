//! The matches and targets of xtables as values: made from iptables-save's words (`legacy`) or from the kernel's structures that
//! `iptables-nft` leaves in nf_tables (`compat`).

pub mod compat;

use std::net::IpAddr;

/// Inclusive range of ports, users or other numbers.
pub type Span = (u32, u32);

/// `-m NAME …` or a part of a rule's own head (`-s`, `-p`, `-i`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Source {
        address: IpAddr,
        mask: IpAddr,
        inverted: bool,
    },
    Destination {
        address: IpAddr,
        mask: IpAddr,
        inverted: bool,
    },
    /// The name, and whether it ends in `+`: all that begin with it.
    InterfaceIn {
        name: String,
        prefix: bool,
        inverted: bool,
    },
    InterfaceOut {
        name: String,
        prefix: bool,
        inverted: bool,
    },
    Protocol {
        number: u8,
        inverted: bool,
    },
    /// `-f`: second and further fragments.
    Fragment {
        inverted: bool,
    },
    /// Ports of TCP, UDP, SCTP, DCCP or UDP-Lite (by the number of the protocol), and TCP's flags.
    Ports {
        protocol: u8,
        source: Option<(Span, bool)>,
        destination: Option<(Span, bool)>,
        flags: Option<(u8, u8, bool)>,
        option: bool,
    },
    MultiPort {
        which: PortSide,
        spans: Vec<Span>,
        inverted: bool,
    },
    Icmp {
        v6: bool,
        kind: u8,
        codes: (u8, u8),
        inverted: bool,
    },
    Conntrack(Box<Conntrack>),
    Owner {
        uid: Option<(Span, bool)>,
        gid: Option<(Span, bool)>,
        socket: Option<bool>,
        groups: bool,
    },
    Cgroup {
        path: Option<(String, bool)>,
        class: Option<(u32, bool)>,
    },
    Comment(String),
    AddressType {
        source: Option<(u16, bool)>,
        destination: Option<(u16, bool)>,
        limit_in: bool,
        limit_out: bool,
    },
    Mark {
        mark: u32,
        mask: u32,
        inverted: bool,
    },
    ConnMark {
        mark: u32,
        mask: u32,
        inverted: bool,
    },
    /// `limit`, `hashlimit` and `recent` with a count of hits; `above`: matches what exceeds the rate.
    Limit {
        name: &'static str,
        above: bool,
    },
    ConnLimit {
        limit: u32,
        above: bool,
    },
    IpRange {
        source: Option<(IpAddr, IpAddr, bool)>,
        destination: Option<(IpAddr, IpAddr, bool)>,
    },
    PacketType {
        kind: u8,
        inverted: bool,
    },
    /// A bridge's port: a packet that was not bridged has none, and matches where all that is asked is inverted.
    PhysDev {
        matches_unbridged: bool,
    },
    /// `rpfilter`: whether a route leads back to the source, by the interface that it came by unless it is loose.
    ReversePath {
        loose: bool,
        inverted: bool,
    },
    /// An extension header of IPv6 (`rt`, `frag`, `hbh`, `dst`, `mh`): without one it never matches, inverted or not.
    ExtensionHeader {
        name: String,
    },
    /// The helper of the connection that this one belongs to: what is not expected by another has none.
    Helper {
        inverted: bool,
    },
    /// Always true, whatever is behind it.
    Always {
        name: String,
    },
    /// Not understood, or of something that the packet does not tell (ipset, geoip, recent, string).
    Unknown {
        name: String,
    },
}

/// Which port `multiport` looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSide {
    Source,
    Destination,
    Either,
}

/// `-m conntrack` and `-m state`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conntrack {
    /// `XT_CONNTRACK_STATE_*` bits.
    pub state: Option<(u16, bool)>,
    /// `IPS_*` bits.
    pub status: Option<(u16, bool)>,
    pub original_source: Option<(IpAddr, IpAddr, bool)>,
    pub original_destination: Option<(IpAddr, IpAddr, bool)>,
    pub original_source_port: Option<(Span, bool)>,
    pub original_destination_port: Option<(Span, bool)>,
    pub protocol: Option<(u8, bool)>,
    /// `Some(true)`: the original direction.
    pub original_way: Option<bool>,
    /// It asks for what is not known of a packet: the reply's tuple, the time that is left.
    pub more: bool,
}

/// `-j NAME …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `icmp-port-unreachable`, `tcp-reset`
    Reject {
        with: String,
    },
    Destination {
        low: Option<IpAddr>,
        high: Option<IpAddr>,
        ports: Option<(u16, u16)>,
    },
    Source,
    Redirect {
        ports: Option<(u16, u16)>,
    },
    Masquerade,
    /// `(mark & !mask) ^ value`
    Mark {
        value: u32,
        mask: u32,
    },
    ConnMark(ConnMark),
    NoTrack,
    Queue {
        number: u32,
    },
    /// Leaves the packet's way as it is: LOG, TCPMSS, CHECKSUM.
    Continues {
        name: String,
    },
    /// Not understood: it may do anything.
    Unknown {
        name: String,
    },
}

/// `-j CONNMARK`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnMark {
    Set { value: u32, mask: u32 },
    Save { connection: u32, packet: u32 },
    Restore { connection: u32, packet: u32 },
    Other,
}

/// Matches on an extension header of IPv6 (net/ipv6/netfilter/ip6t_*.c).
pub(crate) const EXTENSION_HEADERS: &[&str] = &["rt", "frag", "hbh", "dst", "mh"];

/// Whether a target leaves the packet's way as it is.
pub(crate) fn continues(name: &str) -> bool {
    compat::CONTINUES.contains(&name)
}

/// `recent`: noting a sender always matches, and one who is quiet has not the hits that are counted. Whether a sender is in a list
/// without a count is not known.
pub(crate) fn recent(set: bool, check: bool, hits: u32, inverted: bool) -> Option<Match> {
    match (set, check, inverted) {
        (true, false, false) => Some(Match::Always { name: "recent".to_owned() }),
        (false, true, false) if hits > 1 => Some(Match::Limit { name: "recent", above: true }),
        _ => None,
    }
}
