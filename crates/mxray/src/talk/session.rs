//! The session: bytes of the server and lines of whoever types, each when it comes, until one of the two is done.
//!
//! A script's next line waits for the reply to the one before it; at a terminal the server may speak at any time.

use super::act::Acted;
use super::address::Connected;
use super::input::{Given, Input};
use super::screen::Screen;
use super::tls_words;
use super::words::Known;
use mxray_model::evidence::TlsFacts;
use mxray_net::{Came, Stream, TlsPlan};
use mxray_render::Style;
use mxray_wire::dialogue::{Answered, Dialogue, Heard, Meaning};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the answer to our leave is waited for.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// At a terminal, a reply that comes so soon stands before the next prompt.
const PROMPT_PATIENCE: Duration = Duration::from_millis(300);
/// What came without a line ending is shown when nothing more came for so long.
const PARTIAL_PATIENCE: Duration = Duration::from_secs(1);
/// A reply that goes on for so many times the patience is none: a mailbox takes a while, an endless list for ever.
const REPLY_PATIENCES: u32 = 10;
/// Reads in a row before whoever types is looked after again.
const READS_MAX: usize = 64;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// We took our leave, and were answered.
    Left,
    /// We went without a word: within a message nothing else can be said.
    Gone,
    /// The server closed in order.
    Closed,
    Broke(String),
    /// Nothing came in time.
    Silent,
    HandshakeFailed,
    /// Text behind the reply to STARTTLS.
    Injected,
    /// A line of a script could not be carried out.
    Stuck,
    /// Ended from outside.
    Signalled,
    /// Nobody reads what we print.
    Unread,
}

/// What holds for the whole session.
#[derive(Debug)]
pub struct Plan {
    pub tls: TlsPlan,
    /// How long a script waits for a reply.
    pub patience: Duration,
    /// A script does not wait for replies.
    pub no_wait: bool,
    pub ehlo: String,
    pub peer: String,
    /// Nobody else can read along.
    pub private: bool,
    pub user: Option<String>,
    pub password: Option<crate::config::parse::Secret>,
}

/// A session under way.
#[derive(Debug)]
pub struct Session<'a> {
    pub plan: Plan,
    pub dialogue: Dialogue,
    pub screen: Screen<'a>,
    pub facts: Option<TlsFacts>,
    pub(super) binding: Option<mxray_wire::sasl::Binding>,
    stream: Stream,
    pub(super) input: Input,
    began: Instant,
    heard_at: Instant,
    /// The last line that was complete.
    line_at: Instant,
    said_at: Instant,
    /// There may be more to read, whatever poll(2) says: TLS holds it.
    unread: bool,
    partial_shown: bool,
    /// The last complete reply, for whoever waits for one.
    pub(super) answered: Option<Answered>,
    pub(super) end: Option<End>,
    interrupted: bool,
    remember: Option<String>,
}

impl<'a> Session<'a> {
    pub fn new(plan: Plan, dialogue: Dialogue, screen: Screen<'a>, connected: Connected, input: Input) -> Self {
        let now = Instant::now();
        Session {
            plan,
            dialogue,
            screen,
            facts: None,
            binding: None,
            stream: connected.stream,
            input,
            began: now,
            heard_at: now,
            line_at: now,
            said_at: now,
            unread: false,
            partial_shown: false,
            answered: None,
            end: None,
            interrupted: false,
            remember: None,
        }
    }

    /// Holds it to its end.
    pub fn hold(&mut self) -> End {
        loop {
            if let Some(end) = self.end.take() {
                return end;
            }
            self.hear();
            if self.end.is_some() || self.is_over() {
                continue;
            }
            if self.is_our_turn()
                && let Some(given) = self.input.next()
            {
                self.take(given);
                continue;
            }
            self.prompt();
            self.wait(None);
        }
    }

    /// A script waits for the reply, a person decides.
    fn is_our_turn(&self) -> bool {
        !self.dialogue.is_waiting() || !self.input.is_script() || (self.plan.no_wait && self.dialogue.is_greeted())
    }

