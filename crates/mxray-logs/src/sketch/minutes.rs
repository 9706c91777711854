//! Counts for each minute, and for longer steps where there are too many minutes.

use std::collections::BTreeMap;

use super::{NotASketch, head, put, take, unzigzag, zigzag};

const KIND: u64 = 1;
/// Ten weeks of minutes. More, and the step becomes an hour, then a day.
const STEPS_MAX: usize = 100_000;
const STEPS: [i64; 3] = [1, 60, 1440];

/// Several counts over time, exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minutes<const COUNTS: usize> {
    /// Index into [`STEPS`].
    step: usize,
    counts: BTreeMap<i64, [u64; COUNTS]>,
    /// The steps that were counted last, by their lowest bits: lines come nearly in order.
    lately: Vec<Option<(i64, [u64; COUNTS])>>,
}

const LATELY: i64 = 64;

impl<const COUNTS: usize> Default for Minutes<COUNTS> {
    fn default() -> Self {
        Minutes { step: 0, counts: BTreeMap::new(), lately: Vec::new() }
    }
}

impl<const COUNTS: usize> Minutes<COUNTS> {
    /// Counts one of kind `which` in a minute since 1970.
    pub fn add(&mut self, minute: i64, which: usize, count: u64) {
        let key = minute.div_euclid(STEPS[self.step]);
        self.lately.resize(LATELY as usize, None);
        let Some(slot) = self.lately.get_mut(key.rem_euclid(LATELY) as usize) else { return };
        let settled = slot.take_if(|(known, _)| *known != key);
        let (_, counts) = slot.get_or_insert((key, [0; COUNTS]));
        if let Some(own) = counts.get_mut(which) {
            *own = own.saturating_add(count);
        }
        if let Some((key, counts)) = settled {
            self.put_in(key, &counts);
            if self.counts.len() > STEPS_MAX {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        for (key, counts) in std::mem::take(&mut self.lately).into_iter().flatten() {
            self.put_in(key, &counts);
        }
        while self.counts.len() > STEPS_MAX && self.step + 1 < STEPS.len() {
            self.coarsen();
        }
    }

    fn put_in(&mut self, key: i64, counts: &[u64; COUNTS]) {
        let own = self.counts.entry(key).or_insert([0; COUNTS]);
        own.iter_mut().zip(counts).for_each(|(own, count)| *own = own.saturating_add(*count));
    }

    fn coarsen(&mut self) {
        let ratio = STEPS[self.step + 1] / STEPS[self.step];
        self.step += 1;
        for (key, counts) in std::mem::take(&mut self.counts) {
            self.put_in(key.div_euclid(ratio), &counts);
        }
    }

    /// Minutes of one step: 1, 60 or 1,440.
    pub fn step_minutes(&self) -> i64 {
        STEPS[self.step]
    }

    /// First minute and counts of each step that has any, in order.
    pub fn rows(&self) -> Vec<(i64, [u64; COUNTS])> {
        let mut whole = self.clone();
        whole.settle();
        whole.counts.iter().map(|(key, counts)| (key.saturating_mul(STEPS[whole.step]), *counts)).collect()
    }

    pub fn merge(&mut self, other: &Minutes<COUNTS>) {
        self.settle();
        let mut other = other.clone();
        other.settle();
        while other.step < self.step {
            other.coarsen();
        }
        while self.step < other.step {
            self.coarsen();
        }
        for (key, counts) in &other.counts {
            self.put_in(*key, counts);
        }
        while self.counts.len() > STEPS_MAX && self.step + 1 < STEPS.len() {
            self.coarsen();
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut whole = self.clone();
        whole.settle();
        let mut out = Vec::new();
        for number in [KIND, super::VERSION, COUNTS as u64, whole.step as u64, whole.counts.len() as u64] {
            put(&mut out, number);
        }
        let mut before = 0;
        for (key, counts) in &whole.counts {
            put(&mut out, zigzag(key.wrapping_sub(before)));
            before = *key;
            counts.iter().for_each(|count| put(&mut out, *count));
        }
        out
    }

    /// # Errors
    /// What [`Minutes::to_bytes`] did not write.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, NotASketch> {
        head(&mut bytes, KIND)?;
        let (kinds, step, rows) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
        let step = usize::try_from(step).ok().filter(|step| *step < STEPS.len()).ok_or(NotASketch)?;
        if kinds != COUNTS as u64 || rows > bytes.len() as u64 {
            return Err(NotASketch);
        }
        let mut read = Minutes { step, ..Minutes::default() };
        let mut key = 0i64;
        for _ in 0..rows {
            key = key.wrapping_add(unzigzag(take(&mut bytes)?));
            let mut counts = [0; COUNTS];
            for count in &mut counts {
                *count = take(&mut bytes)?;
            }
            read.counts.insert(key, counts);
        }
        bytes.is_empty().then_some(read).ok_or(NotASketch)
    }
}
