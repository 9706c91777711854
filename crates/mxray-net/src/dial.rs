//! Opening one connection, and saying what came of it: connect(2)'s outcome, and the ICMP error behind it with its sender.
//!
//! Also dialled here: UNIX sockets, and other ports of a host for comparison. What must not live here: how far an answer came
//! from (`distance.rs`), and what an outcome means (rules).

use crate::clock::{millis, timeout};
use crate::stream::{Stream, words};
use mxray_model::evidence::{Dial, DialOutcome, IcmpError};
use mxray_model::{Blind, Seen};
use mxray_sys::errors;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getpeername, getsockname, socket_with,
    sockopt,
};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// A UNIX socket whose queue is full says so at once and gives no sign when it is not any more (connect(2), EAGAIN).
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(20);

/// One packet may bring one error, and a connection that comes to nothing sends seven (tcp_syn_retries 6).
const ERRORS_MAX: usize = 16;

/// A connection to open.
#[derive(Debug, Clone, Copy)]
pub struct DialPlan {
    pub peer: SocketAddr,
    /// The address that it has to come from; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
}

/// Connects, and waits for it until the moment given.
pub fn dial(plan: DialPlan, until: Instant) -> (Dial, Option<Stream>) {
    dial_or(plan, until, until, || ())
}

/// The same; where nothing has come until an earlier moment, something else is done while it is waited for. Ends when both
/// have.
pub(crate) fn dial_or(
    plan: DialPlan,
    until: Instant,
    slow: Instant,
    meanwhile: impl FnOnce() + Send,
) -> (Dial, Option<Stream>) {
    let began = Instant::now();
    let mut attempt = match open(plan) {
        Ok(attempt) => attempt,
        Err(outcome) => return (tell(plan, None, Err(outcome), millis(began.elapsed())), None),
    };
    let (ended, took) = match attempt.wait(slow.min(until)) {
        Err(DialOutcome::TimedOut { .. }) if slow < until && Instant::now() >= slow => std::thread::scope(|scope| {
            let _ = std::thread::Builder::new().spawn_scoped(scope, meanwhile);
            (attempt.wait(until), began.elapsed())
        }),
        ended => (ended, began.elapsed()),
    };
    let connected = ended.is_ok();
    let dial = tell(plan, Some(&mut attempt), ended, millis(took));
    (dial, connected.then(|| Stream::plain(attempt.socket)))
}

/// What came of an attempt, as evidence. `None`: it did not even begin.
pub(crate) fn tell(
    plan: DialPlan,
    attempt: Option<&mut Attempt>,
    ended: Result<(), DialOutcome>,
    took_ms: u64,
) -> Dial {
    let mut dial = Dial {
        took_ms,
        outcome: ended.err().unwrap_or(DialOutcome::Connected),
        icmp: Seen::Absent,
        ..Dial::of(plan.peer)
    };
    if let DialOutcome::TimedOut { after_ms } = &mut dial.outcome {
        *after_ms = took_ms;
    }
    let Some(attempt) = attempt else { return dial };
    if let Some(local) = attempt.local {
        dial.local = Seen::Value(local);
    }
    dial.icmp = match (attempt.deaf.take(), attempt.icmp.take()) {
        (Some(blind), _) => Seen::Unknown(blind),
        (None, Some(icmp)) => Seen::Value(icmp),
        (None, None) => Seen::Absent,
    };
    if dial.outcome == DialOutcome::Connected {
        let _ = errors::keep(&attempt.socket, plan.peer.is_ipv4(), false);
    }
    dial
}

/// Dials other ports of the same host, side by side, says nothing there and closes again. By port, as `compared` has it.
pub fn compare(address: IpAddr, source: Option<IpAddr>, ports: &[u16], until: Instant) -> BTreeMap<String, Dial> {
    std::thread::scope(|scope| {
        let one = |port: u16| {
            let plan = DialPlan { peer: SocketAddr::new(address, port), source };
            let (seen, stream) = dial(plan, until);
            // A reset in place of an orderly end: the other side keeps nothing of a connection on which nothing was said.
            if let Some(stream) = stream {
                let _ = sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
            }
            seen
        };
        let start = |port: u16| (port, std::thread::Builder::new().spawn_scoped(scope, move || one(port)));
        let running: Vec<_> = ports.iter().copied().map(start).collect();
        let join = |(port, thread): (u16, io::Result<ScopedJoinHandle<'_, Dial>>)| match thread {
            Ok(thread) => Some((port.to_string(), thread.join().ok()?)),
            // No thread to be had: one after the other, then.
            Err(_) => Some((port.to_string(), one(port))),
        };
        running.into_iter().filter_map(join).collect()
    })
}

