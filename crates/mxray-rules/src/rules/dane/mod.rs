//! DNSSEC, and DANE (RFC 7672): whether chains of trust hold; whether TLSA records have an effect, can be used, and match what the servers present.

pub mod dnssec_bogus;
pub mod dnssec_unsigned;
pub mod tlsa_bad_usage;
pub mod tlsa_ineffective;
pub mod tlsa_lookup_fails;
pub mod tlsa_mismatch;
pub mod tlsa_without_starttls;

use crate::policies::{self, Of};
use crate::rule::{Judgement, Rule};
use mxray_model::evidence::published::{DaneResult, DaneVerdict};
use mxray_model::evidence::{Evidence, ExaminedAddress, PresentedCertificate};
use mxray_model::{Blind, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;

/// One verdict and where it belongs.
#[derive(Debug, Clone, Copy)]
struct Held<'a> {
    of: Of<'a>,
    /// `mx.example.org:25 192.0.2.25`, with a kind of key behind it where an address has several.
    key: &'a str,
    verdict: &'a DaneVerdict,
}

impl<'a> Held<'a> {
    /// `mx.example.org:25`
    fn place(&self) -> &'a str {
        self.key.split(' ').next().unwrap_or_default()
    }

    fn address(&self) -> &'a str {
        self.key.split(' ').nth(1).unwrap_or_default()
    }

    fn pointer(&self, rest: &[&str]) -> String {
        self.of.pointer(&[&["dane", self.key], rest].concat())
    }

    /// Its address as it was examined.
    fn examined(&self, evidence: &'a Evidence) -> Option<(&'a str, &'a ExaminedAddress)> {
        let hosts = self.of.hosts();
        let name = self.place().rsplit_once(':').map_or("", |(host, _)| host);
        let host = hosts.value()?.iter().find(|host| host.name == name)?;
        policies::endpoints_of(evidence, host)
            .into_iter()
            .find_map(|(key, endpoint)| Some((key, endpoint.addresses.get(self.address())?)))
    }

    fn records(&self) -> Vec<String> {
        self.verdict.records.iter().map(|record| record.record.clone()).collect()
    }
}

/// Verdicts by TLSA name: one name is one thing to mend, whatever domains it serves. The domain that is ours comes first.
fn by_name(evidence: &Evidence) -> BTreeMap<&str, Vec<Held<'_>>> {
    let mut all: BTreeMap<&str, Vec<Held<'_>>> = BTreeMap::new();
    for of in policies::domains(evidence) {
        for (key, verdict) in &of.domain.dane {
            all.entry(verdict.name.as_str()).or_default().push(Held { of, key, verdict });
        }
    }
    for held in all.values_mut() {
        held.sort_by_key(|held| !held.of.is_ours());
    }
    all
}

/// What the verdicts of one name say to one rule.
fn sort<'a>(
    rule: &Rule,
    held: &[Held<'a>],
    bad: impl Fn(&Held<'a>) -> bool,
    judgement: &mut Judgement,
) -> Vec<Held<'a>> {
    for one in held.iter().filter(|one| one.verdict.result == DaneResult::Unknown) {
        judgement.blind(rule, &Blind::NotAttempted { why: format!("{}: {}", one.key, one.verdict.reason) });
    }
    held.iter().copied().filter(|one| bad(one)).collect()
}

/// A finding about the records of one name, at these addresses.
fn finding(
    evidence: &Evidence,
    rule: &Rule,
    severity: Severity,
    bad: &[Held<'_>],
    summary: impl FnOnce(&str) -> String,
) -> Option<Finding> {
    let first = bad.first()?;
    let name = first.verdict.name.as_str();
    let mut addresses: Vec<&str> = bad.iter().map(Held::address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let severity = first.of.severity(evidence, policies::Policy::Dane, severity);
    let subject = Subject::new(SubjectKind::Name, name);
    let mut finding = first
        .of
        .finding(rule, severity, subject, summary(first.place()))
        .data("addresses", addresses)
        .data("records", first.records());
    for one in bad {
        finding = finding.touches(one.of.subject());
        finding = finding.because(format!("{}: {}", one.key, one.verdict.reason), "DNS and session", one.pointer(&[]));
        if let Some((key, _)) = one.examined(evidence) {
            finding = crate::outside::touching(finding.touches(crate::outside::subject(key)), &evidence.endpoints[key]);
        }
    }
    Some(finding)
}

/// The server's own certificate at the place of a verdict.
fn leaf<'a>(evidence: &'a Evidence, held: &Held<'a>) -> Option<&'a PresentedCertificate> {
    // A second key of the same address is another certificate than the session's.
    if held.key.split(' ').nth(2).is_some() {
        return None;
    }
    held.examined(evidence)?.1.tls.value()?.chain.value()?.first()
}

/// `3 1 1` for each key that was presented: what RFC 7672 section 3.1.1 recommends.
fn records_of(evidence: &Evidence, bad: &[Held<'_>], mut fix: Fix) -> Fix {
    let mut values: Vec<String> = Vec::new();
    for held in bad {
        let Some(Seen::Value(leaf)) = leaf(evidence, held).map(|leaf| &leaf.certificate) else { continue };
        let value = format!("3 1 1 {}", leaf.public.spki_sha256);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let name = bad.first().map_or("", |held| held.verdict.name.as_str());
    for value in values {
        fix = fix.record(name, "TLSA", value);
    }
    fix
}
