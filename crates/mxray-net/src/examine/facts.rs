//! What is told of every endpoint, read from its session: how long each step took, STARTTLS as four facts, what it looks like.

use super::Examination;
use super::session::asks_required;
use mxray_model::evidence::{
    EndpointWhy, ExaminedAddress, Phase, PhaseTime, Purpose, Role, RoleSign, Session, SessionProtocol, StarttlsFacts,
    TlsEnding, TlsFacts, TlsMode,
};
use mxray_model::session::{
    Answer, Capabilities, Extension, MailboxProtocol, MailboxSession, Reply, SmtpSession, StarttlsOutcome, Transcript,
    What,
};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// The steps in the order in which they were gone; a step that did not come to its end has no duration.
pub(super) fn timings(resolve: Option<PhaseTime>, examined: &ExaminedAddress) -> Vec<PhaseTime> {
    let mut times: Vec<PhaseTime> = resolve.into_iter().collect();
    let mut add =
        |phase: Phase, took_ms: Option<u64>| times.extend(took_ms.map(|took_ms| PhaseTime { phase, took_ms }));
    add(Phase::Connect, Some(examined.dial.took_ms));
    let tls = examined.tls.value().map(|tls| tls.took_ms);
    match examined.session.value() {
        None => {}
        Some(Session::Smtp(session)) => {
            let after = |reply: &Seen<Reply>| reply.value().map(|reply| reply.after_ms);
            let starttls = starttls_reply(&session.starttls).map(|reply| reply.after_ms);
            let mut hellos = session.hellos.iter().map(|hello| hello.reply.after_ms);
            if starttls.is_none() {
                add(Phase::Tls, tls);
            }
            add(Phase::Greeting, after(&session.greeting));
            add(Phase::Ehlo, hellos.next());
            if starttls.is_some() {
                add(Phase::Starttls, starttls);
                add(Phase::Tls, tls);
            }
            hellos.for_each(|took_ms| add(Phase::Ehlo, Some(took_ms)));
            let login = session.auth.value().and_then(|attempt| attempt.reply.value());
            add(
                Phase::Auth,
                login.and_then(|reply| since_sent(&session.transcript, "AUTH ", reply.entry, reply.after_ms)),
            );
            for transaction in session.transactions() {
                add(Phase::Mail, after(&transaction.mail));
                transaction.recipients.iter().for_each(|recipient| add(Phase::Rcpt, after(&recipient.reply)));
            }
            add(Phase::Quit, after(&session.quit));
        }
        Some(Session::Mailbox(session)) => mailbox_timings(session, tls, &mut add),
    }
    times
}

fn mailbox_timings(session: &MailboxSession, tls: Option<u64>, add: &mut impl FnMut(Phase, Option<u64>)) {
    let after = |answer: &Seen<Answer>| answer.value().map(|answer| answer.after_ms);
    let starttls = starttls_reply(&session.starttls);
    if starttls.is_none() {
        add(Phase::Tls, tls);
    }
    add(Phase::Greeting, after(&session.greeting));
    add(Phase::Ehlo, capabilities_ms(&session.transcript));
    if let Some(answer) = starttls {
        add(Phase::Starttls, Some(answer.after_ms));
        add(Phase::Tls, tls);
    }
    let login = session.login.value().and_then(|attempt| attempt.reply.value());
    add(Phase::Auth, login.and_then(|answer| since_sent(&session.transcript, "AUTH", answer.entry, answer.after_ms)));
    add(Phase::Quit, after(&session.goodbye));
}

/// From the first question for capabilities to the last line that came for it.
fn capabilities_ms(transcript: &Transcript) -> Option<u64> {
    let mut entries = transcript.entries.iter();
    let asks = |raw: &[u8]| raw.windows(4).any(|word| word == b"CAPA");
    let asked = entries.find(|entry| matches!(&entry.what, What::Sent(raw) if asks(&raw.0)))?;
    let answer = entries.take_while(|entry| matches!(entry.what, What::Received(_))).last()?;
    Some(answer.at_ms.saturating_sub(asked.at_ms))
}

/// From the first message of a login to the last answer: the whole exchange, not its last step.
fn since_sent(transcript: &Transcript, verb: &str, answered: u32, last_step_ms: u64) -> Option<u64> {
    let end = transcript.entries.get(usize::try_from(answered).ok()?)?.at_ms;
    let names =
        |raw: &[u8]| raw.split(|byte| *byte == b' ').take(2).any(|word| word.starts_with(verb.trim_end().as_bytes()));
    let begin = transcript.entries.iter().find(|entry| matches!(&entry.what, What::Sent(raw) if names(&raw.0)));
    Some(begin.map_or(last_step_ms, |begin| end.saturating_sub(begin.at_ms)))
}

