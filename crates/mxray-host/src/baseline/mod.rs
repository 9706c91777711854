//! What is usual on this host: learned run by run, kept in one small file, compared with what is now.
//!
//! `usual` and `state` are arithmetic and know no clock; `file` is the only code of mxray that writes on the machine which
//! it examines. What must not live here: what a difference means (`mxray-rules`).

mod file;
mod state;
mod usual;

pub use state::Now;

use crate::read;
use file::Directory;
use mxray_model::evidence::{Baseline, Sockets};
use mxray_model::{Blind, Seen};
use state::State;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The ports of mail, learned also where no configuration that we read names them.
const MAIL_PORTS: [u16; 10] = [24, 25, 110, 143, 465, 587, 993, 995, 2525, 4190];

/// Where the state is kept, and what may be done with it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// `None`: this user has no place for it.
    pub directory: Option<PathBuf>,
    /// Count what is now.
    pub learn: bool,
    /// Another network namespace is looked at: what was learned is not about it.
    pub elsewhere: bool,
}

/// A port that is learned on every host.
pub fn is_mail_port(port: u16) -> bool {
    MAIL_PORTS.contains(&port)
}

impl Now {
    /// The connections of mail's ports and of those in `ports`, and what states there are.
    pub fn of(sockets: &Sockets, ports: &[u16]) -> Self {
        let bears_on_mail = |port: &u16| MAIL_PORTS.contains(port) || ports.contains(port);
        let mut now = Now::default();
        for (port, load) in sockets.services.iter().filter(|(port, _)| bears_on_mail(port)) {
            now.services.insert(*port, load.established.saturating_add(load.waiting));
            now.networks.insert(*port, load.networks.first().map_or(0, |network| network.count));
        }
        let count = |count: &u64| u32::try_from(*count).unwrap_or(u32::MAX);
        now.states = sockets.states.iter().map(|(state, number)| (state.clone(), count(number))).collect();
        now
    }
}

/// What was learned before, beside what is now; then counts what is now.
///
/// `Absent`: nothing is kept for this namespace. A file that is not ours or is damaged is `Unknown`, and is left alone.
pub fn compare(place: &Place, now: &Now) -> Seen<Baseline> {
    if place.elsewhere || is_other_namespace() {
        return Seen::Absent;
    }
    let Some(path) = &place.directory else {
        return Seen::not_attempted("this user has no directory for state (HOME and XDG_STATE_HOME are not set)");
    };
    match compared(place, path, now) {
        Ok(baseline) => Seen::Value(baseline),
        Err(blind) => Seen::Unknown(blind),
    }
}

fn compared(place: &Place, path: &std::path::Path, now: &Now) -> Result<Baseline, Blind> {
    let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
    let name = read::shown(&file::path(path));
    let opened = Directory::open(path, false)?;
    let mut state = match opened.as_ref().map(Directory::read).transpose()?.flatten() {
        Some(bytes) => State::parse(&bytes, &name)?,
        None => State::default(),
    };
    let mut baseline = state.compare(minute, now, &name);
    if !place.learn {
        return Ok(baseline);
    }
    baseline.counted = match count(opened, path, &mut state, minute, now) {
        Ok(counted) => Seen::Value(counted),
        Err(blind) => Seen::Unknown(blind),
    };
    Ok(baseline)
}

fn count(
    opened: Option<Directory>,
    path: &std::path::Path,
    state: &mut State,
    minute: u64,
    now: &Now,
) -> Result<bool, Blind> {
    if !state.learn(minute, now) {
        return Ok(false);
    }
    let directory = match opened {
        Some(directory) => Some(directory),
        None => Directory::open(path, true)?,
    };
    match directory {
        Some(directory) => directory.write(&state.bytes()),
        None => Ok(false),
    }
}

/// Entered by `ip netns exec` or the like: the file system is the host's, the sockets are not.
fn is_other_namespace() -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    // Without root, process 1's is not told: then it is taken for the same.
    matches!((of("1"), of("thread-self")), (Ok(first), Ok(own)) if first != own)
}
