//! One look at the sockets, joined with units, listeners and (if asked for) processes.

use super::plan::Plan;
use super::{Direction, Sort};
use mxray_host::processes::{self, Holders};
use mxray_host::sockets::{self, Protocol, Query, Snapshot, Socket, Source, State, TcpInfo, UnixListener};
use mxray_host::{Units, names};
use mxray_model::{Blind, Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

/// A longer list that goes into a pipe stays in the kernel's order unless an order is asked for: at 50,000 sockets,
/// sorting and then reading them out of order costs a fifth of the whole.
const SORTED_ALWAYS_MAX: usize = 10_000;

/// Everything that a renderer needs.
pub struct View {
    pub snapshot: Snapshot,
    /// Places in `snapshot.sockets`, filtered and sorted.
    pub order: Vec<u32>,
    pub unix: Vec<UnixListener>,
    pub units: Units,
    pub inbound: Inbound,
    pub owners: Option<Owners>,
    pub unseen: Vec<Remark>,
}

/// Who holds which socket.
pub struct Owners {
    pub holders: Holders,
    pub names: BTreeMap<u32, String>,
    pub users: BTreeMap<u32, String>,
}

/// Something that could not be seen.
pub struct Remark {
    pub what: &'static str,
    pub blind: Blind,
}

impl Remark {
    /// For a person.
    pub fn sentence(&self) -> String {
        let needs = self.blind.needs();
        let needs = if needs.is_empty() { needs } else { format!(" (needs {needs})") };
        format!("not seen: {}: {}{needs}", self.what, self.blind.why())
    }

    /// For a program.
    pub fn row(&self) -> Unseen {
        Unseen { what: self.what.to_owned(), why: self.blind.why(), needs: self.blind.needs() }
    }
}

/// Where a TCP connection came in: a listener's port and an address that it covers.
#[derive(Default)]
pub struct Inbound {
    /// One bit a port, since most sockets need no more than that.
    ports: Vec<u64>,
    listeners: BTreeMap<u16, Vec<(IpAddr, bool)>>,
}

impl Inbound {
    fn new<'a>(listeners: impl Iterator<Item = &'a Socket>) -> Self {
        let mut inbound = Inbound { ports: vec![0; 1024], listeners: BTreeMap::new() };
        for socket in listeners.filter(|socket| socket.state == State::Listen) {
            if let Some(word) = inbound.ports.get_mut(usize::from(socket.local_port / 64)) {
                *word |= 1 << (socket.local_port % 64);
            }
            // Where the kernel does not tell (/proc/net), a wildcard takes both families: the default.
            let v6_only = socket.v6_only.unwrap_or(false);
            inbound.listeners.entry(socket.local_port).or_default().push((socket.local, v6_only));
        }
        inbound
    }

    /// `None`: it waits for peers, or has none.
    pub fn direction(&self, socket: &Socket) -> Option<Direction> {
        if socket.remote_port == 0 {
            return None;
        }
        // Only a listener can have received a SYN, even one that has closed since.
        if socket.state == State::SynReceived || self.covers(socket) {
            return Some(Direction::In);
        }
        Some(Direction::Out)
    }

    fn covers(&self, socket: &Socket) -> bool {
        let port = socket.local_port;
        let is_listened = self.ports.get(usize::from(port / 64)).is_some_and(|word| word & (1 << (port % 64)) != 0);
        if !is_listened || socket.protocol != Protocol::Tcp {
            return false;
        }
        let here = socket.here();
        self.listeners.get(&port).is_some_and(|all| {
            all.iter().any(|(address, v6_only)| match (address, here) {
                (IpAddr::V6(own), IpAddr::V4(_)) if own.is_unspecified() => !v6_only,
                (own, here) => own.to_canonical() == here || (own.is_unspecified() && own.is_ipv4() == here.is_ipv4()),
            })
        })
    }
}

impl View {
    /// Looks once.
    ///
    /// # Errors
    /// The sockets could not be listed at all.
    pub fn look(plan: &Plan) -> Result<Self, Blind> {
        let mut unseen = Vec::new();
        let (snapshot, inbound) = internet(plan, &mut unseen)?;
        let unix = match plan.unix.then(sockets::unix_listeners) {
            None => Vec::new(),
            Some(Ok(listeners)) => listeners,
            Some(Err(blind)) if plan.query.tcp || plan.query.udp => {
                unseen.push(Remark { what: "UNIX sockets", blind });
                Vec::new()
            }
            Some(Err(blind)) => return Err(blind),
        };
        let units = snapshot.units();
        if let Some(blind) = units.blind() {
            unseen.push(Remark { what: "units of sockets", blind: blind.clone() });
        }
        let mut view = View { snapshot, order: Vec::new(), unix, units, inbound, owners: None, unseen };
        view.filter(plan)?;
        if plan.pids {
            view.find_owners(plan);
        }
        if plan.sort.is_some()
            || plan.terminal.is_some()
            || plan.limit != usize::MAX
            || view.order.len() <= SORTED_ALWAYS_MAX
        {
            view.sort(plan.sort);
        }
        Ok(view)
    }

