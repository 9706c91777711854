//! Sessions of an examination: own services as a user's client meets them, the smarthosts, and whoever was named.
//!
//! What is spoken to is planned by `plan.rs` from evidence alone; here the plan is carried out, side by side, until one
//! moment for all. What did not come until then is unknown with that reason. Nothing is judged here, no message is begun
//! (EHLO, STARTTLS, a login where the operator gave one to us or to the server, QUIT), and whoever is slow holds nobody else.

mod login;
mod next_hop;
mod plan;
mod reference;

use crate::cut_short::{self, Cut};
use login::{note_untried, smarthost_login};
use mxray_host::mta;
use mxray_host::names::primary_group;
use mxray_model::evidence::{
    CertificateProblem, DialOutcome, EndpointWhy, Evidence, ExaminedAddress, ExaminedEndpoint, Lookup, Purpose,
    RecordData, Server, SessionProtocol, TlsMode,
};
use mxray_model::session::Depth;
use mxray_model::{Blind, Question, Seen, Unseen};
use mxray_net::{Beyond, Dialler, Examination, Resolver, Tools, User, as_user, examine};
use mxray_wire::Auth;
use mxray_wire::sasl::Login;
use plan::{Other, OwnService, Plan, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

/// For names: a resolver that is dead or slow must leave time for the sessions.
const NAMES: Duration = Duration::from_millis(1500);
/// For sessions: a person waits for the whole of it.
const SESSIONS: Duration = Duration::from_secs(4);
/// Exchangers of one domain that are connected to, the most preferred first. Large providers publish fewer.
const EXCHANGERS_MAX: usize = 8;
/// Addresses of one exchanger or smarthost. Providers publish a dozen, all alike.
const ADDRESSES_MAX: usize = 8;

/// What the caller wants to be spoken to.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Besides own services and smarthosts.
    pub targets: Vec<Target>,
    /// How a user of this server logs in.
    pub login: Option<Login>,
}

/// Somebody else to be examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Whoever takes the mail of this domain.
    Exchangers { domain: String },
    /// One service.
    Service { host: String, port: u16, protocol: SessionProtocol, tls: TlsMode, purpose: Purpose },
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub endpoints: BTreeMap<String, ExaminedEndpoint>,
    pub lookups: BTreeMap<String, Lookup>,
}

impl Found {
    fn add(&mut self, (endpoint, lookups): (ExaminedEndpoint, Vec<Lookup>)) {
        self.lookups.extend(lookups.into_iter().map(|lookup| (Lookup::key(&lookup.kind, &lookup.name), lookup)));
        let key = ExaminedEndpoint::key(&endpoint.host, endpoint.port, endpoint.protocol);
        match self.endpoints.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(endpoint);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => join(place.get_mut(), endpoint),
        }
    }

    pub fn extend(&mut self, other: Found) {
        self.lookups.extend(other.lookups);
        for endpoint in other.endpoints.into_values() {
            self.add((endpoint, Vec::new()));
        }
    }
}

/// Two looks at one endpoint: what it is to us adds up, and so do its addresses.
fn join(endpoint: &mut ExaminedEndpoint, other: ExaminedEndpoint) {
    endpoint.why.extend(other.why);
    for (address, examined) in other.addresses {
        endpoint.addresses.entry(address).or_insert(examined);
    }
    match (&mut endpoint.resolved, other.resolved) {
        (Seen::Value(own), Seen::Value(more)) => {
            for address in more {
                if !own.contains(&address) {
                    own.push(address);
                }
            }
        }
        (own, Seen::Value(more)) => *own = Seen::Value(more),
        _ => {}
    }
}

/// Targets towards which nobody looked, and why.
pub(crate) fn notes(question: &Question, evidence: &Evidence) -> Vec<Unseen> {
    let targets: BTreeSet<&String> = question.targets.iter().chain(&evidence.declared.targets).collect();
    targets.into_iter().filter_map(|target| note(target, evidence)).collect()
}

