//! One question to several servers, over UDP and TCP: who is asked when, and which packet counts.
//!
//! The servers are asked in their order, as the C library does it, the first time with little patience. What was asked
//! earlier is still listened to, so that a slow server's answer is taken when it comes. Every try is kept.

use super::message::{self, Answer, Packet, Question};
use super::turns::{Allowance, Turns};
use crate::clock::{millis, timeout};
use crate::dial::{DialPlan, dial};
use crate::stream::{Came, Stream, words};
use mxray_model::evidence::{DialOutcome, DnsTrouble, DnsTry, Transport};
use mxray_model::{Blind, Seen};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long each server is waited for before the next one is asked, round by round.
const PATIENCE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Packets of one server that are no answer. Whoever sends more is not waited for.
const STRAYS_MAX: u32 = 32;
/// Whole messages over TCP that are no answer.
const TCP_STRAYS_MAX: u32 = 4;
/// Servers that are asked; the C library knows three.
const SERVERS_MAX: usize = 8;
/// Answers may be larger than what was announced.
const PACKET_BYTES_MAX: usize = 65_535;

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The answer that counts. `None`: none came that does.
    pub answer: Option<Answer>,
    pub tries: Vec<DnsTry>,
}

/// Waits for its turn, then asks until an answer comes that settles the question, all have been asked three times, or the moment is over.
pub(super) fn ask(question: &Question, servers: &[SocketAddr], turns: &Turns, allowance: &Allowance) -> Asked {
    let Some(_turn) = turns.take(allowance) else { return Asked { answer: None, tries: Vec::new() } };
    let until = allowance.end();
    let mut run = Run { question, until, tries: Vec::new(), open: Vec::new(), second_best: None };
    let answer = run.all(servers.get(..SERVERS_MAX).unwrap_or(servers));
    run.give_up();
    if answer.is_none() {
        run.without_validation();
    }
    Asked { answer: answer.or(run.second_best), tries: run.tries }
}

/// Over TCP only, and one server.
pub(super) fn ask_tcp(question: &Question, server: SocketAddr, until: Instant) -> Asked {
    let mut run = Run { question, until, tries: Vec::new(), open: Vec::new(), second_best: None };
    let answer = run.tcp(server, question);
    Asked { answer, tries: run.tries }
}

/// Does this answer settle it? What is left are refusals, after which the C library asks the next one, too.
fn settles(answer: &Answer) -> bool {
    const NOERROR: u16 = 0;
    const NXDOMAIN: u16 = 3;
    !answer.truncated && (answer.code == NOERROR || answer.code == NXDOMAIN)
}

/// One question on its way over UDP.
struct Open {
    socket: UdpSocket,
    server: SocketAddr,
    question: Question,
    id: u16,
    began: Instant,
    /// Its place in the tries.
    place: usize,
}

struct Run<'a> {
    question: &'a Question,
    until: Instant,
    tries: Vec<DnsTry>,
    open: Vec<Open>,
    /// An answer that settles nothing, for want of a better one.
    second_best: Option<Answer>,
}

