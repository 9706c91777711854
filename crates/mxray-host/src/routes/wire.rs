//! The bytes of `NETLINK_ROUTE`: requests and answers, as pure functions over slices.
//!
//! Formats: linux/netlink.h, linux/rtnetlink.h, linux/fib_rules.h, linux/neighbour.h, linux/if_addr.h, linux/if_link.h.
//! Fields are read by the length that the kernel gives them, so that older and newer kernels are both understood; bytes
//! that do not fit are an error, never a short list. What must not live here: sockets (that is `talk`), meaning.

use super::table::{Action, Hop, Kind, Link, LocalAddress, Neighbour, Route, Rule};
use mxray_model::Prefix;
use mxray_model::text::untrusted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_GETNEIGH: u16 = 30;
pub(crate) const RTM_GETRULE: u16 = 34;

const HEADER_BYTES: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// The kernel's tables changed between two parts of the dump.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Next hops of one route that are kept. The kernel has no limit of its own; nobody balances over more.
const HOPS_MAX: usize = 256;

/// An answer that is not what the kernel's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed at byte {at}")]
pub struct Malformed {
    pub what: &'static str,
    pub at: usize,
}

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// One object: its message type, and the bytes behind the header.
    Record { kind: u16, payload: &'a [u8], interrupted: bool },
    /// The dump is complete.
    Done { interrupted: bool },
    /// The kernel's error, or 0 for an acknowledgement.
    Outcome { errno: i32 },
    /// Part of the answer was dropped.
    Overrun,
}

/// Splits the first message off a datagram; `None` at its end.
///
/// # Errors
/// A length that does not fit.
pub(crate) fn message<'a>(datagram: &'a [u8], at: &mut usize, sequence: u32) -> Result<Option<Message<'a>>, Malformed> {
    loop {
        let rest = datagram.get(*at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let broken = Malformed { what: "a netlink message", at: *at };
        let length = u32_at(rest, 0).ok_or(broken)? as usize;
        let kind = u16_at(rest, 4).ok_or(broken)?;
        let flags = u16_at(rest, 6).ok_or(broken)?;
        let theirs = u32_at(rest, 8).ok_or(broken)?;
        let payload = rest.get(HEADER_BYTES..length).ok_or(broken)?;
        *at += aligned(length).min(rest.len());
        if theirs != sequence || kind == NLMSG_NOOP {
            continue;
        }
        let interrupted = flags & NLM_F_DUMP_INTR != 0;
        return Ok(Some(match kind {
            NLMSG_DONE => match u32_at(payload, 0).map_or(0, u32::cast_signed) {
                0.. => Message::Done { interrupted },
                errno => Message::Outcome { errno: errno.saturating_neg() },
            },
            NLMSG_ERROR => Message::Outcome { errno: u32_at(payload, 0).ok_or(broken)?.cast_signed().saturating_neg() },
            NLMSG_OVERRUN => Message::Overrun,
            kind => Message::Record { kind, payload, interrupted },
        }));
    }
}

/// A dump of everything of one kind and family. The body is long enough for each of the headers that the kernel wants.
pub(crate) fn dump(kind: u16, family: u8, sequence: u32) -> Vec<u8> {
    let body = match kind {
        RTM_GETLINK => 16,
        RTM_GETADDR => 8,
        _ => 12,
    };
    let mut out = vec![0; HEADER_BYTES + body];
    if let Some(place) = out.get_mut(HEADER_BYTES) {
        *place = family;
    }
    finish(&mut out, kind, NLM_F_REQUEST_DUMP, sequence);
    out
}

/// What the kernel is asked about one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub destination: IpAddr,
    /// The address that the socket is bound to.
    pub source: Option<IpAddr>,
    /// `None`: the asker's own.
    pub uid: Option<u32>,
    /// The socket's mark; 0: none.
    pub mark: u32,
    /// TCP destination port.
    pub port: u16,
}

