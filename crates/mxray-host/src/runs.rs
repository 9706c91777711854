//! Runs of `mxray doctor` that are kept: one packed report each, in the directory of the state, and what people noted.
//!
//! A file's name says when the run was and how it ended, so that the one that is wanted is found without reading the others. What
//! must not live here: what differs between runs, and what it means.

use crate::baseline::file::Directory;
use crate::baseline::{Place, is_other_namespace};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use mxray_model::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// So many are kept.
pub const RUNS_MAX: usize = 200;
/// Longest report, unpacked and packed. Of a very large host, one has a few megabytes.
const REPORT_BYTES_MAX: usize = 64 << 20;
const PACKED_BYTES_MAX: usize = 8 << 20;
/// Notes that are kept, and the longest.
const NOTES_MAX: usize = 1000;
pub const NOTE_CHARS_MAX: usize = 2000;
const NOTES_BYTES_MAX: usize = 8 << 20;

const RUNS: &str = "runs";
const NOTES: &str = "notes.json";
const END: &str = ".json.gz";

/// A run, by the name of its file: `20260102T030405.678Z-healthy-17.json.gz`. The number grows from run to run, whatever the clock says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    number: u64,
    name: String,
}

impl Run {
    /// A file that is named otherwise is none of ours: it is neither read nor removed.
    fn of(name: &str) -> Option<Run> {
        let mut parts = name.strip_suffix(END)?.split('-');
        let (stamp, verdict) = (parts.next()?, parts.next()?);
        let number = parts.next().map_or(Some(0), |number| number.parse().ok())?;
        let ours = !stamp.is_empty()
            && stamp.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
            && !stamp.starts_with('.')
            && verdict.bytes().all(|byte| byte.is_ascii_alphabetic())
            && parts.next().is_none();
        ours.then(|| Run { number, name: name.to_owned() })
    }

    /// As the report says: `healthy`, `degraded`, `broken`, `unknown`.
    pub fn verdict(&self) -> &str {
        self.name.split('-').nth(1).map_or("", |verdict| verdict.strip_suffix(END).unwrap_or(verdict))
    }
}

/// The runs among the files of a directory, oldest first.
fn runs_of(directory: &Directory) -> Result<Vec<Run>, Blind> {
    let mut runs: Vec<Run> = directory.names()?.iter().filter_map(|name| Run::of(name)).collect();
    runs.sort();
    Ok(runs)
}

/// What somebody noted about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// RFC 3339.
    pub at: String,
    /// The finding's id, or its code.
    pub about: String,
    pub text: String,
}

/// The runs that are kept, oldest first. `Absent`: none are kept for what is looked at.
pub fn list(place: &Place) -> Seen<Vec<Run>> {
    match directory(place, false) {
        Ok(Some(directory)) => match runs_of(&directory) {
            Ok(runs) => Seen::Value(runs),
            Err(blind) => Seen::Unknown(blind),
        },
        Ok(None) => Seen::Absent,
        Err(blind) => Seen::Unknown(blind),
    }
}

/// The report of a run, as JSON.
///
/// # Errors
/// It is gone, damaged, or not ours.
pub fn read(place: &Place, run: &Run) -> Result<Vec<u8>, Blind> {
    let failed =
        |error: &str| Blind::Failed { step: format!("read the kept run {}", run.name), error: error.to_owned() };
    let directory = directory(place, false)?.ok_or_else(|| failed("no runs are kept"))?;
    let packed = directory.read_file(&run.name, PACKED_BYTES_MAX)?.ok_or_else(|| failed("it is gone"))?;
    let mut report = Vec::new();
    let unpacked = GzDecoder::new(&packed[..]).take(REPORT_BYTES_MAX as u64 + 1).read_to_end(&mut report);
    unpacked.map_err(|error| failed(&error.to_string()))?;
    if report.len() > REPORT_BYTES_MAX { Err(failed("longer than a report may be")) } else { Ok(report) }
}

/// Keeps a report, and lets the oldest go. False: nothing is kept for what is looked at.
///
/// # Errors
/// The directory cannot be written, or is not ours alone.
pub fn keep(place: &Place, started: &str, verdict: &str, report: &[u8]) -> Result<bool, Blind> {
    let Some(directory) = directory(place, true)? else { return Ok(false) };
    let failed = |error: String| Blind::Failed { step: "pack the report of this run".to_owned(), error };
    let mut packer = GzEncoder::new(Vec::with_capacity(report.len() / 8), Compression::fast());
    packer.write_all(report).map_err(|error| failed(error.to_string()))?;
    let packed = packer.finish().map_err(|error| failed(error.to_string()))?;
    if packed.len() > PACKED_BYTES_MAX {
        return Err(failed("it is longer than a report may be".to_owned()));
    }
    // `2026-01-02T03:04:05.678Z` sorts by itself; what else somebody's clock says must not leave the directory.
    let stamp: String = started.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').take(40).collect();
    let verdict: String = verdict.chars().filter(char::is_ascii_alphabetic).take(20).collect();
    let number = runs_of(&directory)?.last().map_or(1, |newest| newest.number.saturating_add(1));
    directory.write_file(&format!("{stamp}-{verdict}-{number}{END}"), &packed, false)?;
    let runs = runs_of(&directory)?;
    for old in runs.iter().take(runs.len().saturating_sub(RUNS_MAX)) {
        directory.remove(&old.name);
    }
    Ok(true)
}

