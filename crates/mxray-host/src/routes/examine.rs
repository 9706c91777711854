//! Routing as evidence: what the kernel would do with what each mail server sends, and what decides.

use super::needs::{self, Known, Need, SOURCES_MAX};
use super::{Answer, Kind, LOCAL, Looker, Question, Route, Tables, TalkError, look, neighbours, table_name, walk};
use crate::mta::machine::Machine;
use crate::read;
use mxray_model::evidence::{
    AddressState, BoundSource, DefaultRoute, NextHop, OwnAddress, Refusal, Refuser, RouteAnswer, RouteOutcome,
    RouteRefused, RouteTaken, Routing, Server,
};
use mxray_model::{Blind, Seen};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Kept of each list; more says nothing more to a person.
const KEPT_MAX: usize = 64;
/// Own addresses that are kept: a rule wants to know of which kind they are.
const ADDRESSES_KEPT_MAX: usize = 256;
/// An address that must be resolved anew has its answer by then: the kernel asks once a second (retrans_time_ms).
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(1000);

/// Asks the kernel about everything that these servers need.
///
/// `Absent` never: every kernel routes. `Unknown` where netlink was refused.
pub fn examine(servers: &BTreeMap<String, Server>, known: &Known) -> Seen<Routing> {
    match routing(servers, known) {
        Ok(routing) => Seen::Value(routing),
        Err(error) => Seen::Unknown(error.blind()),
    }
}

fn routing(servers: &BTreeMap<String, Server>, known: &Known) -> Result<Routing, TalkError> {
    let tables = look()?;
    let mut looker = Looker::open()?;
    let machine = Machine::names();
    let mut routing = Routing { sources: sources(servers, &mut looker)?, ..overview(&tables) };
    let mut asked = Vec::new();
    for (name, server) in servers.iter().filter(|(_, server)| server.enabled && server.egress.sends) {
        for need in needs::of_server(server, known, &tables, &machine) {
            for source in sources_for(server, need.destination, &routing) {
                let uid = server.egress.account.value().map(|account| account.uid);
                let question = Question { destination: need.destination, source, uid, mark: 0, port: need.port };
                let answer = looker.lookup(&question)?;
                asked.push((name, need.clone(), question, answer));
            }
        }
    }
    let destinations: BTreeSet<IpAddr> = asked.iter().map(|(_, need, ..)| need.destination).collect();
    let refused = asked.iter().any(|(.., answer)| answer.outcome.is_err());
    let routes = match tables.routes_left_out {
        0 => None,
        _ if refused => Some(super::routes_towards(&destinations)?),
        _ => None,
    };
    for (name, need, question, answer) in asked {
        let outcome = outcome(&tables, routes.as_deref().unwrap_or(&tables.routes), &question, &answer);
        let answer = written(name, need, &question, outcome);
        let from = answer.source.map_or(String::new(), |source| format!(" from {source}"));
        routing.answers.insert(format!("{name} {}{from}", answer.destination), answer);
    }
    next_hops(&mut routing, &tables)?;
    if routing.addresses.values().any(|address| address.state == AddressState::Tentative) {
        (routing.addresses, routing.addresses_left_out) = own_addresses(&look()?);
    }
    Ok(routing)
}

fn overview(tables: &Tables) -> Routing {
    let configured = || tables.routes.iter().filter(|route| route.table != LOCAL);
    let (addresses, addresses_left_out) = own_addresses(tables);
    let is_usual = |rule: &super::Rule| matches!((rule.priority, rule.table), (0, 255) | (32766, 254) | (32767, 253));
    let rules = tables.rules.iter().filter(|rule| !is_usual(rule));
    let wide = configured().filter(|route| {
        let least = if route.is_ipv4() { 16 } else { 40 };
        !route.is_default()
            && route.destination.length <= least
            && route.hops.iter().any(|hop| hop.gateway.is_some() && !hop.is_dead())
    });
    let defaults = configured().filter(|route| route.is_default() && !is_null_entry(route)).map(|route| DefaultRoute {
        ipv4: route.is_ipv4(),
        table: table_name(route.table),
        kind: route.kind.name().to_owned(),
        text: route.text(&tables.links),
        dead: !route.hops.is_empty() && route.hops.iter().all(|hop| hop.is_dead()),
    });
    let loopback = tables.links.0.values().find(|link| link.is_loopback());
    let own = |link: &super::Link| {
        let of_link = |address: &super::LocalAddress| address.interface == link.index && address.address.is_ipv4();
        tables.addresses.iter().any(|address| of_link(address) && address.address.is_loopback())
    };
    let total = configured().count() + tables.routes_left_out;
    Routing {
        addresses,
        addresses_left_out,
        loopback_down: loopback.is_some_and(|link| !link.is_up()),
        loopback_bare: loopback.is_some_and(|link| link.is_up() && !own(link)),
        below_1280: below_1280(tables),
        rules: rules.map(|rule| format!("{}: {}", rule.priority, rule.text())).take(KEPT_MAX).collect(),
        routes: u32::try_from(total).unwrap_or(u32::MAX),
        wide: wide.map(|route| route.text(&tables.links)).take(KEPT_MAX).collect(),
        defaults: defaults.take(KEPT_MAX).collect(),
        ..Routing::default()
    }
}

