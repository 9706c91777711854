//! What sockets use at this moment, and how much of it they may: `/proc/net/sockstat` against the kernel's limits.
//!
//! These are levels, not counts: they have no rate. Protocol counters stand in `kernel`.

use crate::read;
use mxray_model::evidence::TcpMemory;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::Path;

/// `/proc/net/sockstat` has 200 bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Every level by table and name: `TCP.inuse`, `TCP.tw`, `TCP.mem` (pages), `TCP6.inuse`, `sockets.used`.
///
/// `TCP.mem`, `TCP.orphan` and `TCP.alloc` are those of the whole machine, the others of this network namespace (net/ipv4/proc.c).
/// `Unknown` if `sockstat` cannot be read; `sockstat6` is missing where the kernel has no IPv6.
pub fn levels() -> Seen<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for name in ["sockstat", "sockstat6"] {
        let path = Path::new("/proc/thread-self/net").join(name);
        let text = match read::bounded(&path, BYTES_MAX) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if name == "sockstat6" && error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Seen::Unknown(read::blind("read", &path, &error, "root")),
        };
        if let Err(line) = parse(&text, &mut all) {
            let what = path.display().to_string();
            return Seen::Unknown(Blind::NotUnderstood { what, text: untrusted(line.as_bytes()) });
        }
    }
    Seen::Value(all)
}

/// `TCP: inuse 1 orphan 0`: names and numbers in turn. A name without a number is not understood.
fn parse<'a>(text: &'a str, all: &mut BTreeMap<String, u64>) -> Result<(), &'a str> {
    for line in text.lines() {
        let (table, rest) = line.split_once(':').ok_or(line)?;
        let mut words = rest.split_ascii_whitespace();
        while let Some(name) = words.next() {
            let number = words.next().and_then(|word| word.parse().ok()).ok_or(line)?;
            all.insert(format!("{table}.{name}"), number);
        }
    }
    Ok(())
}

/// The limit of a level, by the level's name. `Absent`: the kernel shows none in this namespace.
pub fn limit(level: &str) -> Seen<u64> {
    let (setting, place) = match level {
        // min, pressure, max; above the last one the kernel refuses memory to sockets (tcp(7)).
        "TCP.mem" => ("tcp_mem", 2),
        "UDP.mem" => ("udp_mem", 2),
        "TCP.tw" => ("tcp_max_tw_buckets", 0),
        "TCP.orphan" => ("tcp_max_orphans", 0),
        _ => return Seen::Absent,
    };
    match read::setting(&format!("net/ipv4/{setting}")) {
        Seen::Value(text) => match text.replace("\\t", " ").split_ascii_whitespace().nth(place).map(str::parse) {
            Some(Ok(limit)) => Seen::Value(limit),
            _ => Seen::Unknown(Blind::NotUnderstood { what: format!("net.ipv4.{setting}"), text }),
        },
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// What all TCP sockets of the machine use now, at both ends of a window that has none yet.
///
/// `Absent`: net.ipv4.tcp_mem shows in the machine's own network namespace only (net/ipv4/sysctl_net_ipv4.c).
pub fn tcp_memory() -> Seen<TcpMemory> {
    let marks = match read::setting("net/ipv4/tcp_mem") {
        Seen::Value(text) => text,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let Some((pressure, max)) = tcp_marks(&marks) else {
        return Seen::Unknown(Blind::NotUnderstood { what: "net.ipv4.tcp_mem".to_owned(), text: marks });
    };
    match levels() {
        Seen::Value(levels) => levels.get("TCP.mem").map_or(Seen::Absent, |pages| {
            let page_bytes = rustix::param::page_size() as u64;
            Seen::Value(TcpMemory { first: *pages, last: *pages, pressure, max, page_bytes })
        }),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// min, pressure, max (tcp(7)).
fn tcp_marks(text: &str) -> Option<(u64, u64)> {
    let text = text.replace("\\t", " ");
    let mut words = text.split_ascii_whitespace().skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Both ends of a window.
pub fn tcp_window(first: &Seen<TcpMemory>, last: Seen<TcpMemory>) -> Seen<TcpMemory> {
    let Seen::Value(first) = first else { return first.clone() };
    last.map(|last| TcpMemory { first: first.first, ..last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_the_second_and_the_third() {
        assert_eq!(tcp_marks("46152\\t61538\\t92304"), Some((61_538, 92_304)));
        assert_eq!(tcp_marks("1 2 3"), Some((2, 3)));
        assert_eq!((tcp_marks("1 2"), tcp_marks("")), (None, None));
    }

    #[test]
    fn names_and_numbers_in_turn() {
        let mut all = BTreeMap::new();
        parse("sockets: used 17\nTCP: inuse 1 orphan 0 tw 3\nRAW:\n", &mut all).unwrap();
        let wanted = [("TCP.inuse", 1), ("TCP.orphan", 0), ("TCP.tw", 3), ("sockets.used", 17)];
        assert_eq!(all, wanted.map(|(name, value)| (name.to_owned(), value)).into());
        for bad in ["TCP inuse 1\n", "TCP: inuse\n", "TCP: inuse x\n", "TCP: inuse -1\n"] {
            assert!(parse(bad, &mut BTreeMap::new()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn this_kernel_is_understood() {
        let levels = levels();
        assert!(levels.value().is_some_and(|levels| levels.contains_key("TCP.inuse")), "{levels:?}");
        assert!(limit("TCP.tw").value().is_some_and(|limit| *limit > 0));
        assert!(limit("RAW.inuse").is_absent());
    }
}
