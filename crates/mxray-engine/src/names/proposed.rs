//! Tests: records that findings propose are read by our own parsers, and do by our own evaluators what is promised.

use mxray_auth::ask::{Answers, Evaluator, Kind, Machine, Step, Want, answered, unanswered};
use mxray_auth::dkim::judge_key;
use mxray_auth::dmarc::{DmarcDiscoverer, read_record};
use mxray_auth::spf::{Spf, SpfSurveyor};
use mxray_model::evidence::published::{
    Domain, DomainWhy, SenderAddress, SenderWhy, SpfProblem, SpfResult, SpfSurvey, SpfVerdict,
};
use mxray_model::evidence::{DnsOutcome, DnsRecord, Evidence, RecordData};
use mxray_model::{Finding, Seen};
use std::collections::{BTreeMap, BTreeSet};

const DOMAIN: &str = "plan.example";

/// TXT records by name; nothing else exists.
type Texts<'a> = &'a [(&'a str, &'a str)];

fn outcome<E: Evaluator>(evaluator: E, texts: Texts<'_>) -> E::Outcome {
    let mut machine = Machine::with_answers(evaluator, Answers::default());
    loop {
        match machine.step() {
            Step::Done(outcome) => return outcome,
            Step::Wants(wants) => {
                for want in wants {
                    let Want::Dns { name, kind } = want else { panic!("{want:?}") };
                    let record = |(owner, text): &(&str, &str)| {
                        let strings = vec![text.as_bytes().into()];
                        let data = RecordData::Txt { strings };
                        (*owner == name).then(|| DnsRecord { name: name.clone(), ttl_s: 60, data })
                    };
                    let records: Vec<DnsRecord> = texts.iter().filter_map(record).collect();
                    let lookup = match kind {
                        Kind::Txt if !records.is_empty() => answered(&name, kind, records),
                        _ => unanswered(&name, kind, DnsOutcome::NoSuchName),
                    };
                    machine.dns(&name, kind, lookup);
                }
            }
        }
    }
}

fn evaluated(ip: &str, texts: Texts<'_>) -> SpfVerdict {
    let mail_from = format!("anna@{DOMAIN}");
    let (helo, receiver) = (format!("mail.{DOMAIN}"), "mx.example.org".to_owned());
    outcome(Spf { ip: ip.parse().unwrap(), helo, mail_from, receiver, now_s: 0 }, texts)
}

fn surveyed(texts: Texts<'_>) -> SpfSurvey {
    outcome(SpfSurveyor { domain: DOMAIN.to_owned() }, texts)
}

/// What a host says that sends from one address.
fn findings(ip: &str, texts: Texts<'_>) -> Vec<Finding> {
    let survey = surveyed(texts);
    let is_there = survey.record.is_some() || survey.flaws.iter().any(|flaw| flaw.problem != SpfProblem::Missing);
    let domain = Domain {
        why: BTreeSet::from([DomainWhy::Sends { by: "postfix".to_owned() }]),
        spf: if is_there { Seen::Value(survey) } else { Seen::Absent },
        ..Domain::default()
    };
    let sender = SenderAddress {
        why: BTreeSet::from([SenderWhy::Route { server: "postfix".to_owned() }]),
        spf: BTreeMap::from([(DOMAIN.to_owned(), evaluated(ip, texts))]),
        ..SenderAddress::default()
    };
    let mut evidence = Evidence::default();
    evidence.names.domains.insert(DOMAIN.to_owned(), domain);
    evidence.names.senders.insert(ip.to_owned(), sender);
    mxray_rules::examine_by(&evidence, |rule| rule.code.starts_with("SPF")).findings
}

/// A value of a zone file as the text that verifiers read.
fn text(value: &str) -> String {
    let mut out = String::new();
    let (mut quoted, mut chars) = (false, value.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => out.extend(chars.next()),
            c if quoted => out.push(c),
            _ => {}
        }
    }
    out
}

