//! Matches and targets from the kernel's own structures (linux/netfilter/xt_*.h), as `iptables-nft` writes them into nf_tables.
//!
//! The structures are read by their offsets. One that is shorter than its revision says is not understood.

use super::{ConnMark, Conntrack, Match, PortSide, Span, Target};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kernel structure, read by offset.
#[derive(Clone, Copy)]
struct Info<'bytes>(&'bytes [u8]);

impl<'bytes> Info<'bytes> {
    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    /// In this machine's byte order.
    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    /// In the network's byte order.
    fn port(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    /// `union nf_inet_addr`
    fn address(self, at: usize, v6: bool) -> Option<IpAddr> {
        if v6 {
            let bytes: [u8; 16] = self.0.get(at..at + 16)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        } else {
            let bytes: [u8; 4] = self.0.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
    }

    fn text(self, at: usize, len: usize) -> Option<String> {
        let bytes: &'bytes [u8] = self.0.get(at..(at + len).min(self.0.len()))?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(mxray_model::text::untrusted(bytes.get(..end)?))
    }
}

/// A match by name, revision and structure.
pub fn read_match(name: &str, revision: u32, info: &[u8], v6: bool) -> Match {
    known_match(name, revision, Info(info), v6).unwrap_or_else(|| Match::Unknown { name: name.to_owned() })
}

fn known_match(name: &str, revision: u32, info: Info<'_>, v6: bool) -> Option<Match> {
    match (name, revision) {
        ("tcp" | "udp" | "udplite", 0) => transport(name, info),
        ("icmp", 0) | ("icmp6", 0) => Some(Match::Icmp {
            v6: name == "icmp6",
            kind: info.u8(0)?,
            codes: (info.u8(1)?, info.u8(2)?),
            inverted: info.u8(3)? & 1 != 0,
        }),
        ("multiport", 0 | 1) => multiport(revision, info),
        ("conntrack", 1..=3) => conntrack(revision, info, v6),
        ("state", 0) => {
            let mask = info.u32(0)?;
            // "Untracked" has another bit here than in conntrack's match.
            let moved = (mask & 0x0f) | if mask & (1 << 6) != 0 { 1 << 8 } else { 0 };
            Some(Match::Conntrack(Box::new(Conntrack {
                state: Some((u16::try_from(moved).ok()?, false)),
                ..Conntrack::default()
            })))
        }
        ("owner", 1) => owner(info),
        ("addrtype", 0 | 1) => address_type(revision, info),
        ("mark", 1) => Some(Match::Mark { mark: info.u32(0)?, mask: info.u32(4)?, inverted: info.u8(8)? != 0 }),
        ("connmark", 1) => Some(Match::ConnMark { mark: info.u32(0)?, mask: info.u32(4)?, inverted: info.u8(8)? != 0 }),
        ("limit", 0) => Some(Match::Limit { name: "limit", above: false }),
        ("hashlimit", 1..=3) => {
            let mode = info.u32(if revision == 1 { 16 } else { 272 })?;
            Some(Match::Limit { name: "hashlimit", above: mode & 16 != 0 })
        }
        ("connlimit", 0 | 1) => Some(Match::ConnLimit { limit: info.u32(16)?, above: info.u32(20)? & 1 == 0 }),
        ("iprange", 1) => {
            let flags = info.u8(64)?;
            let range = |at: usize, bit: u8| -> Option<Option<(IpAddr, IpAddr, bool)>> {
                let (low, high) = (info.address(at, v6)?, info.address(at + 16, v6)?);
                Some((flags & bit != 0).then_some((low, high, flags & (bit << 4) != 0)))
            };
            Some(Match::IpRange { source: range(0, 1)?, destination: range(32, 2)? })
        }
        ("rpfilter", 0) => {
            let flags = info.u8(0)?;
            Some(Match::ReversePath { loose: flags & 1 != 0, inverted: flags & 8 != 0 })
        }
        ("recent", 0 | 1) => {
            let (hits, asked, inverted) = (info.u32(4)?, info.u8(8)?, info.u8(9)? != 0);
            super::recent(asked & 2 != 0, asked & 5 != 0 && asked & 8 == 0, hits, inverted)
        }
        ("pkttype", 0) => {
            Some(Match::PacketType { kind: u8::try_from(info.u32(0)?).ok()?, inverted: info.u32(4)? != 0 })
        }
        ("physdev", 0) => Some(Match::PhysDev { matches_unbridged: info.u8(65)? & !info.u8(64)? & 0x1f == 0 }),
        ("cgroup", 1 | 2) => {
            let (path, class) = (info.u8(0)? != 0, info.u8(1)? != 0);
            let number = if revision == 1 { info.u32(4100)? } else { info.u32(4)? };
            Some(Match::Cgroup {
                path: if path { Some((info.text(4, 512)?, info.u8(2)? != 0)) } else { None },
                class: if class { Some((number, info.u8(3)? != 0)) } else { None },
            })
        }
        ("comment", 0) => Some(Match::Comment(info.text(0, 256)?)),
        (name, 0) if super::EXTENSION_HEADERS.contains(&name) => Some(Match::ExtensionHeader { name: name.to_owned() }),
        ("helper", 0) => Some(Match::Helper { inverted: info.u32(0)? != 0 }),
        ("nfacct", _) => Some(Match::Always { name: name.to_owned() }),
        _ => None,
    }
}

fn transport(name: &str, info: Info<'_>) -> Option<Match> {
    if name == "tcp" {
        let inverted = info.u8(11)?;
        let flags = (info.u8(9)?, info.u8(10)?);
        return Some(Match::Ports {
            protocol: 6,
            source: ports(info, 0, inverted & 1 != 0)?,
            destination: ports(info, 4, inverted & 2 != 0)?,
            flags: (flags != (0, 0) || inverted & 4 != 0).then_some((flags.0, flags.1, inverted & 4 != 0)),
            option: info.u8(8)? != 0,
        });
    }
    let inverted = info.u8(8)?;
    Some(Match::Ports {
        protocol: if name == "udp" { 17 } else { 136 },
        source: ports(info, 0, inverted & 1 != 0)?,
        destination: ports(info, 4, inverted & 2 != 0)?,
        flags: None,
        option: false,
    })
}

fn owner(info: Info<'_>) -> Option<Match> {
    let (asked, inverted) = (info.u8(16)?, info.u8(17)?);
    let span = |at: usize, bit: u8| -> Option<Option<(Span, bool)>> {
        let span = (info.u32(at)?, info.u32(at + 4)?);
        Some((asked & bit != 0).then_some((span, inverted & bit != 0)))
    };
    Some(Match::Owner {
        uid: span(0, 1)?,
        gid: span(8, 2)?,
        socket: (asked & 4 != 0).then_some(inverted & 4 == 0),
        groups: asked & 8 != 0,
    })
}

/// Two ports in this machine's byte order. `Some(None)`: any port.
fn ports(info: Info<'_>, at: usize, inverted: bool) -> Option<Option<(Span, bool)>> {
    let (low, high) = (info.u16(at)?, info.u16(at + 2)?);
    let any = (low, high) == (0, u16::MAX) && !inverted;
    Some((!any).then_some(((low.into(), high.into()), inverted)))
}

fn multiport(revision: u32, info: Info<'_>) -> Option<Match> {
    let which = match info.u8(0)? {
        0 => PortSide::Source,
        1 => PortSide::Destination,
        2 => PortSide::Either,
        _ => return None,
    };
    let count = usize::from(info.u8(1)?).min(15);
    let mut spans = Vec::new();
    let mut at = 0;
    while at < count {
        let low = info.u16(2 + 2 * at)?;
        let is_range = revision == 1 && info.u8(32 + at)? != 0 && at + 1 < count;
        let high = if is_range { info.u16(4 + 2 * at)? } else { low };
        spans.push((low.into(), high.into()));
        at += if is_range { 2 } else { 1 };
    }
    let inverted = revision == 1 && info.u8(47)? != 0;
    Some(Match::MultiPort { which, spans, inverted })
}

fn conntrack(revision: u32, info: Info<'_>, v6: bool) -> Option<Match> {
    let (asked, inverted) = (info.u16(146)?, info.u16(148)?);
    let masks = match revision {
        1 => (info.u8(150)?.into(), info.u8(151)?.into()),
        _ => (info.u16(150)?, info.u16(152)?),
    };
    let has = |bit: u16| asked & (1 << bit) != 0;
    let not = |bit: u16| inverted & (1 << bit) != 0;
    let address = |bit: u16, at: usize| -> Option<Option<(IpAddr, IpAddr, bool)>> {
        let pair = (info.address(at, v6)?, info.address(at + 16, v6)?);
        Some(has(bit).then_some((pair.0, pair.1, not(bit))))
    };
    let port = |bit: u16, at: usize, high: usize| -> Option<Option<(Span, bool)>> {
        if !has(bit) {
            return Some(None);
        }
        let (low, high) = match revision {
            3 => (info.u16(at)?, info.u16(high)?),
            _ => (info.port(at)?, info.port(at)?),
        };
        Some(Some(((low.into(), high.into()), not(bit))))
    };
    Some(Match::Conntrack(Box::new(Conntrack {
        state: (has(0) || has(13)).then_some((masks.0, not(0) || not(13))),
        protocol: has(1).then_some((u8::try_from(info.u16(136)?).ok()?, not(1))),
        original_source: address(2, 0)?,
        original_destination: address(3, 32)?,
        status: has(6).then_some((masks.1, not(6))),
        original_source_port: port(8, 138, 154)?,
        original_destination_port: port(9, 140, 156)?,
        original_way: has(12).then_some(!not(12)),
        more: has(4) || has(5) || has(7) || has(10) || has(11),
    })))
}

fn address_type(revision: u32, info: Info<'_>) -> Option<Match> {
    let (source, destination) = (info.u16(0)?, info.u16(2)?);
    let flags = match revision {
        0 => u32::from(info.u32(4)? != 0) | (u32::from(info.u32(8)? != 0) << 1),
        _ => info.u32(4)?,
    };
    Some(Match::AddressType {
        source: (source != 0).then_some((source, flags & 1 != 0)),
        destination: (destination != 0).then_some((destination, flags & 2 != 0)),
        limit_in: flags & 4 != 0,
        limit_out: flags & 8 != 0,
    })
}

/// Targets after which the packet goes on to the next rule, the same as it was for everything that rules here decide by.
pub(super) const CONTINUES: [&str; 22] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "TCPMSS",
    "TCPOPTSTRIP",
    "CLASSIFY",
    "CHECKSUM",
    "DSCP",
    "TOS",
    "TTL",
    "HL",
    "ECN",
    "SECMARK",
    "CONNSECMARK",
    "TRACE",
    "AUDIT",
    "LED",
    "RATEEST",
    "SET",
    "TEE",
    "IDLETIMER",
    "ACCOUNT",
];

/// A target by name, revision and structure.
pub fn read_target(name: &str, revision: u32, info: &[u8], v6: bool) -> Target {
    if CONTINUES.contains(&name) {
        return Target::Continues { name: name.to_owned() };
    }
    known_target(name, revision, Info(info), v6).unwrap_or_else(|| Target::Unknown { name: name.to_owned() })
}

fn known_target(name: &str, revision: u32, info: Info<'_>, v6: bool) -> Option<Target> {
    match (name, revision) {
        ("REJECT", 0) => Some(Target::Reject { with: rejection(info.u32(0)?, v6)?.to_owned() }),
        ("DNAT", _) => {
            let (addresses, ports) = range(revision, info, v6)?;
            Some(Target::Destination { low: addresses.map(|both| both.0), high: addresses.map(|both| both.1), ports })
        }
        ("REDIRECT", _) => Some(Target::Redirect { ports: range(revision, info, v6)?.1 }),
        ("SNAT", _) => Some(Target::Source),
        ("MASQUERADE", _) => Some(Target::Masquerade),
        ("MARK", 2) => Some(Target::Mark { value: info.u32(0)?, mask: info.u32(4)? }),
        ("CONNMARK", 1 | 2) => {
            let shifted = revision == 2 && info.u8(13)? != 0;
            let mode = if shifted { u8::MAX } else { info.u8(if revision == 1 { 12 } else { 14 })? };
            Some(Target::ConnMark(match mode {
                0 => ConnMark::Set { value: info.u32(0)?, mask: info.u32(4)? },
                1 => ConnMark::Save { connection: info.u32(4)?, packet: info.u32(8)? },
                2 => ConnMark::Restore { connection: info.u32(4)?, packet: info.u32(8)? },
                _ => ConnMark::Other,
            }))
        }
        ("NOTRACK", _) => Some(Target::NoTrack),
        ("CT", _) => {
            Some(if info.u16(0)? & 1 != 0 { Target::NoTrack } else { Target::Continues { name: name.to_owned() } })
        }
        ("NFQUEUE", _) => Some(Target::Queue { number: info.u16(0)?.into() }),
        _ => None,
    }
}

/// `struct nf_nat_range` (revision 1), `nf_nat_range2` (2), or, for IPv4's revision 0, `nf_nat_ipv4_multi_range_compat`.
#[expect(clippy::type_complexity, reason = "two optional pairs")]
fn range(revision: u32, info: Info<'_>, v6: bool) -> Option<(Option<(IpAddr, IpAddr)>, Option<(u16, u16)>)> {
    let (flags, low, high, ports) = if revision == 0 && !v6 { (4, 8, 12, 16) } else { (0, 4, 20, 36) };
    let flags = info.u32(flags)?;
    // A whole network mapped onto another, or ports with an offset.
    if flags & ((1 << 5) | (1 << 6)) != 0 {
        return None;
    }
    let addresses = (info.address(low, v6)?, info.address(high, v6)?);
    let ports = (info.port(ports)?, info.port(ports + 2)?);
    Some(((flags & 1 != 0).then_some(addresses), (flags & 2 != 0).then_some(ports)))
}

/// `enum ipt_reject_with`, `enum ip6t_reject_with`
fn rejection(number: u32, v6: bool) -> Option<&'static str> {
    Some(match (number, v6) {
        (0, false) => "icmp-net-unreachable",
        (1, false) => "icmp-host-unreachable",
        (2, false) => "icmp-proto-unreachable",
        (3, false) => "icmp-port-unreachable",
        (5, false) => "icmp-net-prohibited",
        (6, false) => "icmp-host-prohibited",
        (7, false) | (6, true) => "tcp-reset",
        (8, false) => "icmp-admin-prohibited",
        (0, true) => "icmp6-no-route",
        (1, true) => "icmp6-adm-prohibited",
        (3, true) => "icmp6-addr-unreachable",
        (4, true) => "icmp6-port-unreachable",
        (7, true) => "icmp6-policy-fail",
        (8, true) => "icmp6-reject-route",
        _ => return None,
    })
}
