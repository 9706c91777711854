//! One look at everything that an examination needs of sockets.

use super::socket::{Protocol, State};
use super::{PROC_NET, PROC_NET_BYTES_MAX, Query, Snapshot, dump, procnet, stale, wire};
use crate::{Units, kernel, read};
use dump::Keep;
use mxray_model::evidence::{AcceptQueue, PortRange};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// TCP in all states, bound UDP, UNIX stream listeners, at one moment.
#[derive(Debug)]
pub struct Sample {
    pub(crate) snapshot: Snapshot,
    pub(crate) units: Units,
    /// The ephemeral range at that moment.
    pub(crate) local_ports: Seen<PortRange>,
    unix: Result<Vec<UnixListener>, Blind>,
}

/// A UNIX stream socket that accepts connections: a milter, a SASL service, a policy daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixListener {
    /// As it was bound, escaped; relative to the directory its process was in. An abstract name begins with `@`.
    pub path: String,
    /// The same, byte for byte; an abstract name begins with a zero byte.
    pub raw_path: Vec<u8>,
    pub inode: u64,
    /// Device and inode of its file, as `stat` gives them, but of the inode the lower 32 bits alone: the kernel tells
    /// no more. `None`: abstract, or read from `/proc/net`. A file of the same path and another inode is a leftover.
    pub file: Option<(u64, u64)>,
    pub queue: Seen<AcceptQueue>,
    pub uid: Seen<u32>,
}

/// Looks once.
///
/// `Unknown` only when neither netlink nor `/proc/net` gave the internet sockets.
pub fn sample() -> Seen<Sample> {
    let query = Query { tcp: true, udp: true, memory: true, ..Query::default() };
    match super::scan_keeping(&query, Keep::Examination) {
        Ok(mut snapshot) => {
            // A connected UDP socket waits for nobody.
            snapshot.sockets.retain(|socket| socket.protocol == Protocol::Tcp || socket.state == State::Unconnected);
            let units = snapshot.units();
            Seen::Value(Sample { snapshot, units, local_ports: kernel::local_ports(), unix: unix_listeners() })
        }
        Err(blind) => Seen::Unknown(blind),
    }
}

impl Sample {
    /// Inodes whose holders an examination wants to know: all listeners, and a few of the connections that should have
    /// ended.
    pub fn wanted_inodes(&self) -> BTreeSet<u64> {
        let mut inodes = self.listener_inodes();
        inodes.extend(stale::inodes(&self.snapshot));
        inodes
    }

    /// Inodes of all listeners: TCP, bound UDP and UNIX.
    pub fn listener_inodes(&self) -> BTreeSet<u64> {
        let inet = self.snapshot.sockets.iter().filter(|socket| {
            socket.state == State::Listen || (socket.protocol == Protocol::Udp && socket.state == State::Unconnected)
        });
        inet.map(|socket| u64::from(socket.inode))
            .chain(self.unix_seen().iter().map(|listener| listener.inode))
            .filter(|inode| *inode != 0)
            .collect()
    }

    /// UNIX stream listeners, by path, as far as they were seen: for looking at them, never for missing one.
    fn unix_seen(&self) -> &[UnixListener] {
        self.unix.as_deref().unwrap_or_default()
    }

    /// UNIX stream listeners, by path, or why they could not be listed.
    pub fn unix(&self) -> Seen<&[UnixListener]> {
        match &self.unix {
            Ok(listeners) => Seen::Value(listeners),
            Err(blind) => Seen::Unknown(blind.clone()),
        }
    }

    /// Some accept queue is not empty: whether it drains, only a later look can tell.
    pub fn anyone_waits(&self) -> bool {
        let inet = self
            .snapshot
            .sockets
            .iter()
            .any(|socket| socket.waits_for_accept() || (socket.state == State::Listen && socket.receive_queue > 0));
        inet || self.unix_seen().iter().any(|listener| listener.queue.value().is_some_and(|queue| queue.waiting > 0))
    }
}

