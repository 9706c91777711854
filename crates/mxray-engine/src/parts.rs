//! Runs the parts of an examination side by side, each in its own thread, under one deadline.
//!
//! A part that panics, or that is not back in time, costs its own facts and nothing else: whoever waits for it gets the
//! reason as a [`Blind`], and how each part went is kept for LOOK010. A part that hangs in the kernel (a dead network
//! file system) is left behind; it ends with the process.

use mxray_model::Blind;
use mxray_model::evidence::{Part, PartOutcome};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Called with the names of the parts that are still awaited, and with none at the end.
pub type Progress<'a> = &'a dyn Fn(&BTreeSet<String>);

pub(crate) const THREAD_PREFIX: &str = "part:";
/// How often progress is told while a part is awaited.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Enough for reading files instead of asking a program that hangs.
const MARGIN_MAX: Duration = Duration::from_millis(500);

/// True in a thread whose panic becomes a finding: the program's panic hook stays silent there.
pub fn is_part_of_an_examination() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with(THREAD_PREFIX))
}

/// A part that was started and not yet collected.
pub struct Pending<T> {
    name: String,
    started: Instant,
    result: Receiver<Result<T, String>>,
}

/// The parts of one run.
pub struct Parts<'a> {
    deadline: Instant,
    budget: Duration,
    awaited: BTreeSet<String>,
    went: BTreeMap<String, Part>,
    progress: Progress<'a>,
}

impl<'a> Parts<'a> {
    pub fn new(budget: Duration, progress: Progress<'a>) -> Self {
        let deadline = Instant::now() + budget;
        Parts { deadline, budget, awaited: BTreeSet::new(), went: BTreeMap::new(), progress }
    }

    /// The moment until which a part may wait for something else and still have time to say that it did not come.
    pub fn margin(&self) -> Instant {
        self.deadline.checked_sub((self.budget / 5).min(MARGIN_MAX)).unwrap_or(self.deadline)
    }

    /// Starts a part.
    pub fn start<T: Send + 'static>(&mut self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (send, result) = channel();
        let spawned = thread::Builder::new().name(format!("{THREAD_PREFIX}{name}")).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic));
            // Nobody listens any more where the deadline came first.
            let _ = send.send(outcome);
        });
        if spawned.is_ok() {
            self.awaited.insert(name.to_owned());
        }
        Pending { name: name.to_owned(), started: Instant::now(), result }
    }

    /// Waits for a part, at most until the deadline.
    pub fn wait<T>(&mut self, pending: Pending<T>) -> Result<T, Blind> {
        let Pending { name, started, result } = pending;
        let outcome = loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match result.recv_timeout(left.min(PROGRESS_EVERY)) {
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => (self.progress)(&self.awaited),
                outcome => break outcome,
            }
        };
        self.awaited.remove(&name);
        let took_ms = millis(started.elapsed());
        let (value, outcome) = match outcome {
            Ok(Ok(value)) => (Ok(value), PartOutcome::Finished),
            Ok(Err(message)) => {
                let blind = Blind::Failed { step: format!("the part {name}"), error: message.clone() };
                (Err(blind), PartOutcome::Crashed { message })
            }
            Err(RecvTimeoutError::Timeout) => {
                let after_ms = millis(self.budget);
                (Err(Blind::TimedOut { what: format!("the part {name}"), after_ms }), PartOutcome::CutOff)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let message = "its thread could not be started".to_owned();
                let blind = Blind::Failed { step: format!("the part {name}"), error: message.clone() };
                (Err(blind), PartOutcome::Crashed { message })
            }
        };
        self.went.insert(name, Part { outcome, took_ms });
        value
    }

    /// Lets time pass until `moment`, but not beyond the deadline.
    pub fn rest_until(&self, moment: Instant) {
        thread::sleep(moment.min(self.deadline).saturating_duration_since(Instant::now()));
    }

    /// How each part went.
    pub fn finish(self) -> BTreeMap<String, Part> {
        (self.progress)(&BTreeSet::new());
        self.went
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    mxray_model::text::untrusted(text.unwrap_or("a panic without a message").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_panic_costs_its_own_part_only() {
        let mut parts = Parts::new(Duration::from_secs(30), &|_| {});
        let bad = parts.start("bad", || -> u32 { panic!("broken \x1b[2J table") });
        let good = parts.start("good", || 7);
        assert!(matches!(parts.wait(bad), Err(Blind::Failed { .. })));
        assert_eq!(parts.wait(good), Ok(7));
        let went = parts.finish();
        assert_eq!(went["bad"].outcome, PartOutcome::Crashed { message: "broken \\u{1b}[2J table".to_owned() });
        assert_eq!(went["good"].outcome, PartOutcome::Finished);
    }

    #[test]
    fn a_part_that_hangs_does_not_hold_the_others() {
        let (release, hang) = channel::<()>();
        let mut parts = Parts::new(Duration::from_millis(50), &|_| {});
        let hanging = parts.start("hanging", move || _ = hang.recv());
        let quick = parts.start("quick", || 1);
        assert!(matches!(parts.wait(hanging), Err(Blind::TimedOut { after_ms: 50, .. })));
        // The deadline is over, but what had come back before it is not lost.
        assert_eq!(parts.wait(quick), Ok(1));
        let went = parts.finish();
        assert_eq!(went["hanging"].outcome, PartOutcome::CutOff);
        drop(release);
    }
}
