//! DNS109: a record differs from what an earlier run saw.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Lookup, RecordData};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeSet;

pub const RULE: Rule = Rule {
    code: "DNS109",
    name: "change-detected",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a record that mail depends on differs from what the last good run saw",
    page: include_str!("change_detected.md"),
    check,
};

/// Types whose records stay the same from question to question. Addresses of large hosts turn in circles.
const STEADY: [&str; 6] = ["MX", "TXT", "TLSA", "CNAME", "PTR", "NS"];

fn check(evidence: &Evidence) -> Said {
    let earlier = view::known(&evidence.earlier, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut same = 0;
    for (key, then) in &earlier.records {
        let Some(lookup) = evidence.lookups.get(key).filter(|lookup| bears_on_mail(evidence, lookup)) else { continue };
        let now: Vec<&RecordData> = match lookup.found() {
            Seen::Value(records) => records.into_iter().map(|record| &record.data).collect(),
            Seen::Absent => Vec::new(),
            // That it is not answered today is another rule's.
            Seen::Unknown(_) => continue,
        };
        let (then, now) = (texts(then.iter()), texts(now.into_iter()));
        if then == now {
            same += 1;
        } else {
            judgement.find(finding(key, &earlier.started, &then, &now));
        }
    }
    if same > 0 && judgement.findings.is_empty() {
        judgement.well(format!("{same} records are as they were at {}", earlier.started));
    }
    Ok(judgement)
}

/// Of a domain that is looked at, or of an address that mail leaves from.
fn bears_on_mail(evidence: &Evidence, lookup: &Lookup) -> bool {
    let within = |domain: &String| {
        lookup.name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    STEADY.contains(&lookup.kind.as_str())
        && (lookup.kind == "PTR"
            || lookup.kind == "MX"
            || lookup.kind == "TLSA"
            || evidence.names.domains.keys().any(within))
}

/// Records in one order, as they stand in a zone.
fn texts<'r>(records: impl Iterator<Item = &'r RecordData>) -> BTreeSet<String> {
    records.map(text).collect()
}

fn text(record: &RecordData) -> String {
    match record {
        RecordData::Mx { preference, exchange } => format!("{preference} {}.", exchange.to_ascii_lowercase()),
        RecordData::Cname { target } | RecordData::Ptr { target } => format!("{}.", target.to_ascii_lowercase()),
        RecordData::Txt { strings } => strings.iter().map(ToString::to_string).collect::<Vec<_>>().concat(),
        RecordData::Tlsa { usage, selector, matching, data } => format!("{usage} {selector} {matching} {data}"),
        RecordData::Other { text, .. } => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

fn finding(key: &str, started: &str, then: &BTreeSet<String>, now: &BTreeSet<String>) -> Finding {
    let gone: Vec<String> = then.difference(now).cloned().collect();
    let new: Vec<String> = now.difference(then).cloned().collect();
    let what = match (then.is_empty(), now.is_empty()) {
        (true, _) => "is new".to_owned(),
        (_, true) => "is gone".to_owned(),
        _ => "has changed".to_owned(),
    };
    let name = key.split_once(' ').map_or(key, |(_, name)| name);
    let mut finding = RULE
        .finding(Subject::new(SubjectKind::Name, key), format!("{key} {what} since {started}."))
        .confidence(0.95)
        .data("gone", gone.clone())
        .data("new", new.clone())
        .data("since", started)
        .reference("RFC 1034 section 3.6");
    let pointer = format!("/lookups/{}", key.replace('~', "~0").replace('/', "~1"));
    for (word, records) in [("Before", gone), ("Now", new)] {
        for record in records {
            finding = finding.because(format!("{word}: {record}"), "DNS", pointer.clone());
        }
    }
    finding.fix(
        Fix::here("If nobody meant to change it: ask whoever keeps the zone, and look at its log of changes.")
            .verify(format!("mxray doctor --diff; mxray domain {name}")),
    )
}
