//! `doctor` as a user meets it where something is wrong with the run itself: no time, no report, no format.

use crate::{Scratch, mxray, run, talk, text};
use serde_json::Value;

fn report(words: &[&str], code: i32) -> Value {
    let output = run(words);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_time_nothing_is_well_and_nothing_is_absent() {
    let report = report(&["doctor", "--json", "--deadline", "0.001", "--fail-on", "never"], 2);
    assert_eq!(report["verdict"], "unknown", "{}", report["summary"]);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["code"] == "LOOK010"), "{findings:?}");
    for fact in ["sockets", "processes", "servers"] {
        let seen = &report["evidence"][fact];
        // Where the reader was fast enough, and there is no mail server here, that is the truth.
        let parts = report["evidence"]["parts"].as_object().unwrap();
        let read =
            |(name, part): (&String, &Value)| !name.starts_with("configuration of ") || part["outcome"] == "finished";
        let is_true = fact == "servers" && seen == "absent" && parts.iter().all(read);
        assert!(is_true || seen.get("unknown").is_some() || seen.get("value").is_some(), "{fact}: {seen}");
    }
    let vantage = &report["evidence"]["vantage"];
    assert_eq!(vantage["uid"], rustix::process::geteuid().as_raw());
    assert!(!vantage["host_name"].as_str().unwrap().is_empty());
}

#[test]
fn a_replay_says_what_is_wrong_with_its_file() {
    let scratch = Scratch::new("replay");
    let report = text(&run(&["doctor", "--json", "--deadline", "0.001", "--fail-on", "never"]).stdout);
    let replay = |name: &str, text: &str| {
        let file = scratch.file(name, text);
        talk(&run(&["doctor", "--replay", file.to_str().unwrap()]), 64)
    };
    let half = report.get(..report.len() / 2).unwrap();
    assert!(replay("half.json", half).contains("only the beginning of one"));
    let other = "{\"schema\": \"mxray/report/2\", \"evidence\": 5}";
    assert!(replay("other.json", other).contains("has the schema mxray/report/2; this version reads mxray/report/1"));
    assert!(replay("text", "UNKNOWN: \u{1b}[2J").contains("`mxray doctor --json >FILE` saves one"));
    assert!(replay("list.json", "[1]").contains("is no JSON object"));
    assert!(replay("object.json", "{}").contains("names no schema"));
    assert!(replay("empty.json", " \n").contains("it is empty"));
    assert!(replay("wide.json", "{\0\"\0s\0").contains("it is UTF-16"));
    let packed = scratch.file("packed.gz", "");
    std::fs::write(&packed, [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(talk(&run(&["doctor", "--replay", packed.to_str().unwrap()]), 64).contains("`gunzip` unpacks it"));
    let long = scratch.file("long.json", "");
    // A hole: it takes no room.
    std::fs::File::options().write(true).open(&long).unwrap().set_len(300 << 20).unwrap();
    assert!(talk(&run(&["doctor", "--replay", long.to_str().unwrap()]), 64).contains("is longer than 64 MiB"));
    let whole = scratch.file("whole.json", &report);
    let again = run(&["doctor", "--json", "--fail-on", "never", "--replay", whole.to_str().unwrap()]);
    assert_eq!(text(&again.stdout), report);
    let marked = scratch.file("marked.json", &format!("\u{feff}{report}"));
    let again = run(&["doctor", "--json", "--fail-on", "never", "--replay", marked.to_str().unwrap()]);
    assert_eq!(text(&again.stdout), report);
}

#[test]
fn the_format_of_the_environment_holds_for_sockets_too() {
    let listed = |format: &str| mxray(&["sockets", "--listening"]).env("MXRAY_FORMAT", format).output().unwrap();
    let rows: Value = serde_json::from_slice(&listed("json").stdout).unwrap();
    assert_eq!(rows["schema"], "mxray/sockets/1");
    assert!(talk(&listed("nagios"), 64).contains("MXRAY_FORMAT: \"nagios\" is not one of text, json, ndjson"));
    let plain = mxray(&["sockets", "-l", "--format", "text"]).env("MXRAY_FORMAT", "json").output().unwrap();
    assert!(!text(&plain.stdout).starts_with('{'));
}
