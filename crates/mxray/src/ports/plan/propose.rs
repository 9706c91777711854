//! Which port instead: the nearest that is free by all the rules, or one of a range that stays the same from day to day. Pure.

use super::decide::{Decision, Weight, decide};
use super::facts::Facts;
use super::wish::Wish;
use mxray_model::Seen;
use mxray_model::evidence::PortRange;

/// Reasons that hold for every port alike, and so speak against none.
const ALIKE: &[&str] =
    &["unread", "assignments", "address_scope", "address_nonlocal", "selinux", "apparmor", "ip_rules"];

/// A port that nothing speaks against: free now and after a restart, promised to nobody, out of the way of connections.
pub fn is_clear(decision: &Decision) -> bool {
    let speaks_against = |code: &str, weight: Weight| match code {
        code if ALIKE.contains(&code) => false,
        "registered" | "own_assigned" => true,
        "connection_left" | "configured_off" => false,
        _ => weight != Weight::Remark,
    };
    !decision.reasons.iter().any(|reason| speaks_against(reason.code, reason.weight))
}

/// The nearest clear port to the one that was asked for; of two as near, the higher one. A port below the first unprivileged one
/// is offered only to a service that asked for one.
pub fn nearest(wish: &Wish, facts: &Facts) -> Option<u16> {
    let start = match facts.kernel.unprivileged_port_start {
        Seen::Value(start) => start,
        Seen::Absent | Seen::Unknown(_) => 1024,
    };
    let low_is_fine = u32::from(wish.port) < start;
    let both = |distance: u16| [wish.port.checked_add(distance), wish.port.checked_sub(distance)];
    (1..=u16::MAX)
        .flat_map(both)
        .flatten()
        .filter(|port| *port != 0 && (low_is_fine || u32::from(*port) >= start))
        .find(|port| is_clear(&decide(&wish.on(*port), facts)))
}

/// A port of the range for a service that does not care which: what it has already, else one that follows from its name, so that
/// it is the same one every time and two services rarely meet.
///
/// In the ephemeral range a port is taken all the same, since it is reserved then.
pub fn dynamic(wish: &Wish, range: PortRange, facts: &Facts) -> Option<(u16, &'static str)> {
    let ports = range.ports();
    let fits = |port: u16| {
        let decision = decide(&wish.on(port), facts);
        decision.reasons.iter().all(|reason| {
            matches!(reason.code, "ephemeral" | "own" | "own_configured" | "own_assigned")
                || ALIKE.contains(&reason.code)
                || (reason.weight == Weight::Remark && reason.code != "registered")
        })
    };
    let decided = facts.assignments.value().into_iter().flat_map(|all| &all.services).find_map(|(name, entry)| {
        let (first, last) = entry.ports;
        let unit = (!entry.owner.unit.is_empty()).then_some(entry.owner.unit.as_str());
        let inside = first == last && (range.first..=range.last).contains(&first);
        (inside && entry.protocol == wish.protocol && wish.is(unit, &[name])).then_some(first)
    });
    if let Some(port) = decided.filter(|port| fits(*port)) {
        return Some((port, "it is assigned to the service"));
    }
    let start = u32::try_from(hash(&wish.service) % u64::from(ports)).unwrap_or(0);
    (0..ports)
        .filter_map(|step| u16::try_from(u32::from(range.first) + (start + step) % ports).ok())
        .find(|port| fits(*port))
        .map(|port| (port, "it follows from the service's name"))
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What has to be set so that no connection takes the port: the sysctl replaces the whole list, so what stands there now is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The line of a file in /etc/sysctl.d.
    pub line: String,
    pub command: String,
    /// What stands there now could not be read, so it may be lost.
    pub incomplete: bool,
}

/// `None`: the port is out of the kernel's range, or reserved already.
pub fn reservation(port: u16, facts: &Facts) -> Option<Reservation> {
    const SETTING: &str = "net.ipv4.ip_local_reserved_ports";
    let in_range = match &facts.kernel.local_ports {
        Seen::Value(range) => (range.first..=range.last).contains(&port),
        // Where the range is not known, a reservation does no harm.
        Seen::Absent | Seen::Unknown(_) => true,
    };
    let (now, incomplete) = match &facts.kernel.reserved_ports {
        Seen::Value(now) => (now.clone(), false),
        Seen::Absent => (Vec::new(), false),
        Seen::Unknown(_) => (Vec::new(), true),
    };
    if !in_range || now.iter().any(|kept| (kept.first..=kept.last).contains(&port)) {
        return None;
    }
    let list = merged(now, port);
    Some(Reservation {
        line: format!("{SETTING} = {list}"),
        command: format!("sysctl -w {SETTING}={list}"),
        incomplete,
    })
}

fn merged(mut ranges: Vec<PortRange>, port: u16) -> String {
    ranges.push(PortRange { first: port, last: port });
    ranges.sort_by_key(|range| (range.first, range.last));
    let mut joined: Vec<PortRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => last.last = last.last.max(range.last),
            _ => joined.push(range),
        }
    }
    let words: Vec<String> = joined
        .iter()
        .map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    #[test]
    fn the_list_that_is_set_keeps_what_stood_there() {
        let mut facts = Facts::default();
        facts.kernel.local_ports = Seen::Value(range(32768, 60999));
        facts.kernel.reserved_ports = Seen::Value(vec![range(40000, 40009), range(50000, 50000)]);
        let set = reservation(40010, &facts).unwrap();
        assert_eq!(set.line, "net.ipv4.ip_local_reserved_ports = 40000-40010,50000");
        assert!(!set.incomplete);
        assert_eq!(reservation(40005, &facts), None);
        assert_eq!(reservation(2525, &facts), None);
        assert!(reservation(65535, &facts).is_none());
        facts.kernel.reserved_ports = Seen::not_attempted("test");
        assert!(reservation(40005, &facts).unwrap().incomplete);
    }

    #[test]
    fn neighbours_and_overlaps_become_one() {
        assert_eq!(merged(vec![range(5, 9), range(7, 12), range(65535, 65535)], 65534), "5-12,65534-65535");
        assert_eq!(merged(Vec::new(), 1), "1");
    }
}
