//! AUTH107: a submission port takes mail without TLS.

use crate::logins;
use crate::outside::{self, Contact, Verdict};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::Reply;
use mxray_model::{Blind, Evidence, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "AUTH107",
    name: "tls-optional-on-submission",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a port for users takes mail without TLS: a program with the wrong setting sends in clear, and nobody notices",
    page: include_str!("tls_optional.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let well = "it takes no mail without TLS";
    outside::each(
        evidence,
        &RULE,
        well,
        |contact| judge(evidence, contact),
        |bad| {
            // Without a login in clear nobody's program sends in clear: what is taken then is what port 25 takes, too.
            let usual = if offers_login_in_clear(bad.first.0) { RULE.severity } else { Severity::Notice };
            let severity = outside::for_operator(usual, bad.endpoint);
            let said = bad.first.1.clone();
            let shown = said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default();
            let summary =
                format!("{} goes on without TLS, although users hand in their mail here{shown}.", bad.whose());
            let finding = bad
                .finding(&RULE, severity, summary)
                .confidence(0.9)
                .data("said", said)
                .reference("RFC 8314 section 4.1")
                .reference("RFC 6409 section 3.3");
            bad.because(finding, &["requires_tls"], |said| {
                said.as_ref()
                    .map_or_else(|| "MAIL was taken without TLS".to_owned(), |said| format!("MAIL without TLS: {said}"))
            })
            .fix(logins::require_tls(evidence, bad.endpoint))
        },
    )
}

/// AUTH stands among the extensions before TLS, or is not known not to.
fn offers_login_in_clear(contact: Contact<'_>) -> bool {
    let Ok(session) = contact.smtp() else { return true };
    let clear = session.hellos.iter().find(|hello| !hello.tls);
    clear.and_then(|hello| hello.extensions.value()).is_none_or(|known| known.contains_key("AUTH"))
}

fn judge(evidence: &Evidence, contact: Contact<'_>) -> Verdict<Option<String>> {
    let endpoint = contact.endpoint;
    let foreign = endpoint.protocol.mailbox().is_some() || !outside::is_submission(endpoint);
    if foreign || logins::concerns_nobody(evidence, contact) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let said = session.mail_in_clear.value().map(replies::said);
    match (&contact.seen.requires_tls, session.mail_in_clear.value()) {
        (Seen::Value(true), _) => Verdict::Well,
        (Seen::Value(false), _) => Verdict::Bad(said),
        (_, Some(reply)) if reply.is_positive() => Verdict::Bad(said),
        // 530: TLS, or a login, which is not offered without TLS, first.
        (_, Some(Reply { code: 530 | 538, .. })) => Verdict::Well,
        (_, Some(_)) => Verdict::Blind(Blind::NotAttempted {
            why: format!(
                "{}: MAIL without TLS: {}: that says nothing of TLS",
                contact.name(),
                said.unwrap_or_default()
            ),
        }),
        // A port for users on which TLS cannot even begin is the matter of TLS101; what it takes was not asked.
        (Seen::Unknown(blind), None) => match session.greeting.value() {
            None => Verdict::Blind(replies::cut_short(contact, session)),
            Some(_) => Verdict::Blind(Blind::NotAttempted {
                why: format!("whether {} goes on without TLS: {}", contact.name(), blind.why()),
            }),
        },
        (Seen::Absent, None) => Verdict::Silent,
    }
}
