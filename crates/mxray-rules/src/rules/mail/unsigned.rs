//! MAIL101: the mail has no DKIM signature.

use crate::authentication::mail::{finding, given, is_refused, pointer, verified};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL101",
    name: "mail-unsigned",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a mail has no DKIM signature",
    page: include_str!("unsigned.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    if !mail.signatures.is_empty() {
        judgement.well(format!("the mail has {} DKIM signatures", mail.signatures.len()));
        return Ok(judgement);
    }
    let (severity, effect) = match is_refused(mail) {
        true => (Severity::Error, "and nothing else vouches for it: its domain asks receivers to refuse it"),
        false => (RULE.severity, "so nothing vouches for it once it is forwarded"),
    };
    judgement.find(
        finding(&RULE, severity, mail, format!("The mail has no DKIM signature, {effect}."))
            .because("there is no DKIM-Signature field", mail.file.as_str(), pointer(&["signatures"]))
            .fix(verified(
                Fix::here(
                    "Have the server that takes the mail from its author sign it with the author's domain, and see that this \
                     mail goes past the signer (mxray doctor finds a signer that is not asked: CONF108).",
                ),
                mail,
            ))
            .reference("RFC 6376 section 5.1"),
    );
    Ok(judgement)
}
