//! What is usual, as arithmetic: one hour's samples of one number. Pure; days are numbers.
//!
//! Samples fall into buckets half an octave wide, whose weights fade by 2 % a day (half is gone after five weeks). What
//! stands far above the rest counts little: a flood of an hour has sixty samples, and must not be usual the hour after.

use mxray_model::evidence::Usual;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One sample's weight, in thousandths.
const WHOLE: u32 = 1000;
/// A sample that is a spike by what was learned so far.
const OF_SPIKE: u32 = WHOLE / 16;
/// All spikes of one day together, in thousandths of all weight: too little to move the upper twentieth for two days.
const SPIKES_A_DAY: u64 = 20;
/// Weight that is left after a day.
const KEPT_A_DAY: f64 = 0.98;
/// Daily maxima older than this are no habit any more.
const PEAK_DAYS_MAX: u32 = 60;
/// How many daily maxima before today are kept: the highest. The last of them was reached on so many days.
const PEAKS: usize = 3;
/// 2^31 falls into the last one.
const BUCKET_MAX: u8 = 64;

/// The samples of one hour of the day, over many days.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Weight by bucket.
    #[serde(rename = "w")]
    weights: BTreeMap<u8, u32>,
    /// Samples ever, and days with one.
    #[serde(rename = "n")]
    samples: u32,
    #[serde(rename = "d")]
    days: u32,
    /// The last day with a sample, and what weight its spikes have by now.
    #[serde(rename = "l")]
    last_day: u32,
    #[serde(rename = "s")]
    spikes_today: u32,
    /// Highest sample of a day: today's, and the highest of earlier ones.
    #[serde(rename = "p")]
    peaks: BTreeMap<u32, u32>,
    #[serde(rename = "m")]
    max: u32,
}

/// 0, 1, then two buckets for each doubling.
fn bucket(value: u32) -> u8 {
    let Some(exponent) = value.checked_ilog2() else { return 0 };
    let square = u64::from(value) * u64::from(value);
    let upper_half = square >= 1 << (2 * exponent + 1);
    // At most 2 * 31 + 1 + 1.
    (2 * exponent + u32::from(upper_half) + 1) as u8
}

/// The largest value that falls into a bucket.
fn upper(bucket: u8) -> u32 {
    let next = (1u128 << bucket).isqrt();
    let next = if next * next == 1u128 << bucket { next } else { next + 1 };
    u32::try_from(next.saturating_sub(1)).unwrap_or(u32::MAX)
}

impl Slot {
    /// Counts one sample. A day before the last one (the clock was set back) counts as that one.
    pub fn learn(&mut self, day: u32, value: u32) {
        let is_spike = self.usual(day, value).is_spike();
        let passed = day.saturating_sub(self.last_day);
        if self.samples == 0 || passed > 0 {
            self.fade(passed);
            self.days = self.days.saturating_add(1);
            self.last_day = day;
            self.spikes_today = 0;
        }
        let weight = if is_spike { self.weight_of_spike() } else { WHOLE };
        if weight > 0 {
            let held = self.weights.entry(bucket(value)).or_default();
            *held = held.saturating_add(weight);
        }
        self.samples = self.samples.saturating_add(1);
        self.max = self.max.max(value);
        let peak = self.peaks.entry(self.last_day).or_default();
        *peak = (*peak).max(value);
        self.forget_peaks();
    }

    fn weight_of_spike(&mut self) -> u32 {
        let most = u32::try_from(self.total() * SPIKES_A_DAY / u64::from(WHOLE)).unwrap_or(u32::MAX);
        let weight = OF_SPIKE.min(most.saturating_sub(self.spikes_today));
        self.spikes_today = self.spikes_today.saturating_add(weight);
        weight
    }

    fn fade(&mut self, days: u32) {
        let kept = KEPT_A_DAY.powi(i32::try_from(days).unwrap_or(i32::MAX));
        for weight in self.weights.values_mut() {
            // Between 0 and what it was.
            *weight = (f64::from(*weight) * kept) as u32;
        }
        self.weights.retain(|_, weight| *weight > 0);
    }

    fn forget_peaks(&mut self) {
        let today = self.last_day;
        self.peaks.retain(|day, _| today.saturating_sub(*day) <= PEAK_DAYS_MAX);
        while self.peaks.len() > PEAKS + 1 {
            let earlier = self.peaks.iter().filter(|(day, _)| **day != today);
            let Some((day, _)) = earlier.min_by_key(|(day, value)| (**value, **day)) else { return };
            let day = *day;
            self.peaks.remove(&day);
        }
    }

    fn total(&self) -> u64 {
        self.weights.values().map(|weight| u64::from(*weight)).sum()
    }

    /// The value that so many per cent of the weight are not above.
    fn quantile(&self, percent: u64) -> u32 {
        let wanted = self.total().saturating_mul(percent).div_ceil(100);
        let mut sum = 0;
        for (bucket, weight) in &self.weights {
            sum += u64::from(*weight);
            if sum >= wanted && sum > 0 {
                return upper(*bucket).min(self.max);
            }
        }
        0
    }

