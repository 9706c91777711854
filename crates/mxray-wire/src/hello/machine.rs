//! The steps of one question: hello out, records in, goodbye, end.

use super::parse::{self, Bytes};
use super::plan::Plan;
use super::{encode, names, suites};
use crate::lines::millis;
use crate::secret::Secret;
use crate::{Machine, Moment, Want};
use mxray_model::session::{
    Anomaly, AnomalyKind, Ending, Entry, Foreign, ForeignKind, Limit, Mark, Raw, ServerHello, TlsAlert,
    TlsHelloSession, TlsVersion, What,
};
use mxray_model::{Blind, Seen};

/// Most bytes that are read of an answer: several times the longest chain that anybody sends.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest handshake message; a long chain has 20 kilobytes.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// RFC 5246 section 6.2.3: 2^14 bytes and what encryption adds.
const RECORD_BYTES_MAX: usize = (1 << 14) + 2048;
/// Type, version, length.
const HEAD_BYTES: usize = 5;
/// Most records: a server may cut its messages small, but not byte by byte.
const RECORDS_MAX: usize = 1024;
/// Most of what is no TLS: enough for a greeting.
const FOREIGN_BYTES_MAX: usize = 512;
/// Most alerts; every one is kept that a server has a reason for.
const ALERTS_MAX: usize = 16;
const ANOMALIES_MAX: usize = 64;

/// Types of records and of handshake messages.
mod kind {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const HEARTBEAT: u8 = 24;

    pub const HELLO_REQUEST: usize = 0;
    pub const SERVER_HELLO: usize = 2;
    pub const SESSION_TICKET: usize = 4;
    pub const CERTIFICATE: usize = 11;
    pub const SERVER_KEY_EXCHANGE: usize = 12;
    pub const CERTIFICATE_REQUEST: usize = 13;
    pub const SERVER_HELLO_DONE: usize = 14;
    pub const CERTIFICATE_STATUS: usize = 22;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Writing,
    Reading,
    /// What comes is no TLS; its first line is read.
    Foreign,
    Goodbye,
    Closing,
    Done,
}

/// Asks one question of a server, and reads the answer.
#[derive(Debug)]
pub struct Prober {
    plan: Plan,
    session: TlsHelloSession,
    state: State,
    /// Received, and no whole record yet.
    pending: Vec<u8>,
    /// Of handshake messages, which records cut as they like.
    message: Vec<u8>,
    /// The record in which `message` began.
    message_entry: u32,
    /// Two bytes that came in two records.
    alert: Vec<u8>,
    received: usize,
    records: usize,
    written: Moment,
    began: Moment,
    certificates_seen: bool,
    exchange_seen: bool,
}

impl Prober {
    /// The connection stands, and TLS is the next thing on it.
    pub fn new(plan: Plan) -> Self {
        let session = TlsHelloSession {
            offer: plan.offer().clone(),
            server_hello: Seen::not_attempted("the session ended before the ServerHello"),
            certificates: Seen::not_attempted("no ServerHello came"),
            key_exchange: Seen::not_attempted("no ServerHello came"),
            ..TlsHelloSession::default()
        };
        let mut prober = Prober {
            plan,
            session,
            state: State::Writing,
            pending: Vec::new(),
            message: Vec::new(),
            message_entry: 0,
            alert: Vec::new(),
            received: 0,
            records: 0,
            written: Moment::ZERO,
            began: Moment::ZERO,
            certificates_seen: false,
            exchange_seen: false,
        };
        prober.note(What::Mark(Mark::Connected), Moment::ZERO, Moment::ZERO);
        prober
    }

    fn note(&mut self, what: What, now: Moment, took: Moment) -> u32 {
        let entries = &mut self.session.transcript.entries;
        entries.push(Entry { at_ms: millis(now), took_ms: millis(took), tls: false, what });
        u32::try_from(entries.len() - 1).unwrap_or(u32::MAX)
    }

    fn odd(&mut self, kind: AnomalyKind, entry: u32) {
        let anomalies = &mut self.session.transcript.anomalies;
        if anomalies.len() < ANOMALIES_MAX {
            anomalies.push(Anomaly { kind, entry });
        }
    }

