//! The rim of `ports plan` and `ports free`: one look at sockets, kernel settings, units and names, joined with what an examination
//! of ports collects. What must not live here: any decision.

use super::facts::{Facts, Holder, Holding, Way};
use super::gather;
use super::wish::{Confinement, LowPorts, Starter};
use crate::config::Config;
use crate::doctor;
use crate::progress::Progress;
use mxray_engine::{Options, Scope, collect};
use mxray_host::baseline::Place;
use mxray_host::processes::{self, Holders};
use mxray_host::routes::Looker;
use mxray_host::sockets::{self, Protocol, Query, Snapshot, Socket, Source, State};
use mxray_host::units::network::{NetworkLimits, network};
use mxray_host::{kernel, names, security, units};
use mxray_model::binding::Binding;
use mxray_model::evidence::{Assignments, Evidence, Owner, Vantage};
use mxray_model::{Blind, Seen, Unseen};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The first Linux that lists bound TCP sockets (commit ae447da6, "bound-inactive").
const BOUND_LISTED_SINCE: (u32, u32) = (6, 8);
const BIND_SERVICE: &str = "cap_net_bind_service";

/// Everything that was seen: the evidence, and the facts that are made of it.
pub struct Look {
    pub evidence: Evidence,
    pub facts: Facts,
}

/// Looks once. Holders' processes are looked up on the ports that `owners_of` says yes to.
pub fn look(
    config: &Config,
    assignments: Seen<Assignments>,
    addresses: &[IpAddr],
    owners_of: &dyn Fn(u16) -> bool,
) -> Look {
    let mut evidence = examine(config, assignments);
    // An examination keeps the socket units of mail; any of them may have a port.
    if !evidence.units.is_absent() {
        let ports: BTreeSet<u16> = (1..=u16::MAX).collect();
        let table = Seen::not_attempted("the processes of units are not needed");
        evidence.units = join_units(evidence.units, units::look(&table, &BTreeSet::new(), &ports));
    }
    let services = names::Services::read();
    let mut facts = Facts {
        asked: gather::asked(&evidence),
        assignments: evidence.assignments.clone(),
        firewall: evidence.firewall.clone(),
        kernel: evidence.kernel.clone(),
        addresses: evidence.addresses.clone(),
        local: local(addresses),
        nonlocal_v4: kernel::nonlocal_bind(false),
        nonlocal_v6: kernel::nonlocal_bind(true),
        has_ipv6: kernel::has_ipv6(),
        bind_v6_only: kernel::bind_v6_only(),
        names: (1..=u16::MAX).filter_map(|port| Some((port, services.name(port)?.to_owned()))).collect(),
        unseen: gather::unseen(&evidence),
        ..Facts::default()
    };
    let processes = evidence.processes.value().into_iter().flat_map(|processes| &processes.mail);
    let software: BTreeMap<u32, String> =
        processes.filter_map(|(pid, process)| Some((*pid, process.software.value()?.clone()))).collect();
    fill_holders(&mut facts, &evidence.vantage, &software, owners_of);
    Look { evidence, facts }
}

/// What an examination of ports collects.
pub fn examine(config: &Config, assignments: Seen<Assignments>) -> Evidence {
    let options = Options {
        deadline: config.settings.doctor.deadline,
        declared: doctor::declared(config),
        baseline: Place { directory: None, learn: false, elsewhere: false },
        sessions: None,
        names: None,
        name_servers: Vec::new(),
        assignments,
        told: None,
        scope: Scope::Ports,
    };
    let progress = RefCell::new(Progress::start());
    let tell = |pending: &BTreeSet<String>| progress.borrow_mut().pending(pending.iter().map(String::as_str));
    collect(&options, &tell)
}

/// What knows the processes of services, with the socket units that it left out.
fn join_units(
    known: Seen<mxray_model::evidence::Units>,
    more: Seen<mxray_model::evidence::Units>,
) -> Seen<mxray_model::evidence::Units> {
    match (known, more) {
        (Seen::Value(mut known), Seen::Value(more)) => {
            for (name, unit) in more.sockets {
                known.sockets.entry(name).or_insert(unit);
            }
            Seen::Value(known)
        }
        (Seen::Value(known), _) => Seen::Value(known),
        (_, more) => more,
    }
}

