//! What became of one recipient, by the replies of a session: how it ended, at which stage, and the words for it.
//!
//! A reply decides where there is one. Without it, nothing is claimed: a connection that broke behind the message may have
//! delivered it.

use mxray_model::Seen;
use mxray_model::evidence::{TlsEnding, TlsFacts};
use mxray_model::session::{Ending, Recipient, Reply, SmtpSession, Stage, StarttlsOutcome, Transaction};
use mxray_wire::smtp::Dialect;
use serde::Serialize;

/// How it ended for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody said anything that decides it.
    Unknown,
    /// Ended where it was to end, before the message.
    Stopped,
    /// Nothing was handed over, since something that is needed was missing.
    NotSent,
    /// 4yz: to be tried again later.
    Deferred,
    /// 5yz
    Refused,
    Accepted,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::Stopped => "stopped",
            Status::NotSent => "not sent",
            Status::Deferred => "put off",
            Status::Refused => "refused",
            Status::Accepted => "accepted",
        }
    }

    fn of(reply: &Reply) -> Self {
        match reply.code {
            200..400 => Status::Accepted,
            400..500 => Status::Deferred,
            500..600 => Status::Refused,
            _ => Status::Unknown,
        }
    }
}

/// What is said of one recipient after one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub status: Status,
    /// `mx`, `resolve`, `connect`, or a stage of the session.
    pub stage: &'static str,
    pub reply: Option<Reply>,
    /// Where no reply says it.
    pub why: Option<String>,
    /// Another server may be asked.
    pub elsewhere: bool,
}

impl Outcome {
    pub fn without_session(status: Status, stage: &'static str, why: String) -> Self {
        Outcome { status, stage, reply: None, why: Some(why), elsewhere: status != Status::Refused }
    }

    fn replied(stage: Stage, reply: &Reply) -> Self {
        let status = Status::of(reply);
        // Whoever refuses the client in front of the transaction speaks for itself; whoever refuses sender, recipient or
        // message speaks for the domain.
        let elsewhere = status == Status::Deferred || (status != Status::Accepted && stage < Stage::Auth);
        Outcome { status, stage: name(stage), reply: Some(reply.clone()), why: None, elsewhere }
    }

    fn said(status: Status, stage: Stage, why: &str) -> Self {
        Outcome { status, stage: name(stage), reply: None, why: Some(why.to_owned()), elsewhere: true }
    }
}

/// What is known besides the session.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub dialect: Dialect,
    /// The session was to stop before its end.
    pub stops: bool,
    /// No MAIL without a login.
    pub auth_required: bool,
    pub tls: &'a Seen<TlsFacts>,
    /// What is wrong with the certificate, where that ended the session.
    pub distrust: &'a str,
}

/// What a session says of the recipient at this place.
pub fn of(session: &SmtpSession, place: usize, around: &Circumstances<'_>) -> Outcome {
    let transaction = session.transaction.as_ref();
    let recipient = transaction.and_then(|transaction| transaction.recipients.get(place));
    match (transaction, recipient) {
        (Some(transaction), Some(recipient)) => in_transaction(session, transaction, recipient, around),
        _ => before_transaction(session, around),
    }
}

fn in_transaction(
    session: &SmtpSession,
    transaction: &Transaction,
    recipient: &Recipient,
    around: &Circumstances<'_>,
) -> Outcome {
    if let Seen::Value(mail) = &transaction.mail
        && !mail.is_positive()
    {
        return Outcome::replied(Stage::Mail, mail);
    }
    if let (Seen::Unknown(blind), Stage::Mail, Ending::Finished) = (&transaction.mail, session.stage, &session.ending)
        && !around.stops
    {
        return Outcome::said(Status::NotSent, Stage::Mail, &bare_why(blind));
    }
    if let Seen::Value(rcpt) = &recipient.reply
        && !rcpt.is_positive()
    {
        return Outcome::replied(Stage::Rcpt, rcpt);
    }
    if around.dialect == Dialect::Lmtp
        && let Seen::Value(delivered) = &recipient.delivered
    {
        return Outcome::replied(Stage::Message, delivered);
    }
    if let Seen::Value(accepted) = &transaction.accepted {
        return Outcome::replied(Stage::Message, accepted);
    }
    match &transaction.data {
        Seen::Value(data) if data.code != 354 && !data.is_positive() => return Outcome::replied(Stage::Data, data),
        Seen::Value(data) if data.code != 354 => {
            return Outcome::said(Status::Unknown, Stage::Data, &format!("DATA was answered with {}", data.code));
        }
        _ => {}
    }
    broken_off(session, around)
}

