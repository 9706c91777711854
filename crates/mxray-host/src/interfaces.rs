//! The addresses of each interface, as getifaddrs(3) names them, for configuration that says `eth0`.
//!
//! IPv4 comes over rtnetlink, IPv6 from `/proc/net/if_inet6`. What an interface is used for is not this module's business.

use crate::read;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use mxray_sys::netlink::{DATAGRAM_BYTES_MAX, Family, Netlink, NetlinkError};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A container host has some thousand interfaces; each line of if_inet6 has 54 bytes.
const IF_INET6_BYTES_MAX: u64 = 4 << 20;
/// A dump of so many addresses has an end, whatever the kernel sends.
const ADDRESSES_MAX: usize = 100_000;

const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
/// `struct ifaddrmsg`
const ADDRESS_HEADER_BYTES: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const AF_INET: u8 = 2;

/// Addresses by the name under which an interface carries them; an IPv4 alias has its own (`eth0:1`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interfaces {
    /// `Unknown`: netlink is refused here.
    pub four: Seen<BTreeMap<String, Vec<IpAddr>>>,
    pub six: BTreeMap<String, Vec<IpAddr>>,
}

impl Interfaces {
    pub fn look() -> Interfaces {
        let six = match read::kernel(Path::new("/proc/net/if_inet6"), IF_INET6_BYTES_MAX) {
            Seen::Value(content) => if_inet6(&content.bytes),
            Seen::Absent | Seen::Unknown(_) => BTreeMap::new(),
        };
        let four = match dump() {
            Ok(found) => Seen::Value(found),
            Err(blind) => Seen::Unknown(blind),
        };
        Interfaces { four, six }
    }

    /// `Absent`: no interface carries an address under this name.
    pub fn addresses(&self, name: &str) -> Seen<Vec<IpAddr>> {
        let six = self.six.get(name);
        match &self.four {
            Seen::Value(four) => {
                let all: Vec<IpAddr> = four.get(name).into_iter().chain(six).flatten().copied().collect();
                if all.is_empty() { Seen::Absent } else { Seen::Value(all) }
            }
            Seen::Absent => six.map_or(Seen::Absent, |six| Seen::Value(six.clone())),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }
}

/// Flags of an address that comes and goes by itself or cannot be bound: temporary, failed, deprecated, tentative
/// (linux/if_addr.h).
const PASSING: u8 = 0x01 | 0x08 | 0x20 | 0x40;

/// `fe800000000000000000000000000001 02 40 20 80     eth0`, without addresses that pass: a server that was started before
/// one of them came does not listen there, and nobody is told to write to it.
fn if_inet6(text: &[u8]) -> BTreeMap<String, Vec<IpAddr>> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = untrusted(line);
        let mut words = line.split_whitespace();
        let (Some(digits), Some(flags), Some(name)) = (words.next(), words.nth(3), words.next()) else { continue };
        let flags = u8::from_str_radix(flags, 16).unwrap_or_default();
        if digits.len() == 32
            && flags & PASSING == 0
            && let Ok(bits) = u128::from_str_radix(digits, 16)
        {
            found.entry(name.to_owned()).or_default().push(Ipv6Addr::from(bits).into());
        }
    }
    found
}

fn dump() -> Result<BTreeMap<String, Vec<IpAddr>>, Blind> {
    let refused = |error: NetlinkError| match error.errno() {
        Some(Errno::PERM | Errno::ACCESS) => {
            Blind::NotPermitted { what: error.to_string(), needs: "a sandbox that permits AF_NETLINK".to_owned() }
        }
        _ => failed(&error.to_string()),
    };
    let netlink = Netlink::open(Family::Route).map_err(refused)?;
    netlink.send(&request()).map_err(refused)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut found = BTreeMap::new();
    let mut count = 0;
    loop {
        let datagram = netlink.receive(&mut buffer).map_err(refused)?;
        match datagram_into(datagram, &mut found, &mut count) {
            Some(true) => return Ok(found),
            Some(false) => {}
            None => return Err(failed("the kernel's list is malformed, refused or longer than any real one")),
        }
    }
}

fn failed(error: &str) -> Blind {
    Blind::Failed { step: "list the addresses of interfaces".to_owned(), error: error.to_owned() }
}

fn request() -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + ADDRESS_HEADER_BYTES).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ADDRESS_HEADER_BYTES);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&RTM_GETADDR.to_ne_bytes());
    bytes.extend_from_slice(&DUMP.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.push(AF_INET);
    bytes.resize(HEADER_BYTES + ADDRESS_HEADER_BYTES, 0);
    bytes
}

/// Takes in one datagram. `Some(true)`: the list is complete. `None`: it is not what the kernel's headers say.
fn datagram_into(mut rest: &[u8], found: &mut BTreeMap<String, Vec<IpAddr>>, count: &mut usize) -> Option<bool> {
    while !rest.is_empty() {
        let length = u32_at(rest, 0)? as usize;
        let kind = u16_at(rest, 4)?;
        let payload = rest.get(HEADER_BYTES..length)?;
        match kind {
            NLMSG_DONE => return Some(true),
            NLMSG_ERROR => return None,
            RTM_NEWADDR => {
                *count += 1;
                if *count > ADDRESSES_MAX {
                    return None;
                }
                if let Some((name, address)) = address(payload)? {
                    found.entry(name).or_default().push(address);
                }
            }
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Some(false)
}

/// The label and the address of one message; `Some(None)` for one without them.
#[allow(clippy::option_option, reason = "malformed and without a label are two things, and both stay in this file")]
fn address(message: &[u8]) -> Option<Option<(String, IpAddr)>> {
    let (mut label, mut local, mut peer) = (None, None, None);
    let mut rest = message.get(ADDRESS_HEADER_BYTES..)?;
    while rest.len() >= 4 {
        let length = u16_at(rest, 0)? as usize;
        let kind = u16_at(rest, 2)?;
        let value = rest.get(4..length)?;
        let four = || <[u8; 4]>::try_from(value).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
        match kind {
            IFA_LOCAL => local = four(),
            // On a point-to-point interface this is the other end; elsewhere it repeats the local one.
            IFA_ADDRESS => peer = four(),
            IFA_LABEL => label = Some(untrusted(value.split(|byte| *byte == 0).next().unwrap_or_default())),
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Some(label.zip(local.or(peer)))
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_carries_its_address() {
        let found = Interfaces::look();
        let lo = found.addresses("lo");
        assert!(lo.value().is_some_and(|all| all.contains(&"127.0.0.1".parse().unwrap())), "{found:?}");
        assert!(found.addresses("no-such0").is_absent());
    }

    #[test]
    fn without_netlink_an_interface_is_unknown() {
        let six = BTreeMap::from([("eth0".to_owned(), vec!["fe80::1".parse().unwrap()])]);
        let found = Interfaces { four: Seen::Unknown(failed("refused")), six };
        assert!(found.addresses("eth0").blind().is_some());
    }

    #[test]
    fn the_file_of_ipv6_addresses_is_read() {
        let found = if_inet6(
            b"fd000000000000000000000000000002 04 40 00 80     eth0\nshort 1\n\
              fd000000000000000000000000000003 04 40 00 01     eth0\n",
        );
        assert_eq!(found["eth0"], ["fd00::2".parse::<IpAddr>().unwrap()]);
        assert_eq!(found.len(), 1);
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = datagram_into(&bytes, &mut BTreeMap::new(), &mut 0);
            let _ = address(&bytes);
            let _ = if_inet6(&bytes);
        }
    }
}
