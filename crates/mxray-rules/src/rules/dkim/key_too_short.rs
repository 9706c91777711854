//! DKIM105: an RSA key below 1024 bits.

use crate::authentication::change;
use crate::authentication::dkim::{self, Key};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DkimKeyProblem;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM105",
    name: "dkim-key-too-short",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a key is shorter than 1024 bits, and verifiers refuse it",
    page: include_str!("key_too_short.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        let short = |problem: &DkimKeyProblem| match problem {
            DkimKeyProblem::TooShort { bits } => Some(*bits),
            _ => None,
        };
        let found = keys.iter().enumerate().find_map(|(at, one)| Some((at, one.problems.iter().find_map(short)?)));
        match found {
            Some((at, bits)) => judgement.find(finding(key, at, bits)),
            None => judgement.well(format!("{} is not shorter than 1024 bits", key.name())),
        }
    })
}

fn finding(key: &Key<'_>, at: usize, bits: u32) -> Finding {
    let severity = if key.is_used() { Severity::Critical } else { RULE.severity };
    let name = key.name();
    key.finding(&RULE, severity, format!("The DKIM key at {name} has {bits} bits: verifiers refuse less than 1024."))
        .because(format!("{bits} bits"), format!("TXT {name}"), key.pointer(&["keys", "value", &at.to_string(), "bits"]))
        .data("bits", bits)
        .fix(key.verified(change(
            "Make a key of 2048 bits with a new selector, publish it, then have the signer use it, and revoke this one some \
             weeks later.",
        )))
        .reference("RFC 8301 section 3.2")
}
