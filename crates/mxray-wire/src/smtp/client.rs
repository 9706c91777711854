//! The machine: which command follows which reply, and what every interruption means.
//!
//! A command is in `awaited` from the moment it is queued; a reply belongs to the first one there, and only if that was
//! written already. Whatever else comes is recorded as unasked.

use super::extensions::{announced, forbids};
use super::handover::StopHow;
use super::plan::{Dialect, Envelope, Plan};
use super::reply::Replies;
use crate::auth::{Attempt, Payload};
use crate::lines::Line;
use crate::sasl::Binding;
use crate::secret::MASK;
use crate::talk::{Client, Protocol, Talk};
use crate::{Moment, Starttls};
use mxray_model::session::{
    AnomalyKind, Depth, Ending, Hello, Limit, Recipient, Reply, SmtpSession, Stage, StarttlsOutcome, Transaction,
    Transcript,
};
use mxray_model::{Blind, Seen};
use std::collections::VecDeque;

/// RFC 5321 section 4.5.3.1.5: a reply line has at most 512 bytes, its ending included.
const REPLY_LINE_BYTES: usize = 512;

/// RFC 4954 section 4: a command line with an initial response has to fit into 512 bytes.
const INITIAL_BYTES_MAX: usize = 480;

/// What the next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    Helo,
    /// MAIL without TLS, to learn whether TLS is required, and what takes it back.
    MailInClear,
    RsetInClear,
    Starttls,
    Xclient,
    Auth,
    Mail,
    Rcpt(usize),
    Data,
    /// A BDAT that is not the last one.
    Chunk,
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
            Asked::Xclient => Stage::Xclient,
            Asked::Auth => Stage::Auth,
            Asked::Mail | Asked::MailInClear => Stage::Mail,
            Asked::Rcpt(_) => Stage::Rcpt,
            Asked::Data => Stage::Data,
            Asked::Chunk | Asked::Message(_) => Stage::Message,
            Asked::Rset | Asked::RsetInClear => Stage::Rset,
            Asked::Quit => Stage::Quit,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Asked::Greeting => "the greeting",
            Asked::Ehlo => "the reply to EHLO",
            Asked::Helo => "the reply to HELO",
            Asked::Starttls => "the reply to STARTTLS",
            Asked::Xclient => "the reply to XCLIENT",
            Asked::Auth => "the reply to AUTH",
            Asked::Mail | Asked::MailInClear => "the reply to MAIL",
            Asked::Rcpt(_) => "the reply to RCPT",
            Asked::Data => "the reply to DATA",
            Asked::Chunk => "the reply to BDAT",
            Asked::Message(_) => "the reply to the message",
            Asked::Rset | Asked::RsetInClear => "the reply to RSET",
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

/// SMTP's and LMTP's own half of a client.
#[derive(Debug)]
pub struct Smtp {
    plan: Plan,
    replies: Replies,
    session: SmtpSession,
    awaited: VecDeque<Awaited>,
    attempt: Option<Attempt>,
    binding: Option<Binding>,
    /// The transaction under way, and those behind it.
    envelope: Option<Envelope>,
    further: VecDeque<Envelope>,
    /// The driver does not trust the other side of TLS.
    distrusted: bool,
    /// Why there is no login, although one is planned.
    withheld: Option<String>,
    /// Bytes of the message that went out in chunks.
    chunked: usize,
}

impl Client<Smtp> {
    /// The connection stands; nothing was read or written on it.
    pub fn smtp(plan: Plan) -> Self {
        let implicit_tls = plan.implicit_tls;
        let smtp = Smtp {
            envelope: plan.envelope.clone(),
            further: plan.further.iter().cloned().collect(),
            plan,
            replies: Replies::default(),
            session: SmtpSession::default(),
            awaited: VecDeque::new(),
            attempt: None,
            binding: None,
            distrusted: false,
            withheld: None,
            chunked: 0,
        };
        let mut client = Client::begin(smtp, REPLY_LINE_BYTES, implicit_tls);
        let (smtp, talk) = client.halves();
        talk.write(smtp.plan.handover.preface(), smtp.plan.handover.preface());
        if implicit_tls {
            smtp.session.stage = Stage::Handshake;
        } else {
            smtp.await_greeting(talk, Moment::ZERO);
        }
        client
    }

