//! What mail asks of the packet filters: from the servers' configuration, the listeners and the resolver's files.
//!
//! Pure but for /etc/hosts and /etc/passwd. Which packets that makes is `ask`'s business. A host that asks for nothing is
//! asked about nothing: what no configuration and no listener names, nobody can miss.

use super::around::cgroup_of;
use crate::mta::machine::Machine;
use crate::routes::needs::{self, Need};
use crate::routes::{Known, Tables};
use crate::{names, routes};
use mxray_model::evidence::{
    Endpoint, FileLine, FilterAbout, Listener, NameServer, Purpose, ResolvConf, Resolver, RoutePurpose, Server,
    WantedListener,
};
use mxray_model::special::is_special;
use mxray_model::{Prefix, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Own addresses of each family that are asked about for a listener on all of them. More are pools, and alike to rules.
const ADDRESSES_MAX: usize = 4;
/// Listeners that no mail server's configuration asks for; each is asked about for one stranger of each family.
const OTHER_LISTENERS_MAX: usize = 64;
/// Of all kinds together; each costs a walk through all rules.
const QUESTIONS_MAX: usize = 400;
const DNS: u16 = 53;

/// What is known of the host when its packet filters are asked.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    pub servers: BTreeMap<String, Server>,
    pub listeners: BTreeMap<String, Listener>,
    pub resolver: Resolver,
    pub known: Known,
    /// What sessions found out about smarthosts that are configured by name.
    pub smarthosts: Vec<Smarthost>,
    /// Ports out of which connections are made: the middle of net.ipv4.ip_local_port_range stands for all of them.
    pub local_port: u16,
}

/// A smarthost whose name was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smarthost {
    pub server: String,
    pub host: String,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
}

/// Who sends: what rules can know of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sender {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub cgroup: Option<String>,
}

/// One question, before anybody was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub about: FilterAbout,
    pub server: Option<String>,
    pub protocol: &'static str,
    pub port: u16,
    pub ipv4: bool,
    pub configured: String,
    pub at: Option<FileLine>,
    pub sender: Sender,
    /// Where packets go to, or whom they come from.
    pub peers: Peers,
    /// Addresses that the connections are bound to. Empty: the kernel chooses.
    pub sources: Vec<IpAddr>,
}

/// The other ends of a question's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peers {
    These(Vec<IpAddr>),
    /// All the Internet, by samples.
    Internet,
    /// One of the samples: what the listener is for is nothing that this program knows.
    One,
}

impl Plan {
    /// The question's key in the evidence.
    pub fn key(&self) -> String {
        let (protocol, port) = (self.protocol, self.port);
        let server = self.server.as_deref().unwrap_or("-");
        let family = if self.ipv4 { "IPv4" } else { "IPv6" };
        match &self.about {
            FilterAbout::Enter { to } => format!("in {protocol}/{port} to {to}"),
            FilterAbout::Leave { purpose } if self.configured.is_empty() => {
                format!("out {server} {} {protocol}/{port} over {family}", purpose_word(*purpose))
            }
            FilterAbout::Leave { .. } => format!("out {server} {} {protocol}/{port} over {family}", self.configured),
            FilterAbout::Resolve { server: to } => format!("name server {to} {protocol}/{port} for {server}"),
            FilterAbout::Helper { to } => format!("helper {} at {to} {protocol}/{port} for {server}", self.configured),
        }
    }
}

fn purpose_word(purpose: RoutePurpose) -> &'static str {
    match purpose {
        RoutePurpose::Smarthost => "smarthost",
        RoutePurpose::Transport => "transport",
        RoutePurpose::Connected => "connected",
        RoutePurpose::Target => "target",
        RoutePurpose::Sample | RoutePurpose::Mentioned => "Internet",
    }
}

