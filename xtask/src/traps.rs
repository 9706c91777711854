//! docs/traps.md against the tests: every trap has one whose name begins with its number.
//!
//! A table that nobody compares becomes a promise that nobody keeps. What must not live here: whether the test is a good one.

use crate::tree;
use crate::trouble::{Trouble, none_of};
use std::collections::BTreeSet;
use std::path::Path;

/// Where tests are.
const TESTS: [&str; 3] = ["crates", "lab", "xtask"];
/// Directories below a root that are looked into: deeper is nothing that a person wrote.
const DEPTH_MAX: usize = 12;

pub fn check(root: &Path) -> Result<(), Trouble> {
    let page = tree::read(&root.join("docs/traps.md"))?;
    let mut tests = BTreeSet::new();
    for directory in TESTS {
        collect(&root.join(directory), 0, &mut tests)?;
    }
    none_of(missing(&page, &tests))
}

fn collect(directory: &Path, depth: usize, tests: &mut BTreeSet<String>) -> Result<(), Trouble> {
    for name in tree::names(directory)? {
        let path = directory.join(&name);
        if path.is_dir() && depth < DEPTH_MAX && name != "target" {
            collect(&path, depth + 1, tests)?;
        } else if name.ends_with(".rs") {
            tests.extend(numbers(&tree::read(&path)?));
        }
    }
    Ok(())
}

/// The numbers in the names of tests: `29a` of a test that is called `t29a_…`.
fn numbers(source: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let name = line.strip_prefix("fn t").and_then(|rest| rest.split_once('_'));
        if let Some((number, _)) = name.filter(|(number, _)| is_test && is_number(number)) {
            numbers.push(number.to_owned());
        }
        // Other attributes may stand between it and the function.
        is_test = line == "#[test]" || (is_test && line.starts_with("#["));
    }
    numbers
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 3
}

fn missing(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| T")?.split_once(" |"));
    let traps: Vec<&str> = rows.map(|(number, _)| number).filter(|number| is_number(number)).collect();
    if traps.is_empty() {
        return vec!["docs/traps.md has no table of traps".to_owned()];
    }
    let untested = traps.iter().filter(|number| !tests.contains(**number));
    untested.map(|number| format!("docs/traps.md: no test is called t{number}_…")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_count_and_by_their_numbers() {
        let source = "#[test]\nfn t17_a() {}\n\n    #[test]\n    #[ignore]\n    fn t29a_b() {}\n\
            fn t18_no_test() {}\n#[test]\nfn twelve_x() {}\n#[test]\nfn t1_x() {}\n#[test]\nfn t123_x() {}\n";
        assert_eq!(numbers(source), ["17", "29a"]);
    }

    #[test]
    fn what_has_no_test_is_named() {
        let page = "| trap | x |\n|---|---|\n| T17 | a |\n| T29a | b |\n| T29b | c |\n";
        let tests = BTreeSet::from(["17".to_owned(), "29a".to_owned(), "40".to_owned()]);
        assert_eq!(missing(page, &tests), ["docs/traps.md: no test is called t29b_…"]);
        assert_eq!(missing("nothing", &tests).len(), 1);
    }
}
