//! Whole reports through every renderer: byte for byte against `tests/expected`, hostile strings, and size.
//!
//! `MXRAY_BLESS=1 cargo test -p mxray-render` writes the expected files anew; read the difference before keeping it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

mod hostile;
mod sample;
mod size;

use mxray_render::{Format, Options, nagios_status, render};
use std::path::PathBuf;

fn rendered(report: &mxray_model::Report, format: Format, options: Options) -> String {
    let mut out = Vec::new();
    render(report, format, &options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn compare(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("MXRAY_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let different = actual.lines().zip(expected.lines()).find(|(now, then)| now != then);
    assert!(actual == expected, "{name} differs ({different:?}); MXRAY_BLESS=1 writes it anew");
}

fn plain(columns: u16, verbose: bool) -> Options {
    Options { colour: false, columns, verbose }
}

#[test]
fn a_broken_host_as_text() {
    let report = sample::broken();
    compare("broken.txt", &rendered(&report, Format::Text, plain(80, false)));
    compare("broken-narrow.txt", &rendered(&report, Format::Text, plain(50, false)));
    // Of the evidence only what this test is about: a new fact is no reason to change an expected file.
    let verbose = rendered(&report, Format::Text, plain(80, true));
    let (before, evidence) = verbose.split_once("\nEvidence\n").unwrap();
    compare("broken-verbose.txt", before);
    for line in [
        "    container: absent (looked for, not there)",
        "  processes: UNKNOWN (not permitted: read /proc of other users; needs root)",
        "      first: 32768",
    ] {
        assert!(evidence.lines().any(|shown| shown == line), "{line}: {evidence}");
    }
    compare("broken-colour.txt", &rendered(&report, Format::Text, Options { colour: true, ..plain(80, false) }));
}

#[test]
fn a_broken_host_in_the_other_formats() {
    let report = sample::broken();
    compare("broken.md", &rendered(&report, Format::Markdown, plain(80, false)));
    compare("broken.html", &rendered(&report, Format::Html, plain(80, false)));
    compare("broken-nagios.txt", &rendered(&report, Format::Nagios, plain(80, false)));
}

#[test]
fn a_healthy_host() {
    let report = sample::healthy();
    compare("healthy.txt", &rendered(&report, Format::Text, plain(80, false)));
    compare("healthy.md", &rendered(&report, Format::Markdown, plain(80, false)));
    compare("healthy-nagios.txt", &rendered(&report, Format::Nagios, plain(80, false)));
}

#[test]
fn json_is_the_report_and_nothing_else() {
    let report = sample::broken();
    let read: mxray_model::Report = serde_json::from_str(&rendered(&report, Format::Json, plain(80, false))).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&report).unwrap());
    // What stands first is read first, also by people.
    let text = rendered(&report, Format::Json, plain(80, false));
    let keys: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
    let expected = [
        "schema",
        "tool",
        "started",
        "took_ms",
        "question",
        "verdict",
        "summary",
        "causes",
        "findings",
        "ruled_out",
        "healthy",
        "unseen",
        "evidence",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn colour_carries_no_meaning_of_its_own() {
    let report = sample::broken();
    let coloured = rendered(&report, Format::Text, Options { colour: true, ..plain(80, false) });
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, rendered(&report, Format::Text, plain(80, false)));
}

#[test]
fn prose_fits_the_width_and_commands_are_whole() {
    let report = sample::broken();
    for columns in [40, 50, 80, 100] {
        let text = rendered(&report, Format::Text, plain(columns, false));
        for line in text.lines().filter(|line| !line.starts_with("            ")) {
            assert!(line.chars().count() <= usize::from(columns), "{columns}: {line}");
        }
        for command in report.causes.iter().flat_map(|cause| &cause.fix).flat_map(|fix| &fix.commands) {
            assert!(text.lines().any(|line| line.trim_start() == command), "{columns}: {command}");
        }
    }
}

#[test]
fn nagios_states() {
    use mxray_model::{Severity, Verdict};
    let mut report = sample::healthy();
    assert_eq!(nagios_status(&report), 0);
    report.verdict = Verdict::Unknown;
    assert_eq!(nagios_status(&report), 3);
    report.causes = sample::broken().causes;
    report.causes.truncate(1);
    assert_eq!(nagios_status(&report), 2);
    report.causes[0].severity = Severity::Warning;
    assert_eq!(nagios_status(&report), 3);
    report.verdict = Verdict::Degraded;
    assert_eq!(nagios_status(&report), 1);
    report.verdict = Verdict::Broken;
    assert_eq!(nagios_status(&report), 2);
}

#[test]
fn root_is_asked_for_once() {
    let text = rendered(&sample::broken(), Format::Text, plain(80, false));
    assert_eq!(text.matches("run as root").count(), 1, "{text}");
    assert!(text.contains("SOCK109, SOCK110, SOCK111:"), "{text}");
}
