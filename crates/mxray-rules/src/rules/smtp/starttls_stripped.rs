//! SMTP111: something between us and the server rewrites what it says, and takes STARTTLS away.

use crate::outside::{self, Contact, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::session::{AnomalyKind, SmtpSession, StarttlsOutcome};
use mxray_model::{Evidence, Fix, Mover, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP111",
    name: "starttls-stripped",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a box on the path rewrites the session so that there is no TLS: mail and passwords go in clear",
    page: include_str!("starttls_stripped.md"),
    check,
};

struct Rewritten {
    what: String,
    /// STARTTLS is gone, not only the banner.
    stripped: bool,
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "nothing on the path rewrites the session", judge, |bad| {
        let Rewritten { what, stripped } = &bad.first.1;
        let severity = if *stripped { RULE.severity } else { Severity::Notice };
        let effect = if *stripped { "and takes STARTTLS away" } else { "and leaves STARTTLS in place" };
        let summary = format!("Something between here and {} rewrites the session {effect}: {what}.", bad.whose());
        let mut finding = bad
            .finding(&RULE, severity, summary)
            .confidence(0.95)
            .data("stripped", *stripped)
            .data("seen", what.clone())
            .reference("RFC 3207 section 6")
            .reference("RFC 7435 section 1.2");
        finding.whose_move = Mover::Network;
        let finding = bad.because(finding, &at::SMTP, |one| one.what.clone());
        let again = outside::probe_command(bad.endpoint, "");
        finding
            .fix(
                Fix::here("Ask the same from another network: where STARTTLS is offered there, the box is on this side; where not, in front of the server.")
                    .verify(again.clone()),
            )
            .fix(
                Fix {
                    who: "whoever runs the firewall on the path".to_owned(),
                    ..Fix::here("Switch the inspection of SMTP off (Cisco: `no fixup protocol smtp 25`; ASA: `no inspect esmtp`, or `allow-tls` in its policy map; others: SMTP proxy, \"email protection\").")
                }
                .verify(again),
            )
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Rewritten> {
    let endpoint = contact.endpoint;
    if endpoint.protocol.mailbox().is_some() || outside::is_implicit_tls(endpoint) {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    let announced = session.hellos.iter().find(|hello| !hello.tls).and_then(|hello| hello.extensions.value());
    let offered = announced.is_some_and(|extensions| extensions.contains_key("STARTTLS"));
    let mangled = announced.and_then(|extensions| extensions.keys().find(|keyword| is_crossed_out(keyword)));
    if let Some(keyword) = mangled {
        let what = format!("it announces {keyword}");
        return Verdict::Bad(Rewritten { what, stripped: !offered });
    }
    if let Some(what) = command_crossed_out(session) {
        return Verdict::Bad(Rewritten { what, stripped: true });
    }
    let Some(greeting) = session.greeting.value() else {
        return Verdict::Blind(replies::cut_short(contact, session));
    };
    if replies::is_masked(greeting) {
        let what = format!("its greeting reads {}", replies::said(greeting));
        // Where no list came, nobody knows whether TLS is offered; such a box crosses EHLO out as well.
        let stripped = !offered && (announced.is_some() || hello_refused(session));
        return Verdict::Bad(Rewritten { what, stripped });
    }
    if announced.is_none() {
        return Verdict::Blind(replies::cut_short(contact, session));
    }
    // Who wrote that is not known (ABUSE103).
    let written_between =
        session.transcript.anomalies.iter().any(|one| matches!(one.kind, AnomalyKind::TextBeforeTls { .. }));
    if written_between { Verdict::Silent } else { Verdict::Well }
}

/// `XXXXXXXA`, `XXXXXXXX`: what such boxes write over a keyword that they do not let through. Registered keywords with an X
/// in front (XCLIENT, XEXCH50) have other letters behind it.
fn is_crossed_out(keyword: &str) -> bool {
    let crosses = keyword.bytes().take_while(|byte| *byte == b'X').count();
    crosses >= 6 && keyword.len() - crosses <= 1
}

/// STARTTLS or EHLO came to the server as XXXX, and it repeats what it got.
fn command_crossed_out(session: &SmtpSession) -> Option<String> {
    let starttls = match &session.starttls {
        Seen::Value(StarttlsOutcome::Refused(reply)) => Some(reply),
        _ => None,
    };
    let refused = session.hellos.iter().map(|hello| &hello.reply).chain(starttls).filter(|reply| reply.is_permanent());
    let has_crosses = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w.len() >= 4 && w.bytes().all(|b| b == b'X'))
    };
    refused
        .map(replies::said)
        .find(|said| has_crosses(said))
        .map(|said| format!("a command of ours reached it as XXXX ({said})"))
}

fn hello_refused(session: &SmtpSession) -> bool {
    session.hellos.iter().any(|hello| hello.verb == "EHLO" && hello.reply.is_permanent())
}
