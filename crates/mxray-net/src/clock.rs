//! The clock of one session: wire machines know durations since the session began, the system knows instants.

use mxray_wire::Moment;
use std::time::{Duration, Instant};

/// When a session began, and when it has to be over.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    deadline: Instant,
    /// How long a TLS handshake may take; `None`: as long as there is time.
    handshake: Option<Duration>,
}

impl Clock {
    /// Begins now.
    pub fn start(deadline: Instant) -> Self {
        Clock { began: Instant::now(), deadline, handshake: None }
    }

    /// A long session does not wait long for a handshake.
    #[must_use]
    pub fn with_handshake_within(self, patience: Duration) -> Self {
        Clock { handshake: Some(patience), ..self }
    }

    /// Until when a handshake that begins now is waited for.
    pub fn handshake_until(&self) -> Instant {
        self.handshake.map_or(self.deadline, |patience| self.instant(self.now() + patience))
    }

    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// The instant of a machine's moment; never later than the session's deadline.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.began.checked_add(moment).unwrap_or(self.deadline).min(self.deadline)
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is left until a moment, as poll(2) takes it.
pub(crate) fn timeout(until: Instant) -> rustix::event::Timespec {
    let left = until.saturating_duration_since(Instant::now());
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    rustix::event::Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() }
}
