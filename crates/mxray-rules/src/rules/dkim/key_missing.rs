//! DKIM102: a selector that is used has no key.

use crate::authentication::dkim::{self, Key, publish_own};
use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM102",
    name: "dkim-key-missing",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a selector that is signed with has no key in DNS",
    page: include_str!("key_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::selectors(evidence, &RULE, |key, judgement| match &key.one.keys {
        Seen::Value(keys) if keys.is_empty() => judgement.find(finding(evidence, key)),
        Seen::Value(_) => judgement.well(format!("{} is published", key.name())),
        Seen::Absent => judgement.find(finding(evidence, key)),
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
    })
}

fn finding(evidence: &Evidence, key: &Key<'_>) -> Finding {
    let (severity, effect) = match key.is_used() {
        true => (Severity::Critical, "this host signs with it, and no signature can be verified"),
        false => (Severity::Error, "what is signed with it cannot be verified"),
    };
    let name = key.name();
    key.finding(&RULE, severity, format!("There is no DKIM key at {name}: {effect}."))
        .because("the name has no TXT record", format!("TXT {name}"), key.pointer(&["keys"]))
        .fix(publish_own(evidence, key, "Publish the key under this name, before anything is signed with it."))
        .reference("RFC 6376 section 6.1.2")
}
