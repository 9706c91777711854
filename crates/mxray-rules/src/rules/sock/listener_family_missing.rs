//! SOCK113: a service is asked for in both address families and is there in one.

mod small_mtu;

use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::service_units;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Listener, Lookup, Purpose, Server, Sockets, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Prefix, Severity, Subject};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SOCK113",
    name: "listener-family-missing",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a service is asked for over IPv4 and IPv6, by its configuration or by DNS, and listens in one of them only",
    page: include_str!("listener_family_missing.md"),
    check,
};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Four,
    Six,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Four } else { Family::Six }
    }

    fn name(self) -> &'static str {
        match self {
            Family::Four => "IPv4",
            Family::Six => "IPv6",
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let own = view::known(&evidence.addresses, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        small_mtu::check(evidence, (instance, server), own, &mut judgement);
        for family in [Family::Four, Family::Six] {
            let (mut missing, mut published, mut asked) = (Vec::new(), Vec::new(), false);
            for (key, wanted) in &server.wanted {
                match state(sockets, wanted, family) {
                    State::NotAsked => {
                        let address = published_for(evidence, server, wanted, family);
                        match address.and_then(|address| Some((address, unserved(sockets, wanted, address)?))) {
                            Some((address, Ok(()))) => published.push((key, wanted, address)),
                            Some((_, Err(blind))) => judgement.blind(&RULE, &blind),
                            None => {}
                        }
                    }
                    State::Served => asked = true,
                    State::Missing => missing.push((key, wanted)),
                    State::Unclear(listener) => judgement.blind(&RULE, &unclear(listener)),
                }
            }
            match reachable(evidence, own, family) {
                Some(address) if !missing.is_empty() => {
                    judgement.find(finding(evidence, (instance, server), family, address, &missing));
                }
                None if !missing.is_empty() => judgement.well(format!(
                    "{instance} does not listen over {}, and this host has no address of it that others reach",
                    family.name()
                )),
                _ if !published.is_empty() => {
                    judgement.find(in_dns_only(evidence, (instance, server), family, &published));
                }
                _ if asked => judgement.well(format!("{instance} listens over {} where it is asked to", family.name())),
                _ => {}
            }
        }
    }
    Ok(judgement)
}

/// An address of this host that DNS has for the name under which its services are met.
fn published_for(evidence: &Evidence, server: &Server, wanted: &WantedListener, family: Family) -> Option<IpAddr> {
    let others_come = !matches!(wanted.purpose, Purpose::Internal | Purpose::Other) && !wanted.is_loopback_only();
    let lookup = evidence.lookups.get(&lookup_key(server, family)).filter(|_| others_come)?;
    let own = evidence.addresses.value()?;
    let all = lookup.addresses();
    all.value()?.iter().copied().find(|address| own.contains(address) && !address.is_loopback())
}

fn lookup_key(server: &Server, family: Family) -> String {
    let name = server.host_name.trim_end_matches('.').to_ascii_lowercase();
    Lookup::key(if family == Family::Four { "A" } else { "AAAA" }, &name)
}

/// Nothing takes connections to this port in the family of the address, while something does in the other one. `Err`: it hangs on
/// whether an IPv6 socket takes IPv4 too. `None`: it is served, or the service is not there at all, which is SOCK101's.
fn unserved(sockets: &Sockets, wanted: &WantedListener, address: IpAddr) -> Option<Result<(), Blind>> {
    let listeners = view::listeners_on(sockets, wanted.port);
    let reachable: Vec<&Listener> =
        listeners.iter().map(|(_, listener)| *listener).filter(|l| !l.is_loopback()).collect();
    let serves = |listener: &&Listener| listener.covers(address) || Family::of(listener.address) == Family::of(address);
    if reachable.is_empty() || reachable.iter().any(serves) {
        return None;
    }
    let unclear = |listener: &&&Listener| listener.is_wildcard() && listener.v6_only.blind().is_some();
    match reachable.iter().find(unclear) {
        Some(listener) if address.is_ipv4() => Some(Err(self::unclear(listener))),
        _ => Some(Ok(())),
    }
}