/// All questions, each once, the weightiest first.
pub(super) fn plan(interest: &Interest, tables: &Tables) -> Vec<Plan> {
    let machine = Machine::names();
    let mut plans = Vec::new();
    for (name, server) in interest.servers.iter().filter(|(_, server)| server.enabled) {
        let sender = sender(server);
        entering(interest, tables, (name, server), &mut plans);
        if server.egress.sends {
            leaving(interest, tables, (name, server), &sender, &machine, &mut plans);
        }
        helpers((name, server), &sender, &machine, &mut plans);
    }
    resolving(interest, &mut plans);
    other_listeners(interest, tables, &mut plans);
    let mut seen = BTreeSet::new();
    plans.retain(|plan| seen.insert(plan.key()));
    plans.truncate(QUESTIONS_MAX);
    plans
}

fn sender(server: &Server) -> Sender {
    let uid = server.egress.account.value().map(|account| account.uid);
    let gid = uid.and_then(|uid| names::primary_group(uid).value().copied());
    Sender { uid, gid, cgroup: server.master.value().and_then(|master| cgroup_of(master.pid)) }
}

/// Ports that a server wants to be reached on by others.
fn entering(interest: &Interest, tables: &Tables, (name, server): (&String, &Server), plans: &mut Vec<Plan>) {
    let reached = |wanted: &WantedListener| wanted.purpose != Purpose::Internal && !wanted.is_loopback_only();
    for (key, wanted) in server.wanted.iter().filter(|(_, wanted)| reached(wanted)) {
        for to in reached_at(&wanted.addresses, interest, tables) {
            plans.push(Plan {
                about: FilterAbout::Enter { to },
                server: Some(name.clone()),
                protocol: "tcp",
                port: wanted.port,
                ipv4: to.is_ipv4(),
                configured: key.clone(),
                at: Some(wanted.at.clone()),
                sender: Sender::default(),
                peers: Peers::Internet,
                sources: Vec::new(),
            });
        }
    }
}

/// Listeners of other programs that are open to more than this machine.
fn other_listeners(interest: &Interest, tables: &Tables, plans: &mut Vec<Plan>) {
    let exposed = interest.listeners.iter().filter(|(_, listener)| !listener.is_loopback());
    for (key, listener) in exposed.take(OTHER_LISTENERS_MAX) {
        let protocol = if listener.protocol == "udp" { "udp" } else { "tcp" };
        let mut addresses = vec![listener.address];
        if listener.is_wildcard() && listener.v6_only == Seen::Value(false) {
            addresses.push(Ipv4Addr::UNSPECIFIED.into());
        }
        for to in reached_at(&addresses, interest, tables) {
            plans.push(Plan {
                about: FilterAbout::Enter { to },
                server: None,
                protocol,
                port: listener.port,
                ipv4: to.is_ipv4(),
                configured: key.clone(),
                at: None,
                sender: Sender::default(),
                peers: Peers::One,
                sources: Vec::new(),
            });
        }
    }
}

/// Own addresses by which strangers reach a listener: where this host has public ones, they come to those.
fn reached_at(asked: &[IpAddr], interest: &Interest, tables: &Tables) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in asked {
        if !address.is_unspecified() {
            let own = address.to_canonical();
            if !own.is_loopback() && tables.addresses.iter().any(|known| known.address == own) {
                found.push(own);
            }
            continue;
        }
        found.extend(own_addresses(address.is_ipv4(), interest, tables));
    }
    let mut seen = BTreeSet::new();
    found.retain(|address| seen.insert(*address));
    found
}

