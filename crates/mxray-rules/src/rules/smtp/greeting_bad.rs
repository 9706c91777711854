//! SMTP101: what a server says first is no greeting of SMTP, or says no to everybody.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{ExaminedEndpoint, Purpose};
use mxray_model::session::{AnomalyKind, Ending, Reply, SmtpSession, Stage};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "SMTP101",
    name: "greeting-bad",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "what answers is no mail server, its greeting is malformed, or it says no to everybody",
    page: include_str!("greeting_bad.md"),
    check,
};

enum Kind {
    /// Another protocol speaks here.
    Protocol(&'static str, String),
    /// It waits for a hello of TLS.
    Tls,
    /// Lines that are no reply, and then one.
    TextBefore(String),
    /// A reply whose form or code is none of a greeting.
    Form(String),
    /// No reply at all, though something came.
    NoReply(String),
    /// More than anybody reads.
    Endless,
    /// 554 and the like: RFC 5321 section 3.1.
    Refuses(Reply),
    /// Closed without a word.
    Nothing,
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Kind::Protocol(..) => "other_protocol",
            Kind::Tls => "tls",
            Kind::TextBefore(_) => "text_before",
            Kind::Form(_) => "malformed",
            Kind::NoReply(_) => "no_reply",
            Kind::Endless => "endless",
            Kind::Refuses(_) => "refuses",
            Kind::Nothing => "closed",
        }
    }

    fn text(&self) -> String {
        match self {
            Kind::Protocol(name, line) => format!("what answers speaks {name}, not SMTP: {line}"),
            Kind::Tls => {
                "it says nothing, and takes TLS from the first byte on, where senders wait for its greeting".to_owned()
            }
            Kind::TextBefore(line) => format!("there is text in front of its greeting: {line}"),
            Kind::Form(line) => format!("its greeting is malformed: {line}"),
            Kind::NoReply(line) => format!("what it says first is no reply: {line}"),
            Kind::Endless => "its greeting does not end".to_owned(),
            Kind::Refuses(reply) => format!("it takes mail from nobody: {}", replies::said(reply)),
            Kind::Nothing => "it closes each connection without a greeting".to_owned(),
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it greets as it should", judge, |bad| {
        let kind = &bad.first.1;
        let (severity, confidence) = weight(bad.endpoint, kind);
        let text = kind.text();
        let finding = bad
            .finding(&RULE, severity, format!("{}: {}.", bad.whose(), text.trim_end_matches('.')))
            .confidence(confidence)
            .data("kind", kind.word())
            .reference("RFC 5321 section 3.1")
            .reference("RFC 5321 section 4.2");
        let finding = outside::touching_helpers(finding, evidence, bad.endpoint);
        let finding = bad.because(finding, &at::SMTP, Kind::text);
        let step = match kind {
            Kind::Protocol(..) | Kind::NoReply(_) => {
                "Find out which program listens there, and what stands in front of it (a proxy, a port forward to the wrong port)."
            }
            Kind::Tls => {
                "Let the service greet in clear on this port and offer STARTTLS; TLS from the first byte belongs on port 465 (Postfix: take smtpd_tls_wrappermode=yes out of this line of master.cf; Exim: tls_on_connect_ports; a proxy: no TLS in front of it)."
            }
            Kind::TextBefore(_) | Kind::Form(_) | Kind::Endless => {
                "Have the server (or the proxy, or the filter in front of it) say `220`, its name and nothing before that."
            }
            Kind::Refuses(_) => {
                "If mail should be taken here, take the refusal out of the server's configuration; if not, take the host out of the domain's MX records."
            }
            Kind::Nothing => {
                "Look into the server's log for why it ends: a limit, a filter by address, a helper that does not answer, a proxy without a server behind it."
            }
        };
        finding.fix(outside::step(bad.endpoint, step).verify(outside::probe_command(bad.endpoint, " --depth greeting")))
    })
}

