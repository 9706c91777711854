//! The helper process: one thread, one loop, connections on their way side by side. It lives as long as the other end of the
//! channel on its standard input.

use super::wire::{self, Job, Ready, Reply};
use crate::clock::{millis, timeout};
use crate::dial::{Attempt, DialPlan, begin, prepare, tell};
use mxray_model::evidence::DialOutcome;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use std::io;
use std::time::{Duration, Instant};

/// The name by which this program is started as the helper.
pub const CALLED: &str = "mxray: connects as another user";

/// Each attempt holds two descriptors: the connection, and the channel for its answer.
const DESCRIPTORS_EACH: u64 = 2;
/// The standard ones, the channel, and those of a question that is being taken.
const DESCRIPTORS_OTHER: u64 = 16;
/// As many as this, where the limit that we were started with lets us: `probe` may ask for hundreds at a time.
const DESCRIPTORS_MAX: u64 = 4096;
/// Seconds of processor time: a helper that runs wild ends.
const PROCESSOR_MAX: u64 = 60;

/// A connection on its way.
struct Pending {
    attempt: Attempt,
    plan: DialPlan,
    began: Instant,
    until: Instant,
    reply: OwnedFd,
}

/// Serves until the other side is gone.
///
/// # Errors
/// Privileges could not be given up (then nothing was done), or the channel broke.
pub fn serve() -> io::Result<()> {
    mxray_sys::descriptors::close_from(3);
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let attempts_max = give_up()?;
    wire::send(&control, &Ready {}, None)?;
    let mut pending: Vec<Pending> = Vec::new();
    loop {
        let (asked, events) = wait(&control, &pending)?;
        let now = Instant::now();
        let mut ready = events.into_iter();
        pending.retain_mut(|one| !one.is_over(ready.next().unwrap_or(false), now));
        if !asked {
            continue;
        }
        let Some((job, reply)) = wire::receive::<Job>(&control, now)? else { return Ok(()) };
        if let Some(reply) = reply {
            pending.extend(start(&job, reply, pending.len() < attempts_max));
        }
    }
}

/// Gives up what connecting does not need: all capabilities and the way back to them, files, processes, being looked into. What
/// is left is enough for so many attempts at a time.
fn give_up() -> io::Result<usize> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    let limit = |count: u64| Rlimit { current: Some(count), maximum: Some(count) };
    let descriptors = getrlimit(Resource::Nofile).maximum.map_or(DESCRIPTORS_MAX, |most| most.min(DESCRIPTORS_MAX));
    setrlimit(Resource::Nofile, limit(descriptors))?;
    setrlimit(Resource::Nproc, limit(0))?;
    setrlimit(Resource::Fsize, limit(0))?;
    setrlimit(Resource::Core, limit(0))?;
    setrlimit(Resource::Cpu, limit(PROCESSOR_MAX))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let left = capabilities(None)?;
    if left.effective != none || left.permitted != none || rustix::process::geteuid().is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let attempts = descriptors.saturating_sub(DESCRIPTORS_OTHER) / DESCRIPTORS_EACH;
    Ok(usize::try_from(attempts).unwrap_or(usize::MAX))
}

/// Waits for a question, an answer or the end of somebody's patience.
fn wait(control: &OwnedFd, pending: &[Pending]) -> io::Result<(bool, Vec<bool>)> {
    let mut fds = vec![PollFd::new(control, PollFlags::IN)];
    fds.extend(pending.iter().map(|one| PollFd::new(&one.attempt.socket, PollFlags::OUT)));
    let until = pending.iter().map(|one| one.until).min();
    let until = until.map(timeout);
    match poll(&mut fds, until.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok((false, vec![false; pending.len()])),
        Err(errno) => return Err(errno.into()),
    }
    let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok((events.next().unwrap_or(false), events.collect()))
}

/// Begins one connection; what ends at once is answered at once.
fn start(job: &Job, reply: OwnedFd, has_room: bool) -> Option<Pending> {
    let began = Instant::now();
    let plan = DialPlan { peer: job.peer, source: job.source };
    let attempt = if has_room {
        prepare(plan).and_then(|(socket, deaf)| {
            let _ = sockopt::set_tcp_nodelay(&socket, true);
            begin(socket, plan, deaf)
        })
    } else {
        Err(DialOutcome::Failed { error: "too many connections at a time for the helper process".to_owned() })
    };
    let until = began.checked_add(Duration::from_millis(job.timeout_ms)).unwrap_or(began);
    match attempt {
        Ok(attempt) => Some(Pending { attempt, plan, began, until, reply }),
        Err(outcome) => {
            let dial = tell(plan, None, Err(outcome), millis(began.elapsed()));
            let _ = wire::send(&reply, &Reply { dial }, None);
            None
        }
    }
}

impl Pending {
    /// Looks after one connection. `true`: it has come to its end, and that has been told.
    fn is_over(&mut self, woken: bool, now: Instant) -> bool {
        let ended = match woken.then(|| self.attempt.ended()).flatten() {
            Some(ended) => ended,
            None if now >= self.until => Err(DialOutcome::TimedOut { after_ms: 0 }),
            None => return false,
        };
        let connected = ended.is_ok();
        let dial = tell(self.plan, Some(&mut self.attempt), ended, millis(self.began.elapsed()));
        let passed = connected.then_some(&self.attempt.socket);
        // Who asked may be gone; the connection ends with us then.
        let _ = wire::send(&self.reply, &Reply { dial }, passed);
        true
    }
}
