//! One look: counters, levels and the drops of every listener, at one moment.

use mxray_host::names::Services;
use mxray_host::sockets::{self, Protocol, Query, Socket, Source, State};
use mxray_host::{kernel, sockstat};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

/// One moment.
#[derive(Debug)]
pub struct Look {
    pub at: Instant,
    pub counters: BTreeMap<String, u64>,
    pub levels: Seen<BTreeMap<String, u64>>,
    pub limits: BTreeMap<String, Seen<u64>>,
    pub listeners: Seen<BTreeMap<Listener, u32>>,
}

/// A socket that waits for peers; the cookie tells it from a later one in its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    pub name: String,
    pub service: Option<String>,
    /// Absent where it was created in the root cgroup.
    pub unit: Option<String>,
    pub cookie: u64,
}

impl Look {
    /// # Errors
    /// The counters cannot be read; everything else may be unknown by itself.
    pub fn now() -> Result<Self, Blind> {
        let at = Instant::now();
        let counters = match kernel::counters() {
            Seen::Value(counters) => counters,
            Seen::Unknown(blind) => return Err(blind),
            Seen::Absent => return Err(Blind::NotAttempted { why: "this kernel has no counters".to_owned() }),
        };
        let levels = sockstat::levels();
        let names = levels.value().into_iter().flat_map(BTreeMap::keys);
        let limits = names.map(|name| (name.clone(), sockstat::limit(name))).collect();
        Ok(Look { at, counters, levels, limits, listeners: listeners() })
    }
}

fn listeners() -> Seen<BTreeMap<Listener, u32>> {
    let states = State::Listen.bit() | State::Unconnected.bit();
    let query = Query { tcp: true, udp: true, states, memory: true, ..Query::default() };
    let snapshot = match sockets::scan(&query) {
        Ok(snapshot) => snapshot,
        Err(blind) => return Seen::Unknown(blind),
    };
    if let (Source::ProcNet, Some(blind)) = (snapshot.source, &snapshot.refused) {
        return Seen::Unknown(blind.clone());
    }
    let units = snapshot.units();
    let services = Services::read();
    let waits = |socket: &&Socket| match socket.protocol {
        Protocol::Tcp => socket.state == State::Listen,
        Protocol::Udp => socket.local_port != 0,
    };
    let row = |socket: &Socket| {
        let name = format!("{}/{}", socket.protocol.name(), SocketAddr::new(socket.local, socket.local_port));
        let listener = Listener {
            name,
            service: services.name(socket.local_port).map(ToOwned::to_owned),
            unit: units.name(socket.cgroup).value().cloned(),
            cookie: socket.cookie,
        };
        Some((listener, socket.drops?))
    };
    Seen::Value(snapshot.sockets.iter().filter(waits).filter_map(row).collect())
}
