//! MBOX101: an IMAP server takes LOGIN before TLS.

use crate::logins;
use crate::outside::{self, Contact, Verdict, at};
use crate::rule::{Rule, Said};
use mxray_model::evidence::SessionProtocol;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MBOX101",
    name: "imap-clear-login",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an IMAP server takes passwords before TLS, where everybody on the path can read them",
    page: include_str!("imap_clear_login.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let well = "it takes no password before TLS";
    outside::each(
        evidence,
        &RULE,
        well,
        |contact| judge(evidence, contact),
        |bad| {
            let ways = &bad.first.1;
            let summary = format!(
                "{} takes passwords before TLS ({}): who listens on the path can read them.",
                bad.whose(),
                ways.join(", ")
            );
            let finding = bad
                .finding(&RULE, RULE.severity, summary)
                .data("ways", ways.clone())
                .reference("RFC 9051 section 6.2.3")
                .reference("RFC 9051 section 11.1")
                .reference("RFC 8314 section 3");
            bad.because(finding, &at::MAILBOX, |ways| {
                format!("the capabilities without TLS have no LOGINDISABLED: {}", ways.join(", "))
            })
            .fix(logins::only_under_tls(evidence, bad.endpoint))
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    if contact.endpoint.protocol != SessionProtocol::Imap || logins::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let listed = match contact.mailbox().and_then(|session| logins::announced_in_clear(contact, session)) {
        Ok(listed) => listed,
        Err(blind) => return Verdict::Blind(blind),
    };
    let mut ways: Vec<String> = Vec::new();
    if !listed.contains_key("LOGINDISABLED") {
        ways.push("LOGIN".to_owned());
    }
    // With LOGINDISABLED and PLAIN the command is closed and the door beside it open.
    let mechanisms = listed.get("AUTH").map(logins::in_clear).unwrap_or_default();
    ways.extend(mechanisms.into_iter().map(|mechanism| format!("AUTH={mechanism}")));
    if ways.is_empty() {
        return Verdict::Well;
    }
    match logins::by_configuration(evidence, contact) {
        None | Some(Ok(true)) => Verdict::Bad(ways),
        Some(Ok(false)) => Verdict::Well,
        Some(Err(blind)) => Verdict::Blind(blind),
    }
}