fn own_addresses(ipv4: bool, interest: &Interest, tables: &Tables) -> Vec<IpAddr> {
    const IFA_F_TEMPORARY: u32 = 0x01;
    let usable = tables.addresses.iter().filter(|own| {
        own.address.is_ipv4() == ipv4
            && own.is_beyond_link()
            && !own.is_duplicate()
            && !own.is_tentative()
            // Nobody is told an address that is gone tomorrow (RFC 8981). Of IPv4 the same bit means a second address.
            && (ipv4 || own.flags & IFA_F_TEMPORARY == 0)
    });
    let all: Vec<(IpAddr, u32)> = usable.map(|own| (own.address, own.interface)).collect();
    let public = |address: &IpAddr| is_public(*address, &interest.known.public);
    let mut chosen: Vec<IpAddr> = all.iter().map(|(address, _)| *address).filter(public).collect();
    if chosen.is_empty() && ipv4 {
        // Behind a router that translates: what comes in comes over the interface that leads out.
        let out = default_interface(tables);
        chosen = all.iter().filter(|(_, at)| out.is_none_or(|out| out == *at)).map(|(address, _)| *address).collect();
    }
    chosen.truncate(ADDRESSES_MAX);
    chosen
}

/// The interface of the first IPv4 default route.
fn default_interface(tables: &Tables) -> Option<u32> {
    let route = tables.routes.iter().find(|route| route.is_default() && route.is_ipv4() && !route.hops.is_empty())?;
    route.hops.first().map(|hop| hop.interface)
}

pub(super) fn is_public(address: IpAddr, public: &[Prefix]) -> bool {
    public.iter().any(|prefix| prefix.contains(address)) || !is_special(address)
}

fn leaving(
    interest: &Interest,
    tables: &Tables,
    (name, server): (&String, &Server),
    sender: &Sender,
    machine: &Machine,
    plans: &mut Vec<Plan>,
) {
    let mut add = |purpose: RoutePurpose, port: u16, configured: &str, at: Option<&FileLine>, peers: Peers| {
        for ipv4 in [true, false] {
            let peers = match &peers {
                Peers::These(all) => {
                    let of: Vec<IpAddr> = all.iter().copied().filter(|peer| peer.is_ipv4() == ipv4).collect();
                    if of.is_empty() {
                        continue;
                    }
                    Peers::These(of)
                }
                other => other.clone(),
            };
            let sources = server.egress.sources.iter().map(|source| source.value);
            plans.push(Plan {
                about: FilterAbout::Leave { purpose },
                server: Some(name.clone()),
                protocol: "tcp",
                port,
                ipv4,
                configured: configured.to_owned(),
                at: at.cloned(),
                sender: sender.clone(),
                peers,
                sources: sources
                    .filter(|source| source.is_ipv4() == ipv4 && !source.is_loopback())
                    .take(needs::SOURCES_MAX)
                    .collect(),
            });
        }
    };
    let needs = needs::of_server(server, &interest.known, tables, machine);
    let samples = |need: &Need| matches!(need.purpose, RoutePurpose::Sample | RoutePurpose::Mentioned);
    let mut groups: BTreeMap<(RoutePurpose, String, u16), (Vec<IpAddr>, Option<FileLine>)> = BTreeMap::new();
    for need in needs.iter().filter(|need| !samples(need)) {
        let group = groups.entry((need.purpose, need.configured.clone(), need.port)).or_default();
        group.0.push(need.destination);
        group.1 = need.at.clone();
    }
    for ((purpose, configured, port), (peers, at)) in groups {
        add(purpose, port, &configured, at.as_ref(), Peers::These(peers));
    }
    for smarthost in &server.egress.smarthosts {
        let Some((host, port)) = needs::host_and_port(&smarthost.value) else { continue };
        if machine.resolve(host).is_some() {
            continue;
        }
        // Without brackets it is a domain, and its exchangers have other names.
        let of_it = |known: &&Smarthost| known.server == *name && known.port == port;
        let exact = |known: &&Smarthost| known.host.eq_ignore_ascii_case(host.trim_end_matches('.'));
        let named: Vec<&Smarthost> = interest.smarthosts.iter().filter(of_it).filter(exact).collect();
        let found = if named.is_empty() { interest.smarthosts.iter().filter(of_it).collect() } else { named };
        let addresses: Vec<IpAddr> = found.iter().flat_map(|known| &known.addresses).copied().collect();
        // Wherever it is: what stops all the Internet stops it, too.
        let peers = if addresses.is_empty() { Peers::Internet } else { Peers::These(addresses) };
        add(RoutePurpose::Smarthost, port, &smarthost.value, smarthost.at.as_ref(), peers);
    }
    if server.egress.smarthosts.is_empty() && needs.iter().any(samples) {
        add(RoutePurpose::Sample, 25, "", None, Peers::Internet);
    }
}

