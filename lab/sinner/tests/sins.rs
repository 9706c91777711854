//! Every scenario file against the whole program: `mxray probe` on a server that plays it over real sockets.
//!
//! Of each file: the probe ends by itself, before its deadline and a margin, within a bound of memory, without a panic; what it prints
//! holds no raw control character; its report is JSON, has the session that the file expects, and the codes of its `findings:`; where the
//! session ended before its end, the verdict is not "healthy".

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

mod common;

use mxray_wire::scenario::{Scenario, Step};
use serde_json::Value;
use sinner::Sinner;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most of a conversation's time is waiting.
const SIDE_BY_SIDE: usize = 24;
/// What the issue of this test asks for, by protocol.
const BAD_AT_LEAST: [(&str, usize); 3] = [("smtp", 60), ("imap", 40), ("pop3", 30)];

/// One file and how it is asked for.
struct Sin {
    kind: &'static str,
    name: String,
    scenario: Scenario,
    depth: String,
    url: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn word<'a>(scenario: &'a Scenario, name: &str) -> Option<&'a str> {
    scenario.plan.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The scheme under which the probe behaves as the file's plan says. `None`: nothing that a probe does.
fn scheme(kind: &str, scenario: &Scenario) -> Option<&'static str> {
    Some(match (kind, word(scenario, "tls"), word(scenario, "starttls"), word(scenario, "dialect")) {
        ("smtp", _, _, Some("lmtp")) => "lmtp",
        ("smtp", Some("implicit"), ..) => "smtps",
        // Where users hand in mail, it is asked whether they may without TLS.
        ("smtp", ..) if word(scenario, "in-clear").is_some() => "submission",
        ("smtp", _, Some("required"), _) => "smtp+starttls",
        ("smtp", _, Some("never"), _) => "smtp+plain",
        ("smtp", ..) => "smtp",
        ("imap", Some("implicit"), ..) => "imaps",
        ("imap", _, Some("required"), _) => "imap+starttls",
        ("imap", _, None | Some("if-offered"), _) => "imap",
        ("pop3", Some("implicit"), ..) => "pop3s",
        ("pop3", _, Some("required"), _) => "pop3+starttls",
        ("pop3", _, None | Some("if-offered"), _) => "pop3",
        ("sieve", Some("implicit"), ..) => "sieves",
        ("sieve", _, None | Some("if-offered"), _) => "sieve",
        _ => return None,
    })
}

fn sins(kind: &'static str) -> Vec<Sin> {
    let directory = root().join("scenarios").join(kind);
    let mut files: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == kind));
    files.sort();
    files.iter().filter_map(|path| sin(kind, path)).collect()
}

fn sin(kind: &'static str, path: &Path) -> Option<Sin> {
    let scenario = Scenario::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let depth = word(&scenario, "depth").unwrap_or("tls").to_owned();
    // What a probe never does: hand over a message, log in without TLS, ask with other words than its own.
    let other = ["message", "clear", "initial", "nonce", "pipelining", "ask", "proxy", "xclient", "stop"];
    // A recording of SCRAM fits one nonce only.
    let says_scram = |bytes: &Vec<u8>| bytes.windows(5).any(|piece| piece == b"SCRAM");
    let scram = scenario.steps.iter().any(|step| matches!(step, Step::Client(bytes) if says_scram(bytes)));
    if depth == "message" || depth == "rcpt" || scram || other.iter().any(|name| word(&scenario, name).is_some()) {
        return None;
    }
    let address = Sinner::serve(scenario.clone()).unwrap().address;
    let url = format!("{}://{address}", scheme(kind, &scenario)?);
    Some(Sin { kind, name: path.file_name().unwrap().to_string_lossy().into_owned(), scenario, depth, url })
}

/// The server does something that no good one does.
fn is_bad(sin: &Sin) -> bool {
    let odd = sin.scenario.anomalies.as_ref().is_some_and(|kinds| !kinds.is_empty());
    let ends_well = sin.scenario.expect.iter().any(|(at, value)| at == "/ending" && value == "\"finished\"");
    odd || !ends_well
}

/// Runs the probe; its standard output, or what went wrong.
fn probe(sin: &Sin, scratch: &Path) -> Result<String, String> {
    let name = word(&sin.scenario, "name").unwrap_or("probe.example");
    let mut words = vec!["--ehlo", name, "--depth", &sin.depth];
    let mut environment = Vec::new();
    if let Some(user) = word(&sin.scenario, "user") {
        words.extend(["--user", user, "--password", "env:SINNER_PASSWORD"]);
        environment.push(("SINNER_PASSWORD", word(&sin.scenario, "password").unwrap_or_default()));
    }
    if let Some(mechanisms) = word(&sin.scenario, "mechanisms") {
        words.extend(["--mechanism", mechanisms]);
    }
    common::probe(&sin.url, &words, &environment, (scratch, &sin.name))
}

