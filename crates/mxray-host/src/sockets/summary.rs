//! Two looks at the sockets, summed up as evidence: listeners, load by service, ports used towards destinations.

use super::sample::{ByPort, Sample};
use super::socket::{Protocol, Socket, State};
use super::{Snapshot, Source, stale};
use mxray_model::evidence::{AcceptQueue, Count, Drops, Listener, Load, Owner, PortRange, Sockets, TOP_KEPT, Towards};
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sums up `last`, with `first` for what needs two looks. Without a second look nothing is said of what moved meanwhile.
/// `owners` by inode; who is not in it was not looked for.
pub fn summarise(first: &Sample, last: Option<&Sample>, owners: &BTreeMap<u64, Seen<Vec<Owner>>>) -> Sockets {
    let Some(last) = last else {
        let mut sockets = summarise(first, Some(first), owners);
        sockets.listeners.values_mut().for_each(nothing_moved);
        sockets.services.values_mut().for_each(stale::nothing_moved);
        return sockets;
    };
    let sockets = &last.snapshot.sockets;
    let mut listeners = listeners(first, last, owners);
    let places = Places::of(&listeners, first.snapshot.sockets.iter().chain(sockets));
    let mut services = services(sockets, &places);
    let inbound = |socket: &Socket| places.listener_of(socket).map(|_| socket.local_port);
    stale::fill(&first.snapshot, &last.snapshot, &inbound, owners, &mut services);
    let sent_to = stale::sent_to(&last.snapshot, &inbound);
    queues(first, last, &mut listeners, &places);
    let towards = towards(last, &places);
    let mut states = BTreeMap::new();
    for socket in sockets.iter().filter(|socket| socket.protocol == Protocol::Tcp) {
        *states.entry(socket.state.name().to_owned()).or_default() += 1;
    }
    Sockets { source: source(&last.snapshot), listeners, listeners_left_out: 0, services, towards, sent_to, states }
}

/// Of one look alone: its drops are no rise, and that its connections are still there is no proof that they wait.
fn nothing_moved(listener: &mut Listener) {
    const WHY: &str = "there was no second look to compare with";
    listener.drops = Seen::not_attempted(WHY);
    if let Seen::Value(queue) = &mut listener.queue
        && !queue.drained.is_absent()
    {
        queue.drained = Seen::not_attempted(WHY);
    }
}

fn source(snapshot: &Snapshot) -> String {
    match (snapshot.source, snapshot.torn) {
        (Source::SockDiag, false) => "sock_diag".into(),
        (Source::SockDiag, true) => "sock_diag, a torn view: sockets changed while they were listed".into(),
        (Source::ProcNet, _) => "/proc/net".into(),
    }
}

fn is_listener(socket: &Socket) -> bool {
    match socket.protocol {
        Protocol::Tcp => socket.state == State::Listen,
        // Bound and not connected; port 0 is a socket that has only been created.
        Protocol::Udp => socket.state == State::Unconnected && socket.local_port != 0,
    }
}

/// The same socket in both looks: by the kernel's cookie, else by inode.
pub(super) fn identity(socket: &Socket) -> (u64, u32) {
    if socket.cookie == 0 { (0, socket.inode) } else { (socket.cookie, 0) }
}

