//! Routing of this network namespace, over `NETLINK_ROUTE`: what is configured, and what the kernel would do.
//!
//! Start at [`look`] (rules, routes, interfaces, addresses) and [`Looker::lookup`] (one destination). `wire` decodes bytes
//! and does no I/O, `talk` asks the kernel, `walk` names the rule or route that decides, `needs` says which destinations
//! mail needs, `examine` makes evidence of all of it. Nothing here sends a packet: a next hop is dead only where
//! somebody else has found that out. What must not live here: judgement (that is `mxray-rules`), text for a person beyond
//! ip(8)'s own words.

mod examine;
pub(crate) mod needs;
mod table;
mod talk;
mod walk;
mod wire;

pub use examine::{errno_name, examine, refusal, refuser};
pub use needs::Known;
pub use table::{
    Action, Hop, Kind, LOCAL, Link, Links, LocalAddress, MAIN, Neighbour, Route, Rule, protocol_name, table_name,
};
pub use talk::TalkError;
pub use walk::{Walk, walk};
pub use wire::Question;

use crate::mta::machine::Machine;
use mxray_model::Prefix;
pub use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use talk::{Asker, Subject, dump};

/// Routes that are kept of a larger table: enough for every host that is no router of the Internet, and about 10 MB.
/// Those that decide about a destination are asked for again.
pub const ROUTES_MAX: usize = 50_000;
/// Most policy routing hosts have under a hundred; a thousand is slow for the kernel itself, which goes through them one
/// by one.
const RULES_MAX: usize = 10_000;
/// The kernel's own limit is `gc_thresh3`, 1024 unless raised.
pub const NEIGHBOURS_MAX: usize = 100_000;
/// Hosts with a container or an address of each customer.
const ADDRESSES_MAX: usize = 100_000;

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// In the order in which the kernel goes through them.
    pub rules: Vec<Rule>,
    pub routes: Vec<Route>,
    /// More than [`ROUTES_MAX`] were there; these are not in `routes`.
    pub routes_left_out: usize,
    pub links: Links,
    pub addresses: Vec<LocalAddress>,
}

impl Tables {
    pub fn has_rules_left_out(&self) -> bool {
        self.rules.len() == RULES_MAX
    }
}

/// Lists rules, routes of all tables, interfaces and addresses.
///
/// # Errors
/// One of the lists could not be had whole.
pub fn look() -> Result<Tables, TalkError> {
    let mut tables = Tables { links: links()?, addresses: addresses()?, rules: rules()?, ..Tables::default() };
    // What must be kept of a table that is too large: the entries that speak of all, and those that refuse.
    let matters = |route: &Route| route.is_default() || route.kind.refuses() || route.kind == Kind::Throw;
    each_route(|route| match route {
        None => {
            tables.routes.clear();
            tables.routes_left_out = 0;
        }
        Some(route) => {
            let most = if matters(&route) { 2 * ROUTES_MAX } else { ROUTES_MAX };
            if tables.routes.len() < most {
                tables.routes.push(route);
            } else {
                tables.routes_left_out += 1;
            }
        }
    })?;
    Ok(tables)
}

/// The routes of all tables that contain one of these addresses, however large the tables are.
///
/// # Errors
/// The list could not be had whole.
pub fn routes_towards(addresses: &BTreeSet<IpAddr>) -> Result<Vec<Route>, TalkError> {
    let mut kept = Vec::new();
    each_route(|route| match route {
        None => kept.clear(),
        Some(route) => {
            if kept.len() < ROUTES_MAX && addresses.iter().any(|address| route.destination.contains(*address)) {
                kept.push(route);
            }
        }
    })?;
    Ok(kept)
}

/// Hands on every route that somebody configured; `None`: forget what came before.
fn each_route(mut with: impl FnMut(Option<Route>)) -> Result<(), TalkError> {
    list("routes", wire::RTM_GETROUTE, |record| {
        match record {
            None => with(None),
            Some(payload) => {
                if let Some(route) = wire::route(payload)?.filter(|route| !route.cached) {
                    with(Some(route));
                }
            }
        }
        Ok(())
    })
}

