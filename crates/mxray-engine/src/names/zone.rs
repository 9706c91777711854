//! Fills who serves a domain's zone, what DNSSEC makes of it, what wildcards answer for, and whether the resolver rewrites.
//!
//! What must not live here: how a chain of trust is walked (`mxray-auth`), and whether any of it is a fault (rules).

use super::{Context, each};
use mxray_auth::ask::Kind;
use mxray_auth::dnssec::{TrustAnchors, Validation};
use mxray_model::evidence::published::{Domain, DomainWhy, SecurityChain, Zone, ZoneServer};
use mxray_model::evidence::{DnsOutcome, DnsRecord, Lookup, RecordData};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use mxray_net::token;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Servers of a zone that are asked, and addresses of each. The root has 13 with two.
const SERVERS_MAX: usize = 16;
const ADDRESSES_MAX: usize = 4;
/// Names above a domain that are asked for its zone.
const ABOVE_MAX: usize = 8;
/// Hosts that take a domain's mail whose names are validated.
const HOSTS_MAX: usize = 10;
/// Selectors whose keys are validated.
const SELECTORS_MAX: usize = 8;
const DNS_PORT: u16 = 53;

/// What is asked side by side.
#[derive(Debug, Clone, Copy)]
enum Part {
    Zone,
    Wildcards,
    Security,
}

enum Piece {
    Zone(Seen<Zone>),
    Wildcards(Vec<String>),
    Security(Seen<BTreeMap<String, SecurityChain>>),
}

pub(super) fn look(name: &str, domain: &mut Domain, context: &Context<'_>) {
    let pieces = each(&[Part::Zone, Part::Wildcards, Part::Security], |part| match part {
        Part::Zone => Piece::Zone(zone(name, context)),
        Part::Wildcards => Piece::Wildcards(wildcards(name, domain, context)),
        Part::Security => Piece::Security(security(name, domain, context)),
    });
    let mut wild = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Zone(zone) => domain.zone = zone,
            Piece::Wildcards(found) => wild = found,
            Piece::Security(Seen::Value(mut chains)) => {
                let own = chains.remove(&Lookup::key(Kind::Mx.as_str(), name));
                domain.security = own.map_or_else(|| Seen::not_attempted("it was not validated"), Seen::Value);
                domain.secured = chains;
            }
            Piece::Security(other) => domain.security = other.map(|_| SecurityChain::default()),
        }
    }
    if let Seen::Value(zone) = &mut domain.zone {
        zone.wildcards = wild;
    }
}

