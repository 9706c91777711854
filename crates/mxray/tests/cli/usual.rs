//! What is usual here: the one file that is written, and when it is not.

use super::{Scratch, mxray, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

fn run(directory: &Path, words: &[&str]) -> Output {
    mxray(words).env("STATE_DIRECTORY", directory).output().unwrap()
}

fn report(directory: &Path, words: &[&str]) -> Value {
    serde_json::from_slice(&run(directory, words).stdout).unwrap()
}

fn notes(report: &Value) -> Vec<String> {
    let unseen = report["unseen"].as_array().unwrap().iter();
    unseen.map(|row| row["what"].as_str().unwrap().to_owned()).filter(|what| what.contains("usual here")).collect()
}

#[test]
fn a_run_learns_quietly_and_a_second_within_the_minute_does_not_count() {
    let scratch = Scratch::new("learn");
    let state = scratch.0.join("state");
    let file = state.join("baseline.json");
    let output = run(&state, &["sockets"]);
    assert_eq!((output.status.code(), text(&output.stderr).contains("usual")), (Some(0), false));
    assert!(file.exists());
    let first: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&first["samples"], &first["days"]), (&1.into(), &1.into()));
    let again = report(&state, &["doctor", "--json"]);
    let samples = again["evidence"]["baseline"]["value"]["samples"].as_u64();
    assert_eq!(samples, Some(1), "{}", again["evidence"]["baseline"]);
    let last: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // The minute may have ended in between.
    let minutes = last["minute"].as_u64().unwrap() - first["minute"].as_u64().unwrap();
    assert_eq!(last["samples"].as_u64().unwrap(), 1 + minutes.min(1));
}

#[test]
fn a_window_of_a_second_teaches_rates_and_a_shorter_one_nothing() {
    let scratch = Scratch::new("rates");
    let state = scratch.0.join("state");
    let file = state.join("baseline.json");
    run(&state, &["counters", "--interval", "100ms"]);
    assert!(!file.exists());
    let output = run(&state, &["counters"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&kept["samples"], &kept["rates"]["samples"]), (&0.into(), &1.into()), "{kept}");
    assert!(kept["rates"]["numbers"]["Tcp.RetransSegs"].is_object(), "{kept}");
    let report = report(&state, &["counters", "--json", "--interval", "100ms"]);
    let row = report["rows"].as_array().unwrap().iter().find(|row| row["name"] == "Tcp.RetransSegs").unwrap();
    assert_eq!(row["usual_per_second"]["samples"], 1, "{row}");
    assert_eq!(row["usual_per_second"]["is_learned"], false, "{row}");
    // One sample of connections is learned with a window of its own, unless this minute had one.
    let other = scratch.0.join("other");
    assert_eq!(run(&other, &["sockets", "--learn"]).status.code(), Some(0));
    let kept: Value = serde_json::from_slice(&fs::read(other.join("baseline.json")).unwrap()).unwrap();
    assert_eq!((&kept["samples"], &kept["rates"]["samples"]), (&1.into(), &1.into()), "{kept}");
}

#[test]
fn a_part_a_replay_and_a_switched_off_run_write_nothing() {
    let scratch = Scratch::new("write-nothing");
    let state = scratch.0.join("state");
    let config = scratch.file("off.toml", "[baseline]\nlearn = false\n");
    let config = config.to_str().unwrap();
    let saved = report(&state, &["doctor", "--json", "--config", config]);
    let saved = scratch.file("saved.json", &saved.to_string());
    for words in [
        &["sockets", "--config", config][..],
        &["sockets", "--listening"],
        &["sockets", "--port", "25"],
        &["sockets", "--spikes"],
        &["counters", "--since-boot"],
        &["counters", "--config", config],
        &["doctor", "--replay", saved.to_str().unwrap()],
    ] {
        run(&state, words);
        assert!(!state.exists(), "{words:?}");
    }
    // Asked for by name, it learns whatever the configuration says of quiet learning.
    assert_eq!(run(&state, &["sockets", "--learn", "--config", config]).status.code(), Some(0));
    assert!(state.join("baseline.json").exists());
}

#[test]
fn a_file_that_is_not_ours_is_said_once_and_left_alone() {
    let scratch = Scratch::new("foreign");
    for content in ["{", "{\"schema\":\"mxray/baseline/9\"}", "\u{0}\u{1b}[2J"] {
        let file = scratch.file("state/baseline.json", content);
        let state = file.parent().unwrap();
        let report = report(state, &["doctor", "--json"]);
        assert_eq!(notes(&report), ["what is usual here"], "{content:?}");
        let output = run(state, &["sockets", "--learn"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!text(&output.stderr).contains('\u{1b}'));
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_no_error() {
    let nowhere = Path::new("/proc/nonexistent");
    let report = report(nowhere, &["doctor", "--json"]);
    assert_eq!(notes(&report), ["learning what is usual here"]);
    assert_eq!(run(nowhere, &["sockets"]).status.code(), Some(0));
    let output = run(nowhere, &["sockets", "--learn"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("learning what is usual here"), "{}", text(&output.stderr));
}
