//! How far an answer came from: connects with small TTLs, and the ICMP errors that come for them.
//!
//! A SYN with TTL n ends at hop n, which says so ("time exceeded") or not; whatever else comes for it was answered by something
//! at hop n or nearer. What is told is the evidence of all TTLs together: hops limit how many errors they send, so one answer
//! stands for the silence around it. Many routes lead over several ways by source port, so a distance is one of the
//! shortest way seen; routers that hide from TTLs (MPLS) make everybody look nearer, the reference port too.
//!
//! Manners: one SYN each 50 ms, upwards, and none any more once something has answered; the kernel's own repetitions (after 1 s
//! and 3 s) ask silent hops again; what accepts is reset at once and keeps nothing.
//!
//! What must not live here: which hop is to blame (rules; the command `path`).

use crate::clock::{millis, timeout};
use crate::dial::{Attempt, DialPlan, begin, compare, prepare};
use mxray_model::evidence::{Dial, DialOutcome, Distance, HopAnswer, WayAnswer};
use mxray_model::{Blind, Seen};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The Internet is seldom wider than 30 hops.
const TTL_MAX: u8 = 32;
/// Beyond the reference's distance: ways may differ in length.
const SLACK: u8 = 2;
/// A pause between two packets.
const PACE: Duration = Duration::from_millis(50);
/// An answer that takes longer than this is taken for silence, as long as no other TTL has brought one.
const PATIENCE: Duration = Duration::from_millis(800);
/// So many hops in a row that say nothing: what follows says nothing, either.
const GAP_MAX: u8 = 6;
/// The kernel sends a SYN again after 1 s, and once more 2 s later (TCP_TIMEOUT_INIT, RFC 6298); then an answer takes its time.
const ONE_REPEAT: Duration = Duration::from_millis(1400);
const TWO_REPEATS: Duration = Duration::from_millis(3600);

/// Measures from how far a port is answered, and by whom. The distance of the host itself is taken from the first of the
/// reference ports that accepts a connection. Ends at the moment given with what was seen until then. Unknown: nothing can be
/// sent at all.
pub fn distance(peer: SocketAddr, source: Option<IpAddr>, references: &[u16], until: Instant) -> Seen<Distance> {
    let mut distance = Distance {
        host_at: Seen::not_attempted("none of the ports that were tried for comparison accepts connections"),
        ..Distance::default()
    };
    if let Some(port) = reference(peer, source, references, part_of(until, 4)) {
        let way = match sweep(DialPlan { peer: SocketAddr::new(peer.ip(), port), source }, TTL_MAX, part_of(until, 2)) {
            Ok(way) => way,
            Err(blind) => return Seen::Unknown(blind),
        };
        if let Some((ttl, WayAnswer::Accepted)) = way.answer() {
            distance.host_at = Seen::Value(ttl);
            distance.reference = Some(port);
            distance.hops = way.hops();
        }
    }
    let to = distance.host_at.value().map_or(TTL_MAX, |host| host.saturating_add(SLACK).min(TTL_MAX));
    let way = match sweep(DialPlan { peer, source }, to, until) {
        Ok(way) => way,
        Err(blind) => return Seen::Unknown(blind),
    };
    distance.asked_to = way.cells.last().map_or(0, |cell| cell.ttl);
    match way.answer() {
        Some((ttl, answer)) => {
            distance.answered_at = Seen::Value(ttl);
            distance.answer = Seen::Value(answer);
        }
        None if way.cut_off => {
            let blind = Blind::TimedOut { what: format!("measure the way to {peer}"), after_ms: way.took_ms };
            distance.answered_at = Seen::Unknown(blind.clone());
            distance.answer = Seen::Unknown(blind);
        }
        None => (distance.answered_at, distance.answer) = (Seen::Absent, Seen::Absent),
    }
    // The hops of this port's own way; those of the reference only where this one has none.
    let own = way.hops();
    distance.own_hops = Some(u8::try_from(own.len()).unwrap_or(u8::MAX));
    if !own.is_empty() {
        distance.hops = own;
    }
    if distance.host_at.blind().is_some() && distance.reference.is_none() {
        host_itself(&mut distance, peer.ip());
    }
    Seen::Value(distance)
}

