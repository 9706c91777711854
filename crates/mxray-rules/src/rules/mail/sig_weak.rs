//! MAIL106: a signature that receivers do not count any more.

use crate::authentication::mail::{finding, given, named, not_verified, signature_pointer, source, verified, weight};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DkimNote, DkimReason, DkimVerdict, ExaminedMail};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL106",
    name: "mail-sig-weak",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a DKIM signature of a mail is too weak or out of its time",
    page: include_str!("sig_weak.md"),
    check,
};

/// What clocks of well-kept hosts may differ by.
const SKEW_S: i64 = 300;

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let weak: Vec<Weak<'_>> = mail.signatures.iter().enumerate().filter_map(weak).collect();
    match (weak.is_empty(), not_verified(mail)) {
        (false, _) => judgement.find(say(mail, &weak)),
        (true, Some(blind)) => judgement.blind(&RULE, &blind),
        (true, None) => judgement.well("no signature is too weak, or out of its time"),
    }
    Ok(judgement)
}

struct Weak<'a> {
    signature: &'a DkimVerdict,
    why: String,
    step: &'static str,
    pointer: String,
}

fn weak((at, signature): (usize, &DkimVerdict)) -> Option<Weak<'_>> {
    let of_reason = |reason: &DkimReason| match reason {
        DkimReason::Sha1 => Some((
            "it is of rsa-sha1, which is not to be accepted any more".to_owned(),
            "Have the signer use rsa-sha256.",
        )),
        DkimReason::Expired { .. } => Some((
            "it had expired (x=) when the mail was taken".to_owned(),
            "Give signatures more time (x=), or none; and see why the mail was so long on its way.",
        )),
        DkimReason::KeyTooShort { bits } => Some((
            format!("its key has {bits} bits, and verifiers refuse less than 1024"),
            "Make a key of 2048 bits with a new selector, publish it, and sign with it.",
        )),
        _ => None,
    };
    let of_note = |note: &DkimNote| match note {
        DkimNote::SignedInFuture { seconds } if *seconds > SKEW_S => Some((
            format!("it was signed {seconds} seconds after it was taken"),
            "Set the clock of the host that signs (mxray doctor there: HOST103).",
        )),
        _ => None,
    };
    let reason = signature.reasons.iter().find_map(of_reason).map(|found| (found, "reasons"));
    let ((why, step), at_field) =
        reason.or_else(|| signature.notes.iter().find_map(of_note).map(|found| (found, "notes")))?;
    Some(Weak { signature, why, step, pointer: signature_pointer(at, at_field) })
}

fn say(mail: &ExaminedMail, weak: &[Weak<'_>]) -> Finding {
    let first = weak.first().map_or_else(String::new, |one| format!("{}: {}", named(one.signature), one.why));
    let mut found = finding(&RULE, weight(&RULE, mail), mail, format!("A signature may not count; {first}."))
        .data("domains", weak.iter().filter_map(|one| one.signature.domain.as_deref()).collect::<Vec<_>>());
    for one in weak {
        found = found.because(one.why.as_str(), source(one.signature), one.pointer.as_str());
        found = found.fix(verified(Fix::here(one.step), mail));
    }
    found.reference("RFC 8301 section 3.1").reference("RFC 6376 section 3.5")
}
