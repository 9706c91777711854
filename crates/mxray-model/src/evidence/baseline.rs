//! What is usual on this host, as far as mxray has learned it, beside what is now.
//!
//! Rules know no clock: the hour that was compared with stands here. The file and its arithmetic are `mxray-host`'s.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was learned before this examination, for this hour of the day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Baseline {
    /// Where it is kept.
    pub file: String,
    /// The hour of the day (UTC) that was compared with, together with the one before and the one after.
    pub hour: u8,
    /// Samples that were ever counted, at most one a minute, and on how many days.
    pub samples: u32,
    pub days: u32,
    /// Inbound connections, accepted or waiting, by local port.
    pub services: BTreeMap<u16, Usual>,
    /// Of these, how many the fullest network (/24, /64) holds.
    pub networks: BTreeMap<u16, Usual>,
    /// TCP sockets by state.
    pub states: BTreeMap<String, Usual>,
    /// Was what is now counted as a sample? `false`: this minute was, already. `Absent`: learning is switched off.
    pub counted: Seen<bool>,
}

/// One number: now, and as it usually is at this hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Usual {
    pub now: u32,
    /// Half of the samples were not above this, and 95 of 100 not above `p95`; both are up to 41 % too high, never too low.
    pub median: u32,
    pub p95: u32,
    /// The highest ever.
    pub max: u32,
    /// What was reached on at least three days before today: a weekly newsletter, a nightly run.
    pub recurring: u32,
    /// Samples of this hour, and on how many days.
    pub samples: u32,
    pub days: u32,
}

impl Usual {
    /// With fewer samples the upper twentieth is one of them, or none.
    pub const SAMPLES_MIN: u32 = 20;
    /// One day is no habit.
    pub const DAYS_MIN: u32 = 3;
    /// Fewer connections beyond the usual are not worth a word, whatever their share: a small host goes from 2 to 20 when
    /// one list is delivered.
    pub const EXCESS_MIN: u32 = 50;
    /// Times the usual upper limit. Mail's load doubles at month's end and after an outage.
    pub const TIMES_MIN: u32 = 3;

    /// Enough was learned to say what is usual.
    pub fn is_learned(&self) -> bool {
        self.samples >= Self::SAMPLES_MIN && self.days >= Self::DAYS_MIN
    }

    /// Far above what was learned, and half again above what was reached on three days.
    pub fn is_spike(&self) -> bool {
        self.is_learned()
            && self.now >= self.p95.saturating_add(Self::EXCESS_MIN)
            && self.now >= self.p95.saturating_mul(Self::TIMES_MIN)
            && self.now >= self.recurring.saturating_add(self.recurring / 2)
    }

    /// `12 samples of 20, on 1 of 3 days`
    pub fn learned_so_far(&self) -> String {
        format!("{} samples of {}, on {} of {} days", self.samples, Self::SAMPLES_MIN, self.days, Self::DAYS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_far_above_what_was_learned_and_what_comes_again() {
        let usual = Usual { now: 150, median: 10, p95: 30, max: 60, recurring: 40, samples: 60, days: 5 };
        assert!(usual.is_spike());
        assert!(!Usual { now: 79, ..usual }.is_spike());
        assert!(!Usual { p95: 51, ..usual }.is_spike());
        assert!(!Usual { recurring: 120, ..usual }.is_spike());
        assert!(!Usual { samples: 19, ..usual }.is_spike() && !Usual { days: 2, ..usual }.is_spike());
        assert!(Usual { now: u32::MAX, p95: u32::MAX / 4, recurring: 7, ..usual }.is_spike());
    }
}
