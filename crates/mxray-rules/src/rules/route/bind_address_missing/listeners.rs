//! The half of ROUTE105 that looks at listeners: a service is to be taken on an address that is not here. A restart, which
//! is right where only the running server is older than its configuration, would then end the server.

use super::{RULE, SOURCE, may_bind};
use crate::rule::Judgement;
use crate::words::Words;
use crate::{place, view};
use mxray_model::evidence::{Routing, Server, WantedListener};
use mxray_model::{Evidence, Finding, Fix, Seen, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn missing(
    evidence: &Evidence,
    servers: &BTreeMap<String, Server>,
    routing: &Routing,
    judgement: &mut Judgement,
) {
    // What runs in another namespace binds there; SOCK101 says that it cannot be judged here.
    let is_here = |(instance, server): &(&String, &Server)| place::elsewhere(evidence, instance, server).is_none();
    for (instance, server) in view::enabled(servers).filter(is_here) {
        for (address, services) in by_address(evidence, server) {
            let text = address.to_string();
            let Some(bound) = routing.sources.get(&text).filter(|_| !routing.addresses.contains_key(&text)) else {
                continue;
            };
            match may_bind(bound) {
                // Whether it could be bound does not matter to Postfix: it looks for the interface.
                _ if in_list(server, &text) && bound.local == Seen::Value(false) => {
                    judgement.find(found(evidence, (instance, server), address, &services));
                }
                Seen::Value(_) => {}
                Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
                Seen::Absent => judgement.find(found(evidence, (instance, server), address, &services)),
            }
        }
    }
}

/// An address of Postfix's `inet_interfaces` that no interface has ends each of its programs as soon as it asks for the
/// list: smtpd and trivial-rewrite do, so that a server that still listens serves nobody.
fn in_list(server: &Server, address: &str) -> bool {
    server.software == "postfix" && view::list(server.setting("inet_interfaces")).contains(&address)
}

/// The addresses that listeners name, and on which nobody listens yet.
fn by_address<'a>(evidence: &Evidence, server: &'a Server) -> BTreeMap<IpAddr, Vec<&'a WantedListener>> {
    let served = |wanted: &WantedListener, address: IpAddr| {
        let listeners = evidence.sockets.value().map(|sockets| view::listeners_on(sockets, wanted.port));
        listeners.into_iter().flatten().any(|(_, listener)| listener.covers(address))
    };
    let mut found: BTreeMap<IpAddr, Vec<&WantedListener>> = BTreeMap::new();
    for wanted in server.wanted.values().filter(|wanted| !view::is_disabled(server, &wanted.service)) {
        for address in wanted.addresses.iter().copied().filter(|a| !a.is_unspecified() && !a.is_loopback()) {
            if in_list(server, &address.to_string()) || !served(wanted, address) {
                found.entry(address).or_default().push(wanted);
            }
        }
    }
    found
}

fn found(
    evidence: &Evidence,
    (instance, server): (&String, &Server),
    address: IpAddr,
    services: &[&WantedListener],
) -> Finding {
    let text = address.to_string();
    let names: Vec<String> = services.iter().map(|wanted| view::service_text(wanted)).collect();
    let words = Words::new(evidence, server);
    let (what, place) = asked_by(server, &text, services);
    let mut fix = Fix::here(format!(
        "Put the address on the interface that it belongs to, where the network is configured; or take it out of {what}. \
         Until then do not restart the server: it would not start."
    ))
    .command("ip -br address");
    if let Some((file, line, text)) = place {
        fix = fix.config(file, line, text);
    }
    let mut finding = RULE
        .finding(
            Subject::new(SubjectKind::Address, text.as_str()),
            format!("{instance} is to listen on {text}, which this host does not have: {}.", names.join(", ")),
        )
        .confidence(0.96)
        .because(
            format!("{text} is on no interface, and no route makes it local."),
            SOURCE,
            view::pointer(["routing", "value", "addresses"]),
        )
        .data("address", text.as_str())
        .data("setting", what)
        .data("services", names)
        .fix(fix)
        .fix(
            words
                .listen_anew("Then restart the server: addresses are chosen at its start.")
                .verify(services.first().map_or_else(String::new, |wanted| view::look_again(wanted.port))),
        )
        .reference("bind(2), EADDRNOTAVAIL")
        .reference(words.manual());
    for wanted in services {
        let text = format!("{} is configured for {text}.", view::service_text(wanted));
        let pointer = view::server_pointer(instance, &["wanted"]);
        finding = finding.because(text, wanted.at.to_string(), pointer);
        finding = finding.touches(view::port_scope(wanted.port));
    }
    // A server that cannot bind to one of its addresses ends.
    if server.master.is_absent() { finding.touches(Subject::service(instance)) } else { finding }
}

/// What names the address, and the line without it, where that can be said.
fn asked_by(
    server: &Server,
    address: &str,
    services: &[&WantedListener],
) -> (String, Option<(String, Option<u32>, String)>) {
    let interfaces = view::list(server.setting("inet_interfaces"));
    if let Some(at) = server.set_at("inet_interfaces").filter(|_| in_list(server, address)) {
        let others: Vec<&str> = interfaces.into_iter().filter(|one| *one != address).collect();
        let others = if others.is_empty() { "all".to_owned() } else { others.join(", ") };
        return (
            "inet_interfaces".to_owned(),
            Some((at.file.clone(), Some(at.line), format!("inet_interfaces = {others}"))),
        );
    }
    (services.first().map_or_else(String::new, |wanted| wanted.at.to_string()), None)
}