/// Asks what the kernel would do. `matched`: which entry of a table it found, instead of what becomes of it.
pub(crate) fn lookup(question: &Question, matched: bool, sequence: u32) -> Vec<u8> {
    const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
    const RTM_F_FIB_MATCH: u32 = 0x2000;
    const IPPROTO_TCP: u8 = 6;
    let bits = if question.destination.is_ipv4() { 32 } else { 128 };
    let mut out = vec![0; HEADER_BYTES];
    let source_bits = if question.source.is_some() { bits } else { 0 };
    out.extend_from_slice(&[family_of(question.destination), bits, source_bits, 0, 0, 0, 0, 0]);
    let flags = RTM_F_LOOKUP_TABLE | if matched { RTM_F_FIB_MATCH } else { 0 };
    out.extend_from_slice(&flags.to_ne_bytes());
    attribute(&mut out, RTA_DST, &octets(question.destination));
    if let Some(source) = question.source {
        attribute(&mut out, RTA_SRC, &octets(source));
    }
    if question.mark != 0 {
        attribute(&mut out, RTA_MARK, &question.mark.to_ne_bytes());
    }
    if let Some(uid) = question.uid {
        attribute(&mut out, RTA_UID, &uid.to_ne_bytes());
    }
    attribute(&mut out, RTA_IP_PROTO, &[IPPROTO_TCP]);
    attribute(&mut out, RTA_DPORT, &question.port.to_be_bytes());
    finish(&mut out, RTM_GETROUTE, NLM_F_REQUEST, sequence);
    out
}

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTA_UID: u16 = 25;
const RTA_IP_PROTO: u16 = 27;
const RTA_DPORT: u16 = 29;
const RTA_NH_ID: u16 = 30;

/// Decodes one `rtmsg`. `None`: of a family or a kind that is no route of a table (multicast forwarding, MPLS).
///
/// # Errors
/// A record that is shorter than the kernel's struct, or whose attributes do not fit.
pub(crate) fn route(payload: &[u8]) -> Result<Option<Route>, Malformed> {
    const RTM_F_CLONED: u32 = 0x200;
    let short = Malformed { what: "a route", at: payload.len() };
    let header: &[u8; 12] = payload.first_chunk().ok_or(short)?;
    let [family, destination_bits, source_bits, tos, table, protocol, scope, kind, ..] = *header;
    if !matches!(family, AF_INET | AF_INET6) {
        return Ok(None);
    }
    let flags = u32_at(header, 8).ok_or(short)?;
    let mut route = Route {
        destination: prefix(family, destination_bits, None)?,
        from: None,
        tos,
        table: u32::from(table),
        protocol,
        scope,
        kind: Kind::from_number(kind),
        metric: 0,
        hops: Vec::new(),
        prefer_source: None,
        next_hop_id: None,
        mtu: None,
        mtu_locked: false,
        expires_ms: None,
        cached: flags & RTM_F_CLONED != 0,
    };
    let mut single = Hop { flags: flags & 0xff, ..Hop::default() };
    let mut many = Vec::new();
    for attribute in attributes(payload.get(12..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match kind {
            RTA_DST => route.destination = prefix(family, destination_bits, Some(value))?,
            RTA_SRC if source_bits > 0 => route.from = Some(prefix(family, source_bits, Some(value))?),
            RTA_OIF => single.interface = u32_at(value, 0).unwrap_or_default(),
            RTA_GATEWAY => single.gateway = address(family, value),
            RTA_VIA => single.gateway = via(value),
            RTA_PRIORITY => route.metric = u32_at(value, 0).unwrap_or_default(),
            RTA_PREFSRC => route.prefer_source = address(family, value),
            RTA_METRICS => metrics(value, &mut route)?,
            RTA_MULTIPATH => many = hops(family, value)?,
            RTA_CACHEINFO => route.expires_ms = expires(value),
            RTA_TABLE => route.table = u32_at(value, 0).unwrap_or(route.table),
            RTA_NH_ID => route.next_hop_id = u32_at(value, 0),
            _ => {}
        }
    }
    route.hops =
        if many.is_empty() && (single.interface != 0 || single.gateway.is_some()) { vec![single] } else { many };
    Ok(Some(route))
}

/// `rta_cacheinfo.rta_expires`, in ticks of 10 ms (USER_HZ); 0: never.
fn expires(value: &[u8]) -> Option<u64> {
    let ticks = u32_at(value, 8)?.cast_signed();
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).map(|ticks| ticks * 10)
}