/// A host that takes no mail and says so does as RFC 5321 section 3.1 wants it; it is a fault where mail is sent to it.
fn weight(endpoint: &ExaminedEndpoint, kind: &Kind) -> (Severity, f32) {
    match kind {
        Kind::Refuses(_) => {
            let wanted = outside::stake(endpoint) != Stake::Asked
                || outside::domains(endpoint).next().is_some()
                || outside::is_smarthost(endpoint);
            (if wanted { RULE.severity } else { Severity::Notice }, 0.8)
        }
        Kind::Nothing => (RULE.severity, 0.7),
        _ => (RULE.severity, 1.0),
    }
}

fn judge(contact: Contact<'_>) -> Verdict<Kind> {
    let endpoint = contact.endpoint;
    if endpoint.protocol.mailbox().is_some() {
        return Verdict::Silent;
    }
    let session = match contact.smtp() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    if session.stage == Stage::Handshake && session.greeting.value().is_none() {
        return Verdict::Blind(replies::cut_short(contact, session));
    }
    match session.greeting.value() {
        Some(greeting) => of_reply(contact, session, greeting),
        None => of_silence(contact, session),
    }
}

fn of_reply(contact: Contact<'_>, session: &SmtpSession, greeting: &Reply) -> Verdict<Kind> {
    let odd = |wanted: fn(&AnomalyKind) -> bool| {
        // Up to the greeting itself; what is odd behind it is another matter.
        let last = u64::from(greeting.entry) + greeting.lines.len() as u64;
        session.transcript.anomalies.iter().any(|one| wanted(&one.kind) && u64::from(one.entry) < last)
    };
    if replies::is_masked(greeting) {
        // A box in the middle (SMTP111).
        return Verdict::Silent;
    }
    if odd(|kind| matches!(kind, AnomalyKind::TextBeforeGreeting)) {
        let line = replies::first_line(&session.transcript).unwrap_or_default();
        return match other_protocol(&line) {
            Some(name) => Verdict::Bad(Kind::Protocol(name, line)),
            None => Verdict::Bad(Kind::TextBefore(line)),
        };
    }
    let malformed = odd(|kind| matches!(kind, AnomalyKind::BadSeparator | AnomalyKind::MixedCodes { .. }));
    match greeting.code {
        _ if malformed => Verdict::Bad(Kind::Form(replies::said(greeting))),
        220 => Verdict::Well,
        // Come again, or: not you.
        400..=499 => Verdict::Blind(replies::cut_short(contact, session)),
        500..=599 if replies::names_us(greeting, contact) => Verdict::Blind(replies::cut_short(contact, session)),
        500..=599 => Verdict::Bad(Kind::Refuses(greeting.clone())),
        _ => Verdict::Bad(Kind::Form(replies::said(greeting))),
    }
}

fn of_silence(contact: Contact<'_>, session: &SmtpSession) -> Verdict<Kind> {
    if replies::takes_tls_at_once(contact) {
        return replies::asked_in_clear(contact).map_or(Verdict::Bad(Kind::Tls), Verdict::Blind);
    }
    if let Some(line) = replies::first_line(&session.transcript) {
        let foreign =
            session.transcript.anomalies.iter().any(|one| matches!(one.kind, AnomalyKind::TextBeforeGreeting));
        if let Some(name) = other_protocol(&line) {
            return Verdict::Bad(Kind::Protocol(name, line));
        }
        if foreign {
            return Verdict::Bad(Kind::NoReply(line));
        }
    }
    match &session.ending {
        Ending::Limit { .. } => Verdict::Bad(Kind::Endless),
        // Others may close because it is us; on this host we are nobody.
        Ending::PeerClosed | Ending::Broke { .. }
            if outside::stake(contact.endpoint) == Stake::Own && contact.endpoint.purpose != Purpose::Other =>
        {
            Verdict::Bad(Kind::Nothing)
        }
        ending => Verdict::Blind(contact.cut_short(ending, None)),
    }
}

/// A protocol that is not SMTP, by its first line.
fn other_protocol(line: &str) -> Option<&'static str> {
    replies::protocol(line).filter(|name| *name != replies::SMTP)
}
