//! Which collectors run, what waits for what, and how their facts are joined into one evidence.
//!
//! Two looks at sockets and counters, half a second apart, tell what rises from what merely is. Everything that can
//! hang has its own part; every file system, too.

use crate::filters;
use crate::machine::{self, start_clock};
use crate::names::{self, NamesWish};
use crate::parts::{Parts, Pending, Progress};
use crate::resolvers;
use crate::sessions::{self, Found, Sessions};
use crate::surroundings;
use crate::thin;
use crate::told::{self, ToldWish};
use mxray_host::baseline::{self, Now, Place};
use mxray_host::processes::Table;
use mxray_host::programs::Programs;
use mxray_host::sockets::Sample;
use mxray_host::{certificates, files, kernel, mta, processes, routes, signers, sockets, sockstat, software, vantage};
use mxray_model::evidence::{
    Assignments, Baseline, Bystanders, CertificatePair, Declared, Evidence, FileSystem, Kernel, Namespaces, Owner,
    Processes, Routing, Server, Signer, Sockets, TcpMemory, Units,
};
use mxray_model::{Blind, Seen};
use mxray_net::Resolver;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between the two looks, where nothing is suspicious.
const WINDOW: Duration = Duration::from_millis(300);
/// Between the two looks, where connections wait to be accepted: long enough for a living server to take one.
const WINDOW_WHILE_WAITING: Duration = Duration::from_millis(1000);

/// What an examination needs to know from its caller.
#[derive(Debug, Clone)]
pub struct Options {
    /// For the whole run.
    pub deadline: Duration,
    pub declared: Declared,
    /// Where it is kept what is usual here.
    pub baseline: Place,
    /// What is spoken to. `None`: nothing is connected to.
    pub sessions: Option<Sessions>,
    /// What names are asked about. `None`: nothing.
    pub names: Option<NamesWish>,
    /// Name servers instead of the system's.
    pub name_servers: Vec<SocketAddr>,
    /// What this host's mail servers tell. `None`: neither logs nor queues are looked at.
    pub told: Option<ToldWish>,
    /// Who is meant to have which port, as the caller read it.
    pub assignments: Seen<Assignments>,
    /// How much is looked at.
    pub scope: Scope,
}

/// Which collectors run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything that bears on mail.
    #[default]
    Everything,
    /// What bears on who has which port: one look at the sockets, and nothing that takes a window of time.
    Ports,
    /// What names say, and the servers that they name; of this host, only what its signers sign.
    Names,
}

pub(crate) type Servers = Seen<BTreeMap<String, Server>>;
/// Software whose configuration could not be read, and why.
pub(crate) type Unread = BTreeMap<String, Blind>;
pub(crate) type Owners = BTreeMap<u64, Seen<Vec<Owner>>>;
type Counters = Seen<BTreeMap<String, u64>>;

/// Looks at this machine.
pub fn collect(options: &Options, progress: Progress<'_>) -> Evidence {
    match options.scope {
        Scope::Everything => everything(options, progress),
        Scope::Ports => crate::ports::collect(options, progress),
        Scope::Names => crate::domains::collect(options, progress),
    }
}

