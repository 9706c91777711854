//! Constants in nft's own words: addresses, ports, names of states and protocols.

use crate::ruleset::Verdict;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Address4,
    Address6,
    /// A number in the network's byte order.
    Number,
    /// A number in this machine's byte order.
    Native,
    /// The same, as nft writes marks.
    Mark,
    Interface,
    Protocol,
    Family,
    EtherType,
    CtState,
    CtStatus,
    CtDirection,
    TcpFlags,
    AddressKind,
    PacketKind,
    LinkKind,
    IcmpType,
    Icmp6Type,
    Boolean,
    Raw,
}

/// Names of numbers.
type Names = &'static [(u64, &'static str)];

const PROTOCOLS: Names = &[
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (108, "comp"),
    (132, "sctp"),
    (136, "udplite"),
];
const FAMILIES: Names = &[(2, "ipv4"), (3, "arp"), (7, "bridge"), (10, "ipv6")];
const ETHER_TYPES: Names = &[(0x0800, "ip"), (0x0806, "arp"), (0x86dd, "ip6"), (0x8100, "vlan")];
const CT_STATES: Names = &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
const CT_STATUS: Names =
    &[(1, "expected"), (2, "seen-reply"), (4, "assured"), (8, "confirmed"), (16, "snat"), (32, "dnat"), (512, "dying")];
const TCP_FLAGS: Names =
    &[(1, "fin"), (2, "syn"), (4, "rst"), (8, "psh"), (16, "ack"), (32, "urg"), (64, "ecn"), (128, "cwr")];
const ADDRESS_KINDS: Names = &[
    (0, "unspec"),
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
];
const PACKET_KINDS: Names = &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")];
const LINK_KINDS: Names = &[(1, "ether"), (512, "ppp"), (768, "ipip"), (772, "loopback"), (776, "sit"), (778, "ipgre")];
const ICMP_TYPES: Names = &[
    (0, "echo-reply"),
    (3, "destination-unreachable"),
    (4, "source-quench"),
    (5, "redirect"),
    (8, "echo-request"),
    (9, "router-advertisement"),
    (10, "router-solicitation"),
    (11, "time-exceeded"),
    (12, "parameter-problem"),
    (13, "timestamp-request"),
    (14, "timestamp-reply"),
];
const ICMP6_TYPES: Names = &[
    (1, "destination-unreachable"),
    (2, "packet-too-big"),
    (3, "time-exceeded"),
    (4, "parameter-problem"),
    (128, "echo-request"),
    (129, "echo-reply"),
    (130, "mld-listener-query"),
    (131, "mld-listener-report"),
    (132, "mld-listener-done"),
    (133, "nd-router-solicit"),
    (134, "nd-router-advert"),
    (135, "nd-neighbor-solicit"),
    (136, "nd-neighbor-advert"),
    (137, "nd-redirect"),
    (143, "mld2-listener-report"),
];

fn network_number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn native_number(bytes: &[u8]) -> u64 {
    let mut turned = bytes.to_vec();
    if cfg!(target_endian = "little") {
        turned.reverse();
    }
    network_number(&turned)
}

