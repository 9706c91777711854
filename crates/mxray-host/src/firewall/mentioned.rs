//! Networks that rules speak of: who may come, or where packets may go, is asked for one address of each.

use mxray_firewall::xt::Match;
use mxray_firewall::{Expression, PayloadBase, Rule, Ruleset, Table};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Of each end and family. Block lists have a hundred thousand; what is allowed is in short lists.
pub(super) const MENTIONED_MAX: usize = 64;

/// Addresses within the networks, by the end of the packet that the rules compare them with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mentioned {
    pub sources: BTreeSet<IpAddr>,
    pub destinations: BTreeSet<IpAddr>,
}

/// Which end of a packet a value stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl Mentioned {
    pub fn of(rulesets: &[Ruleset]) -> Mentioned {
        let mut found = Mentioned::default();
        for table in rulesets.iter().flat_map(|ruleset| &ruleset.tables) {
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                found.rule(table, rule);
            }
        }
        found
    }

    fn add(&mut self, end: End, address: IpAddr) {
        let set = match end {
            End::Source => &mut self.sources,
            End::Destination => &mut self.destinations,
        };
        let same = set.iter().filter(|known| known.is_ipv4() == address.is_ipv4()).count();
        if same < MENTIONED_MAX && !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() {
            set.insert(address);
        }
    }

    fn bytes(&mut self, end: End, value: &[u8], length: usize) {
        let Some(value) = value.get(..length) else { return };
        if let Some(address) = address(value) {
            self.add(end, address);
        }
    }

    /// Follows an address from the packet through the registers to what it is compared with.
    fn rule(&mut self, table: &Table, rule: &Rule) {
        let mut loaded: Vec<(usize, End, usize)> = Vec::new();
        for expression in &rule.expressions {
            let from = |register: &usize| loaded.iter().rev().find(|(at, ..)| at == register).copied();
            match expression {
                Expression::Payload { to, base: PayloadBase::Network, offset, len } => {
                    if let Some(end) = end_of(*offset, *len) {
                        loaded.push((*to, end, usize::try_from(*len).unwrap_or(0)));
                    }
                }
                Expression::Compare { from: register, value, .. } => {
                    if let Some((_, end, length)) = from(register) {
                        // A prefix of whole bytes is loaded and compared without the rest.
                        self.bytes(end, value, length);
                    }
                }
                Expression::Range { from: register, low, .. } => {
                    if let Some((_, end, length)) = from(register) {
                        self.bytes(end, low, length);
                    }
                }
                Expression::Lookup { set, from: register, .. } => {
                    if let (Some((_, end, length)), Some(set)) = (from(register), table.set(set)) {
                        let keys = set.elements.iter().filter(|element| !element.interval_end);
                        for element in keys.take(MENTIONED_MAX) {
                            self.bytes(end, &element.key, length);
                        }
                    }
                }
                Expression::Match(one) => self.xtables(one),
                _ => {}
            }
        }
    }

    fn xtables(&mut self, one: &Match) {
        match one {
            Match::Source { address, .. } => self.add(End::Source, *address),
            Match::Destination { address, .. } => self.add(End::Destination, *address),
            Match::IpRange { source, destination } => {
                for (end, range) in [(End::Source, source), (End::Destination, destination)] {
                    if let Some((low, ..)) = range {
                        self.add(end, *low);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where the addresses stand in the headers of IPv4 (RFC 791, section 3.1) and IPv6 (RFC 8200, section 3).
fn end_of(offset: u32, len: u32) -> Option<End> {
    match (offset, len) {
        (12, 1..=4) | (8, 5..=16) => Some(End::Source),
        (16, 1..=4) | (24, 1..=16) => Some(End::Destination),
        _ => None,
    }
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        0 => None,
        1..=4 => {
            let mut octets = [0u8; 4];
            octets.get_mut(..value.len())?.copy_from_slice(value);
            Some(IpAddr::from(octets))
        }
        5..=16 => {
            let mut octets = [0u8; 16];
            octets.get_mut(..value.len())?.copy_from_slice(value);
            Some(IpAddr::from(octets))
        }
        _ => None,
    }
}