    pub fn sockets(&self) -> impl ExactSizeIterator<Item = &Socket> {
        // Every place in `order` was taken from `sockets` itself.
        self.order.iter().map(|place| &self.snapshot.sockets[*place as usize])
    }

    pub fn info(&self, socket: &Socket) -> Option<TcpInfo<'_>> {
        self.snapshot.info(socket)
    }

    /// Lines that a full list takes.
    pub fn len(&self) -> usize {
        self.order.len() + self.unix.len()
    }

    fn filter(&mut self, plan: &Plan) -> Result<(), Blind> {
        let of_process = match &plan.process {
            Some(glob) => Some(self.held_by(glob)?),
            None => None,
        };
        let of_unit = plan.unit.as_ref().map(|glob| self.in_units(glob));
        let inbound = &self.inbound;
        let wanted = |socket: &Socket| {
            plan.wants(socket)
                && of_process.as_ref().is_none_or(|holders| holders.of(socket.inode).next().is_some())
                && of_unit.as_ref().is_none_or(|ids| socket.cgroup.is_some_and(|id| ids.contains(&id)))
                && plan.direction.is_none_or(|direction| inbound.direction(socket) == Some(direction))
        };
        self.order = (0u32..).zip(&self.snapshot.sockets).filter(|(_, s)| wanted(s)).map(|(place, _)| place).collect();
        if let Some(holders) = of_process {
            self.unix.retain(|unix| u32::try_from(unix.inode).is_ok_and(|inode| holders.of(inode).next().is_some()));
        }
        if plan.direction.is_some() || of_unit.is_some() || !plan.peers.is_empty() || !plan.query.ports.is_empty() {
            // The kernel tells no cgroup of a UNIX socket, and a listener has neither peer nor port nor direction.
            self.unix.clear();
        }
        Ok(())
    }

    /// Walks only the descriptors of processes that have the name.
    fn held_by(&mut self, glob: &super::plan::Glob) -> Result<Holders, Blind> {
        let pids = processes::named(|name| glob.matches(name))?;
        let holders = processes::holders(&self.inodes(self.snapshot.sockets.iter()), Some(&pids));
        let what = "sockets of the processes that are named";
        if let Some(blind @ Blind::NotPermitted { .. }) = &holders.blind {
            self.unseen.push(Remark { what, blind: blind.clone() });
        } else if !processes::all_visible() {
            let needs = "root, or membership of the group that /proc's gid= option names".to_owned();
            let blind = Blind::NotPermitted { what: "/proc is mounted with hidepid".into(), needs };
            self.unseen.push(Remark { what, blind });
        }
        Ok(holders)
    }

    fn in_units(&mut self, glob: &super::plan::Glob) -> HashSet<u64> {
        let ids: BTreeSet<u64> = self.snapshot.sockets.iter().filter_map(|socket| socket.cgroup).collect();
        let unresolved = ids.iter().find(|id| matches!(self.units.name(Some(**id)), Seen::Unknown(_)));
        if let (Some(id), None) = (unresolved, self.units.blind())
            && let Seen::Unknown(blind) = self.units.name(Some(*id))
        {
            self.unseen.push(Remark { what: "units of some sockets", blind });
        }
        ids.into_iter()
            .filter(
                |id| matches!(self.units.borrow(Some(*id)), Some(Seen::Value(name)) if glob.matches(name.as_bytes())),
            )
            .collect()
    }

    fn inodes<'a>(&self, sockets: impl Iterator<Item = &'a Socket>) -> Vec<u32> {
        let unix = self.unix.iter().filter_map(|unix| u32::try_from(unix.inode).ok());
        sockets.map(|socket| socket.inode).chain(unix).filter(|inode| *inode != 0).collect()
    }

    fn find_owners(&mut self, plan: &Plan) {
        let inodes = self.inodes(self.sockets());
        let holders = match &plan.at_once {
            Some(at_once) => processes::holders_at_once(&inodes, at_once),
            None => processes::holders(&inodes, None),
        };
        if let Some(blind) = &holders.blind {
            self.unseen.push(Remark { what: "owners of some sockets", blind: blind.clone() });
        }
        let names = processes::names(&holders.pids());
        self.owners = Some(Owners { holders, names, users: names::users() });
    }

    /// Listeners first, then by port and peer; `by` goes before that.
    fn sort(&mut self, by: Option<Sort>) {
        let View { snapshot, order, units, .. } = self;
        let socket = |place: &u32| &snapshot.sockets[*place as usize];
        // What usually decides fits into one word; the rest is compared only where that is equal.
        let mut keyed: Vec<(u64, u32)> = order.iter().map(|place| (head(socket(place)), *place)).collect();
        let rest = |place: &u32| {
            let s = socket(place);
            (s.local, s.remote, s.remote_port, s.cookie, s.inode)
        };
        keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rest(&a.1).cmp(&rest(&b.1))));
        order.clear();
        order.extend(keyed.into_iter().map(|(_, place)| place));
        // Without the figure: last.
        let largest = |value: Option<u32>| value.map_or(u64::MAX, |value| u64::from(u32::MAX - value));
        let info = |place: &u32| snapshot.info(socket(place));
        match by {
            None | Some(Sort::Local | Sort::Count | Sort::Name) => {}
            Some(Sort::Remote) => order.sort_by_key(|place| (socket(place).peer(), socket(place).remote_port)),
            Some(Sort::State) => order.sort_by_key(|place| socket(place).state),
            Some(Sort::Unit) => order.sort_by_cached_key(|place| {
                let name = units.borrow(socket(place).cgroup).and_then(Seen::value).cloned();
                (name.is_none(), name)
            }),
            Some(Sort::RecvQ) => order.sort_by_key(|place| largest(Some(socket(place).receive_queue))),
            Some(Sort::SendQ) => order.sort_by_key(|place| largest(socket(place).send_queue)),
            Some(Sort::Rtt) => order.sort_by_key(|place| largest(info(place).and_then(TcpInfo::rtt_us))),
            Some(Sort::Retrans) => {
                order.sort_by_key(|place| largest(info(place).and_then(TcpInfo::total_retrans)));
            }
            Some(Sort::Idle) => order.sort_by_key(|place| largest(info(place).and_then(idle_ms))),
        }
    }
}

