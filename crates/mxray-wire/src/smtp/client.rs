//! The machine: which command follows which reply, and what every interruption means.
//!
//! A command is in `awaited` from the moment it is queued; a reply belongs to the first one there, and only if that was
//! written already. Whatever else comes is recorded as unasked.

use super::auth::{Attempt, Message, NotTried};
use super::extensions::announced;
use super::plan::{Dialect, Plan, Starttls};
use super::reply::Replies;
use crate::lines::{Line, Lines, millis};
use crate::sasl::Binding;
use crate::secret::Secret;
use crate::{Moment, Want};
use mxray_model::session::{
    AnomalyKind, Depth, Ending, Hello, Limit, Mark, Recipient, Reply, SmtpSession, Stage, StarttlsOutcome, Transaction,
};
use mxray_model::{Blind, Seen};
use std::collections::VecDeque;

/// RFC 5321 section 4.5.3.1.5: a reply line has at most 512 bytes, its ending included.
const REPLY_LINE_BYTES: usize = 512;

/// What the next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    Helo,
    Starttls,
    Auth,
    Mail,
    Rcpt(usize),
    Data,
    /// The message: of all recipients, or (LMTP) of one.
    Message(Option<usize>),
    Rset,
    Quit,
}

impl Asked {
    fn stage(self) -> Stage {
        match self {
            Asked::Greeting => Stage::Greeting,
            Asked::Ehlo => Stage::Ehlo,
            Asked::Helo => Stage::Helo,
            Asked::Starttls => Stage::Starttls,
            Asked::Auth => Stage::Auth,
            Asked::Mail => Stage::Mail,
            Asked::Rcpt(_) => Stage::Rcpt,
            Asked::Data => Stage::Data,
            Asked::Message(_) => Stage::Message,
            Asked::Rset => Stage::Rset,
            Asked::Quit => Stage::Quit,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Asked::Greeting => "the greeting",
            Asked::Ehlo => "the reply to EHLO",
            Asked::Helo => "the reply to HELO",
            Asked::Starttls => "the reply to STARTTLS",
            Asked::Auth => "the reply to AUTH",
            Asked::Mail => "the reply to MAIL",
            Asked::Rcpt(_) => "the reply to RCPT",
            Asked::Data => "the reply to DATA",
            Asked::Message(_) => "the reply to the message",
            Asked::Rset => "the reply to RSET",
            Asked::Quit => "the reply to QUIT",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    asked: Asked,
    /// `None`: not written yet.
    since: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Talking,
    Handshake,
    Closing,
    Done,
}

/// One SMTP or LMTP session.
#[derive(Debug)]
pub struct Client {
    plan: Plan,
    lines: Lines,
    replies: Replies,
    session: SmtpSession,
    state: State,
    /// Bytes to be written, and the same with secrets masked.
    out: Vec<u8>,
    out_masked: Vec<u8>,
    awaited: VecDeque<Awaited>,
    attempt: Option<Attempt>,
    binding: Option<Binding>,
}

impl Client {
    /// The connection stands; nothing was read or written on it.
    pub fn new(plan: Plan) -> Self {
        let mut client = Client {
            lines: Lines::new(REPLY_LINE_BYTES),
            replies: Replies::default(),
            session: SmtpSession::default(),
            state: if plan.implicit_tls { State::Handshake } else { State::Talking },
            out: Vec::new(),
            out_masked: Vec::new(),
            awaited: VecDeque::new(),
            attempt: None,
            binding: None,
            plan,
        };
        client.lines.mark(Mark::Connected, Moment::ZERO);
        match client.state {
            State::Handshake => client.session.stage = Stage::Handshake,
            _ => client.await_greeting(Moment::ZERO),
        }
        client
    }

    /// What to do next.
    pub fn want(&mut self, now: Moment) -> Want {
        if !self.out.is_empty() {
            let masked = std::mem::take(&mut self.out_masked);
            self.lines.sent(&masked, now);
            for awaited in &mut self.awaited {
                awaited.since.get_or_insert(now);
            }
            return Want::Write(Secret::new(std::mem::take(&mut self.out)));
        }
        match self.state {
            State::Handshake => {
                self.lines.mark(Mark::TlsBegan, now);
                Want::StartTls
            }
            State::Talking => Want::Read { until: self.deadline() },
            State::Closing => {
                self.lines.mark(Mark::Closed, now);
                self.state = State::Done;
                Want::Close
            }
            State::Done => Want::Done,
        }
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, bytes: &[u8], now: Moment) {
        if self.state != State::Talking {
            return;
        }
        if let Err(limit) = self.lines.receive(bytes, now).and_then(|()| self.read_lines(now)) {
            self.lines.mark(Mark::LimitReached, now);
            self.stop(Ending::Limit { limit });
        }
    }

    /// The peer closed its side in order.
    pub fn on_closed(&mut self, now: Moment) {
        self.lines.flush(now);
        self.lines.mark(Mark::PeerClosed, now);
        self.interrupted(Ending::PeerClosed);
    }

    /// The connection broke: reset, or what the system says.
    pub fn on_broken(&mut self, error: &str, now: Moment) {
        self.lines.flush(now);
        self.lines.mark(Mark::Broke, now);
        self.interrupted(Ending::Broke { error: error.to_owned() });
    }

    /// The moment of `Want::Read` is over. Also for the whole session's own deadline, which may come earlier.
    pub fn on_deadline(&mut self, now: Moment) {
        self.lines.flush(now);
        self.lines.mark(Mark::Deadline, now);
        let since = self.awaited.front().and_then(|awaited| awaited.since).unwrap_or_default();
        self.interrupted(Ending::Deadline { waited_ms: millis(now.saturating_sub(since)) });
    }

    /// What a login can be bound to the TLS channel with; before `on_tls`.
    pub fn bind(&mut self, binding: Binding) {
        self.binding = Some(binding);
    }

    /// The handshake's outcome; what was negotiated, or what failed, is the driver's evidence.
    pub fn on_tls(&mut self, established: bool, now: Moment) {
        if self.state != State::Handshake {
            return;
        }
        self.lines.mark(if established { Mark::TlsEstablished } else { Mark::TlsFailed }, now);
        if let Seen::Value(StarttlsOutcome::Established(reply)) = &self.session.starttls
            && !established
        {
            self.session.starttls = Seen::Value(StarttlsOutcome::HandshakeFailed(reply.clone()));
        }
        if !established {
            self.end(Ending::TlsFailed);
            self.state = State::Done;
            return;
        }
        self.state = State::Talking;
        if self.plan.implicit_tls && self.session.hellos.is_empty() && self.awaited.is_empty() {
            self.await_greeting(now);
        } else {
            // What was announced in clear counts for nothing (RFC 3207 section 4.2).
            self.hello(Asked::Ehlo);
        }
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Done
    }

    /// What the session was.
    pub fn into_session(mut self) -> SmtpSession {
        self.session.transcript = self.lines.into_transcript();
        self.session
    }

    fn deadline(&self) -> Moment {
        let patience = &self.plan.patience;
        let Some(awaited) = self.awaited.front() else { return Moment::ZERO };
        let most = match awaited.asked {
            Asked::Greeting => patience.greeting,
            Asked::Message(_) => patience.message,
            Asked::Quit => patience.quit,
            _ => patience.reply,
        };
        awaited.since.unwrap_or_default() + most
    }

    fn await_greeting(&mut self, now: Moment) {
        self.session.stage = Stage::Greeting;
        self.awaited.push_back(Awaited { asked: Asked::Greeting, since: Some(now) });
        if self.plan.depth == Depth::Connect {
            self.end(Ending::Finished);
            self.awaited.clear();
            self.state = State::Closing;
        }
    }

    fn read_lines(&mut self, now: Moment) -> Result<(), Limit> {
        while self.state == State::Talking
            && let Some(line) = self.lines.take(now)?
        {
            self.on_line(&line, now)?;
        }
        Ok(())
    }

    fn on_line(&mut self, line: &Line, now: Moment) -> Result<(), Limit> {
        let first = self.awaited.front().copied();
        let since = first.and_then(|awaited| awaited.since);
        let greeting = first.is_some_and(|awaited| awaited.asked == Asked::Greeting);
        let Some(reply) = self.replies.add(line, since.unwrap_or(now), greeting, &mut self.lines)? else {
            return Ok(());
        };
        match first {
            Some(awaited) if awaited.since.is_some() => {
                self.awaited.pop_front();
                // The next one's time runs from here: replies to a group come one after the other.
                if let Some(next) = self.awaited.front_mut() {
                    next.since = next.since.map(|_| now);
                }
                self.on_reply(awaited.asked, reply, now);
            }
            // A server may say at any time that it goes away (RFC 5321 section 3.8).
            _ if reply.code == 421 => self.interrupted(Ending::Refused),
            _ => self.lines.odd(AnomalyKind::Unasked, reply.entry),
        }
        Ok(())
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply, now: Moment) {
        match asked {
            Asked::Greeting => self.on_greeting(reply),
            Asked::Ehlo | Asked::Helo => self.on_hello(asked, reply),
            Asked::Starttls => self.on_starttls(reply, now),
            Asked::Auth => self.on_auth(&reply),
            Asked::Quit => {
                self.session.quit = Seen::Value(reply);
                self.end(Ending::Finished);
                self.state = State::Closing;
            }
            Asked::Rset => self.quit(),
            Asked::Mail | Asked::Rcpt(_) | Asked::Data | Asked::Message(_) => self.on_transaction(asked, reply),
        }
    }

    fn on_greeting(&mut self, reply: Reply) {
        let welcome = reply.code == 220;
        self.session.greeting = Seen::Value(reply);
        if !welcome {
            self.end(Ending::Refused);
            self.quit();
        } else if self.plan.depth <= Depth::Greeting {
            self.quit();
        } else {
            self.hello(Asked::Ehlo);
        }
    }

    fn hello(&mut self, asked: Asked) {
        let verb = self.verb(asked);
        let command = format!("{verb} {}\r\n", self.plan.name());
        self.ask(asked, &command);
    }

    fn verb(&self, asked: Asked) -> &'static str {
        match (asked, self.plan.dialect) {
            (Asked::Helo, _) => "HELO",
            (_, Dialect::Lmtp) => "LHLO",
            (_, Dialect::Smtp) => "EHLO",
        }
    }

    fn on_hello(&mut self, asked: Asked, reply: Reply) {
        let extensions = match asked {
            Asked::Helo => Seen::Absent,
            _ if reply.code == 250 => Seen::Value(announced(&reply)),
            _ => Seen::not_attempted(&format!("the server answered {} instead of a list", reply.code)),
        };
        let (code, permanent) = (reply.code, reply.is_permanent());
        let verb = self.verb(asked).to_owned();
        self.session.hellos.push(Hello { verb, tls: self.lines.is_tls(), reply, extensions });
        if code == 250 {
            self.after_hello();
        } else if asked == Asked::Ehlo && permanent && self.plan.dialect == Dialect::Smtp {
            // RFC 5321 section 3.2: an old server is asked in the old way.
            self.hello(Asked::Helo);
        } else {
            self.end(Ending::Refused);
            self.quit();
        }
    }

    fn announces(&self, keyword: &str) -> bool {
        let last = self.session.hellos.last();
        last.and_then(|hello| hello.extensions.value()).is_some_and(|extensions| extensions.contains_key(keyword))
    }

    fn after_hello(&mut self) {
        if !self.lines.is_tls() && self.session.starttls.blind().is_some() {
            let announced = self.announces("STARTTLS");
            if !announced && self.session.hellos.last().is_some_and(|hello| hello.extensions.value().is_some()) {
                self.session.starttls = Seen::Absent;
            }
            let asks = match self.plan.starttls {
                Starttls::Never => false,
                Starttls::IfOffered => announced,
                Starttls::Required => true,
            };
            if asks && self.plan.depth >= Depth::Tls {
                return self.ask(Asked::Starttls, "STARTTLS\r\n");
            }
        }
        self.after_tls();
    }

    fn on_starttls(&mut self, reply: Reply, now: Moment) {
        let behind = self.lines.pending_bytes();
        if reply.code != 220 {
            self.session.starttls = Seen::Value(StarttlsOutcome::Refused(reply));
            if self.plan.starttls == Starttls::Required {
                self.end(Ending::Refused);
                return self.quit();
            }
            return self.after_tls();
        }
        if behind > 0 {
            let bytes = u32::try_from(behind).unwrap_or(u32::MAX);
            self.lines.odd(AnomalyKind::TextBeforeTls { bytes }, reply.entry);
            self.session.starttls = Seen::Value(StarttlsOutcome::Injected(reply));
            self.lines.flush(now);
            self.end(Ending::Distrusted);
            self.state = State::Closing;
            return;
        }
        // Until the handshake says otherwise.
        self.session.starttls = Seen::Value(StarttlsOutcome::Established(reply));
        self.session.stage = Stage::Handshake;
        self.state = State::Handshake;
    }

    /// The extensions that hold are known; on with what the plan asks for.
    fn after_tls(&mut self) {
        let Some(auth) = self.plan.auth.clone().filter(|_| self.plan.depth >= Depth::Auth) else {
            return self.after_auth();
        };
        let tls = self.lines.is_tls();
        match Attempt::begin(&auth, self.session.extensions(), tls, self.binding.as_ref()) {
            Ok((attempt, message)) => {
                self.session.auth = Seen::Value(attempt.facts.clone());
                self.attempt = Some(attempt);
                self.ask_secretly(&message);
            }
            Err(NotTried::NotAnnounced) => {
                self.session.auth = Seen::Absent;
                self.after_auth();
            }
            Err(NotTried::Because(blind)) => {
                self.session.auth = Seen::Unknown(blind);
                self.after_auth();
            }
        }
    }

    fn on_auth(&mut self, reply: &Reply) {
        let Some(attempt) = &mut self.attempt else { return };
        let next = attempt.next(reply);
        self.session.auth = Seen::Value(attempt.facts.clone());
        match next {
            Some(message) => self.ask_secretly(&message),
            None if reply.code == 334 => self.stop(Ending::Distrusted),
            None if reply.is_positive() => self.after_auth(),
            None => {
                self.end(Ending::Refused);
                self.quit();
            }
        }
    }

    fn ask_secretly(&mut self, message: &Message) {
        for form in &message.hide {
            self.lines.hide(form.expose());
        }
        self.ask_masked(Asked::Auth, message.bytes.expose(), &message.masked);
    }

    fn after_auth(&mut self) {
        let Some(envelope) = self.plan.envelope.clone().filter(|_| self.plan.depth >= Depth::Rcpt) else {
            return self.quit();
        };
        let recipient = |address: &String| Recipient {
            address: address.clone(),
            reply: Seen::not_attempted("RCPT was not sent"),
            delivered: Seen::not_attempted("no message was handed over"),
        };
        self.session.transaction = Some(Transaction {
            sender: envelope.sender().to_owned(),
            mail: Seen::not_attempted("MAIL was not answered"),
            recipients: envelope.recipients().iter().map(recipient).collect(),
            data: Seen::not_attempted("DATA was not sent"),
            accepted: Seen::not_attempted("no message was handed over"),
        });
        self.ask(Asked::Mail, &envelope.mail_command());
        if self.plan.pipelining && self.announces("PIPELINING") {
            for place in 0..envelope.recipients().len() {
                self.ask_rcpt(place);
            }
        }
    }

    fn ask_rcpt(&mut self, place: usize) -> bool {
        let command = self.plan.envelope.as_ref().and_then(|envelope| envelope.rcpt_command(place));
        let asks = command.is_some();
        if let Some(command) = command {
            self.ask(Asked::Rcpt(place), &command);
        }
        asks
    }

    fn on_transaction(&mut self, asked: Asked, reply: Reply) {
        let (positive, code) = (reply.is_positive(), reply.code);
        let Some(transaction) = &mut self.session.transaction else { return };
        match asked {
            Asked::Mail => transaction.mail = Seen::Value(reply),
            Asked::Rcpt(place) => {
                if let Some(recipient) = transaction.recipients.get_mut(place) {
                    recipient.reply = Seen::Value(reply);
                }
            }
            Asked::Data => transaction.data = Seen::Value(reply),
            Asked::Message(Some(place)) => {
                if let Some(recipient) = transaction.recipients.get_mut(place) {
                    recipient.delivered = Seen::Value(reply);
                }
            }
            _ => transaction.accepted = Seen::Value(reply),
        }
        if !self.awaited.is_empty() {
            return;
        }
        match asked {
            Asked::Mail if !positive => self.give_up(),
            Asked::Mail => {
                if !self.ask_rcpt(0) {
                    self.reset();
                }
            }
            Asked::Rcpt(place) => {
                if !self.ask_rcpt(place + 1) {
                    self.after_recipients();
                }
            }
            Asked::Data if code == 354 => self.send_message(),
            Asked::Data => self.give_up(),
            _ => self.quit(),
        }
    }

    fn accepted(&self) -> Vec<usize> {
        let recipients = self.session.transaction.iter().flat_map(|transaction| transaction.recipients.iter());
        let accepted = recipients.enumerate().filter(|(_, r)| r.reply.value().is_some_and(Reply::is_positive));
        accepted.map(|(place, _)| place).collect()
    }

    fn after_recipients(&mut self) {
        let sender_refused =
            self.session.transaction.as_ref().is_some_and(|t| !t.mail.value().is_some_and(Reply::is_positive));
        if self.plan.depth < Depth::Message || self.plan.message.is_none() {
            self.reset();
        } else if sender_refused || self.accepted().is_empty() {
            self.give_up();
        } else if self.plan.message.as_ref().is_some_and(|m| m.chunking) && self.announces("CHUNKING") {
            self.send_message();
        } else {
            self.ask(Asked::Data, "DATA\r\n");
        }
    }

    fn send_message(&mut self) {
        let Some(message) = self.plan.message.clone() else { return self.quit() };
        let chunk = message.chunking && self.announces("CHUNKING");
        let bytes = if chunk {
            let mut bytes = format!("BDAT {} LAST\r\n", message.bytes().len()).into_bytes();
            bytes.extend_from_slice(message.bytes());
            bytes
        } else {
            message.stuffed()
        };
        let awaited = match self.plan.dialect {
            Dialect::Smtp => vec![Asked::Message(None)],
            Dialect::Lmtp => self.accepted().into_iter().map(|place| Asked::Message(Some(place))).collect(),
        };
        self.session.stage = Stage::Message;
        self.awaited.extend(awaited.into_iter().map(|asked| Awaited { asked, since: None }));
        self.out_masked.extend_from_slice(&bytes);
        self.out.extend_from_slice(&bytes);
    }

    fn reset(&mut self) {
        self.ask(Asked::Rset, "RSET\r\n");
    }

    /// The server said no to something that the rest needs.
    fn give_up(&mut self) {
        self.end(Ending::Refused);
        self.reset();
    }

    fn quit(&mut self) {
        self.ask(Asked::Quit, "QUIT\r\n");
    }

    fn ask(&mut self, asked: Asked, command: &str) {
        self.ask_masked(asked, command.as_bytes(), command.as_bytes());
    }

    fn ask_masked(&mut self, asked: Asked, command: &[u8], masked: &[u8]) {
        if self.session.ending == Ending::Open {
            self.session.stage = asked.stage();
        }
        self.awaited.push_back(Awaited { asked, since: None });
        self.out.extend_from_slice(command);
        self.out_masked.extend_from_slice(masked);
    }

    /// The first end is the one that counts; what comes behind it is good manners.
    fn end(&mut self, ending: Ending) {
        if self.session.ending == Ending::Open {
            self.session.ending = ending;
        }
    }

    /// Nothing more can be read, or nothing more will be waited for.
    fn interrupted(&mut self, ending: Ending) {
        if matches!(self.state, State::Closing | State::Done) {
            return;
        }
        let first = self.awaited.front().map(|awaited| awaited.asked);
        if let Some(asked) = first {
            self.unknown(asked, &ending);
        }
        // Behind QUIT nothing is owed to us.
        let ending = if first == Some(Asked::Quit) { Ending::Finished } else { ending };
        self.stop(ending);
    }

    fn unknown(&mut self, asked: Asked, ending: &Ending) {
        let what = asked.text().to_owned();
        let blind = match ending {
            Ending::Deadline { waited_ms } => Blind::TimedOut { what, after_ms: *waited_ms },
            Ending::Broke { error } => Blind::Failed { step: what, error: error.clone() },
            Ending::PeerClosed => Blind::Failed { step: what, error: "the server closed the connection".to_owned() },
            _ => Blind::NotAttempted { why: format!("{what}: the session ended before") },
        };
        let session = &mut self.session;
        match (asked, &mut session.transaction) {
            (Asked::Greeting, _) => session.greeting = Seen::Unknown(blind),
            (Asked::Ehlo | Asked::Helo, _) | (Asked::Starttls, _) if session.starttls.blind().is_some() => {
                session.starttls = Seen::Unknown(blind);
            }
            (Asked::Quit, _) => session.quit = Seen::Unknown(blind),
            (Asked::Auth, _) => {
                if let Seen::Value(attempt) = &mut session.auth {
                    attempt.reply = Seen::Unknown(blind);
                }
            }
            (Asked::Mail, Some(transaction)) => transaction.mail = Seen::Unknown(blind),
            (Asked::Rcpt(place), Some(transaction)) => {
                if let Some(recipient) = transaction.recipients.get_mut(place) {
                    recipient.reply = Seen::Unknown(blind);
                }
            }
            (Asked::Data, Some(transaction)) => transaction.data = Seen::Unknown(blind),
            (Asked::Message(None), Some(transaction)) => transaction.accepted = Seen::Unknown(blind),
            (Asked::Message(Some(place)), Some(transaction)) => {
                if let Some(recipient) = transaction.recipients.get_mut(place) {
                    recipient.delivered = Seen::Unknown(blind);
                }
            }
            _ => {}
        }
    }

    /// Says goodbye where that can be heard, and closes.
    fn stop(&mut self, ending: Ending) {
        let can_hear = matches!(ending, Ending::Deadline { .. } | Ending::Limit { .. } | Ending::Refused);
        let greeted = self.session.greeting.value().is_some();
        let within_message = matches!(self.session.stage, Stage::Message | Stage::Handshake);
        let said = self.awaited.iter().any(|awaited| awaited.asked == Asked::Quit);
        self.end(ending);
        self.out.clear();
        self.out_masked.clear();
        self.awaited.clear();
        if can_hear && greeted && !within_message && !said {
            self.out.extend_from_slice(b"QUIT\r\n");
            self.out_masked.extend_from_slice(b"QUIT\r\n");
        }
        self.state = State::Closing;
    }
}
