//! Traps by their numbers, and policies and records of every kind.

use super::{Dane, Sts, TlsReports, bimi_record, dane, sts_matches, sts_policy, sts_record, tls_report_record};
use crate::ask::{Fetched, Kind};
use crate::pem::blocks;
use crate::played::Zone;
use data_encoding::HEXLOWER;
use mxray_model::evidence::RecordData;
use mxray_model::evidence::published::{DaneResult, DaneVerdict, StsMode, StsProblem, StsState, TlsaProblem};
use mxray_model::{Blind, Seen};
use proptest::prelude::*;
use ring::digest::{SHA256, SHA512, digest};
use x509_parser::prelude::FromDer;

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mail.example.org\nmx: *.example.net\nmax_age: 604800\n";
/// 2026-12-01.
const NOW_S: i64 = 1_796_083_200;

fn der(pem: &[u8]) -> Vec<u8> {
    blocks(pem)[0].der.as_ref().unwrap().to_vec()
}

fn leaf() -> Vec<u8> {
    der(include_bytes!("../../fixtures/chain/leaf.pem"))
}

fn between() -> Vec<u8> {
    der(include_bytes!("../../fixtures/chain/between.pem"))
}

fn root() -> Vec<u8> {
    der(include_bytes!("../../fixtures/chain/root.pem"))
}