fn metrics(value: &[u8], route: &mut Route) -> Result<(), Malformed> {
    const RTAX_LOCK: u16 = 1;
    const RTAX_MTU: u16 = 2;
    for attribute in attributes(value) {
        let (kind, value) = attribute?;
        match kind {
            RTAX_LOCK => route.mtu_locked = u32_at(value, 0).is_some_and(|locks| locks & (1 << RTAX_MTU) != 0),
            RTAX_MTU => route.mtu = u32_at(value, 0).filter(|mtu| *mtu > 0),
            _ => {}
        }
    }
    Ok(())
}

/// The `rtnexthop` structs of a route with several next hops.
fn hops(family: u8, mut bytes: &[u8]) -> Result<Vec<Hop>, Malformed> {
    let broken = Malformed { what: "a next hop", at: bytes.len() };
    let mut hops = Vec::new();
    while !bytes.is_empty() && hops.len() < HOPS_MAX {
        let length = usize::from(u16_at(bytes, 0).ok_or(broken)?);
        let inner = bytes.get(8..length).ok_or(broken)?;
        let mut hop = Hop {
            flags: u32::from(*bytes.get(2).ok_or(broken)?),
            weight: u32::from(*bytes.get(3).ok_or(broken)?) + 1,
            interface: u32_at(bytes, 4).ok_or(broken)?,
            gateway: None,
        };
        for attribute in attributes(inner) {
            let (kind, value) = attribute?;
            match kind {
                RTA_GATEWAY => hop.gateway = address(family, value),
                RTA_VIA => hop.gateway = via(value),
                _ => {}
            }
        }
        hops.push(hop);
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(hops)
}

/// `rtvia`: a gateway of the other family.
fn via(value: &[u8]) -> Option<IpAddr> {
    let family = u8::try_from(u16_at(value, 0)?).ok()?;
    address(family, value.get(2..)?)
}

/// Decodes one `fib_rule_hdr`. `None`: of another family.
///
/// # Errors
/// As [`route`].
pub(crate) fn rule(payload: &[u8]) -> Result<Option<Rule>, Malformed> {
    const FIB_RULE_INVERT: u32 = 2;
    let short = Malformed { what: "a routing rule", at: payload.len() };
    let header: &[u8; 12] = payload.first_chunk().ok_or(short)?;
    let [family, to_bits, from_bits, tos, table, _, _, action, ..] = *header;
    if !matches!(family, AF_INET | AF_INET6) {
        return Ok(None);
    }
    let mut rule = Rule {
        is_ipv4: family == AF_INET,
        action: Action::from_number(action),
        tos,
        table: u32::from(table),
        invert: u32_at(header, 8).ok_or(short)? & FIB_RULE_INVERT != 0,
        ..Rule::default()
    };
    for attribute in attributes(payload.get(12..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        rule_attribute(&mut rule, (family, to_bits, from_bits), kind, value)?;
    }
    Ok(Some(rule))
}

fn rule_attribute(rule: &mut Rule, sizes: (u8, u8, u8), kind: u16, value: &[u8]) -> Result<(), Malformed> {
    let (family, to_bits, from_bits) = sizes;
    let pair = || u16_at(value, 0).zip(u16_at(value, 2));
    match kind {
        1 => rule.to = Some(prefix(family, to_bits, Some(value))?),
        2 => rule.from = Some(prefix(family, from_bits, Some(value))?),
        3 => rule.incoming = Some(name(value)),
        4 => rule.goto = u32_at(value, 0),
        6 => rule.priority = u32_at(value, 0).unwrap_or_default(),
        10 => rule.mark = u32_at(value, 0).unwrap_or_default(),
        // All ones: nothing is suppressed.
        14 => rule.suppress_prefix_length = u32_at(value, 0).filter(|length| *length != u32::MAX),
        15 => rule.table = u32_at(value, 0).unwrap_or(rule.table),
        16 => rule.mask = u32_at(value, 0).unwrap_or_default(),
        17 => rule.outgoing = Some(name(value)),
        19 => rule.of_vrf = value.first().is_some_and(|on| *on != 0),
        20 => rule.users = u32_at(value, 0).zip(u32_at(value, 4)),
        22 => rule.protocol = value.first().copied().filter(|protocol| *protocol != 0),
        23 => rule.source_ports = pair(),
        24 => rule.ports = pair(),
        _ => {}
    }
    Ok(())
}

/// Decodes one `ndmsg`. `None`: of another family, or without an address.
///
/// # Errors
/// As [`route`].
pub(crate) fn neighbour(payload: &[u8]) -> Result<Option<Neighbour>, Malformed> {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    const NDA_CACHEINFO: u16 = 3;
    let short = Malformed { what: "a neighbour", at: payload.len() };
    let header: &[u8; 12] = payload.first_chunk().ok_or(short)?;
    let interface = u32_at(header, 4).ok_or(short)?;
    let state = u16_at(header, 8).ok_or(short)?;
    let (mut found, mut hardware, mut updated_ms) = (None, None, None);
    for attribute in attributes(payload.get(12..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match kind {
            NDA_DST => found = address(header[0], value),
            NDA_LLADDR => hardware = Some(hardware_address(value)),
            // confirmed, used, updated, references; in ticks of 10 ms (USER_HZ).
            NDA_CACHEINFO => updated_ms = u32_at(value, 8).map(|ticks| u64::from(ticks) * 10),
            _ => {}
        }
    }
    Ok(found.map(|address| Neighbour { address, interface, state, hardware, updated_ms }))
}

fn hardware_address(bytes: &[u8]) -> String {
    /// The kernel's MAX_ADDR_LEN.
    const BYTES_MAX: usize = 32;
    let pairs: Vec<String> = bytes.iter().take(BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// Decodes one `ifaddrmsg`. `None`: of another family.
///
/// # Errors
/// As [`route`].
pub(crate) fn local_address(payload: &[u8]) -> Result<Option<LocalAddress>, Malformed> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_LABEL: u16 = 3;
    const IFA_FLAGS: u16 = 8;
    let short = Malformed { what: "an address", at: payload.len() };
    let header: &[u8; 8] = payload.first_chunk().ok_or(short)?;
    let [family, length, flags, scope, ..] = *header;
    let interface = u32_at(header, 4).ok_or(short)?;
    let (mut far, mut near, mut flags) = (None, None, u32::from(flags));
    let mut label = String::new();
    for attribute in attributes(payload.get(8..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match kind {
            IFA_ADDRESS => far = address(family, value),
            IFA_LOCAL => near = address(family, value),
            IFA_LABEL => label = name(value),
            IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the far end.
    Ok(near.or(far).map(|address| LocalAddress { address, length, interface, label, scope, flags }))
}

/// Decodes one `ifinfomsg`.
///
/// # Errors
/// As [`route`].
pub(crate) fn link(payload: &[u8]) -> Result<Link, Malformed> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_MASTER: u16 = 10;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    let short = Malformed { what: "an interface", at: payload.len() };
    let header: &[u8; 16] = payload.first_chunk().ok_or(short)?;
    let mut link =
        Link { index: u32_at(header, 4).ok_or(short)?, flags: u32_at(header, 8).ok_or(short)?, ..Link::default() };
    for attribute in attributes(payload.get(16..).unwrap_or_default()) {
        let (kind, value) = attribute?;
        match kind {
            IFLA_IFNAME => link.name = name(value),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or_default(),
            IFLA_MASTER => link.master = u32_at(value, 0).filter(|master| *master != 0),
            IFLA_LINKINFO => {
                for inner in attributes(value) {
                    let (kind, value) = inner?;
                    if kind == IFLA_INFO_KIND {
                        link.kind = name(value);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(link)
}

/// A zero-terminated name, made safe.
fn name(value: &[u8]) -> String {
    untrusted(value.split(|byte| *byte == 0).next().unwrap_or_default())
}

fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => value.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        AF_INET6 => value.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

/// A prefix whose bits the kernel may have left out where there are none.
fn prefix(family: u8, length: u8, value: Option<&[u8]>) -> Result<Prefix, Malformed> {
    let broken = Malformed { what: "a network", at: usize::from(length) };
    let (all, bits) = match family {
        AF_INET => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
        _ => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    };
    if length > bits {
        return Err(broken);
    }
    let address = match value {
        Some(value) => address(family, value).ok_or(broken)?,
        None => all,
    };
    Ok(Prefix { address, length })
}

/// Walks attributes: `(type, value)`.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let here = at;
        let parts = u16_at(rest, 0).zip(u16_at(rest, 2)).and_then(|(length, kind)| {
            // The upper two bits are flags (nested, byte order).
            Some((usize::from(length), kind & 0x3fff, rest.get(4..usize::from(length))?))
        });
        let Some((length, kind, value)) = parts else {
            at = bytes.len();
            return Some(Err(Malformed { what: "a netlink attribute", at: here }));
        };
        at += aligned(length).min(rest.len());
        Some(Ok((kind, value)))
    })
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(aligned(out.len()), 0);
}

fn finish(out: &mut [u8], kind: u16, flags: u16, sequence: u32) {
    let length = u32::try_from(out.len()).unwrap_or_default();
    if let Some(header) = out.first_chunk_mut::<HEADER_BYTES>() {
        header[0..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&flags.to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), family in 0u8..12) {
            let mut at = 0;
            while let Ok(Some(_)) = message(&bytes, &mut at, 0) {}
            let mut bytes = bytes;
            for _ in 0..2 {
                let _ = (route(&bytes), rule(&bytes), neighbour(&bytes), local_address(&bytes), link(&bytes));
                // The same with a family that is looked into.
                if let Some(first) = bytes.first_mut() {
                    *first = if family % 2 == 0 { AF_INET } else { AF_INET6 };
                }
            }
        }

        /// Attributes with true lengths reach further than noise does.
        #[test]
        fn random_attributes_never_panic(
            head in prop::collection::vec(any::<u8>(), 16),
            attributes in prop::collection::vec((0u16..32, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            for size in [8, 12, 16] {
                let mut bytes = head[..size].to_vec();
                bytes[0] = AF_INET6;
                for (kind, value) in &attributes {
                    attribute(&mut bytes, *kind, value);
                }
                let _ = (route(&bytes), rule(&bytes), neighbour(&bytes), local_address(&bytes), link(&bytes));
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_no_shorter_list() {
        let mut whole = vec![AF_INET, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        attribute(&mut whole, RTA_DST, &[192, 0, 2, 0]);
        attribute(&mut whole, RTA_GATEWAY, &[192, 0, 2, 1]);
        let route_of = |bytes: &[u8]| route(bytes).map(|route| route.unwrap().destination.to_string());
        assert_eq!(route_of(&whole), Ok("192.0.2.0/24".to_owned()));
        for length in (0..whole.len()).filter(|length| ![12, 20].contains(length)) {
            assert!(route(&whole[..length]).is_err(), "{length} bytes");
        }
        whole[1] = 33;
        assert!(route(&whole).is_err());
    }

    #[test]
    fn answers_to_another_question_are_passed_over() {
        let mut datagram = dump(RTM_GETROUTE, AF_INET, 7);
        datagram.extend(dump(RTM_GETRULE, AF_INET, 8));
        let mut at = 0;
        let first = message(&datagram, &mut at, 8).unwrap();
        assert!(matches!(first, Some(Message::Record { kind: RTM_GETRULE, .. })));
        assert_eq!(message(&datagram, &mut at, 8), Ok(None));
        assert!(message(&datagram[..datagram.len() - 1], &mut 0, 8).is_err());
    }
}
