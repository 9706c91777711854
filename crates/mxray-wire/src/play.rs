//! Test only: plays scenario files against a machine, whole and cut in pieces.

use crate::base64;
use crate::scenario::{Scenario, Step};
use crate::{Machine, Moment, Want};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Conversations up to this size are cut; long ones at every few bytes.
const CUT_BYTES_MAX: usize = 2000;
const CUTS_MAX: usize = 150;
/// What stands for a stream without an end: more than any limit.
const ENDLESS_BYTES: usize = 16 << 20;
/// What comes at a time.
const READ_BYTES: usize = 16 << 10;

/// Plays a scenario; what the server says comes in the pieces that `cut` makes of it.
fn play<M: Machine>(mut client: M, scenario: &Scenario, cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) -> M::Session {
    let mut now = Moment::from_millis(5);
    let mut steps = scenario.steps.iter().peekable();
    let mut written = Vec::new();
    for _ in 0..100_000 {
        match client.want(now) {
            Want::Write(bytes) => written.extend_from_slice(bytes.expose()),
            Want::StartTls => {
                check_written(&mut steps, &mut written);
                match steps.next() {
                    Some(Step::Tls(ok)) => client.on_tls(*ok, now),
                    Some(Step::TlsFault(_)) => client.on_tls(false, now),
                    other => panic!("a handshake is wanted, and the scenario has {other:?}"),
                }
            }
            Want::Read { until } => {
                check_written(&mut steps, &mut written);
                if let Some(Step::Wait(millis)) = steps.peek() {
                    now += Moment::from_millis(*millis);
                    steps.next();
                    if now >= until {
                        client.on_deadline(until);
                    }
                } else {
                    read(&mut client, &mut steps, cut, now);
                }
            }
            Want::Close => {}
            Want::Done => {
                check_written(&mut steps, &mut written);
                let left: Vec<&Step> = steps.filter(|step| !matches!(step, Step::Close | Step::Silence)).collect();
                assert!(left.is_empty(), "the session was over before {left:?}");
                return client.into_session();
            }
        }
    }
    panic!("the session does not end");
}

fn check_written<'a>(steps: &mut std::iter::Peekable<impl Iterator<Item = &'a Step>>, written: &mut Vec<u8>) {
    if let Some(Step::Client(expected)) = steps.peek() {
        assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(expected), "what the client wrote");
        steps.next();
        written.clear();
    }
    assert!(written.is_empty(), "unexpected: {}", String::from_utf8_lossy(written));
}

fn read<'a, M: Machine>(
    client: &mut M,
    steps: &mut std::iter::Peekable<impl Iterator<Item = &'a Step>>,
    cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>,
    now: Moment,
) {
    match steps.next() {
        Some(Step::Server(bytes)) => {
            for piece in cut(bytes) {
                client.on_bytes(&piece, now);
            }
        }
        Some(Step::Endless(piece)) => {
            let pieces = piece.repeat(READ_BYTES / piece.len() + 1);
            // A machine that has reached a limit ignores what still comes.
            for _ in 0..ENDLESS_BYTES / READ_BYTES {
                client.on_bytes(&pieces, now);
            }
            assert!(!matches!(client.want(now), Want::Read { .. }), "what has no end is read without a limit");
        }
        Some(Step::Close) => client.on_closed(now),
        Some(Step::Reset) => client.on_broken("Connection reset by peer", now),
        None | Some(Step::Silence) => client.on_deadline(now),
        Some(other) => panic!("the client reads, and the scenario has {other:?}"),
    }
}

/// The files of one protocol: `scenarios/KIND/*.KIND` from the workspace's root.
#[expect(clippy::disallowed_methods, reason = "the files are the test's own")]
fn scenarios(kind: &str) -> Vec<(PathBuf, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(kind);
    let files = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == kind)).collect();
    files.sort();
    assert!(!files.is_empty());
    let parse = |path: &PathBuf| match Scenario::parse(&std::fs::read_to_string(path).unwrap()) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    files.into_iter().map(|path| (path.clone(), parse(&path))).collect()
}

fn whole(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![bytes.to_vec()]
}

