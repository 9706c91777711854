//! What is usual on this host: learned run by run, kept in one small file, compared with what is now.
//!
//! `usual`, `rates` and `state` are arithmetic and know no clock; `file` is the only code of mxray that writes on the machine which
//! it examines, here and for the runs that are kept (`crate::runs`). What must not live here: what a difference means (`mxray-rules`).

pub(crate) mod file;
mod rates;
mod state;
mod usual;

pub use rates::{RATES, RETRANSMITTED, UsualRate, UsualRates, Window};
pub use state::Now;

use crate::read;
use file::Directory;
use mxray_model::evidence::{Baseline, Sockets};
use mxray_model::{Blind, Seen};
use state::State;
use std::path::{Path, PathBuf};
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
    with_state(place, |opened, path, name, minute| {
        let mut state = opened.as_ref().map_or_else(|| Ok(State::default()), |directory| kept(directory, name))?;
        let mut baseline = state.compare(minute, now, name);
        if place.learn {
            let is_new = state.learn(minute, now);
            baseline.counted = written(opened, path, &state, is_new);
        }
        Ok(baseline)
    })
}

/// The same for the rates of counters within a window. A window that means nothing is not counted, and what is usual is
/// told all the same.
pub fn compare_rates(place: &Place, window: &Window) -> Seen<UsualRates> {
    with_state(place, |opened, path, name, minute| {
        let mut state = opened.as_ref().map_or_else(|| Ok(State::default()), |directory| kept(directory, name))?;
        let mut usual = state.rates().compare(minute, window, name);
        if place.learn && window.means_something() {
            let is_new = state.rates_mut().learn(minute, window);
            usual.counted = written(opened, path, &state, is_new);
        }
        Ok(usual)
    })
}

/// Opens the place, and tells the file's name and the minute.
fn with_state<T>(place: &Place, look: impl FnOnce(Option<Directory>, &Path, &str, u64) -> Result<T, Blind>) -> Seen<T> {
    if place.elsewhere || is_other_namespace() {
        return Seen::Absent;
    }
    let Some(path) = &place.directory else {
        return Seen::not_attempted("this user has no directory for state (HOME and XDG_STATE_HOME are not set)");
    };
    let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
    let name = read::shown(&file::path(path));
    match Directory::open(path, false).and_then(|opened| look(opened, path, &name, minute)) {
        Ok(value) => Seen::Value(value),
        Err(blind) => Seen::Unknown(blind),
    }
}

fn kept(directory: &Directory, name: &str) -> Result<State, Blind> {
    directory.read()?.map_or_else(|| Ok(State::default()), |bytes| State::parse(&bytes, name))
}

fn written(opened: Option<Directory>, path: &Path, state: &State, is_new: bool) -> Seen<bool> {
    if !is_new {
        return Seen::Value(false);
    }
    let opened = opened.map_or_else(|| Directory::open(path, true), |directory| Ok(Some(directory)));
    let written = opened.and_then(|directory| directory.map_or(Ok(false), |directory| directory.write(&state.bytes())));
    match written {
        Ok(counted) => Seen::Value(counted),
        Err(blind) => Seen::Unknown(blind),
    }
}

/// Entered by `ip netns exec` or the like: the file system is the host's, the sockets are not.
pub(crate) fn is_other_namespace() -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    // Without root, process 1's is not told: then it is taken for the same.
    matches!((of("1"), of("thread-self")), (Ok(first), Ok(own)) if first != own)
}
