//! What configuration text is resolved against: own addresses, /etc/hosts, /etc/services, the host name.
//!
//! Names are looked up in files only. DNS is not asked here: it may be what is broken, and an answer from it is evidence
//! of its own.

use crate::read;
use mxray_model::{Seen, text};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Enough for /etc/services (13 KB on Debian) and block lists kept in /etc/hosts.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The ports that mail configuration names, where /etc/services lacks them (minimal containers have none).
const PORTS: &[(&str, u16)] = &[
    ("smtp", 25),
    ("mail", 25),
    ("lmtp", 24),
    ("ssmtp", 465),
    ("smtps", 465),
    ("submissions", 465),
    ("submission", 587),
    ("qmqp", 628),
];

/// Addresses that connections can come to; see [`mxray_model::Evidence::addresses`].
pub fn addresses() -> Seen<BTreeSet<IpAddr>> {
    let text = |path: &str| {
        read::kernel(Path::new(path), FILE_BYTES_MAX)
            .map(|content| String::from_utf8_lossy(&content.bytes).into_owned())
    };
    // A kernel or a container without IPv6 has no such table.
    let six = match text("/proc/thread-self/net/if_inet6") {
        Seen::Value(table) => if_inet6_usable(&table),
        Seen::Absent => BTreeSet::new(),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    match text("/proc/thread-self/net/fib_trie") {
        Seen::Value(table) => Seen::Value(fib_trie(&table).into_iter().chain(six).collect()),
        Seen::Absent => Seen::not_attempted("/proc/net/fib_trie is not there: the IPv4 addresses are not told"),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// The names of /etc/hosts in lower case, with their addresses. Empty where it cannot be read.
pub fn hosts_file() -> BTreeMap<String, Vec<IpAddr>> {
    Machine::names().hosts
}

/// The machine as configuration sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub host_name: String,
    /// Addresses of this network namespace's interfaces. `Unknown` where `/proc/net` could not be read.
    pub addresses: Seen<BTreeSet<IpAddr>>,
    /// The kernel has IPv6.
    pub ipv6: bool,
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    pub ports: BTreeMap<String, u16>,
}

impl Machine {
    pub fn look() -> Machine {
        let text_of = |path: &str| match read::file(Path::new(path), FILE_BYTES_MAX) {
            Seen::Value(content) => String::from_utf8_lossy(&content.bytes).into_owned(),
            Seen::Absent | Seen::Unknown(_) => String::new(),
        };
        let four = read::kernel(Path::new("/proc/thread-self/net/fib_trie"), FILE_BYTES_MAX);
        let six = read::kernel(Path::new("/proc/thread-self/net/if_inet6"), FILE_BYTES_MAX);
        let ipv6 = !six.is_absent();
        let six_addresses = match &six {
            Seen::Value(content) => if_inet6(&String::from_utf8_lossy(&content.bytes)),
            Seen::Absent | Seen::Unknown(_) => BTreeSet::new(),
        };
        let addresses = four.map(|content| {
            let mut all = fib_trie(&String::from_utf8_lossy(&content.bytes));
            all.extend(six_addresses);
            all
        });
        Machine {
            host_name: text::untrusted(rustix::system::uname().nodename().to_bytes()),
            addresses,
            ipv6,
            hosts: hosts(&text_of("/etc/hosts")),
            ports: services(&text_of("/etc/services")),
        }
    }

    /// Only what [`Machine::resolve`] needs.
    pub fn names() -> Machine {
        let hosts = match read::file(Path::new("/etc/hosts"), FILE_BYTES_MAX) {
            Seen::Value(content) => hosts(&String::from_utf8_lossy(&content.bytes)),
            Seen::Absent | Seen::Unknown(_) => BTreeMap::new(),
        };
        Machine { hosts, ..Machine::default() }
    }

    /// A port by number or name.
    pub fn port(&self, name: &str) -> Option<u16> {
        if let Ok(number) = name.parse::<u16>() {
            return (number > 0).then_some(number);
        }
        let known = || PORTS.iter().find(|(known, _)| *known == name).map(|(_, port)| *port);
        self.ports.get(name).copied().or_else(known)
    }

    /// The addresses of a literal or of a name in /etc/hosts. `None`: only DNS could tell.
    pub fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let literal = bare.strip_prefix("ipv6:").or_else(|| bare.strip_prefix("IPv6:")).unwrap_or(bare);
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Some(vec![address]);
        }
        let lower = bare.trim_end_matches('.').to_ascii_lowercase();
        if let Some(found) = self.hosts.get(&lower) {
            return Some(found.clone());
        }
        // RFC 6761, 6.3; the C library's own modules answer the same where /etc/hosts does not.
        (lower == "localhost").then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// Does this address lead to this machine? `Unknown` where own addresses are.
    pub fn is_own(&self, address: IpAddr) -> Seen<bool> {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return Seen::Value(true);
        }
        self.addresses.as_ref().map(|own| own.contains(&address))
    }
}