/// The least MTU of a link that carries IPv6 (RFC 8200 section 5); where it is less, Linux takes the addresses away.
const IPV6_MTU_MIN: u32 = 1_280;

fn below_1280(tables: &Tables) -> BTreeMap<String, u32> {
    let carries = |link: &super::Link| {
        tables.addresses.iter().any(|own| own.interface == link.index && own.address.is_ipv4() && own.is_beyond_link())
    };
    let small = |link: &&super::Link| {
        link.is_up() && !link.is_loopback() && (1..IPV6_MTU_MIN).contains(&link.mtu) && carries(link)
    };
    let links = tables.links.0.values().filter(small);
    links.map(|link| (link.name.clone(), link.mtu)).take(KEPT_MAX).collect()
}

/// The kernel's own last entry of IPv6, which says "unreachable" where nothing else is; nobody configured it.
fn is_null_entry(route: &Route) -> bool {
    !route.is_ipv4() && route.kind == Kind::Unreachable && route.metric == u32::MAX
}

fn own_addresses(tables: &Tables) -> (BTreeMap<String, OwnAddress>, u32) {
    let mut found = BTreeMap::new();
    let mut left_out = 0;
    for address in tables.addresses.iter().filter(|address| address.is_beyond_link()) {
        if found.len() == ADDRESSES_KEPT_MAX {
            left_out += 1;
            continue;
        }
        let state = match address {
            address if address.is_duplicate() => AddressState::Duplicate,
            address if address.is_tentative() => AddressState::Tentative,
            _ => AddressState::Usable,
        };
        let own = OwnAddress {
            interface: tables.links.name(address.interface),
            vrf: tables.links.vrf_of(address.interface).map(|vrf| vrf.name.clone()),
            state,
        };
        found.insert(address.address.to_string(), own);
    }
    (found, left_out)
}

fn sources(
    servers: &BTreeMap<String, Server>,
    looker: &mut Looker,
) -> Result<BTreeMap<String, BoundSource>, TalkError> {
    let mut found = BTreeMap::new();
    let outgoing = servers.values().flat_map(|server| &server.egress.sources).map(|source| source.value);
    let wanted = servers.values().flat_map(|server| server.wanted.values()).flat_map(|wanted| &wanted.addresses);
    for address in outgoing.chain(wanted.copied().filter(|address| !address.is_loopback())) {
        if found.len() == KEPT_MAX || address.is_unspecified() || found.contains_key(&address.to_string()) {
            continue;
        }
        let setting = match address {
            IpAddr::V4(_) => "net/ipv4/ip_nonlocal_bind",
            IpAddr::V6(_) => "net/ipv6/ip_nonlocal_bind",
        };
        let local = Seen::Value(looker.is_local(address)?);
        let non_local_bind = read::setting(setting).map(|text| text != "0");
        found.insert(address.to_string(), BoundSource { local, non_local_bind });
    }
    Ok(found)
}

/// What its connections to a destination are bound to: the kernel would refuse to answer for an address that it has not.
fn sources_for(server: &Server, destination: IpAddr, routing: &Routing) -> Vec<Option<IpAddr>> {
    let is_local = |address: &IpAddr| {
        routing.sources.get(&address.to_string()).is_some_and(|source| source.local == Seen::Value(true))
    };
    let mut usable: Vec<Option<IpAddr>> = server
        .egress
        .sources
        .iter()
        .map(|source| source.value)
        // Nothing beyond this host is reached from loopback: that is ROUTE105's, or a service that only serves this host.
        .filter(|source| source.is_ipv4() == destination.is_ipv4() && !source.is_loopback() && is_local(source))
        .map(Some)
        .take(SOURCES_MAX)
        .collect();
    if usable.is_empty() {
        usable.push(None);
    }
    usable
}

fn written(server: &str, need: Need, question: &Question, outcome: RouteOutcome) -> RouteAnswer {
    RouteAnswer {
        server: server.to_owned(),
        purpose: need.purpose,
        destination: need.destination,
        port: need.port,
        configured: need.configured,
        at: need.at,
        uid: question.uid,
        source: question.source,
        outcome: Seen::Value(outcome),
    }
}

fn outcome(tables: &Tables, routes: &[Route], question: &Question, answer: &Answer) -> RouteOutcome {
    match &answer.outcome {
        Ok(route) => RouteOutcome::Sent(taken(tables, question, route, answer.matched.as_ref())),
        Err(errno) => RouteOutcome::Refused(RouteRefused {
            refusal: refusal(*errno),
            errno: errno_name(*errno),
            by: refuser(tables, routes, question, answer),
        }),
    }
}

