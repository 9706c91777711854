//! The rates of the kernel's counters that are learned, and what is usual of them. Pure: minutes and windows are numbers.
//!
//! A rate is kept in thousandths of an event per second, the share of segments sent again in hundredths of a per cent: the
//! buckets are for whole numbers, and a mail server's losses are below one. What must not live here: which group a counter
//! belongs to, and what it means that it rises (`mxray counters`).

use super::state::{self, are_sound, around, is_due};
use super::usual::Slot;
use mxray_model::Seen;
use mxray_model::evidence::Usual;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a mail server's admin compares with yesterday; the others of their groups move along with these.
pub const RATES: [&str; 15] = [
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.SyncookiesSent",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPSynRetrans",
    "Tcp.AttemptFails",
    RETRANSMITTED,
    "TcpExt.TCPTimeouts",
    "Tcp.EstabResets",
    "Tcp.OutRsts",
    "TcpExt.TCPAbortOnTimeout",
    "TcpExt.PruneCalled",
    "TcpExt.TCPBacklogDrop",
    "Ip.OutNoRoutes",
    "Udp.RcvbufErrors",
];
/// Its share of all segments sent is learned beside its rate.
pub const RETRANSMITTED: &str = "Tcp.RetransSegs";
const SHARE: &str = "share/Tcp.RetransSegs";

/// In less than a second nearly every counter stands still or moves by one, and says nothing of a rate.
const WINDOW_MS_MIN: u64 = 1000;
/// What is longer is the mean of several hours of the day, and belongs to none.
const WINDOW_MS_MAX: u64 = 3_600_000;
/// Of fewer segments, one that is sent again is a per cent or more.
const SEGMENTS_MIN: u64 = 100;
/// An event per second is 1000, a share of 100 % is 10,000.
const PER_EVENT: f64 = 1000.0;
const PER_PERCENT: f64 = 100.0;

/// How much counters rose within a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    pub ms: u64,
    /// By the kernel's name with its table; what is not known is not there.
    pub amounts: BTreeMap<String, u64>,
    /// `Tcp.OutSegs`, of which the retransmitted are a share.
    pub segments_out: Option<u64>,
}

impl Window {
    /// Between two readings of all counters. What went backwards is not known.
    pub fn between(first: &BTreeMap<String, u64>, last: &BTreeMap<String, u64>, ms: u64) -> Self {
        let rise = |name: &str| last.get(name)?.checked_sub(*first.get(name)?);
        let amounts = RATES.iter().filter_map(|name| Some(((*name).to_owned(), rise(name)?))).collect();
        Window { ms, amounts, segments_out: rise("Tcp.OutSegs") }
    }

    /// Long enough for a rate, and within one hour of the day.
    pub fn means_something(&self) -> bool {
        (WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&self.ms)
    }

    /// What is counted, by name.
    fn numbers(&self) -> BTreeMap<String, u32> {
        let seconds = self.ms as f64 / 1000.0;
        // Saturates at four million a second.
        let rate = |amount: u64| (amount as f64 / seconds * PER_EVENT).round() as u32;
        let known = self.amounts.iter().filter(|(name, _)| RATES.contains(&name.as_str()));
        let mut numbers: BTreeMap<String, u32> = known.map(|(name, amount)| (name.clone(), rate(*amount))).collect();
        if let (Some(again), Some(all)) = (self.amounts.get(RETRANSMITTED), self.segments_out)
            && all >= SEGMENTS_MIN
        {
            let share = *again as f64 * 100.0 / all as f64;
            numbers.insert(SHARE.to_owned(), (share * PER_PERCENT).round() as u32);
        }
        numbers
    }
}

/// Everything that was learned of rates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Since 1970, of the last window.
    minute: u64,
    samples: u32,
    days: u32,
    /// By the counter's name, then by hour of the day (UTC).
    numbers: BTreeMap<String, BTreeMap<u8, Slot>>,
}

/// What is usual of rates at this hour.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UsualRates {
    pub file: String,
    /// Windows that were ever counted, and on how many days.
    pub samples: u32,
    pub days: u32,
    /// By the counter's name; only of what was learned.
    pub per_second: BTreeMap<String, UsualRate>,
    /// In per cent of all segments sent.
    pub retransmitted_percent: Option<UsualRate>,
    /// As in [`mxray_model::evidence::Baseline`].
    pub counted: Seen<bool>,
}

/// One rate or share, as it usually is. `median` and `p95` are up to 41 % too high, never too low.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct UsualRate {
    pub median: f64,
    pub p95: f64,
    pub max: f64,
    pub samples: u32,
    pub days: u32,
    /// Enough to say what is usual.
    pub is_learned: bool,
}

