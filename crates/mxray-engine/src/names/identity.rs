//! Fills what names say of an address that mail leaves from: PTR and its confirmation, HELO, SPF for each domain.
//!
//! What must not live here: which addresses these are (`mod.rs`), and whether what they say is well (rules).

use super::Context;
use mxray_auth::identity::{Addresses, Pointers};
use mxray_auth::spf::Spf;
use mxray_model::evidence::published::{HelloName, Names, SenderAddress, SenderWhy, SpfVerdict};
use mxray_model::evidence::{AddressState, Evidence, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Domains that one address is evaluated for. Hosts of many customers have thousands of them, alike in their SPF.
const DOMAINS_MAX: usize = 16;
/// Names in HELO of one address.
const HELLO_MAX: usize = 8;
/// Other addresses of this host that are looked at: hosts with hundreds have pools of them, all alike.
const SPARES_MAX: usize = 6;

/// `domains`: those that this host writes mail for.
pub(super) fn look(address: IpAddr, sender: &mut SenderAddress, domains: &[String], context: &Context<'_>) {
    match context.run.run(Pointers { address }) {
        Ok(evaluated) => {
            sender.pointers = evaluated.outcome.pointers;
            sender.confirmed = evaluated.outcome.confirmed;
        }
        Err(blind) => (sender.pointers, sender.confirmed) = (Seen::Unknown(blind.clone()), Seen::Unknown(blind)),
    }
    let mut said = said(&sender.why, context.evidence);
    let now_s = context.evidence.clock.now_s.value().copied().unwrap_or(0);
    // Who says nothing of itself is taken for one that says the name behind its address.
    let by_pointer = sender.confirmed.value().and_then(|names| names.first()).cloned();
    let helo = said.keys().next().cloned().or(by_pointer).unwrap_or_else(|| address_literal(address));
    for (name, servers) in std::mem::take(&mut said) {
        let addresses = match context.run.run(Addresses { name: name.clone() }) {
            Ok(evaluated) => evaluated.outcome,
            Err(blind) => Seen::Unknown(blind),
        };
        let spf = verdict(context, address, &name, "", now_s);
        sender.hello.insert(untrusted(name.as_bytes()), HelloName { servers, addresses, spf });
    }
    for domain in domains.iter().take(DOMAINS_MAX) {
        if let Seen::Value(verdict) = verdict(context, address, &helo, &format!("postmaster@{domain}"), now_s) {
            sender.spf.insert(domain.clone(), verdict);
        }
    }
}

/// Other addresses of this host from which mail could leave by the same families: one of them may be the one that was meant.
pub(super) fn spares(names: &Names, evidence: &Evidence) -> Vec<IpAddr> {
    let is_public = |address: &IpAddr| evidence.declared.is_public(*address);
    let sending: BTreeSet<IpAddr> = names.senders.keys().filter_map(|text| text.parse().ok()).collect();
    if !sending.iter().any(is_public) {
        return Vec::new();
    }
    let Some(routing) = evidence.routing.value() else { return Vec::new() };
    let usable = routing.addresses.iter().filter(|(_, own)| own.vrf.is_none() && own.state == AddressState::Usable);
    let others = usable.filter_map(|(text, _)| text.parse::<IpAddr>().ok());
    let others = others.filter(|address| !sending.contains(address) && is_public(address));
    others.filter(|address| sending.iter().any(|other| other.is_ipv4() == address.is_ipv4())).take(SPARES_MAX).collect()
}

/// The names that the servers behind an address say, each with the servers.
fn said(why: &BTreeSet<SenderWhy>, evidence: &Evidence) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let servers = why.iter().filter_map(|why| match why {
        SenderWhy::Route { server } | SenderWhy::Bound { server } => Some(server),
        SenderWhy::Asked => None,
    });
    for instance in servers {
        let Some(server) = evidence.servers.value().and_then(|servers| servers.get(instance)) else { continue };
        for name in names(server) {
            if found.len() < HELLO_MAX || found.contains_key(name) {
                found.entry(name.to_owned()).or_default().insert(instance.clone());
            }
        }
    }
    found
}

fn names(server: &Server) -> impl Iterator<Item = &str> {
    server.egress.hello.iter().map(|name| name.value.as_str())
}

/// RFC 5321 section 4.1.3.
fn address_literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

fn verdict(context: &Context<'_>, ip: IpAddr, helo: &str, mail_from: &str, now_s: i64) -> Seen<SpfVerdict> {
    if mail_from.is_empty() && !helo.contains('.') {
        let why = "a name without a dot has no SPF record".to_owned();
        return Seen::Unknown(Blind::NotAttempted { why });
    }
    let (helo, mail_from, receiver) = (helo.to_owned(), mail_from.to_owned(), "receiver.invalid".to_owned());
    match context.run.run(Spf { ip, helo, mail_from, receiver, now_s }) {
        Ok(evaluated) => Seen::Value(evaluated.outcome),
        Err(blind) => Seen::Unknown(blind),
    }
}
