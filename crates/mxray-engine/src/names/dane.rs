//! DANE of a domain's mail servers: per host, address and key, its TLSA records against the chain that was presented there
//! (RFC 7672 section 2.2).
//!
//! What must not live here: what a record means (`mxray-auth`), DNSSEC (`zone.rs` has found out what is signed).

use super::Context;
use mxray_auth::ask::Kind;
use mxray_auth::transport::{Dane, dane as judge};
use mxray_model::evidence::published::{DaneResult, DaneVerdict, Domain, MailHost, SecurityChain, SecurityState};
use mxray_model::evidence::{
    DnsOutcome, Evidence, ExaminedAddress, ExaminedEndpoint, Lookup, PresentedCertificate, SessionProtocol, TlsEnding,
};
use mxray_model::session::KeyKind;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[cfg(test)]
#[path = "dane_tests.rs"]
mod tests;

/// Where mail between servers goes.
const SMTP: u16 = 25;
/// Most addresses of one host that are told.
const ADDRESSES_MAX: usize = 32;

/// One chain of one address.
struct Shown {
    /// `RSA`, where another chain of the same address has another kind of key.
    key: Option<&'static str>,
    chain: Seen<Vec<Vec<u8>>>,
    /// It was presented to somebody who asked for another name.
    other_name: Option<String>,
}

/// By `HOST:PORT ADDRESS`; a chain with a second kind of key is told apart behind it.
pub(super) fn of_domain(domain: &Domain, evidence: &Evidence, context: &Context<'_>) -> BTreeMap<String, DaneVerdict> {
    let mut verdicts = BTreeMap::new();
    let Seen::Value(routing) = &domain.route else { return verdicts };
    for host in routing.route.hosts() {
        let base = base(host, domain);
        let name = format!("_{SMTP}._tcp.{base}");
        let lookup = context.run.lookup(&name, Kind::Tlsa);
        for address in host.addresses.value().into_iter().flatten().take(ADDRESSES_MAX) {
            let place = format!("{}:{SMTP} {address}", host.name);
            for shown in shown(evidence, host, *address, &base) {
                let verdict = one(domain, &routing.domain, (host, *address), &lookup, &shown, evidence);
                let key = shown.key.map_or_else(|| place.clone(), |key| format!("{place} {key}"));
                verdicts.insert(key, verdict);
            }
        }
    }
    verdicts
}

/// The name that TLSA records are looked for under: where an alias leads, if it is signed all the way (RFC 7672 section 2.2.2).
fn base(host: &MailHost, domain: &Domain) -> String {
    match &host.alias {
        Some(target) if address_security(domain, &host.name, true).value() == Some(&true) => target.clone(),
        _ => host.name.clone(),
    }
}

fn one(
    domain: &Domain,
    name: &str,
    (host, address): (&MailHost, IpAddr),
    lookup: &Lookup,
    shown: &Shown,
    evidence: &Evidence,
) -> DaneVerdict {
    let host_secure = address_security(domain, &host.name, address.is_ipv4());
    let now_s = evidence.clock.now_s.value().copied().unwrap_or_default();
    let tlsa = Lookup::key(Kind::Tlsa.as_str(), &lookup.name);
    let mut verdict = judge(&Dane {
        lookup,
        mx_secure: mx_security(domain, name),
        host_secure: host_secure.clone(),
        tlsa_secure: security(domain, &tlsa),
        chain: shown.chain.clone(),
        names: vec![host.name.clone(), name.to_owned()],
        now_s,
    });
    let unsigned = matches!(host_secure, Seen::Value(false));
    if verdict.result == DaneResult::LookupFails && unsigned {
        // Whoever follows RFC 7672 section 2.2.2 does not ask for TLSA records of a host whose addresses are not signed.
        verdict.result = DaneResult::NotUsed;
        verdict.reason = format!("{}; its addresses are not signed, so that nobody asks", verdict.reason);
    }
    if verdict.result == DaneResult::Mismatch
        && let Some(other) = &shown.other_name
    {
        verdict.result = DaneResult::Unknown;
        verdict.reason = format!("the chain was presented to a client that asked for {other}");
    }
    let questions = [format!("MX {name}"), address_key(&host.name, address.is_ipv4()), tlsa];
    let asked = !matches!(lookup.outcome, DnsOutcome::NotAsked(_) | DnsOutcome::NoAnswer { .. });
    if asked && let Some(bogus) = questions.iter().find(|key| is_bogus(domain, key)) {
        verdict.result = DaneResult::LookupFails;
        verdict.reason = format!("the signatures of {bogus} do not hold");
    }
    verdict
}

