//! Whether others can be reached: what became of each connection to a host that is not this one, and at whom that points.
//!
//! What must not live here: which of it is a fault, and whose (rules).

use crate::outside::{Contact, contacts, is_smarthost};
use mxray_model::evidence::{Dial, DialOutcome, EndpointWhy, ExaminedEndpoint, WayAnswer};
use mxray_model::{Evidence, Seen, Subject};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The Internet's port of mail exchange, and one that hosts with anything to say answer on.
pub const SMTP: u16 = 25;
pub const WEB: &str = "443";

/// Two networks of at most this size belong to one owner, mostly.
const NETWORK4_BITS: u32 = 24;
const NETWORK6_BITS: u32 = 48;

/// What became of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Something accepted it.
    Yes,
    /// The destination itself refused: nothing listens.
    Closed,
    /// A RST, and nobody knows from how far.
    Reset,
    /// Something nearer than the destination refused it.
    OnPath { by: String },
    /// The destination said by ICMP that it does not want it: a filter of its own.
    Unwanted,
    /// Nothing answered.
    Silent,
    /// This host did not send it, or got no further than its own network.
    Here,
    /// This host has no such family at all: no route, or no address to send from.
    NoFamily,
    /// Nobody looked, or looking failed.
    Unknown,
}

impl Reached {
    /// Is it certain that no connection came to stand, for whatever reason?
    pub fn failed(&self) -> bool {
        !matches!(self, Reached::Yes | Reached::Unknown)
    }

    /// Did something between here and there swallow or refuse it?
    pub fn is_lost(&self) -> bool {
        matches!(self, Reached::Silent | Reached::OnPath { .. })
    }
}

/// Reads one attempt.
pub fn reached(dial: &Dial) -> Reached {
    let own = dial.local.value().map(std::net::SocketAddr::ip);
    let by_icmp = dial.icmp.value().map(|icmp| {
        if Some(icmp.from) == own || icmp.from.is_loopback() {
            Reached::Here
        } else if icmp.from == dial.peer.ip() {
            Reached::Unwanted
        } else {
            Reached::OnPath { by: format!("{} ({})", icmp.from, icmp.name) }
        }
    });
    match &dial.outcome {
        DialOutcome::Connected | DialOutcome::Reset => Reached::Yes,
        DialOutcome::Refused => by_icmp.unwrap_or_else(|| reset(dial)),
        DialOutcome::HostUnreachable | DialOutcome::Prohibited => by_icmp.unwrap_or(Reached::Here),
        DialOutcome::NetworkUnreachable => by_icmp.unwrap_or(Reached::NoFamily),
        DialOutcome::NoLocalAddress => Reached::NoFamily,
        DialOutcome::Blackhole | DialOutcome::NoLocalPort => Reached::Here,
        DialOutcome::TimedOut { .. } => Reached::Silent,
        DialOutcome::Failed { .. } => Reached::Unknown,
    }
}

/// Whose RST it is.
fn reset(dial: &Dial) -> Reached {
    let peer = dial.peer.ip();
    // A smarthost on this very host: there is nothing in between.
    if peer.is_loopback() || dial.local.value().is_some_and(|local| local.ip() == peer) {
        return Reached::Closed;
    }
    let Some(way) = dial.distance.value() else { return Reached::Reset };
    if !matches!(way.answer, Seen::Value(WayAnswer::Reset)) {
        return Reached::Reset;
    }
    match way.is_full() {
        Seen::Value(true) => Reached::Closed,
        Seen::Value(false) => {
            let near = way.answered_at.value().copied().unwrap_or_default();
            let before = way.hops.iter().rev().find(|hop| hop.ttl < near);
            let by = match before {
                _ if near <= 1 => return Reached::Here,
                Some(hop) => format!("a RST from hop {near}, behind {}", hop.from),
                None => format!("a RST from hop {near}"),
            };
            Reached::OnPath { by }
        }
        _ => Reached::Reset,
    }
}

/// Does another port of the same address accept connections?
pub fn web_answers(contact: &Contact<'_>) -> bool {
    contact.seen.compared.get(WEB).is_some_and(|dial| reached(dial) == Reached::Yes)
}