    /// The first end counts.
    fn end(&mut self, ending: Ending, state: State) {
        if self.session.ending == Ending::Open {
            self.session.ending = ending;
        }
        self.state = state;
    }

    fn distrust(&mut self, entry: u32) {
        self.odd(AnomalyKind::Malformed, entry);
        self.end(Ending::Distrusted, State::Goodbye);
    }

    /// Takes whole records as long as there are any.
    fn read_records(&mut self, now: Moment) {
        while self.state == State::Reading && self.looks_like_tls(now) {
            let mut bytes = Bytes(&self.pending);
            let header = (bytes.number(1), bytes.number(2), bytes.number(2));
            let (Some(kind), Some(version), Some(length)) = header else { return };
            if length > RECORD_BYTES_MAX {
                let entry = self.flush(now);
                return self.distrust(entry);
            }
            if bytes.take(length).is_none() {
                return;
            }
            let record: Vec<u8> = self.pending.drain(..HEAD_BYTES + length).collect();
            let payload = record.get(HEAD_BYTES..).unwrap_or_default().to_vec();
            let whole = Raw(record);
            let entry = self.note(What::Received(whole), now, now.saturating_sub(self.began));
            self.began = now;
            self.records += 1;
            if self.records > RECORDS_MAX {
                return self.limit(Limit::Records, now);
            }
            let version = version as u16;
            if !(0x0300..=0x0304).contains(&version) {
                self.odd(AnomalyKind::OddRecordVersion { number: version }, entry);
            }
            self.on_record(kind as u8, &payload, entry, now);
        }
    }

    /// The head of a record: a known type, and 3 as the first half of the version. What follows a first record and does not
    /// look like another is broken; what comes instead of the first is something else.
    fn looks_like_tls(&mut self, now: Moment) -> bool {
        if self.records > 0 && self.pending.len() < HEAD_BYTES {
            return true;
        }
        let kind = self.pending.first().is_none_or(|kind| (kind::CHANGE_CIPHER_SPEC..=kind::HEARTBEAT).contains(kind));
        let version = self.pending.get(1).is_none_or(|major| *major == 3);
        if kind && version {
            return true;
        }
        if self.records == 0 {
            self.state = State::Foreign;
        } else {
            let entry = self.flush(now);
            self.distrust(entry);
        }
        false
    }

    /// The head of what is no record becomes an entry; how much came with it depends on how the network cut.
    fn flush(&mut self, now: Moment) -> u32 {
        let bytes = std::mem::take(&mut self.pending);
        let kept = bytes.get(..HEAD_BYTES.min(bytes.len())).unwrap_or_default();
        self.note(What::Received(Raw::from(kept)), now, now.saturating_sub(self.began))
    }

    fn limit(&mut self, limit: Limit, now: Moment) {
        self.note(What::Mark(Mark::LimitReached), now, Moment::ZERO);
        self.end(Ending::Limit { limit }, State::Goodbye);
    }

    fn on_record(&mut self, kind: u8, payload: &[u8], entry: u32, now: Moment) {
        match kind {
            kind::ALERT => self.on_alert(payload, entry),
            kind::HANDSHAKE => self.on_handshake(payload, entry, now),
            // Nobody had agreed to that.
            kind::HEARTBEAT => self.odd(AnomalyKind::Unasked, entry),
            // Keys change, or data come, before there are keys.
            _ => self.distrust(entry),
        }
    }

    fn on_alert(&mut self, payload: &[u8], entry: u32) {
        self.alert.extend_from_slice(payload);
        while let Some((&[level, number], rest)) = self.alert.split_first_chunk::<2>() {
            self.alert = rest.to_vec();
            let alert = TlsAlert { fatal: level != 1, number, name: names::alert(number), entry };
            if !(1..=2).contains(&level) {
                self.odd(AnomalyKind::Malformed, entry);
            }
            let (fatal, closes) = (alert.fatal, number == 0);
            if self.session.alerts.len() < ALERTS_MAX {
                self.session.alerts.push(alert);
            }
            if closes {
                return self.end(Ending::PeerClosed, State::Closing);
            }
            // TLS 1.3 knows no warnings (RFC 8446 section 6), but user_canceled, which a close_notify follows.
            if fatal || self.plan.offer().version == TlsVersion::Tls13 && number != 90 {
                return self.end(Ending::Refused, State::Closing);
            }
        }
    }

