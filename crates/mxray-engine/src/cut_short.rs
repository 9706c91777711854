//! Sessions that ended before what was to be seen: where, and why. What it means for a verdict is the callers' business; whether it
//! is a fault is the rules'.

use mxray_model::Seen;
use mxray_model::evidence::{ExaminedAddress, ExaminedEndpoint, Session};
use mxray_model::session::{Answer, Ending, Limit, MailboxSession, MailboxStage, Raw, Reply, SmtpSession, Stage};

/// Longest text of a server that is repeated, in characters.
const SAID_CHARS_MAX: usize = 200;

/// A session that did not come as far as it was meant to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// What it was waiting for.
    pub step: &'static str,
    pub why: String,
    /// The server said in order that it does not go on: with us, or now.
    pub told: bool,
    /// The handshake failed: a rule of its own says how (TLS102).
    pub handshake: bool,
    /// Nothing came in time: we may have been too hasty.
    pub waited: bool,
}

impl Cut {
    /// `the session ended at STARTTLS: the server closed the connection`
    pub fn text(&self) -> String {
        format!("the session ended at {}: {}", self.step, self.why)
    }
}

/// `None`: it came to its end, or none was held.
pub(crate) fn of(examined: &ExaminedAddress) -> Option<Cut> {
    if let Seen::Value(Session::Mailbox(session)) = &examined.session
        && session.ending == Ending::Finished
    {
        return unlisted(session);
    }
    if let Seen::Value(Session::Smtp(session)) = &examined.session
        && session.ending == Ending::Finished
    {
        return withheld(session);
    }
    let (step, ending, said) = match &examined.session {
        Seen::Value(Session::Smtp(session)) => (smtp_step(session)?, &session.ending, smtp_said(session)),
        Seen::Value(Session::Mailbox(session)) => (mailbox_step(session)?, &session.ending, mailbox_said(session)),
        Seen::Absent | Seen::Unknown(_) => return None,
    };
    let why = match ending {
        Ending::Finished => return None,
        Ending::Open => "there was no more time".to_owned(),
        Ending::PeerClosed => "the server closed the connection".to_owned(),
        Ending::Broke { error } => format!("the connection broke ({error})"),
        Ending::Deadline { waited_ms } => format!("no answer within {waited_ms} ms"),
        Ending::Refused => said.unwrap_or_else(|| "the server said no".to_owned()),
        Ending::Limit { limit } => format!("the server said more than is read ({})", limited(*limit)),
        Ending::Distrusted => "what the server said cannot be trusted any further".to_owned(),
        Ending::TlsFailed => "it failed".to_owned(),
    };
    Some(Cut {
        step,
        why,
        told: *ending == Ending::Refused,
        handshake: *ending == Ending::TlsFailed,
        waited: matches!(ending, Ending::Deadline { .. } | Ending::Open),
    })
}

/// It came to its end, and would not say what it can.
fn unlisted(session: &MailboxSession) -> Option<Cut> {
    let why = session.capabilities.iter().find_map(|list| list.listed.blind())?.why();
    Some(Cut { step: "the question for capabilities", why, told: true, handshake: false, waited: false })
}

/// It refused EHLO, not for want of the command (RFC 5321 section 4.2.4), and took HELO: what it can, it did not tell.
fn withheld(session: &SmtpSession) -> Option<Cut> {
    const NOT_KNOWN: std::ops::RangeInclusive<u16> = 500..=502;
    let last = session.hellos.last().filter(|hello| hello.verb == "HELO" && hello.reply.is_positive())?;
    let refused = session.hellos.iter().find(|hello| hello.tls == last.tls && hello.reply.code >= 400)?;
    let told = Cut { step: "EHLO", why: replied(&refused.reply), told: true, handshake: false, waited: false };
    (!NOT_KNOWN.contains(&refused.reply.code)).then_some(told)
}

/// The addresses of an endpoint at which a session was cut short.
pub(crate) fn at(endpoint: &ExaminedEndpoint) -> impl Iterator<Item = (&str, Cut)> {
    endpoint.addresses.iter().filter_map(|(address, examined)| Some((address.as_str(), of(examined)?)))
}

/// `None`: what was asked had been answered by then. The reply to MAIL and RCPT is what was asked for, whatever it is.
fn smtp_step(session: &SmtpSession) -> Option<&'static str> {
    Some(match session.stage {
        Stage::Greeting => "the greeting",
        Stage::Ehlo => "EHLO",
        Stage::Helo => "HELO",
        Stage::Starttls => "STARTTLS",
        Stage::Handshake => "the TLS handshake",
        Stage::Xclient => "XCLIENT",
        Stage::Auth => "the login",
        Stage::Mail | Stage::Rcpt if session.transaction.is_some() && session.ending == Ending::Refused => return None,
        Stage::Mail => "MAIL",
        Stage::Rcpt => "RCPT",
        Stage::Data | Stage::Message => "the message",
        Stage::Rset | Stage::Quit => return None,
    })
}

fn mailbox_step(session: &MailboxSession) -> Option<&'static str> {
    Some(match session.stage {
        MailboxStage::Greeting => "the greeting",
        MailboxStage::Capabilities => "the question for capabilities",
        MailboxStage::Starttls => "STARTTLS",
        MailboxStage::Handshake => "the TLS handshake",
        MailboxStage::Login => "the login",
        // Before a login there is no other way out once what was said is not to be trusted.
        MailboxStage::Goodbye if session.ending == Ending::Distrusted => "its beginning",
        MailboxStage::Goodbye => return None,
    })
}