    /// What a login can be bound to the TLS channel with; before `on_tls`.
    pub fn bind(&mut self, binding: Binding) {
        self.halves().0.binding = Some(binding);
    }

    /// The login is kept back, for this reason; before `on_tls`.
    pub fn withhold_login(&mut self, why: &str) {
        self.halves().0.withheld = Some(why.to_owned());
    }

    /// Who answers under TLS is not who was asked for: nothing but QUIT is said to them. Before `on_tls`.
    pub fn distrust(&mut self) {
        self.halves().0.distrusted = true;
    }
}

impl Protocol for Smtp {
    type Session = SmtpSession;

    fn on_line(&mut self, line: &Line, talk: &mut Talk, now: Moment) -> Result<(), Limit> {
        let first = self.awaited.front().copied();
        let since = first.and_then(|awaited| awaited.since);
        let greeting = first.is_some_and(|awaited| awaited.asked == Asked::Greeting);
        let Some(reply) = self.replies.add(line, since.unwrap_or(now), greeting, &mut talk.lines)? else {
            return Ok(());
        };
        match first {
            Some(awaited) if awaited.since.is_some() => {
                self.awaited.pop_front();
                // The next one's time runs from here: replies to a group come one after the other.
                if let Some(next) = self.awaited.front_mut() {
                    next.since = next.since.map(|_| now);
                }
                self.on_reply(awaited.asked, reply, talk, now);
            }
            // A server may say at any time that it goes away (RFC 5321 section 3.8).
            _ if reply.code == 421 => self.told_to_go(talk),
            _ => talk.lines.odd(AnomalyKind::Unasked, reply.entry),
        }
        Ok(())
    }

    fn on_written(&mut self, now: Moment) {
        for awaited in &mut self.awaited {
            awaited.since.get_or_insert(now);
        }
    }

    fn waits(&self) -> (Moment, Moment) {
        let patience = &self.plan.patience;
        let Some(awaited) = self.awaited.front() else { return (Moment::ZERO, Moment::ZERO) };
        let most = match awaited.asked {
            Asked::Greeting => patience.greeting,
            Asked::Chunk | Asked::Message(_) => patience.message,
            Asked::Quit => patience.quit,
            _ => patience.reply,
        };
        let since = awaited.since.unwrap_or_default();
        (since, since + most)
    }

    fn on_tls(&mut self, talk: &mut Talk, now: Moment) {
        if self.distrusted {
            talk.end(Ending::Distrusted);
            return match self.session.greeting {
                Seen::Value(_) => self.quit(talk),
                _ => talk.close(Ending::Distrusted),
            };
        }
        if self.session.greeting.value().is_none() {
            self.await_greeting(talk, now);
        } else {
            // What was announced in clear counts for nothing (RFC 3207 section 4.2).
            self.first_hello(talk);
        }
    }

    fn on_tls_failed(&mut self) {
        if let Seen::Value(StarttlsOutcome::Established(reply)) = &self.session.starttls {
            self.session.starttls = Seen::Value(StarttlsOutcome::HandshakeFailed(reply.clone()));
        }
    }

    fn on_interrupted(&mut self, ending: Ending) -> Ending {
        let first = self.awaited.front().map(|awaited| awaited.asked);
        // A group of commands goes unanswered as a whole; what was not written yet was not asked.
        let written = self.awaited.iter().enumerate().filter(|(place, awaited)| *place == 0 || awaited.since.is_some());
        for asked in written.map(|(_, awaited)| awaited.asked).collect::<Vec<_>>() {
            self.unknown(asked, &ending);
        }
        if first == Some(Asked::Quit) { Ending::Finished } else { ending }
    }

