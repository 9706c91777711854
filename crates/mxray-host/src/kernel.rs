//! Kernel settings and protocol counters of this network namespace.
//!
//! Counters are read by the names in the header lines: every kernel has its own columns.

use crate::read;
use mxray_model::evidence::{Counter, Fill, Kernel, PortRange};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// `/proc/net/netstat` has 5 kB today.
const COUNTERS_BYTES_MAX: u64 = 1 << 20;
/// `ip_local_reserved_ports` at its worst: every second port.
const RESERVED_PORTS_MAX: usize = 32_768;

/// The settings that decide about mail's connections; counters are left for [`window`].
pub fn settings() -> Kernel {
    Kernel {
        local_ports: local_ports(),
        reserved_ports: understood("net/ipv4/ip_local_reserved_ports", reserved),
        unprivileged_port_start: number("net/ipv4/ip_unprivileged_port_start"),
        somaxconn: number("net/core/somaxconn"),
        max_syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        syncookies: number("net/ipv4/tcp_syncookies"),
        tw_reuse: number("net/ipv4/tcp_tw_reuse"),
        conntrack: conntrack(),
        open_files: open_files(),
        counters: Seen::not_attempted("counters need two looks"),
        tcp_memory: crate::sockstat::tcp_memory(),
        window_ms: 0,
        while_connecting: Seen::not_attempted("no session was held"),
    }
}

/// net.ipv4.ip_local_port_range
pub(crate) fn local_ports() -> Seen<PortRange> {
    understood("net/ipv4/ip_local_port_range", |text| {
        let mut words = text.split_ascii_whitespace();
        let range = PortRange { first: words.next()?.parse().ok()?, last: words.next()?.parse().ok()? };
        (range.first <= range.last).then_some(range)
    })
}

/// net.ipv4.ip_nonlocal_bind, net.ipv6.ip_nonlocal_bind: may a socket be bound to an address that is not here? `Absent`: the
/// kernel has no such setting, and it may not.
pub fn nonlocal_bind(ipv6: bool) -> Seen<bool> {
    let family = if ipv6 { "ipv6" } else { "ipv4" };
    number(&format!("net/{family}/ip_nonlocal_bind")).map(|value| value != 0)
}

/// net.ipv6.bindv6only: an IPv6 wildcard refuses IPv4 unless the program says otherwise. `Absent`: no IPv6.
pub fn bind_v6_only() -> Seen<bool> {
    number("net/ipv6/bindv6only").map(|value| value != 0)
}

/// The kernel has IPv6 at all, if perhaps no address of it.
pub fn has_ipv6() -> bool {
    Path::new("/proc/thread-self/net/if_inet6").exists()
}

/// Every counter of `/proc/net/{snmp,netstat,snmp6}` by table and name: `Tcp.ActiveOpens`, `TcpExt.ListenOverflows`,
/// `Ip6.InReceives`.
///
/// `Unknown` if `snmp` or `netstat` cannot be read; `snmp6` is missing where the kernel has no IPv6.
pub fn counters() -> Seen<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for name in ["snmp", "netstat", "snmp6"] {
        let path = Path::new("/proc/thread-self/net").join(name);
        let text = match read::bounded(&path, COUNTERS_BYTES_MAX) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if name == "snmp6" && error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Seen::Unknown(read::blind("read", &path, &error, "root")),
        };
        let read = if name == "snmp6" { flat(&text, &mut all) } else { paired(&text, &mut all) };
        if let Err(line) = read {
            let what = path.display().to_string();
            return Seen::Unknown(Blind::NotUnderstood { what, text: untrusted(line.as_bytes()) });
        }
    }
    Seen::Value(all)
}

/// The counters that tell whether what is sent leaves: see [`Kernel::while_connecting`].
pub fn sent() -> Seen<BTreeMap<String, u64>> {
    const SENT: [&str; 4] = ["Ip.OutRequests", "Ip.OutTransmits", "Ip6.OutRequests", "Ip6.OutTransmits"];
    counters().map(|all| all.into_iter().filter(|(name, _)| SENT.contains(&name.as_str())).collect())
}

/// Both ends of the window, for the counters that are in both.
pub fn window(
    first: &Seen<BTreeMap<String, u64>>,
    last: &Seen<BTreeMap<String, u64>>,
) -> Seen<BTreeMap<String, Counter>> {
    match (first, last) {
        (Seen::Value(first), Seen::Value(last)) => Seen::Value(
            last.iter()
                .filter_map(|(name, last)| Some((name.clone(), Counter { first: *first.get(name)?, last: *last })))
                .collect(),
        ),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
    }
}

