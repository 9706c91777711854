//! Name lookups as evidence: every try with its server, its transport and its time.
//!
//! Here is the [`Resolver`] of a run: whom it asks, what it remembers, how aliases are followed. Who is asked when stands in
//! `ask`, how many at a time in `turns`, the messages in `message`, names in `names`, a name server as the thing that is
//! examined in `check`. What must not live here: what an answer means for mail (rules), and which files name the servers (`mxray-host`).

mod ask;
mod check;
mod message;
mod names;
mod own;
mod salvage;
#[cfg(test)]
pub(crate) mod tests;
mod turns;

pub use check::{DnsQuestion, check_resolver};
pub use mxray_model::reverse_name;
pub use names::{BadName, unicode_name, wire_name};
pub use turns::Turns;

use crate::clock::millis;
use hickory_proto::rr::{Name, RecordType};
use message::{Answer, Question};
use mxray_model::evidence::{DnsOutcome, DnsTrouble, Lookup, ResolvConf};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use rustix::net::{AddressFamily, SocketType};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use turns::Allowance;

/// DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// Questions that follow from one: an answer may end at an alias.
const FOLLOWED_MAX: usize = 8;
/// Records of all those answers together: aliases, and what one message can hold.
const RECORDS_MAX: usize = 6000;
/// Answers that are remembered. A run asks for tens of names.
const REMEMBERED_MAX: usize = 4096;

/// Whom to ask. Clones share what they remember, and that lasts as long as the run.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    /// In order. Empty: nobody can be asked.
    pub servers: Vec<SocketAddr>,
    /// Names that need no question, as /etc/hosts has them; only [`Resolver::addresses_like_libc`] looks here.
    pub hosts: Arc<BTreeMap<String, Vec<IpAddr>>>,
    pub memory: Memory,
    /// How many questions are on their way at the same time.
    pub turns: Turns,
    /// They are asked for what they know by themselves (RD off): the servers of a zone, not those of this host.
    pub authoritative: bool,
    /// Who finds the servers of each zone, where these are asked instead of `servers`.
    pub finder: Option<Arc<Resolver>>,
    /// Where the servers of zones listen. `None`: at 53.
    pub zone_port: Option<u16>,
}

/// An answer with signatures, as it came, and the tries that it took.
#[derive(Debug, Clone)]
pub struct SignedAnswer {
    /// Aliases are not followed.
    pub lookup: Lookup,
    /// The message that counts.
    pub packet: Option<Vec<u8>>,
}

/// What was answered before, and who did not answer.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    answers: Mutex<BTreeMap<String, Entry>>,
    changed: Condvar,
    /// Servers that were silent where another one answered: these are asked last from then on.
    silent: Mutex<BTreeSet<SocketAddr>>,
}

#[derive(Debug, Clone)]
enum Entry {
    /// Somebody is asking.
    Asking,
    Known(Box<Lookup>),
}

/// The addresses behind a name, and the questions that told them.
#[derive(Debug, Clone)]
pub struct Answered {
    /// `Absent`: the name has none, or does not exist.
    pub addresses: Seen<Vec<IpAddr>>,
    pub lookups: Vec<Lookup>,
}

