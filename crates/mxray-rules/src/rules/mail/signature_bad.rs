//! MAIL103: a signature that no receiver can verify, for another reason than the body.

use crate::authentication::mail::{finding, given, named, not_verified, signature_pointer, source, verified, weight};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DkimReason, DkimVerdict, ExaminedMail};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL103",
    name: "mail-signature-bad",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a DKIM signature of a mail does not verify",
    page: include_str!("signature_bad.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let bad: Vec<Bad<'_>> = mail.signatures.iter().enumerate().filter_map(bad).collect();
    match (bad.is_empty(), not_verified(mail)) {
        (false, _) => judgement.find(say(mail, &bad)),
        (true, Some(blind)) => judgement.blind(&RULE, &blind),
        (true, None) => judgement.well("no signature fails for its fields or its key"),
    }
    Ok(judgement)
}

struct Bad<'a> {
    at: usize,
    signature: &'a DkimVerdict,
    why: String,
    /// What can be done, where the reason says.
    step: &'static str,
}

fn bad((at, signature): (usize, &DkimVerdict)) -> Option<Bad<'_>> {
    let (why, step) = signature.reasons.iter().find_map(words)?;
    Some(Bad { at, signature, why, step })
}

const SIGNER: &str = "Correct the signer's configuration, and send another mail.";
const KEY: &str = "Look at the published key and at the signer's: mxray domain DOMAIN --selector SELECTOR, and mxray doctor on the \
                   host that signs.";

/// What a reason means. `None`: it is another rule's, or nothing is known.
fn words(reason: &DkimReason) -> Option<(String, &'static str)> {
    Some(match reason {
        DkimReason::SignatureDiffers => (
            "a signed field was changed on the way, or the published key is not the signer's".to_owned(),
            "Compare the published key with the signer's (mxray doctor on the host that signs: DKIM110). Where they are the same, \
             find who changes fields behind the signer: Subject prefixes, rewritten addresses, cleaned headers.",
        ),
        DkimReason::SignatureSyntax { tag, why } => (format!("its {tag}= cannot be read: {why}"), SIGNER),
        DkimReason::MissingTag { tag } => (format!("it has no {tag}="), SIGNER),
        DkimReason::Version { found } => (format!("v={found} is no version of a signature"), SIGNER),
        DkimReason::UnknownAlgorithm { name } => (format!("a={name} is not known"), SIGNER),
        DkimReason::UnknownCanonicalization { name } => (format!("c={name} is not known"), SIGNER),
        DkimReason::FromNotSigned => ("From is not signed".to_owned(), SIGNER),
        DkimReason::IdentityOutside { identity, domain } => (format!("i={identity} is not within d={domain}"), SIGNER),
        DkimReason::ExpiresBeforeSigned { .. } => ("it ends before it begins (x= and t=)".to_owned(), SIGNER),
        DkimReason::SeveralFrom { count } => (
            format!("the mail has {count} From fields"),
            "Send mail with one From field; what makes two of them is not RFC 5322.",
        ),
        DkimReason::KeyMissing { name } => (format!("there is no key at {name}"), KEY),
        DkimReason::KeyRevoked { name } => (format!("the key at {name} is revoked"), KEY),
        DkimReason::KeyInvalid { name, why } => (format!("the key at {name} cannot be used: {why}"), KEY),
        DkimReason::KeyOfOtherKind { key, signature } => {
            (format!("the key is of the kind {key}, and the signature of {signature}"), KEY)
        }
        DkimReason::HashNotAllowed { allowed } => (format!("the key allows {allowed} alone (h=)"), KEY),
        DkimReason::ServiceNotAllowed { allowed } => (format!("the key is for {allowed}, not for mail (s=)"), KEY),
        DkimReason::SubdomainNotAllowed { identity } => (format!("the key does not allow i={identity} (t=s)"), KEY),
        DkimReason::BodyShorterThanSigned { .. }
        | DkimReason::BodyHashDiffers { .. }
        | DkimReason::Sha1
        | DkimReason::Expired { .. }
        | DkimReason::KeyTooShort { .. }
        | DkimReason::KeyNotLookedUp { .. }
        | DkimReason::CannotCompute { .. } => return None,
    })
}

fn say(mail: &ExaminedMail, bad: &[Bad<'_>]) -> Finding {
    let first = bad.first().map_or_else(String::new, |one| format!("{}: {}", named(one.signature), one.why));
    let mut found = finding(&RULE, weight(&RULE, mail), mail, format!("A signature does not verify; {first}."))
        .data("domains", bad.iter().filter_map(|one| one.signature.domain.as_deref()).collect::<Vec<_>>());
    let mut steps: Vec<&str> = Vec::new();
    for one in bad {
        found = found.because(one.why.as_str(), source(one.signature), signature_pointer(one.at, "reasons"));
        if !steps.contains(&one.step) {
            steps.push(one.step);
        }
    }
    for step in steps {
        found = found.fix(verified(Fix::here(step), mail));
    }
    found.reference("RFC 6376 section 6.1")
}