fn listeners(first: &Sample, last: &Sample, owners: &BTreeMap<u64, Seen<Vec<Owner>>>) -> BTreeMap<String, Listener> {
    let before: BTreeMap<(u64, u32), &Socket> =
        first.snapshot.sockets.iter().filter(|s| is_listener(s)).map(|s| (identity(s), s)).collect();
    let mut found: Vec<&Socket> = last.snapshot.sockets.iter().filter(|s| is_listener(s)).collect();
    // The kernel's order is that of its hash table; two on one tuple are told apart by who came first.
    found.sort_by_key(|s| (s.protocol, s.local_port, s.local, s.interface, s.cookie, s.inode));
    let mut listeners = BTreeMap::new();
    for socket in found {
        let inode = u64::from(socket.inode);
        let listener = Listener {
            protocol: socket.protocol.name().to_owned(),
            address: socket.local,
            port: socket.local_port,
            v6_only: match (socket.local, socket.v6_only) {
                (IpAddr::V4(_), _) => Seen::Absent,
                (IpAddr::V6(_), Some(only)) => Seen::Value(only),
                (IpAddr::V6(_), None) => without_netlink("whether an IPv6 listener takes IPv4"),
            },
            interface: socket.interface,
            uid: socket.uid,
            inode,
            unit: last.units.name(socket.cgroup),
            owners: owners
                .get(&inode)
                .cloned()
                .unwrap_or_else(|| Seen::not_attempted("this socket's owner was not looked for")),
            queue: queue(socket),
            drops: drops(socket, before.get(&identity(socket)).copied()),
        };
        let key = format!("{}/{}", listener.protocol, std::net::SocketAddr::new(socket.local, socket.local_port));
        let mut free = key.clone();
        let mut number = 1;
        while listeners.contains_key(&free) {
            number += 1;
            free = format!("{key}#{number}");
        }
        listeners.insert(free, listener);
    }
    listeners
}

fn queue(socket: &Socket) -> Seen<AcceptQueue> {
    match (socket.protocol, socket.send_queue) {
        (Protocol::Udp, _) => Seen::Absent,
        // Who waits, and whether the queue moves, is filled in from the connections.
        (Protocol::Tcp, Some(limit)) => Seen::Value(AcceptQueue {
            waiting: socket.receive_queue,
            limit,
            oldest_ms: Seen::Absent,
            drained: Seen::Absent,
        }),
        (Protocol::Tcp, None) => without_netlink("the limit of an accept queue"),
    }
}

/// A listener that was not there at the first look was new, and began with 0.
fn drops(last: &Socket, first: Option<&Socket>) -> Seen<Drops> {
    match (last.drops, first.map(|first| first.drops)) {
        (Some(last), Some(Some(first))) => Seen::Value(Drops { first, last }),
        (Some(last), None) => Seen::Value(Drops { first: 0, last }),
        (None, _) | (Some(_), Some(None)) => Seen::not_attempted("the kernel did not tell this socket's drops"),
    }
}

fn by_port(listeners: &BTreeMap<String, Listener>) -> ByPort<String> {
    let mut by_port: ByPort<String> = BTreeMap::new();
    for (key, listener) in listeners.iter().filter(|(_, listener)| listener.protocol == "tcp") {
        by_port.entry(listener.port).or_default().push(key.clone());
    }
    by_port
}

/// Which listener connections came through, by their own end: asked several times for each of many connections, which
/// share few ends.
struct Places {
    ports: BTreeSet<u16>,
    by_end: BTreeMap<(u16, IpAddr), String>,
}

impl Places {
    fn of<'a>(listeners: &BTreeMap<String, Listener>, sockets: impl Iterator<Item = &'a Socket>) -> Places {
        let by_port = by_port(listeners);
        let mut places = Places { ports: by_port.keys().copied().collect(), by_end: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        for socket in sockets.filter(|socket| is_connection(socket) && by_port.contains_key(&socket.local_port)) {
            let end = (socket.local_port, socket.local);
            if seen.insert(end)
                && let Some(key) = most_exact(socket, listeners, &by_port)
            {
                places.by_end.insert(end, key.to_owned());
            }
        }
        places
    }

    /// `None`: it went out.
    fn listener_of(&self, socket: &Socket) -> Option<&str> {
        // Most outgoing connections are told by their port alone.
        self.ports.contains(&socket.local_port).then_some(())?;
        self.by_end.get(&(socket.local_port, socket.local)).map(String::as_str)
    }
}

