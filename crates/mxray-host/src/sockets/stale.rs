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
        let is_gone = info.retransmits().is_none_or(|tries| tries >= GONE_MIN);
        if is_gone || socket.peer().is_loopback() || !carries_data(socket.state) {
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

fn carries_data(state: State) -> bool {
    matches!(state, State::Established | State::CloseWait | State::FinWait1)
}

fn sent(snapshot: &Snapshot, inbound: &dyn Fn(&Socket) -> Option<u16>) -> BTreeMap<u16, Sent> {
    let mut tallies: BTreeMap<u16, Tally> = BTreeMap::new();
    for socket in snapshot.sockets.iter().filter(|s| is_connection(s) && MAIL_TRANSFER_PORTS.contains(&s.local_port)) {
        if let Some(port) = inbound(socket) {
            tallies.entry(port).or_default().add(snapshot, socket);
        }
    }
    tallies.into_iter().map(|(port, tally)| (port, tally.into_sent())).collect()
}

/// What was sent on connections to the mail ports of others, by port.
pub(super) fn sent_to(snapshot: &Snapshot, inbound: &dyn Fn(&Socket) -> Option<u16>) -> BTreeMap<u16, Sent> {
    let mut tallies: BTreeMap<u16, Tally> = BTreeMap::new();
    for socket in snapshot.sockets.iter().filter(|s| is_connection(s) && MAIL_TRANSFER_PORTS.contains(&s.remote_port)) {
        if inbound(socket).is_none() {
            tallies.entry(socket.remote_port).or_default().add(snapshot, socket);
        }
    }
    let sent = tallies.into_iter().map(|(port, tally)| (port, tally.into_sent()));
    sent.filter(|(_, sent)| sent.connections > 0).collect()
}