/// The configuration asks for one family, and DNS promises the other.
fn in_dns_only(
    evidence: &Evidence,
    (instance, server): (&str, &Server),
    family: Family,
    published: &[(&String, &WantedListener, IpAddr)],
) -> Finding {
    let words = Words::new(evidence, server);
    let ports: Vec<u16> = published.iter().map(|(_, wanted, _)| wanted.port).collect();
    let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let name = server.host_name.trim_end_matches('.');
    let address = published.first().map_or_else(String::new, |(_, _, address)| address.to_string());
    let (kind, first) = (if family == Family::Four { "A" } else { "AAAA" }, ports.first().copied().unwrap_or(25));
    let mut finding = RULE
        .finding(
            Subject::service(format!("{instance} over {}", family.name())),
            format!(
                "{instance} takes no {} connections on port {list}, and DNS sends clients there: {name} has the {kind} record {address}.",
                family.name()
            ),
        )
        .confidence(0.85)
        .touches(Subject::service(instance))
        .because(
            format!("{name} has the {kind} record {address}, an address of this host."),
            "DNS",
            view::pointer(["lookups", &lookup_key(server, family)]),
        )
        .because(
            format!("No TCP socket listens on port {list} over {}, while the other family is served.", family.name()),
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        )
        .data("family", family.name())
        .data("ports", ports.clone())
        .data("address", address.clone())
        .reference("RFC 5321 section 5.1")
        .reference("RFC 8305");
    for (key, wanted, _) in published {
        finding = finding.touches(view::port_scope(wanted.port)).because(
            format!("{} is asked for in one family.", wanted.service),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", key]),
        );
    }
    let verify = view::look_again(first);
    let listen = "Listen in both families, then restart the server: which ones it listens in is decided at its start.";
    let listen = match server.software.as_str() {
        "postfix" => words.setting_fix(listen, "inet_protocols", "all").command(words.restart()),
        _ => Fix::here(listen).command(words.restart()),
    };
    finding.fix(listen.verify(verify.clone())).fix(
        Fix::here(format!("Or take the {kind} record {address} of {name} out of DNS, if nothing else is met by it."))
            .verify(verify),
    )
}

/// What one service does in one family.
enum State<'a> {
    NotAsked,
    Served,
    Missing,
    /// It hangs on whether this IPv6 socket takes IPv4 too.
    Unclear(&'a Listener),
}

/// Only what is asked for on all addresses: a named address without a listener is SOCK101's, and so is a service that
/// listens nowhere.
fn state<'a>(sockets: &'a Sockets, wanted: &WantedListener, family: Family) -> State<'a> {
    let any = |address: &&IpAddr| address.is_unspecified();
    let Some(asked) = wanted.addresses.iter().filter(any).find(|address| Family::of(**address) == family) else {
        return State::NotAsked;
    };
    let elsewhere = wanted.addresses.iter().filter(any).any(|address| Family::of(*address) != family);
    if wanted.purpose == Purpose::Internal || !elsewhere {
        return State::NotAsked;
    }
    let listeners = view::listeners_on(sockets, wanted.port);
    let reachable: Vec<&Listener> =
        listeners.iter().map(|(_, listener)| *listener).filter(|l| !l.is_loopback()).collect();
    if reachable.iter().any(|listener| view::overlaps(*asked, listener)) {
        return State::Served;
    }
    match reachable.as_slice() {
        [] => State::NotAsked,
        all => match all.iter().find(|listener| listener.is_wildcard() && listener.v6_only.blind().is_some()) {
            Some(listener) if family == Family::Four => State::Unclear(listener),
            _ => State::Missing,
        },
    }
}

