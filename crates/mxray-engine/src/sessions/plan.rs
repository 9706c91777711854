//! What is to be spoken to, from what is already known: own listeners, smarthosts, and whom the operator named. Pure.
//!
//! Nothing is spoken to that expects something else than a client (the PROXY protocol, a filter that hands mail back), and
//! nothing is made worse (a listener whose queue is full). Why not, stands in the plan.

use super::next_hop::next_hop;
use super::{Sessions, Target};
use mxray_model::Seen;
use mxray_model::evidence::{
    AcceptQueue, Evidence, Listener, Master, Owner, Process, Purpose, Server, SessionProtocol, Sockets, TlsMode,
    WantedListener, standard_service,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Own listeners that are spoken to. Hosts with hundreds of addresses have the same service on each.
const OWN_MAX: usize = 64;
/// Smarthosts and targets.
const OTHERS_MAX: usize = 32;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub own: Vec<OwnService>,
    pub others: Vec<Other>,
    /// Who this host says that it is, where no server has a name for it.
    pub ehlo: String,
}

/// A listener of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnService {
    pub server: String,
    pub wanted: String,
    /// The name that its server gives itself.
    pub name: String,
    pub port: u16,
    pub protocol: SessionProtocol,
    pub tls: TlsMode,
    pub purpose: Purpose,
    /// Own addresses by which it can be reached, those that others use first.
    pub reachable: Vec<IpAddr>,
    /// It may hold its greeting back on purpose: waiting longer tells nothing.
    pub pauses: bool,
    /// Why nobody speaks to it. `None`: somebody does.
    pub left_alone: Option<String>,
}

impl OwnService {
    /// The name and the addresses by which a user's client comes, where the name leads here. Otherwise each family's first
    /// address, which then stands for itself.
    pub fn reached_by(&self, resolved: &BTreeMap<String, Vec<IpAddr>>) -> Vec<(String, Vec<IpAddr>)> {
        let by_name = resolved.get(&self.name).into_iter().flatten();
        let by_name: Vec<IpAddr> =
            by_name.copied().filter(|address| !address.is_loopback() && self.reachable.contains(address)).collect();
        if !by_name.is_empty() {
            return vec![(self.name.clone(), by_name)];
        }
        let first = |is_v4: bool| self.reachable.iter().copied().find(|address| address.is_ipv4() == is_v4);
        [first(true), first(false)].into_iter().flatten().map(|address| (address.to_string(), vec![address])).collect()
    }
}

/// A host that is not this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub host: String,
    pub port: u16,
    /// Whoever takes the mail of this name.
    pub by_mx: bool,
    pub protocol: SessionProtocol,
    pub tls: TlsMode,
    pub purpose: Purpose,
    pub why: Role,
    /// The server whose user, source address and name are used.
    pub as_server: Option<String>,
    /// Names that only the hosts file knows count, too.
    pub hosts_file: bool,
}

/// What it is to this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// By what the configuration says: `[smtp.example.com]:587`.
    Smarthost {
        server: String,
        configured: String,
    },
    Exchanger {
        domain: String,
    },
    Asked,
}

/// Makes the plan.
pub(crate) fn plan(evidence: &Evidence, wish: &Sessions) -> Plan {
    let empty = BTreeMap::new();
    let servers = evidence.servers.value().unwrap_or(&empty);
    let enabled = || servers.iter().filter(|(_, server)| server.enabled);
    let mut plan = Plan { ehlo: evidence.vantage.host_name.clone(), ..Plan::default() };
    if let Some(sockets) = evidence.sockets.value() {
        let all = enabled().flat_map(|(instance, server)| {
            server.wanted.iter().filter_map(|(key, wanted)| own(evidence, sockets, (instance, server), (key, wanted)))
        });
        plan.own = all.take(OWN_MAX).collect();
    }
    for (instance, server) in enabled().filter(|(_, server)| server.egress.sends) {
        let hops = server.egress.smarthosts.iter().map(|host| host.value.as_str());
        let hops = hops.filter_map(|text| Some((text, next_hop(&server.software, text)?)));
        plan.others.extend(hops.map(|(text, hop)| Other {
            tls: implicit_at(hop.port),
            purpose: standard_service(hop.port).map_or(Purpose::Relay, |(_, _, purpose)| purpose),
            host: hop.host,
            port: hop.port,
            by_mx: hop.by_mx,
            protocol: SessionProtocol::Smtp,
            why: Role::Smarthost { server: instance.clone(), configured: text.to_owned() },
            as_server: Some(instance.clone()),
            // smtp_host_lookup is `dns` by default (postconf(5)); the others ask the C library.
            hosts_file: server.software != "postfix" || server.setting("smtp_host_lookup").contains("native"),
        }));
    }
    let sender = enabled().find(|(_, server)| server.egress.sends && server.software != "dovecot");
    let as_server = sender.map(|(instance, _)| instance.clone());
    plan.others.extend(wish.targets.iter().map(|target| named(target, as_server.clone())));
    let mut seen = Vec::new();
    plan.others.retain(|other| {
        let is_new = !seen.contains(other);
        seen.push(other.clone());
        is_new
    });
    plan.others.truncate(OTHERS_MAX);
    plan
}

