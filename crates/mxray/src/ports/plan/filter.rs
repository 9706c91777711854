//! The rim towards the packet filters: what they do now with a packet that the planned service is to get. Nothing is sent; the rules
//! are read and walked.

use super::wish::Wish;
use mxray_host::firewall::{self, Rulesets, Way};
use mxray_host::programs::Programs;
use mxray_host::routes::{self, Tables};
use mxray_model::evidence::{Exposure, Firewall};
use mxray_model::{Prefix, Seen};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Rulesets are read within this.
const WITHIN: Duration = Duration::from_secs(5);
/// Anybody on the Internet.
const STRANGERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(8, 97, 33, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 1))];
/// Own addresses that are asked about; more are pools.
const ADDRESSES_MAX: usize = 4;

/// The rulesets of this namespace, read once.
pub struct Filters(Seen<Rulesets>);

impl Filters {
    pub fn read() -> Filters {
        let until = Instant::now() + WITHIN;
        let programs = Programs::new(until);
        let rulesets = firewall::read(&programs, until);
        programs.end();
        Filters(rulesets)
    }

    /// The tables, and an answer for each packet that the service is to get.
    pub fn about(&self, wish: &Wish, local_port: u16) -> Seen<Firewall> {
        let rulesets = match &self.0 {
            Seen::Value(rulesets) => rulesets,
            Seen::Absent => return Seen::Absent,
            Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
        };
        let mut found = Firewall { tables: rulesets.tables(), unread: rulesets.unread.clone(), ..Firewall::default() };
        let tables = match routes::look() {
            Ok(tables) => tables,
            Err(error) => return Seen::Unknown(error.blind()),
        };
        let mut way = match Way::new(rulesets, &tables, [], local_port) {
            Ok(way) => way,
            Err(error) => return Seen::Unknown(error.blind()),
        };
        for (from, to) in pairs(wish, &tables) {
            let packet = way.packet_in(&wish.protocol, (from, Some(way.local_port())), (to, Some(wish.port)), "new");
            found.answers.insert(firewall::words(&packet), way.walk(&packet));
        }
        Seen::Value(found)
    }
}

/// Who is to reach it, and at which address.
fn pairs(wish: &Wish, tables: &Tables) -> Vec<(IpAddr, IpAddr)> {
    let peers = peers(&wish.exposure);
    let own = tables.addresses.iter().filter(|own| own.is_beyond_link()).map(|own| own.address);
    let wildcard = wish.addresses.is_empty() || wish.addresses.iter().any(IpAddr::is_unspecified);
    let bound: Vec<IpAddr> = wish.addresses.iter().map(IpAddr::to_canonical).collect();
    let mut found = Vec::new();
    for ipv4 in [true, false] {
        let mine = own.clone().filter(|own| own.is_ipv4() == ipv4 && !own.is_loopback());
        let mine = mine.filter(|own| wildcard || bound.contains(own)).take(ADDRESSES_MAX);
        for to in mine {
            found.extend(peers.iter().filter(|peer| peer.is_ipv4() == ipv4).map(|peer| (*peer, to)));
        }
    }
    found
}

/// One address of each network that may reach it.
pub(super) fn peers(exposure: &Exposure) -> Vec<IpAddr> {
    let first = |text: &str| text.parse::<Prefix>().ok().map(|prefix| next(prefix.network()));
    match exposure {
        Exposure::Loopback => Vec::new(),
        Exposure::Public => STRANGERS.to_vec(),
        Exposure::Private => super::edits::firewall::PRIVATE.iter().filter_map(|text| first(text)).collect(),
        Exposure::Prefixes(prefixes) => prefixes.iter().filter_map(|text| first(text)).collect(),
    }
}

/// The address behind the network's own, where it has one.
fn next(prefix: Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(v4) if prefix.length < 31 => IpAddr::V4(v4.to_bits().saturating_add(1).into()),
        IpAddr::V6(v6) if prefix.length < 127 => IpAddr::V6(v6.to_bits().saturating_add(1).into()),
        whole => whole,
    }
}
