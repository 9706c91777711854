//! Addresses that no host of the public Internet has.

use crate::Prefix;
use std::net::IpAddr;

/// IANA's special-purpose registries (RFC 6890 and its updates), multicast, and what IPv6 has not assigned.
const SPECIAL: [&str; 22] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/8",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe00::/7",
];

/// Private, loopback, link-local, shared, documentation, benchmarking, multicast, reserved.
///
/// An operator may declare otherwise (`[network] public_prefixes`), which is for the caller to ask first.
pub fn is_special(address: IpAddr) -> bool {
    SPECIAL.iter().filter_map(|text| text.parse::<Prefix>().ok()).any(|prefix| prefix.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_is_one_and_its_neighbours_are_not() {
        for text in SPECIAL {
            assert!(text.parse::<Prefix>().is_ok_and(|prefix| prefix.network() == prefix), "{text}");
        }
        for special in ["10.1.2.3", "100.127.0.1", "172.31.255.255", "192.168.0.1", "255.255.255.255", "fd00::1", "::1"]
        {
            assert!(is_special(special.parse().unwrap()), "{special}");
        }
        for public in
            ["9.9.9.9", "100.128.0.1", "172.32.0.1", "192.169.0.1", "223.255.255.255", "2001:600::1", "2a00::1"]
        {
            assert!(!is_special(public.parse().unwrap()), "{public}");
        }
    }
}