fn implicit_at(port: u16) -> TlsMode {
    if port == 465 { TlsMode::Implicit } else { TlsMode::Starttls }
}

fn named(target: &Target, as_server: Option<String>) -> Other {
    match target {
        Target::Exchangers { domain } => Other {
            host: domain.clone(),
            port: 25,
            by_mx: true,
            protocol: SessionProtocol::Smtp,
            tls: TlsMode::Starttls,
            purpose: Purpose::Relay,
            why: Role::Exchanger { domain: domain.clone() },
            as_server,
            hosts_file: false,
        },
        Target::Service { host, port, protocol, tls, purpose } => Other {
            host: host.clone(),
            port: *port,
            by_mx: false,
            protocol: *protocol,
            tls: *tls,
            purpose: *purpose,
            why: Role::Asked,
            as_server,
            hosts_file: true,
        },
    }
}

/// One own listener. `None`: nothing listens there, which is a finding of its own, or it is no service for sessions.
fn own(
    evidence: &Evidence,
    sockets: &Sockets,
    (instance, server): (&String, &Server),
    (key, wanted): (&String, &WantedListener),
) -> Option<OwnService> {
    let listeners: Vec<&Listener> = sockets.listeners.values().filter(|listener| serves(listener, wanted)).collect();
    if listeners.is_empty() {
        return None;
    }
    let protocol = protocol(server, wanted)?;
    Some(OwnService {
        server: instance.clone(),
        wanted: key.clone(),
        name: server.host_name.trim_end_matches('.').to_ascii_lowercase(),
        port: wanted.port,
        protocol,
        tls: wanted.tls,
        purpose: wanted.purpose,
        reachable: reachable(evidence, &listeners, wanted),
        pauses: pauses(server, wanted),
        left_alone: left_alone(evidence, server, (key, wanted), &listeners),
    })
}

/// Is it one of the sockets that the configuration asks for?
fn serves(listener: &Listener, wanted: &WantedListener) -> bool {
    let is_it = |address: &IpAddr| {
        if !address.is_unspecified() {
            return listener.covers(*address);
        }
        let any4 = address.is_ipv4() && (listener.address.is_ipv4() || takes_both(listener));
        any4 || (address.is_ipv6() && listener.address.is_ipv6())
    };
    listener.protocol == "tcp" && listener.port == wanted.port && wanted.addresses.iter().any(is_it)
}

fn takes_both(listener: &Listener) -> bool {
    listener.address.is_ipv6() && listener.is_wildcard() && listener.v6_only != Seen::Value(true)
}

fn protocol(server: &Server, wanted: &WantedListener) -> Option<SessionProtocol> {
    use SessionProtocol::{Imap, Pop3, Sieve, Smtp};
    match (server.software.as_str(), wanted.command.as_str()) {
        (_, "imap-login" | "imap-urlauth-login") => Some(Imap),
        (_, "pop3-login") => Some(Pop3),
        (_, "managesieve-login") => Some(Sieve),
        (_, "smtpd" | "postscreen" | "submission-login") | ("exim" | "opensmtpd" | "sendmail", _) => Some(Smtp),
        _ => None,
    }
}