    fn on_handshake(&mut self, payload: &[u8], entry: u32, now: Moment) {
        if payload.is_empty() {
            // Forbidden (RFC 8446 section 5.1), and a way to keep a client busy.
            self.odd(AnomalyKind::Malformed, entry);
        }
        if self.message.is_empty() {
            self.message_entry = entry;
        }
        self.message.extend_from_slice(payload);
        while self.state == State::Reading {
            let mut bytes = Bytes(&self.message);
            let (Some(kind), Some(length)) = (bytes.number(1), bytes.number(3)) else { return };
            if length > MESSAGE_BYTES_MAX {
                return self.limit(Limit::MessageBytes, now);
            }
            let Some(body) = bytes.take(length).map(<[u8]>::to_vec) else { return };
            self.message.drain(..4 + length);
            let began = std::mem::replace(&mut self.message_entry, entry);
            self.on_message(kind, &body, began, now);
        }
    }

    fn on_message(&mut self, kind: usize, body: &[u8], entry: u32, now: Moment) {
        let suite = self.session.server_hello.value().map(|hello| hello.suite.registered.number);
        match (kind, suite) {
            (kind::HELLO_REQUEST, _) => {}
            (kind::SERVER_HELLO, None) => match parse::server_hello(body) {
                Some(hello) => self.on_server_hello(hello, entry, now),
                None => self.distrust(entry),
            },
            (kind::CERTIFICATE, Some(_)) if !self.certificates_seen => {
                self.certificates_seen = true;
                self.session.certificates = match parse::certificates(body) {
                    Some(found) if found.is_empty() => Seen::Absent,
                    Some(found) => Seen::Value(found),
                    None => {
                        self.odd(AnomalyKind::Malformed, entry);
                        let text = format!("{} bytes", body.len());
                        Seen::Unknown(Blind::NotUnderstood { what: "the Certificate message".to_owned(), text })
                    }
                };
            }
            (kind::SERVER_KEY_EXCHANGE, Some(suite)) if !self.exchange_seen => {
                self.exchange_seen = true;
                self.session.key_exchange = Seen::Value(parse::key_exchange(suite, body));
            }
            (kind::CERTIFICATE_REQUEST, Some(_)) => self.session.certificate_requested = true,
            (kind::CERTIFICATE_STATUS | kind::SESSION_TICKET, Some(_)) => {}
            (kind::SERVER_HELLO_DONE, Some(suite)) => self.on_done(suite),
            // Twice, out of order, or nothing that a server says.
            _ => self.distrust(entry),
        }
    }

    fn on_server_hello(&mut self, mut hello: ServerHello, entry: u32, now: Moment) {
        hello.entry = entry;
        hello.after_ms = millis(now.saturating_sub(self.written));
        for number in self.not_offered(&hello) {
            self.odd(AnomalyKind::NotOffered { number }, entry);
        }
        let secret = hello.version == TlsVersion::Tls13;
        self.session.server_hello = Seen::Value(hello);
        if secret {
            self.session.certificates = Seen::not_attempted("TLS 1.3 encrypts the certificates");
            self.session.key_exchange =
                Seen::not_attempted("TLS 1.3 has no such message: the group stands in the ServerHello");
            self.end(Ending::Finished, State::Goodbye);
        } else {
            self.session.certificates = Seen::not_attempted("the session ended before the certificates");
            self.session.key_exchange = Seen::not_attempted("the session ended before the key exchange");
        }
    }