/// Which of these the kernel's routing calls its own.
pub(super) fn local(addresses: &[IpAddr]) -> BTreeMap<IpAddr, Seen<bool>> {
    let mut looker = Looker::open();
    let asked = addresses.iter().map(IpAddr::to_canonical).filter(|address| !address.is_unspecified());
    asked
        .map(|address| {
            let answer = match &mut looker {
                Ok(looker) => looker.is_local(address).map_err(|error| error.blind()),
                Err(error) => Err(error.blind()),
            };
            (address, answer.map_or_else(Seen::Unknown, Seen::Value))
        })
        .collect()
}

pub(super) fn fill_holders(
    facts: &mut Facts,
    vantage: &Vantage,
    software: &BTreeMap<u32, String>,
    owners_of: &dyn Fn(u16) -> bool,
) {
    let states = State::ALL.into_iter().fold(0, |mask, state| mask | state.bit());
    let snapshot = match sockets::scan(&Query { tcp: true, udp: true, states, ..Query::default() }) {
        Ok(snapshot) => snapshot,
        Err(blind) => {
            facts.unseen.push(unseen("sockets", &blind));
            return facts.holders = Seen::Unknown(blind);
        }
    };
    facts.bound_are_listed = match (&snapshot.refused, snapshot.source) {
        (Some(blind), _) => Seen::Unknown(blind.clone()),
        (None, Source::SockDiag) if lists_bound(&vantage.kernel_release) => Seen::Value(()),
        (None, _) => Seen::not_attempted("this kernel does not list them (Linux 6.8 and later do)"),
    };
    if let Seen::Unknown(blind) = &facts.bound_are_listed {
        facts.unseen.push(unseen("TCP sockets that are bound and do not listen", blind));
    }
    if snapshot.torn {
        let why = "sockets changed while they were listed: one may be missing".to_owned();
        facts.unseen.push(unseen("one consistent moment", &Blind::NotAttempted { why }));
    }
    let found = holders(&snapshot, facts, software, owners_of);
    if let Some(blind) = found.1 {
        facts.unseen.push(unseen("which process holds some sockets", &blind));
    }
    facts.holders = Seen::Value(found.0);
}

fn unseen(what: &str, blind: &Blind) -> Unseen {
    Unseen { what: what.to_owned(), why: blind.why(), needs: blind.needs() }
}

/// Does this kernel show TCP sockets that are bound and do not listen?
pub(super) fn lists_bound(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|word| word.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= BOUND_LISTED_SINCE
}

type ByPort = BTreeMap<u16, Vec<Holder>>;

fn holders(
    snapshot: &Snapshot,
    facts: &Facts,
    software: &BTreeMap<u32, String>,
    owners_of: &dyn Fn(u16) -> bool,
) -> (ByPort, Option<Blind>) {
    let asked = |socket: &&Socket| socket.inode != 0 && owners_of(socket.local_port);
    let inodes: Vec<u32> = snapshot.sockets.iter().filter(asked).map(|socket| socket.inode).collect();
    let walked = (!inodes.is_empty()).then(|| processes::holders(&inodes, None));
    let called = walked.as_ref().map(|walked| processes::names(&walked.pids())).unwrap_or_default();
    let units = snapshot.units();
    let links = Links::of(snapshot);
    let listening: Vec<Binding> = snapshot
        .sockets
        .iter()
        .filter(|socket| socket.state == State::Listen)
        .map(|socket| links.binding(socket))
        .collect();
    let mut found = ByPort::new();
    for socket in snapshot.sockets.iter().filter(|socket| socket.local_port != 0) {
        let binding = links.binding(socket);
        let Some(state) = state(socket, &binding, &listening, facts) else { continue };
        let owners = match &walked {
            Some(walked) if owners_of(socket.local_port) => owners(socket, walked, &called),
            _ => Seen::not_attempted("nobody asked about this port"),
        };
        let unit = units.name(socket.cgroup);
        let pids = owners.value().into_iter().flatten().map(|owner| owner.pid);
        let software = pids.filter_map(|pid| software.get(&pid).cloned()).collect();
        let holder = Holder { binding, state, inode: socket.inode, unit, owners, software };
        found.entry(socket.local_port).or_default().push(holder);
    }
    (found, walked.and_then(|walked| walked.blind))
}