/// Connects to a UNIX socket.
///
/// # Errors
/// What the system says: nothing is there, nobody listens, it is forbidden; or `TimedOut`: the queue is full and stays so.
pub fn dial_unix(path: &Path, until: Instant) -> io::Result<Stream> {
    let peer = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect(&socket, &peer) {
            Ok(()) | Err(Errno::ISCONN) => return Ok(Stream::plain(socket)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if Instant::now() < until => {
                std::thread::sleep(QUEUE_FULL_PAUSE.min(until.saturating_duration_since(Instant::now())));
            }
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A connection that is on its way.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub socket: OwnedFd,
    pub local: Option<SocketAddr>,
    /// The last ICMP error that came.
    pub icmp: Option<IcmpError>,
    /// What the kernel made of it.
    by_icmp: Option<Errno>,
    /// Why ICMP errors cannot be seen.
    deaf: Option<Blind>,
}

/// Begins to connect.
fn open(plan: DialPlan) -> Result<Attempt, DialOutcome> {
    let (socket, deaf) = prepare(plan)?;
    // Commands are short and awaited one by one; holding them back would only measure our own delay.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    begin(socket, plan, deaf)
}

/// A socket that is bound to the source address and hears of ICMP errors.
pub(crate) fn prepare(plan: DialPlan) -> Result<(OwnedFd, Option<Blind>), DialOutcome> {
    let is_ipv4 = plan.peer.is_ipv4();
    let family = if is_ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(|errno| match errno {
        Errno::AFNOSUPPORT => DialOutcome::NetworkUnreachable,
        other => failed(other),
    })?;
    let deaf = errors::keep(&socket, is_ipv4, true)
        .err()
        .map(|error| Blind::Failed { step: "ask for ICMP errors".to_owned(), error: words(&error) });
    if let Some(source) = plan.source {
        if source.is_ipv4() != is_ipv4 {
            let error = format!("the source address {source} is not of the same family");
            return Err(DialOutcome::Failed { error });
        }
        // An older kernel takes a port at once, which is no harm but where ports run out.
        let _ = errors::bind_no_port(&socket);
        bind(&socket, &SocketAddr::new(source, 0)).map_err(|errno| match errno {
            // EINVAL is no blackhole here: a link-local address without its interface, for example.
            Errno::ADDRNOTAVAIL | Errno::INVAL | Errno::NODEV => DialOutcome::NoLocalAddress,
            Errno::ADDRINUSE => DialOutcome::NoLocalPort,
            other => failed(other),
        })?;
    }
    Ok((socket, deaf))
}

/// Begins to connect a prepared socket.
pub(crate) fn begin(socket: OwnedFd, plan: DialPlan, deaf: Option<Blind>) -> Result<Attempt, DialOutcome> {
    match connect(&socket, &plan.peer) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(Errno::ADDRNOTAVAIL) if plan.source.is_some() || has_source(plan.peer) => {
            return Err(DialOutcome::NoLocalPort);
        }
        Err(errno) => return Err(outcome(errno)),
    }
    // While it is on its way: a failed connection forgets its port.
    let local = getsockname(&socket).ok().and_then(|name| name.try_into().ok());
    Ok(Attempt { socket, local, icmp: None, by_icmp: None, deaf })
}

/// Does this host have an address that it can use towards the peer? A datagram socket asks the same of routing, takes no port
/// of TCP, and sends nothing.
fn has_source(peer: SocketAddr) -> bool {
    let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    socket.is_ok_and(|socket| connect(&socket, &peer) != Err(Errno::ADDRNOTAVAIL))
}

impl Attempt {
    /// Waits for the end of the attempt.
    fn wait(&mut self, until: Instant) -> Result<(), DialOutcome> {
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            match poll(&mut fds, Some(&timeout(until))) {
                Ok(0) => return Err(DialOutcome::TimedOut { after_ms: 0 }),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
            }
            if let Some(ended) = self.ended() {
                return ended;
            }
        }
    }

    /// What became of it. `None`: it is on its way still.
    pub fn ended(&mut self) -> Option<Result<(), DialOutcome>> {
        // The error first: reading the queue clears what the kernel keeps of an ICMP error for getsockopt(2).
        let error = match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => None,
            Ok(Err(errno)) | Err(errno) => Some(errno),
        };
        self.read_errors();
        match error {
            // EMSGSIZE: a smaller packet is wanted, and the kernel sends it again by itself.
            Some(Errno::MSGSIZE) => None,
            Some(errno) => Some(Err(outcome(errno))),
            None if getpeername(&self.socket).is_ok_and(|peer| peer.is_some()) => Some(Ok(())),
            // An error in the queue wakes poll(2) before the connection ends by it; and who reads the queue at the moment at
            // which it ends takes the error away with it (`sock_dequeue_err_skb`), so that only the ended socket is left.
            None => {
                let errno = self.by_icmp.filter(|_| self.is_closed())?;
                Some(Err(outcome(errno)))
            }
        }
    }

    fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        let now = timeout(Instant::now());
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    fn read_errors(&mut self) {
        for _ in 0..ERRORS_MAX {
            let Ok(Some(icmp)) = errors::next(self.socket.as_fd()) else { break };
            self.icmp = Some(IcmpError::new(icmp.from, icmp.kind, icmp.code));
            self.by_icmp = Some(icmp.errno);
        }
    }
}

/// What connect(2)'s errors mean.
fn outcome(errno: Errno) -> DialOutcome {
    match errno {
        Errno::CONNREFUSED => DialOutcome::Refused,
        Errno::CONNRESET | Errno::PIPE => DialOutcome::Reset,
        Errno::ACCESS | Errno::PERM => DialOutcome::Prohibited,
        // EHOSTDOWN and ENONET: ICMP 3/7 and 3/8.
        Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NONET => DialOutcome::HostUnreachable,
        Errno::NETUNREACH | Errno::NETDOWN => DialOutcome::NetworkUnreachable,
        Errno::INVAL => DialOutcome::Blackhole,
        Errno::ADDRNOTAVAIL => DialOutcome::NoLocalAddress,
        Errno::TIMEDOUT => DialOutcome::TimedOut { after_ms: 0 },
        other => failed(other),
    }
}

fn failed(errno: Errno) -> DialOutcome {
    DialOutcome::Failed { error: words(&io::Error::from(errno)) }
}