/// The first of the ports that accepts a connection.
fn reference(peer: SocketAddr, source: Option<IpAddr>, ports: &[u16], until: Instant) -> Option<u16> {
    let others: Vec<u16> = ports.iter().copied().filter(|port| *port != peer.port()).collect();
    let seen = compare(peer.ip(), source, &others, until);
    others
        .into_iter()
        .find(|port| seen.get(&port.to_string()).is_some_and(|dial| dial.outcome == DialOutcome::Connected))
}

/// The first part of the time that is left.
fn part_of(until: Instant, parts: u32) -> Instant {
    let now = Instant::now();
    now.checked_add(until.saturating_duration_since(now) / parts).unwrap_or(until)
}

/// Measures the way of a connection that was refused or came to nothing, and notes it there. What this host's own kernel
/// refused has no way; neither has an address of this host.
pub fn explain(dial: &mut Dial, source: Option<IpAddr>, references: &[u16], until: Instant) {
    let by_packet = match dial.outcome {
        DialOutcome::Refused | DialOutcome::TimedOut { .. } => true,
        DialOutcome::HostUnreachable | DialOutcome::NetworkUnreachable | DialOutcome::Prohibited => {
            dial.icmp.value().is_some_and(|icmp| !is_own(dial, icmp.from))
        }
        _ => false,
    };
    if by_packet && !is_own(dial, dial.peer.ip()) {
        dial.distance = distance(dial.peer, source, references, until);
    }
}

fn is_own(dial: &Dial, address: IpAddr) -> bool {
    address.is_loopback() || dial.local.value().is_some_and(|local| local.ip() == address)
}

/// The host is where its own ICMP error comes from.
fn host_itself(distance: &mut Distance, host: IpAddr) {
    if let (Seen::Value(WayAnswer::Icmp(icmp)), Seen::Value(ttl)) = (&distance.answer, &distance.answered_at)
        && icmp.from == host
    {
        distance.host_at = Seen::Value(*ttl);
    }
}

/// One SYN with one TTL.
struct Cell {
    ttl: u8,
    sent: Instant,
    /// `None`: it has come to its end.
    attempt: Option<Attempt>,
    came: Option<Came>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    /// Time exceeded.
    Hop(IpAddr),
    End(WayAnswer),
    /// This host could not send it.
    Nothing,
}

/// All TTLs of one port.
struct Way {
    cells: Vec<Cell>,
    cut_off: bool,
    took_ms: u64,
}

impl Way {
    /// The nearest end that was seen.
    fn answer(&self) -> Option<(u8, WayAnswer)> {
        let ends = self.cells.iter().filter_map(|cell| match &cell.came {
            Some(Came::End(answer)) => Some((cell.ttl, answer.clone())),
            _ => None,
        });
        ends.min_by_key(|(ttl, _)| *ttl)
    }

    fn hops(&self) -> Vec<HopAnswer> {
        let hops = self.cells.iter().filter_map(|cell| match &cell.came {
            Some(Came::Hop(from)) => Some(HopAnswer { ttl: cell.ttl, from: *from }),
            _ => None,
        });
        hops.collect()
    }

    /// Up to here something was heard.
    fn heard_to(&self) -> u8 {
        self.cells.iter().filter(|cell| cell.came.is_some()).map(|cell| cell.ttl).max().unwrap_or(0)
    }

    /// The next TTL to send, if one may be sent at this moment.
    fn next_ttl(&self, to: u8, now: Instant) -> Next {
        let last = self.cells.last().map_or(0, |cell| cell.ttl);
        if last >= to || self.answer().is_some() {
            return Next::Never;
        }
        let silent: Vec<&Cell> = self.cells.iter().filter(|cell| cell.ttl > self.heard_to()).collect();
        if silent.len() >= usize::from(GAP_MAX) {
            // Either they answer late, or nobody beyond here does.
            let is_silent = |cell: &&Cell| now.saturating_duration_since(cell.sent) >= PATIENCE;
            return match silent.iter().find(|cell| !is_silent(cell)) {
                Some(young) => Next::At(young.sent + PATIENCE),
                None => Next::Never,
            };
        }
        match self.cells.last().map(|cell| cell.sent + PACE) {
            Some(paced) if paced > now => Next::At(paced),
            _ => Next::Now(last + 1),
        }
    }

