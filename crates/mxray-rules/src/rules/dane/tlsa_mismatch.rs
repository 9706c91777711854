//! DANE105: no TLSA record matches what the server presents: senders with DANE keep their mail.

use super::{by_name, finding, leaf, records_of, sort};
use crate::policies;
use crate::rule::{Rule, Said};
use crate::transport;
use mxray_model::evidence::published::DaneResult;
use mxray_model::{Evidence, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DANE105",
    name: "tlsa-mismatch",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "no TLSA record matches the certificate that the server presents: senders with DANE defer their mail",
    page: include_str!("tlsa_mismatch.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = policies::begun(evidence, &RULE)?;
    for held in by_name(evidence).into_values() {
        let bad = sort(&RULE, &held, |held| held.verdict.result == DaneResult::Mismatch, &mut judgement);
        let Some(first) = bad.first() else {
            if let Some(well) = held.iter().find(|held| held.verdict.result == DaneResult::Authenticated) {
                judgement.well(format!("{}: a TLSA record matches what {} presents", well.verdict.name, well.place()));
            }
            continue;
        };
        let all = held.iter().filter(|one| one.of.name == first.of.name).count();
        let name = first.verdict.name.clone();
        let some = if bad.len() < all {
            format!(" (at {})", first.key.split_once(' ').map_or("", |(_, at)| at))
        } else {
            String::new()
        };
        let found = finding(evidence, &RULE, RULE.severity, &bad, |place| {
            format!(
                "The certificate of {place}{some} matches none of its TLSA records: senders with DANE deliver no mail there."
            )
        });
        let Some(mut found) = found else { continue };
        if let Some(Seen::Value(certificate)) = leaf(evidence, first).map(|leaf| &leaf.certificate) {
            found = found.data("presented", certificate.public.spki_sha256.clone());
        }
        for fix in fixes(evidence, &bad, &name) {
            found = found.fix(fix);
        }
        judgement.find(found.reference("RFC 7672 section 3").reference("RFC 7671 section 8.1"));
    }
    Ok(judgement)
}

fn fixes(evidence: &Evidence, bad: &[super::Held<'_>], name: &str) -> Vec<Fix> {
    let Some(first) = bad.first() else { return Vec::new() };
    let old = first.records().join("` and `");
    let publish = records_of(
        evidence,
        bad,
        first
            .of
            .step(format!(
                "Publish the record of the key that is presented, beside the others at {name}; senders see it when the old answer's TTL is over."
            ))
            .undo("take the new record away"),
    );
    let clean = first.of.step(format!(
        "When the new record is seen everywhere, take away what matches nothing any more (`{old}`), but for a key that is to come."
    ));
    let endpoint = first.examined(evidence).and_then(|(key, _)| evidence.endpoints.get(key));
    let keep = "From then on: keep the key when the certificate is renewed (certbot: --reuse-key), or publish the record of the next key two TTLs before it is used (RFC 7671 section 8.1).";
    let keep = match endpoint {
        Some(endpoint) => transport::certificate_step(evidence, endpoint, keep),
        None => first.of.step(keep),
    };
    let look = format!("mxray domain {}", first.of.name);
    vec![publish, clean, keep.verify(look)]
}
