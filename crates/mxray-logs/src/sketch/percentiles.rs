//! Percentiles of durations in buckets that grow by two per cent, so that any of them is right to one per cent of itself.

use super::{NotASketch, head, put, take};

const KIND: u64 = 2;
/// Ratio of two buckets: the middle of one is at most one per cent from either end.
const RATIO: f64 = 1.02;
/// Up to 292,000 years in microseconds.
const BUCKETS_MAX: usize = 2_300;

/// A distribution of durations in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Percentiles {
    /// Without the empty ones at the end.
    buckets: Vec<u64>,
    count: u64,
}

impl Percentiles {
    pub fn add(&mut self, micros: i64) {
        let bucket = bucket_of(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that `share` of all (0 to 1) do not exceed, in microseconds; `None` of nothing.
    pub fn at(&self, share: f64) -> Option<i64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen = u64::saturating_add(seen, *count);
            if seen >= rank {
                return Some(middle_of(bucket));
            }
        }
        None
    }

    pub fn merge(&mut self, other: &Percentiles) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = own.saturating_add(*other);
        }
        self.count = self.count.saturating_add(other.count);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, KIND);
        put(&mut out, super::VERSION);
        let mut empty = 0;
        for count in &self.buckets {
            if *count == 0 {
                empty += 1;
            } else {
                put(&mut out, empty);
                put(&mut out, *count);
                empty = 0;
            }
        }
        out
    }

    /// # Errors
    /// What [`Percentiles::to_bytes`] did not write.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Percentiles, NotASketch> {
        head(&mut bytes, KIND)?;
        let mut read = Percentiles::default();
        while !bytes.is_empty() {
            let empty = usize::try_from(take(&mut bytes)?).map_err(|_| NotASketch)?;
            let count = take(&mut bytes)?;
            if empty > BUCKETS_MAX - read.buckets.len().min(BUCKETS_MAX)
                || read.buckets.len() >= BUCKETS_MAX
                || count == 0
            {
                return Err(NotASketch);
            }
            read.buckets.resize(read.buckets.len() + empty, 0);
            read.buckets.push(count);
            read.count = read.count.checked_add(count).ok_or(NotASketch)?;
        }
        Ok(read)
    }
}

/// Nought is a bucket of its own.
fn bucket_of(micros: i64) -> usize {
    if micros < 1 {
        return 0;
    }
    ((micros as f64).ln() / RATIO.ln()) as usize + 1
}

fn middle_of(bucket: usize) -> i64 {
    if bucket == 0 {
        return 0;
    }
    RATIO.powf(bucket as f64 - 0.5).round() as i64
}
