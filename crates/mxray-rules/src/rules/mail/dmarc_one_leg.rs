//! MAIL109: DMARC passes by SPF alone.

use crate::authentication::mail::{dmarc_blind, finding, given, pointer, verdict, verified};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL109",
    name: "mail-dmarc-one-leg",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a mail passes DMARC by SPF alone, which forwarding breaks",
    page: include_str!("dmarc_one_leg.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let (verdict, blind) = (verdict(mail), dmarc_blind(mail));
    match (verdict, blind) {
        (_, Some(blind)) => judgement.blind(&RULE, &blind),
        (Some(verdict), None) if verdict.rests_on_spf => judgement.find(
            finding(
                &RULE,
                RULE.severity,
                mail,
                "The mail passes DMARC by SPF alone: where it is forwarded, nothing vouches for it any more."
                    .to_owned(),
            )
            .because(verdict.reason.as_str(), mail.file.as_str(), pointer(&["dmarc", "value", "rests_on_spf"]))
            .data("author", verdict.discovery.domain.as_str())
            .fix(verified(Fix::here(format!("Have the mail signed with DKIM by {}.", verdict.discovery.domain)), mail))
            .reference("RFC 9989 section 5"),
        ),
        _ => judgement.well("DMARC does not rest on SPF alone"),
    }
    Ok(judgement)
}
