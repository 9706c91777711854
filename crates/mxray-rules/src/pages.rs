//! Tests of the catalogue: every rule has its page, every page its sections, and every sample on it is a test.
//!
//! A sample is a JSON merge patch (RFC 7396) onto `healthy.json`, in a fence ```` ```evidence ````, and what must come
//! of it, in a fence ```` ```expect ````, one statement a line:
//!
//! ```text
//! critical SOCK101 endpoint *:25/tcp    this finding, of this severity, about this subject
//! cause SOCK101                         causes[0] carries this code ("cause none": there is no cause)
//! causes SOCK101 SOCK114                the codes of all causes, in order
//! run postconf -e 'inet_interfaces = all'   a fix of the page's own findings has exactly this command
//! undo postconf -X smtp_tls_loglevel    the same of undo
//! holds                                 the page's rule finds nothing, and could tell
//! cannot tell                           the page's code stands in unseen
//! ```
//!
//! The page's own findings must be exactly those that the sample lists.

use crate::{Judged, Rule, catalogue, examine};
use mxray_model::{Evidence, Finding, Fix};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const HEALTHY: &str = include_str!("healthy.json");
const SECTIONS: [&str; 6] =
    ["## What it means", "## Why it matters", "## How to fix it", "## How to verify", "## Data", "## Samples"];

struct Sample {
    title: String,
    patch: Value,
    expect: Vec<String>,
}