/// It is somebody else's, and this host or the one who asks wants to reach it.
pub fn is_others(endpoint: &ExaminedEndpoint) -> bool {
    let own = endpoint.why.iter().any(|why| matches!(why, EndpointWhy::Own { .. }));
    // What a survey of a host found closed is nothing that anybody wants.
    !own && endpoint.why.iter().any(|why| !matches!(why, EndpointWhy::Surveyed))
}

/// Somebody else's endpoints.
pub fn others(evidence: &Evidence) -> impl Iterator<Item = (&String, &ExaminedEndpoint)> {
    evidence.endpoints.iter().filter(|(_, endpoint)| is_others(endpoint))
}

/// Their addresses, and what became of each.
pub fn addresses<'a>(key: &'a str, endpoint: &'a ExaminedEndpoint) -> impl Iterator<Item = (Contact<'a>, Reached)> {
    contacts(key, endpoint).map(|contact| (contact, reached(&contact.seen.dial)))
}

/// How a whole endpoint can be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Access<'a> {
    pub key: &'a str,
    pub reached: Vec<(IpAddr, Reached)>,
}

impl<'a> Access<'a> {
    pub fn of(key: &'a str, endpoint: &'a ExaminedEndpoint) -> Self {
        let reached =
            addresses(key, endpoint).map(|(contact, reached)| (contact.seen.dial.peer.ip(), reached)).collect();
        Access { key, reached }
    }

    /// Connected to at one of its addresses at least.
    pub fn is_open(&self) -> bool {
        self.reached.iter().any(|(_, one)| *one == Reached::Yes)
    }

    /// Nothing there can be reached, and that is certain of each address.
    pub fn is_dead(&self) -> bool {
        !self.reached.is_empty() && self.reached.iter().all(|(_, one)| one.failed())
    }
}

/// Who takes the mail of each domain, by preference (RFC 5321 section 5.1).
pub fn exchangers(evidence: &Evidence) -> BTreeMap<&str, Vec<(u16, &String, &ExaminedEndpoint)>> {
    let mut domains: BTreeMap<&str, Vec<(u16, &String, &ExaminedEndpoint)>> = BTreeMap::new();
    for (key, endpoint) in others(evidence) {
        for why in &endpoint.why {
            if let EndpointWhy::Exchanger { domain, preference } = why {
                domains.entry(domain).or_default().push((*preference, key, endpoint));
            }
        }
    }
    for all in domains.values_mut() {
        all.sort_by_key(|(preference, key, _)| (*preference, *key));
    }
    domains
}

/// How much it hurts that an endpoint cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// What is preferred works.
    Spare,
    /// Others take its work.
    Partial,
    /// Nothing else does.
    Whole,
}

/// What the death of this endpoint means to those who want it.
pub fn loss(evidence: &Evidence, endpoint: &ExaminedEndpoint) -> Loss {
    let of = |why: &EndpointWhy| match why {
        EndpointWhy::Exchanger { domain, preference } => {
            let all = exchangers(evidence);
            let open = all.get(domain.as_str()).into_iter().flatten();
            let best = open.filter(|(_, key, other)| Access::of(key, other).is_open()).map(|(at, ..)| *at).min();
            match best {
                None => Loss::Whole,
                Some(best) if best <= *preference => Loss::Spare,
                Some(_) => Loss::Partial,
            }
        }
        EndpointWhy::Smarthost { server } => {
            let same = |why: &EndpointWhy| matches!(why, EndpointWhy::Smarthost { server: other } if other == server);
            let mut all = others(evidence).filter(|(_, other)| is_smarthost(other) && other.why.iter().any(same));
            if all.any(|(key, other)| Access::of(key, other).is_open()) { Loss::Partial } else { Loss::Whole }
        }
        EndpointWhy::Asked => Loss::Whole,
        EndpointWhy::Own { .. } | EndpointWhy::Surveyed => Loss::Spare,
    };
    endpoint.why.iter().map(of).max().unwrap_or(Loss::Spare)
}