impl Run<'_> {
    fn all(&mut self, servers: &[SocketAddr]) -> Option<Answer> {
        let places = u32::try_from(servers.len()).unwrap_or(u32::MAX).saturating_add(1);
        // With little time, each of them has to get its turn.
        let fair = self.until.saturating_duration_since(Instant::now()) / places;
        for (round, patience) in PATIENCE.into_iter().enumerate() {
            let patience = if round == 0 { patience.min(fair) } else { patience };
            for server in servers {
                if Instant::now() >= self.until {
                    return None;
                }
                if !self.is_worth_asking(*server, round) {
                    continue;
                }
                self.send(*server, self.question.clone());
                let until = (Instant::now() + patience).min(self.until);
                if let Some(answer) = self.wait(until) {
                    return Some(answer);
                }
            }
        }
        None
    }

    /// A refusal is repeated once, since it may be of the moment; what is closed, too.
    fn is_worth_asking(&self, server: SocketAddr, round: usize) -> bool {
        let ended =
            |one: &&DnsTry| one.server == server && one.trouble.is_none_or(|trouble| trouble != DnsTrouble::Silent);
        let waits = |open: &Open| open.server == server;
        round == 0 || self.open.iter().any(waits) || self.tries.iter().filter(ended).count() < 2
    }

    /// Sends a question over UDP. What fails at once is written down at once.
    fn send(&mut self, server: SocketAddr, question: Question) {
        let began = Instant::now();
        let place = self.tries.len();
        self.tries.push(tried(server, Transport::Udp));
        match open(server, &question) {
            Ok((socket, id)) => self.open.push(Open { socket, server, question, id, began, place }),
            Err(error) => self.failed(place, began, trouble(&error), &words(&error)),
        }
    }

    fn failed(&mut self, place: usize, began: Instant, trouble: DnsTrouble, error: &str) {
        let Some(one) = self.tries.get_mut(place) else { return };
        one.took_ms = millis(began.elapsed());
        one.trouble = Some(trouble);
        one.rcode = Seen::Unknown(Blind::Failed { step: format!("asking {}", one.server), error: error.to_owned() });
    }

    /// Listens to all that are open. Ends early when the newest one has ended, because then the next has its turn.
    fn wait(&mut self, until: Instant) -> Option<Answer> {
        let newest = self.open.last().map(|open| open.place)?;
        loop {
            // The same question without EDNS(0) stands behind the one that it repeats.
            if !self.open.iter().any(|open| open.place >= newest) {
                return None;
            }
            let mut fds: Vec<PollFd<'_>> =
                self.open.iter().map(|open| PollFd::new(&open.socket, PollFlags::IN)).collect();
            match poll(&mut fds, Some(&timeout(until))) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
            }
            let ready: Vec<usize> =
                (0..fds.len()).filter(|i| fds.get(*i).is_some_and(|fd| !fd.revents().is_empty())).collect();
            // Backwards: what is taken out does not move those that are still to be looked at.
            for index in ready.into_iter().rev() {
                if let Some(answer) = self.receive(index) {
                    return Some(answer);
                }
            }
        }
    }

    /// Takes what came for one of them.
    fn receive(&mut self, index: usize) -> Option<Answer> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let open = self.open.get(index)?;
            let packet = match open.socket.recv(&mut buffer) {
                Ok(count) => message::read(buffer.get(..count).unwrap_or_default(), open.id, &open.question),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let open = self.open.remove(index);
                    self.failed(open.place, open.began, trouble(&error), &words(&error));
                    return None;
                }
            };
            match packet {
                Packet::Stray => {
                    let one = self.tries.get_mut(open.place)?;
                    one.strays += 1;
                    if one.strays >= STRAYS_MAX {
                        let open = self.open.remove(index);
                        self.failed(open.place, open.began, DnsTrouble::Unreadable, "only packets that answer nothing");
                        return None;
                    }
                }
                Packet::Unreadable(error) => {
                    let open = self.open.remove(index);
                    self.failed(open.place, open.began, DnsTrouble::Unreadable, &error);
                    return None;
                }
                Packet::Answer(answer) => {
                    let open = self.open.remove(index);
                    return self.answered(&open, *answer);
                }
            }
        }
    }

    /// An answer over UDP: it settles the question, or says how else to ask.
    fn answered(&mut self, open: &Open, answer: Answer) -> Option<Answer> {
        const FORMERR: u16 = 1;
        const NOTIMP: u16 = 4;
        const BADVERS: u16 = 16;
        self.note(open.place, open.began, &answer);
        if answer.truncated {
            return self.tcp(open.server, &open.question);
        }
        if matches!(answer.code, FORMERR | NOTIMP | BADVERS) && open.question.edns {
            // RFC 6891 section 7: such a server may not know EDNS(0). There is no version below 0 that it could ask for.
            self.send(open.server, Question { edns: false, dnssec: false, ..open.question.clone() });
            return None;
        }
        self.take(answer)
    }

    fn take(&mut self, answer: Answer) -> Option<Answer> {
        if settles(&answer) {
            return Some(answer);
        }
        if !answer.truncated {
            self.second_best.get_or_insert(answer);
        }
        None
    }

    fn note(&mut self, place: usize, began: Instant, answer: &Answer) {
        let Some(one) = self.tries.get_mut(place) else { return };
        one.took_ms = millis(began.elapsed());
        one.rcode = Seen::Value(message::code_text(answer.code));
        one.authoritative = answer.authoritative;
        one.truncated = answer.truncated;
        one.authentic = answer.authentic;
        one.recursive = answer.recursive;
        one.denied_by.clone_from(&answer.denied_by);
        one.extended.clone_from(&answer.extended);
        one.left_out = answer.left_out;
        one.unreadable = answer.unreadable;
    }

    /// RFC 7766: the same question over TCP.
    fn tcp(&mut self, server: SocketAddr, question: &Question) -> Option<Answer> {
        let began = Instant::now();
        let place = self.tries.len();
        self.tries.push(tried(server, Transport::Tcp));
        let (dialled, stream) = dial(DialPlan { peer: server, source: None }, self.until.min(began + PATIENCE[2]));
        let Some(mut stream) = stream else {
            self.failed(place, began, dial_trouble(&dialled.outcome), dialled.outcome.as_str());
            return None;
        };
        let (result, strays) = exchange(&mut stream, question, self.until.min(began + PATIENCE[2]));
        stream.close();
        if let Some(one) = self.tries.get_mut(place) {
            one.strays = strays;
        }
        match result {
            Ok(answer) => {
                self.note(place, began, &answer);
                self.take(answer)
            }
            Err((trouble, error)) => {
                self.failed(place, began, trouble, &error);
                None
            }
        }
    }

    /// SERVFAIL is what validating resolvers say of bogus records, and what all say of dead servers. Asked to leave the
    /// validation out (CD, RFC 4035 section 3.2.2), they say which it is. The answer is evidence, and not the answer.
    fn without_validation(&mut self) {
        const SERVFAIL: u16 = 2;
        let failed = self.second_best.as_ref().is_some_and(|answer| answer.code == SERVFAIL);
        let said = |one: &&DnsTry| one.trouble.is_none() && one.rcode.value().is_some_and(|code| code == "SERVFAIL");
        let Some(server) = self.tries.iter().find(said).map(|one| one.server) else { return };
        if !failed || self.question.unchecked || !self.question.edns || Instant::now() >= self.until {
            return;
        }
        let question = Question { unchecked: true, dnssec: true, ..self.question.clone() };
        let first = self.tries.len();
        let kept = self.second_best.take();
        self.send(server, question);
        let _ = self.wait((Instant::now() + PATIENCE[1]).min(self.until));
        self.give_up();
        self.second_best = kept;
        for one in self.tries.iter_mut().skip(first) {
            one.unchecked = true;
        }
    }

    /// Those that are still open did not answer.
    fn give_up(&mut self) {
        for open in std::mem::take(&mut self.open) {
            let Some(one) = self.tries.get_mut(open.place) else { continue };
            one.took_ms = millis(open.began.elapsed());
            one.trouble = Some(DnsTrouble::Silent);
            one.rcode = Seen::Unknown(Blind::TimedOut { what: format!("{}", open.server), after_ms: one.took_ms });
        }
    }
}

