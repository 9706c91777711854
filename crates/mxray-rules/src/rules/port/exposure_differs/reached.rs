//! From where a port is reached, by its addresses and by the packet filters, against what the file decided.

use super::{Compared, Drift, Sockets, Way, exposure_text};
use crate::assigned::{self, Bound, Reach};
use crate::view;
use mxray_model::evidence::{Assignment, Exposure, Listener};
use mxray_model::special::is_special;
use mxray_model::{Evidence, Prefix};
use std::net::IpAddr;

pub(super) fn compare(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    let bounds: Vec<Bound> = listeners.iter().map(|(_, listener)| assigned::bound(evidence, listener)).collect();
    if let Some(Bound::Unknown(blind)) = bounds.iter().find(|bound| matches!(bound, Bound::Unknown(_))) {
        compared.blind.push(blind.clone());
        return;
    }
    let only_here = listeners.iter().all(|(_, listener)| listener.is_loopback());
    match &entry.exposure {
        Exposure::Loopback => loopback(evidence, entry, listeners, compared),
        _ if only_here => compared.drifts.push(narrower(entry, listeners)),
        Exposure::Private => {
            let public = listeners.iter().zip(&bounds).filter(|(_, bound)| **bound == Bound::Public);
            for ((key, listener), _) in public {
                let reach = assigned::reach(evidence, listener, |from| is_stranger(evidence, from));
                open(entry, (key, listener), &reach, compared);
            }
        }
        Exposure::Prefixes(prefixes) => networks(evidence, entry, prefixes, listeners, compared),
        Exposure::Public => public(evidence, entry, listeners, compared),
    }
}

/// Whoever is neither this host nor in a private network. The documentation's networks stand for the Internet where a filter is
/// asked about a stranger.
fn is_stranger(evidence: &Evidence, address: IpAddr) -> bool {
    const EXAMPLES: [&str; 4] = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];
    let mut examples = EXAMPLES.iter().filter_map(|prefix| prefix.parse::<Prefix>().ok());
    evidence.declared.is_public(address) || !is_special(address) || examples.any(|prefix| prefix.contains(address))
}

fn bound_text(listener: &Listener) -> String {
    format!("it is bound to {}", assigned::place(listener))
}

fn narrower(entry: &Assignment, listeners: &Sockets<'_>) -> Drift {
    let places: Vec<String> = listeners.iter().map(|(_, listener)| assigned::place(listener)).collect();
    Drift {
        way: Way::Narrower,
        text: format!(
            "it is bound to loopback alone ({}), and should be reached from {}",
            places.join(", "),
            exposure_text(&entry.exposure)
        ),
        pointer: view::pointer(["sockets", "value", "listeners"]),
        source: "sock_diag",
    }
}

/// A socket that others find by its address: only a filter can still keep them away.
fn open(entry: &Assignment, (key, listener): (&str, &Listener), reach: &Reach, compared: &mut Compared) {
    let aim = exposure_text(&entry.exposure);
    match reach {
        Reach::Shut(..) => {}
        Reach::Unknown(blind) => compared.blind.push(blind.clone()),
        Reach::NotAsked => compared.not_asked = true,
        Reach::Open(None) => compared.drifts.push(Drift {
            way: Way::Wider,
            text: format!(
                "{}, no packet filter is there, and it should be reached from {aim} only",
                bound_text(listener)
            ),
            pointer: view::listener_pointer(key),
            source: "sock_diag",
        }),
        Reach::Open(Some(answer)) => compared.drifts.push(Drift {
            way: Way::Wider,
            text: format!(
                "{}, the packet filters let others in, and it should be reached from {aim} only",
                bound_text(listener)
            ),
            pointer: assigned::reach_pointer(Some(answer)),
            source: "packet filter",
        }),
    }
}

/// For this machine alone. Where the file names the wider address itself, only a filter can be what keeps others away; where it
/// names none, the address is the drift, unless a filter is known to do it.
fn loopback(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    for (key, listener) in listeners.iter().filter(|(_, listener)| !listener.is_loopback()) {
        let named = entry.addresses.iter().any(|address| address.to_canonical() == listener.address.to_canonical());
        let reach = assigned::reach(evidence, listener, |_| true);
        match reach {
            Reach::Unknown(_) | Reach::NotAsked if !named && entry.addresses.is_empty() => {
                compared.drifts.push(Drift {
                    way: Way::Wider,
                    text: format!("{}, and it is for this machine alone", bound_text(listener)),
                    pointer: view::listener_pointer(key),
                    source: "sock_diag",
                });
            }
            reach => open(entry, (key, listener), &reach, compared),
        }
    }
}

fn networks(
    evidence: &Evidence,
    entry: &Assignment,
    prefixes: &[String],
    listeners: &Sockets<'_>,
    compared: &mut Compared,
) {
    let prefixes: Vec<Prefix> = prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
    let inside = |address: IpAddr| prefixes.iter().any(|prefix| prefix.contains(address));
    for (key, listener) in listeners.iter().filter(|(_, listener)| !listener.is_loopback()) {
        // An address of such a network, which nobody routes to: its neighbours alone reach it.
        let among_them =
            !listener.is_wildcard() && inside(listener.address) && !evidence.declared.is_public(listener.address);
        if !among_them {
            open(entry, (key, listener), &assigned::reach(evidence, listener, |from| !inside(from)), compared);
        }
        if let Reach::Shut(answer, rule) = assigned::reach(evidence, listener, inside) {
            compared.drifts.push(shut(entry, &answer, &rule));
        }
    }
}

fn public(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    let asked: Vec<Reach> = listeners
        .iter()
        .filter(|(_, listener)| !listener.is_loopback())
        .map(|(_, listener)| assigned::reach(evidence, listener, |from| is_stranger(evidence, from)))
        .collect();
    // One family that is let in is enough: which families must be is another rule's question.
    if asked.iter().any(|reach| matches!(reach, Reach::Open(_))) {
        return;
    }
    for reach in asked {
        match reach {
            Reach::Shut(answer, rule) => return compared.drifts.push(shut(entry, &answer, &rule)),
            Reach::Unknown(blind) => return compared.blind.push(blind),
            Reach::NotAsked => return compared.not_asked = true,
            Reach::Open(_) => {}
        }
    }
}

fn shut(entry: &Assignment, answer: &str, rule: &str) -> Drift {
    Drift {
        way: Way::Narrower,
        text: format!(
            "the packet filter keeps others out ({rule}), and it should be reached from {}",
            exposure_text(&entry.exposure)
        ),
        pointer: assigned::reach_pointer(Some(answer)),
        source: "packet filter",
    }
}