impl UsualRate {
    fn of(usual: Usual, unit: f64) -> Option<Self> {
        (usual.samples > 0).then(|| UsualRate {
            median: f64::from(usual.median) / unit,
            p95: f64::from(usual.p95) / unit,
            max: f64::from(usual.max) / unit,
            samples: usual.samples,
            days: usual.days,
            is_learned: usual.is_learned(),
        })
    }
}

impl Rates {
    /// Counts a window as a sample. False: this minute was counted already.
    pub fn learn(&mut self, minute: u64, window: &Window) -> bool {
        if !window.means_something() || !is_due(self.samples, self.minute, minute) {
            return false;
        }
        let (day, hour) = (state::day(minute), state::hour(minute));
        if self.samples == 0 || day != state::day(self.minute) {
            self.days = self.days.saturating_add(1);
        }
        self.samples = self.samples.saturating_add(1);
        self.minute = minute;
        for (name, value) in window.numbers() {
            self.numbers.entry(name).or_default().entry(hour).or_default().learn(day, value);
        }
        true
    }

    /// What is usual at this hour (with the one before and the one after).
    pub fn compare(&self, minute: u64, window: &Window, file: &str) -> UsualRates {
        let now = window.numbers();
        let usual = |name: &str, unit: f64| {
            let slot = around(self.numbers.get(name), state::hour(minute));
            UsualRate::of(slot.usual(state::day(minute), now.get(name).copied().unwrap_or(0)), unit)
        };
        let per_second = RATES.iter().filter_map(|name| Some(((*name).to_owned(), usual(name, PER_EVENT)?)));
        UsualRates {
            file: file.to_owned(),
            samples: self.samples,
            days: self.days,
            per_second: per_second.collect(),
            retransmitted_percent: usual(SHARE, PER_PERCENT),
            counted: Seen::Absent,
        }
    }

    /// A file says anything: only what [`Rates::learn`] could have made is used.
    pub fn is_sound(&self) -> bool {
        let is_known = |name: &String| name == SHARE || RATES.contains(&name.as_str());
        self.numbers.keys().all(is_known) && are_sound(&self.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60;

    fn window(ms: u64, retransmitted: u64, segments: u64) -> Window {
        let first = [("Tcp.RetransSegs", 5), ("Tcp.OutSegs", 100), ("Tcp.OutRsts", 9)];
        let last = [("Tcp.RetransSegs", 5 + retransmitted), ("Tcp.OutSegs", 100 + segments), ("Tcp.OutRsts", 3)];
        let owned = |pairs: [(&str, u64); 3]| pairs.map(|(name, value)| (name.to_owned(), value)).into();
        Window::between(&owned(first), &owned(last), ms)
    }

    #[test]
    fn rates_and_the_share_are_learned_and_what_is_not_known_is_not() {
        let mut rates = Rates::default();
        for day in 0..3 {
            for minute in 0..10 {
                assert!(rates.learn(day * DAY + minute, &window(2000, 1, 200)));
            }
        }
        let usual = rates.compare(3 * DAY, &window(2000, 1, 200), "f");
        let rate = usual.per_second[RETRANSMITTED];
        // Half an event per second, half a per cent of the segments.
        assert_eq!((rate.median, rate.samples, rate.days, rate.is_learned), (0.5, 30, 3, true));
        assert_eq!(usual.retransmitted_percent.unwrap().p95, 0.5);
        // It went backwards each time.
        assert!(!usual.per_second.contains_key("Tcp.OutRsts"));
        assert!(rates.compare(3 * DAY + 12 * 60, &Window::default(), "f").per_second.is_empty());
    }

    #[test]
    fn a_window_that_says_nothing_is_not_counted() {
        let mut rates = Rates::default();
        assert!(!rates.learn(1, &window(300, 1, 200)) && !rates.learn(1, &window(7_200_000, 1, 200)));
        assert!(rates.learn(1, &window(1000, 1, 99)) && !rates.learn(1, &window(1000, 1, 99)));
        let usual = rates.compare(1, &Window::default(), "f");
        assert_eq!((usual.per_second.len(), usual.retransmitted_percent), (1, None));
    }

    #[test]
    fn foreign_names_are_refused() {
        let mut rates = Rates::default();
        rates.learn(1, &window(1000, 1, 200));
        assert!(rates.is_sound());
        rates.numbers.insert("service/25".to_owned(), BTreeMap::new());
        assert!(!rates.is_sound());
    }
}