fn tried(server: SocketAddr, transport: Transport) -> DnsTry {
    DnsTry {
        server,
        transport,
        took_ms: 0,
        rcode: Seen::not_attempted("no answer yet"),
        authoritative: false,
        truncated: false,
        authentic: false,
        recursive: false,
        unchecked: false,
        denied_by: None,
        extended: Vec::new(),
        trouble: None,
        strays: 0,
        left_out: 0,
        unreadable: 0,
    }
}

/// A socket of its own for each question: its random port is what makes a forged answer hard (RFC 5452). It is connected, so
/// that packets from elsewhere do not come in, and a closed port is told.
fn open(server: SocketAddr, question: &Question) -> io::Result<(UdpSocket, u16)> {
    let any = if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let any: SocketAddr = any;
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    let id = random()?;
    let bytes = question.bytes(id).ok_or_else(|| io::Error::other("the name cannot be asked for"))?;
    socket.send(&bytes)?;
    Ok((socket, id))
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(u16::from_be_bytes(bytes))
}

type Exchanged = Result<Answer, (DnsTrouble, String)>;

/// One question and its answer over a connection (RFC 1035 section 4.2.2), and the messages that were none.
fn exchange(stream: &mut Stream, question: &Question, until: Instant) -> (Exchanged, u32) {
    let bytes = random().ok().and_then(|id| Some((id, question.bytes(id)?)));
    let Some((id, bytes)) = bytes else {
        return (Err((DnsTrouble::Failed, "the name cannot be asked for".to_owned())), 0);
    };
    let mut framed = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    framed.extend(bytes);
    if let Err(error) = stream.write_all(&framed, until) {
        return (Err((trouble(&error), words(&error))), 0);
    }
    for strays in 0..TCP_STRAYS_MAX {
        let mut length = [0; 2];
        let read = fill(stream, &mut length, until).and_then(|()| {
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            fill(stream, &mut message, until).map(|()| message)
        });
        match read.map(|message| message::read(&message, id, question)) {
            Ok(Packet::Stray) => {}
            Ok(Packet::Answer(answer)) => return (Ok(*answer), strays),
            Ok(Packet::Unreadable(error)) => return (Err((DnsTrouble::Unreadable, error)), strays),
            Err(broken) => return (Err(broken), strays),
        }
    }
    let error = "only messages that answer nothing".to_owned();
    (Err((DnsTrouble::Unreadable, error)), TCP_STRAYS_MAX)
}

