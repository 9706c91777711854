//! MAIL108: nothing vouches for the author's domain.

use crate::authentication::mail::{dmarc_blind, finding, given, pointer, verdict, verified};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DmarcPolicy, DmarcResult, DmarcVerdict, ExaminedMail};
use mxray_model::{Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL108",
    name: "mail-dmarc-fail",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a mail fails DMARC",
    page: include_str!("dmarc_fail.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    match (verdict(mail), dmarc_blind(mail)) {
        (_, Some(blind)) => judgement.blind(&RULE, &blind),
        (Some(verdict), None) if verdict.result == DmarcResult::Fail => judgement.find(say(mail, verdict)),
        (Some(verdict), None) => judgement.well(format!("DMARC: {}", verdict.reason)),
        (None, None) => judgement.well("the mail has no author's domain that DMARC could speak for"),
    }
    Ok(judgement)
}

fn say(mail: &ExaminedMail, verdict: &DmarcVerdict) -> Finding {
    let author = verdict.discovery.domain.as_str();
    let asked = verdict.asked.unwrap_or(DmarcPolicy::None);
    let (severity, effect) = match asked {
        DmarcPolicy::Reject => (RULE.severity, "receivers are asked to refuse it"),
        DmarcPolicy::Quarantine => (RULE.severity, "receivers are asked to set it aside as suspicious"),
        DmarcPolicy::None => (Severity::Warning, "nobody is asked to refuse it yet (p=none)"),
    };
    let mut found = finding(
        &RULE,
        severity,
        mail,
        format!("The mail fails DMARC: neither SPF nor DKIM vouches for its author's domain {author}; {effect}."),
    )
    .because(verdict.reason.as_str(), mail.file.as_str(), pointer(&["dmarc", "value", "reason"]))
    .data("author", author)
    .data("asked", asked.as_str());
    for (at, row) in verdict.rows.iter().enumerate() {
        let aligned = match row.aligned {
            Some(true) => "it belongs to the author's domain",
            Some(false) => "it does not belong to the author's domain",
            None => "whether it belongs to the author's domain could not be looked up",
        };
        found = found.because(
            format!("{} of {}: {}; {aligned}", row.mechanism.to_uppercase(), row.domain, row.result),
            mail.file.as_str(),
            pointer(&["dmarc", "value", "rows", &at.to_string()]),
        );
    }
    found
        .fix(verified(
            Fix::here(format!(
                "Have the mail signed by {author}, or sent with a reverse-path of {author} from an address that its SPF record \
                 names. One of the two is enough; the signature also survives forwarding."
            )),
            mail,
        ))
        .reference("RFC 9989 section 5")
}