fn before_transaction(session: &SmtpSession, around: &Circumstances<'_>) -> Outcome {
    if let Seen::Value(greeting) = &session.greeting
        && greeting.code != 220
    {
        return negative(Stage::Greeting, greeting);
    }
    if session.ending == Ending::Distrusted && session.stage == Stage::Handshake {
        return Outcome::said(Status::NotSent, Stage::Handshake, around.distrust);
    }
    match &session.starttls {
        Seen::Value(StarttlsOutcome::Refused(reply))
            if session.ending == Ending::Refused && session.stage == Stage::Starttls =>
        {
            return Outcome { elsewhere: true, ..negative(Stage::Starttls, reply) };
        }
        Seen::Value(StarttlsOutcome::Injected(_)) => {
            return Outcome::said(
                Status::NotSent,
                Stage::Starttls,
                "there were bytes behind the reply to STARTTLS: a broken server, or somebody injects commands",
            );
        }
        _ => {}
    }
    if session.ending == Ending::TlsFailed {
        return handshake(around.tls);
    }
    if let Some(hello) = session.hellos.last().filter(|hello| hello.reply.code != 250) {
        return negative(Stage::Ehlo, &hello.reply);
    }
    if session.stage == Stage::Xclient {
        match &session.xclient {
            Seen::Value(reply) => return negative(Stage::Xclient, reply),
            Seen::Absent => {
                return Outcome::said(Status::NotSent, Stage::Xclient, "the server does not announce XCLIENT");
            }
            Seen::Unknown(_) => {}
        }
    }
    if let Some(outcome) = login(session, around) {
        return outcome;
    }
    broken_off(session, around)
}

/// A reply that is none of those that let the session go on.
fn negative(stage: Stage, reply: &Reply) -> Outcome {
    let outcome = Outcome::replied(stage, reply);
    if outcome.status == Status::Accepted {
        return Outcome { status: Status::Unknown, elsewhere: true, ..outcome };
    }
    outcome
}

fn login(session: &SmtpSession, around: &Circumstances<'_>) -> Option<Outcome> {
    match &session.auth {
        Seen::Value(attempt) => {
            let reply = attempt.reply.value().filter(|reply| !reply.is_positive())?;
            let said = attempt.cancelled.clone().or_else(|| attempt.server_said.clone());
            Some(Outcome { why: said, ..Outcome::replied(Stage::Auth, reply) })
        }
        Seen::Absent if around.auth_required => {
            Some(Outcome::said(Status::NotSent, Stage::Auth, "the server announces no AUTH"))
        }
        Seen::Unknown(blind) if around.auth_required && session.stage == Stage::Auth => {
            Some(Outcome::said(Status::NotSent, Stage::Auth, &bare_why(blind)))
        }
        _ => None,
    }
}

/// `NotAttempted` is its sentence alone: "not looked at" would be wrong of what we did not want.
fn bare_why(blind: &mxray_model::Blind) -> String {
    match blind {
        mxray_model::Blind::NotAttempted { why } => why.clone(),
        other => other.why(),
    }
}

fn handshake(tls: &Seen<TlsFacts>) -> Outcome {
    let Seen::Value(facts) = tls else {
        return Outcome::said(Status::Unknown, Stage::Handshake, "the TLS handshake failed");
    };
    let status = match facts.ending {
        TlsEnding::TimedOut { .. } | TlsEnding::PeerClosed | TlsEnding::Broke { .. } => Status::Unknown,
        _ => Status::NotSent,
    };
    Outcome::said(status, Stage::Handshake, &format!("TLS: {}", facts.ending.words()))
}

/// No reply decides it: where it was, and what happened there.
fn broken_off(session: &SmtpSession, around: &Circumstances<'_>) -> Outcome {
    let stage = session.stage;
    if session.ending == Ending::Finished && around.stops {
        return Outcome { elsewhere: false, ..Outcome::said(Status::Stopped, stage, "stopped here, as asked") };
    }
    let happened = match &session.ending {
        Ending::PeerClosed => "the server closed the connection".to_owned(),
        Ending::Broke { error } => format!("the connection broke: {error}"),
        Ending::Deadline { waited_ms } => format!("no reply within {waited_ms} ms"),
        Ending::Limit { .. } => "the server said more than anybody reads".to_owned(),
        Ending::Distrusted => "what the server said cannot be trusted".to_owned(),
        Ending::Refused => "the server went away (421)".to_owned(),
        Ending::TlsFailed => "the TLS handshake failed".to_owned(),
        Ending::Finished | Ending::Open => "the session ended".to_owned(),
    };
    if stage >= Stage::Message {
        let why = format!("{happened}; the message may have been delivered all the same, so it was not sent again");
        return Outcome { elsewhere: false, ..Outcome::said(Status::Unknown, Stage::Message, &why) };
    }
    let status = if session.ending == Ending::Refused { Status::Deferred } else { Status::Unknown };
    Outcome::said(status, stage, &happened)
}

/// A stage's name in JSON and text.
pub fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Greeting => "greeting",
        Stage::Ehlo => "ehlo",
        Stage::Helo => "helo",
        Stage::Starttls => "starttls",
        Stage::Handshake => "tls",
        Stage::Xclient => "xclient",
        Stage::Auth => "auth",
        Stage::Mail => "mail",
        Stage::Rcpt => "rcpt",
        Stage::Data => "data",
        Stage::Message => "message",
        Stage::Rset => "rset",
        Stage::Quit => "quit",
    }
}
