//! ABUSE103: bytes in clear stand behind the reply to STARTTLS. What a server makes of ours is not tried.

use crate::outside::{self, Contact, Stake, Verdict};
use crate::replies;
use crate::rule::{Rule, Said};
use crate::transport::{self, Offer};
use mxray_model::evidence::Session;
use mxray_model::session::{Anomaly, AnomalyKind, Transcript};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "ABUSE103",
    name: "starttls-injection",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "text in clear stands behind the reply to STARTTLS, where TLS has to begin",
    page: include_str!("starttls_injection.md"),
    check,
};

struct Injected {
    bytes: u32,
    text: String,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "nothing stands between its reply to STARTTLS and TLS", judge, |bad| {
        let injected = &bad.first.1;
        // Programs that send mail drop what stands there, or end the session.
        let passed = outside::stake(bad.endpoint) == Stake::Passed;
        let severity = if passed { Severity::Warning } else { RULE.severity };
        let finding = bad
            .finding(
                &RULE,
                severity,
                format!(
                    "{}: {} bytes in clear stand behind its reply to STARTTLS: a broken server, or somebody on the way.",
                    bad.whose(),
                    injected.bytes
                ),
            )
            .confidence(0.9)
            .data("bytes", injected.bytes)
            .reference("RFC 3207 section 6")
            .reference("USENIX Security 2021, Why TLS Is Better Without STARTTLS");
        bad.because(finding, &["session"], |injected| {
            format!("behind the reply to STARTTLS, before TLS: {} bytes: {}", injected.bytes, injected.text)
        })
        .fix(
            outside::step(
                bad.endpoint,
                "Compare what the server writes with what arrives: if it writes that text itself, renew it; if not, somebody on the way does, and whatever is said there in clear is theirs to change.",
            )
            .verify(outside::probe_command(bad.endpoint, " -v")),
        )
        .fix(outside::step(
            bad.endpoint,
            "Use ports on which TLS begins with the first byte (465, 993, 995): there is nothing in front of it (RFC 8314 section 3).",
        ))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Injected> {
    if outside::is_implicit_tls(contact.endpoint) {
        return Verdict::Silent;
    }
    let transcript = match contact.seen.session.value() {
        Some(Session::Smtp(session)) => Some(&session.transcript),
        Some(Session::Mailbox(session)) => Some(&session.transcript),
        None => None,
    };
    if let Some(injected) = transcript.and_then(injected) {
        return Verdict::Bad(injected);
    }
    match transport::offer(contact) {
        Ok(Offer::Begun) => Verdict::Well,
        // It said no, or nothing: there was no TLS to begin.
        Ok(Offer::NotAnnounced | Offer::Refused { .. } | Offer::Unanswered { .. }) => Verdict::Silent,
        Err(blind) => Verdict::Blind(blind),
    }
}

fn injected(transcript: &Transcript) -> Option<Injected> {
    transcript.anomalies.iter().find_map(|Anomaly { kind, entry }| match kind {
        AnomalyKind::TextBeforeTls { bytes } => {
            let text = replies::received_from(transcript, entry.saturating_add(1)).unwrap_or_default();
            Some(Injected { bytes: *bytes, text })
        }
        _ => None,
    })
}
