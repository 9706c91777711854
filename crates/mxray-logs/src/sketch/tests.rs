//! Merged halves equal the whole, within the error that each sketch states.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn heavy(room: usize, names: &[u8]) -> Heavy {
    let mut heavy = Heavy::new(room);
    names.iter().for_each(|name| heavy.add(&[*name], 1));
    heavy
}

proptest! {
    #[test]
    fn minutes_of_halves_are_those_of_the_whole(rows in proptest::collection::vec((0i64..5000, 0usize..3, 1u64..9), 0..200), cut in 0usize..200) {
        let sum = |rows: &[(i64, usize, u64)]| {
            let mut minutes = Minutes::<3>::default();
            rows.iter().for_each(|(minute, which, count)| minutes.add(*minute, *which, *count));
            minutes
        };
        let (left, right) = rows.split_at(cut.min(rows.len()));
        let (mut left, right, whole) = (sum(left), sum(right), sum(&rows));
        left.merge(&right);
        prop_assert_eq!(left.rows(), whole.rows());
        prop_assert_eq!(Minutes::<3>::from_bytes(&whole.to_bytes()).map(|read| read.rows()), Ok(whole.rows()));
    }

    #[test]
    fn percentiles_of_halves_are_those_of_the_whole(values in proptest::collection::vec(0i64..10_000_000_000, 1..300), cut in 0usize..300) {
        let sum = |values: &[i64]| {
            let mut sum = Percentiles::default();
            values.iter().for_each(|value| sum.add(*value));
            sum
        };
        let (left, right) = values.split_at(cut.min(values.len()));
        let (mut left, right, whole) = (sum(left), sum(right), sum(&values));
        left.merge(&right);
        prop_assert_eq!(&left, &whole);
        prop_assert_eq!(Percentiles::from_bytes(&whole.to_bytes()), Ok(whole.clone()));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        for share in [0.5, 0.95, 1.0] {
            let exact = sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1];
            let found = whole.at(share).unwrap();
            let error = exact.abs_diff(found) as f64;
            // One per cent, and half a microsecond for rounding.
            prop_assert!(error <= exact as f64 * 0.0101 + 1.0, "{} for {}", found, exact);
        }
    }

    #[test]
    fn distinct_of_halves_is_that_of_the_whole(left in proptest::collection::vec(0u32..1000, 0..300), right in proptest::collection::vec(0u32..1000, 0..300)) {
        let sum = |things: &[u32]| {
            let mut sum = Distinct::default();
            things.iter().for_each(|thing| sum.add(&thing.to_be_bytes()));
            sum
        };
        let mut merged = sum(&left);
        merged.merge(&sum(&right));
        let whole = sum(&[left.clone(), right.clone()].concat());
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(Distinct::from_bytes(&whole.to_bytes()), Ok(whole.clone()));
        let exact = left.iter().chain(&right).collect::<std::collections::BTreeSet<_>>().len() as u64;
        prop_assert!(whole.count().abs_diff(exact) <= 2 + exact / 20, "{} for {}", whole.count(), exact);
    }

    #[test]
    fn heavy_of_halves_is_that_of_the_whole_while_all_find_room(left in proptest::collection::vec(0u8..40, 0..300), right in proptest::collection::vec(0u8..40, 0..300)) {
        let mut merged = heavy(20, &left);
        merged.merge(&heavy(20, &right));
        let whole = heavy(20, &[left, right].concat());
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(whole.error(), 0);
        prop_assert_eq!(Heavy::from_bytes(&whole.to_bytes()), Ok(whole.clone()));
    }

    #[test]
    fn heavy_keeps_its_word(left in proptest::collection::vec(any::<u8>(), 0..600), right in proptest::collection::vec(0u8..20, 0..600), room in 2usize..30) {
        let mut merged = heavy(room, &left);
        merged.merge(&heavy(room, &right));
        let mut exact = BTreeMap::new();
        left.iter().chain(&right).for_each(|name| *exact.entry(*name).or_insert(0u64) += 1);
        let found: BTreeMap<u8, u64> = merged.top(usize::MAX).into_iter().map(|(name, count)| (name[0], count)).collect();
        prop_assert!(found.len() <= 2 * room);
        prop_assert!(merged.error() <= (left.len() + right.len()) as u64 / room as u64 * 2);
        for (name, count) in exact {
            let kept = found.get(&name).copied().unwrap_or(0);
            prop_assert!(kept <= count && count <= kept + merged.error(), "{} of {}, error {}", kept, count, merged.error());
        }
    }

    #[test]
    fn foreign_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Minutes::<3>::from_bytes(&bytes);
        let _ = Percentiles::from_bytes(&bytes);
        let _ = Distinct::from_bytes(&bytes);
        let _ = Heavy::from_bytes(&bytes);
    }
}

#[test]
fn many_are_counted_within_the_stated_error() {
    let mut sum = Distinct::default();
    (0..200_000u32).for_each(|thing| sum.add(format!("user{thing}@example.org").as_bytes()));
    assert!(sum.count().abs_diff(200_000) < 200_000 / 15, "{}", sum.count());
}

#[test]
fn too_many_minutes_become_hours() {
    let mut minutes = Minutes::<1>::default();
    (0..150_000).for_each(|minute| minutes.add(minute, 0, 1));
    assert_eq!(minutes.step_minutes(), 60);
    assert_eq!(minutes.rows().iter().map(|(_, counts)| counts[0]).sum::<u64>(), 150_000);
}

/// A flood of different addresses: the sum stays as large as it was made, and says how wrong it may be. Two million stand for a
/// hundred: the bound is reached after the first thousands.
#[test]
fn a_flood_of_different_names_takes_no_more_room() {
    let mut heavy = Heavy::new(1_024);
    let mut distinct = Distinct::default();
    let mut size = 0;
    for number in 0..2_000_000u64 {
        let name = number.to_le_bytes();
        heavy.add(&name, 1);
        distinct.add(&name);
        if number % 10 == 0 {
            heavy.add(b"one that comes again", 1);
        }
        if number == 100_000 {
            size = heavy.to_bytes().len();
        }
    }
    assert!(heavy.top(usize::MAX).len() <= 2_048);
    assert!(heavy.to_bytes().len() < size * 2, "{} after {size}", heavy.to_bytes().len());
    assert_eq!(distinct.to_bytes().len(), Distinct::default().to_bytes().len());
    let (name, count) = heavy.top(1)[0];
    assert!(name == b"one that comes again" && count <= 200_000 && count + heavy.error() >= 200_000, "{count}");
}
