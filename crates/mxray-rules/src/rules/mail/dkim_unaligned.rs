//! MAIL104: what signs is not the author's domain.

use crate::authentication::listed;
use crate::authentication::mail::{dmarc_blind, finding, given, is_refused, pointer, verdict, verified};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DmarcMode, DmarcRow, DmarcVerdict, ExaminedMail};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "MAIL104",
    name: "mail-dkim-unaligned",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the signatures of a mail hold, and none is of its author's domain",
    page: include_str!("dkim_unaligned.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mail = given(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let Some(verdict) = verdict(mail) else {
        match dmarc_blind(mail) {
            Some(blind) => judgement.blind(&RULE, &blind),
            None => judgement.well("the mail has no author's domain that a signature could belong to"),
        }
        return Ok(judgement);
    };
    let signed = verdict.rows.iter().enumerate().filter(|(_, row)| row.mechanism == "dkim" && row.result == "pass");
    let rows: Vec<(usize, &DmarcRow)> = signed.collect();
    if rows.is_empty() || rows.iter().any(|(_, row)| row.aligned == Some(true)) {
        judgement.well("a signature of the author's domain holds, or none holds at all");
    } else if rows.iter().any(|(_, row)| row.aligned.is_none()) {
        let why = "whether a signature's domain belongs to the author's could not be looked up".to_owned();
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    } else {
        judgement.find(say(mail, verdict, &rows));
    }
    Ok(judgement)
}

fn say(mail: &ExaminedMail, verdict: &DmarcVerdict, rows: &[(usize, &DmarcRow)]) -> Finding {
    let domains: Vec<&str> = rows.iter().map(|(_, row)| row.domain.as_str()).collect();
    let author = verdict.discovery.domain.as_str();
    let strict = rows.iter().any(|(_, row)| row.mode == DmarcMode::Strict);
    let how = if strict { "which strict alignment (adkim=s) does not take for" } else { "which does not belong to" };
    let severity = if is_refused(mail) { Severity::Error } else { RULE.severity };
    let mut found = finding(
        &RULE,
        severity,
        mail,
        format!(
            "The mail is signed by {}, {how} its author's domain {author}: DMARC does not count it.",
            listed(&domains)
        ),
    )
    .data("domains", domains)
    .data("author", author);
    for (at, row) in rows {
        let own = row.organizational.as_deref().map_or(String::new(), |of| format!(", of the organisation {of}"));
        found = found.because(
            format!("d={}{own}; From is of {author}", row.domain),
            mail.file.as_str(),
            pointer(&["dmarc", "value", "rows", &at.to_string()]),
        );
    }
    found
        .fix(verified(
            Fix::here(format!(
                "Have mail from {author} signed with d={author}: a key of its own in the signer's table, or the sending service's \
                 setting for an own domain."
            )),
            mail,
        ))
        .reference("RFC 9989 section 5.1")
}
