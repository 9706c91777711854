//! The addresses of each interface, as getifaddrs(3) names them, for configuration that says `eth0`.
//!
//! IPv4 comes over rtnetlink, IPv6 from `/proc/net/if_inet6`. What an interface is used for is not this module's business.

use crate::{read, routes};
use mxray_model::Seen;
use mxray_model::text::untrusted;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// A container host has some thousand interfaces; each line of if_inet6 has 54 bytes.
const IF_INET6_BYTES_MAX: u64 = 4 << 20;

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
        let four = match routes::addresses() {
            Ok(all) => Seen::Value(by_label(all)),
            Err(error) => Seen::Unknown(error.blind()),
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

fn by_label(all: Vec<routes::LocalAddress>) -> BTreeMap<String, Vec<IpAddr>> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for local in all.into_iter().filter(|local| local.address.is_ipv4()) {
        found.entry(local.label).or_default().push(local.address);
    }
    found
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
        let found = Interfaces { four: Seen::not_attempted("refused"), six };
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
        fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = if_inet6(&bytes);
        }
    }
}
