//! Ways out: where the kernel sends what mail servers send.
//!
//! Here stands what the rules share: which servers send, what each of them needs to reach, and how the kernel's answers
//! about it end. What is a fault is each rule's own business.

pub mod bind_address_missing;
pub mod default_route_missing;
pub mod gateway_dead;
pub mod ipv6_path_broken;
pub mod no_route;
pub mod source_unprepared;

use crate::place;
use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::{RouteAnswer, RouteOutcome, RoutePurpose, RouteRefused, RouteTaken, Routing, Server};
use mxray_model::special::is_special;
use mxray_model::{Blind, Evidence, Prefix, Seen};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A server that sends mail to other hosts, and the kernel's answers about what it needs.
struct Sender<'a> {
    name: &'a String,
    server: &'a Server,
    answers: Vec<Asked<'a>>,
}

/// One answer, with its key in the evidence.
#[derive(Clone, Copy)]
struct Asked<'a> {
    key: &'a String,
    answer: &'a RouteAnswer,
}

/// How a question ended.
enum End<'a> {
    Sent(&'a RouteTaken),
    Refused(&'a RouteRefused),
    Unknown(&'a Blind),
}

impl<'a> Asked<'a> {
    fn end(self) -> End<'a> {
        const NOTHING: &Blind = &Blind::NotAttempted { why: String::new() };
        match &self.answer.outcome {
            Seen::Value(RouteOutcome::Sent(taken)) => End::Sent(taken),
            Seen::Value(RouteOutcome::Refused(refused)) => End::Refused(refused),
            Seen::Unknown(blind) => End::Unknown(blind),
            Seen::Absent => End::Unknown(NOTHING),
        }
    }

    fn is_ipv4(self) -> bool {
        self.answer.destination.is_ipv4()
    }

    fn is_sample(self) -> bool {
        matches!(self.answer.purpose, RoutePurpose::Sample)
    }

    fn of_the_internet(self) -> bool {
        matches!(self.answer.purpose, RoutePurpose::Sample | RoutePurpose::Mentioned)
    }

    /// It leaves this host, and nothing is known to be wrong with the next hop.
    fn gets_away(self) -> bool {
        matches!(self.end(), End::Sent(taken) if !is_dead(taken))
    }

    /// Nothing in any table matches.
    fn finds_nothing(self) -> bool {
        matches!(self.end(), End::Refused(refused) if refused.by.is_absent())
    }

    fn pointer(self) -> String {
        view::pointer(["routing", "value", "answers", self.key])
    }
}

/// The next hop does not answer, or there is no link to it.
fn is_dead(taken: &RouteTaken) -> bool {
    let asked_in_vain = taken.neighbour.value().is_some_and(mxray_model::evidence::NextHop::is_dead);
    taken.next_hop.is_some() && (asked_in_vain || !taken.carrier)
}

/// The servers that send, with their answers, and a judgement that names those whose routes are another network
/// namespace's; `Err` is what the rule then says.
fn senders<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<(&'a Routing, Vec<Sender<'a>>, Judgement), Judgement> {
    let servers = view::servers(evidence, rule)?;
    let routing = view::known(&evidence.routing, rule)?;
    let mut judgement = Judgement::nothing();
    let here = place::here(evidence, servers, rule, &mut judgement);
    let all = here.into_iter().filter(|(_, server)| server.egress.sends);
    let senders: Vec<Sender<'a>> = all
        .map(|(name, server)| {
            let of_it = routing.answers.iter().filter(|(_, answer)| answer.server == *name);
            Sender { name, server, answers: of_it.map(|(key, answer)| Asked { key, answer }).collect() }
        })
        .collect();
    Ok((routing, senders, judgement))
}

impl<'a> Sender<'a> {
    /// Samples of the Internet, of one family.
    fn samples(&self, ipv4: bool) -> Vec<Asked<'a>> {
        self.answers.iter().copied().filter(|asked| asked.is_sample() && asked.is_ipv4() == ipv4).collect()
    }

    /// What has to be reached by one of its addresses: smarthosts, next hops, targets, peers; by their names.
    fn places(&self) -> BTreeMap<(RoutePurpose, String), Vec<Asked<'a>>> {
        let mut places: BTreeMap<_, Vec<Asked<'a>>> = BTreeMap::new();
        for asked in self.answers.iter().copied().filter(|asked| !asked.of_the_internet()) {
            let name = match asked.answer.configured.as_str() {
                "" => asked.answer.destination.to_string(),
                configured => configured.to_owned(),
            };
            places.entry((asked.answer.purpose, name)).or_default().push(asked);
        }
        places
    }

    /// A way to the Internet by this family is there.
    fn gets_out(&self, ipv4: bool) -> bool {
        self.samples(ipv4).into_iter().any(Asked::gets_away)
    }
}

/// `the smarthost [192.0.2.1]`
fn place_text(purpose: RoutePurpose, name: &str) -> String {
    match purpose {
        RoutePurpose::Smarthost => format!("the smarthost {name}"),
        RoutePurpose::Transport => format!("the next hop {name}"),
        RoutePurpose::Connected => format!("{name}, where mail is sent to now,"),
        RoutePurpose::Target => format!("the target {name}"),
        RoutePurpose::Sample | RoutePurpose::Mentioned => format!("{name} of the Internet"),
    }
}

fn family(ipv4: bool) -> &'static str {
    if ipv4 { "IPv4" } else { "IPv6" }
}

/// What addresses this host has of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    None,
    /// Reached through somebody's translation at most.
    Private,
    Public,
}

fn own(evidence: &Evidence, routing: &Routing, ipv4: bool) -> Own {
    let declared: Vec<Prefix> = evidence.declared.public_prefixes.iter().filter_map(|text| text.parse().ok()).collect();
    let addresses = routing.addresses.keys().filter_map(|text| text.parse::<IpAddr>().ok());
    let mut found = Own::None;
    for address in addresses.filter(|address| address.is_ipv4() == ipv4) {
        if !is_special(address) || declared.iter().any(|prefix| prefix.contains(address)) {
            return Own::Public;
        }
        found = Own::Private;
    }
    found
}

/// A default route of this family that could be used, in any table.
fn has_default(routing: &Routing, ipv4: bool) -> bool {
    routing.defaults.iter().any(|default| default.ipv4 == ipv4 && default.kind == "unicast" && !default.dead)
}

/// How the kernel was asked: as whom, and from which address.
fn asked_as(asked: Asked<'_>) -> String {
    let user = asked.answer.uid.map_or(String::new(), |uid| format!(" for uid {uid}"));
    let source = asked.answer.source.map_or(String::new(), |source| format!(" from {source}"));
    format!("{}{user}{source}", asked.answer.destination)
}

/// The command that asks again.
fn ask_again(asked: Asked<'_>) -> String {
    let user = asked.answer.uid.map_or(String::new(), |uid| format!(" --as {uid}"));
    let source = asked.answer.source.map_or(String::new(), |source| format!(" --from {source}"));
    format!("mxray routes {}{user}{source}", asked.answer.destination)
}

const SOURCE: &str = "rtnetlink";