fn everything(options: &Options, progress: Progress<'_>) -> Evidence {
    let mut parts = Parts::new(options.deadline, progress);
    let begun = Instant::now();
    let vantage = parts.start("vantage", vantage::look);
    let settings = parts.start("kernel", || (kernel::settings(), kernel::counters()));
    let first = parts.start("sockets", sockets::sample);
    let addresses = parts.start("addresses", mta::addresses);
    let table = parts.start("processes", processes::table);
    let programs = Programs::new(parts.margin());
    let readers = start_readers(&mut parts, &programs);
    let rulesets = filters::start(&mut parts, &programs);
    let installed = parts.start("software", software::look);

    let first: Seen<Sample> = flat(parts.wait(first));
    let table: Arc<Seen<Table>> = Arc::new(flat(parts.wait(table)));
    let owners = start_owners(&mut parts, &first, &table);
    let clock = start_clock(&mut parts, &table, &programs);

    let (mut servers, unread) = wait_for_servers(&mut parts, readers);
    let clock = parts.wait(clock);
    let rulesets = flat(parts.wait(rulesets));
    programs.end();
    attach(&mut parts, &mut servers, &table);
    let around = Around::start(&mut parts, &servers, &table);
    let machine = machine::start(&mut parts, &servers, &table);
    let told = options.told.as_ref().map(|wish| told::start(&mut parts, &servers, wish));

    let waiting = first.value().is_some_and(Sample::anyone_waits);
    parts.rest_until(begun + if waiting { WINDOW_WHILE_WAITING } else { WINDOW });
    let window_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let last = parts.start("sockets again", || (sockets::sample(), kernel::counters(), sockstat::tcp_memory()));

    let owners = wait_for_owners(&mut parts, owners);
    let (last, counters_last, tcp_last) = second_look(parts.wait(last));
    let settings = parts.wait(settings);
    let (kernel_settings, counters_first) = settings.unwrap_or_else(|blind| (Kernel::default(), Seen::Unknown(blind)));

    let mut evidence = Evidence {
        vantage: parts.wait(vantage).unwrap_or_else(|blind| vantage::without_files(&blind)),
        declared: options.declared.clone(),
        kernel: kernel_settings,
        unread,
        ..Evidence::default()
    };
    machine::join(&mut parts, &mut evidence, clock, installed, machine);
    let name_servers = options.sessions.is_some().then(|| resolvers::start(&mut parts, &evidence.resolver));
    evidence.kernel.counters = kernel::window(&counters_first, &counters_last);
    evidence.kernel.tcp_memory = sockstat::tcp_window(&evidence.kernel.tcp_memory, tcp_last);
    evidence.kernel.window_ms = window_ms;
    evidence.sockets = summarise(&first, last.as_ref(), &owners);
    let routing = start_routing(&mut parts, &evidence, &servers);
    join_servers(&mut evidence, servers, &first, &owners, &table);
    evidence.addresses = flat(parts.wait(addresses));
    look_outside(&mut parts, &mut evidence, options, Begun { told, routing, around, table: &table });
    evidence.firewall = filters::ask(&mut parts, rulesets, &evidence, known(&evidence));
    // Given by whoever has them.
    evidence.reports = Seen::not_attempted("no reports were given");
    evidence.earlier = Seen::not_attempted("no earlier run was given");
    evidence.resolver_checks = name_servers.and_then(|started| parts.wait(started).ok()).unwrap_or_default();
    evidence.parts.extend(parts.finish());
    evidence
}

/// Parts on their way when the first look at the network begins.
struct Begun<'a> {
    told: Option<told::Told>,
    routing: Pending<Seen<Routing>>,
    around: Around,
    table: &'a Arc<Seen<Table>>,
}

/// Sessions first, since they take longest; then, while they are held, everything that only reads this host; names last,
/// because what was found says which.
fn look_outside(parts: &mut Parts<'_>, evidence: &mut Evidence, options: &Options, begun: Begun<'_>) {
    let sent = kernel::sent();
    begun.told.into_iter().for_each(|told| told.join(parts, evidence));
    let resolver = resolvers::of(&evidence.resolver, options);
    let sessions = start_sessions(parts, evidence, options, &resolver);
    let held = sessions.is_some();
    evidence.baseline = compare(parts, evidence, &options.baseline);
    evidence.routing = flat(parts.wait(begun.routing));
    begun.around.join(parts, evidence, begun.table);
    evidence.assignments = crate::ports::owners(parts, options, evidence);
    let asked = Asked::start(parts, evidence, options, &resolver);
    join_sessions(parts, evidence, sessions);
    if held {
        evidence.kernel.while_connecting = kernel::window(&sent, &kernel::sent());
    }
    asked.join(parts, evidence, &resolver);
}

/// Names that are being asked about, and what was wished for.
pub(crate) struct Asked(Option<(Pending<names::Found>, NamesWish)>);

impl Asked {
    pub fn start(parts: &mut Parts<'_>, evidence: &Evidence, options: &Options, resolver: &Resolver) -> Asked {
        let Some(wish) = &options.names else { return Asked(None) };
        let mut wish = wish.clone();
        // Nobody was named: those to whom mail fails are asked about as if they had been.
        if wish.own && wish.domains.is_empty() && wish.receivers.is_empty() {
            wish.receivers = told::failing_names(evidence);
        }
        let work = names::prepare(evidence, &wish, resolver, parts.margin());
        Asked((!work.is_empty()).then(|| (parts.start("names", move || work.carry_out()), wish)))
    }

