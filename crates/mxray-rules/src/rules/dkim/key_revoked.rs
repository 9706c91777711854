//! DKIM103: the key is revoked.

use crate::authentication::dkim::{self, Key, is_revoked, publish_own};
use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM103",
    name: "dkim-key-revoked",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the key of a selector is revoked (an empty p=)",
    page: include_str!("key_revoked.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        if !keys.is_empty() && keys.iter().all(is_revoked) {
            judgement.find(finding(evidence, key));
        } else {
            judgement.well(format!("{} is not revoked", key.name()));
        }
    })
}

fn finding(evidence: &Evidence, key: &Key<'_>) -> Finding {
    let name = key.name();
    let (severity, effect, text) = match key.is_used() {
        true => (
            Severity::Critical,
            "and this host still signs with it: all of its signatures fail",
            "A revoked key is meant to stay so. Make a new one with a new selector, publish it, then have the signer use it; \
             only where the record was emptied by mistake, publish the old one again:",
        ),
        false => (
            Severity::Info,
            "which is how a key that is used no more is to look",
            "Nothing is to be done while nobody signs with it. Leave the record for some weeks, then take it away.",
        ),
    };
    let step = match key.is_used() {
        true => publish_own(evidence, key, text),
        false => key.verified(crate::authentication::change(text)),
    };
    key.finding(&RULE, severity, format!("The DKIM key at {name} is revoked, {effect}."))
        .because("p= is empty", format!("TXT {name}"), key.pointer(&["keys", "value", "0", "record"]))
        .fix(step)
        .reference("RFC 6376 section 3.6.1")
}