fn samples(rule: &Rule) -> Vec<Sample> {
    let (_, part) = rule.page.split_once("## Samples").unwrap_or_else(|| panic!("{}: no samples", rule.code));
    part.split("\n### ")
        .skip(1)
        .map(|section| {
            let title = section.lines().next().unwrap_or_default().to_owned();
            let fence = |kind: &str| {
                let start = format!("```{kind}\n");
                let (_, rest) =
                    section.split_once(&start).unwrap_or_else(|| panic!("{} / {title}: no {kind}", rule.code));
                rest.split_once("```")
                    .unwrap_or_else(|| panic!("{} / {title}: {kind} does not end", rule.code))
                    .0
                    .to_owned()
            };
            let patch =
                serde_json::from_str(&fence("evidence")).unwrap_or_else(|e| panic!("{} / {title}: {e}", rule.code));
            let expect = fence("expect").lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect();
            Sample { title, patch, expect }
        })
        .collect()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let object = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            object.remove(&key);
        } else {
            merge(object.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// `{"a": "absent"}` replaces `{"a": {"value": …}}`; `{"a": {"unknown": …}}` must not leave the old `value` beside it.
fn drop_beaten_states(value: &mut Value) {
    if let Value::Object(object) = value {
        if object.contains_key("unknown") {
            object.remove("value");
        }
        object.values_mut().for_each(drop_beaten_states);
    }
}

fn evidence(patch: Value) -> Evidence {
    static PARSED: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(HEALTHY).unwrap());
    let mut json = PARSED.clone();
    merge(&mut json, patch);
    drop_beaten_states(&mut json);
    serde_json::from_value(json).unwrap()
}

fn line_of(finding: &Finding) -> String {
    format!("{} {} {}", finding.severity.as_str(), finding.code, finding.subject)
}

fn check(rule: &Rule, sample: &Sample) {
    let at = format!("{} / {}", rule.code, sample.title);
    let evidence = evidence(sample.patch.clone());
    let judged = examine(&evidence);
    let own: BTreeSet<String> = judged.findings.iter().filter(|f| f.code == rule.code).map(line_of).collect();
    let is_own = |line: &&String| {
        !["causes ", "run ", "undo "].iter().any(|word| line.starts_with(word))
            && line.contains(&format!(" {} ", rule.code))
    };
    let listed: BTreeSet<String> = sample.expect.iter().filter(is_own).cloned().collect();
    assert_eq!(own, listed, "{at}: the rule's own findings\n{judged:#?}");
    let blind = judged.unseen.iter().any(|unseen| unseen.what == rule.code);
    for line in &sample.expect {
        let met = match line.as_str() {
            "holds" => own.is_empty() && !blind,
            "cannot tell" => blind,
            "cause none" => judged.causes.is_empty(),
            line => match line.split_once(' ') {
                Some(("cause", code)) => judged.causes.first().is_some_and(|cause| cause.code == code),
                Some(("causes", codes)) => {
                    judged.causes.iter().map(|cause| cause.code.as_str()).collect::<Vec<_>>().join(" ") == codes
                }
                Some(("run", command)) => own_fixes(rule, &judged).any(|fix| fix.commands.iter().any(|c| c == command)),
                Some(("undo", command)) => own_fixes(rule, &judged).any(|fix| fix.undo == command),
                _ => judged.findings.iter().any(|finding| line_of(finding) == line),
            },
        };
        assert!(
            met,
            "{at}: \"{line}\" does not hold\ncauses: {:?}\nfindings: {:?}\nunseen: {:?}",
            judged.causes.iter().map(line_of).collect::<Vec<_>>(),
            judged.findings.iter().map(line_of).collect::<Vec<_>>(),
            judged.unseen
        );
    }
    well_formed(rule, &evidence, &judged, &at);
}

fn own_fixes<'a>(rule: &'a Rule, judged: &'a Judged) -> impl Iterator<Item = &'a Fix> {
    judged.findings.iter().filter(|finding| finding.code == rule.code).flat_map(|finding| &finding.fix)
}

/// What every finding owes its reader.
fn well_formed(rule: &Rule, evidence: &Evidence, judged: &Judged, at: &str) {
    if judged.findings.iter().all(|finding| finding.code != rule.code) {
        return;
    }
    let json = serde_json::json!(evidence);
    for finding in judged.findings.iter().filter(|finding| finding.code == rule.code) {
        assert!(!finding.because.is_empty(), "{at}: no reason");
        for reason in &finding.because {
            assert!(json.pointer(&reason.evidence).is_some(), "{at}: {} leads nowhere", reason.evidence);
        }
        assert!(!finding.fix.is_empty(), "{at}: no fix");
        assert!(
            finding.fix.iter().any(|fix| !fix.verify.is_empty()) || finding.severity.as_str() == "notice",
            "{at}: nothing to verify with"
        );
        for key in finding.data.keys() {
            assert!(rule.page.contains(&format!("- `{key}`")), "{at}: data key {key} is not on the page");
        }
        assert!(finding.summary.ends_with('.'), "{at}: {}", finding.summary);
    }
}

/// Every sample is tried, so that one run shows all that fail.
#[test]
fn samples_hold() {
    let mut count = 0;
    let mut failed = Vec::new();
    for rule in catalogue() {
        let Ok(samples) = std::panic::catch_unwind(|| samples(rule)) else {
            failed.push(rule.code.to_owned());
            continue;
        };
        for sample in samples {
            count += 1;
            if std::panic::catch_unwind(|| check(rule, &sample)).is_err() {
                failed.push(format!("{} / {}", rule.code, sample.title));
            }
        }
    }
    assert_eq!(failed, Vec::<String>::new(), "these fail; what was said of each stands above");
    assert!(count >= catalogue().len() * 2);
}

#[test]
fn every_page_is_whole() {
    for rule in catalogue() {
        let title = format!("# {}: {}\n", rule.code, rule.name);
        assert!(rule.page.starts_with(&title), "{}: the page's title is not {title:?}", rule.code);
        for section in SECTIONS {
            assert!(rule.page.contains(section), "{}: no section {section:?}", rule.code);
        }
        assert!(rule.page.contains("Source: "), "{}: no source", rule.code);
        let expected: Vec<String> = samples(rule).into_iter().flat_map(|sample| sample.expect).collect();
        assert!(expected.iter().any(|line| line.contains(rule.code)), "{}: no sample in which it fires", rule.code);
        assert!(expected.iter().any(|line| line == "holds"), "{}: no sample in which it holds", rule.code);
        let judges_itself = rule.code == "LOOK010";
        assert!(
            judges_itself || expected.iter().any(|line| line == "cannot tell"),
            "{}: no sample in which it cannot tell",
            rule.code
        );
    }
}

#[test]
fn codes_and_names_are_unique_and_ordered() {
    let codes: Vec<&str> = catalogue().iter().map(|rule| rule.code).collect();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    let names: BTreeSet<&str> = catalogue().iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), codes.len());
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    assert_eq!(codes, sorted, "the list stands in the order of codes");
}