/// The zone that the name lies in, and what each of its servers says when it is asked itself.
fn zone(name: &str, context: &Context<'_>) -> Seen<Zone> {
    let apex = match apex(name, context) {
        Seen::Value(apex) => apex,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let servers = servers(&apex, context);
    Seen::Value(Zone { apex, servers, wildcards: Vec::new() })
}

/// Where the zone begins: the owner of the SOA record that comes with any answer, or with any denial.
fn apex(name: &str, context: &Context<'_>) -> Seen<String> {
    let mut name = name;
    for _ in 0..ABOVE_MAX {
        let lookup = context.run.lookup(name, Kind::Soa);
        let is_above = |of: &str| is_in(name, of);
        let soa = |record: &&DnsRecord| matches!(record.data, RecordData::Soa { .. }) && is_above(&record.name);
        match &lookup.outcome {
            DnsOutcome::NoSuchName => return Seen::Absent,
            DnsOutcome::Found | DnsOutcome::NoData => {
                if let Some(record) = lookup.records.iter().find(soa) {
                    return Seen::Value(record.name.to_ascii_lowercase());
                }
                let denied = lookup.tries.iter().rev().find_map(|one| one.denied_by.clone());
                // Behind an alias, the one who denies is the alias's zone.
                if let Some(apex) = denied.filter(|apex| is_above(apex) && lookup.records.is_empty()) {
                    return Seen::Value(apex.to_ascii_lowercase());
                }
            }
            _ => return lookup.found().map(|_| String::new()),
        }
        match name.split_once('.') {
            Some((_, above)) if !above.is_empty() => name = above,
            _ => break,
        }
    }
    Seen::Absent
}

fn is_in(name: &str, zone: &str) -> bool {
    let (name, zone) = (name.to_ascii_lowercase(), zone.to_ascii_lowercase());
    zone == "." || name == zone || name.strip_suffix(&zone).is_some_and(|rest| rest.ends_with('.'))
}

fn servers(apex: &str, context: &Context<'_>) -> Seen<BTreeMap<String, ZoneServer>> {
    let lookup = context.run.lookup(apex, Kind::Ns);
    let found = match lookup.found() {
        Seen::Value(found) => found,
        Seen::Absent => return Seen::Value(BTreeMap::new()),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let target = |record: &&DnsRecord| match &record.data {
        RecordData::Ns { target } => Some(target.to_ascii_lowercase()),
        _ => None,
    };
    let names: BTreeSet<String> = found.iter().filter_map(target).collect();
    let names: Vec<String> = names.into_iter().take(SERVERS_MAX).collect();
    let found = each(&names, |name| of_name(name, apex, context));
    Seen::Value(found.into_iter().flatten().collect())
}

/// One server's name, and all of its addresses.
fn of_name(name: &str, apex: &str, context: &Context<'_>) -> Vec<(String, ZoneServer)> {
    let lookups = each(&[Kind::A, Kind::Aaaa], |kind| context.run.lookup(name, *kind));
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut blind: Option<Blind> = None;
    for lookup in &lookups {
        match lookup.addresses() {
            Seen::Value(found) => addresses.extend(found.into_iter().take(ADDRESSES_MAX)),
            Seen::Absent => {}
            Seen::Unknown(why) => blind = Some(why),
        }
    }
    if addresses.is_empty() {
        // A name without an address is a server that nobody can ask.
        let authoritative = blind.map_or(Seen::Absent, Seen::Unknown);
        return vec![(name.to_owned(), ZoneServer { authoritative, ..ZoneServer::default() })];
    }
    let key = |address: &IpAddr| format!("{name} {address}");
    let said = each(&addresses, |address| of_address(*address, apex, context));
    addresses.iter().map(key).zip(said).collect()
}

/// Asks one server for what it knows by itself.
fn of_address(address: IpAddr, apex: &str, context: &Context<'_>) -> ZoneServer {
    let servers = vec![SocketAddr::new(address, DNS_PORT)];
    let direct = context.run.resolver().towards(servers);
    let lookup = direct.lookup_within(Kind::Soa.as_str(), apex, context.run.patience(), context.run.until());
    said(&lookup)
}

fn said(lookup: &Lookup) -> ZoneServer {
    let last = lookup.tries.iter().rev().find(|one| one.trouble.is_none());
    let serial = lookup.records.iter().find_map(|record| match record.data {
        RecordData::Soa { serial, .. } => Some(serial),
        _ => None,
    });
    let code = last.and_then(|one| one.rcode.value().cloned());
    let took_ms = last.map(|one| one.took_ms);
    let recursive = last.is_some_and(|one| one.recursive);
    let authoritative = match last {
        Some(one) => Seen::Value(one.authoritative && lookup.outcome == DnsOutcome::Found),
        None => match lookup.found() {
            Seen::Unknown(blind) => Seen::Unknown(blind),
            _ => Seen::not_attempted("no answer"),
        },
    };
    ZoneServer { authoritative, serial, code, took_ms, recursive }
}

/// Names that a wildcard answers for, with what means nothing there. A wildcard that says the right thing is one that somebody
/// wanted: `*._domainkey` with an empty key for a domain that signs nothing.
fn wildcards(name: &str, domain: &Domain, context: &Context<'_>) -> Vec<String> {
    if !is_ours(domain) {
        return Vec::new();
    }
    let Some(fresh) = token() else { return Vec::new() };
    let asked = [
        format!("{fresh}.{name}"),
        format!("_dmarc.{name}"),
        format!("_mta-sts.{name}"),
        format!("{fresh}._domainkey.{name}"),
    ];
    let mut found = each(&asked, |name| texts(&context.run.lookup(name, Kind::Txt))).into_iter();
    let (Some(any), Some(dmarc), Some(sts), Some(key)) = (found.next(), found.next(), found.next(), found.next())
    else {
        return Vec::new();
    };
    let is_made = |found: &[Vec<u8>], begins: &[&str]| {
        let right = |text: &Vec<u8>| begins.iter().any(|begin| starts(text, begin));
        !found.is_empty() && !found.iter().any(right)
    };
    let mut wild = Vec::new();
    if dmarc == any && is_made(&dmarc, &["v=DMARC1"]) {
        wild.push(format!("_dmarc.{name}"));
    }
    if sts == any && is_made(&sts, &["v=STSv1"]) {
        wild.push(format!("_mta-sts.{name}"));
    }
    if is_made(&key, &["v=DKIM1", "k=", "p="]) {
        wild.push(format!("_domainkey.{name}"));
    }
    wild
}

fn starts(text: &[u8], with: &str) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}

/// The texts under a name, in an order of their own.
fn texts(lookup: &Lookup) -> Vec<Vec<u8>> {
    let Seen::Value(found) = lookup.found() else { return Vec::new() };
    let joined = |record: &&DnsRecord| match &record.data {
        RecordData::Txt { strings } => Some(strings.iter().flat_map(|string| string.0.iter().copied()).collect()),
        _ => None,
    };
    let mut all: Vec<Vec<u8>> = found.iter().filter_map(joined).collect();
    all.sort();
    all
}

fn is_ours(domain: &Domain) -> bool {
    domain.why.iter().any(|why| !matches!(why, DomainWhy::Receiver))
}

/// DNSSEC for all that a domain's mail needs, by `TYPE name`.
fn security(name: &str, domain: &Domain, context: &Context<'_>) -> Seen<BTreeMap<String, SecurityChain>> {
    let anchors = match context.anchors.map(TrustAnchors::read) {
        None => TrustAnchors::root(),
        Some(Ok(anchors)) => anchors,
        Some(Err(error)) => {
            return Seen::Unknown(Blind::Failed { step: "reading the trust anchor's file".to_owned(), error });
        }
    };
    let now_s = match &context.evidence.clock.now_s {
        Seen::Value(now_s) => *now_s,
        Seen::Absent => return Seen::not_attempted("there is no clock"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let questions = questions(name, domain, context);
    match context.run.run(Validation { questions, anchors, now_s }) {
        Ok(evaluated) => {
            Seen::Value(evaluated.outcome.into_iter().map(|chain| (key(&chain.question), chain)).collect())
        }
        Err(blind) => Seen::Unknown(blind),
    }
}

fn key(question: &str) -> String {
    question.split_once(' ').map_or_else(|| untrusted(question.as_bytes()), |(kind, name)| Lookup::key(kind, name))
}

/// What senders and receivers of its mail ask for.
fn questions(name: &str, domain: &Domain, context: &Context<'_>) -> Vec<(String, Kind)> {
    let mut questions = vec![(name.to_owned(), Kind::Mx)];
    if is_ours(domain) {
        questions.push((name.to_owned(), Kind::Txt));
        questions.push((format!("_dmarc.{name}"), Kind::Txt));
        let selectors = domain.selectors.keys().take(SELECTORS_MAX);
        questions.extend(selectors.map(|selector| (format!("{selector}._domainkey.{name}"), Kind::Txt)));
    }
    let lookup = context.run.lookup(name, Kind::Mx);
    let mut hosts: Vec<String> = match lookup.found() {
        Seen::Value(found) => found.iter().filter_map(|record| exchange(record)).take(HOSTS_MAX).collect(),
        // RFC 5321 section 5.1: without MX, the name itself.
        Seen::Absent if lookup.outcome == DnsOutcome::NoData => vec![name.to_owned()],
        _ => Vec::new(),
    };
    hosts.dedup();
    // What a sender's own resolver says of them is what counts for the sender.
    let tlsa: Vec<String> = hosts.iter().map(|host| format!("_25._tcp.{host}")).collect();
    let _ = each(&tlsa, |name| context.run.lookup(name, Kind::Tlsa));
    questions.extend(tlsa.into_iter().map(|name| (name, Kind::Tlsa)));
    for host in hosts {
        questions.push((host.clone(), Kind::A));
        questions.push((host, Kind::Aaaa));
    }
    questions
}

fn exchange(record: &DnsRecord) -> Option<String> {
    match &record.data {
        RecordData::Mx { exchange, .. } if !exchange.is_empty() => Some(exchange.to_ascii_lowercase()),
        _ => None,
    }
}

/// Names that cannot exist have an address: the resolver makes it up. Two of them, since one may have been registered today.
pub(super) fn rewrites(context: &Context<'_>) -> Seen<bool> {
    let (Some(one), Some(other)) = (token(), token()) else {
        return Seen::not_attempted("there are no random bytes for a name that nobody has");
    };
    let names = [format!("www.{one}.com"), format!("{other}.net")];
    let said = each(&names, |name| context.run.lookup(name, Kind::A).addresses());
    let mut blind = None;
    for one in said {
        match one {
            Seen::Value(_) => {}
            Seen::Absent => return Seen::Value(false),
            Seen::Unknown(why) => blind = Some(why),
        }
    }
    blind.map_or(Seen::Value(true), Seen::Unknown)
}
