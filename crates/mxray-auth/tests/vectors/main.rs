//! What others have measured evaluators by, read from their packages at test time: never part of this tree.
//!
//! Each suite prints its score and is held against `floor.txt`, which only rises. Where the registry cannot be reached, a
//! suite says that it was skipped, and why.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]
#![expect(clippy::print_stdout, reason = "scores and skips are said where ./test reads them")]

mod authres;
mod dkimpy;
mod openspf;
mod second;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the packages. `None`: it was said why not.
fn packages(suite: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let folder = target.join("vectors");
    match Command::new(here.join("vectors/fetch")).arg(&folder).output() {
        Ok(done) if done.status.success() => Some(folder),
        Ok(done) => {
            let _ = writeln!(std::io::stderr(), "skipped: {suite}: {}", String::from_utf8_lossy(&done.stderr).trim());
            None
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: {suite}: vectors/fetch: {error}");
            None
        }
    }
}

/// Prints the score. It may not be below the one that was reached before.
fn score(suite: &str, passed: usize, of: usize, failures: &[String]) {
    let _ = writeln!(std::io::stderr(), "{suite} {passed}/{of}");
    failures.iter().for_each(|failure| println!("{failure}"));
    let floor = include_str!("floor.txt").lines().find_map(|line| line.strip_prefix(suite)?.trim().split_once('/'));
    let (least, all) = floor.unwrap_or_else(|| panic!("{suite} {passed}/{of} has no line in floor.txt"));
    let number = |text: &str| text.parse::<usize>().unwrap();
    assert_eq!(of, number(all), "{suite} has other cases than floor.txt says");
    assert!(passed >= number(least), "{suite} {passed}/{of} was {least}/{all} before");
    assert!(passed == number(least), "{suite} {passed}/{of} is better than its line in floor.txt: raise it");
}
