//! Ctrl-C and SIGTERM end the reading, not the answer: what is known then is printed. The second one ends everything.
//!
//! What must not live here: what is printed.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell says of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Set when somebody wants the end. To be called before other threads begin: they inherit what is blocked.
pub fn on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    let told = Arc::clone(&stop);
    let watch = move |signals: SignalFd| {
        while let Ok(Some(_)) = signals.read_signal() {
            if told.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        }
    };
    // Where signals cannot be read they do what they always do.
    if let Ok(signals) = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)
        && set.thread_block().is_ok()
        && std::thread::Builder::new().name("signals".to_owned()).spawn(move || watch(signals)).is_err()
    {
        let _ = set.thread_unblock();
    }
    stop
}
