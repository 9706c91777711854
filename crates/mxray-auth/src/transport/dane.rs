//! TLSA records held against what a server presents (RFC 6698, RFC 7671, and for SMTP RFC 7672).
//!
//! What must not live here: DNSSEC. Whether answers are secure comes in, as seen by a validation of our own: the AD bit of a
//! remote resolver is nobody's word.

use crate::chain::{Stores, chain};
use crate::trust::Anchors;
use data_encoding::HEXLOWER_PERMISSIVE;
use mxray_model::evidence::published::{DaneResult, DaneVerdict, TlsaMatch, TlsaProblem};
use mxray_model::evidence::{CertificateProblem, DnsOutcome, Lookup, RecordData, RootStore};
use mxray_model::{Seen, text::untrusted};
use ring::digest::{SHA256, SHA512, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Most records of one endpoint that are held against its chain.
const RECORDS_MAX: usize = 64;

/// What is known of one endpoint.
#[derive(Debug, Clone)]
pub struct Dane<'a> {
    /// Of `_25._tcp.HOST`.
    pub lookup: &'a Lookup,
    /// The MX records, the host's addresses and the TLSA records are signed and validate (RFC 7672 section 2.2).
    pub mx_secure: Seen<bool>,
    pub host_secure: Seen<bool>,
    pub tlsa_secure: Seen<bool>,
    /// As presented, the server's own first. Absent: it offers no STARTTLS.
    pub chain: Seen<Vec<Vec<u8>>>,
    /// The names that a certificate may carry for usage 2 (RFC 7672 section 3.2.2): the host, the domain.
    pub names: Vec<String>,
    pub now_s: i64,
}

/// Evaluates one endpoint for one chain. A server with keys of two kinds has two.
pub fn dane(of: &Dane<'_>) -> DaneVerdict {
    let mut verdict = DaneVerdict {
        name: of.lookup.name.clone(),
        result: DaneResult::Unknown,
        reason: String::new(),
        records: Vec::new(),
        rollover: false,
    };
    let mut conclude =
        |result: DaneResult, reason: &str| (verdict.result, verdict.reason) = (result, reason.to_owned());
    let found = match of.lookup.found() {
        Seen::Value(found) => found,
        Seen::Absent => {
            conclude(DaneResult::NotUsed, "there is no TLSA record");
            return verdict;
        }
        Seen::Unknown(blind) => {
            // SERVFAIL is what a validating resolver says of bogus records, and of a dead server: senders defer for both.
            let fails = matches!(&of.lookup.outcome, DnsOutcome::Refused { rcode } if rcode == "SERVFAIL");
            conclude(if fails { DaneResult::LookupFails } else { DaneResult::Unknown }, &blind.why());
            return verdict;
        }
    };
    let ders = of.chain.value().map(Vec::as_slice).unwrap_or_default();
    verdict.records = found
        .iter()
        .take(RECORDS_MAX)
        .filter_map(|record| match &record.data {
            RecordData::Tlsa { usage, selector, matching, data } => {
                Some(matched(of, ders, (*usage, *selector, *matching), data))
            }
            _ => None,
        })
        .collect();
    verdict.rollover = rollover(&verdict.records);
    (verdict.result, verdict.reason) = concluded(of, &verdict.records);
    verdict
}

fn concluded(of: &Dane<'_>, records: &[TlsaMatch]) -> (DaneResult, String) {
    let secure = [("MX records", &of.mx_secure), ("addresses", &of.host_secure), ("TLSA records", &of.tlsa_secure)];
    if let Some((what, _)) = secure.iter().find(|(_, secure)| matches!(secure, Seen::Value(false) | Seen::Absent)) {
        return (DaneResult::Ineffective, format!("the {what} are not signed (RFC 7672 section 2.2)"));
    }
    if let Some((what, blind)) = secure.iter().find_map(|(what, secure)| secure.blind().map(|blind| (what, blind))) {
        return (DaneResult::Unknown, format!("whether the {what} are signed could not be seen: {}", blind.why()));
    }
    if records.iter().all(|record| record.problem.is_some()) {
        return (DaneResult::Unusable, "none of the records can be used for SMTP (RFC 7672 section 3.1)".to_owned());
    }
    match &of.chain {
        Seen::Unknown(blind) => (DaneResult::Unknown, format!("the server's chain: {}", blind.why())),
        Seen::Absent => (DaneResult::NoStarttls, "the server offers no STARTTLS (RFC 7672 section 2.2)".to_owned()),
        Seen::Value(_) => match records.iter().find(|record| record.accepts) {
            Some(record) => (DaneResult::Authenticated, format!("the record {} matches", record.record)),
            None => (DaneResult::Mismatch, "no record matches what the server presents".to_owned()),
        },
    }
}

/// RFC 7671 section 8.1: what stays valid through a change of keys is there before it.
fn rollover(records: &[TlsaMatch]) -> bool {
    let usable = || records.iter().filter(|record| record.problem.is_none());
    let authority = usable().any(|record| record.record.starts_with("2 "));
    authority || (usable().any(|record| record.accepts) && usable().any(|record| record.matches.is_empty()))
}