    fn not_offered(&self, hello: &ServerHello) -> Vec<u16> {
        let offer = self.plan.offer();
        let (version, suite) = (hello.version.number(), hello.suite.registered.number);
        let lower = offer.version != TlsVersion::Tls13 && (0x0300..=offer.version.number()).contains(&version);
        let group = hello.group.as_ref().map(|group| group.number);
        let group_offered = group.is_none_or(|number| offer.groups.iter().any(|known| known.number == number));
        [
            (version != offer.version.number() && !lower, version),
            (!self.plan.suites().contains(&suite), suite),
            (!group_offered, group.unwrap_or_default()),
            (hello.compression != 0, u16::from(hello.compression)),
        ]
        .into_iter()
        .filter_map(|(is, number)| is.then_some(number))
        .collect()
    }

    /// ServerHelloDone: what did not come up to here is not there.
    fn on_done(&mut self, suite: u16) {
        if !self.certificates_seen {
            self.session.certificates = Seen::Absent;
            if !suites::is_anonymous(suite) {
                self.odd(AnomalyKind::Malformed, self.message_entry);
            }
        }
        if !self.exchange_seen {
            self.session.key_exchange = Seen::Absent;
        }
        self.end(Ending::Finished, State::Goodbye);
    }

    /// Up to the first line's end, or as much as is enough.
    fn read_foreign(&mut self, now: Moment, over: bool) {
        let line = self.pending.iter().take(FOREIGN_BYTES_MAX).position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = line.unwrap_or(FOREIGN_BYTES_MAX.min(self.pending.len()));
        if line.is_none() && length < FOREIGN_BYTES_MAX && !over {
            return;
        }
        let first = Raw::from(self.pending.get(..length).unwrap_or_default());
        self.pending.clear();
        let kind = foreign(&first.0);
        self.note(What::Received(first.clone()), now, now.saturating_sub(self.began));
        let text = mxray_model::text::untrusted(&first.0);
        self.session.server_hello =
            Seen::Unknown(Blind::NotUnderstood { what: "the answer to a ClientHello".to_owned(), text });
        self.session.foreign = Some(Foreign { kind, first });
        self.end(Ending::Distrusted, State::Closing);
    }

    fn interrupted(&mut self, mark: Mark, ending: Ending, now: Moment) {
        match self.state {
            State::Foreign => self.read_foreign(now, true),
            State::Writing | State::Reading => {
                if !self.pending.is_empty() {
                    let bytes = std::mem::take(&mut self.pending);
                    self.note(What::Received(Raw(bytes)), now, now.saturating_sub(self.began));
                }
                self.note(What::Mark(mark), now, Moment::ZERO);
                let can_hear = matches!(ending, Ending::Deadline { .. });
                self.end(ending, if can_hear { State::Goodbye } else { State::Closing });
            }
            State::Goodbye | State::Closing | State::Done => {}
        }
    }

    /// What did not come, and why.
    fn conclude(&mut self) {
        let refused = self.session.alerts.iter().any(TlsAlert::refuses_offer);
        let last = self.session.alerts.last().cloned();
        let blind = |what: &str| {
            let what = what.to_owned();
            match (&self.session.ending, &last) {
                (Ending::Refused | Ending::PeerClosed, Some(alert)) => {
                    let name = alert.name.clone().unwrap_or_else(|| alert.number.to_string());
                    Blind::Failed { step: what, error: format!("the server sent the alert {name}") }
                }
                (Ending::PeerClosed, None) => {
                    Blind::Failed { step: what, error: "the server closed the connection".to_owned() }
                }
                (Ending::Broke { error }, _) => Blind::Failed { step: what, error: error.clone() },
                (Ending::Deadline { waited_ms }, _) => Blind::TimedOut { what, after_ms: *waited_ms },
                _ => Blind::NotAttempted { why: format!("{what}: the session ended before") },
            }
        };
        if self.session.server_hello.value().is_some() {
            if self.session.ending == Ending::Finished {
                return;
            }
            if !self.certificates_seen {
                self.session.certificates = Seen::Unknown(blind("the certificates"));
            }
            if !self.exchange_seen {
                self.session.key_exchange = Seen::Unknown(blind("the key exchange"));
            }
        } else if refused {
            self.session.server_hello = Seen::Absent;
        } else if self.session.foreign.is_none() {
            self.session.server_hello = Seen::Unknown(blind("the ServerHello"));
        }
    }
}