fn list(
    what: &'static str,
    request: u16,
    with: impl FnMut(Option<&[u8]>) -> Result<(), wire::Malformed>,
) -> Result<(), TalkError> {
    dump(Subject { what, request, family: wire::AF_UNSPEC }, with)
}

/// At most `most` things of one kind.
fn all<T>(
    what: &'static str,
    request: u16,
    most: usize,
    decode: impl Fn(&[u8]) -> Result<Option<T>, wire::Malformed>,
) -> Result<Vec<T>, TalkError> {
    let mut found = Vec::new();
    list(what, request, |record| {
        match record {
            None => found.clear(),
            Some(payload) if found.len() < most => found.extend(decode(payload)?),
            Some(_) => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn links() -> Result<Links, TalkError> {
    let links = all("interfaces", wire::RTM_GETLINK, ADDRESSES_MAX, |payload| wire::link(payload).map(Some))?;
    Ok(Links(links.into_iter().map(|link| (link.index, link)).collect::<BTreeMap<_, _>>()))
}

/// The addresses of all interfaces.
///
/// # Errors
/// The list could not be had whole.
pub fn addresses() -> Result<Vec<LocalAddress>, TalkError> {
    all("addresses", wire::RTM_GETADDR, ADDRESSES_MAX, wire::local_address)
}

fn rules() -> Result<Vec<Rule>, TalkError> {
    let mut rules = all("routing rules", wire::RTM_GETRULE, RULES_MAX, wire::rule)?;
    // The kernel lists them in its own order already; of equal priority, the first is asked first.
    rules.sort_by_key(|rule| (!rule.is_ipv4, rule.priority));
    Ok(rules)
}

/// The neighbours that the kernel has on its links.
///
/// # Errors
/// The list could not be had whole.
pub fn neighbours() -> Result<Vec<Neighbour>, TalkError> {
    all("neighbours", wire::RTM_GETNEIGH, NEIGHBOURS_MAX, wire::neighbour)
}

/// The addresses of a literal, of a name in /etc/hosts, or the first of a network. `None`: only DNS could tell.
pub fn resolve(text: &str) -> Option<Vec<IpAddr>> {
    match text.parse::<Prefix>() {
        Ok(prefix) => Some(vec![prefix.network().address]),
        Err(_) => Machine::names().resolve(text).filter(|found| !found.is_empty()),
    }
}

/// What the kernel would do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it goes: gateway, interface, source address, path MTU. The errno: what a program gets from connect(2).
    pub outcome: Result<Route, Errno>,
    /// The entry of the table that was found. `None`: refused, or the kernel is older than 4.15 and cannot tell.
    pub matched: Option<Route>,
}

impl Answer {
    /// The outcome without its route, as [`Walk::ends_as`] compares it.
    pub fn end(&self) -> Result<(), Errno> {
        self.outcome.as_ref().map(|_| ()).map_err(|errno| *errno)
    }
}

/// Asks the kernel about single destinations.
#[derive(Debug)]
pub struct Looker(Asker);

impl Looker {
    /// # Errors
    /// No netlink here.
    pub fn open() -> Result<Self, TalkError> {
        Asker::open().map(Looker)
    }

    /// # Errors
    /// The kernel could not be asked; a refusal of the destination is an answer.
    pub fn lookup(&mut self, question: &Question) -> Result<Answer, TalkError> {
        let outcome = self.0.ask(question, false)?;
        let matched = match &outcome {
            Ok(_) => self.0.ask(question, true)?.ok(),
            Err(_) => None,
        };
        Ok(Answer { outcome, matched })
    }

    /// May a socket be bound to this address, as far as routing knows: an address of an interface, or of a network that
    /// is local by a route (`ip route add local …`).
    ///
    /// # Errors
    /// As [`Looker::lookup`].
    pub fn is_local(&mut self, address: IpAddr) -> Result<bool, TalkError> {
        let question = Question { destination: address, source: None, uid: None, mark: 0, port: 0 };
        Ok(self.0.ask(&question, false)?.is_ok_and(|route| route.kind == Kind::Local))
    }
}

#[cfg(test)]
mod tests;