fn owners(socket: &Socket, walked: &Holders, called: &BTreeMap<u32, String>) -> Seen<Vec<Owner>> {
    let found: Vec<Owner> =
        walked.of(socket.inode).filter_map(|pid| Some(Owner { pid, name: called.get(&pid)?.clone() })).collect();
    match &walked.blind {
        _ if !found.is_empty() => Seen::Value(found),
        Some(blind) => Seen::Unknown(blind.clone()),
        None => Seen::Absent,
    }
}

/// `None`: a request socket, which has no port of its own (the listener has).
fn state(socket: &Socket, binding: &Binding, listening: &[Binding], facts: &Facts) -> Option<Holding> {
    Some(match (socket.protocol, socket.state) {
        (Protocol::Udp, _) => Holding::Datagrams { connected: socket.remote_port != 0 },
        (Protocol::Tcp, State::Listen) => Holding::Listens,
        (Protocol::Tcp, State::Unconnected) => Holding::Bound,
        (Protocol::Tcp, State::SynReceived) => return None,
        (Protocol::Tcp, state) => {
            let closing = matches!(state, State::TimeWait | State::FinWait2 | State::LastAck | State::Closing);
            let way = way(socket, binding, listening, facts);
            Holding::Connected { remote: socket.remote, port: socket.remote_port, closing, way }
        }
    })
}

/// Which side opened a connection whose port nobody may listen on any more. A listener that takes its local end is what it came
/// through, even where this host opened it from a port that somebody listens on: the listener refuses the newcomer anyway.
fn way(socket: &Socket, binding: &Binding, listening: &[Binding], facts: &Facts) -> Way {
    let takes = |address: IpAddr, port: u16| listening.iter().any(|one| one.port == port && one.takes(address));
    if takes(binding.address, binding.port) {
        return Way::InListened;
    }
    let in_range = |port: u16| match &facts.kernel.local_ports {
        Seen::Value(range) => (range.first..=range.last).contains(&port),
        Seen::Absent | Seen::Unknown(_) => port >= 32768,
    };
    let peer_is_here =
        facts.addresses.value().is_some_and(|own| own.contains(&socket.peer())) || socket.peer().is_loopback();
    if socket.state == State::SynSent || (peer_is_here && takes(socket.peer(), socket.remote_port)) {
        return Way::Out;
    }
    match (in_range(socket.local_port), in_range(socket.remote_port)) {
        (true, false) => Way::Out,
        (false, true) => Way::InLeft,
        _ => Way::Unknown,
    }
}

/// The interfaces that sockets are bound to, by number.
struct Links(BTreeMap<u32, (String, Option<String>)>);

impl Links {
    fn of(snapshot: &Snapshot) -> Links {
        let bound: BTreeSet<u32> = snapshot.sockets.iter().map(|socket| socket.interface).filter(|i| *i != 0).collect();
        if bound.is_empty() {
            return Links(BTreeMap::new());
        }
        let tables = mxray_host::routes::look().ok();
        let named = |index: u32| {
            let tables = tables.as_ref()?;
            let vrf = tables.links.vrf_of(index).map(|link| link.name.clone());
            Some((index, (tables.links.name(index), vrf)))
        };
        Links(bound.into_iter().filter_map(named).collect())
    }

    fn binding(&self, socket: &Socket) -> Binding {
        let name = || format!("interface {}", socket.interface);
        let (device, vrf) = match (socket.interface, self.0.get(&socket.interface)) {
            (0, _) => (None, None),
            (_, Some((device, vrf))) => (Some(device.clone()), vrf.clone()),
            (_, None) => (Some(name()), None),
        };
        Binding {
            v6_only: socket.v6_only.unwrap_or(false),
            uid: socket.uid,
            device,
            vrf,
            ..Binding::new(socket.protocol.name(), socket.local, socket.local_port)
        }
    }
}

