//! DANE109: TLSA records promise TLS, and the server offers none.

use super::{by_name, finding, sort};
use crate::outside;
use crate::policies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DaneResult;
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "DANE109",
    name: "tlsa-without-starttls",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "TLSA records are published and the server offers no STARTTLS: senders with DANE defer their mail",
    page: include_str!("tlsa_without_starttls.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for held in by_name(evidence).into_values() {
        let bad = sort(&RULE, &held, |held| held.verdict.result == DaneResult::NoStarttls, &mut judgement);
        let Some(first) = bad.first() else {
            if let Some(well) = held.iter().find(|held| held.verdict.result == DaneResult::Authenticated) {
                judgement.well(format!("{}: {} offers STARTTLS as promised", well.verdict.name, well.place()));
            }
            continue;
        };
        let name = first.verdict.name.clone();
        let found = finding(evidence, &RULE, RULE.severity, &bad, |place| {
            format!("{place} has TLSA records and offers no STARTTLS: senders with DANE deliver no mail there.")
        });
        let endpoint = first.examined(evidence).and_then(|(key, _)| evidence.endpoints.get(key));
        let offer = "Offer STARTTLS with the certificate that the TLSA records are for.";
        let offer = match endpoint {
            Some(endpoint) => outside::postfix_setting(evidence, endpoint, offer, "smtpd_tls_security_level", "may")
                .unwrap_or_else(|| outside::step(endpoint, offer).verify(outside::probe_command(endpoint, ""))),
            None => Fix::here(offer).verify(format!("mxray domain {}", first.of.name)),
        };
        let remove = first
            .of
            .step(format!("Or, if the server is to have no TLS: take the TLSA records at {name} away. Senders go by them until the TTL is over."))
            .undo("publish them again");
        judgement.findings.extend(found.map(|found| found.fix(offer).fix(remove).reference("RFC 7672 section 2.2")));
    }
    Ok(judgement)
}