    /// Waits, and holds what was published against what the sessions saw. A part that did not come back leaves its facts
    /// unknown.
    pub fn join(self, parts: &mut Parts<'_>, evidence: &mut Evidence, resolver: &Resolver) {
        let Some((pending, wish)) = self.0 else { return };
        let found = match parts.wait(pending) {
            Ok(found) => found,
            Err(blind) => names::Found { names: names::not_back(evidence, &wish, &blind), ..names::Found::default() },
        };
        evidence.lookups.extend(found.lookups);
        evidence.parts.extend(found.crashed);
        evidence.names = found.names;
        told::forget_routed_otherwise(evidence);
        if evidence.names.domains.is_empty() {
            return;
        }
        let (resolver, until) = (resolver.clone(), parts.margin());
        let (own, seen) = (evidence.names.clone(), names::known(evidence));
        let pending = parts.start("DANE", move || names::dane(own, &seen, &wish, &resolver, until));
        if let Ok(found) = parts.wait(pending) {
            evidence.lookups.extend(found.lookups);
            evidence.names = found.names;
        }
    }
}

/// A part that did not come back leaves every owner unknown.
pub(crate) fn wait_for_owners(parts: &mut Parts<'_>, owners: Option<(BTreeSet<u64>, Pending<Owners>)>) -> Owners {
    owners.map_or_else(Owners::new, |(inodes, pending)| {
        let nobody = |blind: Blind| inodes.into_iter().map(|inode| (inode, Seen::Unknown(blind.clone()))).collect();
        parts.wait(pending).unwrap_or_else(nobody)
    })
}

pub(crate) fn start_readers(parts: &mut Parts<'_>, programs: &Programs) -> Vec<(&'static str, Pending<Servers>)> {
    let start = |reader: Box<dyn mta::Reader + Send + Sync>| {
        let (programs, software) = (programs.clone(), reader.software());
        (software, parts.start(&format!("configuration of {software}"), move || reader.servers(&programs)))
    };
    mta::readers().into_iter().map(start).collect()
}

/// What the servers' configuration leads to: files that they name, and what stands around them.
struct Around {
    file_systems: Vec<(String, Pending<Seen<FileSystem>>)>,
    certificates: (certificates::Wanted, Pending<Certificates>),
    signers: Pending<Seen<BTreeMap<String, Signer>>>,
    namespaces: Option<Pending<Seen<Namespaces>>>,
    units: Pending<Seen<Units>>,
    bystanders: Pending<Seen<Bystanders>>,
}

impl Around {
    fn start(parts: &mut Parts<'_>, servers: &Servers, table: &Arc<Seen<Table>>) -> Around {
        Around {
            file_systems: start_file_systems(parts, servers),
            certificates: start_certificates(parts, servers),
            signers: start_signers(parts, table),
            namespaces: surroundings::start(parts, table, servers),
            units: surroundings::start_units(parts, table, servers),
            bystanders: surroundings::start_bystanders(parts, table),
        }
    }

    fn join(self, parts: &mut Parts<'_>, evidence: &mut Evidence, table: &Seen<Table>) {
        let each = self.file_systems.into_iter();
        evidence.file_systems = each.map(|(name, pending)| (name, flat(parts.wait(pending)))).collect();
        evidence.namespaces = surroundings::finish(parts, self.namespaces, table);
        evidence.units = flat(parts.wait(self.units));
        let (wanted, pending) = self.certificates;
        evidence.certificates = parts.wait(pending).unwrap_or_else(|blind| certificates::unread(&wanted, &blind));
        evidence.signers = flat(parts.wait(self.signers));
        evidence.bystanders = surroundings::finish_bystanders(parts, self.bystanders, &evidence.signers);
    }
}

