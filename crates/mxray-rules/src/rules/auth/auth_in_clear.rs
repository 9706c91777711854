//! AUTH101: a server offers logins with the bare password before TLS.

use crate::logins;
use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::Purpose;
use mxray_model::{Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "AUTH101",
    name: "auth-in-clear",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a server takes passwords that everybody on the path can read",
    page: include_str!("auth_in_clear.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let well = "no password is asked for before TLS";
    outside::each(
        evidence,
        &RULE,
        well,
        |contact| judge(evidence, contact),
        |bad| {
            let mechanisms = &bad.first.1;
            let severity = outside::for_operator(RULE.severity, bad.endpoint);
            let summary = format!(
                "{} offers logins with the bare password before TLS ({}): who listens on the path can read it.",
                bad.whose(),
                mechanisms.join(", ")
            );
            let finding = bad
                .finding(&RULE, severity, summary)
                .data("mechanisms", mechanisms.clone())
                .reference("RFC 4954 section 4")
                .reference("RFC 8314 section 3");
            bad.because(finding, &at::SMTP, |mechanisms| {
                format!("EHLO without TLS announces AUTH {}", mechanisms.join(" "))
            })
            .fix(logins::only_under_tls(evidence, bad.endpoint))
        },
    )
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Vec<String>> {
    let endpoint = contact.endpoint;
    let foreign = endpoint.protocol.mailbox().is_some() || endpoint.purpose == Purpose::Internal;
    if foreign || logins::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    // HELO announces nothing; what the EHLO before it was refused for stands there.
    let in_clear = session.hellos.iter().rev().find(|hello| !hello.tls);
    match in_clear.map(|hello| &hello.extensions) {
        Some(Seen::Value(extensions)) => {
            let mechanisms = extensions.get("AUTH").map(logins::in_clear).unwrap_or_default();
            if mechanisms.is_empty() { Verdict::Well } else { Verdict::Bad(mechanisms) }
        }
        Some(Seen::Absent) => Verdict::Well,
        Some(Seen::Unknown(_)) | None => Verdict::Blind(replies::cut_short(contact, session)),
    }
}
