//! The addresses that are bound, against those that the file names.

use super::{Compared, Drift, Sockets, Way};
use crate::assigned;
use crate::view;
use mxray_model::binding::Binding;
use mxray_model::evidence::{Assignment, V6Policy};
use mxray_model::{Evidence, Seen};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn compare(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    if !entry.addresses.is_empty() {
        wider(entry, listeners, compared);
        narrower(evidence, entry, listeners, compared);
    }
    families(evidence, entry, listeners, compared);
}

/// What one socket stands for: a family's wildcard, or an address.
fn parts(binding: &Binding) -> Vec<IpAddr> {
    match binding.address.to_canonical() {
        IpAddr::V6(v6) if v6.is_unspecified() && !binding.v6_only => {
            vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        }
        address => vec![address],
    }
}

/// Is `address` within what `whole` stands for?
fn within(address: IpAddr, whole: IpAddr) -> bool {
    address == whole || (whole.is_unspecified() && whole.is_ipv4() == address.is_ipv4())
}

/// `allowed`: what the file lets an IPv6 wildcard take besides; else only what it has to.
fn declared(entry: &Assignment, allowed: bool) -> Vec<IpAddr> {
    let v6_only = match entry.v6 {
        V6Policy::Dual => false,
        V6Policy::Any => !allowed,
        V6Policy::Separate | V6Policy::None => true,
    };
    let each = |address: &IpAddr| parts(&Binding { v6_only, ..Binding::new(&entry.protocol, *address, 0) });
    entry.addresses.iter().flat_map(each).collect()
}

fn names(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn written(entry: &Assignment) -> String {
    names(&entry.addresses.iter().copied().collect::<Vec<_>>())
}

fn wider(entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    let allowed = declared(entry, true);
    for (key, listener) in listeners {
        // /proc/net does not tell whether an IPv6 wildcard takes IPv4: then only what is certain is held against it.
        let known = !listener.v6_only.blind().is_some_and(|_| listener.is_wildcard());
        let binding = Binding { v6_only: !known || listener.v6_only == Seen::Value(true), ..Binding::of(listener) };
        let beyond: Vec<IpAddr> = parts(&binding)
            .into_iter()
            .filter(|part| !allowed.iter().any(|declared| within(*part, *declared)))
            .collect();
        if !beyond.is_empty() {
            compared.drifts.push(Drift {
                way: Way::Wider,
                text: format!("it is bound to {}, and the file has {}", assigned::place(listener), written(entry)),
                pointer: view::listener_pointer(key),
                source: "sock_diag",
            });
        }
    }
}

/// Every address of the file has to be served. A family that this host does not have cannot be.
fn narrower(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    let bound: Vec<IpAddr> = listeners.iter().flat_map(|(_, listener)| parts(&Binding::of(listener))).collect();
    let has_ipv6 = match &evidence.addresses {
        Seen::Value(own) => own.iter().any(IpAddr::is_ipv6),
        Seen::Absent => false,
        Seen::Unknown(_) => true,
    };
    let missing: Vec<IpAddr> = declared(entry, false)
        .into_iter()
        .filter(|declared| has_ipv6 || declared.is_ipv4())
        .filter(|declared| !bound.iter().any(|part| within(*declared, *part)))
        .collect();
    if !missing.is_empty() {
        compared.drifts.push(Drift {
            way: Way::Narrower,
            text: format!("nothing of it listens on {}, which the file has", names(&missing)),
            pointer: view::pointer(["sockets", "value", "listeners"]),
            source: "sock_diag",
        });
    }
}

/// How the file wants IPv6 to be served, beside the addresses.
fn families(evidence: &Evidence, entry: &Assignment, listeners: &Sockets<'_>, compared: &mut Compared) {
    let wildcard = listeners.iter().find(|(_, listener)| listener.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let ipv6 = listeners.iter().find(|(_, l)| l.address.to_canonical().is_ipv6());
    let mut drift = |way, text: &str, key: &str| {
        let (text, pointer) = (text.to_owned(), view::listener_pointer(key));
        compared.drifts.push(Drift { way, text, pointer, source: "sock_diag" });
    };
    match (entry.v6, wildcard, ipv6) {
        // With addresses in the file this was told already.
        (V6Policy::None, _, Some((key, _))) if entry.addresses.is_empty() => {
            drift(Way::Wider, "it listens on IPv6, and the file has v6 = \"none\"", key);
        }
        (V6Policy::Separate, Some((key, listener)), _) if listener.v6_only == Seen::Value(false) => {
            drift(Way::Wider, "its IPv6 socket takes IPv4 as well, and the file has v6 = \"separate\"", key);
        }
        (V6Policy::Dual | V6Policy::Separate, _, None) if entry.addresses.is_empty() => {
            let own = evidence.addresses.value();
            if own.is_some_and(|own| own.iter().any(IpAddr::is_ipv6)) {
                let text = "it does not listen on IPv6, and the file wants that".to_owned();
                let pointer = view::pointer(["sockets", "value", "listeners"]);
                compared.drifts.push(Drift { way: Way::Narrower, text, pointer, source: "sock_diag" });
            }
        }
        _ => {}
    }
}