/// What is usual here. Its file may lie on a disk that hangs, so it is a part like any other.
fn compare(parts: &mut Parts<'_>, evidence: &Evidence, place: &Place) -> Seen<Baseline> {
    let sockets = match &evidence.sockets {
        Seen::Value(sockets) => sockets,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let servers = evidence.servers.value().into_iter().flat_map(BTreeMap::values);
    let ports: Vec<u16> = servers.flat_map(|server| server.wanted.values().map(|wanted| wanted.port)).collect();
    let (now, place) = (Now::of(sockets, &ports), place.clone());
    let pending = parts.start("baseline", move || baseline::compare(&place, &now));
    flat(parts.wait(pending))
}

/// Behind the second look at the sockets: what we open ourselves must not be counted as anybody's connection.
pub(crate) fn start_sessions(
    parts: &mut Parts<'_>,
    evidence: &Evidence,
    options: &Options,
    resolver: &Resolver,
) -> Option<Pending<Found>> {
    let mut wish = options.sessions.clone()?;
    // Nobody was named: those to whom mail fails are worth a look.
    if wish.targets.is_empty() {
        wish.targets = told::failing(evidence);
    }
    let work = sessions::prepare(evidence, &wish, resolver, parts.margin());
    (!work.is_empty()).then(|| parts.start("sessions", move || work.hold()))
}

/// A part that did not come back leaves no endpoints; that it was cut off stands among the parts.
pub(crate) fn join_sessions(parts: &mut Parts<'_>, evidence: &mut Evidence, sessions: Option<Pending<Found>>) {
    let Some(Ok(found)) = sessions.map(|pending| parts.wait(pending)) else { return };
    evidence.endpoints = found.endpoints;
    evidence.lookups.extend(found.lookups);
}

/// A part that did not come back leaves its facts unknown.
pub(crate) fn flat<T>(result: Result<Seen<T>, Blind>) -> Seen<T> {
    result.unwrap_or_else(Seen::Unknown)
}

type Second<S> = (S, Counters, Seen<TcpMemory>);

fn second_look(result: Result<Second<Seen<Sample>>, Blind>) -> Second<Option<Sample>> {
    match result {
        Ok((Seen::Value(sample), counters, tcp)) => (Some(sample), counters, tcp),
        Ok((_, counters, tcp)) => (None, counters, tcp),
        Err(blind) => (None, Seen::Unknown(blind.clone()), Seen::Unknown(blind)),
    }
}

/// Who holds the listeners and what is stale, needs neither the servers' configuration nor the second look.
pub(crate) fn start_owners(
    parts: &mut Parts<'_>,
    first: &Seen<Sample>,
    table: &Arc<Seen<Table>>,
) -> Option<(BTreeSet<u64>, Pending<Owners>)> {
    let inodes = first.value()?.wanted_inodes();
    table.value()?;
    let (wanted, table) = (inodes.clone(), Arc::clone(table));
    let pending = parts.start("owners of sockets", move || {
        table.value().map_or_else(Owners::new, |table| processes::owners(table, &wanted, &[]))
    });
    Some((inodes, pending))
}

/// What one reader could not read leaves its software unknown; all of it is unknown only where nobody saw anything.
pub(crate) fn wait_for_servers(
    parts: &mut Parts<'_>,
    readers: Vec<(&'static str, Pending<Servers>)>,
) -> (Servers, Unread) {
    let (mut known, mut unread) = (BTreeMap::new(), Unread::new());
    for (software, pending) in readers {
        match flat(parts.wait(pending)) {
            Seen::Value(more) => known.extend(more),
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                unread.insert(software.to_owned(), blind);
            }
        }
    }
    let servers = match unread.values().next() {
        _ if !known.is_empty() => Seen::Value(known),
        Some(blind) => Seen::Unknown(blind.clone()),
        None => Seen::Absent,
    };
    (servers, unread)
}

pub(crate) fn attach(parts: &mut Parts<'_>, servers: &mut Servers, table: &Arc<Seen<Table>>) {
    let Seen::Value(known) = servers else { return };
    let (mut attached, table) = (known.clone(), Arc::clone(table));
    let pending = parts.start("masters", move || {
        mta::attach(&mut attached, &table);
        attached
    });
    match parts.wait(pending) {
        Ok(attached) => *known = attached,
        Err(blind) => {
            for server in known.values_mut() {
                server.master = Seen::Unknown(blind.clone());
                server.children = Seen::Unknown(blind.clone());
            }
        }
    }
}

type Certificates = BTreeMap<String, CertificatePair>;

fn start_certificates(parts: &mut Parts<'_>, servers: &Servers) -> (certificates::Wanted, Pending<Certificates>) {
    let wanted = servers.value().map(certificates::wanted).unwrap_or_default();
    let own = wanted.clone();
    let pending = parts.start("certificates", move || certificates::read(&own));
    (wanted, pending)
}

pub(crate) fn start_signers(
    parts: &mut Parts<'_>,
    table: &Arc<Seen<Table>>,
) -> Pending<Seen<BTreeMap<String, Signer>>> {
    let table = Arc::clone(table);
    parts.start("signers", move || signers::look(&table))
}

fn start_file_systems(parts: &mut Parts<'_>, servers: &Servers) -> Vec<(String, Pending<Seen<FileSystem>>)> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for server in servers.value().into_iter().flat_map(BTreeMap::values) {
        for (usage, directory) in &server.directories {
            // `queue/deferred` is a part of the queue on a file system of its own.
            let usage = usage.split('/').next().unwrap_or(usage);
            uses.entry(directory.clone()).or_default().insert(usage.to_owned());
        }
    }
    uses.into_iter()
        .map(|(directory, holds)| {
            let name = format!("file system of {directory}");
            let path = directory.clone();
            (directory, parts.start(&name, move || files::file_system(&path, holds)))
        })
        .collect()
}