/// Of the listeners that cover a connection's address the most exact, which is the kernel's choice too.
fn most_exact<'a>(
    socket: &Socket,
    listeners: &BTreeMap<String, Listener>,
    by_port: &'a ByPort<String>,
) -> Option<&'a str> {
    let here = socket.here();
    let covering = by_port.get(&socket.local_port)?.iter().filter(|key| {
        listeners.get(*key).is_some_and(|listener| listener.covers(here) || listener.covers(socket.local))
    });
    covering.min_by_key(|key| listeners.get(*key).is_some_and(Listener::is_wildcard)).map(String::as_str)
}

pub(super) fn is_connection(socket: &Socket) -> bool {
    socket.protocol == Protocol::Tcp && !matches!(socket.state, State::Listen | State::Unconnected)
}

#[derive(Default)]
struct Tally {
    load: Load,
    peers: BTreeMap<IpAddr, u32>,
    half_open: BTreeMap<IpAddr, u32>,
}

fn services(sockets: &[Socket], places: &Places) -> BTreeMap<u16, Load> {
    let mut tallies: BTreeMap<u16, Tally> = places.ports.iter().map(|port| (*port, Tally::default())).collect();
    for socket in sockets.iter().filter(|socket| is_connection(socket)) {
        if places.listener_of(socket).is_none() {
            continue;
        }
        let Some(tally) = tallies.get_mut(&socket.local_port) else { continue };
        let load = &mut tally.load;
        match socket.state {
            State::Established => {
                *(if socket.waits_for_accept() { &mut load.waiting } else { &mut load.established }) += 1;
                *tally.peers.entry(socket.peer()).or_default() += 1;
            }
            State::SynReceived => {
                load.half_open += 1;
                *tally.half_open.entry(socket.peer()).or_default() += 1;
            }
            State::CloseWait => load.close_wait += 1,
            State::TimeWait => load.time_wait += 1,
            _ => {}
        }
    }
    tallies.into_iter().map(|(port, tally)| (port, tally.into_load())).collect()
}

impl Tally {
    fn into_load(self) -> Load {
        let mut networks: BTreeMap<(IpAddr, u8), u32> = BTreeMap::new();
        for (peer, count) in &self.peers {
            *networks.entry(network(*peer)).or_default() += count;
        }
        Load {
            peers_distinct: count(self.peers.len()),
            half_open_distinct: count(self.half_open.len()),
            peers: top(self.peers.iter().map(|(peer, count)| (peer.to_string(), *count))),
            networks: top(networks.iter().map(|((net, bits), count)| (format!("{net}/{bits}"), *count))),
            half_open_peers: top(self.half_open.iter().map(|(peer, count)| (peer.to_string(), *count))),
            ..self.load
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// /24 of IPv4, /64 of IPv6: what one customer usually has.
pub fn network(address: IpAddr) -> (IpAddr, u8) {
    match address {
        IpAddr::V4(v4) => (IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)), 24),
        IpAddr::V6(v6) => (IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)), 64),
    }
}

/// The largest, in the order of `all` where they are equal.
fn top(all: impl Iterator<Item = (String, u32)>) -> Vec<Count> {
    let mut counts: Vec<Count> = all.map(|(who, count)| Count { who, count }).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.count));
    counts.truncate(TOP_KEPT);
    counts
}

