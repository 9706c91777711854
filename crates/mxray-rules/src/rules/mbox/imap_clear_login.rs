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
            let summary = if is_preauth(ways) {
                format!(
                    "{} takes whoever comes for logged in, before TLS (PREAUTH): nobody can begin TLS any more, and all is read in clear.",
                    bad.whose()
                )
            } else {
                format!(
                    "{} takes passwords before TLS ({}): who listens on the path can read them.",
                    bad.whose(),
                    ways.join(", ")
                )
            };
            let finding = bad
                .finding(&RULE, RULE.severity, summary)
                .data("ways", ways.clone())
                .reference("RFC 9051 section 6.2.3")
                .reference("RFC 9051 section 11.1")
                .reference("RFC 8314 section 3");
            if is_preauth(ways) {
                let step = "Greet with `* OK` on this port: PREAUTH is for connections that have shown who they are. If the server says `* OK`, somebody on the way says PREAUTH.";
                return bad
                    .because(finding, &at::MAILBOX, |_| "it greets with PREAUTH, without TLS".to_owned())
                    .confidence(0.9)
                    .reference("RFC 9051 section 7.1.4")
                    .fix(outside::step(bad.endpoint, step).verify(outside::probe_command(bad.endpoint, "")));
            }
            bad.because(finding, &at::MAILBOX, |ways| {
                format!("the capabilities without TLS have no LOGINDISABLED: {}", ways.join(", "))
            })
            .fix(logins::only_under_tls(evidence, bad.endpoint))
        },
    )
}

/// Logged in by something else than the session (RFC 9051 section 7.1.4); STARTTLS is not to be asked for then.
const PREAUTH: &str = "PREAUTH";

fn is_preauth(ways: &[String]) -> bool {
    ways.iter().any(|way| way == PREAUTH)
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    if contact.endpoint.protocol != SessionProtocol::Imap || logins::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    if let Ok(session) = contact.mailbox()
        && session.greeting.value().is_some_and(|greeting| greeting.status == PREAUTH)
    {
        // From its own machine a server may know who comes.
        return if contact.from_same_host() {
            Verdict::Blind(logins::asked_from_here(contact))
        } else {
            Verdict::Bad(vec![PREAUTH.to_owned()])
        };
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
