//! DKIM104: no verifier can use the key.

use crate::authentication::dkim::{self, Key, is_revoked, publish_own, unusable};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DkimKey;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM104",
    name: "dkim-key-invalid",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the record of a selector holds no key that verifiers can use",
    page: include_str!("key_invalid.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        let bad: Vec<(usize, String)> =
            keys.iter().enumerate().filter_map(|(at, one)| Some((at, unusable(one)?))).collect();
        // A verifier that finds several tries them: one that can be used is enough.
        let none_left = keys.iter().all(|one| is_revoked(one) || unusable(one).is_some());
        match bad.is_empty() || !none_left {
            true => judgement.well(format!("{} can be read", key.name())),
            false => judgement.find(finding(evidence, key, keys, &bad)),
        }
    })
}

fn finding(evidence: &Evidence, key: &Key<'_>, keys: &[DkimKey], bad: &[(usize, String)]) -> Finding {
    let severity = if key.is_used() { Severity::Critical } else { RULE.severity };
    let name = key.name();
    let why = bad.first().map_or("", |(_, why)| why.as_str());
    let mut finding = key
        .finding(&RULE, severity, format!("The DKIM key at {name} cannot be used: {why}."))
        .data("records", keys.iter().map(|one| one.record.as_str()).collect::<Vec<_>>());
    for (at, why) in bad {
        let pointer = key.pointer(&["keys", "value", &at.to_string(), "problems"]);
        finding = finding.because(why.as_str(), format!("TXT {name}"), pointer);
    }
    finding
        .fix(publish_own(
            evidence,
            key,
            "Publish the record anew. Panels that cut it at 255 characters, keep its quotes, or drop a + or = are the usual reason.",
        ))
        .reference("RFC 6376 section 3.6.1")
}
