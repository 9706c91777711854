//! Runs that are kept: the list of causes, what changed, notes.

use super::{Scratch, mxray, text};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn run(directory: &Path, words: &[&str]) -> Output {
    mxray(words).env("STATE_DIRECTORY", directory).output().unwrap()
}

fn history(directory: &Path) -> Value {
    serde_json::from_slice(&run(directory, &["doctor", "--history", "--json"]).stdout).unwrap()
}

#[test]
fn runs_are_kept_compared_and_noted() {
    let scratch = Scratch::new("kept");
    let state = scratch.0.join("state");
    let doctor = ["doctor", "--no-sessions"];
    run(&state, &doctor);
    let second = run(&state, &[&doctor[..], &["--diff"]].concat());
    assert!(text(&second.stdout).contains(" since 2"), "{}", text(&second.stdout));
    let told = history(&state);
    assert_eq!((&told["schema"], &told["runs"]), (&"mxray/history/1".into(), &2.into()), "{told:#}");
    run(&state, &[&doctor[..], &["--no-save"]].concat());
    assert_eq!(history(&state)["runs"], 2);

    let noted = run(&state, &["doctor", "--note", "SOCK999", "restarted\u{1b}[31m it"]);
    assert_eq!(noted.status.code(), Some(0), "{}", text(&noted.stderr));
    assert!(text(&noted.stderr).contains("no run that is kept has a cause SOCK999"), "{}", text(&noted.stderr));
    let told = history(&state);
    assert_eq!(told["notes"][0]["about"], "SOCK999", "{told:#}");
    assert!(!told.to_string().contains('\u{1b}'));
}

#[test]
fn nothing_is_kept_where_nothing_may_be() {
    let told: Value =
        serde_json::from_slice(&mxray(&["doctor", "--history", "--json"]).output().unwrap().stdout).unwrap();
    assert_eq!(told["runs"], 0, "{told:#}");
    let noted = mxray(&["doctor", "--note", "SOCK101", "nothing"]).output().unwrap();
    assert_eq!(noted.status.code(), Some(2), "{}", text(&noted.stderr));
}