/// Every scenario ends as it says; no session holds the password that it logged in with.
pub(crate) fn check_all<M: Machine>(kind: &str, make: fn(&Scenario) -> M)
where
    M::Session: Serialize,
{
    let mut wrong = Vec::new();
    for (path, scenario) in scenarios(kind) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match std::panic::catch_unwind(|| play(make(&scenario), &scenario, &whole)) {
            Ok(session) => {
                let json = serde_json::to_value(&session).unwrap();
                check_no_secret(&name, &scenario, &json.to_string());
                wrong.extend(differences(&scenario, &json).into_iter().map(|what| format!("{name}: {what}")));
            }
            Err(_) => wrong.push(format!("{name}: did not play")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn differences(scenario: &Scenario, json: &serde_json::Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if scenario.anomalies.is_none() || scenario.expect.is_empty() {
        wrong.push("expects nothing".to_owned());
    }
    for (pointer, value) in &scenario.expect {
        let expected: serde_json::Value =
            serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}"));
        let found = json.pointer(pointer);
        if found != Some(&expected) {
            wrong.push(format!("{pointer} is {found:?}, not {expected}"));
        }
    }
    let anomalies = json.pointer("/transcript/anomalies").and_then(|found| found.as_array()).unwrap();
    let mut kinds: Vec<String> = anomalies
        .iter()
        .map(|anomaly| match &anomaly["kind"] {
            serde_json::Value::String(name) => name.clone(),
            other => other.as_object().unwrap().keys().next().unwrap().clone(),
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    let mut expected = scenario.anomalies.clone().unwrap_or_default();
    expected.sort();
    if kinds != expected {
        wrong.push(format!("anomalies {kinds:?}, not {expected:?}"));
    }
    wrong
}

fn check_no_secret(name: &str, scenario: &Scenario, json: &str) {
    for (_, password) in scenario.plan.iter().filter(|(word, _)| word == "password") {
        let hex: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [password.clone(), hex.to_ascii_uppercase(), hex, base64::encode(password.as_bytes())] {
            assert!(!json.contains(&form), "{name}: the session holds {form}");
        }
    }
}

/// Any cut of the server's bytes gives the same session. What stands in the buffer behind the reply to STARTTLS depends
/// on the cut; that alone may differ.
pub(crate) fn check_cuts<M: Machine>(kind: &str, make: fn(&Scenario) -> M)
where
    M::Session: PartialEq,
{
    for (path, scenario) in scenarios(kind) {
        let bytes: usize = scenario
            .steps
            .iter()
            .map(|step| match step {
                Step::Server(b) => b.len(),
                Step::Endless(_) => CUT_BYTES_MAX + 1,
                _ => 0,
            })
            .sum();
        let injects = scenario.anomalies.iter().flatten().any(|name| name == "text_before_tls");
        if bytes > CUT_BYTES_MAX || injects {
            continue;
        }
        let expected = play(make(&scenario), &scenario, &whole);
        for at in (1..bytes).step_by(bytes / CUTS_MAX + 1) {
            let cut = |bytes: &[u8]| {
                let (head, tail) = bytes.split_at(at.min(bytes.len()));
                [head, tail].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
            };
            assert!(play(make(&scenario), &scenario, &cut) == expected, "{} cut at {at}", path.display());
        }
        let single = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
        assert!(play(make(&scenario), &scenario, &single) == expected, "{} byte by byte", path.display());
    }
}

/// The words of `plan:` lines by name; a word that is not in `known` is a mistake in the file.
pub(crate) fn words<'a>(scenario: &'a Scenario, known: &[&str]) -> impl Fn(&str) -> Option<&'a str> {
    for (name, _) in &scenario.plan {
        assert!(known.contains(&name.as_str()), "no such word in a plan: {name}");
    }
    |name| scenario.plan.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The login of a plan.
pub(crate) fn auth<'a>(of: impl Fn(&str) -> Option<&'a str>) -> Option<crate::Auth> {
    let login = crate::sasl::Login::new(of("user")?, crate::Secret::new(of("password").unwrap_or_default()));
    let mut auth = crate::Auth::with_password(login, of("nonce").unwrap_or("fyko+d2lbbFgONRv9qkxdawL"));
    if let Some(names) = of("mechanisms") {
        auth.mechanisms = names.split(',').map(|name| crate::sasl::Mechanism::named(name).unwrap()).collect();
    }
    auth.in_clear = of("clear") == Some("yes");
    auth.initial_response = of("initial") != Some("no");
    Some(auth)
}

pub(crate) fn depth(word: &str) -> mxray_model::session::Depth {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).unwrap()
}

pub(crate) fn starttls(word: Option<&str>) -> crate::Starttls {
    match word.unwrap_or("if-offered") {
        "never" => crate::Starttls::Never,
        "if-offered" => crate::Starttls::IfOffered,
        "required" => crate::Starttls::Required,
        other => panic!("starttls={other}"),
    }
}
