//! Carries a plan out: so many targets at a time, each with its own deadline, and what came of each service told as it comes.
//!
//! A target that crashes or does not come back costs itself and nothing else.

use super::plan::{How, Plan, Wanted, exchanger, survey};
use crate::outside::target::{Service, Target};
use mxray_model::Seen;
use mxray_model::evidence::{
    DnsOutcome, EndpointWhy, ExaminedEndpoint, Lookup, Part, PartOutcome, Purpose, RecordData,
};
use mxray_model::text::untrusted;
use mxray_net::{Answered, Beyond, Examination, examine};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often is told what is still awaited.
const TICK: Duration = Duration::from_millis(200);
/// What a target may need beyond its deadline to say that it was reached.
const GRACE: Duration = Duration::from_secs(3);
/// Exchangers of one domain that are gone to, the most preferred first. Large providers publish fewer.
const EXCHANGERS_MAX: usize = 10;
/// Of a thread; certificates are checked on it.
const STACK_BYTES: usize = 1 << 20;

/// Something that came.
#[derive(Debug)]
pub enum Piece {
    Endpoint {
        target: String,
        key: String,
        endpoint: Box<ExaminedEndpoint>,
        lookups: Vec<Lookup>,
    },
    Lookup {
        target: String,
        lookup: Box<Lookup>,
    },
    /// A target did not come to its end.
    Part {
        name: String,
        part: Part,
    },
    /// Nothing, yet.
    Waiting,
}

/// From a worker.
enum Told {
    Begins(usize),
    Piece(Piece),
    Ends(usize, Result<(), String>),
}

/// What the workers share.
struct Shared {
    plan: Plan,
    next: AtomicUsize,
    stop: AtomicBool,
}

/// Runs the plan. `tell` gets each piece with the targets that are still under way; `false` from it begins nothing new.
pub fn run(plan: Plan, tell: &mut dyn FnMut(Piece, &BTreeSet<String>) -> bool) {
    raise_descriptors();
    let workers = plan.concurrency;
    let shared = Arc::new(Shared { plan, next: AtomicUsize::new(0), stop: AtomicBool::new(false) });
    let (send, told) = channel();
    let mut started = 0;
    for _ in 0..workers {
        let (shared, send) = (Arc::clone(&shared), send.clone());
        // The name tells the program's hook that a crash becomes a finding.
        let builder = thread::Builder::new().name("part:probe".to_owned()).stack_size(STACK_BYTES);
        started += usize::from(builder.spawn(move || worker(&shared, &send)).is_ok());
    }
    drop(send);
    if started == 0 {
        let message = "no thread could be started".to_owned();
        let part = Part { outcome: PartOutcome::Crashed { message }, took_ms: 0 };
        tell(Piece::Part { name: "probe".to_owned(), part }, &BTreeSet::new());
        return;
    }
    listen(&shared, &told, tell);
}