/// What was noted, oldest first.
///
/// # Errors
/// The file is damaged, or not ours.
pub fn notes(place: &Place) -> Result<Vec<Note>, Blind> {
    let Some(directory) = directory(place, false)? else { return Ok(Vec::new()) };
    let Some(bytes) = directory.read_file(NOTES, NOTES_BYTES_MAX)? else { return Ok(Vec::new()) };
    let understood = serde_json::from_slice(&bytes);
    understood.map_err(|error| Blind::NotUnderstood { what: NOTES.to_owned(), text: error.to_string() })
}

/// Adds a note; the oldest goes where there are too many. False: nothing is kept for what is looked at.
///
/// # Errors
/// Like [`keep`], and [`notes`]: what is damaged is left alone.
pub fn note(place: &Place, note: Note) -> Result<bool, Blind> {
    let Some(directory) = directory(place, true)? else { return Ok(false) };
    let mut notes = notes(place)?;
    notes.push(note);
    let from = notes.len().saturating_sub(NOTES_MAX);
    let bytes = serde_json::to_vec(&notes[from..]);
    let bytes =
        bytes.map_err(|error| Blind::Failed { step: "write the notes".to_owned(), error: error.to_string() })?;
    directory.write_file(NOTES, &bytes, true)
}

/// `None`: nothing is kept for what is looked at, or nothing was kept yet and `make` is not asked for.
fn directory(place: &Place, make: bool) -> Result<Option<Directory>, Blind> {
    let Some(path) = place.directory.as_ref().filter(|_| !place.elsewhere && !is_other_namespace()) else {
        return Ok(None);
    };
    match Directory::open(path, make)? {
        Some(state) if make => state.within(RUNS).map(Some),
        Some(_) => Directory::open(&path.join(RUNS), false),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> (Scratch, Place) {
            let path = std::env::temp_dir().join(format!("mxray-runs-{name}-{}", std::process::id()));
            let place = Place { directory: Some(path.join("state")), learn: true, elsewhere: false };
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            (Scratch(path), place)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn the_last_runs_are_kept_for_their_owner_alone() {
        let (scratch, place) = Scratch::new("keep");
        assert!(list(&place).is_absent());
        for number in 0..RUNS_MAX + 5 {
            let started = format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
            let verdict = if number % 2 == 0 { "healthy" } else { "broken" };
            assert_eq!(keep(&place, &started, verdict, format!("{{\"n\":{number}}}").as_bytes()), Ok(true));
        }
        let Seen::Value(runs) = list(&place) else { panic!("no runs") };
        assert_eq!(runs.len(), RUNS_MAX);
        assert_eq!(runs[0].verdict(), "broken");
        assert_eq!(read(&place, &runs[0]).unwrap(), b"{\"n\":5}");
        assert_eq!(read(&place, runs.last().unwrap()).unwrap(), format!("{{\"n\":{}}}", RUNS_MAX + 4).into_bytes());
        let file = scratch.0.join("state/runs").join(&runs[0].name);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::write(&file, b"damaged").unwrap();
        assert!(read(&place, &runs[0]).is_err());
    }

    #[test]
    fn notes_are_added_and_what_is_damaged_is_left_alone() {
        let (scratch, place) = Scratch::new("notes");
        assert_eq!(notes(&place), Ok(Vec::new()));
        for text in ["first", "second"] {
            let made =
                Note { at: "2026-01-01T00:00:00Z".to_owned(), about: "SOCK101".to_owned(), text: text.to_owned() };
            assert_eq!(note(&place, made), Ok(true));
        }
        assert_eq!(notes(&place).unwrap().last().unwrap().text, "second");
        fs::write(scratch.0.join("state/runs").join(NOTES), b"{").unwrap();
        let made = Note { at: String::new(), about: String::new(), text: String::new() };
        assert!(note(&place, made).is_err());
        let elsewhere = Place { elsewhere: true, ..place };
        assert!(list(&elsewhere).is_absent());
        assert_eq!(keep(&elsewhere, "2026", "healthy", b"{}"), Ok(false));
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_run_away_and_foreign_files_stay() {
        let (scratch, place) = Scratch::new("clock");
        for number in 0..RUNS_MAX {
            let started = format!("2099-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
            assert_eq!(keep(&place, &started, "broken", b"{}"), Ok(true));
        }
        let foreign = ["backup.json.gz", "a-b-c-d.json.gz", ".x-healthy.json.gz", "README"];
        for name in foreign {
            fs::write(scratch.0.join("state/runs").join(name), b"x").unwrap();
        }
        assert_eq!(keep(&place, "2026-01-01T00:00:00Z", "healthy", b"{\"n\":1}"), Ok(true));
        let Seen::Value(runs) = list(&place) else { panic!("no runs") };
        assert_eq!((runs.len(), runs.last().unwrap().verdict()), (RUNS_MAX, "healthy"));
        assert_eq!(read(&place, runs.last().unwrap()).unwrap(), b"{\"n\":1}");
        assert!(foreign.iter().all(|name| scratch.0.join("state/runs").join(name).exists()));
        // Of an earlier version, without a number.
        assert_eq!(Run::of("20260101T000000Z-healthy.json.gz").unwrap().verdict(), "healthy");
    }

    #[test]
    fn a_stamp_cannot_leave_the_directory() {
        let (scratch, place) = Scratch::new("stamp");
        assert_eq!(keep(&place, "../../2026-01-01T00:00:00Z", "../x", b"{}"), Ok(true));
        assert_eq!(fs::read_dir(scratch.0.join("state/runs")).unwrap().count(), 1);
    }
}
