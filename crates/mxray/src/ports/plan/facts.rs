//! What decides whether a service gets a port: who holds it, who will ask for it, what was decided about it, and what the
//! kernel is set to. A value; `look` fills it, `decide` reads it. What must not live here: any I/O, any judgement.

use mxray_model::binding::Binding;
use mxray_model::evidence::{Assignments, FileLine, Firewall, Kernel, Owner};
use mxray_model::{Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Everything that is known about the ports of this network namespace.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Sockets by their local port, in the kernel's order. Unknown: the kernel did not list them.
    pub holders: Seen<BTreeMap<u16, Vec<Holder>>>,
    /// The kernel lists TCP sockets that are bound and do not listen (since Linux 6.8, over netlink).
    pub bound_are_listed: Seen<()>,
    /// What configuration asks for at the next start, by port.
    pub asked: BTreeMap<u16, Vec<Asked>>,
    pub assignments: Seen<Assignments>,
    pub firewall: Seen<Firewall>,
    pub kernel: Kernel,
    /// Addresses of this namespace's interfaces.
    pub addresses: Seen<BTreeSet<IpAddr>>,
    /// Of the addresses that were asked about, those that the kernel's routing calls its own: whole networks may be (127.0.0.0/8).
    pub local: BTreeMap<IpAddr, Seen<bool>>,
    /// net.ipv4.ip_nonlocal_bind
    pub nonlocal_v4: Seen<bool>,
    /// net.ipv6.ip_nonlocal_bind
    pub nonlocal_v6: Seen<bool>,
    /// The kernel has IPv6.
    pub has_ipv6: bool,
    /// net.ipv6.bindv6only
    pub bind_v6_only: Seen<bool>,
    /// First names of ports in /etc/services.
    pub names: BTreeMap<u16, String>,
    /// What could not be looked at and bears on every port.
    pub unseen: Vec<Unseen>,
}

/// A socket that has the port now.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Of a connection, its own end. `reuse_port` is not told by the kernel: see [`Facts::shares`].
    pub binding: Binding,
    pub state: Holding,
    pub inode: u32,
    pub unit: Seen<String>,
    /// Not looked up for sockets on ports that nobody asked about.
    pub owners: Seen<Vec<Owner>>,
    /// The mail software that the owners belong to, as far as they do.
    pub software: BTreeSet<String>,
}

/// In which way a socket has its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// TCP, listening.
    Listens,
    /// TCP, bound: neither listening nor connected.
    Bound,
    /// TCP, with a peer.
    Connected { remote: IpAddr, port: u16, closing: bool, way: Way },
    /// UDP; one that has a peer (`connected`) holds its port like any other.
    Datagrams { connected: bool },
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The peer, to a listener that is still there: the listener is what counts.
    InListened,
    /// The peer, to a listener that has gone.
    InLeft,
    /// This host.
    Out,
    /// Either.
    Unknown,
}

/// A listener that configuration asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `postfix`, `haproxy`, `systemd`
    pub software: String,
    /// `smtp/inet`, `frontend smtp`, `dovecot.socket`
    pub service: String,
    pub binding: Binding,
    /// What starts it. Empty: not known.
    pub unit: String,
    /// What makes the next start of the machine start it. `Absent`: nothing does.
    pub at_boot: Seen<String>,
    pub running: Seen<bool>,
    /// A container's published port: DNAT takes the traffic before any listener.
    pub by_dnat: bool,
    pub from_documentation: bool,
    pub at: FileLine,
}

impl Facts {
    /// The sockets on a port.
    pub fn at(&self, port: u16) -> &[Holder] {
        self.holders.value().and_then(|all| all.get(&port)).map_or(&[], Vec::as_slice)
    }

    /// What configuration asks for on a port.
    pub fn asked_at(&self, port: u16) -> &[Asked] {
        self.asked.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Did this listener set SO_REUSEPORT? The kernel does not tell, but two listeners on one tuple prove it for both.
    pub fn shares(&self, holder: &Holder) -> bool {
        let same = |other: &&Holder| {
            let (one, two) = (&holder.binding, &other.binding);
            other.state == holder.state
                && (&one.protocol, one.address, &one.device) == (&two.protocol, two.address, &two.device)
                && (one.v6_only, one.uid) == (two.v6_only, two.uid)
        };
        matches!(holder.state, Holding::Listens) && self.at(holder.binding.port).iter().filter(same).count() > 1
    }
}

impl Holder {
    /// `master (pid 812) of postfix@-.service`, as far as it is known.
    pub fn who(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        let owners = self.owners.value().map_or(&[][..], Vec::as_slice);
        for owner in owners.iter().take(3) {
            names.push(format!("{} (pid {})", owner.name, owner.pid));
        }
        if owners.len() > 3 {
            names.push(format!("{} more", owners.len() - 3));
        }
        let named = names.join(", ");
        match (&self.unit, named.is_empty()) {
            (Seen::Value(unit), false) => format!("{named} of {unit}"),
            (Seen::Value(unit), true) => unit.clone(),
            (_, false) => named,
            (_, true) => format!("a process of uid {} that cannot be seen", self.binding.uid),
        }
    }

    /// `0.0.0.0 port 25/tcp`
    pub fn place(&self) -> String {
        place(&self.binding)
    }
}

/// `0.0.0.0 port 25/tcp`
pub fn place(binding: &Binding) -> String {
    format!("{} port {}/{}", binding.address, binding.port, binding.protocol)
}

/// `127.0.0.1:25`, `[::]:25`
pub fn endpoint(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    }
}