/// Services of this machine that the server connects to.
fn helpers((name, server): (&String, &Server), sender: &Sender, machine: &Machine, plans: &mut Vec<Plan>) {
    for (key, helper) in &server.helpers {
        let Endpoint::Inet { host, port } = &helper.endpoint else { continue };
        for to in machine.resolve(host).unwrap_or_default() {
            plans.push(Plan {
                about: FilterAbout::Helper { to },
                server: Some(name.clone()),
                protocol: "tcp",
                port: *port,
                ipv4: to.is_ipv4(),
                configured: key.clone(),
                at: helper.at.clone(),
                sender: sender.clone(),
                peers: Peers::These(vec![to]),
                sources: Vec::new(),
            });
        }
    }
}

/// The name servers that mail servers ask, and those that a resolver of this machine asks for them.
fn resolving(interest: &Interest, plans: &mut Vec<Plan>) {
    let resolver = &interest.resolver;
    for (name, server) in interest.servers.iter().filter(|(_, server)| server.enabled && server.egress.sends) {
        let (files, file) = match &server.egress.root {
            Some(root) => (resolver.roots.get(&root.value), format!("{}/etc/resolv.conf", root.value)),
            None => (Some(&resolver.system), "/etc/resolv.conf".to_owned()),
        };
        let none = ResolvConf::default();
        let conf = match files.map(|files| &files.resolv_conf) {
            Some(Seen::Value(conf)) => conf,
            Some(Seen::Absent) => &none,
            _ => continue,
        };
        // The library asks this machine where the file names nobody.
        let local = NameServer { address: Ipv4Addr::LOCALHOST.into(), zone: None, line: 0 };
        let servers = if conf.nameservers.is_empty() { std::slice::from_ref(&local) } else { &conf.nameservers };
        for one in servers {
            let at = (one.line > 0).then(|| FileLine { file: file.clone(), line: one.line });
            name_server(one.address, Some(name), at, &sender(server), plans);
        }
    }
    let stub = names::account("systemd-resolve").value().map(|account| account.uid);
    let of_stub =
        Sender { uid: stub, gid: stub.and_then(|uid| names::primary_group(uid).value().copied()), cgroup: None };
    for address in resolver.upstream.value().into_iter().flatten() {
        name_server(*address, None, None, &of_stub, plans);
    }
}

fn name_server(address: IpAddr, server: Option<&String>, at: Option<FileLine>, sender: &Sender, plans: &mut Vec<Plan>) {
    for protocol in ["udp", "tcp"] {
        plans.push(Plan {
            about: FilterAbout::Resolve { server: address },
            server: server.cloned(),
            protocol,
            port: DNS,
            ipv4: address.is_ipv4(),
            configured: String::new(),
            at: at.clone(),
            sender: sender.clone(),
            peers: Peers::These(vec![address]),
            sources: Vec::new(),
        });
    }
}

/// The samples of one family, for as many walks as a ruleset of this size allows.
pub(super) fn internet(ipv4: bool, rules: usize) -> Vec<IpAddr> {
    /// Up to here a walk takes some microseconds.
    const SMALL: usize = 2_000;
    const LARGE: usize = 20_000;
    let all: Vec<IpAddr> = if ipv4 {
        routes::needs::SAMPLES4.map(IpAddr::V4).to_vec()
    } else {
        routes::needs::SAMPLES6.map(IpAddr::V6).to_vec()
    };
    let kept = match rules {
        0..SMALL => all.len(),
        SMALL..LARGE => 4,
        _ => 2,
    };
    all.into_iter().take(kept).collect()
}
