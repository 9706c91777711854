//! What kind an address is, and whether a route leads to it: `fib` of nf_tables and `addrtype` of xtables.

use super::load::Loaded;
use super::view::{self, Device, View};
use crate::bits::{Bits, Truth};
use crate::surroundings::Surroundings;
use std::net::IpAddr;

const SOURCE: u32 = 1;
const BY_IN: u32 = 8;
const BY_OUT: u32 = 16;
const PRESENCE: u32 = 32;

/// `RTN_*` (linux/rtnetlink.h).
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
const BROADCAST: u32 = 3;
const MULTICAST: u32 = 5;

/// nft_fib's three results.
pub fn look(view: &View, surroundings: &Surroundings, result: u32, flags: u32) -> Loaded {
    let bits = if flags & SOURCE != 0 { view.source() } else { view.destination() };
    let device = match (flags & BY_IN != 0, flags & BY_OUT != 0) {
        (_, true) => Some(&view.device_out),
        (true, false) => Some(&view.device_in),
        (false, false) => None,
    };
    let Some(address) = view::bits_address(&bits) else {
        return Loaded::Bits(Bits::unknown(if result == 2 { 16 } else { 4 }));
    };
    match result {
        3 => Loaded::Bits(kind(surroundings, address, device).map_or(Bits::unknown(4), Bits::number)),
        1 | 2 => {
            let found = leads(surroundings, address, device);
            Loaded::Bits(match (found, flags & PRESENCE != 0, result) {
                (Some(found), true, _) => Bits::byte(u8::from(found.is_some())),
                (None, true, _) => Bits::unknown(1).masked(&[1], &[0]),
                (Some(None), false, 1) => Bits::number(0),
                (Some(None), false, _) => Bits::known(&[0; 16]),
                (Some(Some(name)), false, 1) => {
                    let index = surroundings.interfaces.get(&name).and_then(|facts| facts.index);
                    index.map_or(Bits::unknown(4), Bits::number)
                }
                (Some(Some(name)), false, _) => Device::Named(name).bits(),
                (None, false, 1) => Bits::unknown(4),
                (None, false, _) => Bits::unknown(16),
            })
        }
        _ => Loaded::PerhapsMissing,
    }
}

/// The kind of an address, with an interface where only its own addresses count as local. `None`: not known.
pub fn kind(surroundings: &Surroundings, address: IpAddr, device: Option<&Device>) -> Option<u32> {
    if address.is_multicast() {
        return Some(MULTICAST);
    }
    if matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0) {
        return Some(BROADCAST);
    }
    match device {
        None | Some(Device::None) => {
            if surroundings.is_own(address)? {
                return Some(LOCAL);
            }
        }
        Some(Device::Unknown) => {
            if surroundings.is_own(address)? {
                return None;
            }
        }
        Some(Device::Named(name)) => {
            let own = if address.is_loopback() { Some("lo") } else { surroundings.holder_of(address) };
            let facts = surroundings.interfaces.get(name);
            if own == Some(name.as_str())
                || facts.is_some_and(|facts| facts.addresses.iter().any(|(held, _)| *held == address))
            {
                return Some(LOCAL);
            }
            if facts.is_none() && own.is_none() {
                return None;
            }
        }
    }
    if surroundings.broadcast(address) {
        return Some(BROADCAST);
    }
    match address {
        IpAddr::V4(_) => Some(UNICAST),
        // For IPv6 the kernel asks for a route; without one the address is unreachable.
        IpAddr::V6(_) => surroundings.route(address, None)?.and_then(|route| route.interface.as_ref()).map(|_| UNICAST),
    }
}

/// The interface by which a route leads to the address. `None`: not known; `Some(None)`: no route does, or not by that interface.
fn leads(surroundings: &Surroundings, address: IpAddr, device: Option<&Device>) -> Option<Option<String>> {
    let wanted = match device {
        Some(Device::Unknown) => return None,
        Some(Device::Named(name)) => Some(name),
        Some(Device::None) | None => None,
    };
    // Loopback's own packets are always let through.
    if wanted.is_some_and(|name| name == "lo") {
        return Some(wanted.cloned());
    }
    if surroundings.is_own(address)? {
        return Some(None);
    }
    let through = wanted.filter(|_| address.is_ipv6()).map(String::as_str);
    let best = surroundings.route(address, through)?;
    let Some(route) = best else { return Some(None) };
    let Some(wanted) = wanted else { return Some(route.interface.clone()) };
    // Several next hops stand as routes of the same prefix and metric.
    let beside = surroundings.routes.iter().flatten().any(|other| {
        other.prefix == route.prefix && other.metric == route.metric && other.interface.as_ref() == Some(wanted)
    });
    Some(beside.then(|| wanted.clone()))
}

/// `rpfilter`: whether a route leads back to the source, by the interface that it came by unless that does not matter.
pub fn returns(view: &View, surroundings: &Surroundings, loose: bool) -> Truth {
    let device = if loose && view.device_in != Device::Named("lo".to_owned()) { None } else { Some(&view.device_in) };
    let Some(address) = view::bits_address(&view.source()) else { return Truth::Maybe };
    Truth::of_option(leads(surroundings, address, device).map(|found| found.is_some()))
}

/// `addrtype`: whether the kind of an address is one of these (a bit for each `RTN_*`).
pub fn is_kind(view: &View, surroundings: &Surroundings, source: bool, kinds: u16, device: Option<&Device>) -> Truth {
    let bits = if source { view.source() } else { view.destination() };
    let Some(address) = view::bits_address(&bits) else { return Truth::Maybe };
    let Some(kind) = kind(surroundings, address, device) else { return Truth::Maybe };
    Truth::of(kinds & 1_u16.checked_shl(kind).unwrap_or(0) != 0)
}
