//! Opening one connection, and saying what came of it.

use crate::clock::{millis, timeout};
use crate::stream::Stream;
use mxray_model::Seen;
use mxray_model::evidence::{Dial, DialOutcome};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A connection to open.
#[derive(Debug, Clone, Copy)]
pub struct DialPlan {
    pub peer: SocketAddr,
    /// The address that it has to come from; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
}

/// Connects, and waits for it until the moment given.
pub fn dial(plan: DialPlan, until: Instant) -> (Dial, Option<Stream>) {
    let began = Instant::now();
    let (outcome, socket) = match open(plan, until, began) {
        Ok(socket) => (DialOutcome::Connected, Some(socket)),
        Err(outcome) => (outcome, None),
    };
    let local = socket.as_ref().and_then(|socket| getsockname(socket).ok()).and_then(|name| name.try_into().ok());
    let dial = Dial {
        peer: plan.peer,
        local: local.map_or_else(|| Seen::not_attempted("the connection did not come to stand"), Seen::Value),
        took_ms: millis(began.elapsed()),
        outcome,
        icmp: Seen::not_attempted("the error queue was not read"),
        distance: Seen::not_attempted("the way was not measured"),
    };
    (dial, socket.map(Stream::plain))
}

fn open(plan: DialPlan, until: Instant, began: Instant) -> Result<OwnedFd, DialOutcome> {
    let family = if plan.peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(outcome)?;
    // Commands are short and awaited one by one; holding them back would only measure our own delay.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    if let Some(source) = plan.source {
        bind(&socket, &SocketAddr::new(source, 0)).map_err(outcome)?;
    }
    match connect(&socket, &plan.peer) {
        Ok(()) => return Ok(socket),
        Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(outcome(errno)),
    }
    let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
    loop {
        match poll(&mut fds, Some(&timeout(until))) {
            Ok(0) => return Err(DialOutcome::TimedOut { after_ms: millis(began.elapsed()) }),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(outcome(errno)),
        }
    }
    match sockopt::socket_error(&socket) {
        Ok(Ok(())) => Ok(socket),
        Ok(Err(errno)) | Err(errno) => Err(outcome(errno)),
    }
}

/// What connect(2)'s errors mean.
fn outcome(errno: Errno) -> DialOutcome {
    match errno {
        Errno::CONNREFUSED => DialOutcome::Refused,
        Errno::ACCESS | Errno::PERM => DialOutcome::Prohibited,
        Errno::HOSTUNREACH => DialOutcome::HostUnreachable,
        Errno::NETUNREACH => DialOutcome::NetworkUnreachable,
        Errno::INVAL => DialOutcome::Blackhole,
        Errno::ADDRNOTAVAIL => DialOutcome::NoLocalAddress,
        Errno::TIMEDOUT => DialOutcome::TimedOut { after_ms: 0 },
        other => DialOutcome::Failed { error: std::io::Error::from(other).to_string() },
    }
}
