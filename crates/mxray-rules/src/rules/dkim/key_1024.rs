//! DKIM106: an RSA key below 2048 bits.

use crate::authentication::change;
use crate::authentication::dkim::{self, Key};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DkimKeyProblem;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM106",
    name: "dkim-key-1024",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a key has less than 2048 bits",
    page: include_str!("key_1024.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    dkim::published(evidence, &RULE, |key, keys, judgement| {
        let short = |problem: &DkimKeyProblem| match problem {
            DkimKeyProblem::Short { bits } => Some(*bits),
            _ => None,
        };
        let found = keys.iter().enumerate().find_map(|(at, one)| Some((at, one.problems.iter().find_map(short)?)));
        match found {
            Some((at, bits)) => judgement.find(finding(key, at, bits)),
            None => judgement.well(format!("{} is long enough, or is none of RSA", key.name())),
        }
    })
}

fn finding(key: &Key<'_>, at: usize, bits: u32) -> Finding {
    let name = key.name();
    key.finding(
        &RULE,
        RULE.severity,
        format!("The DKIM key at {name} has {bits} bits. It still counts everywhere; 2048 are what is asked for."),
    )
    .because(format!("{bits} bits"), format!("TXT {name}"), key.pointer(&["keys", "value", &at.to_string(), "bits"]))
    .data("bits", bits)
    .fix(key.verified(change(
        "At the next change of keys make one of 2048 bits: new selector, publish, have the signer use it, revoke the old one \
         some weeks later.",
    )))
    .reference("RFC 8301 section 3.2")
}
