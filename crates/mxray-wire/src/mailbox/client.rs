//! The steps of a session; the words are the protocol's own.

use super::imap::Imap;
use super::pop3::{self, Pop3};
use super::sieve::Sieve;
use super::{Awaits, Command, Event, Listed, Plan, Words};
use crate::auth::{Attempt, Payload};
use crate::lines::{Line, millis};
use crate::sasl::Binding;
use crate::secret::MASK;
use crate::talk::{Client, Protocol, Talk};
use crate::{Moment, Starttls};
use mxray_model::session::{
    AnomalyKind, Answer, Capabilities, Depth, Ending, Extension, Limit, MailboxProtocol, MailboxSession, MailboxStage,
    StarttlsOutcome, Transcript,
};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// RFC 2449 section 4: 512 bytes; IMAP has no limit, and servers stay far below this.
const LINE_BYTES: usize = 8192;
/// Most capabilities that are kept.
const CAPABILITIES_MAX: usize = 512;
/// Most lines that mean nothing.
const FOREIGN_LINES_MAX: u32 = 64;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Greeting,
    Capabilities,
    Starttls,
    Login,
    Goodbye,
}

impl Asked {
    fn stage(self) -> MailboxStage {
        match self {
            Asked::Greeting => MailboxStage::Greeting,
            Asked::Capabilities => MailboxStage::Capabilities,
            Asked::Starttls => MailboxStage::Starttls,
            Asked::Login => MailboxStage::Login,
            Asked::Goodbye => MailboxStage::Goodbye,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Asked::Greeting => "the greeting",
            Asked::Capabilities => "the list of capabilities",
            Asked::Starttls => "the answer to STARTTLS",
            Asked::Login => "the answer to the login",
            Asked::Goodbye => "the answer to the goodbye",
        }
    }
}

/// IMAP's, POP3's and ManageSieve's own half of a client.
#[derive(Debug)]
pub struct Mailbox {
    plan: Plan,
    words: Box<dyn Words + Send>,
    session: MailboxSession,
    asked: Option<Asked>,
    since: Option<Moment>,
    listed: BTreeMap<String, Extension>,
    foreign: u32,
    attempt: Option<Attempt>,
    binding: Option<Binding>,
}

impl Client<Mailbox> {
    /// The connection stands; nothing was read or written on it.
    pub fn mailbox(plan: Plan) -> Self {
        let implicit_tls = plan.implicit_tls;
        let words: Box<dyn Words + Send> = match plan.protocol {
            MailboxProtocol::Imap => Box::<Imap>::default(),
            MailboxProtocol::Pop3 => Box::<Pop3>::default(),
            MailboxProtocol::Sieve => Box::<Sieve>::default(),
        };
        let stage = if implicit_tls { MailboxStage::Handshake } else { MailboxStage::Greeting };
        let session = MailboxSession { protocol: plan.protocol, stage, ..MailboxSession::default() };
        let mailbox = Mailbox {
            plan,
            words,
            session,
            asked: None,
            since: None,
            listed: BTreeMap::new(),
            foreign: 0,
            attempt: None,
            binding: None,
        };
        let mut client = Client::begin(mailbox, LINE_BYTES, implicit_tls);
        if !implicit_tls {
            let (mailbox, talk) = client.halves();
            mailbox.await_greeting(talk, Moment::ZERO);
        }
        client
    }

    /// What a login can be bound to the TLS channel with; before `on_tls`.
    pub fn bind(&mut self, binding: Binding) {
        self.halves().0.binding = Some(binding);
    }
}

impl Protocol for Mailbox {
    type Session = MailboxSession;

    fn on_line(&mut self, line: &Line, talk: &mut Talk, now: Moment) -> Result<(), Limit> {
        let awaits = match (self.asked, self.since) {
            (Some(Asked::Greeting), _) => Awaits::Greeting,
            (Some(Asked::Capabilities), Some(_)) => Awaits::List,
            (Some(_), Some(_)) => Awaits::Answer,
            _ => Awaits::Nothing,
        };
        match self.words.read(line, awaits, &mut talk.lines)? {
            Event::Nothing => {
                self.foreign += 1;
                if self.foreign > FOREIGN_LINES_MAX {
                    return Err(Limit::ForeignLines);
                }
            }
            Event::Listed(listed) => self.list(listed)?,
            Event::Leaves if self.asked == Some(Asked::Goodbye) => {}
            Event::Leaves => {
                talk.unsay();
                self.session_unknown(&Ending::Refused);
                talk.close(Ending::Refused);
            }
            Event::Challenge(challenge) if self.asked == Some(Asked::Login) && awaits == Awaits::Answer => {
                self.on_challenge(&challenge, talk);
            }
            Event::Challenge(_) => talk.lines.odd(AnomalyKind::Unasked, line.entry),
            Event::Answer(_) if awaits == Awaits::Nothing => talk.lines.odd(AnomalyKind::Unasked, line.entry),
            Event::Answer(mut answer) => {
                answer.after_ms = millis(now.saturating_sub(self.since.unwrap_or_default()));
                self.on_answer(answer, talk, now);
            }
        }
        Ok(())
    }

