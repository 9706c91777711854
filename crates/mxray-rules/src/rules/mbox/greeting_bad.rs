//! MBOX107: what a mailbox server says first is no greeting of its protocol, or says no to everybody.

use crate::outside::{self, Contact, Stake, Verdict, at};
use crate::replies;
use crate::rule::{Rule, Said};
use mxray_model::evidence::{Purpose, SessionProtocol};
use mxray_model::session::{AnomalyKind, Answer, Ending, MailboxSession, MailboxStage};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MBOX107",
    name: "mailbox-greeting-bad",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "what answers is no IMAP, POP3 or ManageSieve server, its greeting is malformed, or it says no to everybody",
    page: include_str!("greeting_bad.md"),
    check,
};

enum Kind {
    /// Another protocol speaks here.
    Protocol(&'static str, String),
    /// It waits for a hello of TLS.
    Tls,
    /// Lines that are no greeting, and then one.
    TextBefore(String),
    /// No greeting at all, though something came.
    NoGreeting(String),
    /// More than anybody reads.
    Endless,
    /// `* BYE`, `-ERR`, `NO`, `BYE`.
    Refuses(String),
    /// Closed without a word.
    Nothing,
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Kind::Protocol(..) => "other_protocol",
            Kind::Tls => "tls",
            Kind::TextBefore(_) => "text_before",
            Kind::NoGreeting(_) => "no_greeting",
            Kind::Endless => "endless",
            Kind::Refuses(_) => "refuses",
            Kind::Nothing => "closed",
        }
    }

    fn text(&self) -> String {
        match self {
            Kind::Protocol(name, line) => format!("what answers speaks {name}: {line}"),
            Kind::Tls => {
                "it says nothing, and takes TLS from the first byte on, where programs wait for its greeting".to_owned()
            }
            Kind::TextBefore(line) => format!("there is text in front of its greeting: {line}"),
            Kind::NoGreeting(line) => format!("what it says first is no greeting: {line}"),
            Kind::Endless => "its greeting does not end".to_owned(),
            Kind::Refuses(said) => format!("it lets nobody in: {said}"),
            Kind::Nothing => "it closes each connection without a greeting".to_owned(),
        }
    }

    fn confidence(&self) -> f32 {
        match self {
            // The words are free: it may be about us, or about now.
            Kind::Refuses(_) => 0.8,
            Kind::Nothing => 0.7,
            _ => 1.0,
        }
    }
}

fn check(evidence: &Evidence) -> Said {
    outside::each(evidence, &RULE, "it greets as a mailbox server does", judge, |bad| {
        let kind = &bad.first.1;
        let text = kind.text();
        let section = match bad.endpoint.protocol {
            SessionProtocol::Pop3 => "RFC 1939 section 4",
            SessionProtocol::Sieve => "RFC 5804 section 1.2",
            _ => "RFC 9051 section 7.1",
        };
        let severity = outside::for_operator(RULE.severity, bad.endpoint);
        let finding = bad
            .finding(&RULE, severity, format!("{}: {}.", bad.whose(), text.trim_end_matches('.')))
            .confidence(kind.confidence())
            .data("kind", kind.word())
            .reference(section);
        let finding = bad.because(finding, &at::MAILBOX, Kind::text);
        let step = match kind {
            Kind::Protocol(..) | Kind::NoGreeting(_) => {
                "Find out which program listens there, and what stands in front of it (a proxy, a port forward to the wrong port)."
            }
            Kind::Tls => {
                "Let the service greet in clear on this port and offer STARTTLS, or close the port: TLS from the first byte belongs on 993 and 995 (Dovecot: take ssl = yes out of this inet_listener; a proxy: no TLS in front of it)."
            }
            Kind::TextBefore(_) | Kind::Endless => {
                "Have the server (or the proxy in front of it) say its greeting and nothing before that."
            }
            Kind::Refuses(_) => {
                "Look into the server's log for why it turns clients away: a list of allowed networks, a mailbox store that is not there, a proxy without a server behind it."
            }
            Kind::Nothing => {
                "Look into the server's log for why it ends: a limit of processes or connections, a filter by address, a helper that does not answer."
            }
        };
        finding.fix(outside::step(bad.endpoint, step).verify(outside::probe_command(bad.endpoint, " --depth greeting")))
    })
}

fn judge(contact: Contact<'_>) -> Verdict<Kind> {
    if contact.endpoint.protocol.mailbox().is_none() {
        return Verdict::Silent;
    }
    let session = match contact.mailbox() {
        Ok(session) => session,
        Err(blind) => return Verdict::Blind(blind),
    };
    match session.greeting.value() {
        Some(greeting) => of_greeting(contact, session, greeting),
        // What is wrong with the handshake is TLS102's.
        None if session.stage == MailboxStage::Handshake => Verdict::Blind(contact.cut_short(&session.ending, None)),
        None => of_silence(contact, session),
    }
}

/// Lines in front of `entry` that belong to no protocol of mailboxes.
fn foreign_before(session: &MailboxSession, entry: u32) -> bool {
    session
        .transcript
        .anomalies
        .iter()
        .any(|one| matches!(one.kind, AnomalyKind::TextBeforeGreeting | AnomalyKind::NotAReply) && one.entry < entry)
}

fn of_greeting(contact: Contact<'_>, session: &MailboxSession, greeting: &Answer) -> Verdict<Kind> {
    if foreign_before(session, greeting.entry) {
        let line = replies::first_line(&session.transcript).unwrap_or_default();
        return Verdict::Bad(match other_protocol(contact, &line) {
            Some(name) => Kind::Protocol(name, line),
            None => Kind::TextBefore(line),
        });
    }
    if greeting.ok {
        return Verdict::Well;
    }
    let said = replies::answered(greeting);
    if replies::refers(greeting) || replies::puts_off(greeting) || replies::turns_us_away(greeting, contact) {
        return Verdict::Blind(contact.cut_short(&session.ending, Some(said)));
    }
    Verdict::Bad(Kind::Refuses(said))
}

fn of_silence(contact: Contact<'_>, session: &MailboxSession) -> Verdict<Kind> {
    if replies::takes_tls_at_once(contact) {
        return replies::asked_in_clear(contact).map_or(Verdict::Bad(Kind::Tls), Verdict::Blind);
    }
    if let Some(line) = replies::first_line(&session.transcript) {
        if let Some(name) = other_protocol(contact, &line) {
            return Verdict::Bad(Kind::Protocol(name, line));
        }
        if foreign_before(session, u32::MAX) {
            return Verdict::Bad(Kind::NoGreeting(line));
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

fn other_protocol(contact: Contact<'_>, line: &str) -> Option<&'static str> {
    let own = match contact.endpoint.protocol {
        SessionProtocol::Imap => "IMAP",
        SessionProtocol::Pop3 => "POP3",
        SessionProtocol::Sieve => "ManageSieve",
        SessionProtocol::Smtp | SessionProtocol::Lmtp => replies::SMTP,
    };
    replies::protocol(line).filter(|name| *name != own)
}