    fn goodbye(&mut self) -> Option<Vec<u8>> {
        let greeted = self.session.greeting.value().is_some();
        let said = self.awaited.iter().any(|awaited| awaited.asked == Asked::Quit);
        // Within a message QUIT would be a line of it.
        (greeted && !said && self.session.stage != Stage::Message).then(|| b"QUIT\r\n".to_vec())
    }

    fn into_session(mut self, ending: Ending, transcript: Transcript) -> SmtpSession {
        self.session.ending = ending;
        self.session.transcript = transcript;
        self.session
    }
}

impl Smtp {
    fn await_greeting(&mut self, talk: &mut Talk, now: Moment) {
        self.session.stage = Stage::Greeting;
        self.awaited.push_back(Awaited { asked: Asked::Greeting, since: Some(now) });
        if self.plan.depth == Depth::Connect {
            self.awaited.clear();
            talk.close(Ending::Finished);
        }
    }

    fn told_to_go(&mut self, talk: &mut Talk) {
        talk.end(Ending::Refused);
        talk.unsay();
        self.awaited.clear();
        self.quit(talk);
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply, talk: &mut Talk, now: Moment) {
        match asked {
            Asked::Greeting => self.on_greeting(reply, talk),
            Asked::Ehlo | Asked::Helo => self.on_hello(asked, reply, talk),
            Asked::MailInClear => self.on_mail_in_clear(reply, talk),
            Asked::RsetInClear => self.ask(Asked::Starttls, "STARTTLS\r\n", talk),
            Asked::Starttls => self.on_starttls(reply, now, talk),
            Asked::Xclient => self.on_xclient(reply, talk),
            Asked::Auth => self.on_auth(&reply, talk),
            Asked::Quit => {
                self.session.quit = Seen::Value(reply);
                talk.close(Ending::Finished);
            }
            Asked::Rset => self.next_transaction(talk),
            Asked::Chunk if reply.is_positive() => self.send_message(talk),
            Asked::Mail | Asked::Rcpt(_) | Asked::Data | Asked::Chunk | Asked::Message(_) => {
                self.on_transaction(asked, reply, talk);
            }
        }
    }

    fn on_greeting(&mut self, reply: Reply, talk: &mut Talk) {
        let welcome = reply.code == 220;
        self.session.greeting = Seen::Value(reply);
        if !welcome {
            talk.end(Ending::Refused);
            self.quit(talk);
        } else if self.plan.depth <= Depth::Greeting {
            self.quit(talk);
        } else {
            self.first_hello(talk);
        }
    }

    fn first_hello(&mut self, talk: &mut Talk) {
        self.hello(if self.plan.handover.helo_only { Asked::Helo } else { Asked::Ehlo }, talk);
    }

    fn hello(&mut self, asked: Asked, talk: &mut Talk) {
        let verb = self.verb(asked);
        let command = format!("{verb} {}\r\n", self.plan.name());
        self.ask(asked, &command, talk);
    }