    /// Adds another hour's samples, for looking at both together.
    pub fn merge(&mut self, other: &Slot) {
        for (bucket, weight) in &other.weights {
            let held = self.weights.entry(*bucket).or_default();
            *held = held.saturating_add(*weight);
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.days = self.days.max(other.days);
        self.last_day = self.last_day.max(other.last_day);
        self.max = self.max.max(other.max);
        for (day, value) in &other.peaks {
            let held = self.peaks.entry(*day).or_default();
            *held = (*held).max(*value);
        }
    }

    /// What is usual, beside what is now. What was seen today is no habit yet.
    pub fn usual(&self, day: u32, now: u32) -> Usual {
        let mut peaks: Vec<u32> = self.peaks.iter().filter(|(peak, _)| **peak < day).map(|(_, value)| *value).collect();
        peaks.sort_unstable_by(|a, b| b.cmp(a));
        Usual {
            now,
            median: self.quantile(50),
            p95: self.quantile(95),
            max: self.max,
            recurring: peaks.get(PEAKS - 1).copied().unwrap_or(0),
            samples: self.samples,
            days: self.days,
        }
    }

    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// A file says anything: only what [`Slot::learn`] could have made is used.
    pub fn is_sound(&self) -> bool {
        self.weights.keys().all(|bucket| *bucket <= BUCKET_MAX) && self.peaks.len() <= PEAKS + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Twelve samples a day for some days.
    fn learned(days: u32, values: &[u32]) -> Slot {
        let mut slot = Slot::default();
        for day in 0..days {
            for value in values.iter().cycle().take(12) {
                slot.learn(day, *value);
            }
        }
        slot
    }

    #[test]
    fn a_flood_does_not_become_usual_within_two_days_and_a_habit_does() {
        let mut slot = learned(7, &[8, 10, 12, 20]);
        let quiet = slot.usual(7, 400);
        assert!(quiet.is_spike(), "{quiet:?}");
        for day in 7..9 {
            for _ in 0..60 {
                slot.learn(day, 400);
                assert!(slot.usual(day, 400).is_spike(), "day {day}: {:?}", slot.usual(day, 400));
            }
        }
        // It has come on three days: somebody sends a newsletter.
        slot.learn(9, 400);
        assert!(!slot.usual(10, 400).is_spike(), "{:?}", slot.usual(10, 400));
    }

    #[test]
    fn growth_is_learned() {
        let mut slot = learned(5, &[20]);
        for day in 5..60 {
            for _ in 0..12 {
                slot.learn(day, 45);
            }
        }
        let usual = slot.usual(60, 46);
        assert!((45..=64).contains(&usual.median), "{usual:?}");
        assert!(!usual.is_spike());
    }

    #[test]
    fn little_is_said_of_little() {
        let slot = learned(2, &[3]);
        assert!(!slot.usual(2, 1000).is_learned() && !slot.usual(2, 1000).is_spike());
        assert_eq!(Slot::default().usual(0, 7), Usual { now: 7, ..Usual::default() });
    }

    #[test]
    fn a_habit_of_another_hour_counts_when_both_are_looked_at() {
        let mut both = learned(5, &[10]);
        both.merge(&learned(5, &[500]));
        assert_eq!((both.usual(5, 500).recurring, both.usual(5, 500).days), (500, 5));
        assert!(!both.usual(5, 500).is_spike());
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value: u32) {
            let bucket = bucket(value);
            prop_assert!(bucket <= BUCKET_MAX);
            prop_assert!(upper(bucket) >= value);
            prop_assert!(bucket == 0 || upper(bucket - 1) < value);
            // Up to 41 % too high, and exact below 2.
            prop_assert!(f64::from(upper(bucket)) < f64::from(value) * 1.4143 + 1.0);
        }

        #[test]
        fn any_history_is_sound_and_ordered(samples in proptest::collection::vec((0u32..400, any::<u32>()), 0..300)) {
            let mut slot = Slot::default();
            for (day, value) in &samples {
                slot.learn(*day, *value);
            }
            prop_assert!(slot.is_sound());
            let usual = slot.usual(400, 0);
            prop_assert!(usual.median <= usual.p95 && usual.p95 <= usual.max && usual.recurring <= usual.max);
            prop_assert_eq!(usual.samples as usize, samples.len());
            let text = serde_json::to_string(&slot).unwrap();
            prop_assert_eq!(serde_json::from_str::<Slot>(&text).unwrap(), slot);
        }

        #[test]
        fn without_spikes_the_quantile_covers_its_share(values in proptest::collection::vec(0u32..100, 20..200)) {
            let mut slot = Slot::default();
            for value in &values {
                slot.learn(1, *value);
            }
            let p95 = slot.usual(1, 0).p95;
            let covered = values.iter().filter(|value| **value <= p95).count();
            prop_assert!(covered * 100 >= values.len() * 95);
        }
    }
}