fn note(target: &str, evidence: &Evidence) -> Option<Unseen> {
    let named = target.rsplit_once('@').map_or(target, |(_, domain)| domain);
    let named = named.strip_prefix("mx:").unwrap_or(named).trim_end_matches('.').to_ascii_lowercase();
    let is_it = |why: &EndpointWhy, host: &str| match why {
        EndpointWhy::Exchanger { domain, .. } => domain.eq_ignore_ascii_case(&named),
        EndpointWhy::Asked | EndpointWhy::Surveyed => named.contains(&host.to_ascii_lowercase()),
        EndpointWhy::Own { .. } | EndpointWhy::Smarthost { .. } => false,
    };
    let mut endpoints = evidence.endpoints.values();
    if endpoints.any(|endpoint| endpoint.why.iter().any(|why| is_it(why, &endpoint.host))) {
        return None;
    }
    let (why, needs) = match evidence.lookups.get(&Lookup::key("MX", &named)).map(Lookup::found) {
        Some(Seen::Value(_)) => ("it takes no mail: its only MX record is the null one (RFC 7505)", ""),
        _ if evidence.parts.contains_key("sessions") => ("the sessions were not over in time", "a later --deadline"),
        _ => ("nothing was connected to", "a run without --no-sessions, and [doctor] sessions = true"),
    };
    Some(Unseen { what: target.to_owned(), why: why.to_owned(), needs: needs.to_owned() })
}

/// Those whom the operator named and of whom no session came through. A smarthost is not among them: what ails it is said with
/// the mail that is to go there.
pub(crate) fn unheard(evidence: &Evidence) -> Vec<Unseen> {
    let mut named: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (key, endpoint) in &evidence.endpoints {
        // Without TLS mail goes there all the same; a handshake that fails is a rule's (TLS102).
        let cuts: Vec<Cut> = cut_short::at(endpoint).map(|(_, cut)| cut).filter(|cut| !cut.handshake).collect();
        let reached = |examined: &&ExaminedAddress| examined.dial.outcome == DialOutcome::Connected;
        let connected = endpoint.addresses.values().filter(reached).count();
        // That nobody could be reached is a rule's (MX113).
        if connected == 0 {
            continue;
        }
        let first = cuts.first().filter(|_| cuts.len() == connected).map(|cut| format!("{key}: {}", cut.text()));
        for why in &endpoint.why {
            let what = match why {
                EndpointWhy::Asked => key.clone(),
                EndpointWhy::Exchanger { domain, .. } => format!("any server that takes mail for {domain}"),
                EndpointWhy::Own { .. } | EndpointWhy::Smarthost { .. } | EndpointWhy::Surveyed => continue,
            };
            named.entry(what).or_default().push(first.clone());
        }
    }
    let all_cut = |(what, cuts): (String, Vec<Option<String>>)| {
        let why = cuts.into_iter().collect::<Option<Vec<_>>>()?.join("; ");
        Some(Unseen { what, why, needs: "a session that comes to its end: mxray probe, or a later run".to_owned() })
    };
    named.into_iter().filter_map(all_cut).collect()
}

/// What a run of sessions needs, taken out of the evidence so that the rest can go on with it.
pub(crate) struct Work {
    plan: Plan,
    servers: BTreeMap<String, Server>,
    login: Option<Login>,
    tools: Tools,
    until: Instant,
    /// For own services that have no reason to be slow: one that does not greet is worth waiting for.
    latest: Instant,
}

/// Plans. `latest` is the moment at which everything has to be over.
pub(crate) fn prepare(evidence: &Evidence, wish: &Sessions, resolver: &Resolver, latest: Instant) -> Work {
    Work {
        plan: plan::plan(evidence, wish),
        servers: evidence.servers.value().cloned().unwrap_or_default(),
        login: wish.login.clone(),
        tools: Tools { resolver: resolver.clone(), ..Tools::default() },
        until: latest.min(Instant::now() + SESSIONS),
        latest,
    }
}

impl Work {
    pub fn is_empty(&self) -> bool {
        self.plan.own.is_empty() && self.plan.others.is_empty()
    }

    /// Carries the plan out.
    pub fn hold(&self) -> Found {
        let hosts = mta::hosts_file();
        let mut found = Found::default();
        thread::scope(|scope| {
            let others: Vec<_> =
                self.plan.others.iter().filter_map(|other| spawn(scope, || self.other(other, &hosts))).collect();
            let own = spawn(scope, || self.own(&hosts));
            for thread in others.into_iter().chain(own) {
                // A thread that panicked has said so; what the others saw still counts.
                if let Ok(more) = thread.join() {
                    found.extend(more);
                }
            }
        });
        found
    }

