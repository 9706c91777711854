//! Verdicts per address and key, from what sessions showed. A record `3 0 0` carries the whole certificate, so that any bytes
//! do for one.

use super::*;
use mxray_auth::ask::{answered, unanswered};
use mxray_model::evidence::published::{MailRoute, MailRouting};
use mxray_model::evidence::{DnsRecord, RecordData};
use mxray_model::session::{Raw, TlsHelloSession, TlsOffer};
use serde_json::json;

const HOST: &str = "mx.example.org";
const ADDRESS: &str = "192.0.2.25";

fn tlsa(data: &str) -> Lookup {
    let data = RecordData::Tlsa { usage: 3, selector: 0, matching: 0, data: data.to_owned() };
    let name = format!("_25._tcp.{HOST}");
    answered(&name, Kind::Tlsa, vec![DnsRecord { name: name.clone(), ttl_s: 60, data }])
}

fn chain_of(state: SecurityState) -> SecurityChain {
    SecurityChain { state, ..SecurityChain::default() }
}

/// A domain with one host; what is not named is secure.
fn domain(mx: SecurityState, address: SecurityState, tlsa: SecurityState) -> Domain {
    let host = MailHost {
        preference: 10,
        name: HOST.to_owned(),
        addresses: Seen::Value(vec![ADDRESS.parse().unwrap()]),
        alias: None,
    };
    let routing = MailRouting {
        domain: "example.org".to_owned(),
        route: MailRoute::Servers { hosts: vec![host] },
        problems: vec![],
    };
    Domain {
        route: Seen::Value(routing),
        security: Seen::Value(chain_of(mx)),
        secured: [(format!("A {HOST}"), chain_of(address)), (format!("TLSA _25._tcp.{HOST}"), chain_of(tlsa))].into(),
        ..Domain::default()
    }
}

fn signed() -> Domain {
    domain(SecurityState::Secure, SecurityState::Secure, SecurityState::Secure)
}

/// A session at the address that ended in a chain of these bytes, asked for by this name.
fn session(der: &[u8], asked_for: &str) -> Evidence {
    let mut evidence: Evidence = serde_json::from_value(json!({"endpoints": {format!("{HOST}:25/smtp"): {
        "host": HOST, "port": 25, "protocol": "smtp", "tls": "starttls", "purpose": "relay", "why": ["asked"],
        "resolved": {"value": [ADDRESS]},
        "addresses": {ADDRESS: {
            "dial": {"peer": format!("{ADDRESS}:25"), "local": "absent", "took_ms": 1, "outcome": "connected",
                "icmp": "absent", "distance": "absent"},
            "session": "absent", "timings": [],
            "tls": {"value": {
                "server_name": asked_for, "reference_name": asked_for, "took_ms": 1, "ending": "established",
                "version": {"value": "TLS 1.3"}, "suite": "absent", "group": "absent", "problems": [], "trusted": {},
                "chain": {"value": [{"certificate": "absent", "sha256": "00", "signed_with": "", "self_signed": false,
                    "is_ca": false}]},
            }},
        }},
    }}}))
    .unwrap();
    let Seen::Value(tls) = &mut address(&mut evidence).tls else { panic!("no TLS") };
    let Seen::Value(chain) = &mut tls.chain else { panic!("no chain") };
    chain[0].der = der.to_vec();
    evidence
}

fn address(evidence: &mut Evidence) -> &mut ExaminedAddress {
    let endpoint = evidence.endpoints.values_mut().next().unwrap();
    endpoint.addresses.get_mut(ADDRESS).unwrap()
}

/// The verdicts of the one address, by kind of key.
fn verdicts(domain: &Domain, lookup: &Lookup, evidence: &Evidence) -> Vec<(Option<&'static str>, DaneResult)> {
    let Seen::Value(routing) = &domain.route else { panic!("no route") };
    let host = &routing.route.hosts()[0];
    let at: IpAddr = ADDRESS.parse().unwrap();
    let judged = |shown: &Shown| (shown.key, one(domain, "example.org", (host, at), lookup, shown, evidence).result);
    shown(evidence, host, at, HOST).iter().map(judged).collect()
}

fn verdict(domain: &Domain, lookup: &Lookup, evidence: &Evidence) -> DaneResult {
    verdicts(domain, lookup, evidence)[0].1
}

#[test]
fn t39_every_part_of_the_way_has_to_be_signed() {
    use SecurityState::{Bogus, Indeterminate, Insecure, Secure};
    let seen = session(b"\x01\x02", HOST);
    assert_eq!(verdict(&signed(), &tlsa("0102"), &seen), DaneResult::Authenticated);
    assert_eq!(verdict(&signed(), &tlsa("0103"), &seen), DaneResult::Mismatch);
    for (mx, host, records, result) in [
        (Insecure, Secure, Secure, DaneResult::Ineffective),
        (Secure, Insecure, Insecure, DaneResult::Ineffective),
        (Secure, Secure, Indeterminate, DaneResult::Unknown),
        (Secure, Secure, Bogus, DaneResult::LookupFails),
    ] {
        assert_eq!(verdict(&domain(mx, host, records), &tlsa("0103"), &seen), result);
    }
    let unseen = Domain { secured: BTreeMap::new(), ..signed() };
    assert_eq!(verdict(&unseen, &tlsa("0103"), &seen), DaneResult::Unknown);
}

#[test]
fn t40_a_second_key_is_judged_by_itself() {
    let mut seen = session(b"\x01\x02", HOST);
    let hello = TlsHelloSession {
        offer: TlsOffer { keys: KeyKind::Rsa, ..TlsOffer::default() },
        certificates: Seen::Value(vec![Raw(b"\x07".to_vec())]),
        ..TlsHelloSession::default()
    };
    address(&mut seen).hellos = vec![hello];
    let both = verdicts(&signed(), &tlsa("0102"), &seen);
    assert_eq!(both, [(None, DaneResult::Authenticated), (Some("RSA"), DaneResult::Mismatch)]);
}

#[test]
fn a_chain_for_another_name_proves_no_mismatch() {
    let seen = session(b"\x01\x02", "other.example");
    assert_eq!(verdict(&signed(), &tlsa("0103"), &seen), DaneResult::Unknown);
    assert_eq!(verdict(&signed(), &tlsa("0102"), &seen), DaneResult::Authenticated);
}

#[test]
fn t01_no_starttls_is_known_only_where_the_list_was_heard() {
    let mut seen = session(b"", HOST);
    address(&mut seen).tls = Seen::Absent;
    assert_eq!(verdict(&signed(), &tlsa("0102"), &seen), DaneResult::Unknown);
    address(&mut seen).starttls.offered = Seen::Value(false);
    assert_eq!(verdict(&signed(), &tlsa("0102"), &seen), DaneResult::NoStarttls);
    assert_eq!(verdict(&signed(), &tlsa("0102"), &Evidence::default()), DaneResult::Unknown);
}

#[test]
fn nobody_asks_for_records_of_a_host_that_is_not_signed() {
    let refused =
        unanswered(&format!("_25._tcp.{HOST}"), Kind::Tlsa, DnsOutcome::Refused { rcode: "SERVFAIL".to_owned() });
    let seen = session(b"\x01", HOST);
    assert_eq!(verdict(&signed(), &refused, &seen), DaneResult::LookupFails);
    let plain = domain(SecurityState::Insecure, SecurityState::Insecure, SecurityState::Indeterminate);
    assert_eq!(verdict(&plain, &refused, &seen), DaneResult::NotUsed);
}