/// Own addresses that lead to these sockets and are asked for: those that others use first, loopback last.
fn reachable(evidence: &Evidence, listeners: &[&Listener], wanted: &WantedListener) -> Vec<IpAddr> {
    let asked = |address: &IpAddr| {
        wanted
            .addresses
            .iter()
            .any(|own| own == address || (own.is_unspecified() && own.is_ipv4() == address.is_ipv4()))
    };
    let own = evidence.addresses.value().into_iter().flatten().copied();
    let bound = listeners.iter().map(|listener| listener.address).filter(|address| !address.is_unspecified());
    let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
    // Without a list of own addresses, or with an empty one, loopback is what is left.
    let has_loopback =
        |address: &IpAddr| evidence.addresses.value().is_none_or(|own| own.is_empty() || own.contains(address));
    let all: BTreeSet<IpAddr> = own.chain(bound).chain(loopback.into_iter().filter(has_loopback)).collect();
    let covered = |address: &IpAddr| listeners.iter().any(|listener| listener.covers(*address)) && asked(address);
    let mut found: Vec<IpAddr> =
        all.into_iter().filter(|address| covered(address) && !needs_a_scope(*address)).collect();
    found.sort_by_key(|address| (distance(evidence, *address), *address));
    found
}

/// Link-local addresses mean nothing without an interface.
fn needs_a_scope(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// 0 for addresses that the world can use, 1 for those of inner networks, 2 for loopback.
fn distance(evidence: &Evidence, address: IpAddr) -> u8 {
    let declared = evidence.declared.public_prefixes.iter().filter_map(|text| text.parse().ok());
    let is_public = !mxray_model::special::is_special(address)
        || declared.into_iter().any(|prefix: mxray_model::Prefix| prefix.contains(address));
    match address.is_loopback() {
        true => 2,
        false => u8::from(!is_public),
    }
}

/// postscreen's test of patience, `sleep` among the restrictions, a `delay` in Exim's access lists.
fn pauses(server: &Server, wanted: &WantedListener) -> bool {
    let restrictions = server.setting_of(wanted, "smtpd_client_restrictions");
    let sleeps = restrictions.split([',', ' ', '\t']).any(|word| word == "sleep");
    wanted.command == "postscreen" || sleeps || server.software == "exim"
}

fn left_alone(
    evidence: &Evidence,
    server: &Server,
    (key, wanted): (&String, &WantedListener),
    listeners: &[&Listener],
) -> Option<String> {
    let proxied = |name: &str| !server.setting_of(wanted, name).trim().is_empty();
    if wanted.purpose == Purpose::Internal {
        return Some("it takes mail from programs of this host, not from clients".to_owned());
    }
    let by_postscreen = wanted.command == "postscreen" && proxied("postscreen_upstream_proxy_protocol");
    let by_smtpd = wanted.command == "smtpd" && proxied("smtpd_upstream_proxy_protocol");
    if wanted.overrides.contains_key("haproxy") || by_postscreen || by_smtpd {
        return Some("it expects the PROXY protocol of a front end in front of each session".to_owned());
    }
    if listeners.iter().any(|listener| listener.queue.value().is_some_and(AcceptQueue::is_full)) {
        return Some("its accept queue is full; one more connection would make it worse".to_owned());
    }
    if server.master.value().is_some_and(Master::is_stopped) {
        return Some("its master process is stopped: nobody would answer".to_owned());
    }
    // By service, or, as Dovecot has them, by the program that serves several.
    let mut of_it = [key, &wanted.command].into_iter().filter_map(|name| server.children.value()?.get(name));
    if of_it.any(|children| children.count > 0 && children.stopped == children.count) {
        return Some("all of its processes are stopped: nobody would answer".to_owned());
    }
    let limit = server.children.value().and_then(|children| children.get(key)).and_then(|children| children.limit);
    let load = evidence.sockets.value().and_then(|sockets| sockets.services.get(&wanted.port));
    if limit.zip(load).is_some_and(|(limit, load)| !wanted.multiplexed && load.established >= limit) {
        return Some("as many clients are there as it serves at a time; one more would only wait".to_owned());
    }
    let foreign = listeners.iter().all(|listener| held_by_another(evidence, server, listener));
    foreign.then(|| "another program holds the port".to_owned())
}

/// All of the socket's owners are known, and none of them is the server's.
fn held_by_another(evidence: &Evidence, server: &Server, listener: &Listener) -> bool {
    let (Some(owners), Some(processes)) = (listener.owners.value(), evidence.processes.value()) else { return false };
    let is_another = |process: &Process| match &process.software {
        Seen::Value(software) => *software != server.software,
        Seen::Absent => true,
        Seen::Unknown(_) => false,
    };
    // Process 1 holds the sockets of socket units for whoever it starts.
    let by_another = |owner: &Owner| owner.pid != 1 && processes.mail.get(&owner.pid).is_some_and(is_another);
    !owners.is_empty() && owners.iter().all(by_another)
}

#[cfg(test)]
mod tests;
