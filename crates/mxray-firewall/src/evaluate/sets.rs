//! Looking a key up in a set or map: by halving where the key is known, through all elements where it is not.

use crate::bits::{Bits, Truth};
use crate::ruleset::{Element, Set};

/// Elements that a key may be, and whether it is in the set at all.
#[derive(Debug)]
pub struct Found<'set> {
    pub truth: Truth,
    /// Up to [`CANDIDATES_MAX`]; one where `truth` is `Yes` and the key is known.
    pub elements: Vec<&'set Element>,
    /// More elements fit than are listed, or the set is not complete.
    pub more: bool,
    /// Elements that were looked at: what the search cost.
    pub cost: usize,
}

/// What a map gives for a key of which much is unknown is listed up to here.
const CANDIDATES_MAX: usize = 32;

/// Looks a key up, as the kernel's own kinds of sets do.
pub fn find<'set>(set: &'set Set, register: &Bits) -> Found<'set> {
    let key = register.piece(0, set.key_len.max(1));
    let mut found = if set.elements.iter().take(1).any(|first| first.key_end.is_some()) || concatenated_ranges(set) {
        in_boxes(set, &key)
    } else if set.interval {
        in_ranges(set, &key)
    } else {
        among_keys(set, &key)
    };
    if found.truth != Truth::Yes
        && let Some(element) = set.catch_all.as_deref()
    {
        found.elements.push(element);
        found.truth = Truth::Yes;
    }
    if set.incomplete && found.truth != Truth::Yes {
        found.truth = Truth::Maybe;
        found.more = true;
    }
    found
}

fn concatenated_ranges(set: &Set) -> bool {
    set.interval && set.fields.len() > 1
}

fn gathered<'set>(certain: bool, mut fits: Vec<&'set Element>, cost: usize) -> Found<'set> {
    let truth = match (certain, fits.is_empty()) {
        (true, _) => Truth::Yes,
        (false, true) => Truth::No,
        (false, false) => Truth::Maybe,
    };
    let more = fits.len() > CANDIDATES_MAX;
    fits.truncate(CANDIDATES_MAX);
    Found { truth, elements: fits, more, cost }
}

/// Plain keys, in order.
fn among_keys<'set>(set: &'set Set, key: &Bits) -> Found<'set> {
    if let Some(bytes) = key.all() {
        let at = set.elements.binary_search_by(|element| element.key.as_slice().cmp(bytes));
        let element = at.ok().and_then(|at| set.elements.get(at));
        return gathered(element.is_some(), element.into_iter().collect(), 1);
    }
    let fits = set.elements.iter().filter(|element| key.equals(&element.key) != Truth::No);
    gathered(false, fits.take(CANDIDATES_MAX + 1).collect(), set.elements.len())
}

/// Ranges that do not overlap: each begins with its element and ends before the next end mark, or at the greatest key.
fn in_ranges<'set>(set: &'set Set, key: &Bits) -> Found<'set> {
    let (low, high) = key.bounds();
    // The last element that begins at the key or before it.
    let at_or_before = |bytes: &[u8]| set.elements.partition_point(|element| element.key.as_slice() <= bytes);
    let start = at_or_before(&low);
    let end = at_or_before(&high);
    let first = start.checked_sub(1).and_then(|at| set.elements.get(at));
    let mut fits: Vec<&Element> = first.filter(|element| !element.interval_end).into_iter().collect();
    let certain = !fits.is_empty() && start == end;
    let later = set.elements.get(start..end).unwrap_or_default();
    fits.extend(later.iter().filter(|element| !element.interval_end).take(CANDIDATES_MAX + 1));
    gathered(certain, fits, end - start + 1)
}

/// Concatenations of ranges: every part lies between its own two ends.
fn in_boxes<'set>(set: &'set Set, key: &Bits) -> Found<'set> {
    let whole = [set.key_len];
    let fields: &[usize] = if set.fields.is_empty() { &whole } else { &set.fields };
    let within = |element: &Element| {
        let end = element.key_end.as_deref().unwrap_or(&element.key);
        let mut truth = Truth::Yes;
        let mut at = 0;
        for len in fields {
            let (Some(low), Some(high)) = (element.key.get(at..at + len), end.get(at..at + len)) else {
                return Truth::Maybe;
            };
            truth = truth.and(key.piece(at, *len).within(low, high));
            if truth == Truth::No {
                break;
            }
            at += len.next_multiple_of(4);
        }
        truth
    };
    let mut fits = Vec::new();
    for element in &set.elements {
        match within(element) {
            Truth::Yes => return gathered(true, vec![element], set.elements.len()),
            Truth::Maybe => fits.push(element),
            Truth::No => {}
        }
        if fits.len() > CANDIDATES_MAX {
            break;
        }
    }
    gathered(false, fits, set.elements.len())
}