fn matched(of: &Dane<'_>, ders: &[Vec<u8>], (usage, selector, matching): (u8, u8, u8), data: &str) -> TlsaMatch {
    let record = format!("{usage} {selector} {matching} {}", untrusted(data.as_bytes()));
    let mut out = TlsaMatch { record, problem: None, matches: Vec::new(), accepts: false, why: None };
    let bytes = match HEXLOWER_PERMISSIVE.decode(data.as_bytes()) {
        Ok(bytes) => bytes,
        Err(_) => {
            out.problem = Some(TlsaProblem::NotHexadecimal);
            return out;
        }
    };
    out.problem = problem(usage, selector, matching, bytes.len());
    if out.problem.is_some() {
        return out;
    }
    let fits = |der: &Vec<u8>| selected(der, selector).is_some_and(|selected| hashed(&selected, matching) == bytes);
    let places = ders.iter().enumerate().filter(|(_, der)| fits(der)).map(|(at, _)| at);
    let places: Vec<usize> = places.collect();
    out.matches = places.iter().map(|at| u32::try_from(*at).unwrap_or(u32::MAX)).collect();
    if ders.is_empty() {
        return out;
    }
    match usage {
        // RFC 7672 section 3.1.1: neither name nor date matter.
        3 if places.contains(&0) => out.accepts = true,
        3 if !places.is_empty() => {
            out.why = Some("it matches an authority's certificate; usage 3 is for the server's own".to_owned());
        }
        2 => {
            // The authority may stand in the record as a whole; otherwise the server has to present it (section 3.1.2).
            let whole = (selector == 0 && matching == 0).then(|| bytes.clone());
            let presented = places.iter().filter(|at| **at > 0).filter_map(|at| ders.get(*at)).cloned();
            let anchors: Vec<Vec<u8>> = presented.chain(whole).collect();
            let last = places.iter().copied().filter(|at| *at > 0).min();
            out.why = authority(of, ders, &anchors, last);
            out.accepts = out.why.is_none();
        }
        _ => out.why = Some("it matches nothing that the server presents".to_owned()),
    }
    out
}

fn problem(usage: u8, selector: u8, matching: u8, bytes: usize) -> Option<TlsaProblem> {
    let length = match matching {
        0 => None,
        1 => Some(32),
        2 => Some(64),
        _ => return Some(TlsaProblem::MatchingType),
    };
    match (usage, selector) {
        (2 | 3, 0 | 1) => {}
        (2 | 3, _) => return Some(TlsaProblem::Selector),
        _ => return Some(TlsaProblem::Usage),
    }
    let wanted = length.filter(|wanted| *wanted != bytes)?;
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    Some(TlsaProblem::Length { bytes: number(bytes), wanted: number(wanted) })
}

fn selected(der: &[u8], selector: u8) -> Option<Vec<u8>> {
    match selector {
        0 => Some(der.to_vec()),
        _ => X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate.public_key().raw.to_vec()),
    }
}

fn hashed(selected: &[u8], matching: u8) -> Vec<u8> {
    match matching {
        1 => digest(&SHA256, selected).as_ref().to_vec(),
        2 => digest(&SHA512, selected).as_ref().to_vec(),
        _ => selected.to_vec(),
    }
}

/// RFC 7672 section 3.1.2: the chain leads to the authority, holds, and has one of the names. `None`: it does.
fn authority(of: &Dane<'_>, ders: &[Vec<u8>], anchors: &[Vec<u8>], last: Option<usize>) -> Option<String> {
    let mut store = Anchors::default();
    if anchors.iter().filter(|der| store.add_certificate(der)).count() == 0 {
        let alone =
            "it matches no authority in the chain: usage 2 asks the server to present it (RFC 7672 section 3.1.2)";
        return Some(alone.to_owned());
    }
    let stores = Stores::from([(RootStore::System, Seen::Value(store))]);
    let last = last.and_then(|last| u32::try_from(last).ok()).unwrap_or(u32::MAX);
    let mut why = Some("no name to compare with".to_owned());
    for name in &of.names {
        let examined = chain(ders, Some(name), &stores, of.now_s);
        match examined.trusted.get(&RootStore::System) {
            Some(Seen::Value(true)) => {}
            Some(Seen::Unknown(blind)) => return Some(blind.why()),
            _ => return Some("the chain does not lead to the authority".to_owned()),
        }
        why = examined.problems.iter().find_map(|problem| match problem {
            CertificateProblem::Expired { at, not_after } if *at < last => Some(format!("expired at {not_after}")),
            CertificateProblem::NotYetValid { at, not_before } if *at < last => {
                Some(format!("not valid before {not_before}"))
            }
            CertificateProblem::NameMismatch { names, .. } => {
                Some(format!("its names are {}, and not {}", names.join(", "), of.names.join(" or ")))
            }
            CertificateProblem::BadSignature { .. } => Some("a signature in the chain does not hold".to_owned()),
            _ => None,
        });
        // One name is enough.
        why.as_ref()?;
    }
    why
}
