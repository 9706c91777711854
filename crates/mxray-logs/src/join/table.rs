//! Sums by name, with a bound on the names: what is rare goes into a row for the others.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cut::kept;

/// Sums that can be put together, and have a weight.
pub trait Row: Default + Clone {
    fn merge(&mut self, other: &Self);
    fn weight(&self) -> u64;
}

/// Rows by name. The first row is for all that had to leave.
#[derive(Debug, Clone)]
pub struct Table<R> {
    index: HashMap<Arc<[u8]>, u32, foldhash::fast::RandomState>,
    /// Each with its name, which the index shares.
    rows: Vec<(Arc<[u8]>, R)>,
    room: usize,
    /// Names that were moved into the first row.
    pub moved: u64,
}

/// The row for the others.
pub const OTHERS: u32 = 0;

impl<R: Row> Table<R> {
    pub fn new(room: usize) -> Table<R> {
        Table { index: HashMap::default(), rows: vec![(Arc::default(), R::default())], room: room.max(2), moved: 0 }
    }

    /// The number of a name; numbers hold until [`Table::prune`].
    pub fn number(&mut self, name: &[u8]) -> u32 {
        let name = kept(name);
        if let Some(number) = self.index.get(name) {
            return *number;
        }
        let number = u32::try_from(self.rows.len()).unwrap_or(OTHERS);
        let name: Arc<[u8]> = name.into();
        self.index.insert(Arc::clone(&name), number);
        self.rows.push((name, R::default()));
        number
    }

    pub fn row(&mut self, number: u32) -> &mut R {
        let at = if (number as usize) < self.rows.len() { number as usize } else { OTHERS as usize };
        &mut self.rows[at].1
    }

    pub fn get(&self, number: u32) -> Option<&R> {
        self.rows.get(number as usize).map(|(_, row)| row)
    }

    pub fn named(&mut self, name: &[u8]) -> &mut R {
        let number = self.number(name);
        self.row(number)
    }

    pub fn name(&self, number: u32) -> &[u8] {
        self.rows.get(number as usize).map_or(&[], |(name, _)| name)
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() > self.room
    }

    /// Keeps the heavier half. Gives the new number of each old one.
    pub fn prune(&mut self) -> Vec<u32> {
        let mut order: Vec<usize> = (1..self.rows.len()).collect();
        // By weight, then by name: the same log gives the same rows.
        order.sort_by(|one, other| {
            let (one, other) = (&self.rows[*one], &self.rows[*other]);
            other.1.weight().cmp(&one.1.weight()).then_with(|| one.0.cmp(&other.0))
        });
        let mut moved = vec![OTHERS; self.rows.len()];
        let keep = order.len().min(self.room / 2);
        for (at, old) in order.iter().take(keep).enumerate() {
            moved[*old] = u32::try_from(at + 1).unwrap_or(OTHERS);
        }
        // In the order of their new numbers, each moved once.
        let mut rows: Vec<Option<(Arc<[u8]>, R)>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        let mut left: Vec<(Arc<[u8]>, R)> = Vec::with_capacity(rows.len());
        left.extend(rows.first_mut().and_then(Option::take));
        left.extend(order.iter().take(keep).filter_map(|old| rows.get_mut(*old)?.take()));
        for (name, row) in rows.into_iter().flatten() {
            self.index.remove(&*name);
            if let Some((_, others)) = left.first_mut() {
                others.merge(&row);
            }
            self.moved += 1;
        }
        self.rows = left;
        self.index.values_mut().for_each(|number| *number = moved.get(*number as usize).copied().unwrap_or(OTHERS));
        moved
    }

    /// All rows but the first, heaviest first.
    pub fn sorted(&self) -> Vec<(&[u8], &R)> {
        let mut rows: Vec<(&[u8], &R)> = self.rows.iter().skip(1).map(|(name, row)| (&**name, row)).collect();
        rows.sort_by(|one, other| other.1.weight().cmp(&one.1.weight()).then(one.0.cmp(other.0)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for u64 {
        fn merge(&mut self, other: &u64) {
            *self += other;
        }
        fn weight(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn what_is_rare_leaves_and_nothing_is_lost() {
        let mut table = Table::<u64>::new(8);
        for turn in 0..1000u32 {
            *table.named(b"heavy") += 1;
            *table.named(format!("name{turn}").as_bytes()) += 1;
            if table.is_full() {
                table.prune();
            }
        }
        assert!(table.sorted().len() <= 9);
        assert_eq!(table.sorted()[0], (&b"heavy"[..], &1000));
        let all: u64 = table.sorted().iter().map(|(_, row)| **row).sum();
        assert_eq!(all + *table.row(OTHERS), 2000);
    }
}
