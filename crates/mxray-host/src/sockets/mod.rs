//! Sockets of this network namespace, over `NETLINK_SOCK_DIAG`, else from `/proc/net`.
//!
//! Start at [`scan`] (one list, for `mxray sockets`) and [`sample`] (one look for an examination). `wire` and `procnet`
//! decode bytes and do no I/O, `dump` talks to the kernel, `summary` turns two looks into evidence. What must not live
//! here: processes (that walk is `processes`), judgement (that is `mxray-rules`), any text for a person.

mod dump;
mod procnet;
mod sample;
mod socket;
mod stale;
mod summary;
pub mod tcp_info;
mod wire;

#[cfg(test)]
mod tests;

pub use sample::{Sample, UnixListener, sample, unix_listeners};
pub use socket::{Protocol, Socket, State};
pub use summary::{network, summarise};
pub use tcp_info::TcpInfo;

use crate::cgroup::Units;
use crate::read;
use dump::Keep;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Prefix, Seen};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use wire::InetRequest;

/// A whole `/proc/net/tcp` of the largest host that still works: 150 bytes for each of `dump::SOCKETS_MAX`.
const PROC_NET_BYTES_MAX: u64 = 300 << 20;
/// Not `/proc/net`, which is the first thread's namespace: this thread may have entered another.
const PROC_NET: &str = "/proc/thread-self/net";

/// Where a list came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    SockDiag,
    /// Netlink was refused: no units, no drops, no ages, no accept-queue limits.
    ProcNet,
}

/// Which sockets are wanted. The kernel leaves out what it can; the rest is left out here.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub tcp: bool,
    pub udp: bool,
    /// Bits of [`State::bit`]; 0: all of them.
    pub states: u32,
    /// Local or remote port is one of these; empty: any.
    pub ports: Vec<u16>,
    pub peer: Option<Prefix>,
    /// Fetch `tcp_info`.
    pub info: bool,
    /// Fetch drops and shutdown bits.
    pub memory: bool,
}

/// One list of sockets, in the kernel's order.
#[derive(Debug)]
pub struct Snapshot {
    pub sockets: Vec<Socket>,
    pub source: Source,
    /// Why it is not from netlink, where it is not.
    pub refused: Option<Blind>,
    /// The kernel's tables changed while they were listed, again and again: a socket may be missing or twice.
    pub torn: bool,
    infos: Vec<u8>,
}

impl Snapshot {
    fn empty(source: Source) -> Self {
        Snapshot { sockets: Vec::new(), source, refused: None, torn: false, infos: Vec::new() }
    }

    /// The `tcp_info` of one of its sockets, if asked for and sent.
    pub fn info(&self, socket: &Socket) -> Option<TcpInfo<'_>> {
        let (start, length) = (socket.info.0 as usize, usize::from(socket.info.1));
        if length == 0 {
            return None;
        }
        self.infos.get(start..start + length).map(TcpInfo::new)
    }

    /// Names for the cgroups of its sockets.
    pub fn units(&self) -> Units {
        let mut ids = std::collections::BTreeSet::new();
        let mut last = None;
        // Neighbours often share their cgroup.
        for id in self.sockets.iter().filter_map(|socket| socket.cgroup) {
            if last.replace(id) != Some(id) {
                ids.insert(id);
            }
        }
        match &self.refused {
            Some(_) => Units::unseen("the sockets were read from /proc/net, which does not tell their cgroups"),
            None => Units::resolve(ids),
        }
    }
}

/// Lists TCP and UDP sockets.
///
/// # Errors
/// `Unknown` only when netlink and `/proc/net` both failed; the reason is netlink's.
pub fn scan(query: &Query) -> Result<Snapshot, Blind> {
    let keep = if query.info { Keep::All } else { Keep::Nothing };
    scan_keeping(query, keep)
}

fn scan_keeping(query: &Query, keep: Keep) -> Result<Snapshot, Blind> {
    let mut snapshot = Snapshot::empty(Source::SockDiag);
    let outcome = over_netlink(query, keep, &mut snapshot);
    let mut snapshot = match outcome {
        Ok(()) => snapshot,
        Err(error) => {
            let refused = error.blind();
            let mut fallback = Snapshot::empty(Source::ProcNet);
            if from_proc(Path::new(PROC_NET), query, &mut fallback).is_err() {
                return Err(refused);
            }
            fallback.refused = Some(refused);
            fallback
        }
    };
    snapshot.sockets.retain(|socket| query.wants(socket));
    Ok(snapshot)
}