/// What of a file's expectations holds over real sockets as well: not times, and not the places in the transcript.
fn expected(sin: &Sin) -> impl Iterator<Item = (&str, Value)> {
    let waits = sin.scenario.steps.iter().any(|step| matches!(step, Step::Wait(_)));
    let kept = sin.scenario.expect.iter().filter(move |(at, value)| {
        // Which of two limits comes first depends on how much comes at a time.
        let limit = at.starts_with("/ending/limit");
        !waits
            && !limit
            && !at.contains("_ms")
            && !value.contains("_ms")
            && !at.starts_with("/transcript")
            && !at.ends_with("/entry")
    });
    kept.map(|(at, value)| (at.as_str(), serde_json::from_str(value).unwrap()))
}

fn wrongs(sin: &Sin, told: &str) -> Vec<String> {
    let report: Value = match serde_json::from_str(told) {
        Ok(report) => report,
        Err(error) => return vec![format!("no JSON: {error}")],
    };
    let mut wrong = Vec::new();
    for (_, password) in sin.scenario.plan.iter().filter(|(name, _)| name == "password") {
        if told.contains(password.as_str()) {
            wrong.push("prints the password".to_owned());
        }
    }
    let codes: BTreeSet<&str> =
        report["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["code"].as_str()).collect();
    for code in &sin.scenario.findings {
        if !codes.contains(code.as_str()) {
            wrong.push(format!("does not find {code}, only {codes:?}"));
        }
    }
    let endpoint = report["evidence"]["endpoints"].as_object().and_then(|endpoints| endpoints.values().next());
    let address = endpoint.and_then(|endpoint| endpoint["addresses"].as_object()?.values().next());
    let session = address.and_then(|address| {
        let value = &address["session"]["value"];
        ["smtp", "mailbox"].iter().find_map(|kind| value.get(kind))
    });
    let Some(session) = session else {
        // A reset may come so early that there was no connection to speak on.
        let reset = address.is_some_and(|address| address["dial"]["outcome"] == "reset");
        let before_we_speak = sin.scenario.steps.iter().take_while(|step| !matches!(step, Step::Client(_)));
        let at_once = before_we_speak.into_iter().any(|step| matches!(step, Step::Reset));
        if reset && at_once && report["verdict"] != "healthy" {
            return wrong;
        }
        wrong.push("has no session".to_owned());
        return wrong;
    };
    // What came after its end was not seen: that is no good verdict, whatever was seen before. A server that is asked to go may.
    let came_to_its_end =
        session["ending"] == "finished" || session["stage"] == "quit" || session["stage"] == "goodbye";
    if !came_to_its_end && report["verdict"] == "healthy" {
        wrong.push(format!("is called healthy, and ended with {} at {}", session["ending"], session["stage"]));
    }
    if is_bad(sin) && !came_to_its_end && codes.is_empty() && report["verdict"] != "unknown" {
        wrong.push(format!("nothing was found and not all was seen, and the verdict is {}", report["verdict"]));
    }
    for (at, value) in expected(sin) {
        let found = session.pointer(at);
        if found != Some(&value) {
            wrong.push(format!("{at} is {found:?}, not {value}"));
        }
    }
    wrong
}

#[test]
fn no_server_however_bad_hurts_a_probe() {
    let all: Vec<Sin> = ["smtp", "imap", "pop3", "sieve"].into_iter().flat_map(sins).collect();
    let scratch = std::env::temp_dir().join(format!("mxray-sins-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(sin) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = match probe(sin, &scratch) {
                        Ok(told) => wrongs(sin, &told),
                        Err(what) => vec![what],
                    };
                    wrong.lock().unwrap().extend(found.into_iter().map(|what| format!("{}: {what}", sin.name)));
                }
            });
        }
    });
    let _ = std::fs::remove_dir_all(&scratch);
    let mut counted = Vec::new();
    for (kind, at_least) in BAD_AT_LEAST {
        let bad = all.iter().filter(|sin| sin.kind == kind && is_bad(sin)).count();
        assert!(bad >= at_least, "{bad} bad servers of {kind}, not {at_least}");
        counted.push(format!("{bad} {kind}"));
    }
    let _ = writeln!(std::io::stderr(), "bad servers: {}; conversations in all: {}", counted.join(", "), all.len());
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
