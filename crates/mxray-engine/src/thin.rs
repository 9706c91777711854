//! What evidence leaves out of very large hosts, so that a report stays a few megabytes: only what no rule would miss.
//!
//! Never left out: a listener on a port that the mail server asks for or depends on, and whoever holds a kept listener.
//! "Not there" keeps its meaning for everything that is judged.

use mxray_model::evidence::{AcceptQueue, Endpoint, Listener, Process, Processes, Server, Sockets};
use std::collections::{BTreeMap, BTreeSet};

/// Listeners that evidence keeps besides those that bear on mail. A large host has a few hundred; any local user can
/// open thousands.
const LISTENERS_MAX: usize = 500;
/// How many processes of one kind (`postfix` `smtpd`) the evidence keeps.
const OF_ONE_KIND_MAX: usize = 12;
/// How many kinds: a process may call itself anything.
const KINDS_MAX: usize = 200;

/// Leaves out listeners beyond the limit, and the load of ports whose listeners are gone.
pub fn listeners(sockets: &mut Sockets, servers: &BTreeMap<String, Server>) {
    if sockets.listeners.len() <= LISTENERS_MAX {
        return;
    }
    let mut ports: BTreeSet<u16> = mxray_host::namespaces::MAIL_PORTS.iter().copied().collect();
    for server in servers.values() {
        ports.extend(server.wanted.values().map(|wanted| wanted.port));
        ports.extend(server.helpers.values().filter_map(|helper| match helper.endpoint {
            Endpoint::Inet { port, .. } => Some(port),
            Endpoint::Unix { .. } => None,
        }));
    }
    let is_full = |listener: &Listener| listener.queue.value().is_some_and(AcceptQueue::is_full);
    let mut room = LISTENERS_MAX;
    let before = sockets.listeners.len();
    sockets.listeners.retain(|_, listener| {
        let bears_on_mail = listener.protocol == "tcp" && (ports.contains(&listener.port) || is_full(listener));
        let fits = room > 0;
        if !bears_on_mail {
            room = room.saturating_sub(1);
        }
        bears_on_mail || fits
    });
    let left_out = before - sockets.listeners.len();
    sockets.listeners_left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    let kept: BTreeSet<u16> = sockets.listeners.values().map(|listener| listener.port).collect();
    sockets.services.retain(|port, _| kept.contains(port));
}

/// A busy server has thousands of like workers: the evidence keeps the holders of listeners, and of each kind the stopped
/// ones first, then those with the most files open.
pub fn processes(processes: &mut Processes, holders: &BTreeSet<u32>) {
    /// Stopped, files open, pid: in the order in which they are worth keeping.
    type Rank = (bool, u64, u32);
    let mut kinds: BTreeMap<(&str, &str), Vec<Rank>> = BTreeMap::new();
    for (pid, process) in &processes.mail {
        let software = process.software.value().map_or("", String::as_str);
        let used = process.descriptors.value().map_or(0, |descriptors| descriptors.used);
        kinds.entry((software, process.name.as_str())).or_default().push((process.is_stopped(), used, *pid));
    }
    let mut kept: BTreeSet<u32> = holders.clone();
    for mut of_a_kind in kinds.into_values().take(KINDS_MAX) {
        of_a_kind.sort_unstable_by(|a, b| b.cmp(a));
        kept.extend(of_a_kind.into_iter().take(OF_ONE_KIND_MAX).map(|(_, _, pid)| pid));
    }
    processes.mail.retain(|pid, _: &mut Process| kept.contains(pid));
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Seen;
    use mxray_model::evidence::Load;

    fn listener(port: u16) -> Listener {
        Listener {
            protocol: "tcp".to_owned(),
            address: "0.0.0.0".parse().unwrap(),
            port,
            v6_only: Seen::Absent,
            uid: 0,
            interface: 0,
            inode: 1,
            unit: Seen::Absent,
            owners: Seen::Absent,
            queue: Seen::Absent,
            drops: Seen::Absent,
        }
    }

    #[test]
    fn what_bears_on_mail_stays_among_thousands() {
        let mut sockets = Sockets::default();
        // By key they stand behind all others, where a plain limit would cut them off.
        for port in (10_000..20_000).chain([25, 587, 993]) {
            sockets.listeners.insert(format!("tcp/{port:05}"), listener(port));
            sockets.services.insert(port, Load::default());
        }
        for (place, port) in [(1, 25), (2, 587), (3, 993)] {
            sockets.listeners.remove(&format!("tcp/{port:05}"));
            sockets.listeners.insert(format!("tcp/z{place}"), listener(port));
        }
        listeners(&mut sockets, &BTreeMap::new());
        assert_eq!(sockets.listeners.len(), LISTENERS_MAX + 3);
        assert_eq!(sockets.listeners_left_out, 10_000 - 500);
        assert_eq!(sockets.services.len(), LISTENERS_MAX + 3);
        assert!(sockets.services.contains_key(&993));
    }

    #[test]
    fn a_usual_host_keeps_all() {
        let all = (1..=500).map(|port| (format!("tcp/{port}"), listener(port))).collect();
        let mut sockets = Sockets { listeners: all, ..Sockets::default() };
        let before = sockets.clone();
        listeners(&mut sockets, &BTreeMap::new());
        assert_eq!(sockets, before);
    }
}
