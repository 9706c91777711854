//! MBOX101: an IMAP server takes LOGIN before TLS.

use super::{ClearLogin, mechanisms_in_clear};
use crate::logins;
use crate::outside::{self, Bad, Contact, Verdict, at};
use crate::rule::{Rule, Said};
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Extension;
use mxray_model::{Evidence, Finding, Severity};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "MBOX101",
    name: "imap-clear-login",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an IMAP server takes passwords before TLS, where everybody on the path can read them",
    page: include_str!("imap_clear_login.md"),
    check,
};

const IMAP: ClearLogin = ClearLogin {
    protocol: SessionProtocol::Imap,
    ways,
    listed: "the capabilities without TLS have no LOGINDISABLED:",
    references: &["RFC 9051 section 6.2.3", "RFC 9051 section 11.1", "RFC 8314 section 3"],
};

fn check(evidence: &Evidence) -> Said {
    outside::each(
        evidence,
        &RULE,
        "it takes no password before TLS",
        |contact| judge(evidence, contact),
        |bad| if is_preauth(&bad.first.1) { logged_in(bad) } else { IMAP.finding(evidence, &RULE, bad) },
    )
}

/// Logged in by something else than the session (RFC 9051 section 7.1.4); STARTTLS is not to be asked for then.
const PREAUTH: &str = "PREAUTH";

fn is_preauth(ways: &[String]) -> bool {
    ways.iter().any(|way| way == PREAUTH)
}

fn logged_in(bad: &Bad<'_, Vec<String>>) -> Finding {
    let summary = format!(
        "{} takes whoever comes for logged in, before TLS (PREAUTH): nobody can begin TLS any more, and all is read in clear.",
        bad.whose()
    );
    let finding = bad.finding(&RULE, RULE.severity, summary).data("ways", bad.first.1.clone());
    let finding = IMAP.references.iter().fold(finding, |finding, reference| finding.reference(*reference));
    let step = "Greet with `* OK` on this port: PREAUTH is for connections that have shown who they are. If the server says `* OK`, somebody on the way says PREAUTH.";
    bad.because(finding, &at::MAILBOX, |_| "it greets with PREAUTH, without TLS".to_owned())
        .confidence(0.9)
        .reference("RFC 9051 section 7.1.4")
        .fix(outside::step(bad.endpoint, step).verify(outside::probe_command(bad.endpoint, "")))
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    if IMAP.concerns(evidence, contact)
        && let Ok(session) = contact.mailbox()
        && session.greeting.value().is_some_and(|greeting| greeting.status == PREAUTH)
    {
        // From its own machine a server may know who comes.
        return if contact.from_same_host() {
            Verdict::Blind(logins::asked_from_here(contact))
        } else {
            Verdict::Bad(vec![PREAUTH.to_owned()])
        };
    }
    IMAP.judge(evidence, contact)
}

fn ways(listed: &BTreeMap<String, Extension>) -> Vec<String> {
    let login = (!listed.contains_key("LOGINDISABLED")).then(|| "LOGIN".to_owned());
    // With LOGINDISABLED and PLAIN the command is closed and the door beside it open.
    login.into_iter().chain(mechanisms_in_clear(listed, "AUTH", '=')).collect()
}