    /// Conditions that end a session, apart from what the server does.
    fn is_over(&mut self) -> bool {
        if self.screen.has_failed() {
            self.end = Some(End::Unread);
        } else if self.dialogue.has_left() && !self.dialogue.is_waiting() && !self.dialogue.is_giving() {
            self.end = Some(End::Left);
        }
        self.end.is_some()
    }

    fn take(&mut self, given: Given) {
        let interrupted = std::mem::take(&mut self.interrupted);
        match given {
            Given::Line(line) => match self.act(&line) {
                Acted::Done { remember } => {
                    self.remember = remember.then(|| String::from_utf8_lossy(&line).into_owned());
                }
                Acted::Not(why) => {
                    self.complain(&why);
                    self.remember = Some(String::from_utf8_lossy(&line).into_owned());
                }
            },
            Given::Interrupted if !interrupted => {
                self.interrupted = true;
                self.screen.note(Style::Faint, "Ctrl-C once more, or Ctrl-D, ends the session");
            }
            Given::Interrupted | Given::Ended => self.leave(),
            Given::TooLong => {
                self.complain("a line of the script is longer than 1 MiB; nothing of it was sent");
                self.end = Some(End::Stuck);
            }
        }
    }

    /// What cannot be carried out ends a script: its next lines would mean something else.
    fn complain(&mut self, why: &str) {
        if self.input.is_script() {
            self.say_aside(why);
            self.end.get_or_insert(End::Stuck);
        } else {
            self.screen.note(Style::Caution, why);
        }
    }

    /// Beside the conversation: on standard error, where nobody edits a line there.
    pub(super) fn say_aside(&mut self, text: &str) {
        match self.input {
            Input::Script(_) => crate::output::say(&format!("mxray: {text}")),
            Input::Typed { .. } => self.screen.note(Style::Alarm, text),
        }
    }

    fn prompt(&mut self) {
        let waits = self.dialogue.is_waiting() && self.said_at.elapsed() < PROMPT_PATIENCE;
        if self.input.is_script() || waits {
            return;
        }
        let dialogue = &self.dialogue;
        let tls = if dialogue.is_tls() { "+tls" } else { "" };
        let text = match dialogue.is_giving_message() {
            true => "message> ".to_owned(),
            false => format!("{}{tls}> ", dialogue.protocol().as_str()),
        };
        let known = || Known {
            protocol: dialogue.protocol(),
            capabilities: dialogue.capabilities().to_vec(),
            mechanisms: dialogue.mechanisms().to_vec(),
            giving: dialogue.is_giving(),
        };
        self.input.ask(&text, &mut self.remember, known);
        self.screen.editing = self.input.is_editing();
    }

    /// Waits until something can be read, or the time is over for something.
    pub(super) fn wait(&mut self, until: Option<Instant>) {
        let now = Instant::now();
        let waiting = self.dialogue.is_waiting();
        let mut until = until;
        let mut by = |moment: Instant| until = Some(until.map_or(moment, |known: Instant| known.min(moment)));
        if waiting && self.input.is_script() {
            by(self.patient_until());
        } else if waiting && !self.input.is_editing() {
            by(self.said_at + PROMPT_PATIENCE);
        }
        if self.dialogue.pending_bytes() > 0 && !self.partial_shown {
            by(self.heard_at + PARTIAL_PATIENCE);
        }
        if self.unread {
            by(now);
        }
        let wants_input = self.is_our_turn();
        let ready = self.poll(until, wants_input);
        if ready.signal {
            self.end = Some(End::Signalled);
        }
        if ready.input {
            self.input.read();
            self.screen.editing = self.input.is_editing();
        }
        self.show_partial();
    }

