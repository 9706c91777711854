//! Traps (docs/traps.md) that show in what all rules together say, and not in one evaluator.

use crate::{Judged, examine};
use mxray_model::evidence::published::{DaneResult, Domain, DomainWhy, MailRoute, MailRouting, ServiceRecord};
use mxray_model::{Evidence, Seen};
use std::collections::BTreeSet;

/// The domain of the healthy host.
const OWN: &str = "example.net";

fn healthy() -> Evidence {
    serde_json::from_str(include_str!("healthy.json")).unwrap()
}

fn rows<'a>(judged: &'a Judged, code: &str) -> Vec<&'a str> {
    judged.healthy.iter().filter(|row| row.code == code).map(|row| row.text.as_str()).collect()
}

#[test]
fn t11_the_null_mx_is_not_advised_to_a_domain_that_sends() {
    let advice = |why: DomainWhy| {
        let name = "plan.example".to_owned();
        let routing = MailRouting { domain: name.clone(), route: MailRoute::Nowhere, problems: Vec::new() };
        let domain = Domain { why: BTreeSet::from([why]), route: Seen::Value(routing), ..Domain::default() };
        let mut evidence = Evidence::default();
        evidence.names.domains.insert(name, domain);
        let mut found = examine(&evidence).findings;
        found.retain(|finding| finding.code == "MX102");
        found.remove(0).fix.remove(0).text
    };
    assert!(advice(DomainWhy::Asked).contains("null MX"));
    assert!(!advice(DomainWhy::Sends { by: "postfix".to_owned() }).contains("null MX"));
}

#[test]
fn t12_a_service_that_is_decidedly_not_offered_is_neither_wrong_nor_there() {
    let name = "_imap._tcp.example.net";
    let with = |targets: &[&str]| {
        let mut evidence = healthy();
        let Seen::Value(discovery) = &mut evidence.names.domains.get_mut(OWN).unwrap().discovery else { panic!() };
        discovery.services = targets
            .iter()
            .map(|target| ServiceRecord {
                name: name.to_owned(),
                priority: 0,
                weight: 0,
                port: 0,
                target: (*target).to_owned(),
                alias: None,
                addresses: Seen::Absent,
                reached: Seen::not_attempted("nobody connected to it"),
            })
            .collect();
        examine(&evidence)
    };
    let judged = with(&[""]);
    assert!(judged.findings.iter().all(|finding| finding.code != "MBOX105"), "{:?}", judged.findings);
    assert_eq!(rows(&judged, "MBOX105"), [format!("{name}: it says that there is no such service")]);
    assert!(with(&["", ""]).findings.iter().any(|finding| finding.code == "MBOX105"), "it says so beside others");
}

#[test]
fn t12_what_is_not_configured_is_not_well() {
    let evidence = healthy();
    let dane = &evidence.names.domains[OWN].dane;
    assert!(!dane.is_empty() && dane.values().all(|verdict| verdict.result == DaneResult::NotUsed), "{dane:?}");
    let names: Vec<&str> = dane.values().map(|verdict| verdict.name.as_str()).collect();
    let judged = examine(&evidence);
    for code in ["DANE101", "DANE102", "DANE103", "DANE104", "DANE105"] {
        for row in rows(&judged, code) {
            assert!(!names.iter().any(|name| row.contains(name)), "{code}: {row}");
        }
    }
    // No policy, no report address, no TLSA record: no row says that any of it is well.
    let mut bare = healthy();
    let domain = bare.names.domains.get_mut(OWN).unwrap();
    (domain.sts, domain.tls_reports) = (Seen::Absent, Seen::Absent);
    domain.dane.clear();
    for row in examine(&bare).healthy {
        // The first two are about DNSSEC, which there is.
        let is_dnssec = matches!(row.code.as_str(), "DANE101" | "DANE102");
        let is_policy = row.code.starts_with("STS") || (row.code.starts_with("DANE") && !is_dnssec);
        assert!(!is_policy || !row.text.contains(OWN), "{}: {}", row.code, row.text);
    }
}

/// A number, and no date: RFC 1982. Whatever it is, and however it differs, no mail is late for it.
#[test]
fn t17_serial_numbers_are_numbers_and_touch_no_mail() {
    let before = examine(&healthy());
    for serials in [[0, 0], [1, 4_294_967_295], [2_147_483_648, 1], [19_991_399, 2_026_112_299]] {
        let mut evidence = healthy();
        let Seen::Value(zone) = &mut evidence.names.domains.get_mut(OWN).unwrap().zone else { panic!() };
        let Seen::Value(servers) = &mut zone.servers else { panic!() };
        let mut second = servers.values().next().unwrap().clone();
        servers.values_mut().for_each(|server| server.serial = Some(serials[0]));
        second.serial = Some(serials[1]);
        servers.insert("ns2.example.net 203.0.113.54".to_owned(), second);
        let judged = examine(&evidence);
        assert_eq!(judged.findings, before.findings, "{serials:?}");
    }
}
