//! The OpenSPF suite for RFC 7208, from pyspf's source package, over a zone as the suite describes it.

use super::packages;
use mxray_auth::ask::{Kind, Machine, Step, Want, answered, unanswered};
use mxray_auth::spf::Spf;
use mxray_model::evidence::published::{SpfResult, SpfVerdict};
use mxray_model::evidence::{DnsOutcome, DnsRecord, Lookup, RecordData};
use mxray_model::session::Raw;
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, YamlLoader};

/// Most rounds of one evaluation; it asks for at least one name in each.
const ROUNDS_MAX: usize = 600;
const ALIASES_MAX: usize = 8;

enum Entry {
    Record(RecordData),
    /// No answer for types of which no record stands before it.
    Timeout,
    TimeoutOf(String),
}

struct Zone(BTreeMap<String, Vec<Entry>>);

fn string(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Null => String::new(),
        other => panic!("no text: {other:?}"),
    }
}

/// Characters of the suite are bytes.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| u8::try_from(u32::from(c)).map_or_else(|_| c.to_string().into_bytes(), |byte| vec![byte]))
        .collect()
}

fn strings(yaml: &Yaml) -> Vec<Raw> {
    match yaml {
        Yaml::Array(parts) => parts.iter().map(|part| Raw(bytes(&string(part)))).collect(),
        one => vec![Raw(bytes(&string(one)))],
    }
}

