//! What occurs most, where there is more than can be kept (after Misra and Gries, 1982; Agarwal and others, 2012, for merging).

use std::collections::HashMap;

use super::{NotASketch, head, put, take, take_exactly};
use crate::cut::{NAME_BYTES_MAX, kept};

const KIND: u64 = 4;
/// Names with their counts, at most `room` of them. A count is never too high, and too low by at most [`Heavy::error`].
#[derive(Debug, Clone)]
pub struct Heavy {
    room: usize,
    counts: HashMap<Box<[u8]>, u64>,
    error: u64,
}

impl PartialEq for Heavy {
    fn eq(&self, other: &Heavy) -> bool {
        self.room == other.room && self.error == other.error && self.counts == other.counts
    }
}

impl Heavy {
    /// Keeps the `room` most frequent, and twice as many in between.
    pub fn new(room: usize) -> Heavy {
        Heavy { room: room.max(1), counts: HashMap::new(), error: 0 }
    }

    pub fn add(&mut self, name: &[u8], count: u64) {
        let name = kept(name);
        if let Some(own) = self.counts.get_mut(name) {
            *own = own.saturating_add(count);
            return;
        }
        self.counts.insert(name.into(), count);
        self.shrink();
    }

    /// How much a count may be too low, and what a name that is missing had at most. Nought as long as all found room.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// When twice the room is taken, every count is lowered by that of the first one beyond the room, and those that reach
    /// nought leave: each time as many counts go as are lowered, so the error stays under total ÷ room.
    fn shrink(&mut self) {
        if self.counts.len() <= 2 * self.room {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let cut = counts[self.room];
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(cut);
            *count > 0
        });
        self.error = self.error.saturating_add(cut);
    }

    pub fn merge(&mut self, other: &Heavy) {
        for (name, count) in &other.counts {
            let own = self.counts.entry(name.clone()).or_default();
            *own = own.saturating_add(*count);
        }
        self.error = self.error.saturating_add(other.error);
        self.shrink();
    }

    /// The most frequent, by count and then by name.
    pub fn top(&self, number: usize) -> Vec<(&[u8], u64)> {
        let mut rows: Vec<(&[u8], u64)> = self.counts.iter().map(|(name, count)| (&**name, *count)).collect();
        rows.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        rows.truncate(number);
        rows
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [KIND, super::VERSION, self.room as u64, self.error, self.counts.len() as u64] {
            put(&mut out, number);
        }
        for (name, count) in self.top(usize::MAX) {
            put(&mut out, name.len() as u64);
            out.extend_from_slice(name);
            put(&mut out, count);
        }
        out
    }

    /// # Errors
    /// What [`Heavy::to_bytes`] did not write.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Heavy, NotASketch> {
        head(&mut bytes, KIND)?;
        let (room, error, rows) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
        let room = usize::try_from(room).ok().filter(|room| (1..1 << 24).contains(room)).ok_or(NotASketch)?;
        if rows > bytes.len() as u64 || rows > 2 * room as u64 {
            return Err(NotASketch);
        }
        let mut read = Heavy { room, counts: HashMap::new(), error };
        for _ in 0..rows {
            let length = take(&mut bytes)?;
            let name = take_exactly(&mut bytes, length)?;
            let count = take(&mut bytes)?;
            if name.len() > NAME_BYTES_MAX || read.counts.insert(name.into(), count).is_some() {
                return Err(NotASketch);
            }
        }
        bytes.is_empty().then_some(read).ok_or(NotASketch)
    }
}