fn name(names: Names, number: u64) -> String {
    names.iter().find(|(known, _)| *known == number).map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Bits by their names, `new,established`.
pub fn flags(names: Format, bytes: &[u8], separator: &str) -> String {
    let (names, number) = match names {
        Format::CtState => (CT_STATES, native_number(bytes)),
        Format::CtStatus => (CT_STATUS, native_number(bytes)),
        _ => (TCP_FLAGS, network_number(bytes)),
    };
    let known: Vec<&str> = names.iter().filter(|(bit, _)| number & bit != 0).map(|(_, name)| *name).collect();
    let all = names.iter().fold(0, |all, (bit, _)| all | (number & bit));
    if known.is_empty() || all != number { format!("0x{number:x}") } else { known.join(separator) }
}

/// One value.
pub fn value(format: Format, bytes: &[u8]) -> String {
    match format {
        Format::Address4 if bytes.len() == 4 => {
            <[u8; 4]>::try_from(bytes).map_or_else(|_| raw(bytes), |four| Ipv4Addr::from(four).to_string())
        }
        Format::Address6 if bytes.len() == 16 => {
            <[u8; 16]>::try_from(bytes).map_or_else(|_| raw(bytes), |six| Ipv6Addr::from(six).to_string())
        }
        // A shorter load is a prefix of whole bytes.
        Format::Address4 | Format::Address6 => {
            let width = if format == Format::Address4 { 4 } else { 16 };
            let mut whole = bytes.to_vec();
            whole.resize(width, 0);
            format!("{}/{}", value(format, &whole), bytes.len().min(width) * 8)
        }
        Format::Number => network_number(bytes).to_string(),
        Format::Native => native_number(bytes).to_string(),
        Format::Mark => format!("0x{:08x}", native_number(bytes)),
        Format::Interface => {
            let end = bytes.iter().position(|byte| *byte == 0);
            let text = mxray_model::text::untrusted(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
            // Without an end it is the beginning of a name.
            if end.is_none() && bytes.len() < 16 { format!("\"{text}*\"") } else { format!("\"{text}\"") }
        }
        Format::Protocol => name(PROTOCOLS, network_number(bytes)),
        Format::Family => name(FAMILIES, network_number(bytes)),
        Format::EtherType => name(ETHER_TYPES, network_number(bytes)),
        Format::CtState | Format::CtStatus | Format::TcpFlags => flags(format, bytes, ","),
        Format::CtDirection => {
            if network_number(bytes) == 0 {
                "original".to_owned()
            } else {
                "reply".to_owned()
            }
        }
        Format::AddressKind => name(ADDRESS_KINDS, native_number(bytes)),
        Format::PacketKind => name(PACKET_KINDS, network_number(bytes)),
        Format::LinkKind => name(LINK_KINDS, native_number(bytes)),
        Format::IcmpType => name(ICMP_TYPES, network_number(bytes)),
        Format::Icmp6Type => name(ICMP6_TYPES, network_number(bytes)),
        Format::Boolean => if network_number(bytes) == 0 { "missing" } else { "exists" }.to_owned(),
        Format::Raw => raw(bytes),
    }
}

fn raw(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// The length of a mask of ones and then zeros.
pub fn prefix_len(mask: &[u8]) -> Option<usize> {
    let ones: usize = mask.iter().take_while(|byte| **byte == 0xff).count();
    let rest = mask.get(ones..).unwrap_or_default();
    let (first, others) = rest.split_first().map_or((0, rest), |(first, others)| (*first, others));
    let bits = usize::try_from(first.leading_ones()).ok()?;
    let right = first.count_ones() == first.leading_ones() && others.iter().all(|byte| *byte == 0);
    right.then_some(ones * 8 + bits)
}

/// A range of values, or the prefix that it is.
pub fn range(format: Format, low: &[u8], high: &[u8]) -> String {
    if low == high {
        return value(format, low);
    }
    if matches!(format, Format::Address4 | Format::Address6) {
        // Where the two ends differ in the last bits alone, and in all of them, it is a network.
        let differs: Vec<u8> = low.iter().zip(high).map(|(low, high)| !(low ^ high)).collect();
        let spans = low.iter().zip(&differs).all(|(low, same)| low & !same == 0);
        if let (Some(len), true) = (prefix_len(&differs), spans) {
            return format!("{}/{len}", value(format, low));
        }
    }
    format!("{}-{}", value(format, low), value(format, high))
}

/// A range by its two ends.
pub fn span(format: Format, low: &[u8], high: &[u8]) -> String {
    format!("{}-{}", value(format, low), value(format, high))
}

/// A verdict.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Queue => "queue".to_owned(),
        Verdict::Stolen => "stolen".to_owned(),
        Verdict::Continue => "continue".to_owned(),
        Verdict::Break => "break".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(to) => format!("jump {to}"),
        Verdict::Goto(to) => format!("goto {to}"),
        Verdict::Other(number) => format!("verdict {number}"),
    }
}