    fn on_written(&mut self, now: Moment) {
        if self.asked.is_some() {
            self.since.get_or_insert(now);
        }
    }

    fn waits(&self) -> (Moment, Moment) {
        let patience = &self.plan.patience;
        let most = match self.asked {
            Some(Asked::Greeting) => patience.greeting,
            Some(Asked::Login) => patience.login,
            Some(Asked::Goodbye) => patience.goodbye,
            _ => patience.reply,
        };
        let since = self.since.unwrap_or_default();
        (since, since + most)
    }

    fn on_tls(&mut self, talk: &mut Talk, now: Moment) {
        // What was announced in clear counts for nothing.
        self.listed.clear();
        if self.session.greeting.value().is_none() {
            self.await_greeting(talk, now);
        } else if self.words.announces_unasked() {
            self.session.stage = MailboxStage::Capabilities;
            self.asked = Some(Asked::Capabilities);
            self.since = Some(now);
        } else {
            self.ask(Asked::Capabilities, Command::Capabilities, talk);
        }
    }

    fn on_tls_failed(&mut self) {
        if let Seen::Value(StarttlsOutcome::Established(answer)) = &self.session.starttls {
            self.session.starttls = Seen::Value(StarttlsOutcome::HandshakeFailed(answer.clone()));
        }
    }

    fn on_interrupted(&mut self, ending: Ending) -> Ending {
        self.session_unknown(&ending);
        if self.asked == Some(Asked::Goodbye) { Ending::Finished } else { ending }
    }

    fn goodbye(&mut self) -> Option<Vec<u8>> {
        let greeted = self.session.greeting.value().is_some();
        let can = greeted && !matches!(self.asked, Some(Asked::Goodbye | Asked::Login));
        can.then(|| format!("{}\r\n", self.words.write(Command::Goodbye)).into_bytes())
    }

    fn into_session(mut self, ending: Ending, transcript: Transcript) -> MailboxSession {
        self.session.ending = ending;
        self.session.transcript = transcript;
        self.session
    }
}

impl Mailbox {
    fn await_greeting(&mut self, talk: &mut Talk, now: Moment) {
        self.session.stage = MailboxStage::Greeting;
        self.asked = Some(Asked::Greeting);
        self.since = Some(now);
        if self.plan.depth == Depth::Connect {
            self.asked = None;
            talk.close(Ending::Finished);
        }
    }

    fn ask(&mut self, asked: Asked, command: Command<'_>, talk: &mut Talk) {
        let line = format!("{}\r\n", self.words.write(command));
        self.send(asked, line.as_bytes(), line.as_bytes(), talk);
    }

    fn send(&mut self, asked: Asked, bytes: &[u8], masked: &[u8], talk: &mut Talk) {
        if !talk.has_ended() {
            self.session.stage = asked.stage();
        }
        self.asked = Some(asked);
        self.since = None;
        talk.write(bytes, masked);
    }

    fn goodbye(&mut self, talk: &mut Talk) {
        self.ask(Asked::Goodbye, Command::Goodbye, talk);
    }