/// Fills in since when the longest one waits, and whether any that waited has left.
fn queues(first: &Sample, last: &Sample, listeners: &mut BTreeMap<String, Listener>, places: &Places) {
    let mut oldest: BTreeMap<String, Option<u32>> = BTreeMap::new();
    let mut waited: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut waits = BTreeSet::new();
    for socket in last.snapshot.sockets.iter().filter(|socket| socket.waits_for_accept()) {
        waits.insert(socket.cookie);
        if let Some(key) = places.listener_of(socket) {
            // Nothing was sent on it, so this is the time since its handshake ended; what the peer sends meanwhile
            // moves last_data_recv and last_ack_recv, but not this.
            let age = last.snapshot.info(socket).and_then(super::TcpInfo::last_data_sent_ms);
            let known = oldest.entry(key.to_owned()).or_default();
            *known = (*known).max(age);
        }
    }
    for socket in first.snapshot.sockets.iter().filter(|socket| socket.waits_for_accept()) {
        if let Some(key) = places.listener_of(socket) {
            waited.entry(key.to_owned()).or_default().insert(socket.cookie);
        }
    }
    let cookies = first.snapshot.source == Source::SockDiag && last.snapshot.source == Source::SockDiag;
    for (key, listener) in listeners {
        let Seen::Value(queue) = &mut listener.queue else { continue };
        // Two on one tuple (SO_REUSEPORT) cannot be told apart by their connections: each gets what is known of both.
        let tuple = key.split('#').next().unwrap_or(key);
        queue.oldest_ms = match oldest.get(tuple).filter(|_| queue.waiting > 0 || !key.contains('#')) {
            Some(Some(age)) => Seen::Value(u64::from(*age)),
            Some(None) => Seen::not_attempted("the kernel did not tell since when connections wait"),
            None if queue.waiting > 0 => Seen::Unknown(Blind::Failed {
                step: format!("find the connections that wait at {key}"),
                error: "they were taken, or reset by their peer, while the list was made".into(),
            }),
            None => Seen::Absent,
        };
        queue.drained = match waited.get(tuple) {
            Some(_) if !cookies => without_netlink("one connection from the next"),
            Some(before) => Seen::Value(before.iter().any(|cookie| !waits.contains(cookie))),
            None => Seen::Absent,
        };
    }
}

#[derive(Default)]
struct Bundle {
    ports: BTreeSet<u16>,
    time_wait: u32,
    connecting: u32,
    units: BTreeMap<Option<u64>, u32>,
}

/// Local ports in use by (source, destination, port): a new connection needs one that is not among them.
fn towards(last: &Sample, places: &Places) -> Vec<Towards> {
    let mut bundles: BTreeMap<(IpAddr, IpAddr, u16), Bundle> = BTreeMap::new();
    for socket in last.snapshot.sockets.iter().filter(|socket| is_connection(socket)) {
        if socket.state == State::SynReceived
            || !is_ephemeral(socket.local_port, &last.local_ports)
            || places.listener_of(socket).is_some()
        {
            continue;
        }
        let bundle = bundles.entry((socket.here(), socket.peer(), socket.remote_port)).or_default();
        bundle.ports.insert(socket.local_port);
        match socket.state {
            // It has no cgroup any more.
            State::TimeWait => bundle.time_wait += 1,
            State::SynSent => bundle.connecting += 1,
            _ => {}
        }
        if socket.cgroup.is_some() {
            *bundle.units.entry(socket.cgroup).or_default() += 1;
        }
    }
    let mut fullest: Vec<_> = bundles.into_iter().collect();
    fullest.sort_by_key(|(_, bundle)| std::cmp::Reverse(bundle.ports.len()));
    fullest.truncate(TOP_KEPT);
    fullest
        .into_iter()
        .map(|((source, destination, port), bundle)| Towards {
            source,
            destination,
            port,
            ports_used: count(bundle.ports.len()),
            time_wait: bundle.time_wait,
            connecting: bundle.connecting,
            units: units(last, &bundle.units),
        })
        .collect()
}

/// Where the range is not known, every port that no listener has may be an ephemeral one.
fn is_ephemeral(port: u16, range: &Seen<PortRange>) -> bool {
    range.value().is_none_or(|range| (range.first..=range.last).contains(&port))
}

fn units(last: &Sample, by_cgroup: &BTreeMap<Option<u64>, u32>) -> Vec<Count> {
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for (cgroup, count) in by_cgroup {
        if let Seen::Value(name) = last.units.name(*cgroup) {
            *names.entry(name).or_default() += count;
        }
    }
    top(names.into_iter())
}

/// What the fallback cannot show.
pub(super) fn without_netlink<T>(what: &str) -> Seen<T> {
    Seen::Unknown(Blind::NotPermitted {
        what: format!("read sockets over netlink (/proc/net does not tell {what})"),
        needs: "netlink sockets allowed for mxray (RestrictAddressFamilies=, a seccomp filter)".to_owned(),
    })
}