impl Resolver {
    /// Asks these servers.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Resolver { servers, ..Resolver::default() }
    }

    /// Asks these servers for what they know by themselves. It remembers by itself, and waits for its turn with the others.
    #[must_use]
    pub fn towards(&self, servers: Vec<SocketAddr>) -> Self {
        Resolver { servers, authoritative: true, turns: self.turns.clone(), ..Resolver::default() }
    }

    /// Asks the servers that the C library would ask by this file; without a file or a line in it, the one of this machine
    /// (resolv.conf(5)).
    ///
    /// # Errors
    /// The file could not be looked at.
    pub fn system(conf: &Seen<ResolvConf>) -> Result<Self, Blind> {
        match conf {
            Seen::Value(conf) => Ok(Resolver::new(servers_of(conf))),
            Seen::Absent => Ok(Resolver::new(servers_of(&ResolvConf::default()))),
            Seen::Unknown(blind) => Err(blind.clone()),
        }
    }

    /// One question: `A`, `AAAA`, `MX`, `PTR`, `TLSA`, `TXT`, `CNAME`, `NS`, `SOA`, any other mnemonic, or `TYPE123`.
    pub fn lookup(&self, kind: &str, name: &str, until: Instant) -> Lookup {
        self.find(kind, name, &Allowance::until(until))
    }

    /// The same with a patience, which does not begin before the question's turn has come.
    pub fn lookup_within(&self, kind: &str, name: &str, patience: Duration, until: Instant) -> Lookup {
        self.find(kind, name, &Allowance::within(patience, until))
    }

    fn find(&self, kind: &str, name: &str, allowance: &Allowance) -> Lookup {
        let key = Lookup::key(&kind.to_ascii_uppercase(), name);
        if let Some(known) = self.memory.0.wait_for(&key, allowance) {
            return known;
        }
        let promise = Promise { memory: &self.memory.0, key: &key };
        let lookup = self.ask(kind, name, allowance);
        promise.keep(&lookup);
        lookup
    }

    fn ask(&self, kind: &str, name: &str, allowance: &Allowance) -> Lookup {
        let refuse = |why: String| not_asked(kind, name, why);
        let Some(record_type) = message::kind(kind) else { return refuse("there is no such record type".to_owned()) };
        let question = match names::read(name) {
            Ok(name) => Question { recursion: !self.authoritative, ..Question::new(name, record_type) },
            Err(error) => return refuse(format!("{} cannot be asked for: {error}", untrusted(name.as_bytes()))),
        };
        let servers = |of: &Name| self.servers_of(of, record_type, allowance);
        let first = match servers(&question.name) {
            Ok(first) => first,
            Err(why) => return refuse(why),
        };
        let asking = |question: &Question, servers: &[SocketAddr]| ask::ask(question, servers, &self.turns, allowance);
        let lookup = follow(kind, name, question, first, &servers, &asking);
        self.remember_silence(&lookup);
        lookup
    }

    /// One question for the records and their signatures, which the servers leave to us to check (DO and CD, RFC 4035 section 3.2).
    /// Not remembered. The patience does not begin before the question's turn has come.
    pub fn signed(&self, kind: &str, name: &str, patience: Duration, until: Instant) -> SignedAnswer {
        let allowance = Allowance::within(patience, until);
        let nothing = |lookup: Lookup| SignedAnswer { lookup, packet: None };
        let (record_type, wire) = match (message::kind(kind), names::read(name)) {
            (Some(kind), Ok(name)) => (kind, name),
            _ => return nothing(not_asked(kind, name, "it cannot be asked for".to_owned())),
        };
        let servers = match self.servers_of(&wire, record_type, &allowance) {
            Ok(servers) => servers,
            Err(why) => return nothing(not_asked(kind, name, why)),
        };
        let began = Instant::now();
        let recursion = !self.authoritative;
        let question = Question { dnssec: true, unchecked: true, recursion, ..Question::new(wire, record_type) };
        let asked = ask::ask(&question, &servers, &self.turns, &allowance);
        let mut lookup = not_asked(kind, name, String::new());
        lookup.outcome = match &asked.answer {
            Some(answer) => outcome(answer),
            None => unanswered(&asked, began),
        };
        lookup.tries = asked.tries;
        self.remember_silence(&lookup);
        let Some(answer) = asked.answer else { return nothing(lookup) };
        lookup.records = answer.records;
        SignedAnswer { lookup, packet: Some(answer.packet) }
    }

    /// A and AAAA, side by side; an address stands for itself. DNS only, as a mail server looks for its peers.
    pub fn addresses(&self, host: &str, until: Instant) -> Answered {
        self.addresses_of(host, &Allowance::until(until))
    }

    fn addresses_of(&self, host: &str, allowance: &Allowance) -> Answered {
        if let Some(address) = literal(host) {
            return Answered { addresses: Seen::Value(vec![address]), lookups: Vec::new() };
        }
        let (a, aaaa) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || self.find("AAAA", host, allowance));
            let a = self.find("A", host, allowance);
            (a, other.map(std::thread::ScopedJoinHandle::join))
        });
        let aaaa = match aaaa {
            Ok(joined) => joined.unwrap_or_else(|_| not_asked("AAAA", host, "asking broke off".to_owned())),
            // Where no thread can be had, one after the other.
            Err(_) => self.find("AAAA", host, allowance),
        };
        let addresses = both(a.addresses(), aaaa.addresses());
        Answered { addresses, lookups: vec![a, aaaa] }
    }

    /// As the C library finds a host: what stands in /etc/hosts is not asked for.
    pub fn addresses_like_libc(&self, host: &str, until: Instant) -> Answered {
        match self.hosts.get(&host.trim_end_matches('.').to_ascii_lowercase()) {
            Some(known) if !known.is_empty() => Answered { addresses: Seen::Value(known.clone()), lookups: Vec::new() },
            _ => self.addresses(host, until),
        }
    }

    /// Those that kept silent before come last.
    fn in_order(&self, servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let silent = lock(&self.memory.0.silent);
        let (last, first): (Vec<SocketAddr>, Vec<SocketAddr>) =
            servers.into_iter().partition(|server| silent.contains(server));
        first.into_iter().chain(last).collect()
    }

    fn remember_silence(&self, lookup: &Lookup) {
        let answered: BTreeSet<SocketAddr> =
            lookup.tries.iter().filter(|one| one.trouble.is_none()).map(|one| one.server).collect();
        if answered.is_empty() {
            return;
        }
        let silent = lookup.tries.iter().filter(|one| one.trouble == Some(DnsTrouble::Silent)).map(|one| one.server);
        let mut known = lock(&self.memory.0.silent);
        known.extend(silent.filter(|server| !answered.contains(server)));
        known.retain(|server| !answered.contains(server));
    }
}

