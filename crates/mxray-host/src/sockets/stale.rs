//! What the kernel's own figures tell of open connections: which should have ended, and how much had to be sent again.
//!
//! Only over netlink: `/proc/net` has no figures. Ports of others are mail's registered ones; whose port is whose here is
//! the caller's knowledge.

use super::socket::{Protocol, Socket, State};
use super::summary::{identity, is_connection, network, without_netlink};
use super::{Snapshot, Source, TcpInfo};
use mxray_model::Seen;
use mxray_model::evidence::{Load, Owner, Sent, Stale};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Ports on which mail is handed over between servers and by users (IANA; 2525 by custom).
const MAIL_TRANSFER_PORTS: [u16; 5] = [24, 25, 465, 587, 2525];
/// Holders are looked for on a few connections of each port: those of one service have few holders.
const INODES_PER_PORT_MAX: usize = 4;
const INODES_MAX: usize = 64;
/// A peer that has not answered this often is taken for gone, not for far away.
const GONE_MIN: u8 = 3;

/// Is its `tcp_info` worth keeping?
pub(super) fn is_of_interest(socket: &Socket) -> bool {
    let mail = |port: u16| MAIL_TRANSFER_PORTS.contains(&port);
    socket.protocol == Protocol::Tcp
        && socket.state != State::Listen
        && (socket.state == State::CloseWait
            || socket.send_queue.is_some_and(|bytes| bytes > 0)
            || mail(socket.local_port)
            || mail(socket.remote_port))
}

/// A few connections of each local port that their peer has ended and no program has closed.
pub(super) fn inodes(snapshot: &Snapshot) -> BTreeSet<u64> {
    let mut per_port: BTreeMap<u16, usize> = BTreeMap::new();
    let aged = snapshot.sockets.iter().filter(|socket| aged(snapshot, socket).is_some());
    let few = aged.filter(|socket| {
        let count = per_port.entry(socket.local_port).or_default();
        *count += 1;
        *count <= INODES_PER_PORT_MAX
    });
    few.map(|socket| u64::from(socket.inode)).take(INODES_MAX).collect()
}

/// Since when at least it is in CLOSE-WAIT, where that is long. The peer's FIN, and every acknowledgement after it, sets
/// `last_ack_recv`.
fn aged(snapshot: &Snapshot, socket: &Socket) -> Option<u64> {
    if socket.protocol != Protocol::Tcp || socket.state != State::CloseWait || socket.inode == 0 {
        return None;
    }
    let info = snapshot.info(socket)?;
    let age = u64::from(info.last_ack_recv_ms()?.min(info.last_data_recv_ms()?));
    (age >= Stale::CLOSE_WAIT_AGED_MS).then_some(age)
}

/// Fills in what is stale and what was sent, for each service. `inbound`: the service that a connection belongs to.
pub(super) fn fill(
    first: &Snapshot,
    last: &Snapshot,
    inbound: &dyn Fn(&Socket) -> Option<u16>,
    owners: &BTreeMap<u64, Seen<Vec<Owner>>>,
    services: &mut BTreeMap<u16, Load>,
) {
    if last.source == Source::ProcNet {
        for load in services.values_mut() {
            load.stale = without_netlink("how long connections have been idle");
            load.sent = without_netlink("how much was sent again");
        }
        return;
    }
    let before: BTreeMap<(u64, u32), &Socket> = first
        .sockets
        .iter()
        .filter(|socket| socket.send_queue.is_some_and(|bytes| bytes > 0))
        .map(|socket| (identity(socket), socket))
        .collect();
    let mut stale: BTreeMap<u16, Stale> = BTreeMap::new();
    let mut held: BTreeMap<u16, Vec<Seen<Vec<Owner>>>> = BTreeMap::new();
    for socket in last.sockets.iter().filter(|socket| is_connection(socket)) {
        let age = aged(last, socket);
        let stuck = before.get(&identity(socket)).is_some_and(|before| is_stuck(first, before, last, socket));
        if age.is_none() && !stuck {
            continue;
        }
        let Some(port) = inbound(socket) else { continue };
        let of_port = stale.entry(port).or_default();
        of_port.send_stuck += u32::from(stuck);
        if let Some(age) = age {
            of_port.close_wait += 1;
            of_port.close_wait_oldest_ms = of_port.close_wait_oldest_ms.max(age);
            held.entry(port).or_default().extend(owners.get(&u64::from(socket.inode)).cloned());
        }
    }
    let sent = sent(last, inbound);
    for (port, load) in services {
        let mut of_port = stale.remove(port).unwrap_or_default();
        of_port.owners = match of_port.close_wait {
            0 => Seen::Absent,
            _ => all_owners(held.remove(port).unwrap_or_default()),
        };
        load.stale = Seen::Value(of_port);
        load.sent = Seen::Value(sent.get(port).cloned().unwrap_or_default());
    }
}

/// Of one look alone, nothing can be said to be stuck.
pub(super) fn nothing_moved(load: &mut Load) {
    if let Seen::Value(stale) = &mut load.stale {
        stale.send_stuck = 0;
    }
}