fn smtp_said(session: &SmtpSession) -> Option<String> {
    let reply = match session.stage {
        Stage::Greeting => session.greeting.value(),
        Stage::Ehlo | Stage::Helo => session.hellos.last().map(|hello| &hello.reply),
        Stage::Xclient => session.xclient.value(),
        Stage::Mail => session.mail_in_clear.value(),
        Stage::Auth => session.auth.value().and_then(|attempt| attempt.reply.value()),
        _ => None,
    };
    reply.map(replied)
}

fn mailbox_said(session: &MailboxSession) -> Option<String> {
    let answer = match session.stage {
        MailboxStage::Greeting => session.greeting.value(),
        MailboxStage::Login => session.login.value().and_then(|attempt| attempt.reply.value()),
        _ => None,
    };
    answer.map(answered)
}

fn replied(reply: &Reply) -> String {
    let text = reply.lines.iter().map(Raw::to_string).collect::<Vec<_>>().join(" / ");
    short(&format!("{} {text}", reply.code))
}

fn answered(answer: &Answer) -> String {
    let code = answer.code.as_ref().map(|code| format!("[{code}] ")).unwrap_or_default();
    short(&format!("{} {code}{}", answer.status, answer.text))
}

fn short(text: &str) -> String {
    let text = text.trim_end();
    let mut short: String = text.chars().take(SAID_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn limited(limit: Limit) -> &'static str {
    match limit {
        Limit::LineBytes => "a line without an end",
        Limit::ReplyLines => "a reply without an end",
        Limit::SessionBytes => "all of the session",
        Limit::ForeignLines => "lines that are no replies",
        Limit::MessageBytes | Limit::Records => "the handshake",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mxray_model::session::{Capabilities, Hello, Transaction};

    pub(crate) fn smtp(stage: Stage, ending: Ending) -> ExaminedAddress {
        with(&Session::Smtp(Box::new(SmtpSession { stage, ending, ..SmtpSession::default() })))
    }

    pub(crate) fn mailbox(stage: MailboxStage, ending: Ending) -> ExaminedAddress {
        with(&Session::Mailbox(Box::new(MailboxSession { stage, ending, ..MailboxSession::default() })))
    }

    fn with(session: &Session) -> ExaminedAddress {
        serde_json::from_value(serde_json::json!({
            "dial": {"peer": "192.0.2.1:587", "local": "absent", "took_ms": 1, "outcome": "connected"},
            "session": {"value": session}, "tls": "absent", "timings": []
        }))
        .unwrap()
    }

    #[test]
    fn what_was_asked_and_answered_is_not_cut_short() {
        for (stage, ending) in [
            (Stage::Quit, Ending::Finished),
            (Stage::Quit, Ending::Broke { error: "reset".to_owned() }),
            (Stage::Greeting, Ending::Finished),
        ] {
            assert_eq!(of(&smtp(stage, ending.clone())), None, "{stage:?} {ending:?}");
        }
        assert_eq!(of(&mailbox(MailboxStage::Goodbye, Ending::PeerClosed)), None);
        let envelope = |transaction: Option<Transaction>| {
            let session =
                SmtpSession { stage: Stage::Mail, ending: Ending::Refused, transaction, ..SmtpSession::default() };
            of(&with(&Session::Smtp(Box::new(session))))
        };
        assert_eq!(envelope(Some(Transaction::default())), None);
        // Refused where only the need for TLS was asked for: TLS itself was not seen.
        assert!(envelope(None).is_some());
    }

    #[test]
    fn whoever_refuses_ehlo_and_takes_helo_tells_nothing() {
        let session = |code: u16, verb: &str| {
            let reply = |code: u16| Reply { code, enhanced: None, lines: vec![Raw::from("a")], after_ms: 1, entry: 1 };
            let hello = |verb: &str, code| Hello {
                verb: verb.to_owned(),
                tls: false,
                reply: reply(code),
                extensions: Seen::Absent,
            };
            let hellos = vec![hello("EHLO", code), hello(verb, 250)];
            let session =
                SmtpSession { stage: Stage::Quit, ending: Ending::Finished, hellos, ..SmtpSession::default() };
            of(&with(&Session::Smtp(Box::new(session)))).map(|cut| cut.text())
        };
        assert_eq!(session(554, "HELO").as_deref(), Some("the session ended at EHLO: 554 a"));
        for (code, verb) in [(500, "HELO"), (502, "HELO"), (250, "EHLO")] {
            assert_eq!(session(code, verb), None, "{code} {verb}");
        }
    }

    #[test]
    fn a_list_that_is_refused_was_not_seen() {
        let listed = |listed| {
            let capabilities = vec![Capabilities { tls: false, listed }];
            let stage = MailboxStage::Goodbye;
            let session = MailboxSession { stage, ending: Ending::Finished, capabilities, ..MailboxSession::default() };
            of(&with(&Session::Mailbox(Box::new(session))))
        };
        assert!(listed(Seen::not_attempted("the server answered NO instead of a list")).is_some());
        assert_eq!(listed(Seen::Absent), None);
    }

    #[test]
    fn it_says_where_and_why() {
        let text = |examined: &ExaminedAddress| of(examined).map(|cut| cut.text()).unwrap_or_default();
        assert_eq!(
            text(&smtp(Stage::Starttls, Ending::PeerClosed)),
            "the session ended at STARTTLS: the server closed the connection"
        );
        assert_eq!(
            text(&mailbox(MailboxStage::Capabilities, Ending::Deadline { waited_ms: 10_000 })),
            "the session ended at the question for capabilities: no answer within 10000 ms"
        );
        assert!(text(&mailbox(MailboxStage::Goodbye, Ending::Distrusted)).contains("trusted"));
        assert!(of(&smtp(Stage::Greeting, Ending::Refused)).is_some_and(|cut| cut.told));
    }
}