/// What the kernel would do with mail depends on the servers' users and source addresses, and on where their connections
/// go.
fn start_routing(parts: &mut Parts<'_>, evidence: &Evidence, servers: &Servers) -> Pending<Seen<Routing>> {
    let known = known(evidence);
    let servers = servers.value().cloned().unwrap_or_default();
    parts.start("routes", move || routes::examine(&servers, &known))
}

/// Destinations that routing and packet filters are asked about besides those of the servers' configuration.
pub(crate) fn known(evidence: &Evidence) -> routes::Known {
    /// The busiest; the others differ in nothing that routing knows.
    const TOWARDS_MAX: usize = 16;
    let towards = evidence.sockets.value().into_iter().flat_map(|sockets| &sockets.towards);
    routes::Known {
        targets: evidence.declared.targets.clone(),
        public: evidence.declared.public_prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect(),
        towards: towards.map(|towards| (towards.destination, towards.port)).take(TOWARDS_MAX).collect(),
    }
}

pub(crate) fn summarise(first: &Seen<Sample>, last: Option<&Sample>, owners: &Owners) -> Seen<Sockets> {
    first.as_ref().map(|first| sockets::summarise(first, last, owners))
}

pub(crate) fn join_servers(
    evidence: &mut Evidence,
    servers: Servers,
    first: &Seen<Sample>,
    owners: &Owners,
    table: &Seen<Table>,
) {
    let mut known = match servers {
        Seen::Value(known) => {
            // None is left where what runs has another configuration than the one that was read.
            evidence.servers = Seen::Absent;
            known
        }
        other => {
            evidence.servers = other;
            BTreeMap::new()
        }
    };
    let both = match (first, &evidence.sockets) {
        (Seen::Value(sample), Seen::Value(sockets)) => Seen::Value((sample, sockets)),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        _ => Seen::Absent,
    };
    mta::join_helpers(&mut known, both, owners, table);
    if let Seen::Value(sockets) = &mut evidence.sockets {
        thin::listeners(sockets, &known);
    }
    evidence.others = mta::others(table, &known);
    evidence.processes = describe(table, &known, &evidence.sockets);
    name_listeners(evidence);
    if !known.is_empty() {
        evidence.servers = Seen::Value(known);
    }
}

/// Which listeners belong to the software whose configuration is not read.
fn name_listeners(evidence: &mut Evidence) {
    let (Some(sockets), Some(processes)) = (evidence.sockets.value(), evidence.processes.value()) else { return };
    for (software, other) in &mut evidence.others {
        let is_its = |owner: &Owner| {
            processes.mail.get(&owner.pid).is_some_and(|process| process.software.value() == Some(software))
        };
        let held = sockets.listeners.iter().filter(|(_, l)| l.owners.value().is_some_and(|o| o.iter().any(is_its)));
        other.listeners = held.map(|(key, _)| key.clone()).collect();
    }
}

/// The processes of mail software, and whoever holds a listener.
fn describe(table: &Seen<Table>, servers: &BTreeMap<String, Server>, sockets: &Seen<Sockets>) -> Seen<Processes> {
    table.as_ref().map(|table| {
        let listeners = sockets.value().into_iter().flat_map(|sockets| sockets.listeners.values());
        let holders: BTreeSet<u32> =
            listeners.filter_map(|l| l.owners.value()).flatten().map(|owner| owner.pid).collect();
        let of_mail =
            table.rows.values().filter(|row| mta::software_of(row, servers).value().is_some()).map(|row| row.pid);
        let pids: BTreeSet<u32> = of_mail.chain(holders.iter().copied()).collect();
        let mut all = processes::describe(table, &pids, |row| mta::software_of(row, servers));
        thin::processes(&mut all, &holders);
        all
    })
}
