//! Large reports: no finding lost, and none said again and again.

use crate::rendered;
use crate::sample;
use mxray_model::{Finding, Severity, Subject};
use mxray_render::{Format, Options};
use std::collections::BTreeSet;

const FINDINGS: usize = 10_000;

/// A chain: each explains the next and the one after it, which is the worst for whoever walks it anew each time.
fn large() -> mxray_model::Report {
    chain(FINDINGS)
}

fn chain(count: usize) -> mxray_model::Report {
    let mut findings: Vec<_> = (0..count)
        .map(|index| {
            Finding::new(
                "SOCK101",
                "listener-missing",
                Severity::Error,
                Subject::service(format!("service-{index}")),
                format!("service-{index} has no listener"),
            )
            .because("it is configured", "/etc/postfix/master.cf:1", "/servers")
        })
        .collect();
    let ids: Vec<_> = findings.iter().map(|finding| finding.id.clone()).collect();
    for (index, finding) in findings.iter_mut().enumerate().take(count / 2) {
        finding.explains = ids.iter().skip(index + 1).take(2).cloned().collect();
    }
    for finding in findings.iter_mut().skip(count / 2 + 2) {
        finding.severity = Severity::Notice;
    }
    let mut report = sample::broken();
    report.causes = vec![findings[0].clone()];
    report.findings = findings;
    report
}

/// Whoever walks the chain anew for each finding writes more than twice as much of twice as many.
#[test]
fn the_length_grows_as_the_findings_do() {
    for format in [Format::Text, Format::Json, Format::Markdown, Format::Html, Format::Nagios] {
        let bytes = |count| rendered(&chain(count), format, Options { verbose: true, ..Options::default() }).len();
        let (half, whole) = (bytes(FINDINGS / 2), bytes(FINDINGS));
        // Longer numbers make it a little more.
        assert!(half > 0 && whole <= half * 21 / 10, "{format:?}: {half} bytes of half, {whole} of all");
    }
}

#[test]
fn no_finding_is_lost_where_all_are_asked_for() {
    let report = large();
    for format in [Format::Text, Format::Markdown, Format::Html] {
        let out = rendered(&report, format, Options { verbose: true, ..Options::default() });
        let said: BTreeSet<&str> = out.split(|c: char| c.is_whitespace() || c == '<' || c == '>').collect();
        for index in 0..FINDINGS {
            assert!(said.contains(format!("service-{index}").as_str()), "{format:?} lost service-{index}");
        }
    }
}

#[test]
fn what_is_folded_is_counted() {
    let out = rendered(&large(), Format::Text, Options::default());
    assert!(out.lines().count() < 100, "a wall of {} lines", out.lines().count());
    assert!(out.contains("(-v shows all)"), "{out}");
}

#[test]
fn a_thousand_blind_spots_are_one_entry() {
    let mut report = sample::healthy();
    report.unseen = (0..1000)
        .map(|index| mxray_model::Unseen {
            what: format!("process {index}"),
            why: "not permitted: descriptors".into(),
            needs: "root".into(),
        })
        .collect();
    let out = rendered(&report, Format::Text, Options::default());
    assert!(out.lines().count() < 30, "{out}");
    assert!(out.contains("and 976 more:"), "{out}");
    let all = rendered(&report, Format::Text, Options { verbose: true, ..Options::default() });
    assert!(all.split(['\n', ',']).any(|word| word.trim() == "process 998"), "{all}");
}
