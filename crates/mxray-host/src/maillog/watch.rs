//! Waiting until something is new: a file grew or was replaced, or a thread rang.
//!
//! A watch of the kernel (inotify(7)) only wakes the one who waits; what became of a file is seen by looking at it
//! (`follow.rs`). So nothing is lost where a watch is missing or misses something (a file on another machine's disk, no watches
//! left, a name that is a link): then it is seen when the wait is over. What must not live here: what is new.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What wakes the one who waits.
#[derive(Debug, Default)]
pub struct Watch {
    kernel: Option<OwnedFd>,
    bell: Option<Arc<OwnedFd>>,
    /// The watch of each file, by its name.
    files: BTreeMap<PathBuf, i32>,
}

/// Rung by threads that read streams.
#[derive(Debug, Clone, Default)]
pub struct Bell(Option<Arc<OwnedFd>>);

impl Bell {
    pub fn ring(&self) {
        if let Some(bell) = &self.0 {
            // Full means that it has rung already.
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }
}

impl Watch {
    /// Watches the file that has this name now, and whether another one gets it. Call it again when another one has.
    pub fn file(&mut self, path: &Path) {
        if self.kernel.is_none() {
            self.kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        }
        let Some(kernel) = &self.kernel else { return };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let comes = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MASK_ADD;
        let _ = inotify::add_watch(kernel, parent, comes);
        let grows = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::MASK_ADD;
        let Ok(watch) = inotify::add_watch(kernel, path, grows) else { return };
        if let Some(before) = self.files.insert(path.to_owned(), watch)
            && before != watch
            && !self.files.values().any(|other| *other == before)
        {
            // Gone already where its file is.
            let _ = inotify::remove_watch(kernel, before);
        }
    }

    /// A bell that wakes too.
    pub fn bell(&mut self) -> Bell {
        if self.bell.is_none() {
            self.bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok().map(Arc::new);
        }
        Bell(self.bell.clone())
    }

    /// Waits until there may be something new, and no longer than this. False: nobody said so.
    pub fn wait(&self, at_most: Duration) -> bool {
        let sources: Vec<&OwnedFd> = self.kernel.iter().chain(self.bell.as_deref()).collect();
        if sources.is_empty() {
            std::thread::sleep(at_most);
            return false;
        }
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| PollFd::from_borrowed_fd(std::os::fd::AsFd::as_fd(source), PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        // Interrupted by a signal: the caller looks whether it means the end.
        let told = poll(&mut polled, Some(&timeout)).is_ok_and(|ready| ready > 0);
        if told {
            sources.into_iter().for_each(drained);
        }
        told
    }
}

/// Reads what was told: which of the files it was does not matter.
fn drained(source: &OwnedFd) {
    let mut room = [0; 4096];
    while rustix::io::read(source, &mut room).is_ok_and(|count| count == room.len()) {}
}