/// The same bytes wait as before, and the kernel has asked for an answer again and again in vain.
fn is_stuck(first: &Snapshot, before: &Socket, last: &Snapshot, now: &Socket) -> bool {
    let acked = |snapshot: &Snapshot, socket: &Socket| snapshot.info(socket).and_then(TcpInfo::bytes_acked);
    let tries = |info: TcpInfo<'_>| Some(info.retransmits()?.max(info.probes()?).max(info.backoff()?));
    now.send_queue.is_some_and(|bytes| bytes > 0)
        && acked(first, before).is_some_and(|bytes| acked(last, now) == Some(bytes))
        && last.info(now).and_then(tries).is_some_and(|tries| tries >= Stale::UNANSWERED_MIN)
}

/// All different holders; the first reason where none could be named.
fn all_owners(seen: Vec<Seen<Vec<Owner>>>) -> Seen<Vec<Owner>> {
    let mut known: Vec<Owner> = seen.iter().filter_map(Seen::value).flatten().cloned().collect();
    known.sort_by_key(|owner| owner.pid);
    known.dedup_by_key(|owner| owner.pid);
    let blind = seen.into_iter().find(|seen| seen.blind().is_some());
    match blind {
        Some(blind) if known.is_empty() => blind,
        // They were opened between the two looks at descriptors, or are held by nobody that can be seen.
        _ if known.is_empty() => Seen::not_attempted("nobody was seen to hold them"),
        _ => Seen::Value(known),
    }
}

#[derive(Default)]
struct Tally {
    connections: u32,
    segments: u64,
    retransmitted: u64,
    networks: BTreeMap<(IpAddr, u8), (u64, u64)>,
}

impl Tally {
    fn add(&mut self, snapshot: &Snapshot, socket: &Socket) {
        let Some(info) = snapshot.info(socket) else { return };
        let (Some(segments), Some(again)) = (info.data_segs_out(), info.total_retrans()) else { return };
        if info.retransmits().is_none_or(|tries| tries >= GONE_MIN) {
            return;
        }
        // Segments without data (SYN) are sent again, too; no more than all of them can have been.
        let (segments, again) = (u64::from(segments), u64::from(again.min(segments)));
        self.connections += 1;
        self.segments += segments;
        self.retransmitted += again;
        let of_network = self.networks.entry(network(socket.peer())).or_default();
        of_network.0 += segments;
        of_network.1 += again;
    }

    fn into_sent(self) -> Sent {
        let is_lossy = |(segments, again): &&(u64, u64)| *again > 0 && *again * 100 >= *segments * Sent::LOSSY_PERCENT;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Sent {
            connections: self.connections,
            segments: self.segments,
            retransmitted: self.retransmitted,
            networks: count(self.networks.len()),
            networks_lossy: count(self.networks.values().filter(is_lossy).count()),
        }
    }
}

/// It carries data over a path: asked first, for it costs nothing.
fn is_counted(socket: &Socket) -> bool {
    matches!(socket.state, State::Established | State::CloseWait | State::FinWait1)
        && socket.protocol == Protocol::Tcp
        && !socket.peer().is_loopback()
}

fn sent(snapshot: &Snapshot, inbound: &dyn Fn(&Socket) -> Option<u16>) -> BTreeMap<u16, Sent> {
    let mut tallies: BTreeMap<u16, Tally> = BTreeMap::new();
    for socket in snapshot.sockets.iter().filter(|s| MAIL_TRANSFER_PORTS.contains(&s.local_port) && is_counted(s)) {
        if let Some(port) = inbound(socket) {
            tallies.entry(port).or_default().add(snapshot, socket);
        }
    }
    tallies.into_iter().map(|(port, tally)| (port, tally.into_sent())).collect()
}