impl Remembered {
    /// What is known, or will be in time. `None`: the caller has to ask, and others wait for that.
    fn wait_for(&self, key: &str, allowance: &Allowance) -> Option<Lookup> {
        let mut answers = lock(&self.answers);
        loop {
            match answers.get(key) {
                Some(Entry::Known(lookup)) => return Some((**lookup).clone()),
                Some(Entry::Asking) => {}
                None => {
                    if answers.len() < REMEMBERED_MAX {
                        answers.insert(key.to_owned(), Entry::Asking);
                    }
                    return None;
                }
            }
            let left = allowance.end().saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Who asks has more time than this caller; its own question tells what little there is to tell.
                return None;
            }
            (answers, _) = self.changed.wait_timeout(answers, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Whoever asks first owes the others an answer, also where asking breaks off.
struct Promise<'a> {
    memory: &'a Remembered,
    key: &'a str,
}

impl Promise<'_> {
    /// What no server said may be said the next time.
    fn keep(self, lookup: &Lookup) {
        if matches!(lookup.outcome, DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName) {
            let mut answers = lock(&self.memory.answers);
            if let Some(entry) = answers.get_mut(self.key) {
                *entry = Entry::Known(Box::new(lookup.clone()));
            }
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let mut answers = lock(&self.memory.answers);
        if matches!(answers.get(self.key), Some(Entry::Asking)) {
            answers.remove(self.key);
        }
        self.memory.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The servers of a resolv.conf, as they are asked.
pub fn servers_of(conf: &ResolvConf) -> Vec<SocketAddr> {
    if conf.nameservers.is_empty() {
        return vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()];
    }
    conf.nameservers.iter().map(|server| at_port_53(server.address, server.zone.as_deref())).collect()
}

/// A link-local address means something with its interface only.
pub(super) fn at_port_53(address: IpAddr, zone: Option<&str>) -> SocketAddr {
    match address {
        IpAddr::V4(address) => (address, DNS_PORT).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, DNS_PORT, 0, zone.map_or(0, interface)).into(),
    }
}

/// The number of an interface, by its name or as digits; 0 where it is not there.
fn interface(zone: &str) -> u32 {
    zone.parse().ok().or_else(|| index_of(zone)).unwrap_or(0)
}

fn index_of(name: &str) -> Option<u32> {
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

/// An address where a name could stand: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, `[IPv6:2001:db8::1]`.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    inner.parse().ok().or_else(|| if tagged { inner.get(5..)?.parse().ok() } else { None })
}

/// Addresses of one family do, whatever became of the other; without any, what is unknown stays so.
fn both(one: Seen<Vec<IpAddr>>, other: Seen<Vec<IpAddr>>) -> Seen<Vec<IpAddr>> {
    match (one, other) {
        (Seen::Value(mut all), Seen::Value(more)) => {
            all.extend(more);
            Seen::Value(all)
        }
        (Seen::Value(all), _) | (_, Seen::Value(all)) => Seen::Value(all),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        (Seen::Absent, Seen::Absent) => Seen::Absent,
    }
}

fn not_asked(kind: &str, name: &str, why: String) -> Lookup {
    let outcome = DnsOutcome::NotAsked(Blind::NotAttempted { why });
    Lookup { name: spelled(name), kind: kind.to_ascii_uppercase(), outcome, records: Vec::new(), tries: Vec::new() }
}

fn spelled(name: &str) -> String {
    let text = untrusted(name.as_bytes());
    if text == "." { text } else { text.trim_end_matches('.').to_owned() }
}

/// Asks, and asks again for what an answer ends at.
fn follow(
    kind: &str,
    name: &str,
    question: Question,
    first: Vec<SocketAddr>,
    servers_of: &dyn Fn(&Name) -> Result<Vec<SocketAddr>, String>,
    asking: &dyn Fn(&Question, &[SocketAddr]) -> ask::Asked,
) -> Lookup {
    let began = Instant::now();
    let mut lookup = not_asked(kind, name, String::new());
    let mut seen: Vec<Name> = vec![question.name.clone()];
    let (mut question, mut servers) = (question, first);
    loop {
        let asked = asking(&question, &servers);
        if asked.answer.is_none() {
            lookup.outcome = unanswered(&asked, began);
        }
        lookup.tries.extend(asked.tries);
        let Some(answer) = asked.answer else { return lookup };
        lookup.outcome = outcome(&answer);
        let room = RECORDS_MAX.saturating_sub(lookup.records.len());
        lookup.records.extend(answer.records.iter().take(room).cloned());
        match next(&answer, question.kind) {
            Some(target) if seen.len() < FOLLOWED_MAX && !seen.iter().any(|name| name.eq_ignore_root(&target)) => {
                seen.push(target.clone());
                servers = match servers_of(&target) {
                    Ok(servers) => servers,
                    Err(why) => {
                        lookup.outcome = DnsOutcome::NotAsked(Blind::NotAttempted { why });
                        return lookup;
                    }
                };
                question = Question { name: target, ..question };
            }
            _ => return lookup,
        }
    }
}

/// Nobody was asked, or nobody answered.
fn unanswered(asked: &ask::Asked, began: Instant) -> DnsOutcome {
    if asked.tries.is_empty() {
        let why = "the time was over before its turn came".to_owned();
        return DnsOutcome::NotAsked(Blind::NotAttempted { why });
    }
    DnsOutcome::NoAnswer { after_ms: millis(began.elapsed()) }
}

/// An answer that ends at an alias without saying that there is nothing behind it, is not the whole answer.
fn next(answer: &Answer, kind: RecordType) -> Option<Name> {
    const NOERROR: u16 = 0;
    let is_open = answer.code == NOERROR && !answer.found && answer.denied_by.is_none() && kind != RecordType::CNAME;
    answer.alias_of.clone().filter(|_| is_open)
}

fn outcome(answer: &Answer) -> DnsOutcome {
    match answer.code {
        0 if answer.found => DnsOutcome::Found,
        0 => DnsOutcome::NoData,
        3 => DnsOutcome::NoSuchName,
        code => DnsOutcome::Refused { rcode: message::code_text(code) },
    }
}

/// For the fuzzer: reads bytes as the answer to a question; whether they are one.
#[doc(hidden)]
pub fn reads_as_answer(bytes: &[u8], kind: &str, name: &str) -> bool {
    let Some(id) = bytes.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return false };
    let (Some(kind), Ok(name)) = (message::kind(kind), names::read(name)) else { return false };
    matches!(message::read(bytes, id, &Question::new(name, kind)), message::Packet::Answer(_))
}
