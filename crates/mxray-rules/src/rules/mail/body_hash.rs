//! MAIL102: the body was changed after it was signed.

use crate::authentication::mail::{finding, given, named, not_verified, signature_pointer, source, verified, weight};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DkimReason, DkimVerdict, ExaminedMail};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL102",
    name: "mail-body-hash",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the body of a mail is not the one that was signed",
    page: include_str!("body_hash.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let changed = |signature: &DkimVerdict| {
        let differs = |reason: &DkimReason| {
            matches!(reason, DkimReason::BodyHashDiffers { .. } | DkimReason::BodyShorterThanSigned { .. })
        };
        signature.reasons.iter().any(differs)
    };
    let bad: Vec<(usize, &DkimVerdict)> =
        mail.signatures.iter().enumerate().filter(|(_, signature)| changed(signature)).collect();
    match (bad.is_empty(), not_verified(mail)) {
        (false, _) => judgement.find(say(mail, &bad)),
        (true, Some(blind)) => judgement.blind(&RULE, &blind),
        (true, None) => judgement.well("no signature has another body than the mail's"),
    }
    Ok(judgement)
}

fn say(mail: &ExaminedMail, bad: &[(usize, &DkimVerdict)]) -> Finding {
    let whose = bad.first().map_or_else(String::new, |(_, signature)| named(signature));
    let lf = bad.iter().any(|(_, signature)| mail.signed_with_line_feeds.contains(&signature.at));
    let (how, step) = match lf {
        true => (
            "it was signed over line ends of LF alone, which SMTP never has",
            "Have the signer see the mail as it is sent, with CRLF: sign in the mail server (a milter), not a file before it is \
             handed over.",
        ),
        false => (
            "something on the way changed it",
            "Find who changes the body behind the signer: a disclaimer, a filter's mark, a new transfer encoding, a list's footer. \
             Sign behind it, or leave the body alone.",
        ),
    };
    let mut found = finding(&RULE, weight(&RULE, mail), mail, format!("The body is not the one of {whose}: {how}."))
        .data("domains", bad.iter().filter_map(|(_, signature)| signature.domain.as_deref()).collect::<Vec<_>>())
        .data("line_feeds", lf);
    for (at, signature) in bad {
        let text = format!(
            "bh= is {}, and the body comes to {}",
            signature.body_hash_claimed.as_deref().unwrap_or("not there"),
            signature.body_hash_computed.as_deref().unwrap_or("nothing")
        );
        found = found.because(text, source(signature), signature_pointer(*at, "reasons"));
    }
    found.fix(verified(Fix::here(step), mail)).reference("RFC 6376 section 3.7").reference("RFC 6376 section 6.1.3")
}
