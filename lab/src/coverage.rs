//! Which codes of the catalogue the lab shows: those that a fault or a table expects. What it cannot show stands in
//! `lab/uncovered.txt` with the reason.

use crate::{fault, verdicts};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// The codes that some case expects.
///
/// # Errors
/// A file of a case cannot be read.
pub fn covered() -> io::Result<BTreeSet<String>> {
    let faults = fault::all()?.into_values().map(|fault| fault.expect);
    let rows = verdicts::all()?.into_values().flat_map(|table| table.case);
    let codes = rows.flat_map(|row| {
        row.expect.iter().filter_map(|word| word.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    });
    Ok(faults.chain(codes).collect())
}

/// The codes of the catalogue, as its pages are named.
///
/// # Errors
/// The catalogue's directory cannot be read.
pub fn catalogue() -> io::Result<BTreeSet<String>> {
    let mut codes = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalogue"))? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if stem.chars().any(|c| c.is_ascii_digit()) {
            codes.insert(stem.to_owned());
        }
    }
    Ok(codes)
}

/// `CODE reason`, a line each; `#` begins a comment.
///
/// # Errors
/// The list cannot be read, or a line of it has no reason.
pub fn uncovered() -> io::Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("uncovered.txt"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once(char::is_whitespace) {
            Some((code, reason)) if !reason.trim().is_empty() => Ok((code.to_owned(), reason.trim().to_owned())),
            _ => Err(io::Error::other(format!("uncovered.txt: no reason stands behind {line}"))),
        })
        .collect()
}

/// What is wrong with the list, by code; empty: all is as it says.
pub fn wrong(
    catalogue: &BTreeSet<String>,
    covered: &BTreeSet<String>,
    uncovered: &BTreeMap<String, String>,
) -> Vec<String> {
    let missing = catalogue
        .iter()
        .filter(|code| !covered.contains(*code) && !uncovered.contains_key(*code))
        .map(|code| format!("{code}: no case of the lab expects it, and uncovered.txt does not say why"));
    let shown = uncovered
        .keys()
        .filter(|code| covered.contains(*code))
        .map(|code| format!("{code}: uncovered.txt says that no case expects it, and one does"));
    let unknown = covered
        .iter()
        .chain(uncovered.keys())
        .filter(|code| !catalogue.contains(*code))
        .map(|code| format!("{code}: the catalogue does not have it"));
    missing.chain(shown).chain(unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(codes: &[&str]) -> BTreeSet<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    #[test]
    fn each_code_is_covered_or_listed_and_never_both() {
        let listed = |code: &str| BTreeMap::from([(code.to_owned(), "a reason".to_owned())]);
        assert_eq!(wrong(&set(&["A1", "B1"]), &set(&["A1"]), &listed("B1")), Vec::<String>::new());
        assert_eq!(wrong(&set(&["A1", "B1"]), &set(&["A1"]), &BTreeMap::new()).len(), 1);
        assert_eq!(wrong(&set(&["A1"]), &set(&["A1"]), &listed("A1")).len(), 1);
        assert_eq!(wrong(&set(&["A1"]), &set(&["A1"]), &listed("C1")).len(), 1);
        assert_eq!(wrong(&set(&["A1"]), &set(&["A1", "C1"]), &BTreeMap::new()).len(), 1);
    }
}