/// hosts(5): address, then names. Several lines for one name add up.
fn hosts(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words {
            let entry = found.entry(name.to_ascii_lowercase()).or_default();
            if !entry.contains(&address) {
                entry.push(address);
            }
        }
    }
    found
}

/// services(5), TCP only; the first entry of a name holds, as in getservbyname.
fn services(text: &str) -> BTreeMap<String, u16> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
        let Some(Ok(port)) = port.strip_suffix("/tcp").map(str::parse::<u16>) else { continue };
        for name in std::iter::once(name).chain(words) {
            found.entry(name.to_owned()).or_insert(port);
        }
    }
    found
}

/// The kernel's IPv4 routing table: every `/32 host LOCAL` leaf is an own address.
fn fib_trie(text: &str) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = leaf
        {
            found.insert(IpAddr::V4(address));
        }
    }
    found
}

/// /proc/net/if_inet6: the address is the first 32 hexadecimal digits.
fn if_inet6(text: &str) -> BTreeSet<IpAddr> {
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|digits| digits.len() == 32)
        .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
        .map(|bits| IpAddr::V6(Ipv6Addr::from(bits)))
        .collect()
}

/// The same without those that are tentative or duplicates (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED` of linux/if_addr.h; the
/// fifth column).
fn if_inet6_usable(text: &str) -> BTreeSet<IpAddr> {
    const TENTATIVE_OR_FAILED: u32 = 0x40 | 0x08;
    let usable = |line: &&str| {
        let flags = line.split_whitespace().nth(4).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & TENTATIVE_OR_FAILED == 0)
    };
    text.lines().filter(usable).flat_map(if_inet6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_come_from_both_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        let found = fib_trie(trie);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1", "192.0.2.2"]);
        let six = if_inet6("fd000000000000000000000000000002 04 40 00 82     eth0\nshort 1\n");
        assert_eq!(six.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd00::2"]);
        let three = "fd000000000000000000000000000002 04 40 00 82 eth0\nfd000000000000000000000000000003 04 40 00 48 eth0\n\
                     fd000000000000000000000000000004 04 40 00\n";
        let usable = if_inet6_usable(three);
        assert_eq!(usable.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd00::2"]);
    }

    #[test]
    fn names_and_ports_come_from_files_with_fallbacks() {
        let machine = Machine {
            hosts: hosts(
                "127.0.0.1 localhost\n::1 localhost ip6-localhost # x\n127.0.1.1 mx.example.org mx\nbad line\n",
            ),
            ports: services("smtp 25/tcp mail\nsubmission 587/tcp\nsmtp 99/udp\nbroken\n"),
            ..Machine::default()
        };
        assert_eq!(machine.resolve("LOCALHOST").unwrap().len(), 2);
        assert_eq!(machine.resolve("mx").unwrap(), ["127.0.1.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(machine.resolve("[2001:db8::1]").unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(machine.resolve("mx.elsewhere.example"), None);
        assert_eq!(machine.port("smtp"), Some(25));
        assert_eq!(machine.port("submissions"), Some(465));
        assert_eq!(machine.port("10026"), Some(10026));
        assert_eq!(machine.port("0"), None);
        assert_eq!(machine.port("70000"), None);
        assert_eq!(machine.is_own("127.8.8.8".parse().unwrap()), Seen::Value(true));
        assert!(machine.is_own("192.0.2.9".parse().unwrap()).blind().is_some());
    }
}