    /// Own services: first where their names lead, then all of them side by side.
    fn own(&self, hosts: &BTreeMap<String, Vec<IpAddr>>) -> Found {
        let mut found = Found::default();
        let names: BTreeSet<&str> =
            self.plan.own.iter().map(|service| service.name.as_str()).filter(|name| name.contains('.')).collect();
        let mut resolved: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        let until = self.until.min(Instant::now() + NAMES);
        thread::scope(|scope| {
            let asked: Vec<_> = names
                .into_iter()
                .filter_map(|name| Some((name, spawn(scope, || self.tools.resolver.addresses(name, until))?)))
                .collect();
            for (name, thread) in asked {
                let Ok(answered) = thread.join() else { continue };
                let known = hosts.get(name).into_iter().flatten().copied();
                let all = answered.addresses.value().into_iter().flatten().copied().chain(known);
                resolved.insert(name.to_owned(), all.collect());
                found.lookups.extend(answered.lookups.into_iter().map(|l| (Lookup::key(&l.kind, &l.name), l)));
            }
        });
        let examinations = self.own_examinations(&resolved, &mut found);
        side_by_side(&examinations, &self.tools, &mut found);
        self.settle_names(hosts, &mut found);
        found
    }

    /// Certificates that do not have the server's own name: whether one of their names may be the one that is meant.
    fn settle_names(&self, hosts: &BTreeMap<String, Vec<IpAddr>>, found: &mut Found) {
        let own: Vec<IpAddr> = self.plan.own.iter().flat_map(|service| service.reachable.iter().copied()).collect();
        let until = self.until.min(Instant::now() + NAMES);
        let mut asked = BTreeMap::new();
        for endpoint in found.endpoints.values_mut() {
            let names = reference::names_in_question(endpoint);
            if !endpoint.addresses.is_empty() && endpoint.host.parse::<IpAddr>().is_err() {
                for name in
                    names.iter().filter(|name| name.contains('.') && !name.contains('*')).take(reference::NAMES_MAX)
                {
                    let known = hosts.get(name).map(|known| Seen::Value(known.clone()));
                    asked.entry(name.clone()).or_insert_with(|| {
                        known.unwrap_or_else(|| self.tools.resolver.addresses(name, until).addresses)
                    });
                }
                let leads_to =
                    |name: &str| asked.get(name).cloned().unwrap_or_else(|| Seen::not_attempted("not asked"));
                if endpoint.addresses.values().any(has_mismatch) {
                    reference::settle(endpoint, &reference::meant(&names, leads_to, &own));
                }
            }
        }
    }

    /// One for each place, however many listeners of the configuration are met there.
    fn own_examinations(&self, resolved: &BTreeMap<String, Vec<IpAddr>>, found: &mut Found) -> Vec<Examination> {
        let mut planned: BTreeMap<String, Examination> = BTreeMap::new();
        for service in &self.plan.own {
            for (host, addresses) in service.reached_by(resolved) {
                if let Some(why) = &service.left_alone {
                    found.add((left_alone(service, host, why), Vec::new()));
                    continue;
                }
                let key = ExaminedEndpoint::key(&host, service.port, service.protocol);
                let examination = self.own_examination(service, host, addresses);
                match planned.get_mut(&key) {
                    Some(planned) => merge(planned, examination),
                    None => _ = planned.insert(key, examination),
                }
            }
        }
        planned.into_values().collect()
    }

    fn own_examination(&self, service: &OwnService, host: String, addresses: Vec<IpAddr>) -> Examination {
        let takes_logins = matches!(service.purpose, Purpose::Submission | Purpose::Submissions);
        let login = self.login.clone().filter(|_| takes_logins);
        // The driver puts a fresh nonce into each login.
        let auth = login.map(|login| Auth::with_password(login, ""));
        Examination {
            host,
            port: service.port,
            protocol: service.protocol,
            tls: service.tls,
            purpose: service.purpose,
            why: [EndpointWhy::Own { server: service.server.clone(), wanted: service.wanted.clone() }].into(),
            depth: if auth.is_some() { Depth::Auth } else { Depth::Tls },
            ehlo: self.ehlo(Some(&service.server)),
            reference_name: None,
            source: None,
            addresses: Some(addresses),
            auth,
            envelope: None,
            beyond: Beyond::default(),
            until: if service.pauses { self.until } else { self.latest },
        }
    }