    /// A list that is cut would say that the rest is not there.
    fn list(&mut self, listed: Listed) -> Result<(), Limit> {
        for (keyword, parameters, entry) in listed {
            if self.listed.len() >= CAPABILITIES_MAX && !self.listed.contains_key(&keyword) {
                return Err(Limit::ReplyLines);
            }
            let extension = self.listed.entry(keyword).or_insert_with(|| Extension { parameters: Vec::new(), entry });
            for parameter in parameters {
                if extension.parameters.len() < CAPABILITIES_MAX && !extension.parameters.contains(&parameter) {
                    extension.parameters.push(parameter);
                }
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, answer: Answer, talk: &mut Talk, now: Moment) {
        match self.asked.take() {
            Some(Asked::Greeting) => self.on_greeting(answer, talk),
            Some(Asked::Capabilities) => self.on_capabilities(&answer, talk),
            Some(Asked::Starttls) => self.on_starttls(answer, talk, now),
            Some(Asked::Login) => self.on_login(answer, talk),
            Some(Asked::Goodbye) => {
                self.session.goodbye = Seen::Value(answer);
                talk.close(Ending::Finished);
            }
            None => {}
        }
    }

    fn on_greeting(&mut self, answer: Answer, talk: &mut Talk) {
        let (ok, pre_authenticated) = (answer.ok, answer.status == "PREAUTH");
        self.session.apop = self.plan.protocol == MailboxProtocol::Pop3 && pop3::has_stamp(&answer.text.0);
        self.session.greeting = Seen::Value(answer);
        if !ok {
            talk.close(Ending::Refused);
        } else if self.plan.depth <= Depth::Greeting {
            self.goodbye(talk);
        } else if pre_authenticated && !talk.is_tls() {
            // RFC 9051 section 7.1.4: STARTTLS is impossible now; somebody on the path may want exactly that.
            talk.end(Ending::Distrusted);
            self.goodbye(talk);
        } else if self.words.announces_unasked() {
            let listed = std::mem::take(&mut self.listed);
            self.capabilities_are(Seen::Value(listed), talk);
        } else {
            self.listed.clear();
            self.ask(Asked::Capabilities, Command::Capabilities, talk);
        }
    }

    fn on_capabilities(&mut self, answer: &Answer, talk: &mut Talk) {
        let listed = std::mem::take(&mut self.listed);
        let seen = match (answer.ok, self.plan.protocol) {
            (true, _) => Seen::Value(listed),
            // CAPA is an extension (RFC 2449): a server without it is an old server.
            (false, MailboxProtocol::Pop3) => Seen::Absent,
            (false, _) => Seen::not_attempted(&format!("the server answered {} instead of a list", answer.status)),
        };
        self.capabilities_are(seen, talk);
    }

    fn capabilities_are(&mut self, listed: Seen<BTreeMap<String, Extension>>, talk: &mut Talk) {
        let tls = talk.is_tls();
        let announced = listed.value().map(|listed| listed.contains_key(self.words.starttls()));
        self.session.capabilities.push(Capabilities { tls, listed });
        if !tls && self.session.starttls.blind().is_some() {
            if announced == Some(false) {
                self.session.starttls = Seen::Absent;
            }
            let asks = match self.plan.starttls {
                Starttls::Never => false,
                Starttls::IfOffered => announced == Some(true),
                Starttls::Required => true,
            };
            if asks && self.plan.depth >= Depth::Tls {
                return self.ask(Asked::Starttls, Command::Starttls, talk);
            }
        }
        self.after_tls(talk);
    }

    fn on_starttls(&mut self, answer: Answer, talk: &mut Talk, now: Moment) {
        if !answer.ok {
            self.session.starttls = Seen::Value(StarttlsOutcome::Refused(answer));
            if self.plan.starttls == Starttls::Required {
                talk.end(Ending::Refused);
                return self.goodbye(talk);
            }
            return self.after_tls(talk);
        }
        let behind = talk.lines.pending_bytes();
        if behind > 0 {
            let bytes = u32::try_from(behind).unwrap_or(u32::MAX);
            talk.lines.odd(AnomalyKind::TextBeforeTls { bytes }, answer.entry);
            talk.lines.flush(now);
            self.session.starttls = Seen::Value(StarttlsOutcome::Injected(answer));
            return talk.close(Ending::Distrusted);
        }
        // Until the handshake says otherwise.
        self.session.starttls = Seen::Value(StarttlsOutcome::Established(answer));
        self.session.stage = MailboxStage::Handshake;
        talk.begin_tls();
    }

    /// The capabilities that hold are known.
    fn after_tls(&mut self, talk: &mut Talk) {
        let Some(auth) = self.plan.auth.clone().filter(|_| self.plan.depth >= Depth::Auth) else {
            return self.goodbye(talk);
        };
        let listed = match self.session.capabilities.last().map(|last| &last.listed) {
            Some(Seen::Value(listed)) => listed,
            Some(Seen::Unknown(blind)) => {
                self.session.login = Seen::Unknown(blind.clone());
                return self.goodbye(talk);
            }
            Some(Seen::Absent) | None => {
                self.session.login = Seen::not_attempted("the server does not say how to log in");
                return self.goodbye(talk);
            }
        };
        let announced = listed.get(self.words.mechanisms()).map(|found| found.parameters.clone()).unwrap_or_default();
        if announced.is_empty() {
            let other = self.words.has_other_login(&|keyword| listed.contains_key(keyword));
            self.session.login = match other {
                Some(command) => Seen::not_attempted(&format!("no mechanism is announced, and {command} is not tried")),
                None => Seen::Absent,
            };
            return self.goodbye(talk);
        }
        let most = self.words.initial_bytes_max(&|keyword| listed.contains_key(keyword));
        match Attempt::begin(&auth, &announced, talk.is_tls(), self.binding.as_ref(), most) {
            Ok((attempt, payload)) => {
                self.session.login = Seen::Value(attempt.facts(Seen::not_attempted("the login was not answered")));
                attempt.forms().iter().for_each(|form| talk.lines.hide(form.expose()));
                let mechanism = attempt.mechanism();
                self.attempt = Some(attempt);
                self.send_login(Some(mechanism), payload.as_ref(), talk);
            }
            Err(blind) => {
                self.session.login = Seen::Unknown(blind);
                self.goodbye(talk);
            }
        }
    }

    fn send_login(&mut self, mechanism: Option<&str>, payload: Option<&Payload>, talk: &mut Talk) {
        let coded = payload.map(|payload| payload.coded.as_str());
        let command = match mechanism {
            Some(mechanism) => Command::Authenticate { mechanism, initial: coded },
            None => Command::Response(coded.unwrap_or_default()),
        };
        let line = self.words.write(command);
        let mut masked = line.clone();
        if let Some(payload) = payload {
            payload.forms().for_each(|form| talk.lines.hide(form));
            if payload.telling && !payload.coded.is_empty() {
                masked = line.replace(&payload.coded, std::str::from_utf8(MASK).unwrap_or_default());
            }
        }
        self.send(Asked::Login, format!("{line}\r\n").as_bytes(), format!("{masked}\r\n").as_bytes(), talk);
    }

    fn on_challenge(&mut self, challenge: &[u8], talk: &mut Talk) {
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.is_cancelled() {
            return talk.close(Ending::Distrusted);
        }
        let answer = attempt.next(challenge);
        self.session.login = Seen::Value(attempt.facts(Seen::not_attempted("the login was not answered")));
        match answer {
            Some(payload) => self.send_login(None, Some(&payload), talk),
            None => self.ask(Asked::Login, Command::Cancel, talk),
        }
    }

    fn on_login(&mut self, answer: Answer, talk: &mut Talk) {
        let Some(attempt) = &mut self.attempt else { return };
        // ManageSieve: `OK (SASL "…")`.
        if let Some(data) = answer.code.as_deref().and_then(|code| code.strip_prefix("SASL ")) {
            attempt.finish(data.trim_matches('"').as_bytes());
        }
        let ok = answer.ok;
        self.session.login = Seen::Value(attempt.facts(Seen::Value(answer)));
        if !ok {
            talk.end(Ending::Refused);
        }
        self.goodbye(talk);
    }

    /// What was still awaited is not known.
    fn session_unknown(&mut self, ending: &Ending) {
        let Some(asked) = self.asked else { return };
        let what = asked.text().to_owned();
        let blind = match ending {
            Ending::Deadline { waited_ms } => Blind::TimedOut { what, after_ms: *waited_ms },
            Ending::Broke { error } => Blind::Failed { step: what, error: error.clone() },
            Ending::PeerClosed => Blind::Failed { step: what, error: "the server closed the connection".to_owned() },
            _ => Blind::NotAttempted { why: format!("{what}: the session ended before") },
        };
        match asked {
            Asked::Greeting => self.session.greeting = Seen::Unknown(blind),
            Asked::Capabilities => {
                // Asked for again behind TLS, STARTTLS itself is known already.
                if self.session.starttls.blind().is_some() {
                    self.session.starttls = Seen::Unknown(blind.clone());
                }
                let tls = self.plan.implicit_tls
                    || matches!(self.session.starttls, Seen::Value(StarttlsOutcome::Established(_)));
                self.session.capabilities.push(Capabilities { tls, listed: Seen::Unknown(blind) });
            }
            Asked::Starttls => self.session.starttls = Seen::Unknown(blind),
            Asked::Login => {
                if let Seen::Value(attempt) = &mut self.session.login {
                    attempt.reply = Seen::Unknown(blind);
                }
            }
            Asked::Goodbye => self.session.goodbye = Seen::Unknown(blind),
        }
    }
}