/// Each connection needs a descriptor, and the usual soft limit (1024, made for select(2)) is less than some hundred hosts with nine
/// ports need. What the hard limit allows may be used; where it cannot be had, connections say so.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Until all workers are done, or what is left does not come back.
fn listen(shared: &Shared, told: &Receiver<Told>, tell: &mut dyn FnMut(Piece, &BTreeSet<String>) -> bool) {
    let name = |place: usize| {
        shared.plan.targets.get(place).map_or_else(String::new, |target| untrusted(target.text.as_bytes()))
    };
    let mut running: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut pending: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut go_on = true;
        match told.recv_timeout(TICK) {
            Ok(Told::Begins(place)) => {
                running.insert(place, Instant::now());
                pending.insert(name(place));
            }
            Ok(Told::Piece(piece)) => go_on = tell(piece, &pending),
            Ok(Told::Ends(place, outcome)) => {
                let began = running.remove(&place);
                pending.remove(&name(place));
                if let Err(message) = outcome {
                    let took_ms = began.map_or(0, |began| millis(began.elapsed()));
                    let part = Part { outcome: PartOutcome::Crashed { message }, took_ms };
                    go_on = tell(Piece::Part { name: format!("probe of {}", name(place)), part }, &pending);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                go_on = tell(Piece::Waiting, &pending);
                let most = shared.plan.deadline + GRACE;
                let late: Vec<usize> =
                    running.iter().filter(|(_, began)| began.elapsed() > most).map(|(place, _)| *place).collect();
                for place in late {
                    running.remove(&place);
                    pending.remove(&name(place));
                    let part = Part { outcome: PartOutcome::CutOff, took_ms: millis(most) };
                    go_on &= tell(Piece::Part { name: format!("probe of {}", name(place)), part }, &pending);
                    // Its thread is lost; when all are, nobody begins the rest.
                    if running.is_empty() {
                        shared.stop.store(true, Ordering::Relaxed);
                        for place in shared.next.load(Ordering::Relaxed)..shared.plan.targets.len() {
                            let part = Part { outcome: PartOutcome::CutOff, took_ms: 0 };
                            tell(Piece::Part { name: format!("probe of {}", name(place)), part }, &pending);
                        }
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if !go_on {
            shared.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn worker(shared: &Shared, send: &Sender<Told>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let place = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(wanted) = shared.plan.targets.get(place) else { return };
        if send.send(Told::Begins(place)).is_err() {
            return;
        }
        let until = Instant::now() + shared.plan.deadline;
        let look = || Look { how: &shared.plan.how, wanted, until, send }.look();
        let outcome = catch_unwind(AssertUnwindSafe(look)).map_err(|panic| {
            let text =
                panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            untrusted(text.unwrap_or("a panic without a message").as_bytes())
        });
        if send.send(Told::Ends(place, outcome)).is_err() {
            return;
        }
    }
}

/// One target under way.
#[derive(Clone, Copy)]
struct Look<'a> {
    how: &'a How,
    wanted: &'a Wanted,
    until: Instant,
    send: &'a Sender<Told>,
}

impl Look<'_> {
    fn look(self) {
        match &self.wanted.target {
            Target::Host(host) => self.services(&survey(host), &EndpointWhy::Surveyed, None, None),
            Target::Service(service) => {
                self.services(std::slice::from_ref(service), &EndpointWhy::Asked, None, None);
            }
            Target::Exchangers { domain, recipient } => self.exchangers(domain, recipient.as_deref()),
        }
    }

    /// RFC 5321 section 5.1, and RFC 7505: MX records, a null one, or none; and never the domain's own addresses beside MX
    /// records, whatever these lead to.
    fn exchangers(self, domain: &str, recipient: Option<&str>) {
        let lookup = self.how.tools.resolver.lookup("MX", domain, self.until);
        let mut hosts: Vec<(u16, String)> = match lookup.found() {
            Seen::Value(records) => records.iter().filter_map(|record| mx(&record.data)).collect(),
            Seen::Absent if lookup.outcome == DnsOutcome::NoData => vec![(0, domain.to_owned())],
            Seen::Absent | Seen::Unknown(_) => Vec::new(),
        };
        hosts.sort();
        hosts.dedup();
        hosts.truncate(EXCHANGERS_MAX);
        self.tell(Piece::Lookup { target: self.wanted.text.clone(), lookup: Box::new(lookup) });
        side_by_side(&hosts, &|(preference, host): &(u16, String)| {
            let why = EndpointWhy::Exchanger { domain: domain.to_owned(), preference: *preference };
            self.services(&[exchanger(host)], &why, Some(domain), recipient);
        });
    }

    /// Services of one host: its addresses are looked for once.
    fn services(self, services: &[Service], why: &EndpointWhy, domain: Option<&str>, recipient: Option<&str>) {
        let Some(first) = services.first() else { return };
        let began = Instant::now();
        let Answered { addresses: resolved, lookups } = match why {
            // A mail server asks the name servers for exchangers, and nobody else.
            EndpointWhy::Exchanger { .. } => self.how.tools.resolver.addresses(&first.host, self.until),
            _ => self.how.tools.resolver.addresses_like_libc(&first.host, self.until),
        };
        let resolve_ms = first.host.parse::<IpAddr>().is_err().then(|| millis(began.elapsed()));
        let family = |address: &IpAddr| !(self.how.ipv4 && address.is_ipv6() || self.how.ipv6 && address.is_ipv4());
        let addresses: Vec<IpAddr> = resolved.value().into_iter().flatten().copied().filter(family).collect();
        // Where there is nowhere to go to, one service tells it for all.
        let services = if addresses.is_empty() { services.get(..1).unwrap_or_default() } else { services };
        // They come along with the first service that is told.
        let lookups = Mutex::new(lookups);
        let (envelope, further) = self.how.envelopes(domain, recipient);
        let surveyed = *why == EndpointWhy::Surveyed;
        // Of a host that is named alone users' ports get the login, and mail is offered where it can be taken: a name and a
        // password at nine doors look like an attack.
        let logs_in = |service: &Service| !(surveyed && service.purpose == Purpose::Relay);
        let offers = |service: &Service| !surveyed || service.purpose == Purpose::Relay || self.how.auth.is_some();
        let examination = |service: &Service| Examination {
            host: service.host.clone(),
            port: service.port,
            protocol: service.protocol,
            tls: service.tls,
            purpose: service.purpose,
            why: BTreeSet::from([why.clone()]),
            depth: self.how.depth,
            ehlo: self.how.ehlo.clone(),
            reference_name: None,
            source: self.how.source,
            addresses: Some(addresses.clone()),
            auth: self.how.auth.clone().filter(|_| logs_in(service)),
            envelope: envelope.clone().filter(|_| offers(service)),
            beyond: Beyond { further: further.clone(), resolve_ms, ..self.how.beyond.clone() },
            until: self.until,
        };
        let examine_one = |service: &Service| {
            let (mut endpoint, _) = examine(&examination(service), &self.how.tools);
            endpoint.resolved = resolved.clone();
            let key = ExaminedEndpoint::key(&service.host, service.port, service.protocol);
            let target = self.wanted.text.clone();
            let lookups = std::mem::take(&mut *lookups.lock().unwrap_or_else(PoisonError::into_inner));
            self.tell(Piece::Endpoint { target, key, endpoint: Box::new(endpoint), lookups });
        };
        side_by_side(services, &examine_one);
    }

    fn tell(self, piece: Piece) {
        // Nobody listens any more where the command has ended.
        let _ = self.send.send(Told::Piece(piece));
    }
}

/// Each in a thread of its own, but for a single one; where no thread is to be had, one after the other.
fn side_by_side<T: Sync>(all: &[T], look: &(dyn Fn(&T) + Sync)) {
    if let [one] = all {
        return look(one);
    }
    thread::scope(|scope| {
        for one in all {
            // The name tells the program's hook that a crash becomes a finding.
            let builder = thread::Builder::new().name("part:probe".to_owned()).stack_size(STACK_BYTES);
            if builder.spawn_scoped(scope, move || look(one)).is_err() {
                look(one);
            }
        }
    });
}

fn mx(data: &RecordData) -> Option<(u16, String)> {
    match data {
        RecordData::Mx { preference, exchange } if !exchange.is_empty() => Some((*preference, exchange.clone())),
        _ => None,
    }
}
