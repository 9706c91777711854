//! What all clients have in common: bytes in and out, the TLS boundary, the end. A protocol adds what its lines mean.

use crate::lines::{Line, Lines};
use crate::secret::Secret;
use crate::{Machine, Moment, Want};
use mxray_model::session::{Ending, Limit, Mark, Transcript};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Talking,
    Handshake,
    Closing,
    Done,
}

/// A protocol's own half of a client. Nobody outside of this crate can name it.
pub trait Protocol {
    type Session;

    /// A complete line came.
    ///
    /// # Errors
    /// A limit is reached; the session ends.
    fn on_line(&mut self, line: &Line, talk: &mut Talk, now: Moment) -> Result<(), Limit>;

    /// Everything that was queued is on its way.
    fn on_written(&mut self, now: Moment);

    /// The moment up to which the next reply is waited for, and since when.
    fn waits(&self) -> (Moment, Moment);

    /// TLS stands.
    fn on_tls(&mut self, talk: &mut Talk, now: Moment);

    /// The handshake failed.
    fn on_tls_failed(&mut self);

    /// Nothing more will be read. What is still awaited becomes unknown; the ending that counts is returned: behind a
    /// goodbye nothing is owed to us.
    fn on_interrupted(&mut self, ending: Ending) -> Ending;

    /// What may be said before closing, when the peer can still hear it. `None`: nothing, or it was said.
    fn goodbye(&mut self) -> Option<Vec<u8>>;

    fn into_session(self, ending: Ending, transcript: Transcript) -> Self::Session;
}

/// The common half: what a protocol can do.
#[derive(Debug)]
pub struct Talk {
    pub lines: Lines,
    state: State,
    /// Bytes to be written, and the same with secrets masked.
    out: Vec<u8>,
    out_masked: Vec<u8>,
    ending: Ending,
}

impl Talk {
    fn new(line_bytes: usize, implicit_tls: bool) -> Self {
        let mut lines = Lines::new(line_bytes);
        lines.mark(Mark::Connected, Moment::ZERO);
        Talk {
            lines,
            state: if implicit_tls { State::Handshake } else { State::Talking },
            out: Vec::new(),
            out_masked: Vec::new(),
            ending: Ending::Open,
        }
    }

    /// Queues bytes, and what the transcript shows of them.
    pub fn write(&mut self, bytes: &[u8], masked: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.out_masked.extend_from_slice(masked);
    }

    /// Forgets what is queued and not on its way.
    pub fn unsay(&mut self) {
        self.out.clear();
        self.out_masked.clear();
    }

    /// A handshake is next.
    pub fn begin_tls(&mut self) {
        self.state = State::Handshake;
    }

    /// Everything is said, as far as the plan goes.
    pub fn close(&mut self, ending: Ending) {
        self.end(ending);
        self.state = State::Closing;
    }

    /// The first end is the one that counts; what comes behind it is good manners.
    pub fn end(&mut self, ending: Ending) {
        if self.ending == Ending::Open {
            self.ending = ending;
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ending != Ending::Open
    }

    pub fn is_tls(&self) -> bool {
        self.lines.is_tls()
    }
}

/// A client of one protocol: a machine that a driver runs.
#[derive(Debug)]
pub struct Client<P> {
    protocol: P,
    talk: Talk,
}

impl<P: Protocol> Client<P> {
    pub(crate) fn begin(protocol: P, line_bytes: usize, implicit_tls: bool) -> Self {
        Client { protocol, talk: Talk::new(line_bytes, implicit_tls) }
    }

    pub(crate) fn halves(&mut self) -> (&mut P, &mut Talk) {
        (&mut self.protocol, &mut self.talk)
    }

    fn read_lines(&mut self, now: Moment) -> Result<(), Limit> {
        while self.talk.state == State::Talking
            && let Some(line) = self.talk.lines.take(now)?
        {
            self.protocol.on_line(&line, &mut self.talk, now)?;
        }
        Ok(())
    }

    fn interrupted(&mut self, mark: Mark, ending: Ending, now: Moment) {
        if matches!(self.talk.state, State::Closing | State::Done) {
            return;
        }
        // Behind a limit nothing is read any more, so how much of it happened to be here means nothing.
        if mark != Mark::LimitReached {
            self.talk.lines.flush(now);
        }
        self.talk.lines.mark(mark, now);
        let can_hear = matches!(ending, Ending::Deadline { .. } | Ending::Limit { .. });
        let ending = self.protocol.on_interrupted(ending);
        let goodbye = if can_hear { self.protocol.goodbye() } else { None };
        self.talk.unsay();
        if let Some(goodbye) = goodbye.filter(|_| self.talk.state == State::Talking) {
            self.talk.write(&goodbye, &goodbye);
        }
        self.talk.close(ending);
    }
}

impl<P: Protocol> Machine for Client<P> {
    type Session = P::Session;

    fn want(&mut self, now: Moment) -> Want {
        let talk = &mut self.talk;
        if !talk.out.is_empty() {
            let masked = std::mem::take(&mut talk.out_masked);
            talk.lines.sent(&masked, now);
            self.protocol.on_written(now);
            return Want::Write(Secret::new(std::mem::take(&mut talk.out)));
        }
        match talk.state {
            State::Handshake => {
                talk.lines.mark(Mark::TlsBegan, now);
                Want::StartTls
            }
            State::Talking => Want::Read { until: self.protocol.waits().1 },
            State::Closing => {
                talk.lines.mark(Mark::Closed, now);
                talk.state = State::Done;
                Want::Close
            }
            State::Done => Want::Done,
        }
    }

    fn on_bytes(&mut self, bytes: &[u8], now: Moment) {
        if self.talk.state != State::Talking {
            return;
        }
        if let Err(limit) = self.talk.lines.receive(bytes, now).and_then(|()| self.read_lines(now)) {
            self.interrupted(Mark::LimitReached, Ending::Limit { limit }, now);
        }
    }

    fn on_closed(&mut self, now: Moment) {
        self.interrupted(Mark::PeerClosed, Ending::PeerClosed, now);
    }

    fn on_broken(&mut self, error: &str, now: Moment) {
        self.interrupted(Mark::Broke, Ending::Broke { error: error.to_owned() }, now);
    }

    fn on_deadline(&mut self, now: Moment) {
        let since = self.protocol.waits().0;
        let waited_ms = crate::lines::millis(now.saturating_sub(since));
        self.interrupted(Mark::Deadline, Ending::Deadline { waited_ms }, now);
    }

    fn on_tls(&mut self, established: bool, now: Moment) {
        if self.talk.state != State::Handshake {
            return;
        }
        self.talk.lines.mark(if established { Mark::TlsEstablished } else { Mark::TlsFailed }, now);
        if established {
            self.talk.state = State::Talking;
            self.protocol.on_tls(&mut self.talk, now);
        } else {
            self.protocol.on_tls_failed();
            self.talk.end(Ending::TlsFailed);
            self.talk.state = State::Done;
        }
    }

    fn is_over(&self) -> bool {
        self.talk.state == State::Done
    }

    fn into_session(self) -> P::Session {
        self.protocol.into_session(self.talk.ending, self.talk.lines.into_transcript())
    }
}