/// What was sent on connections to the mail ports of others, by port.
pub(super) fn sent_to(snapshot: &Snapshot, inbound: &dyn Fn(&Socket) -> Option<u16>) -> BTreeMap<u16, Sent> {
    let mut tallies: BTreeMap<u16, Tally> = BTreeMap::new();
    for socket in snapshot.sockets.iter().filter(|s| MAIL_TRANSFER_PORTS.contains(&s.remote_port) && is_counted(s)) {
        if inbound(socket).is_none() {
            tallies.entry(socket.remote_port).or_default().add(snapshot, socket);
        }
    }
    let sent = tallies.into_iter().map(|(port, tally)| (port, tally.into_sent()));
    sent.filter(|(_, sent)| sent.connections > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `tcp_info` with these 32-bit fields, and `retransmits` in its byte.
    fn info(retransmits: u8, fields: &[(usize, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; 232];
        bytes[2] = retransmits;
        for (at, value) in fields {
            bytes[*at..*at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    const LAST_DATA_RECV: usize = 52;
    const LAST_ACK_RECV: usize = 56;
    const TOTAL_RETRANS: usize = 100;
    const BYTES_ACKED: usize = 120;
    const DATA_SEGS_OUT: usize = 156;

    fn socket(number: u8, state: State, send_queue: u32) -> Socket {
        Socket {
            protocol: Protocol::Tcp,
            state,
            local: "192.0.2.1".parse().unwrap(),
            local_port: 25,
            remote: IpAddr::from([198, 51, number, 1]),
            remote_port: 40_000,
            interface: 0,
            uid: 0,
            inode: u32::from(number),
            receive_queue: 0,
            send_queue: Some(send_queue),
            cookie: u64::from(number),
            cgroup: None,
            v6_only: None,
            drops: None,
            shutdown: None,
            info: (0, 0),
        }
    }

    fn snapshot(sockets: &[(Socket, Vec<u8>)]) -> Snapshot {
        let mut snapshot = Snapshot::empty(Source::SockDiag);
        for (socket, info) in sockets {
            snapshot.push(*socket, info);
        }
        snapshot
    }

    fn load(first: &Snapshot, last: &Snapshot) -> Load {
        let owners = BTreeMap::from([(1, Seen::Value(vec![Owner { pid: 7, name: "smtpd".to_owned() }]))]);
        let mut services = BTreeMap::from([(25, Load::default())]);
        fill(first, last, &|socket| (socket.local_port == 25).then_some(25), &owners, &mut services);
        services.remove(&25).unwrap()
    }

    #[test]
    fn what_its_peer_ended_a_minute_ago_is_stale_and_its_holder_is_named() {
        let idle = |ms| info(0, &[(LAST_DATA_RECV, 90_000), (LAST_ACK_RECV, ms)]);
        let mut orphan = socket(4, State::CloseWait, 0);
        orphan.inode = 0;
        let now = snapshot(&[
            (socket(1, State::CloseWait, 0), idle(75_000)),
            (socket(2, State::CloseWait, 0), idle(59_999)),
            (socket(3, State::Established, 0), idle(600_000)),
            // Waits for accept: nobody holds it yet.
            (orphan, idle(600_000)),
            // The kernel told nothing of it.
            (socket(5, State::CloseWait, 0), Vec::new()),
        ]);
        let stale = load(&now, &now).stale;
        let stale = stale.value().unwrap();
        assert_eq!((stale.close_wait, stale.close_wait_oldest_ms, stale.send_stuck), (1, 75_000, 0));
        assert_eq!(stale.owners.value().map(|owners| owners[0].pid), Some(7));
        assert_eq!(inodes(&now), BTreeSet::from([1]));
    }

    #[test]
    fn a_send_queue_is_stuck_when_nothing_was_acknowledged_and_the_kernel_has_asked_in_vain() {
        let look = |acked: u32, tries: u8, bytes: u32| {
            snapshot(&[(socket(1, State::Established, bytes), info(tries, &[(BYTES_ACKED, acked)]))])
        };
        let stuck = |first: &Snapshot, last: &Snapshot| load(first, last).stale.value().unwrap().send_stuck;
        assert_eq!(stuck(&look(10, 5, 100), &look(10, 6, 100)), 1);
        assert_eq!(stuck(&look(10, 5, 100), &look(60, 5, 100)), 0);
        assert_eq!(stuck(&look(10, 0, 100), &look(10, 4, 100)), 0);
        assert_eq!(stuck(&look(10, 5, 0), &look(10, 5, 100)), 0);
        let mut one_look = load(&look(10, 6, 100), &look(10, 6, 100));
        nothing_moved(&mut one_look);
        assert_eq!(one_look.stale.value().unwrap().send_stuck, 0);
    }

    #[test]
    fn what_was_sent_again_is_summed_by_network_without_peers_that_have_gone() {
        let sent = |segments, again, tries| info(tries, &[(DATA_SEGS_OUT, segments), (TOTAL_RETRANS, again)]);
        let mut at_home = socket(5, State::Established, 0);
        at_home.remote = "127.0.0.1".parse().unwrap();
        let now = snapshot(&[
            (socket(1, State::Established, 0), sent(100, 2, 0)),
            (socket(2, State::Established, 0), sent(100, 1, 0)),
            // More than all of it: only its SYN was sent again.
            (socket(3, State::Established, 0), sent(0, 3, 0)),
            (socket(4, State::Established, 9), sent(10, 10, 8)),
            (at_home, sent(1000, 500, 0)),
        ]);
        let wanted = Sent { connections: 3, segments: 200, retransmitted: 3, networks: 3, networks_lossy: 1 };
        assert_eq!(load(&now, &now).sent, Seen::Value(wanted.clone()));
        let mut outbound = socket(1, State::Established, 0);
        (outbound.local_port, outbound.remote_port) = (40_000, 25);
        let now = snapshot(&[(outbound, sent(50, 0, 0))]);
        let none_inbound = sent_to(&now, &|_| None);
        assert_eq!((none_inbound[&25].segments, sent_to(&now, &|_| Some(25)).len()), (50, 0));
    }

    #[test]
    fn without_netlink_nothing_is_known() {
        let mut blind = Snapshot::empty(Source::ProcNet);
        blind.push(socket(1, State::CloseWait, 0), &[]);
        let load = load(&blind, &blind);
        assert!(load.stale.blind().is_some() && load.sent.blind().is_some());
    }
}
