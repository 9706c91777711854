//! MBOX103: a ManageSieve server takes passwords before TLS.

use crate::logins;
use crate::outside::{self, Contact, Verdict, at};
use crate::rule::{Rule, Said};
use mxray_model::evidence::SessionProtocol;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MBOX103",
    name: "sieve-clear-login",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a ManageSieve server takes passwords before TLS, where everybody on the path can read them",
    page: include_str!("sieve_clear_login.md"),
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
                .reference("RFC 5804 section 2.1")
                .reference("RFC 5804 section 5");
            bad.because(finding, &at::MAILBOX, |ways| format!("the capabilities without TLS list {}", ways.join(", ")))
                .fix(logins::only_under_tls(evidence, bad.endpoint))
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    if contact.endpoint.protocol != SessionProtocol::Sieve || logins::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let listed = match contact.mailbox().and_then(|session| logins::announced_in_clear(contact, session)) {
        Ok(listed) => listed,
        Err(blind) => return Verdict::Blind(blind),
    };
    // RFC 5804 section 1.7: a server that offers none before TLS lists an empty SASL.
    let mechanisms = listed.get("SASL").map(logins::in_clear).unwrap_or_default();
    if mechanisms.is_empty() {
        return Verdict::Well;
    }
    match logins::by_configuration(evidence, contact) {
        None | Some(Ok(true)) => {
            Verdict::Bad(mechanisms.into_iter().map(|mechanism| format!("SASL {mechanism}")).collect())
        }
        Some(Ok(false)) => Verdict::Well,
        Some(Err(blind)) => Verdict::Blind(blind),
    }
}