/// What was said about who starts it, with what the system makes of that.
///
/// # Errors
/// No such user, or no such unit.
pub fn starter(user: Option<&str>, unit: Option<&str>, protocol: &str, vantage: &Vantage) -> Result<Starter, String> {
    let unit = unit.map(|unit| if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") });
    let described = unit.as_deref().map(units::describe_one);
    if let (Some(Seen::Absent), Some(name)) = (&described, &unit) {
        return Err(format!("--unit {}: systemd has no such unit here", mxray_model::text::untrusted(name.as_bytes())));
    }
    let limits = unit.as_deref().map(units::limits).unwrap_or(Seen::Absent);
    let of_unit = limits.value().map(|limits| limits.user.clone()).filter(|user| !user.is_empty());
    let assumed = user.is_none() && unit.is_none();
    let name = user.map(str::to_owned).or(of_unit).unwrap_or_else(|| "root".to_owned());
    let (uid, user) = account(&name)?;
    let bounding = limits.value().and_then(|limits| limits.bounding.clone());
    let has = |set: &BTreeSet<String>| set.contains(BIND_SERVICE);
    let at = limits.value().and_then(|limits| limits.at.clone());
    let low_ports = match (&limits, &vantage.bounding) {
        (Seen::Unknown(blind), _) => LowPorts::Unknown { why: blind.why(), needs: blind.needs() },
        _ if bounding.as_ref().is_some_and(|set| !has(set)) => {
            LowPorts::MayNot { because: "CapabilityBoundingSet= of its unit does not have it".to_owned(), at }
        }
        (_, Seen::Value(machine)) if !has(machine) => {
            let because =
                "no process here can get it (the bounding set of this system or container lacks it)".to_owned();
            LowPorts::MayNot { because, at: None }
        }
        _ if uid == 0 => LowPorts::May { because: "it starts as root".to_owned() },
        (Seen::Value(limits), _) if has(&limits.ambient) => {
            LowPorts::May { because: "AmbientCapabilities= of its unit has it".to_owned() }
        }
        _ => LowPorts::MayNot { because: format!("{user} (uid {uid}) does not have it"), at },
    };
    let confined = confinements(unit.as_deref().map_or(Seen::Absent, network), protocol);
    Ok(Starter { uid, user, assumed, unit, low_ports, confined })
}

fn account(text: &str) -> Result<(u32, String), String> {
    if let Ok(uid) = text.parse() {
        return Ok((uid, names::users().remove(&uid).unwrap_or_default()));
    }
    if text == "root" {
        return Ok((0, "root".to_owned()));
    }
    let shown = mxray_model::text::untrusted(text.as_bytes());
    match names::account(text) {
        Seen::Value(account) => Ok((account.uid, account.name)),
        Seen::Absent => Err(format!("{shown}: no such user in /etc/passwd; give its number if it stands elsewhere")),
        Seen::Unknown(blind) => Err(format!("{shown}: {}", blind.why())),
    }
}

/// What beside the kernel decides about its sockets. Without a unit nothing of it is known but what holds for all.
fn confinements(limits: Seen<NetworkLimits>, protocol: &str) -> Vec<Confinement> {
    let mut found = Vec::new();
    let limits = match limits {
        Seen::Value(limits) => limits,
        Seen::Absent => NetworkLimits::default(),
        Seen::Unknown(blind) => {
            found.push(Confinement::Unread(blind));
            NetworkLimits::default()
        }
    };
    found.extend(limits.own_network.map(Confinement::OwnNetwork));
    let families = [(limits.no_ipv4, false), (limits.no_ipv6, true)];
    found.extend(families.into_iter().filter_map(|(line, ipv6)| Some(Confinement::NoFamily { ipv6, line: line? })));
    found.push(Confinement::Bind(limits.bind));
    found.push(Confinement::Addresses(limits.addresses));
    found.push(Confinement::SeLinux(security::selinux()));
    let profile = security::apparmor(limits.program.as_deref(), limits.profile.as_deref(), protocol);
    found.push(Confinement::AppArmor(profile));
    found
}