fn fill(stream: &mut Stream, mut buffer: &mut [u8], until: Instant) -> Result<(), (DnsTrouble, String)> {
    while !buffer.is_empty() {
        // A server that sends byte by byte is never waited for by poll(2).
        if Instant::now() >= until {
            return Err((DnsTrouble::Silent, "not whole in time".to_owned()));
        }
        match stream.read(buffer, until) {
            Came::Bytes(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Came::Closed => return Err((DnsTrouble::Broken, "closed before the answer was whole".to_owned())),
            Came::TimedOut => return Err((DnsTrouble::Silent, "not whole in time".to_owned())),
            Came::Broke(error) => return Err((DnsTrouble::Broken, error)),
        }
    }
    Ok(())
}

fn trouble(error: &io::Error) -> DnsTrouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DnsTrouble::PortClosed,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            DnsTrouble::Unreachable
        }
        // EINVAL of connect(2) is a `blackhole` route.
        io::ErrorKind::InvalidInput => DnsTrouble::Unreachable,
        io::ErrorKind::PermissionDenied => DnsTrouble::Prohibited,
        io::ErrorKind::TimedOut => DnsTrouble::Silent,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => DnsTrouble::Broken,
        _ => DnsTrouble::Failed,
    }
}

fn dial_trouble(outcome: &DialOutcome) -> DnsTrouble {
    match outcome {
        DialOutcome::Refused => DnsTrouble::PortClosed,
        DialOutcome::Reset => DnsTrouble::Broken,
        DialOutcome::Prohibited => DnsTrouble::Prohibited,
        DialOutcome::HostUnreachable
        | DialOutcome::NetworkUnreachable
        | DialOutcome::Blackhole
        | DialOutcome::NoLocalAddress
        | DialOutcome::NoLocalPort => DnsTrouble::Unreachable,
        DialOutcome::TimedOut { .. } => DnsTrouble::Silent,
        DialOutcome::Connected | DialOutcome::Failed { .. } => DnsTrouble::Failed,
    }
}