/// As many as possible of which no two have a network or a domain in common.
pub fn unrelated<'a>(all: &[Contact<'a>]) -> Vec<Contact<'a>> {
    let mut kept: Vec<Contact<'a>> = Vec::new();
    for contact in all {
        let related = |other: &Contact<'a>| {
            let (one, two) = (contact.seen.dial.peer.ip(), other.seen.dial.peer.ip());
            domain(&contact.endpoint.host) == domain(&other.endpoint.host) || is_same_network(one, two)
        };
        if !kept.iter().any(related) {
            kept.push(*contact);
        }
    }
    kept
}

/// The last two labels of a name; an address stands for itself. Names below one public suffix count as one owner, which errs
/// on the side of silence.
fn domain(host: &str) -> String {
    if host.parse::<IpAddr>().is_ok() {
        return host.to_owned();
    }
    let labels: Vec<&str> = host.trim_end_matches('.').rsplit('.').take(2).collect();
    labels.join(".").to_ascii_lowercase()
}

/// Addresses of two families are of one network where they are of one host; that is for the name to say.
fn is_same_network(one: IpAddr, two: IpAddr) -> bool {
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (one.to_bits() ^ two.to_bits()) >> (32 - NETWORK4_BITS) == 0,
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits() ^ two.to_bits()) >> (128 - NETWORK6_BITS) == 0,
        _ => false,
    }
}

/// What the loss of a port has in common with what it explains: everything that goes out over it.
pub fn egress_scope(port: u16, ipv4: bool) -> Subject {
    Subject::path(format!("this host > {} tcp/{port}", family(ipv4)))
}

/// The same of a family.
pub fn family_scope(ipv4: bool) -> Subject {
    Subject::path(format!("this host > {}", family(ipv4)))
}

pub fn family(ipv4: bool) -> &'static str {
    if ipv4 { "IPv4" } else { "IPv6" }
}

/// The servers of this host that send mail, as what a fault of its routes touches.
pub fn sender_scopes(evidence: &Evidence) -> Vec<Subject> {
    let servers = evidence.servers.value().into_iter().flatten();
    servers.filter(|(_, server)| server.egress.sends).map(|(name, _)| Subject::service(name)).collect()
}

/// Hosts of different owners that connect over the other family and not over this one, if no host at all can be reached over
/// this one although this host has it. Empty: that is not so, or nothing says so.
pub fn dead_family<'a>(evidence: &'a Evidence, ipv4: bool) -> Vec<Contact<'a>> {
    let mut dead: Vec<Contact<'a>> = Vec::new();
    for (key, endpoint) in others(evidence) {
        let all: Vec<(Contact<'a>, Reached)> =
            addresses(key, endpoint).filter(|(contact, _)| !contact.from_same_host()).collect();
        let of = |wanted: bool| all.iter().filter(move |(contact, _)| contact.seen.dial.peer.is_ipv4() == wanted);
        if of(ipv4).any(|(_, one)| matches!(one, Reached::Yes | Reached::Closed | Reached::Unwanted)) {
            return Vec::new();
        }
        let other_works = of(!ipv4).any(|(_, one)| *one == Reached::Yes);
        let fails = |one: &Reached| one.is_lost() || *one == Reached::Here;
        // Another port of the same address answers: the family is well, the port is not.
        if of(ipv4).any(|(contact, _)| contact.seen.compared.values().any(|dial| reached(dial) == Reached::Yes)) {
            return Vec::new();
        }
        if other_works {
            dead.extend(of(ipv4).filter(|(_, one)| fails(one)).map(|(contact, _)| *contact));
        }
    }
    unrelated(&dead)
}

/// What is known of port 25 towards others, in one family.
#[derive(Debug, Default)]
pub struct Port25<'a> {
    /// Somebody answers on it: it is open.
    pub open: Option<(Contact<'a>, Reached)>,
    /// Hosts of different owners where something on the way swallows or refuses it, while their port 443 answers.
    pub lost: Vec<Contact<'a>>,
    /// Another failure, which shows nothing.
    pub other: Option<(Contact<'a>, Reached)>,
}

pub fn port25(evidence: &Evidence, ipv4: bool) -> Port25<'_> {
    let mut found = Port25::default();
    for (key, endpoint) in others(evidence).filter(|(_, endpoint)| endpoint.port == SMTP) {
        for (contact, reached) in addresses(key, endpoint) {
            if contact.seen.dial.peer.is_ipv4() != ipv4 || contact.from_same_host() {
                continue;
            }
            match reached {
                // A refusal by the host itself went out and came back: the port is open towards there.
                Reached::Yes | Reached::Closed | Reached::Unwanted => {
                    found.open = found.open.or(Some((contact, reached)));
                }
                _ if reached.is_lost() && web_answers(&contact) => found.lost.push(contact),
                _ => found.other = found.other.or(Some((contact, reached))),
            }
        }
    }
    found.lost = if found.open.is_some() { Vec::new() } else { unrelated(&found.lost) };
    found
}