fn unclear(listener: &Listener) -> Blind {
    listener.v6_only.blind().cloned().unwrap_or_else(|| Blind::NotAttempted {
        why: format!("whether the listener on port {} takes IPv4 too is not known", listener.port),
    })
}

/// An address of this host in that family by which others come: IPv6 from the global range (a unique local or
/// link-local one is nobody's route to here), IPv4 any but loopback and link-local, because behind a translation the
/// private one is what connections arrive at.
fn reachable(evidence: &Evidence, own: &BTreeSet<IpAddr>, family: Family) -> Option<IpAddr> {
    let declared: Vec<Prefix> =
        evidence.declared.public_prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
    own.iter().copied().find(|address| match address {
        _ if Family::of(*address) != family || address.is_loopback() => false,
        _ if declared.iter().any(|prefix| prefix.contains(*address)) => true,
        IpAddr::V4(four) => !four.is_link_local() && !four.is_unspecified(),
        IpAddr::V6(six) => {
            // 2000::/3 without the documentation ranges (RFC 3849, RFC 9637) and Teredo and its neighbours (2001::/23).
            let [first, second, ..] = six.segments();
            let special =
                (first == 0x2001 && (second < 0x200 || second == 0xdb8)) || first == 0x3fff || first == 0x2002;
            first & 0xe000 == 0x2000 && !special
        }
    })
}

fn finding(
    evidence: &Evidence,
    (instance, server): (&str, &Server),
    family: Family,
    address: IpAddr,
    missing: &[(&String, &WantedListener)],
) -> Finding {
    let words = Words::new(evidence, server);
    let ports: Vec<u16> = missing.iter().map(|(_, wanted)| wanted.port).collect();
    let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut finding = RULE
        .finding(
            Subject::service(format!("{instance} over {}", family.name())),
            format!(
                "{instance} takes no {} connections on port {list}: its configuration asks for both families, and this host has {address}.",
                family.name()
            ),
        )
        .confidence(0.9)
        .touches(Subject::service(instance))
        .because(
            format!("No TCP socket listens on port {list} over {}, while the other family is served.", family.name()),
            "sock_diag",
            view::pointer(["sockets", "value", "listeners"]),
        )
        .because(
            format!("The host has the address {address}."),
            "/proc/net",
            view::pointer(["addresses"]),
        )
        .data("family", family.name())
        .data("ports", ports.clone())
        .data("address", address.to_string())
        .reference("postconf(5), inet_protocols")
        .reference("RFC 5321 section 5.2");
    if let Some((key, wanted)) = missing.first() {
        finding = finding.because(
            format!("{} is asked for on all addresses of both families.", wanted.service),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", key]),
        );
    }
    for port in &ports {
        finding = finding.touches(view::port_scope(*port));
    }
    let first = ports.first().copied().unwrap_or(25);
    match by_unit(evidence, server, first) {
        Some((unit, file)) => finding.fix(
            Fix::here(format!("systemd opens the port for {unit}, which names one family only: add the other one."))
                .config(file, None, "[Socket]\nListenStream=[::]:PORT\nListenStream=0.0.0.0:PORT\nBindIPv6Only=ipv6-only")
                .command("systemctl daemon-reload")
                .command(format!("systemctl restart {}", mxray_model::text::shell_word(unit)))
                .verify(view::look_again(first)),
        ),
        None => finding.fix(
            Fix::here("Restart the server: which families it listens in is decided at its start, a reload does not change that.")
                .command(words.restart())
                .verify(view::look_again(first)),
        ),
    }
}

/// The socket unit that opens this port for the server, and where its drop-in belongs.
fn by_unit<'a>(evidence: &'a Evidence, server: &'a Server, port: u16) -> Option<(&'a str, String)> {
    let sockets = evidence.sockets.value()?;
    let (_, listener) = view::listeners_on(sockets, port).into_iter().next()?;
    let name = service_units::holds(evidence, server, listener)?;
    Some((name.as_str(), format!("/etc/systemd/system/{name}.d/families.conf")))
}
