//! The nearest of the right words to a wrong one.

/// The candidate that the fewest slips away, if it is near enough to be meant. Ties go to the first.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (slips(&wrong, &candidate.to_lowercase()), candidate))
        .filter(|(slips, candidate)| *slips <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: a letter more, less or other, or two neighbours swapped (optimal string alignment).
pub fn slips(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (i, ca) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        let mut previous_b = None;
        for (j, cb) in b.iter().copied().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&row, j) + usize::from(ca != cb)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            if j > 0 && previous_a == Some(cb) && previous_b == Some(ca) {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            next.push(cost);
            previous_b = Some(cb);
        }
        before = std::mem::replace(&mut row, next);
        previous_a = Some(ca);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        assert_eq!(slips("", "abc"), 3);
        assert_eq!(slips("targets", "targets"), 0);
        assert_eq!(slips("tragets", "targets"), 1);
        assert_eq!(slips("target", "targets"), 1);
        assert_eq!(slips("kitten", "sitting"), 3);
    }

    #[test]
    fn near_words_are_offered_and_far_ones_not() {
        let keys = ["servers", "trust_anchor_file"];
        assert_eq!(nearest("server", keys), Some("servers"));
        assert_eq!(nearest("trust_anchor", keys), Some("trust_anchor_file"));
        assert_eq!(nearest("zebra", keys), None);
        assert_eq!(nearest("sock11", ["SOCK101", "SOCK111", "PORT101"]), Some("SOCK101"));
    }
}