/// Lists UNIX stream listeners, by path.
///
/// # Errors
/// Neither netlink nor `/proc/net/unix` gave them.
pub fn unix_listeners() -> Result<Vec<UnixListener>, Blind> {
    let mut listeners = Vec::new();
    let outcome = dump::unix(State::Listen.bit(), |socket| match socket {
        None => listeners.clear(),
        Some(socket) => listeners.extend(listener(&socket)),
    });
    if let Err(error) = outcome {
        listeners = unix_from_proc(Path::new(PROC_NET)).map_err(|_| error.blind())?;
    }
    listeners.sort_by(|a, b| (&a.raw_path, a.inode).cmp(&(&b.raw_path, b.inode)));
    Ok(listeners)
}

/// `None`: not a named stream socket.
fn listener(socket: &wire::Unix<'_>) -> Option<UnixListener> {
    const SOCK_STREAM: u8 = 1;
    let name = socket.name.filter(|_| socket.kind == SOCK_STREAM)?;
    // The kernel's names of files end with a zero byte, abstract ones begin with it.
    let raw = match name.split_first() {
        Some((0, _)) => name,
        _ => name.strip_suffix(b"\0").unwrap_or(name),
    };
    let queue = match socket.queue {
        Some((waiting, limit)) => Seen::Value(unix_queue(waiting, limit)),
        None => Seen::not_attempted("the kernel did not tell this socket's queue"),
    };
    Some(UnixListener {
        path: shown(raw),
        raw_path: raw.to_vec(),
        inode: u64::from(socket.inode),
        file: socket.file.map(|(device, inode)| (device_number(device), u64::from(inode))),
        queue,
        uid: match socket.uid {
            Some(uid) => Seen::Value(uid),
            None => Seen::not_attempted("the kernel does not tell a UNIX socket's user (before 5.3)"),
        },
    })
}

fn shown(raw: &[u8]) -> String {
    match raw.split_first() {
        Some((0, rest)) => format!("@{}", untrusted(rest)),
        _ => untrusted(raw),
    }
}

/// The kernel's own device number (12 bits major, 20 bits minor) as `stat` gives it.
fn device_number(device: u32) -> u64 {
    rustix::fs::makedev(device >> 20, device & 0xf_ffff)
}

fn unix_queue(waiting: u32, limit: u32) -> AcceptQueue {
    let (oldest_ms, drained) = match waiting {
        0 => (Seen::Absent, Seen::Absent),
        _ => (
            Seen::not_attempted("the kernel keeps no time for connections that wait at a UNIX socket"),
            Seen::not_attempted("connections that wait at a UNIX socket cannot be told apart"),
        ),
    };
    AcceptQueue { waiting, limit, oldest_ms, drained }
}

fn unix_from_proc(net: &Path) -> Result<Vec<UnixListener>, Blind> {
    let path = net.join("unix");
    let text = read::bounded(&path, PROC_NET_BYTES_MAX).map_err(|error| read::blind("read", &path, &error, "root"))?;
    let mut listeners = Vec::new();
    procnet::unix(&text, |line| {
        let mut raw_path = line.path.to_vec();
        // Every zero byte is printed as '@': an abstract name begins with one, and so could a relative path.
        if let Some(first) = raw_path.first_mut().filter(|first| **first == b'@') {
            *first = 0;
        }
        listeners.push(UnixListener {
            path: shown(&raw_path),
            raw_path,
            inode: u64::from(line.inode),
            file: None,
            queue: Seen::not_attempted("/proc/net/unix does not tell accept queues"),
            uid: Seen::not_attempted("/proc/net/unix does not tell users"),
        });
    });
    Ok(listeners)
}

/// Listeners of one port, to tell inbound connections from outbound ones.
pub(crate) type ByPort<T> = BTreeMap<u16, Vec<T>>;