/// Connection or listener, protocol, local port, and as much of the local address as fits: in the order of the whole.
fn head(socket: &Socket) -> u64 {
    let address = match socket.local {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // Behind all of IPv4.
        IpAddr::V6(v6) => 1 << 32 | u64::from((v6.to_bits() >> 96) as u32),
    };
    u64::from(socket.remote_port != 0) << 63
        | u64::from(socket.protocol == Protocol::Udp) << 62
        | u64::from(socket.local_port) << 33
        | address
}

/// Time since data last moved in either direction.
pub fn idle_ms(info: TcpInfo<'_>) -> Option<u32> {
    match (info.last_data_sent_ms(), info.last_data_recv_ms()) {
        (Some(sent), Some(received)) => Some(sent.min(received)),
        (one, other) => one.or(other),
    }
}

fn internet(plan: &Plan, unseen: &mut Vec<Remark>) -> Result<(Snapshot, Inbound), Blind> {
    let snapshot = sockets::scan(&plan.query)?;
    if let (Source::ProcNet, Some(blind)) = (snapshot.source, &snapshot.refused) {
        unseen.push(Remark { what: "units, drops, TCP figures and accept-queue limits", blind: blind.clone() });
    }
    if snapshot.torn {
        let why = "sockets changed while they were listed: some may be missing or listed twice".to_owned();
        unseen.push(Remark { what: "one consistent moment", blind: Blind::NotAttempted { why } });
    }
    let query = &plan.query;
    let has_listeners = query.tcp
        && (query.states == 0 || query.states & State::Listen.bit() != 0)
        && query.ports.is_empty()
        && query.peer.is_none();
    let inbound = if has_listeners {
        Inbound::new(snapshot.sockets.iter())
    } else if query.tcp {
        // The filter left them out; asking for listeners alone costs next to nothing.
        let listeners = sockets::scan(&Query { tcp: true, states: State::Listen.bit(), ..Query::default() })?;
        Inbound::new(listeners.sockets.iter())
    } else {
        Inbound::default()
    };
    Ok((snapshot, inbound))
}