/// What was presented at an address, by each key that it has.
fn shown(evidence: &Evidence, host: &MailHost, address: IpAddr, base: &str) -> Vec<Shown> {
    let Some((endpoint, examined)) = examined(evidence, host, address) else {
        let chain = Seen::not_attempted("nobody connected to it");
        return vec![Shown { key: None, chain, other_name: None }];
    };
    let is_asked_for = |name: &str| name.eq_ignore_ascii_case(&host.name) || name.eq_ignore_ascii_case(base);
    let asked = examined.tls.value().and_then(|tls| tls.server_name.clone());
    let other_name = match asked {
        Some(name) if is_asked_for(&name) => None,
        Some(name) => Some(name),
        None => Some(format!("no name (as {})", endpoint.host)),
    };
    let chain = chain(examined);
    let mut all = vec![Shown { key: None, chain, other_name: other_name.clone() }];
    let first = all.first().and_then(|shown| shown.chain.value()).and_then(|ders| ders.first()).cloned();
    for hello in &examined.hellos {
        let key = match hello.offer.keys {
            KeyKind::Rsa => "RSA",
            KeyKind::Ecdsa => "ECDSA",
            KeyKind::Any => continue,
        };
        let Some(certificates) = hello.certificates.value().filter(|chain| !chain.is_empty()) else { continue };
        let ders: Vec<Vec<u8>> = certificates.iter().map(|der| der.0.clone()).collect();
        if ders.first() != first.as_ref() && !all.iter().any(|shown| shown.key == Some(key)) {
            all.push(Shown { key: Some(key), chain: Seen::Value(ders), other_name: other_name.clone() });
        }
    }
    all
}

/// The endpoint behind an address: by the host's name, or by any.
fn examined<'a>(
    evidence: &'a Evidence,
    host: &MailHost,
    address: IpAddr,
) -> Option<(&'a ExaminedEndpoint, &'a ExaminedAddress)> {
    let at = address.to_string();
    let mut found: Vec<(&ExaminedEndpoint, &ExaminedAddress)> = evidence
        .endpoints
        .values()
        .filter(|endpoint| endpoint.port == SMTP && endpoint.protocol == SessionProtocol::Smtp)
        .filter_map(|endpoint| Some((endpoint, endpoint.addresses.get(&at)?)))
        .collect();
    found.sort_by_key(|(endpoint, _)| !endpoint.host.eq_ignore_ascii_case(&host.name));
    found.first().copied()
}

/// As presented. Absent: STARTTLS is not offered; where it could not be heard, unknown.
fn chain(examined: &ExaminedAddress) -> Seen<Vec<Vec<u8>>> {
    let ders = |chain: &Vec<PresentedCertificate>| chain.iter().map(|one| one.der.clone()).collect::<Vec<_>>();
    match &examined.tls {
        Seen::Value(tls) => match &tls.chain {
            Seen::Value(chain) if chain.iter().all(|one| !one.der.is_empty()) => Seen::Value(ders(chain)),
            Seen::Value(_) => Seen::not_attempted("the certificates themselves were not kept"),
            Seen::Absent => Seen::not_attempted("it presented no certificate"),
            Seen::Unknown(_) if tls.ending != TlsEnding::Established => {
                let (step, error) = ("the TLS handshake".to_owned(), tls.ending.words());
                Seen::Unknown(Blind::Failed { step, error })
            }
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        },
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        Seen::Absent => match &examined.starttls.offered {
            Seen::Value(false) => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
            Seen::Value(true) | Seen::Absent => Seen::not_attempted("no handshake was begun"),
        },
    }
}

/// DNSSEC of the MX records themselves.
fn mx_security(domain: &Domain, name: &str) -> Seen<bool> {
    security(domain, &format!("MX {name}"))
}

/// DNSSEC of a host's addresses of one family.
fn address_security(domain: &Domain, host: &str, ipv4: bool) -> Seen<bool> {
    security(domain, &address_key(host, ipv4))
}

fn address_key(host: &str, ipv4: bool) -> String {
    Lookup::key(if ipv4 { Kind::A } else { Kind::Aaaa }.as_str(), host)
}

/// What DNSSEC makes of one question, `TYPE name`.
fn security(domain: &Domain, key: &str) -> Seen<bool> {
    match walked(domain, key) {
        Seen::Value(chain) => chain.secure(),
        Seen::Absent => Seen::not_attempted("its signatures were not looked at"),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

fn is_bogus(domain: &Domain, key: &str) -> bool {
    walked(domain, key).value().is_some_and(|chain| chain.state == SecurityState::Bogus)
}

/// The MX records' own chain stands by itself.
fn walked<'a>(domain: &'a Domain, key: &str) -> Seen<&'a SecurityChain> {
    if key.starts_with("MX ") {
        return domain.security.as_ref();
    }
    domain.secured.get(key).map_or(Seen::Absent, Seen::Value)
}