    fn verb(&self, asked: Asked) -> &'static str {
        match (asked, self.plan.dialect) {
            (Asked::Helo, _) => "HELO",
            (_, Dialect::Lmtp) => "LHLO",
            (_, Dialect::Smtp) => "EHLO",
        }
    }

    fn on_hello(&mut self, asked: Asked, reply: Reply, talk: &mut Talk) {
        let extensions = match asked {
            Asked::Helo => Seen::Absent,
            _ if reply.code == 250 => Seen::Value(announced(&reply)),
            _ => Seen::not_attempted(&format!("the server answered {} instead of a list", reply.code)),
        };
        let (code, permanent) = (reply.code, reply.is_permanent());
        let verb = self.verb(asked).to_owned();
        self.session.hellos.push(Hello { verb, tls: talk.is_tls(), reply, extensions });
        if code == 250 {
            self.after_hello(talk);
        } else if asked == Asked::Ehlo && permanent && self.plan.dialect == Dialect::Smtp {
            // RFC 5321 section 3.2: an old server is asked in the old way.
            self.hello(Asked::Helo, talk);
        } else {
            talk.end(Ending::Refused);
            self.quit(talk);
        }
    }

    fn announces(&self, keyword: &str) -> bool {
        let last = self.session.hellos.last();
        last.and_then(|hello| hello.extensions.value()).is_some_and(|extensions| extensions.contains_key(keyword))
    }

    fn after_hello(&mut self, talk: &mut Talk) {
        if !talk.is_tls() && self.session.starttls.blind().is_some() {
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
                if self.plan.try_in_clear {
                    return self.ask(Asked::MailInClear, "MAIL FROM:<>\r\n", talk);
                }
                return self.ask(Asked::Starttls, "STARTTLS\r\n", talk);
            }
        }
        self.after_tls(talk);
    }

    /// Whatever it was, it does not stand in the way of STARTTLS; only a server that goes away does.
    fn on_mail_in_clear(&mut self, reply: Reply, talk: &mut Talk) {
        let (code, positive) = (reply.code, reply.is_positive());
        self.session.mail_in_clear = Seen::Value(reply);
        if code == 421 {
            return self.told_to_go(talk);
        }
        // A sender that was refused left nothing to take back.
        if positive {
            self.ask(Asked::RsetInClear, "RSET\r\n", talk);
        } else {
            self.ask(Asked::Starttls, "STARTTLS\r\n", talk);
        }
    }

    fn on_starttls(&mut self, reply: Reply, now: Moment, talk: &mut Talk) {
        let behind = talk.lines.pending_bytes();
        if reply.code != 220 {
            self.session.starttls = Seen::Value(StarttlsOutcome::Refused(reply));
            if self.plan.starttls == Starttls::Required {
                talk.end(Ending::Refused);
                return self.quit(talk);
            }
            return self.after_tls(talk);
        }
        if behind > 0 {
            let bytes = u32::try_from(behind).unwrap_or(u32::MAX);
            talk.lines.odd(AnomalyKind::TextBeforeTls { bytes }, reply.entry);
            self.session.starttls = Seen::Value(StarttlsOutcome::Injected(reply));
            talk.lines.flush(now);
            return talk.close(Ending::Distrusted);
        }
        // Until the handshake says otherwise.
        self.session.starttls = Seen::Value(StarttlsOutcome::Established(reply));
        self.session.stage = Stage::Handshake;
        talk.begin_tls();
    }

    /// As if connected anew: a greeting, which is followed by a new EHLO.
    fn on_xclient(&mut self, reply: Reply, talk: &mut Talk) {
        let welcome = reply.code == 220;
        self.session.xclient = Seen::Value(reply);
        if welcome {
            self.first_hello(talk);
        } else {
            talk.end(Ending::Refused);
            self.quit(talk);
        }
    }

    /// The extensions that hold are known; on with what the plan asks for.
    fn after_tls(&mut self, talk: &mut Talk) {
        if let Some(command) = self.plan.handover.xclient_command()
            && self.session.xclient.value().is_none()
        {
            if self.announces("XCLIENT") {
                return self.ask(Asked::Xclient, &command, talk);
            }
            self.session.xclient = Seen::Absent;
            return self.give_up_at(Stage::Xclient, talk);
        }
        let Some(auth) = self.plan.auth.clone().filter(|_| self.plan.depth >= Depth::Auth) else {
            return self.after_auth(talk);
        };
        if let Some(why) = self.withheld.take() {
            self.session.auth = Seen::not_attempted(&why);
            return self.after_auth(talk);
        }
        let announced = match self.session.extensions() {
            Seen::Value(extensions) => extensions.get("AUTH").map(|auth| auth.parameters.clone()),
            Seen::Absent => None,
            Seen::Unknown(blind) => {
                self.session.auth = Seen::Unknown(blind.clone());
                return self.after_auth(talk);
            }
        };
        let Some(announced) = announced else {
            self.session.auth = Seen::Absent;
            return self.after_auth(talk);
        };
        match Attempt::begin(&auth, &announced, talk.is_tls(), self.binding.as_ref(), INITIAL_BYTES_MAX) {
            Ok((attempt, payload)) => {
                self.session.auth = Seen::Value(attempt.facts(Seen::not_attempted("AUTH was not answered")));
                attempt.forms().iter().for_each(|form| talk.lines.hide(form.expose()));
                let command = format!("AUTH {}", attempt.mechanism());
                self.attempt = Some(attempt);
                self.ask_secretly(&command, payload.as_ref(), talk);
            }
            Err(blind) => {
                self.session.auth = Seen::Unknown(blind);
                self.after_auth(talk);
            }
        }
    }

    fn on_auth(&mut self, reply: &Reply, talk: &mut Talk) {
        let Some(attempt) = &mut self.attempt else { return };
        if reply.code != 334 {
            self.session.auth = Seen::Value(attempt.facts(Seen::Value(reply.clone())));
            if reply.is_positive() {
                return self.after_auth(talk);
            }
            talk.end(Ending::Refused);
            return self.quit(talk);
        }
        if attempt.is_cancelled() {
            return talk.close(Ending::Distrusted);
        }
        let challenge = reply.lines.first().map(|line| line.0.as_slice()).unwrap_or_default();
        let answer = attempt.next(challenge);
        self.session.auth = Seen::Value(attempt.facts(Seen::not_attempted("AUTH was not answered")));
        match answer {
            Some(payload) => self.ask_secretly("", Some(&payload), talk),
            None => self.ask(Asked::Auth, "*\r\n", talk),
        }
    }

    /// A line that ends with a message of the login; the transcript shows it only where it tells nothing.
    fn ask_secretly(&mut self, command: &str, payload: Option<&Payload>, talk: &mut Talk) {
        let mut bytes = command.as_bytes().to_vec();
        let mut masked = bytes.clone();
        if let Some(payload) = payload {
            payload.forms().for_each(|form| talk.lines.hide(form));
            let blank: &[u8] = if command.is_empty() { b"" } else { b" " };
            // An empty initial response is `=` (RFC 4954 section 4); an empty line is one.
            let coded = if payload.coded.is_empty() && !command.is_empty() { "=" } else { &payload.coded };
            let shown = if payload.telling { MASK } else { coded.as_bytes() };
            bytes.extend([blank, coded.as_bytes()].concat());
            masked.extend([blank, shown].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        masked.extend_from_slice(b"\r\n");
        self.ask_masked(Asked::Auth, &bytes, &masked, talk);
    }

    /// Something that the rest needs is missing, and the server did not say no: so far, and no further.
    fn give_up_at(&mut self, stage: Stage, talk: &mut Talk) {
        self.session.stage = stage;
        talk.end(Ending::Finished);
        self.quit(talk);
    }

    fn after_auth(&mut self, talk: &mut Talk) {
        let logged_in = self.session.auth.value().and_then(|auth| auth.reply.value()).is_some_and(Reply::is_positive);
        if self.plan.handover.auth_required && self.plan.auth.is_some() && !logged_in {
            return self.give_up_at(Stage::Auth, talk);
        }
        match self.envelope.clone().filter(|_| self.plan.depth >= Depth::Rcpt) {
            Some(envelope) => self.session.transaction = Some(self.begin_transaction(&envelope, talk)),
            None => self.quit(talk),
        }
    }

    /// What was asked for is taken back; on with what else there is to ask.
    fn next_transaction(&mut self, talk: &mut Talk) {
        match self.further.pop_front() {
            Some(envelope) => {
                self.envelope = Some(envelope.clone());
                let transaction = self.begin_transaction(&envelope, talk);
                self.session.further.push(transaction);
            }
            None => self.quit(talk),
        }
    }

    fn begin_transaction(&mut self, envelope: &Envelope, talk: &mut Talk) -> Transaction {
        let recipient = |address: &String| Recipient {
            address: address.clone(),
            reply: Seen::not_attempted("RCPT was not sent"),
            delivered: Seen::not_attempted("no message was handed over"),
        };
        let mut transaction = Transaction {
            sender: envelope.sender().to_owned(),
            mail: Seen::not_attempted("MAIL was not answered"),
            recipients: envelope.recipients().iter().map(recipient).collect(),
            data: Seen::not_attempted("DATA was not sent"),
            accepted: Seen::not_attempted("no message was handed over"),
        };
        if let Some(missing) = self.plan.handover.needs.iter().find(|keyword| !self.announces(keyword)) {
            transaction.mail =
                Seen::not_attempted(&format!("the server does not announce {missing}, which this needs"));
            self.give_up_at(Stage::Mail, talk);
            return transaction;
        }
        if let Some(why) = forbids(&self.session, envelope) {
            // It is not begun; what comes behind it may be.
            transaction.mail = Seen::not_attempted(&why);
            self.reset(talk);
            return transaction;
        }
        let command = envelope.mail_command(|keyword| self.announces(keyword));
        self.ask(Asked::Mail, &command, talk);
        if self.plan.pipelining && self.plan.handover.stop.is_none() && self.announces("PIPELINING") {
            for place in 0..envelope.recipients().len() {
                self.ask_rcpt(place, talk);
            }
        }
        transaction
    }

    fn ask_rcpt(&mut self, place: usize, talk: &mut Talk) -> bool {
        let command =
            self.envelope.as_ref().and_then(|envelope| envelope.rcpt_command(place, |keyword| self.announces(keyword)));
        let asks = command.is_some();
        if let Some(command) = command {
            self.ask(Asked::Rcpt(place), &command, talk);
        }
        asks
    }

    fn on_transaction(&mut self, asked: Asked, reply: Reply, talk: &mut Talk) {
        let (positive, code) = (reply.is_positive(), reply.code);
        let session = &mut self.session;
        let Some(transaction) = session.further.last_mut().or(session.transaction.as_mut()) else { return };
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
        if code == 421 {
            self.further.clear();
        }
        if !self.awaited.is_empty() {
            return;
        }
        match asked {
            Asked::Mail if !positive => self.give_up(talk),
            Asked::Mail => {
                if !self.ask_rcpt(0, talk) {
                    self.reset(talk);
                }
            }
            Asked::Rcpt(place) => {
                if !self.ask_rcpt(place + 1, talk) {
                    self.after_recipients(talk);
                }
            }
            Asked::Data if code == 354 => self.send_message(talk),
            Asked::Data => self.give_up(talk),
            _ => self.quit(talk),
        }
    }

    fn accepted(&self) -> Vec<usize> {
        let recipients = self.session.transaction.iter().flat_map(|transaction| transaction.recipients.iter());
        let accepted = recipients.enumerate().filter(|(_, r)| r.reply.value().is_some_and(Reply::is_positive));
        accepted.map(|(place, _)| place).collect()
    }

    fn after_recipients(&mut self, talk: &mut Talk) {
        let sender_refused =
            self.session.transaction.as_ref().is_some_and(|t| !t.mail.value().is_some_and(Reply::is_positive));
        if self.plan.depth < Depth::Message || self.plan.message.is_none() {
            self.reset(talk);
        } else if sender_refused || self.accepted().is_empty() {
            self.give_up(talk);
        } else if self.plan.message.as_ref().is_some_and(|m| m.chunking) && self.announces("CHUNKING") {
            self.send_message(talk);
        } else {
            self.ask(Asked::Data, "DATA\r\n", talk);
        }
    }

    fn send_message(&mut self, talk: &mut Talk) {
        let Some(message) = self.plan.message.clone() else { return self.quit(talk) };
        if let Some(how) = self.plan.handover.stops_before(Stage::Message) {
            return self.stop(how, talk);
        }
        let (bytes, last) = if message.chunking && self.announces("CHUNKING") {
            let rest = message.bytes().get(self.chunked..).unwrap_or_default();
            let (chunk, rest) =
                rest.split_at(message.chunk_bytes.map_or(rest.len(), |most| most.get().min(rest.len())));
            self.chunked += chunk.len();
            let last = if rest.is_empty() { " LAST" } else { "" };
            let command = format!("BDAT {}{last}\r\n", chunk.len());
            ([command.as_bytes(), chunk].concat(), rest.is_empty())
        } else {
            (message.stuffed(), true)
        };
        let awaited = match self.plan.dialect {
            _ if !last => vec![Asked::Chunk],
            Dialect::Smtp => vec![Asked::Message(None)],
            Dialect::Lmtp => self.accepted().into_iter().map(|place| Asked::Message(Some(place))).collect(),
        };
        self.session.stage = Stage::Message;
        self.awaited.extend(awaited.into_iter().map(|asked| Awaited { asked, since: None }));
        talk.write(&bytes, &bytes);
        if self.plan.handover.drops_at(Stage::Message) {
            talk.close(Ending::Finished);
        }
    }

    /// As far as it was to go.
    fn stop(&mut self, how: StopHow, talk: &mut Talk) {
        talk.end(Ending::Finished);
        match how {
            StopHow::Quit => self.quit(talk),
            StopHow::Drop | StopHow::DropUnanswered => talk.close(Ending::Finished),
        }
    }

    fn reset(&mut self, talk: &mut Talk) {
        self.ask(Asked::Rset, "RSET\r\n", talk);
    }

    /// The server said no to something that the rest needs.
    fn give_up(&mut self, talk: &mut Talk) {
        talk.end(Ending::Refused);
        self.reset(talk);
    }

    fn quit(&mut self, talk: &mut Talk) {
        self.ask(Asked::Quit, "QUIT\r\n", talk);
    }

    fn ask(&mut self, asked: Asked, command: &str, talk: &mut Talk) {
        self.ask_masked(asked, command.as_bytes(), command.as_bytes(), talk);
    }

    fn ask_masked(&mut self, asked: Asked, command: &[u8], masked: &[u8], talk: &mut Talk) {
        // A server that was refused or gave up is still told goodbye, unless it is to be left without a word.
        if let Some(how) = self.plan.handover.stops_before(asked.stage())
            && !(how == StopHow::Quit && matches!(asked, Asked::Rset | Asked::Quit))
        {
            return self.stop(how, talk);
        }
        if !talk.has_ended() {
            self.session.stage = asked.stage();
        }
        self.awaited.push_back(Awaited { asked, since: None });
        talk.write(command, masked);
        if self.plan.handover.drops_at(asked.stage()) {
            talk.close(Ending::Finished);
        }
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
        match (asked, session.further.last_mut().or(session.transaction.as_mut())) {
            (Asked::MailInClear, _) => session.mail_in_clear = Seen::Unknown(blind),
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
            (Asked::Xclient, _) => session.xclient = Seen::Unknown(blind),
            (Asked::Chunk | Asked::Message(None), Some(transaction)) => transaction.accepted = Seen::Unknown(blind),
            (Asked::Message(Some(place)), Some(transaction)) => {
                if let Some(recipient) = transaction.recipients.get_mut(place) {
                    recipient.delivered = Seen::Unknown(blind);
                }
            }
            _ => {}
        }
    }
}