fn proposed(findings: &[Finding], code: &str) -> String {
    let finding =
        findings.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{code}: {findings:#?}"));
    let record = finding.fix.iter().flat_map(|fix| &fix.records).next().expect("a record");
    assert_eq!((record.kind.as_str(), record.name.as_str()), ("TXT", "plan.example."));
    text(&record.value)
}

#[test]
fn t50_an_address_that_is_added_passes() {
    for ip in ["203.0.113.25", "2001:db8:113::25"] {
        for record in [
            "v=spf1 -all",
            "v=spf1 ip4:198.51.100.1 ~all",
            "V=SPF1 -IP4:203.0.113.0/24 -ip6:2001:db8::/32 ?all",
            "v=spf1",
            "v=spf1 redirect=other.example",
        ] {
            let other = ("other.example", "v=spf1 -all");
            let before = [(DOMAIN, record), other];
            assert_ne!(evaluated(ip, &before).result, SpfResult::Pass, "{record}");
            let after = proposed(&findings(ip, &before), "SPF117");
            let texts = [(DOMAIN, after.as_str()), other];
            assert_eq!(evaluated(ip, &texts).result, SpfResult::Pass, "{after}");
            let errors = |problem: &SpfProblem| matches!(problem, SpfProblem::Syntax { .. });
            assert!(!surveyed(&texts).flaws.iter().any(|flaw| errors(&flaw.problem)), "{after}");
        }
    }
}

#[test]
fn t50_a_first_record_lets_the_known_addresses_pass() {
    let ip = "203.0.113.25";
    let record = proposed(&findings(ip, &[]), "SPF101");
    assert_eq!(evaluated(ip, &[(DOMAIN, &record)]).result, SpfResult::Pass, "{record}");
    assert_eq!(evaluated("198.51.100.7", &[(DOMAIN, &record)]).result, SpfResult::SoftFail);
}

#[test]
fn t50_a_mended_record_is_whole() {
    for (code, record) in [
        ("SPF103", "v=spf1 ip4:203.0.113.25 ipv4:203.0.113.26 -all"),
        ("SPF107", "v=spf1 ip4:203.0.113.25 include:gone.example -all"),
        ("SPF109", "v=spf1 ip4:203.0.113.25 +all"),
        ("SPF110", "v=spf1 ip4:203.0.113.25 ?all"),
        ("SPF110", "v=spf1 ip4:203.0.113.25"),
        ("SPF111", "v=spf1 ip4:203.0.113.25 ptr -all"),
    ] {
        let after = proposed(&findings("203.0.113.25", &[(DOMAIN, record)]), code);
        let flaws = surveyed(&[(DOMAIN, after.as_str())]).flaws;
        assert_eq!(flaws, [], "{code}: {record} became {after}");
        assert_eq!(evaluated("203.0.113.25", &[(DOMAIN, &after)]).result, SpfResult::Pass, "{after}");
        assert!(evaluated("198.51.100.9", &[(DOMAIN, &after)]).result != SpfResult::Pass, "{after}");
    }
}

#[test]
fn t50_dmarc_records_that_are_proposed_are_read() {
    let name = format!("_dmarc.{DOMAIN}");
    let said = |record: Option<&str>| {
        let texts: Vec<(&str, &str)> = record.iter().map(|record| (name.as_str(), *record)).collect();
        let dmarc = Seen::Value(outcome(DmarcDiscoverer { domain: DOMAIN.to_owned() }, &texts));
        let why = BTreeSet::from([DomainWhy::Asked]);
        let mut evidence = Evidence::default();
        evidence.names.domains.insert(DOMAIN.to_owned(), Domain { why, dmarc, ..Domain::default() });
        mxray_rules::examine_by(&evidence, |rule| rule.code.starts_with("DMARC")).findings
    };
    for (code, record) in [
        ("DMARC101", None),
        ("DMARC104", Some("v=DMARC1; p=none; rua=mailto:d@plan.example")),
        ("DMARC105", Some("v=DMARC1; p=reject")),
        ("DMARC108", Some("v=DMARC1;p=reject;sp=none ;rua=mailto:d@plan.example")),
    ] {
        let findings = said(record);
        let finding = findings.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{findings:#?}"));
        let proposed = finding.fix.iter().flat_map(|fix| &fix.records).next().expect("a record");
        assert_eq!(proposed.name, format!("{name}."));
        let read = read_record(text(&proposed.value).as_bytes());
        assert_eq!(read.problems, [], "{code}: {}", proposed.value);
        assert!(!read.aggregate.is_empty() && !said(Some(&read.text)).iter().any(|finding| finding.code == code));
    }
}

#[test]
fn t50_a_key_that_is_proposed_is_the_signers() {
    let public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let evidence: Evidence = serde_json::from_value(serde_json::json!({
        "names": {"domains": {DOMAIN: {"why": ["asked"], "selectors":
            {"s1": {"from": [{"signer": {"software": "opendkim"}}], "keys": "absent"}}}}},
        "signers": {"value": {"opendkim": {"software": "opendkim", "config_file": "/etc/opendkim.conf",
            "mode": {"value": {"signs": true, "verifies": false}}, "mode_at": null, "sockets": "absent", "socket_at": null,
            "domains": {"value": [DOMAIN]}, "running": {"value": 7}, "enabled": {"value": true}, "problems": [],
            "keys": {"/etc/dkim/s1.private": {"names": ["s1._domainkey.plan.example"],
                "at": {"file": "/etc/opendkim.conf", "line": 3}, "file": {"value": {"key": {"value": {"form": "PKCS#8",
                "encrypted": false, "public": {"value": {"algorithm": "Ed25519", "bits": 256, "spki_sha256": "00"}},
                "dkim_public": {"value": public}}}}}}}}}}
    }))
    .unwrap();
    let findings = mxray_rules::examine_by(&evidence, |rule| rule.code == "DKIM102").findings;
    let record =
        findings.iter().flat_map(|finding| &finding.fix).flat_map(|fix| &fix.records).next().expect("a record");
    let key = judge_key("s1._domainkey.plan.example", text(&record.value).as_bytes());
    assert_eq!((key.problems.as_slice(), key.public.as_deref(), key.kind.as_str()), (&[][..], Some(public), "ed25519"));
}
