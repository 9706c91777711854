//! `domain --spf` against real name servers on loopback: the whole OpenSPF suite, and what stands in the way of an answer.

use super::dns::{self, Reply, Server};
use super::{mxray, run, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use yaml_rust2::{Yaml, YamlLoader};

/// Cases that run at the same time; most of their time is waiting.
const SIDE_BY_SIDE: usize = 8;
const ALIASES_MAX: usize = 8;
/// The suite has so many cases, and all of them can be put on the wire.
const CASES: usize = 203;

enum Entry {
    Record(u16, Vec<u8>, Option<String>),
    /// No answer for types of which no record stands before it.
    Timeout,
    TimeoutOf(u16),
}

/// What a zone of the suite says, as the suite's head describes it.
struct Zone(BTreeMap<String, Vec<Entry>>);

fn string(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Null => String::new(),
        other => panic!("no text: {other:?}"),
    }
}

fn key(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

fn type_of(kind: &str) -> u16 {
    match kind {
        "A" => dns::A,
        "AAAA" => dns::AAAA,
        "MX" => dns::MX,
        "PTR" => dns::PTR,
        "CNAME" => dns::CNAME,
        "TXT" => dns::TXT,
        other => panic!("no type: {other}"),
    }
}

fn entry(kind: &str, value: &Yaml) -> Option<Entry> {
    let number = type_of(kind);
    let data = match (kind, value) {
        (_, Yaml::String(text)) if text == "TIMEOUT" => return Some(Entry::TimeoutOf(number)),
        (_, Yaml::String(text)) if text == "NONE" => return None,
        ("TXT", Yaml::Array(parts)) => {
            dns::txt(&parts.iter().map(|part| dns::latin1(&string(part))).collect::<Vec<_>>())
        }
        ("TXT", one) => dns::txt(&[dns::latin1(&string(one))]),
        ("A", value) => dns::a(string(value).parse().unwrap()),
        ("AAAA", value) => dns::aaaa(string(value).parse().unwrap()),
        ("PTR" | "CNAME", value) => dns::name(&string(value)),
        ("MX", Yaml::Array(parts)) => dns::mx(u16::try_from(parts[0].as_i64().unwrap()).unwrap(), &string(&parts[1])),
        other => panic!("no record: {other:?}"),
    };
    Some(Entry::Record(number, data, (kind == "CNAME").then(|| key(&string(value)))))
}

impl Zone {
    /// Records of the type SPF stand for TXT as well, where there is none.
    fn read(data: &Yaml) -> Zone {
        let mut zone = BTreeMap::new();
        for (owner, records) in data.as_hash().unwrap() {
            let records = records.as_vec().unwrap();
            let has_text =
                records.iter().filter_map(Yaml::as_hash).flatten().any(|(kind, _)| kind.as_str() == Some("TXT"));
            let mut entries = Vec::new();
            for record in records {
                match record {
                    Yaml::String(text) if text == "TIMEOUT" => entries.push(Entry::Timeout),
                    Yaml::Hash(pairs) => {
                        for (kind, value) in pairs {
                            match kind.as_str().unwrap() {
                                "SPF" if has_text => {}
                                "SPF" => entries.extend(entry("TXT", value)),
                                kind => entries.extend(entry(kind, value)),
                            }
                        }
                    }
                    other => panic!("no entry: {other:?}"),
                }
            }
            zone.insert(key(&string(owner)), entries);
        }
        Zone(zone)
    }

    fn answer(&self, asked: &str, kind: u16) -> Reply {
        let (mut owner, mut records) = (asked.to_owned(), Vec::new());
        for _ in 0..ALIASES_MAX {
            let Some(entries) = self.0.get(&owner) else {
                return Reply::Answer { rcode: dns::NXDOMAIN, records };
            };
            let (mut alias, mut found) = (None, false);
            for entry in entries {
                match entry {
                    Entry::Timeout if !found => return Reply::Silence,
                    Entry::Timeout => break,
                    Entry::TimeoutOf(of) if *of == kind => return Reply::Silence,
                    Entry::TimeoutOf(_) => {}
                    Entry::Record(of, data, target) => {
                        if *of == kind {
                            found = true;
                            records.push((owner.clone(), kind, data.clone()));
                        } else if target.is_some() {
                            alias = target.clone().map(|target| (target, data.clone()));
                        }
                    }
                }
            }
            match alias {
                Some((target, data)) if !found => {
                    records.push((owner, dns::CNAME, data));
                    owner = target;
                }
                _ => return dns::found(records),
            }
        }
        dns::code(dns::SERVFAIL)
    }
}

/// The suite's file, as mxray-auth fetches it. `None`: it was said why not.
fn suite() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let folder = target.join("vectors");
    match Command::new(here.join("../mxray-auth/vectors/fetch")).arg(&folder).output() {
        Ok(done) if done.status.success() => Some(folder.join("pyspf-2.0.14/test/rfc7208-tests.yml")),
        Ok(done) => {
            let _ = writeln!(std::io::stderr(), "skipped: the OpenSPF suite: {}", text(&done.stderr).trim());
            None
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: the OpenSPF suite: vectors/fetch: {error}");
            None
        }
    }
}