fn spki(der: &[u8]) -> Vec<u8> {
    x509_parser::certificate::X509Certificate::from_der(der).unwrap().1.public_key().raw.to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

fn body(text: &str) -> Fetched {
    Fetched::Body { bytes: text.into(), content_type: Some("text/plain; charset=utf-8".into()) }
}

fn published() -> Zone {
    Zone::default().txt("_mta-sts.example.org", "v=STSv1; id=20260101T000000;").mx("example.org", "mail.example.org")
}

fn state(zone: &Zone) -> StsState {
    zone.outcome(Sts { domain: "example.org".into() })
}

#[test]
fn t44_line_feeds_are_fine_and_redirections_are_not() {
    for text in [POLICY.to_owned(), POLICY.replace('\n', "\r\n"), POLICY.trim_end().to_owned()] {
        let policy = sts_policy(text.as_bytes());
        assert_eq!((policy.mode, policy.max_age_s, policy.valid), (Some(StsMode::Enforce), Some(604_800), true));
        assert_eq!((policy.patterns.len(), policy.problems), (2, vec![]));
    }
    for status in [301, 302, 404, 500, 204] {
        let state = state(&published().policy(Fetched::Status(status)));
        assert!(state.policy.is_absent() && state.fetch.unwrap().contains(&status.to_string()));
    }
    assert!(state(&published().policy(body(POLICY))).uncovered.value().unwrap().is_empty());
}

#[test]
fn t44_a_wildcard_is_one_whole_label() {
    assert!(sts_matches("*.example.net", "mx1.EXAMPLE.net."));
    assert!(sts_matches("Mail.example.org", "mail.example.org"));
    for (pattern, name) in [
        ("*.example.net", "example.net"),
        ("*.example.net", "a.b.example.net"),
        ("*.example.net", "a.badexample.net"),
        ("example.net", "mx.example.net"),
        ("mail.example.org", "xmail.example.org"),
        ("*.example.net", ".example.net"),
    ] {
        assert!(!sts_matches(pattern, name), "{pattern} {name}");
    }
    let zone = published().mx("example.org", "a.b.example.net").policy(body(POLICY));
    assert_eq!(state(&zone).uncovered, Seen::Value(vec!["a.b.example.net".to_owned()]));
}

#[test]
fn t51_what_we_refuse_to_fetch_is_unknown() {
    let state = state(&published().policy(Fetched::NotAllowed("mta-sts.example.org is at 10.0.0.1".into())));
    assert!(state.policy.blind().is_some() && state.uncovered.blind().is_some());
}

#[test]
fn policies_that_cannot_be_used() {
    let without = |line: &str| sts_policy(POLICY.replace(line, "").as_bytes());
    for (line, key) in [("version: STSv1\n", "version"), ("mode: enforce\n", "mode"), ("max_age: 604800\n", "max_age")]
    {
        let policy = without(line);
        assert!(!policy.valid);
        assert_eq!(policy.problems, [StsProblem::MissingKey { key: key.into() }]);
    }
    let nobody = sts_policy(b"version: STSv1\nmode: testing\nmax_age: 604800\n");
    assert_eq!((nobody.valid, nobody.problems), (false, vec![StsProblem::NoMx]));
    let off = sts_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n");
    assert_eq!((off.valid, off.problems), (true, vec![]));
    let short = sts_policy(POLICY.replace("604800", "86400").as_bytes());
    assert_eq!((short.valid, short.problems), (true, vec![StsProblem::ShortAge { seconds: 86_400 }]));
    for (from, to) in [("604800", "31557601"), ("604800", "a week"), ("604800", "")] {
        assert!(!sts_policy(POLICY.replace(from, to).as_bytes()).valid, "{to}");
    }
    assert!(!sts_policy(POLICY.replace("enforce", "Enforce!").as_bytes()).valid);
    let odd = sts_policy(POLICY.replace("*.example.net", "mx.*.net").as_bytes());
    assert!(matches!(odd.problems.as_slice(), [StsProblem::Policy { line: 4, .. }]), "{:?}", odd.problems);
    assert!(sts_policy(format!("{POLICY}future: yes\n").as_bytes()).problems.is_empty());
    let html =
        state(&published().policy(Fetched::Body { bytes: POLICY.into(), content_type: Some("text/html".into()) }));
    assert!(matches!(html.policy.value().unwrap().problems.as_slice(), [StsProblem::ContentType { .. }]));
}

#[test]
fn records_that_are_none_are_not_fetched_for() {
    let (none, asked) = Zone::default().mx("example.org", "m.example.org").play(Sts { domain: "example.org".into() });
    assert!(none.record.is_absent() && none.policy.is_absent());
    assert!(!asked.iter().any(|question| question.starts_with("policy")));
    let twice = published().txt("_mta-sts.example.org", "v=STSv1; id=2;");
    let (twice, asked) = twice.play(Sts { domain: "example.org".into() });
    assert!(twice.record.value().unwrap().problems.contains(&StsProblem::SeveralRecords { count: 2 }));
    assert!(!asked.iter().any(|question| question.starts_with("policy")));
    let late = state(&Zone::default().fails("_mta-sts.example.org", Kind::Txt));
    assert!(late.record.blind().is_some() && late.policy.blind().is_some());
    assert_eq!(sts_record(b"v=STSv1; id=1").problems, []);
    assert_eq!(sts_record(b"v=STSv1; id=20-26;").problems.len(), 1);
    assert_eq!(sts_record(b"v=STSv1;").problems, [StsProblem::MissingKey { key: "id".into() }]);
    assert!(!sts_record(b"v=STSv2; id=1;").problems.is_empty());
}

#[test]
fn tls_reports() {
    let good = tls_report_record(b"v=TLSRPTv1; rua=mailto:t@example.org,https://r.example.org/v1");
    assert_eq!((good.targets.len(), good.problems), (2, vec![]));
    for bad in [
        "v=TLSRPTv1;",
        "v=TLSRPTv1; rua=t@example.org",
        "v=TLSRPTv1; rua=ftp://x.example",
        "v=TLSRPT1; rua=mailto:t@example.org",
    ] {
        assert!(!tls_report_record(bad.as_bytes()).problems.is_empty(), "{bad}");
    }
    let zone = Zone::default().txt("_smtp._tls.example.org", "v=TLSRPTv1; rua=mailto:t@example.org");
    assert!(zone.outcome(TlsReports { domain: "example.org".into() }).value().unwrap().problems.is_empty());
    assert!(Zone::default().outcome(TlsReports { domain: "example.org".into() }).is_absent());
    let twice = zone.txt("_smtp._tls.example.org", "v=TLSRPTv1; rua=mailto:u@example.org");
    assert_eq!(twice.outcome(TlsReports { domain: "example.org".into() }).value().unwrap().problems.len(), 1);
}

#[test]
fn bimi() {
    let good = bimi_record(b"v=BIMI1; l=https://example.org/logo.svg; a=https://example.org/vmc.pem");
    assert_eq!((good.problems, good.declined), (vec![], false));
    let declined = bimi_record(b"v=BIMI1; l=; a=;");
    assert_eq!((declined.problems, declined.declined), (vec![], true));
    for bad in [
        "v=BIMI1",
        "v=BIMI2; l=",
        "v=BIMI1; l=http://example.org/logo.svg",
        "v=BIMI1; l=https://example.org/logo.png",
        "v=BIMI1; a=https://x.example/v.pem; l=",
    ] {
        assert!(!bimi_record(bad.as_bytes()).problems.is_empty(), "{bad}");
    }
}

fn tlsa(usage: u8, selector: u8, matching: u8, data: &str) -> RecordData {
    RecordData::Tlsa { usage, selector, matching, data: data.to_owned() }
}

fn judged(records: Vec<RecordData>, secure: bool, chain: Seen<Vec<Vec<u8>>>, name: &str) -> DaneVerdict {
    let zone = records.into_iter().fold(Zone::default(), |zone, data| zone.with("_25._tcp.mail.example", data));
    let lookup = zone.lookup("_25._tcp.mail.example", Kind::Tlsa);
    let secure = || Seen::Value(secure);
    dane(&Dane {
        lookup: &lookup,
        mx_secure: secure(),
        host_secure: secure(),
        tlsa_secure: secure(),
        chain,
        names: vec![name.to_owned()],
        now_s: NOW_S,
    })
}

fn presented() -> Seen<Vec<Vec<u8>>> {
    Seen::Value(vec![leaf(), between()])
}

#[test]
fn t39_usages_0_and_1_are_unusable_for_smtp() {
    let pkix = judged(vec![tlsa(1, 1, 1, &sha256(&spki(&leaf())))], true, presented(), "mail.example");
    assert_eq!((pkix.result, pkix.records[0].problem.clone()), (DaneResult::Unusable, Some(TlsaProblem::Usage)));
    let beside = judged(
        vec![tlsa(0, 0, 1, &sha256(&leaf())), tlsa(3, 1, 1, &sha256(&spki(&leaf())))],
        true,
        presented(),
        "mail.example",
    );
    assert_eq!(beside.result, DaneResult::Authenticated);
}

#[test]
fn t39_records_that_are_not_signed_have_no_effect() {
    let record = || vec![tlsa(3, 1, 1, &sha256(b"another key"))];
    assert_eq!(judged(record(), false, presented(), "mail.example").result, DaneResult::Ineffective);
    assert_eq!(judged(record(), true, presented(), "mail.example").result, DaneResult::Mismatch);
}

#[test]
fn every_form_of_a_record_for_the_servers_own_key() {
    let (certificate, key) = (leaf(), spki(&leaf()));
    let sha512 = |bytes: &[u8]| HEXLOWER.encode(digest(&SHA512, bytes).as_ref());
    for record in [
        tlsa(3, 0, 0, &HEXLOWER.encode(&certificate)),
        tlsa(3, 0, 1, &sha256(&certificate)),
        tlsa(3, 0, 2, &sha512(&certificate)),
        tlsa(3, 1, 0, &HEXLOWER.encode(&key)),
        tlsa(3, 1, 1, &sha256(&key).to_uppercase()),
        tlsa(3, 1, 2, &sha512(&key)),
    ] {
        // Neither name nor place in a store matters.
        let verdict = judged(vec![record], true, presented(), "another.example");
        assert_eq!((verdict.result, verdict.rollover), (DaneResult::Authenticated, false), "{verdict:?}");
    }
    let authority = judged(vec![tlsa(3, 0, 1, &sha256(&between()))], true, presented(), "mail.example");
    assert_eq!((authority.result, authority.records[0].matches.as_slice()), (DaneResult::Mismatch, [1].as_slice()));
    let next = vec![tlsa(3, 1, 1, &sha256(&key)), tlsa(3, 1, 1, &sha256(b"the next key"))];
    assert!(judged(next, true, presented(), "mail.example").rollover);
}

#[test]
fn usage_2_asks_for_the_authority_and_the_name() {
    let by = |der: &[u8]| vec![tlsa(2, 0, 1, &sha256(der))];
    assert_eq!(judged(by(&between()), true, presented(), "mail.example").result, DaneResult::Authenticated);
    let other = judged(by(&between()), true, presented(), "other.example.org");
    assert_eq!(other.result, DaneResult::Mismatch);
    assert!(other.records[0].why.as_ref().unwrap().contains("names"), "{other:?}");
    let left_out = judged(by(&root()), true, presented(), "mail.example");
    assert_eq!(left_out.result, DaneResult::Mismatch);
    assert!(left_out.records[0].why.as_ref().unwrap().contains("present"), "{left_out:?}");
    let along = Seen::Value(vec![leaf(), between(), root()]);
    assert_eq!(judged(by(&root()), true, along, "mail.example").result, DaneResult::Authenticated);
    let whole = vec![tlsa(2, 0, 0, &HEXLOWER.encode(&root()))];
    assert_eq!(judged(whole, true, presented(), "mail.example").result, DaneResult::Authenticated);
}

#[test]
fn damaged_records_and_what_could_not_be_seen() {
    for (record, problem) in [
        (tlsa(3, 1, 1, "abcd"), TlsaProblem::Length { bytes: 2, wanted: 32 }),
        (tlsa(3, 2, 1, &sha256(b"")), TlsaProblem::Selector),
        (tlsa(3, 1, 3, &sha256(b"")), TlsaProblem::MatchingType),
        (tlsa(7, 1, 1, &sha256(b"")), TlsaProblem::Usage),
        (tlsa(3, 1, 1, "xyz"), TlsaProblem::NotHexadecimal),
    ] {
        let verdict = judged(vec![record], true, presented(), "mail.example");
        assert_eq!((verdict.result, verdict.records[0].problem.clone()), (DaneResult::Unusable, Some(problem)));
    }
    let record = || vec![tlsa(3, 1, 1, &sha256(&spki(&leaf())))];
    assert_eq!(judged(record(), true, Seen::Absent, "mail.example").result, DaneResult::NoStarttls);
    let blind = Seen::Unknown(Blind::NotAttempted { why: "--no-connect".into() });
    assert_eq!(judged(record(), true, blind, "mail.example").result, DaneResult::Unknown);
    assert_eq!(judged(vec![], true, presented(), "mail.example").result, DaneResult::NotUsed);
    let zone = Zone::default().fails("_25._tcp.mail.example", Kind::Tlsa);
    let lookup = zone.lookup("_25._tcp.mail.example", Kind::Tlsa);
    let unseen = || Seen::not_attempted("no validation");
    let of = Dane {
        lookup: &lookup,
        mx_secure: unseen(),
        host_secure: unseen(),
        tlsa_secure: unseen(),
        chain: presented(),
        names: vec![],
        now_s: NOW_S,
    };
    assert_eq!(dane(&of).result, DaneResult::LookupFails);
}

proptest! {
    #[test]
    fn any_bytes_are_read(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        sts_policy(&text);
        sts_record(&text);
        tls_report_record(&text);
        bimi_record(&text);
    }

    #[test]
    fn t50_a_policy_that_is_generated_is_read(mode in 0_usize..2, names in proptest::collection::vec("(\\*\\.)?[a-z]{1,6}\\.example", 1..6), age in 604_800_u64..=31_557_600) {
        let lines: String = names.iter().map(|name| format!("mx: {name}\r\n")).collect();
        let text = format!("version: STSv1\r\nmode: {}\r\n{lines}max_age: {age}\r\n", ["enforce", "testing"][mode]);
        let policy = sts_policy(text.as_bytes());
        prop_assert!(policy.valid);
        prop_assert_eq!(policy.problems, vec![]);
        prop_assert_eq!(policy.patterns, names);
    }
}