    /// Who asks: the server's own name, else the host's.
    fn ehlo(&self, server: Option<&String>) -> String {
        let name = server.and_then(|server| self.servers.get(server)).map(|server| server.host_name.as_str());
        let is_a_word = |name: &&str| !name.is_empty() && !name.contains(|c: char| c.is_control() || c.is_whitespace());
        let named = name.into_iter().chain([self.plan.ehlo.as_str()]).find(is_a_word);
        named.unwrap_or("localhost").to_owned()
    }

    /// A smarthost, or whom the operator named.
    fn other(&self, other: &Other, hosts: &BTreeMap<String, Vec<IpAddr>>) -> Found {
        let mut found = Found::default();
        let until = self.until.min(Instant::now() + NAMES);
        let places =
            if other.by_mx { self.exchangers(other, until, &mut found) } else { vec![(other.host.clone(), 0)] };
        let mut examinations = Vec::new();
        for (host, preference) in places {
            let known = hosts.get(&host.to_ascii_lowercase()).filter(|_| other.hosts_file).cloned();
            let addresses = match known {
                Some(known) => Seen::Value(known),
                None => {
                    let answered = self.tools.resolver.addresses(&host, until);
                    found.lookups.extend(answered.lookups.into_iter().map(|l| (Lookup::key(&l.kind, &l.name), l)));
                    answered.addresses
                }
            };
            match addresses {
                Seen::Value(addresses) => {
                    examinations.extend(self.by_family(other, &host, preference, addresses));
                }
                nowhere => {
                    let plain = self.examination(other, &host, preference, None, Vec::new());
                    found.add((empty(&plain, nowhere), Vec::new()));
                }
            }
        }
        let tools = Tools { dialler: self.dialler(other), ..self.tools.clone() };
        side_by_side(&examinations, &tools, &mut found);
        let server = other.as_server.as_ref().and_then(|server| self.servers.get(server));
        if let Seen::Unknown(why) = smarthost_login(other, server, &other.host) {
            note_untried(&mut found, &why);
        }
        found
    }

    /// Connects as the user whose processes send, since firewalls and routing may go by user; as ourselves where we may not.
    fn dialler(&self, other: &Other) -> Dialler {
        let server = other.as_server.as_ref().and_then(|server| self.servers.get(server));
        let Some(account) = server.and_then(|server| server.egress.account.value()) else { return Dialler::Own };
        let Seen::Value(gid) = primary_group(account.uid) else { return Dialler::Own };
        let user = User { name: account.name.clone(), uid: account.uid, gid };
        match as_user(&user, self.until) {
            Seen::Value(dialler) => dialler,
            Seen::Absent | Seen::Unknown(_) => Dialler::Own,
        }
    }

    /// The hosts that take the mail of a name, with their preferences (RFC 5321 section 5.1); without MX records the name
    /// itself. None where the domain takes no mail (RFC 7505) or does not exist.
    fn exchangers(&self, other: &Other, until: Instant, found: &mut Found) -> Vec<(String, u16)> {
        let lookup = self.tools.resolver.lookup("MX", &other.host, until);
        let records = lookup.found().map(|records| {
            let exchange = |data: &RecordData| match data {
                RecordData::Mx { preference, exchange } => Some((exchange.clone(), *preference)),
                _ => None,
            };
            records.into_iter().filter_map(|record| exchange(&record.data)).collect::<Vec<_>>()
        });
        found.lookups.insert(Lookup::key("MX", &other.host), lookup);
        match records {
            Seen::Value(mut exchangers) => {
                exchangers.retain(|(exchange, _)| !exchange.is_empty() && exchange != ".");
                exchangers.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
                exchangers.dedup_by(|a, b| a.0 == b.0);
                exchangers.truncate(EXCHANGERS_MAX);
                exchangers
            }
            Seen::Absent => vec![(other.host.clone(), 0)],
            Seen::Unknown(blind) => {
                let plain = self.examination(other, &other.host, 0, None, Vec::new());
                found.add((empty(&plain, Seen::Unknown(blind)), Vec::new()));
                Vec::new()
            }
        }
    }