fn over_netlink(query: &Query, keep: Keep, snapshot: &mut Snapshot) -> Result<(), dump::DumpError> {
    let protocols = [(query.tcp, Protocol::Tcp), (query.udp, Protocol::Udp)];
    for (_, protocol) in protocols.into_iter().filter(|(wanted, _)| *wanted) {
        let states = query.states_of(protocol);
        if states == 0 {
            continue;
        }
        let mut request = InetRequest {
            family: wire::AF_UNSPEC,
            protocol,
            states,
            tcp_info: keep != Keep::Nothing && protocol == Protocol::Tcp,
            memory: query.memory,
            ports: &query.ports,
            peer: query.peer,
        };
        // One walk for both families where the kernel has that (TCP); else one each.
        if protocol == Protocol::Tcp && dump::inet(&request, keep, snapshot).is_ok() {
            continue;
        }
        for family in [wire::AF_INET, wire::AF_INET6] {
            // An IPv6 peer cannot be in the IPv4 table; an IPv4 peer can be in both (mapped).
            if family == wire::AF_INET && query.peer.is_some_and(|peer| peer.address.is_ipv6()) {
                continue;
            }
            request.family = family;
            dump::inet(&request, keep, snapshot)?;
        }
    }
    Ok(())
}

/// Reads the four tables under `net`. A missing IPv6 table means that the kernel has no IPv6.
fn from_proc(net: &Path, query: &Query, snapshot: &mut Snapshot) -> Result<(), Blind> {
    let tables = [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    for (name, protocol) in tables {
        if !(match protocol {
            Protocol::Tcp => query.tcp,
            Protocol::Udp => query.udp,
        }) {
            continue;
        }
        let path = net.join(name);
        let text = match read::bounded(&path, PROC_NET_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.ends_with('6') => continue,
            Err(error) => return Err(read::blind("read", &path, &error, "root")),
        };
        // The kernel gives these tables piece by piece: where sockets come and go meanwhile, a row may come twice.
        let mut known = HashSet::new();
        let once = |socket: Socket| {
            let ends = (socket.local, socket.local_port, socket.remote, socket.remote_port);
            if known.insert((ends, socket.state, socket.inode)) {
                snapshot.push(socket, &[]);
            }
        };
        procnet::inet(protocol, &text, once).map_err(|bad| Blind::NotUnderstood {
            what: format!("{} line {}", path.display(), bad.line),
            text: untrusted(&bad.text),
        })?;
    }
    Ok(())
}

/// TCP listeners of another network namespace, from a process's `net` directory (`/proc/812/net`); this needs no
/// privilege.
///
/// The kernel lists listeners before connections: a table that is cut behind the first connection is whole for us.
pub(crate) fn listeners_below(net: &Path) -> Seen<Vec<Socket>> {
    /// Some 25,000 listeners.
    const BYTES_MAX: u64 = 4 << 20;
    let mut found = Vec::new();
    for name in ["tcp", "tcp6"] {
        let path = net.join(name);
        let mut content = match read::kernel(&path, BYTES_MAX) {
            Seen::Value(content) => content,
            Seen::Absent if name == "tcp6" => continue,
            Seen::Absent => return Seen::Absent,
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        };
        if content.cut {
            let whole = content.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            content.bytes.truncate(whole);
        }
        let mut connections = false;
        let read = procnet::inet(Protocol::Tcp, &content.bytes, |socket| match socket.state {
            State::Listen => found.push(socket),
            _ => connections = true,
        });
        if let Err(bad) = read {
            let what = format!("{} line {}", path.display(), bad.line);
            return Seen::Unknown(Blind::NotUnderstood { what, text: untrusted(&bad.text) });
        }
        if content.cut && !connections {
            return Seen::not_attempted(&format!("{} is longer than {BYTES_MAX} bytes", path.display()));
        }
    }
    Seen::Value(found)
}

impl Query {
    /// What to ask the kernel for. A protocol's impossible states are left out: with any bit beside LISTEN, the kernel
    /// walks the table of all connections.
    fn states_of(&self, protocol: Protocol) -> u32 {
        /// `TCPF_BOUND_INACTIVE`: bound, neither listening nor connected; listed since Linux 6.8.
        const BOUND_INACTIVE: u32 = 1 << 13;
        let all = State::ALL.into_iter().fold(0, |mask, state| mask | state.bit());
        let wanted = if self.states == 0 { all } else { self.states };
        match protocol {
            Protocol::Udp => wanted & (State::Established.bit() | State::Unconnected.bit()),
            Protocol::Tcp if self.states & State::Unconnected.bit() != 0 => {
                wanted & !State::Unconnected.bit() | BOUND_INACTIVE
            }
            Protocol::Tcp => wanted & !State::Unconnected.bit(),
        }
    }

    /// Our own filter: whatever the kernel could leave out, and whatever it could not.
    fn wants(&self, socket: &Socket) -> bool {
        (self.states == 0 || self.states & socket.state.bit() != 0)
            && (self.ports.is_empty()
                || self.ports.contains(&socket.local_port)
                || self.ports.contains(&socket.remote_port))
            && self.peer.is_none_or(|peer| socket.remote_port != 0 && peer.contains(socket.peer()))
    }
}