    /// When nothing more is waited for, once all has been sent.
    fn patience_ends(&self) -> Option<Instant> {
        let last = self.cells.last()?.sent;
        match self.answer() {
            // The cell below the answer decides how far it is: where it is silent, it may have been lost.
            Some((ttl, _)) => {
                let below = self.cells.iter().filter(|cell| cell.ttl < ttl && cell.came.is_none());
                let latest = below.map(|cell| cell.sent + ONE_REPEAT).max();
                let is_decided = self.cells.iter().any(|cell| cell.ttl + 1 == ttl && cell.came.is_some());
                if ttl == 1 || is_decided { None } else { latest }
            }
            None => Some(last + TWO_REPEATS),
        }
    }
}

enum Next {
    Now(u8),
    At(Instant),
    Never,
}

/// Sends SYNs with growing TTLs to one port, and gathers what comes.
fn sweep(plan: DialPlan, to: u8, until: Instant) -> Result<Way, Blind> {
    let began = Instant::now();
    let mut way = Way { cells: Vec::new(), cut_off: false, took_ms: 0 };
    loop {
        let now = Instant::now();
        way.took_ms = millis(now.saturating_duration_since(began));
        let wake = match way.next_ttl(to, now) {
            Next::Now(ttl) => {
                way.cells.push(send(plan, ttl, now)?);
                continue;
            }
            Next::At(moment) => moment,
            Next::Never if way.cells.iter().all(|cell| cell.came.is_some()) => return Ok(way),
            Next::Never => match way.patience_ends() {
                Some(moment) if moment > now => moment,
                _ => return Ok(way),
            },
        };
        if now >= until {
            way.cut_off = true;
            return Ok(way);
        }
        gather(&mut way, wake.min(until))?;
    }
}

/// Sends one.
fn send(plan: DialPlan, ttl: u8, now: Instant) -> Result<Cell, Blind> {
    let step = || format!("send a packet with a small TTL to {}", plan.peer);
    let cannot = |error: String| Blind::Failed { step: step(), error };
    let outcome_of = |outcome: &DialOutcome| cannot(outcome.as_str().to_owned());
    let (socket, deaf) = prepare(plan).map_err(|outcome| outcome_of(&outcome))?;
    if let Some(deaf) = deaf {
        return Err(deaf);
    }
    let set = match plan.peer {
        SocketAddr::V4(_) => sockopt::set_ip_ttl(&socket, u32::from(ttl)),
        SocketAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&socket, Some(ttl)),
    };
    set.map_err(|errno| cannot(std::io::Error::from(errno).to_string()))?;
    // What accepts is to see a reset, not half a session.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    let mut cell = Cell { ttl, sent: now, attempt: None, came: None };
    match begin(socket, plan, None) {
        Ok(attempt) => cell.attempt = Some(attempt),
        Err(outcome) if ttl == 1 => return Err(outcome_of(&outcome)),
        // What could be sent before can be refused later: a route changes, ports run out.
        Err(_) => cell.came = Some(Came::Nothing),
    }
    Ok(cell)
}

/// Waits for one wake-up, and notes what came.
fn gather(way: &mut Way, until: Instant) -> Result<(), Blind> {
    let waiting: Vec<usize> =
        way.cells.iter().enumerate().filter(|(_, cell)| cell.attempt.is_some()).map(|(index, _)| index).collect();
    let woken: Vec<usize> = {
        let attempts = waiting.iter().filter_map(|index| way.cells.get(*index)?.attempt.as_ref());
        let mut fds: Vec<PollFd<'_>> = attempts.map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT)).collect();
        match poll(&mut fds, Some(&timeout(until))) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => {
                let error = std::io::Error::from(errno).to_string();
                return Err(Blind::Failed { step: "wait for answers".to_owned(), error });
            }
        }
        waiting.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| *index).collect()
    };
    for index in woken {
        if let Some(cell) = way.cells.get_mut(index) {
            cell.look();
        }
    }
    Ok(())
}

impl Cell {
    fn look(&mut self) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some(ended) = attempt.ended() else { return };
        self.came = Some(match (ended, attempt.icmp.take()) {
            (Ok(()) | Err(DialOutcome::Reset), _) => Came::End(WayAnswer::Accepted),
            (Err(_), Some(icmp)) if icmp.is_time_exceeded() => Came::Hop(icmp.from),
            (Err(_), Some(icmp)) => Came::End(WayAnswer::Icmp(icmp)),
            (Err(DialOutcome::Refused), None) => Came::End(WayAnswer::Reset),
            (Err(_), None) => Came::Nothing,
        });
        self.attempt = None;
    }
}