fn name(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

fn entry(kind: &str, value: &Yaml) -> Option<Entry> {
    let data = match (kind, value) {
        (_, Yaml::String(text)) if text == "TIMEOUT" => return Some(Entry::TimeoutOf(kind.to_owned())),
        (_, Yaml::String(text)) if text == "NONE" => return None,
        ("TXT", value) => RecordData::Txt { strings: strings(value) },
        ("A", value) => RecordData::A { address: string(value).parse().unwrap() },
        ("AAAA", value) => RecordData::Aaaa { address: string(value).parse().unwrap() },
        ("PTR", value) => RecordData::Ptr { target: name(&string(value)) },
        ("CNAME", value) => RecordData::Cname { target: name(&string(value)) },
        ("MX", Yaml::Array(parts)) => RecordData::Mx {
            preference: u16::try_from(parts[0].as_i64().unwrap()).unwrap(),
            exchange: name(&string(&parts[1])),
        },
        other => panic!("no record: {other:?}"),
    };
    Some(Entry::Record(data))
}

impl Zone {
    /// Records of the type SPF stand for TXT as well, where there is none (the suite's head).
    fn read(data: &Yaml) -> Zone {
        let mut zone = BTreeMap::new();
        for (owner, records) in data.as_hash().unwrap() {
            let records = records.as_vec().unwrap();
            let pairs = || records.iter().filter_map(Yaml::as_hash).flatten();
            let has_text = pairs().any(|(kind, _)| kind.as_str() == Some("TXT"));
            let mut entries = Vec::new();
            for record in records {
                match record {
                    Yaml::String(text) if text == "TIMEOUT" => entries.push(Entry::Timeout),
                    Yaml::Hash(pairs) => {
                        for (kind, value) in pairs {
                            let kind = match kind.as_str().unwrap() {
                                "SPF" if has_text => continue,
                                "SPF" => "TXT",
                                kind => kind,
                            };
                            entries.extend(entry(kind, value));
                        }
                    }
                    other => panic!("no entry: {other:?}"),
                }
            }
            zone.insert(name(&string(owner)), entries);
        }
        Zone(zone)
    }

    fn answer(&self, asked: &str, kind: Kind) -> Lookup {
        let late = || unanswered(asked, kind, DnsOutcome::NoAnswer { after_ms: 20_000 });
        let mut owner = plain(asked);
        let mut records = Vec::new();
        for _ in 0..ALIASES_MAX {
            let Some(entries) = self.0.get(&owner) else {
                return match records.is_empty() {
                    true => unanswered(asked, kind, DnsOutcome::NoSuchName),
                    false => Lookup { records, ..unanswered(asked, kind, DnsOutcome::NoSuchName) },
                };
            };
            let mut alias = None;
            let mut found = false;
            for entry in entries {
                match entry {
                    Entry::Timeout if !found => return late(),
                    Entry::Timeout => break,
                    Entry::TimeoutOf(of) if of == kind.as_str() => return late(),
                    Entry::TimeoutOf(_) => {}
                    Entry::Record(data) if data.kind() == kind.as_str() => {
                        found = true;
                        records.push(DnsRecord { name: owner.clone(), ttl_s: 60, data: data.clone() });
                    }
                    Entry::Record(RecordData::Cname { target }) => alias = Some(target.clone()),
                    Entry::Record(_) => {}
                }
            }
            match alias {
                Some(target) if !found => {
                    records.push(DnsRecord {
                        name: owner,
                        ttl_s: 60,
                        data: RecordData::Cname { target: target.clone() },
                    });
                    owner = target;
                }
                _ => return answered(asked, kind, records),
            }
        }
        unanswered(asked, kind, DnsOutcome::Refused { rcode: "SERVFAIL".into() })
    }
}

/// A name as the suite writes it.
fn plain(escaped: &str) -> String {
    let mut out = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let next = rest.next().unwrap();
                if next.is_ascii_digit() {
                    let digits = [next, rest.next().unwrap(), rest.next().unwrap()];
                    out.push(std::str::from_utf8(&digits).unwrap().parse().unwrap());
                } else {
                    out.push(next);
                }
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn evaluated(zone: &Zone, query: Spf) -> SpfVerdict {
    let mut machine = Machine::new(query);
    for _ in 0..ROUNDS_MAX {
        match machine.step() {
            Step::Done(verdict) => return verdict,
            Step::Wants(wants) => {
                assert!(!wants.is_empty());
                for want in wants {
                    let Want::Dns { name, kind } = want else { panic!("SPF fetches no policy") };
                    machine.dns(&name, kind, zone.answer(&name, kind));
                }
            }
        }
    }
    panic!("the evaluation does not end");
}

fn wrong(zone: &Zone, test: &Yaml) -> Option<String> {
    let query = Spf {
        ip: string(&test["host"]).parse().unwrap(),
        helo: string(&test["helo"]),
        mail_from: string(&test["mailfrom"]),
        receiver: "receiver.example".into(),
        now_s: 1_800_000_000,
    };
    let verdict = evaluated(zone, query);
    let allowed: Vec<String> = match &test["result"] {
        Yaml::Array(several) => several.iter().map(string).collect(),
        one => vec![string(one)],
    };
    if !allowed.iter().any(|result| result == verdict.result.as_str()) {
        return Some(format!(
            "{} where {allowed:?} is due: {}\n{:#?}",
            verdict.result.as_str(),
            verdict.reason,
            verdict.ledger
        ));
    }
    let explanation = &test["explanation"];
    if explanation.is_badvalue() || verdict.result != SpfResult::Fail {
        return None;
    }
    let said = verdict.explanation.unwrap_or_else(|| "DEFAULT".into());
    (said != string(explanation)).then(|| format!("explains {said:?}, not {explanation:?}"))
}

#[test]
fn openspf_suite() {
    let Some(folder) = packages("openspf_suite") else { return };
    let text = std::fs::read_to_string(folder.join("pyspf-2.0.14/test/rfc7208-tests.yml")).unwrap();
    let (mut passed, mut all, mut failures) = (0, 0, Vec::new());
    for scenario in YamlLoader::load_from_str(&text).unwrap() {
        let zone = Zone::read(&scenario["zonedata"]);
        for (name, test) in scenario["tests"].as_hash().unwrap() {
            all += 1;
            match wrong(&zone, test) {
                None => passed += 1,
                Some(why) => failures.push(format!("{}: {}: {why}", string(&scenario["description"]), string(name))),
            }
        }
    }
    super::score("spf", passed, all, &failures);
}

/// A record that includes itself is an error for pyspf before any term is looked at. RFC 7208 has the lookups counted (section
/// 4.6.4), and whatever matches before is the answer.
const RECURSION: &str = "include has trivial recursion";
/// pyspf wants every modifier once. "Unrecognized modifiers MUST be ignored no matter where, or how often, they appear"
/// (section 6).
const TWICE: &str = "MUST appear at most once";
/// pyspf asks for the addresses of all of a domain's exchangers, and counts those without any, before it compares the first
/// one. Here each is compared as it is known, and whoever stands behind the one that matches is not asked for; section 4.6.4
/// limits the lookups that return nothing, and these were not made.
const VOIDS: &str = "Void lookup limit";

/// Is pyspf known to differ in this, and why it is wrong or both are right?
fn is_excused(theirs: &str, ours: &str) -> bool {
    let unknown = |name: &str| !matches!(name, "redirect" | "exp");
    let twice = theirs.split_once(TWICE).and_then(|(_, rest)| rest.trim_start_matches(": ").split_once('='));
    // Behind the sentence stands the ledger, a step for each term: an `mx` says by which exchanger it matched.
    let by_mx = ours.split("SpfStep {").any(|step| {
        let term = step.split_once("term: \"").map(|(_, term)| term.trim_start_matches(['+', '-', '~', '?']));
        let name = term.and_then(|term| term.split([':', '/', '"']).next());
        name.is_some_and(|name| name.eq_ignore_ascii_case("mx")) && step.contains("note: \"by ")
    });
    theirs.contains(RECURSION) || twice.is_some_and(|(name, _)| unknown(name)) || (theirs.contains(VOIDS) && by_mx)
}

/// Records of chance: what pyspf makes of them is what is made of them here.
#[test]
fn records_of_chance_are_judged_as_pyspf_does() {
    let Some(folder) = packages("records_of_chance") else { return };
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/spf_second.py");
    // More of them, and others, by hand.
    let word = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let done = std::process::Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(folder.join("pyspf-2.0.14"))
        .args([word("MXRAY_CHANCES", "300"), word("MXRAY_SEED", "7208")])
        .output();
    let text = match done {
        Ok(done) if done.status.success() => String::from_utf8(done.stdout).unwrap(),
        Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => return println!("skipped: records_of_chance: python3: {error}"),
    };
    let (mut all, mut differ) = (0, Vec::new());
    for scenario in text.lines().filter(|line| line.starts_with('{')) {
        let scenario = YamlLoader::load_from_str(scenario).unwrap().remove(0);
        let zone = Zone::read(&scenario["zonedata"]);
        for (name, test) in scenario["tests"].as_hash().unwrap() {
            all += 1;
            let theirs = string(&test["why"]);
            let Some(why) = wrong(&zone, test) else { continue };
            if is_excused(&theirs, &why) {
                continue;
            }
            let ours = why.lines().next().unwrap_or_default();
            differ.push(format!("{} {}: {ours}; pyspf: {theirs}", string(&scenario["description"]), string(name)));
        }
    }
    assert!(differ.is_empty(), "{} of {all} differ:\n{}", differ.len(), differ[..differ.len().min(20)].join("\n"));
}