    /// Each family from the address that the mail server sends from, where it is bound to one.
    fn by_family(&self, other: &Other, host: &str, preference: u16, all: Vec<IpAddr>) -> Vec<Examination> {
        let server = other.as_server.as_ref().and_then(|server| self.servers.get(server));
        let bound = server.into_iter().flat_map(|server| &server.egress.sources).map(|source| source.value);
        let sources: Vec<IpAddr> = bound.collect();
        let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = all.into_iter().take(ADDRESSES_MAX).partition(IpAddr::is_ipv4);
        let each = [four, six].into_iter().filter(|addresses| !addresses.is_empty());
        each.map(|addresses| {
            let is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
            let source = sources.iter().copied().find(|source| source.is_ipv4() == is_v4);
            self.examination(other, host, preference, source, addresses)
        })
        .collect()
    }

    fn examination(
        &self,
        other: &Other,
        host: &str,
        preference: u16,
        source: Option<IpAddr>,
        addresses: Vec<IpAddr>,
    ) -> Examination {
        let why = match &other.why {
            Role::Smarthost { server, .. } => EndpointWhy::Smarthost { server: server.clone() },
            Role::Exchanger { domain } => EndpointWhy::Exchanger { domain: domain.clone(), preference },
            Role::Asked => EndpointWhy::Asked,
        };
        let server = other.as_server.as_ref().and_then(|server| self.servers.get(server));
        let login = smarthost_login(other, server, host);
        let trusted_login = login.value().is_some_and(|login| login.only_trusted);
        let auth = login.value().map(|login| login.auth.clone());
        Examination {
            host: host.to_owned(),
            port: other.port,
            protocol: other.protocol,
            tls: other.tls,
            purpose: other.purpose,
            why: [why].into(),
            depth: if auth.is_some() { Depth::Auth } else { Depth::Tls },
            ehlo: self.ehlo(other.as_server.as_ref()),
            reference_name: None,
            source,
            addresses: Some(addresses),
            auth,
            envelope: None,
            beyond: Beyond { trusted_login, ..Beyond::default() },
            until: self.until,
        }
    }
}

fn has_mismatch(examined: &ExaminedAddress) -> bool {
    let mismatch = |problem: &CertificateProblem| matches!(problem, CertificateProblem::NameMismatch { .. });
    examined.tls.value().is_some_and(|tls| tls.problems.iter().any(mismatch))
}

fn side_by_side(examinations: &[Examination], tools: &Tools, found: &mut Found) {
    thread::scope(|scope| {
        let started: Vec<_> = examinations.iter().filter_map(|one| spawn(scope, || examine(one, tools))).collect();
        for thread in started {
            if let Ok(seen) = thread.join() {
                found.add(seen);
            }
        }
    });
}

fn merge(planned: &mut Examination, other: Examination) {
    planned.why.extend(other.why);
    let addresses = planned.addresses.get_or_insert_default();
    for address in other.addresses.into_iter().flatten() {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
}

/// An endpoint that led nowhere.
fn empty(examination: &Examination, resolved: Seen<Vec<IpAddr>>) -> ExaminedEndpoint {
    ExaminedEndpoint {
        host: examination.host.clone(),
        port: examination.port,
        protocol: examination.protocol,
        tls: examination.tls,
        purpose: examination.purpose,
        why: examination.why.clone(),
        resolved,
        addresses: BTreeMap::<String, ExaminedAddress>::new(),
    }
}

/// An endpoint that nobody spoke to.
fn left_alone(service: &OwnService, host: String, why: &str) -> ExaminedEndpoint {
    ExaminedEndpoint {
        host,
        port: service.port,
        protocol: service.protocol,
        tls: service.tls,
        purpose: service.purpose,
        why: [EndpointWhy::Own { server: service.server.clone(), wanted: service.wanted.clone() }].into(),
        resolved: Seen::Unknown(Blind::NotAttempted { why: why.to_owned() }),
        addresses: BTreeMap::new(),
    }
}

/// A thread whose panic the program's hook keeps silent about. `None`: the system has no room for one more.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name(format!("{}session", crate::parts::THREAD_PREFIX)).spawn_scoped(scope, work).ok()
}

#[cfg(test)]
mod tests;