struct Case {
    name: String,
    server: usize,
    test: Yaml,
}

/// What is wrong with the answer to a case.
fn wrong(case: &Case, server: &Server) -> Option<String> {
    let of = |key: &str| string(&case.test[key]);
    let words = [
        "domain".to_owned(),
        "--spf".to_owned(),
        format!("--ip={}", of("host")),
        format!("--helo={}", of("helo")),
        format!("--mail-from={}", of("mailfrom")),
        server.resolver(),
        "--patience=2".to_owned(),
        "--json".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = run(&words);
    let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Some(format!("no answer: {}", text(&output.stderr)));
    };
    let allowed: Vec<String> = match &case.test["result"] {
        Yaml::Array(several) => several.iter().map(string).collect(),
        one => vec![string(one)],
    };
    let result = answer["result"].as_str().unwrap();
    // A name that nobody answers for is no answer of ours.
    let code = if result == "temperror" { 2 } else { 0 };
    if !allowed.iter().any(|one| one == result) {
        return Some(format!("{result} where {allowed:?} is due: {answer:#}"));
    }
    if output.status.code() != Some(code) {
        return Some(format!("{result} ends with {:?}: {answer:#}", output.status));
    }
    let explanation = &case.test["explanation"];
    if explanation.is_badvalue() || result != "fail" {
        return None;
    }
    let said = answer["explanation"].as_str().unwrap_or("DEFAULT");
    (said != string(explanation)).then(|| format!("explains {said:?}, not {explanation:?}"))
}