/// `timed out`, `refused by 192.0.2.1 (administratively prohibited)`.
pub fn in_words(contact: &Contact<'_>, reached: &Reached) -> String {
    match reached {
        Reached::Yes => "connected".to_owned(),
        Reached::Closed => "refused by the host itself".to_owned(),
        Reached::Reset => "connection refused".to_owned(),
        Reached::OnPath { by } => format!("refused on the way by {by}"),
        Reached::Unwanted => "rejected by a filter of the host itself".to_owned(),
        Reached::Silent => "no answer".to_owned(),
        Reached::Here | Reached::NoFamily | Reached::Unknown => contact.seen.dial.outcome.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::{Distance, IcmpError};

    fn dial(outcome: DialOutcome) -> Dial {
        let local = Seen::Value("192.0.2.1:40000".parse().unwrap());
        Dial { outcome, local, icmp: Seen::Absent, ..Dial::of("198.51.100.25:25".parse().unwrap()) }
    }

    fn with_icmp(outcome: DialOutcome, from: &str, code: u8) -> Reached {
        reached(&Dial { icmp: Seen::Value(IcmpError::new(from.parse().unwrap(), 3, code)), ..dial(outcome) })
    }

    fn reset_at(ttl: u8, host: Seen<u8>) -> Reached {
        let way = Distance {
            answered_at: Seen::Value(ttl),
            answer: Seen::Value(WayAnswer::Reset),
            host_at: host,
            ..Distance::default()
        };
        reached(&Dial { distance: Seen::Value(way), ..dial(DialOutcome::Refused) })
    }

    #[test]
    fn every_outcome_points_at_somebody() {
        assert_eq!(reached(&dial(DialOutcome::Connected)), Reached::Yes);
        assert_eq!(reached(&dial(DialOutcome::Refused)), Reached::Reset);
        assert_eq!(reset_at(9, Seen::Value(9)), Reached::Closed);
        assert_eq!(reset_at(9, Seen::not_attempted("no port")), Reached::Reset);
        assert!(matches!(reset_at(4, Seen::Value(9)), Reached::OnPath { .. }));
        assert_eq!(reset_at(1, Seen::Value(9)), Reached::Here);
        assert_eq!(with_icmp(DialOutcome::Refused, "198.51.100.25", 3), Reached::Unwanted);
        assert_eq!(with_icmp(DialOutcome::Refused, "192.0.2.1", 3), Reached::Here);
        assert!(matches!(with_icmp(DialOutcome::HostUnreachable, "203.0.113.1", 13), Reached::OnPath { .. }));
        // A neighbour that does not resolve is told by this host itself.
        assert_eq!(with_icmp(DialOutcome::HostUnreachable, "192.0.2.1", 1), Reached::Here);
        assert_eq!(reached(&dial(DialOutcome::NetworkUnreachable)), Reached::NoFamily);
        assert_eq!(reached(&dial(DialOutcome::Blackhole)), Reached::Here);
        assert_eq!(reached(&dial(DialOutcome::TimedOut { after_ms: 1 })), Reached::Silent);
        assert_eq!(reached(&dial(DialOutcome::Failed { error: "x".to_owned() })), Reached::Unknown);
    }

    #[test]
    fn owners_are_told_by_domain_and_network() {
        assert_eq!(domain("MX1.example.org."), domain("mx2.example.org"));
        assert_ne!(domain("mx.example.org"), domain("mx.example.net"));
        let same = |one: &str, two: &str| is_same_network(one.parse().unwrap(), two.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.200") && !same("192.0.2.1", "192.0.3.1"));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:9::1") && !same("2001:db8:1::1", "2001:db8:2::1"));
        assert!(!same("192.0.2.1", "2001:db8::1"));
    }
}