fn taken(tables: &Tables, question: &Question, route: &Route, matched: Option<&Route>) -> RouteTaken {
    let hop = route.hops.first().copied().unwrap_or_default();
    let link = tables.links.0.get(&hop.interface);
    let has_neighbours = route.kind == Kind::Unicast && link.is_some_and(|link| !link.has_no_neighbours());
    RouteTaken {
        matched: matched.map(Route::destination_word),
        table: table_name(route.table),
        interface: tables.links.name(hop.interface),
        source: route.prefer_source.or(question.source),
        next_hop: has_neighbours.then(|| hop.gateway.unwrap_or(question.destination)),
        is_gateway: hop.gateway.is_some(),
        carrier: link.is_none_or(super::Link::has_carrier),
        neighbour: Seen::Absent,
    }
}

/// What a refusal means, by its errno (rtnetlink(7); in the kernel: `fib_props`, `fib4_rule_action`).
pub fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::INVAL => Refusal::Blackhole,
        Errno::ACCESS => Refusal::Prohibit,
        Errno::HOSTUNREACH => Refusal::Unreachable,
        Errno::NETUNREACH => Refusal::NoRoute,
        _ => Refusal::Other,
    }
}

/// `ENETUNREACH`, as programs and manual pages have it.
pub fn errno_name(errno: Errno) -> String {
    match errno {
        Errno::INVAL => "EINVAL".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::HOSTUNREACH => "EHOSTUNREACH".to_owned(),
        Errno::NETUNREACH => "ENETUNREACH".to_owned(),
        other => other.to_string(),
    }
}

/// What decides about a refusal. `Absent`: nothing matches. `Unknown` where the way gone once more ends elsewhere.
pub fn refuser(tables: &Tables, routes: &[Route], question: &Question, answer: &Answer) -> Seen<Refuser> {
    let walk = walk(&tables.rules, routes, question);
    if !walk.ends_as(answer.end()) {
        return Seen::Unknown(Blind::Failed {
            step: "find the route or rule that refuses".to_owned(),
            error: "the way through rules and tables, as mxray goes it, ends elsewhere than the kernel's".to_owned(),
        });
    }
    match (walk.rule, walk.route) {
        (_, Some(route)) if !is_null_entry(route) => Seen::Value(Refuser {
            is_rule: false,
            text: route.text(&tables.links),
            delete: route.delete(&tables.links),
            add: route.add(&tables.links),
            network: Some(route.destination.to_string()),
            protocol: super::protocol_name(route.protocol),
        }),
        (Some(rule), None) => Seen::Value(Refuser {
            is_rule: true,
            text: format!("{}: {}", rule.priority, rule.text()),
            delete: rule.delete(),
            add: rule.add(),
            network: rule.to.map(|to| to.to_string()),
            protocol: String::new(),
        }),
        _ => Seen::Absent,
    }
}

/// Joins the answers with the neighbour table; where something is not right there, once more a second later.
fn next_hops(routing: &mut Routing, tables: &Tables) -> Result<(), TalkError> {
    let wanted: BTreeSet<(IpAddr, String)> = routing.answers.values().filter_map(place).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let look = || -> Result<BTreeMap<(IpAddr, String), super::Neighbour>, TalkError> {
        let named = neighbours()?.into_iter().map(|n| ((n.address, tables.links.name(n.interface)), n));
        Ok(named.filter(|(place, _)| wanted.contains(place)).collect())
    };
    let first = look()?;
    let is_bad = |neighbour: &super::Neighbour| matches!(neighbour.state_name(), "failed" | "incomplete");
    let later = if first.values().any(is_bad) {
        std::thread::sleep(SECOND_LOOK_AFTER);
        Some(look()?)
    } else {
        None
    };
    for answer in routing.answers.values_mut() {
        let Some(place) = place(answer) else { continue };
        let Some(neighbour) = first.get(&place) else { continue };
        let again = later.as_ref().filter(|_| is_bad(neighbour)).and_then(|later| later.get(&place));
        let seen = NextHop {
            state: neighbour.state_name().to_owned(),
            state_later: again.map(|again| again.state_name().to_owned()),
            changed_ms: again.unwrap_or(neighbour).updated_ms,
        };
        if let Seen::Value(RouteOutcome::Sent(taken)) = &mut answer.outcome {
            taken.neighbour = Seen::Value(seen);
        }
    }
    Ok(())
}

fn place(answer: &RouteAnswer) -> Option<(IpAddr, String)> {
    match &answer.outcome {
        Seen::Value(RouteOutcome::Sent(taken)) => Some((taken.next_hop?, taken.interface.clone())),
        _ => None,
    }
}