impl Machine for Prober {
    type Session = TlsHelloSession;

    fn want(&mut self, now: Moment) -> Want {
        match self.state {
            State::Writing => {
                let hello = encode::client_hello(&self.plan);
                self.note(What::Sent(Raw::from(hello.as_slice())), now, Moment::ZERO);
                self.written = now;
                self.state = State::Reading;
                Want::Write(Secret::new(hello))
            }
            State::Reading | State::Foreign => Want::Read { until: self.written + self.plan.patience },
            State::Goodbye => {
                let version =
                    self.session.server_hello.value().map_or(self.plan.offer().version, |hello| hello.version);
                let goodbye = encode::close_notify(version);
                self.note(What::Sent(Raw::from(goodbye.as_slice())), now, Moment::ZERO);
                self.state = State::Closing;
                Want::Write(Secret::new(goodbye))
            }
            State::Closing => {
                self.note(What::Mark(Mark::Closed), now, Moment::ZERO);
                self.state = State::Done;
                Want::Close
            }
            State::Done => Want::Done,
        }
    }

    fn on_bytes(&mut self, bytes: &[u8], now: Moment) {
        if !matches!(self.state, State::Reading | State::Foreign) {
            return;
        }
        if self.pending.is_empty() {
            self.began = now;
        }
        // The bound cuts at one byte, however the bytes came.
        let room = ANSWER_BYTES_MAX.saturating_sub(self.received);
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.received += taken.len();
        self.pending.extend_from_slice(taken);
        if self.state == State::Reading {
            self.read_records(now);
        }
        if self.state == State::Foreign {
            self.read_foreign(now, false);
        }
        if self.received == ANSWER_BYTES_MAX && self.state == State::Reading {
            self.session.transcript.left_out_bytes = self.pending.len() as u64;
            self.pending.clear();
            self.limit(Limit::SessionBytes, now);
        }
    }

    fn on_closed(&mut self, now: Moment) {
        self.interrupted(Mark::PeerClosed, Ending::PeerClosed, now);
    }

    fn on_broken(&mut self, error: &str, now: Moment) {
        self.interrupted(Mark::Broke, Ending::Broke { error: error.to_owned() }, now);
    }

    fn on_deadline(&mut self, now: Moment) {
        let waited_ms = millis(now.saturating_sub(self.written));
        self.interrupted(Mark::Deadline, Ending::Deadline { waited_ms }, now);
    }

    /// Never asked for.
    fn on_tls(&mut self, _: bool, _: Moment) {}

    fn is_over(&self) -> bool {
        self.state == State::Done
    }

    fn into_session(mut self) -> TlsHelloSession {
        self.conclude();
        self.session
    }
}

/// What it is, by its first bytes.
fn foreign(first: &[u8]) -> ForeignKind {
    let starts = |word: &str| first.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
    let code = first
        .get(..3)
        .is_some_and(|code| matches!(code.first(), Some(b'2' | b'4' | b'5')) && code.iter().all(u8::is_ascii_digit))
        && matches!(first.get(3), Some(b' ' | b'-'));
    // A record of SSLv2 has two bytes of length; 0 is its error message, 4 its server hello.
    let ssl2 = matches!(first, [length, _, 0 | 4, ..] if length & 0x80 != 0);
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x80..);
    match first {
        _ if starts("HTTP/") || starts("<html") || starts("<!doctype html") => ForeignKind::Http,
        _ if starts("SSH-") => ForeignKind::Ssh,
        _ if code => ForeignKind::Smtp,
        _ if starts("* OK") || starts("* BYE") || starts("* PREAUTH") => ForeignKind::Imap,
        _ if starts("+OK") || starts("-ERR") => ForeignKind::Pop3,
        _ if ssl2 => ForeignKind::Ssl2,
        _ if !first.is_empty() && first.iter().all(printable) => ForeignKind::Text,
        _ => ForeignKind::Binary,
    }
}