fn starttls_reply<R>(outcome: &Seen<StarttlsOutcome<R>>) -> Option<&R> {
    match outcome.value()? {
        StarttlsOutcome::Established(reply)
        | StarttlsOutcome::HandshakeFailed(reply)
        | StarttlsOutcome::Refused(reply)
        | StarttlsOutcome::Injected(reply) => Some(reply),
    }
}

/// Whether the service goes on without TLS.
pub(super) fn requires_tls(examination: &Examination, session: &Seen<Session>) -> Seen<bool> {
    if examination.tls == TlsMode::Implicit {
        return Seen::not_attempted("TLS is there from the first byte");
    }
    match session {
        Seen::Absent => Seen::not_attempted("no connection came to stand"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        Seen::Value(Session::Smtp(session)) if asks_required(examination) => mail_requires_tls(session),
        Seen::Value(Session::Smtp(_)) => Seen::not_attempted("not asked: only submission has to require TLS"),
        Seen::Value(Session::Mailbox(session)) => login_requires_tls(session),
    }
}

fn mail_requires_tls(session: &SmtpSession) -> Seen<bool> {
    let reply = match &session.mail_in_clear {
        Seen::Value(reply) => reply,
        Seen::Unknown(Blind::NotAttempted { .. }) | Seen::Absent => {
            return Seen::not_attempted("MAIL was not sent without TLS: STARTTLS was not reached");
        }
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    if reply.is_positive() {
        return Seen::Value(false);
    }
    let text = said(reply).to_ascii_lowercase();
    // RFC 3207 section 4: 530 "Must issue a STARTTLS command first"; RFC 4954 section 6: 538 5.7.11.
    let names_tls = ["starttls", "tls", "encrypt", "ssl", "secure"].iter().any(|word| text.contains(word));
    if reply.is_permanent() && (names_tls || reply.code == 538) {
        return Seen::Value(true);
    }
    let login_in_clear = session
        .hellos
        .iter()
        .filter(|hello| !hello.tls)
        .any(|hello| hello.extensions.value().is_some_and(|known| known.contains_key("AUTH")));
    // It wants a login first, and takes none without TLS.
    if reply.code == 530 && !login_in_clear {
        return Seen::Value(true);
    }
    let why = format!("MAIL without TLS was answered {} {}, which does not say why", reply.code, said(reply));
    Seen::not_attempted(&why)
}

/// The text of a reply, on one line and safe to print.
pub(super) fn said(reply: &Reply) -> String {
    let lines: Vec<String> = reply.lines.iter().map(|line| untrusted(&line.0)).collect();
    lines.join(" ")
}

fn login_requires_tls(session: &MailboxSession) -> Seen<bool> {
    let Some(Capabilities { tls: false, listed }) = session.capabilities.first() else {
        return Seen::not_attempted("nothing was announced without TLS");
    };
    let listed = match listed {
        Seen::Value(listed) => listed,
        Seen::Absent => return Seen::not_attempted("the server does not say how to log in"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let any = |keyword: &str| listed.get(keyword).is_some_and(|found| !found.parameters.is_empty());
    Seen::Value(match session.protocol {
        // RFC 9051 section 6.2.3: LOGIN is there unless it is said to be not.
        MailboxProtocol::Imap => listed.contains_key("LOGINDISABLED") && !any("AUTH"),
        MailboxProtocol::Pop3 => !listed.contains_key("USER") && !any("SASL") && !session.apop,
        MailboxProtocol::Sieve => !any("SASL"),
    })
}

/// The four facts.
pub(super) fn starttls(examination: &Examination, examined: &ExaminedAddress) -> StarttlsFacts {
    let implicit = examination.tls == TlsMode::Implicit;
    let (offered, negotiates) = match examined.session.value() {
        Some(Session::Smtp(session)) => {
            let listed = session.hellos.iter().find(|hello| !hello.tls).map(|hello| &hello.extensions);
            (announced(listed, "STARTTLS"), outcome(&session.starttls))
        }
        Some(Session::Mailbox(session)) => {
            let keyword = if session.protocol == MailboxProtocol::Pop3 { "STLS" } else { "STARTTLS" };
            let listed = session.capabilities.iter().find(|list| !list.tls).map(|list| &list.listed);
            (announced(listed, keyword), outcome(&session.starttls))
        }
        None => return StarttlsFacts { required: examined.requires_tls.clone(), ..nobody("no session was held") },
    };
    let implicit_facts = || (Seen::not_attempted("TLS is there from the first byte"), established(&examined.tls));
    let (offered, negotiates) = if implicit { implicit_facts() } else { (offered, negotiates) };
    let validates = validates(&examined.tls);
    StarttlsFacts { offered, negotiates, validates, required: examined.requires_tls.clone() }
}

fn nobody(why: &str) -> StarttlsFacts {
    let unknown = || Seen::not_attempted(why);
    StarttlsFacts { offered: unknown(), negotiates: unknown(), validates: unknown(), required: unknown() }
}

fn announced(listed: Option<&Seen<BTreeMap<String, Extension>>>, keyword: &str) -> Seen<bool> {
    match listed {
        None => Seen::not_attempted("no list of extensions was seen"),
        Some(Seen::Value(listed)) => Seen::Value(listed.contains_key(keyword)),
        // HELO, and POP3 without CAPA: nothing can be announced.
        Some(Seen::Absent) => Seen::Value(false),
        Some(Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
    }
}

fn outcome<R>(starttls: &Seen<StarttlsOutcome<R>>) -> Seen<bool> {
    match starttls {
        Seen::Value(StarttlsOutcome::Established(_)) => Seen::Value(true),
        Seen::Value(StarttlsOutcome::HandshakeFailed(_) | StarttlsOutcome::Refused(_)) => Seen::Value(false),
        Seen::Value(StarttlsOutcome::Injected(_)) => Seen::not_attempted("there was text behind the reply to STARTTLS"),
        Seen::Absent => Seen::not_attempted("it is not offered"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn established(tls: &Seen<TlsFacts>) -> Seen<bool> {
    match tls {
        Seen::Value(TlsFacts { ending: TlsEnding::TimedOut { after_ms }, .. }) => {
            Seen::Unknown(Blind::TimedOut { what: "the TLS handshake".to_owned(), after_ms: *after_ms })
        }
        Seen::Value(facts) => Seen::Value(facts.ending == TlsEnding::Established),
        Seen::Absent => Seen::not_attempted("no handshake was begun"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn validates(tls: &Seen<TlsFacts>) -> Seen<bool> {
    match tls {
        Seen::Value(facts) => facts.chain.as_ref().map(|_| facts.problems.is_empty()),
        Seen::Absent => Seen::not_attempted("no handshake was begun"),
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

/// What RFC 5321 section 2.3.10 would call it. Several roles may fit one server; none may.
pub(super) fn roles(examination: &Examination, session: &Seen<Session>) -> Vec<RoleSign> {
    let Some(Session::Smtp(session)) = session.value() else { return Vec::new() };
    let mut signs = Vec::new();
    let mut sign = |role: Role, because: String| signs.push(RoleSign { role, because });
    let announces = |keyword: &str| {
        session.hellos.iter().any(|hello| hello.extensions.value().is_some_and(|known| known.contains_key(keyword)))
    };
    if announces("AUTH") {
        sign(Role::Originating, format!("it offers AUTH on port {}: users hand their mail in here", examination.port));
    } else if matches!(examination.purpose, Purpose::Submission | Purpose::Submissions) {
        sign(Role::Originating, format!("port {} is for users' mail (RFC 6409, RFC 8314)", examination.port));
    }
    if examination.protocol == SessionProtocol::Lmtp {
        sign(Role::Delivery, "it speaks LMTP, which is for the last step (RFC 2033)".to_owned());
    }
    for why in &examination.why {
        match why {
            EndpointWhy::Exchanger { domain, .. } => {
                sign(Role::Delivery, format!("the MX records of {domain} name it; whether it hands on does not show"));
            }
            EndpointWhy::Smarthost { server } => {
                sign(Role::Relay, format!("{server} hands its outgoing mail to it"));
            }
            EndpointWhy::Asked | EndpointWhy::Surveyed | EndpointWhy::Own { .. } => {}
        }
    }
    let accepted = session.transactions().flat_map(|transaction| &transaction.recipients);
    for recipient in accepted.filter(|recipient| recipient.reply.value().is_some_and(Reply::is_positive)) {
        let address = untrusted(recipient.address.as_bytes());
        sign(Role::Delivery, format!("it accepts mail for {address}; whether it hands on does not show"));
    }
    if announces("ETRN") {
        sign(Role::Relay, "it offers ETRN: it keeps mail for other servers (RFC 1985)".to_owned());
    }
    if let Some(word) = ["gateway", "gw"].into_iter().find(|word| calls_itself(session, word)) {
        sign(Role::Gateway, format!("its greeting has the word {word:?}"));
    }
    if let Some(word) = ["relay", "smarthost"].into_iter().find(|word| calls_itself(session, word)) {
        sign(Role::Relay, format!("its greeting has the word {word:?}"));
    }
    signs
}

/// A word of its own in the greeting's first line, or in the name there.
fn calls_itself(session: &SmtpSession, word: &str) -> bool {
    let first = session.greeting.value().and_then(|greeting| greeting.lines.first());
    let text = first.map(|line| untrusted(&line.0).to_ascii_lowercase()).unwrap_or_default();
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|part| part == word)
}