/// A file that nobody listed, or a page without its rule, is an orphan.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test counts the files of this crate")]
fn files_pages_and_entries_agree() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules");
    let (mut files, mut pages) = (BTreeSet::new(), BTreeSet::new());
    for family in std::fs::read_dir(root).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir()) {
        for entry in std::fs::read_dir(family.path()).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let stem = path.with_extension("");
            match path.extension().and_then(|e| e.to_str()) {
                Some("rs") if path.file_stem().unwrap() != "mod" => _ = files.insert(stem),
                Some("md") => _ = pages.insert(stem),
                _ => {}
            }
        }
    }
    assert_eq!(files, pages);
    assert_eq!(files.len(), catalogue().len());
}

#[test]
fn the_healthy_host_has_no_finding() {
    let judged = examine(&evidence(Value::Object(serde_json::Map::new())));
    assert_eq!(judged.findings, []);
    assert_eq!(judged.unseen, []);
    assert!(judged.healthy.len() >= catalogue().len());
}

#[test]
fn nothing_seen_is_nothing_found_and_never_healthy() {
    let judged = examine(&Evidence::default());
    assert_eq!(judged.findings, []);
    assert_eq!(judged.healthy, []);
    let blind: BTreeSet<String> = judged.unseen.into_iter().map(|unseen| unseen.what).collect();
    let missing: Vec<&str> = catalogue().iter().map(|r| r.code).filter(|c| !blind.contains(*c)).collect();
    // It speaks of the parts that ran: where none did, it has nothing to say.
    assert_eq!(missing, ["LOOK010"]);
}

#[test]
fn the_same_evidence_gives_the_same_bytes() {
    for rule in catalogue() {
        for sample in samples(rule) {
            let evidence = evidence(sample.patch);
            let once = serde_json::to_string(&examine(&evidence).findings).unwrap();
            let again = serde_json::to_string(&examine(&evidence).findings).unwrap();
            assert_eq!(once, again);
        }
    }
}

/// The records that a fix says to publish, as name servers would have them: MX, PTR and addresses are read by our own evaluators,
/// which find nothing wrong with them.
#[test]
fn t50_records_of_fixes_are_read_back() {
    let mut count = 0;
    for rule in catalogue() {
        for sample in samples(rule) {
            for finding in rule.judge(&evidence(sample.patch)).findings {
                let at = format!("{} / {}", rule.code, sample.title);
                count += finding.fix.iter().map(|fix| records::read_back(fix, &at)).sum::<usize>();
            }
        }
    }
    assert!(count >= 10, "{count}");
}

mod records {
    use mxray_auth::ask::{Kind, Machine, Step, Want, answered};
    use mxray_auth::identity::Pointers;
    use mxray_auth::route::MailRouter;
    use mxray_model::evidence::{DnsRecord, RecordData};
    use mxray_model::{Fix, Record, reverse_name};
    use std::net::IpAddr;

    fn name(text: &str, at: &str) -> String {
        let bare = text.strip_suffix('.').unwrap_or_else(|| panic!("{at}: {text:?} ends without a dot"));
        assert!(bare.is_empty() || crate::published::is_full(bare), "{at}: {bare:?} is no name of a host");
        bare.to_owned()
    }

    fn data(record: &Record, at: &str) -> Option<RecordData> {
        Some(match record.kind.as_str() {
            "MX" => {
                let (preference, exchange) = record.value.split_once(' ').unwrap();
                RecordData::Mx { preference: preference.parse().unwrap(), exchange: name(exchange, at) }
            }
            "PTR" => RecordData::Ptr { target: name(&record.value, at) },
            "A" => RecordData::A { address: record.value.parse().unwrap() },
            "AAAA" => RecordData::Aaaa { address: record.value.parse().unwrap() },
            // Texts are read back where they are made.
            _ => return None,
        })
    }