/// Lines in pairs, `Tcp: Name Name` and `Tcp: 1 -1`. A pair whose tables or lengths differ is not understood.
fn paired<'a>(text: &'a str, all: &mut BTreeMap<String, u64>) -> Result<(), &'a str> {
    let mut lines = text.lines();
    while let Some(header) = lines.next() {
        let values = lines.next().ok_or(header)?;
        let (table, names) = header.split_once(':').ok_or(header)?;
        let (same, numbers) = values.split_once(':').ok_or(values)?;
        if table != same || names.split_ascii_whitespace().count() != numbers.split_ascii_whitespace().count() {
            return Err(values);
        }
        for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
            // Tcp.MaxConn is -1, "no limit": a setting, not a count.
            if number.starts_with('-') {
                continue;
            }
            all.insert(format!("{table}.{name}"), number.parse().map_err(|_| values)?);
        }
    }
    Ok(())
}

/// `Ip6InReceives   12`: one a line; the table's name ends at its `6`.
fn flat<'a>(text: &'a str, all: &mut BTreeMap<String, u64>) -> Result<(), &'a str> {
    for line in text.lines() {
        let (name, number) = line.split_once(char::is_whitespace).ok_or(line)?;
        let (table, rest) = name.split_at(name.find('6').map_or(0, |six| six + 1));
        all.insert(format!("{table}.{rest}"), number.trim().parse().map_err(|_| line)?);
    }
    Ok(())
}

fn number(setting: &str) -> Seen<u32> {
    understood(setting, |text| text.parse().ok())
}

fn understood<T>(setting: &str, parse: impl Fn(&str) -> Option<T>) -> Seen<T> {
    match read::setting(setting) {
        Seen::Value(text) => match parse(&text.replace("\\t", " ")) {
            Some(value) => Seen::Value(value),
            None => Seen::Unknown(Blind::NotUnderstood { what: setting.replace('/', "."), text }),
        },
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// Both files are there only where nf_conntrack is. This namespace's connections count against the limit of all.
fn conntrack() -> Seen<Fill> {
    let of = |name: &str| understood(&format!("net/netfilter/{name}"), |text| text.parse().ok());
    match (of("nf_conntrack_count"), of("nf_conntrack_max")) {
        (Seen::Value(used), Seen::Value(limit)) => Seen::Value(Fill { used, limit }),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
    }
}

/// Allocated, free (always 0 since Linux 2.6), most (proc_sys_fs(5)).
fn open_files() -> Seen<Fill> {
    understood("fs/file-nr", |text| {
        let mut words = text.split_ascii_whitespace();
        let (used, _, limit) = (words.next()?, words.next()?, words.next()?);
        Some(Fill { used: used.parse().ok()?, limit: limit.parse().ok()? })
    })
}

/// `8080,9000-9010`, or nothing.
fn reserved(text: &str) -> Option<Vec<PortRange>> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .take(RESERVED_PORTS_MAX)
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(PortRange { first: first.parse().ok()?, last: last.parse().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_not_places() {
        let mut all = BTreeMap::new();
        paired("Tcp: MaxConn ActiveOpens New\nTcp: -1 7 18446744073709551615\n", &mut all).unwrap();
        assert_eq!(all, BTreeMap::from([("Tcp.ActiveOpens".into(), 7), ("Tcp.New".into(), u64::MAX)]));
        for bad in ["Tcp: A B\nTcp: 1\n", "Tcp: A\nIp: 1\n", "Tcp: A\n", "Tcp A\nTcp 1\n", "Tcp: A\nTcp: x\n"] {
            assert!(paired(bad, &mut BTreeMap::new()).is_err(), "{bad:?}");
        }
        let mut all = BTreeMap::new();
        flat("Ip6InReceives    \t12\nIcmp6OutType135\t1\n", &mut all).unwrap();
        assert_eq!(all, BTreeMap::from([("Ip6.InReceives".into(), 12), ("Icmp6.OutType135".into(), 1)]));
    }

    #[test]
    fn reserved_ports_are_ranges() {
        assert_eq!(reserved(""), Some(vec![]));
        let two = vec![PortRange { first: 8080, last: 8080 }, PortRange { first: 9000, last: 9010 }];
        assert_eq!(reserved("8080,9000-9010"), Some(two));
        assert_eq!(reserved("x"), None);
    }

    #[test]
    fn this_kernel_is_understood() {
        let kernel = settings();
        assert!(kernel.local_ports.value().is_some_and(|range| range.ports() > 1), "{kernel:?}");
        assert!(kernel.open_files.value().is_some_and(|files| files.used > 0 && files.used < files.limit));
        assert!(kernel.somaxconn.value().is_some() && kernel.reserved_ports.value().is_some());
        let (first, last) = (counters(), counters());
        let Seen::Value(window) = window(&first, &last) else { panic!("{first:?}") };
        for name in ["Tcp.ActiveOpens", "TcpExt.ListenOverflows"] {
            assert!(window.contains_key(name), "{name}");
        }
        assert!(matches!(super::window(&Seen::Absent, &Seen::not_attempted("test")), Seen::Unknown(_)));
    }
}