#[test]
fn openspf_suite_over_the_wire() {
    let Some(file) = suite() else { return };
    let (mut servers, mut cases) = (Vec::new(), Vec::new());
    for scenario in YamlLoader::load_from_str(&std::fs::read_to_string(file).unwrap()).unwrap() {
        for (name, test) in scenario["tests"].as_hash().unwrap() {
            let name = format!("{}: {}", string(&scenario["description"]), string(name));
            cases.push(Case { name, server: servers.len(), test: test.clone() });
        }
        let zone = Zone::read(&scenario["zonedata"]);
        servers.push(Server::new(move |name, kind| zone.answer(name, kind)));
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Some(why) = wrong(case, &servers[case.server]) {
                        failures.lock().unwrap().push(format!("{}: {why}", case.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let _ = writeln!(std::io::stderr(), "spf over the wire {}/{}", cases.len() - failures.len(), cases.len());
    assert_eq!(cases.len(), CASES);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn spf_zone(record: &'static str) -> Server {
    Server::new(move |name, kind| match (name, kind) {
        ("example.org", dns::TXT) => dns::found(vec![(name.to_owned(), kind, dns::txt(&[record.as_bytes().to_vec()]))]),
        ("dead.example.org", _) => Reply::Silence,
        ("lame.example.org", _) => dns::code(dns::SERVFAIL),
        ("shut.example.org", _) => dns::code(dns::REFUSED),
        _ => dns::code(dns::NXDOMAIN),
    })
}

fn spf(server: &Server, words: &[&str]) -> (Option<i32>, Value) {
    let resolver = server.resolver();
    let fixed = ["domain", "--spf", "--json", "--patience=1", &resolver];
    let output = run(&[&fixed[..], words].concat());
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr))),
    )
}

#[test]
fn an_answer_with_its_ledger() {
    let server = spf_zone("v=spf1 a:gone.example.org ip4:192.0.2.0/24 -all");
    let (code, answer) = spf(&server, &["example.org", "--ip", "::ffff:192.0.2.7"]);
    assert_eq!((code, &answer["schema"], &answer["result"]), (Some(0), &"mxray/spf/1".into(), &"pass".into()));
    assert_eq!((&answer["lookups"], &answer["voids"], &answer["ip"]), (&1.into(), &1.into(), &"192.0.2.7".into()));
    assert_eq!(answer["explanation"], Value::Null);
    let effects: Vec<&str> =
        answer["ledger"].as_array().unwrap().iter().map(|step| step["effect"].as_str().unwrap()).collect();
    assert_eq!(effects, ["not_matched", "matched", "skipped"]);
    assert_eq!((&answer["identity"], &answer["scope"]), (&"postmaster@example.org".into(), &"name".into()));
    assert_eq!(answer["unseen"], Value::Array(Vec::new()));
    // Each question once.
    assert_eq!(server.questions.load(Ordering::SeqCst), 2);
}

#[test]
fn a_resolver_that_does_not_tell_is_no_answer_and_servfail_is_one() {
    let ask = |host: &str, ip: &str| {
        let server = Server::new({
            let record = format!("v=spf1 a:{host}.example.org -all");
            move |name, kind| match (name, kind) {
                ("example.org", dns::TXT) => {
                    dns::found(vec![(name.to_owned(), kind, dns::txt(&[record.clone().into_bytes()]))])
                }
                ("dead.example.org", _) => Reply::Silence,
                ("lame.example.org", _) => dns::code(dns::SERVFAIL),
                _ => dns::code(dns::REFUSED),
            }
        });
        let (code, answer) = spf(&server, &["example.org", "--ip", ip]);
        (code, answer["result"].as_str().unwrap().to_owned(), answer["unseen"].as_array().unwrap().len())
    };
    assert_eq!(ask("dead", "192.0.2.1"), (Some(2), "temperror".into(), 1));
    assert_eq!(ask("shut", "192.0.2.1"), (Some(2), "temperror".into(), 1));
    assert_eq!(ask("lame", "192.0.2.1"), (Some(0), "temperror".into(), 0));
}

#[test]
fn for_a_person_within_80_columns_and_escaped() {
    let server = spf_zone(
        "v=spf1 include:gone.example.org exists:%{i}.a-very-long-name-that-goes-on-and-on.example.org \u{1b}[31m -all",
    );
    let resolver = server.resolver();
    let output = mxray(&[
        "domain",
        "example.org",
        "--spf",
        "--ip",
        "192.0.2.1",
        "--helo",
        "x\u{1b}[2J",
        "--mail-from",
        "a@example.org",
        &resolver,
    ])
    .env("COLUMNS", "80")
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("SPF of example.org for 192.0.2.1: permerror"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn international_names_are_taken_and_shown() {
    let server = Server::new(|name, kind| match (name, kind) {
        ("xn--bcher-kva.example", dns::TXT) => {
            dns::found(vec![(name.to_owned(), kind, dns::txt(&[b"v=spf1 ip6:2001:db8::/32 -all".to_vec()]))])
        }
        _ => dns::code(dns::NXDOMAIN),
    });
    let (code, answer) = spf(&server, &["b\u{fc}cher.example", "--ip", "2001:db8::1"]);
    assert_eq!((code, &answer["result"]), (Some(0), &"pass".into()));
    assert_eq!(
        (&answer["domain"], &answer["domain_unicode"]),
        (&"xn--bcher-kva.example".into(), &"b\u{fc}cher.example".into())
    );
}

#[test]
fn what_is_not_asked_for_is_said_with_64() {
    for words in [
        &["domain"][..],
        &["domain", "a@b"],
        &["domain", "example.org", "--helo", "h.example"],
        &["domain", "example.org", "--spf"],
        &["domain", "example.org", "--spf", "--ip", "192.0.2.1", "--format", "markdown"],
        &["domain", "example.org", "--spf", "--ip", "192.0.2.1", "--ip", "192.0.2.2"],
        &["domain", "--spf", "--ip", "192.0.2.1"],
        &["domain", "a@b", "--spf", "--ip", "192.0.2.1"],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