    /// Every name that is not among the records has one public address.
    fn drive<E: mxray_auth::ask::Evaluator>(evaluator: E, records: &[(String, RecordData)], any: IpAddr) -> E::Outcome {
        let mut machine = Machine::new(evaluator);
        loop {
            let wants = match machine.step() {
                Step::Done(outcome) => return outcome,
                Step::Wants(wants) => wants,
            };
            for want in wants {
                let Want::Dns { name, kind } = want else { panic!("no policy is asked for") };
                let of = |data: RecordData| DnsRecord { name: name.clone(), ttl_s: 300, data };
                let mut found: Vec<DnsRecord> = records
                    .iter()
                    .filter(|(owner, data)| *owner == name && data.kind() == kind.as_str())
                    .map(|(_, data)| of(data.clone()))
                    .collect();
                match (kind, any) {
                    (Kind::A, IpAddr::V4(address)) if found.is_empty() => found.push(of(RecordData::A { address })),
                    (Kind::Aaaa, IpAddr::V6(address)) if found.is_empty() => {
                        found.push(of(RecordData::Aaaa { address }));
                    }
                    _ => {}
                }
                machine.dns(&name, kind, answered(&name, kind, found));
            }
        }
    }

    pub fn read_back(fix: &Fix, at: &str) -> usize {
        let records: Vec<(String, RecordData)> =
            fix.records.iter().filter_map(|record| Some((record.name.clone(), data(record, at)?))).collect();
        for record in &fix.records {
            match record.kind.as_str() {
                "MX" => {
                    let domain = record.name.clone();
                    let mx: Vec<_> = records.iter().filter(|(_, data)| data.kind() == "MX").cloned().collect();
                    let routing = drive(MailRouter { domain }, &mx, "8.97.33.1".parse().unwrap());
                    assert_eq!(routing.problems, [], "{at}: {routing:?}");
                }
                "PTR" => {
                    let address = [fix.who.split(' ').nth(2).unwrap_or_default()];
                    let address: IpAddr = address[0].parse().unwrap_or_else(|_| panic!("{at}: {}", fix.who));
                    assert_eq!(record.name, reverse_name(address), "{at}");
                    let found = drive(Pointers { address }, &records, address);
                    assert!(found.confirmed.value().is_some_and(|names| names.len() == 1), "{at}: {found:?}");
                }
                _ => {}
            }
        }
        records.len()
    }
}

/// The samples of pages that hold a trap which other tools fell into.
mod traps {
    use super::{catalogue, check, samples};

    fn holds(code: &str, titles: &[&str]) {
        let rule = catalogue().iter().find(|rule| rule.code == code).unwrap();
        let known = samples(rule);
        for title in titles {
            check(
                rule,
                known.iter().find(|sample| sample.title == *title).unwrap_or_else(|| panic!("{code}: {title}")),
            );
        }
    }

    #[test]
    fn t07_a_dead_port_25_is_judged_by_hosts_that_have_nothing_to_do_with_each_other() {
        holds("LOOK005", &["Two hosts of two owners", "Two hosts of one owner", "A third host answers"]);
    }

    #[test]
    fn t08_a_spare_exchanger_that_is_down_is_no_failure() {
        holds("MX113", &["The spare host is down", "The preferred host is down, the spare one works"]);
    }

    #[test]
    fn t09_a_greeting_that_names_us_is_about_us() {
        holds("LOOK006", &["The greeting names our address", "It says no to everybody"]);
    }

    #[test]
    fn t38_a_certificate_matters_by_port_and_by_policy() {
        holds(
            "TLS106",
            &["Signed itself, on port 25", "Signed itself, on port 993", "The relayhost's, and our server verifies"],
        );
        holds("TLS103", &["Port 25", "IMAP with a certificate of yesterday", "A receiver's certificate"]);
    }

    #[test]
    fn t41_old_versions_are_a_warning_on_port_25_and_an_error_elsewhere() {
        holds("TLS108", &["Port 25 with TLS 1.1", "IMAP with TLS 1.0", "A receiver's"]);
    }

    #[test]
    fn t42_no_rule_asks_for_a_staple() {
        assert!(!catalogue().iter().any(|rule| rule.summary.contains("staple") || rule.summary.contains("OCSP")));
    }

    #[test]
    fn t43_logins_that_are_off_before_tls_are_right() {
        holds("MBOX101", &["LOGINDISABLED before TLS, at a server of IMAP4rev2 alone", "No LOGINDISABLED"]);
    }
}
