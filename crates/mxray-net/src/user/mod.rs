//! Connecting as another user: a helper process opens the connections and hands them over.
//!
//! Rules of a firewall or of routing may go by user, and the kernel remembers with a socket who made it. So a process of that
//! user only has to make the socket and connect it; TLS, logins and what the peer says stay here. The helper is this
//! program, started anew as that user; it keeps no privilege, knows no secret and reads nothing that a peer sends.
//!
//! Name lookups and measurements of the way are made as the one who asks.

mod helper;
mod wire;

pub use helper::{CALLED, serve};

use crate::clock::millis;
use crate::dial::{DialPlan, dial, dial_or};
use crate::stream::{Stream, words};
use mxray_model::evidence::{Dial, DialOutcome};
use mxray_model::{Blind, Seen};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire::{Job, Reply};

/// What the helper needs beyond the deadline to say that it was reached.
const GRACE: Duration = Duration::from_millis(250);

/// A user of this host, by numbers; the name is for those who read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Who opens the connections.
#[derive(Debug, Clone, Default)]
pub enum Dialler {
    /// This process.
    #[default]
    Own,
    /// A helper process of another user. It ends with the last of these.
    Helper(Arc<Helper>),
}

impl Dialler {
    /// The user's name, where it is not the one who asks.
    pub fn user(&self) -> Option<&str> {
        match self {
            Dialler::Own => None,
            Dialler::Helper(helper) => Some(&helper.user.name),
        }
    }

    /// Connects as that user, and waits for it until the moment given.
    pub fn dial(&self, plan: DialPlan, until: Instant) -> (Dial, Option<Stream>) {
        match self {
            Dialler::Own => dial(plan, until),
            Dialler::Helper(helper) => helper.dial(plan, until, until, || ()),
        }
    }

    /// The same; where nothing has come after a while, something else is done while it is waited for.
    pub(crate) fn dial_or(
        &self,
        plan: DialPlan,
        until: Instant,
        patience: Duration,
        meanwhile: impl FnOnce() + Send,
    ) -> (Dial, Option<Stream>) {
        let slow = Instant::now() + patience;
        match self {
            Dialler::Own => dial_or(plan, until, slow, meanwhile),
            Dialler::Helper(helper) => helper.dial(plan, until, slow, meanwhile),
        }
    }
}

/// A process that connects as another user.
#[derive(Debug)]
pub struct Helper {
    user: User,
    control: OwnedFd,
    child: Mutex<Child>,
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How the helper is started.
#[derive(Debug, Clone)]
struct Start {
    program: PathBuf,
    name: OsString,
    args: Vec<OsString>,
}

/// Starts a helper process that connects as this user, and lives as long as the dialler that is returned; it has to be ready at
/// the moment given. No process is started where we are that user already. Unknown: only root can become another user.
pub fn as_user(user: &User, until: Instant) -> Seen<Dialler> {
    let start = Start { program: "/proc/self/exe".into(), name: CALLED.into(), args: Vec::new() };
    started(user, until, &start)
}

fn started(user: &User, until: Instant, start: &Start) -> Seen<Dialler> {
    let own = rustix::process::geteuid().as_raw();
    if user.uid == own {
        return Seen::Value(Dialler::Own);
    }
    let may_become = |capability: &str| {
        mxray_sys::capability::effective().is_ok_and(|capabilities| capabilities.contains(capability))
    };
    let not_permitted = || Blind::NotPermitted { what: format!("connect as {}", user.name), needs: "root".to_owned() };
    if own != 0 || !may_become("cap_setuid") || !may_become("cap_setgid") {
        return Seen::Unknown(not_permitted());
    }
    match begin(user, until, start) {
        Ok(helper) => Seen::Value(Dialler::Helper(Arc::new(helper))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Seen::Unknown(not_permitted()),
        Err(error) => {
            let step = format!("start a helper process as {}", user.name);
            Seen::Unknown(Blind::Failed { step, error: words(&error) })
        }
    }
}

fn begin(user: &User, until: Instant, start: &Start) -> io::Result<Helper> {
    let (ours, theirs) = pair()?;
    let child = Command::new(&start.program)
        .arg0(&start.name)
        .args(&start.args)
        .env_clear()
        .current_dir("/")
        .uid(user.uid)
        .gid(user.gid)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let helper = Helper { user: user.clone(), control: ours, child: Mutex::new(child) };
    // It says so when it has given up what it does not need, or else it ends.
    match wire::receive::<wire::Ready>(&helper.control, until) {
        Ok(Some((wire::Ready {}, _))) => Ok(helper),
        Ok(None) => Err(io::Error::other("the helper process ended at once")),
        Err(error) => Err(error),
    }
}

/// Two ends of one channel; a message keeps its bounds.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

impl Helper {
    fn dial(
        &self,
        plan: DialPlan,
        until: Instant,
        slow: Instant,
        meanwhile: impl FnOnce() + Send,
    ) -> (Dial, Option<Stream>) {
        let began = Instant::now();
        match self.ask(plan, until, slow, meanwhile) {
            Ok((reply, socket)) => (reply.dial, socket.map(Stream::plain)),
            Err(error) => {
                let error = format!("the helper process of {} gave no answer: {}", self.user.name, words(&error));
                let icmp = Seen::not_attempted("the helper process gave no answer");
                let (took_ms, outcome) = (millis(began.elapsed()), DialOutcome::Failed { error });
                (Dial { took_ms, outcome, icmp, ..Dial::of(plan.peer) }, None)
            }
        }
    }

    fn ask(
        &self,
        plan: DialPlan,
        until: Instant,
        slow: Instant,
        meanwhile: impl FnOnce() + Send,
    ) -> io::Result<(Reply, Option<OwnedFd>)> {
        // Each question brings the channel for its own answer, so that many threads may ask at a time.
        let (ours, theirs) = pair()?;
        let left = until.saturating_duration_since(Instant::now());
        let job = Job { peer: plan.peer, source: plan.source, timeout_ms: millis(left) };
        wire::send(&self.control, &job, Some(&theirs))?;
        drop(theirs);
        let patience = until.checked_add(GRACE).unwrap_or(until);
        let received = if slow >= until || readable(&ours, slow)? {
            wire::receive::<Reply>(&ours, patience)
        } else {
            std::thread::scope(|scope| {
                let _ = std::thread::Builder::new().spawn_scoped(scope, meanwhile);
                wire::receive::<Reply>(&ours, patience)
            })
        };
        let (reply, socket) = received?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"))?;
        // A connection without its socket is none, and the other way round.
        match (&reply.dial.outcome, socket) {
            (DialOutcome::Connected, None) => Err(io::Error::other("it sent no connection")),
            (DialOutcome::Connected, socket) => Ok((reply, socket)),
            (_, _) => Ok((reply, None)),
        }
    }
}

/// Waits until something can be read; `false`: not in time.
fn readable(socket: &OwnedFd, until: Instant) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&crate::clock::timeout(until))) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests;