    fn poll(&self, until: Option<Instant>, wants_input: bool) -> Ready {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut fds = vec![PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
        let input = self.input.as_fd().filter(|_| wants_input);
        let signals = self.input.signals();
        fds.extend(input.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(signals.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // Without poll nothing can be waited for; the deadline of a read says so.
            Err(_) => return Ready::default(),
        }
        let ready = |place: usize| fds.get(place).is_some_and(|fd| !fd.revents().is_empty());
        let input_ready = input.is_some() && ready(1);
        let signal = signals.is_some() && ready(fds.len() - 1);
        Ready { input: input_ready, signal }
    }

    fn show_partial(&mut self) {
        if self.dialogue.pending_bytes() > 0 && !self.partial_shown && self.heard_at.elapsed() >= PARTIAL_PATIENCE {
            self.partial_shown = true;
            self.screen.partial(&self.dialogue.partial());
        }
    }

    /// Takes in what the server has said, and shows it.
    pub(super) fn hear(&mut self) {
        let mut buffer = [0; 16 * 1024];
        self.unread = true;
        for _ in 0..READS_MAX {
            if self.end.is_some() {
                return;
            }
            let came = self.stream.read(&mut buffer, Instant::now());
            match came {
                Came::Bytes(count) => {
                    self.heard_at = Instant::now();
                    self.partial_shown = false;
                    self.dialogue.receive(buffer.get(..count).unwrap_or_default());
                    self.show();
                }
                Came::TimedOut => {
                    self.unread = false;
                    break;
                }
                Came::Closed => self.over(End::Closed),
                Came::Broke(error) => self.over(End::Broke(error)),
            }
        }
        if Instant::now() >= self.patient_until() && self.input.is_script() && self.dialogue.is_waiting() {
            self.over(End::Silent);
        }
    }

    /// How long a script waits: for the next complete line, and for the whole of a reply.
    fn patient_until(&self) -> Instant {
        let line = self.said_at.max(self.line_at) + self.plan.patience;
        line.min(self.said_at + self.plan.patience * REPLY_PATIENCES)
    }

    fn show(&mut self) {
        while self.end.is_none()
            && let Some(heard) = self.dialogue.heard(self.began.elapsed())
        {
            self.line_at = Instant::now();
            self.screen.heard(&heard, self.dialogue.protocol());
            self.on_heard(heard);
        }
    }

    fn on_heard(&mut self, heard: Heard) {
        match heard.meaning {
            Meaning::Answer(answered) => {
                let tls = matches!(answered.verb.as_deref(), Some("STARTTLS" | "STLS")) && answered.good;
                if tls && !self.dialogue.is_tls() {
                    self.upgrade();
                }
                if self.dialogue.is_logging_in() && matches!(answered.verb.as_deref(), Some("AUTH" | "AUTHENTICATE")) {
                    self.logged_in(&answered);
                }
                self.answered = Some(answered);
            }
            Meaning::Asks(challenge) => {
                if let Some(answer) = self.dialogue.answer(&challenge) {
                    self.say(&answer, true);
                }
            }
            Meaning::Part | Meaning::Foreign => {}
        }
    }

    /// The server agreed to STARTTLS. Bytes behind its reply were said in clear by who knows whom, and a client that took
    /// them for what is said under TLS would obey them (CVE-2011-0411).
    fn upgrade(&mut self) {
        if self.dialogue.pending_bytes() > 0 {
            self.screen
                .note(Style::Alarm, "there is text behind the reply to STARTTLS: an injection, or a broken server");
            self.over(End::Injected);
            return;
        }
        self.handshake();
    }

    /// Makes a handshake now.
    pub(super) fn handshake(&mut self) {
        let (facts, established) = self.stream.start_tls(&self.plan.tls, Instant::now() + HANDSHAKE_PATIENCE);
        self.binding = self.stream.binding();
        self.dialogue.on_tls(established, self.began.elapsed());
        self.said_at = Instant::now();
        self.heard_at = self.said_at;
        self.line_at = self.said_at;
        for (style, line) in tls_words::short(&facts) {
            self.screen.note(style, &line);
        }
        self.facts = Some(facts);
        if !established {
            self.over(End::HandshakeFailed);
        }
    }

    /// The connection is of no use any more.
    fn over(&mut self, end: End) {
        if let Some(rest) = self.dialogue.rest(self.began.elapsed()) {
            self.screen.heard(&rest, self.dialogue.protocol());
        }
        match &end {
            End::Closed => self.dialogue.on_closed(true),
            End::Broke(_) => self.dialogue.on_closed(false),
            _ => {}
        }
        let end = match end {
            // Behind a goodbye nothing is owed to us.
            End::Closed | End::Broke(_) if self.dialogue.has_left() => End::Left,
            end => end,
        };
        self.end = Some(end);
    }

    /// These bytes go to the server. They are shown where nobody has seen them otherwise; what is shown comes back.
    pub(super) fn say(&mut self, bytes: &[u8], ours: bool) -> Vec<u8> {
        let masked = self.dialogue.say(bytes, self.began.elapsed());
        if ours || self.screen.echo {
            self.screen.said(&masked);
        }
        self.answered = None;
        self.said_at = Instant::now();
        // In pieces, hearing what is said meanwhile: a server that talks and does not listen would else stop us both.
        for piece in bytes.chunks(16 * 1024) {
            if let Err(error) = self.stream.write_all(piece, Instant::now() + self.plan.patience) {
                self.hear();
                if self.end.is_none() {
                    let end = if error.kind() == std::io::ErrorKind::TimedOut {
                        End::Silent
                    } else {
                        End::Broke(error.to_string())
                    };
                    self.over(end);
                }
                break;
            }
            if bytes.len() > piece.len() {
                self.hear();
            }
        }
        masked
    }

    /// Waits for the replies to everything that was said. `None`: the session ended meanwhile, or nothing came in time.
    pub(super) fn await_answer(&mut self, patience: Duration) -> Option<Answered> {
        let until = Instant::now() + patience;
        while self.end.is_none() && self.dialogue.is_waiting() && Instant::now() < until {
            self.hear();
            if self.end.is_none() && self.dialogue.is_waiting() {
                self.wait_for_server(until);
            }
        }
        if self.dialogue.is_waiting() { None } else { self.answered.clone() }
    }

    /// As `wait`, with no eye on what is typed.
    fn wait_for_server(&mut self, until: Instant) {
        let ready = self.poll(Some(until), false);
        if ready.signal {
            self.end = Some(End::Signalled);
        }
    }

    /// Takes our leave, where that can be said.
    pub(super) fn leave(&mut self) {
        if self.dialogue.is_giving() {
            self.screen.note(Style::Caution, "within a message no goodbye can be said; the connection is closed");
            self.end = Some(End::Gone);
            return;
        }
        if self.input.is_script() {
            self.await_answer(self.plan.patience);
        }
        if self.end.is_none() && !self.dialogue.has_left() && self.dialogue.is_greeted() {
            let goodbye = self.dialogue.leave();
            self.say(&goodbye, true);
        }
        if self.end.is_none() {
            self.await_answer(LEAVE_PATIENCE);
            self.end.get_or_insert(End::Left);
        }
    }

    /// A last word where there was no time for a goodbye; nobody waits for its answer.
    pub(super) fn farewell(&mut self, end: &End) {
        let hears = matches!(end, End::Unread | End::Stuck | End::Signalled | End::Silent);
        if hears && self.dialogue.is_greeted() && !self.dialogue.has_left() && !self.dialogue.is_giving() {
            let goodbye = self.dialogue.leave();
            self.say(&goodbye, true);
        }
    }

    pub(super) fn is_editing(&self) -> bool {
        self.input.is_editing()
    }

    /// Waits for the greeting, as long as a reply is waited for.
    pub(super) fn await_greeting(&mut self) {
        self.await_answer(self.plan.patience);
        if self.end.is_none() && !self.dialogue.is_greeted() {
            self.over(End::Silent);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// What the command line asked for cannot be had.
    pub(super) fn give_up(&mut self, why: &str) {
        self.complain(why);
    }

    /// Nothing that was typed is left unsaid or unanswered.
    pub(super) fn has_nothing_left(&mut self) -> bool {
        !self.dialogue.is_waiting() && !self.dialogue.is_giving() && self.input.is_exhausted()
    }

    /// Closes what is left of the connection.
    pub fn close(self) -> (Screen<'a>, Input) {
        self.stream.close();
        (self.screen, self.input)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    input: bool,
    signal: bool,
}
