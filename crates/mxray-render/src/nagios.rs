//! One line for a Nagios-compatible scheduler, the causes below it, and the state as the plugin's own exit code.
//!
//! <https://www.monitoring-plugins.org/doc/guidelines.html>: text, a pipe, performance data. A pipe or a line feed from
//! outside would forge either, so neither survives.

use crate::Options;
use crate::safe::printable;
use mxray_model::{Report, Severity, Verdict};
use std::io;

/// Schedulers cut the first line somewhere; older NRPE passes on 1,024 bytes of everything.
const FIRST_LINE_CHARS_MAX: usize = 300;
/// Causes in the long output.
const CAUSES_SHOWN: usize = 10;
/// A longer line is cut by the scheduler, or costs the others their place.
const LINE_CHARS_MAX: usize = 200;

/// 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
///
/// As with the exit codes of the other formats, a cause that was found outweighs what could not be seen; but a mere
/// warning does not hide that the main question has no answer.
pub fn nagios_status(report: &Report) -> u8 {
    let worst = report.causes.iter().map(|cause| cause.severity).max();
    match (report.verdict, worst) {
        (Verdict::Broken, _) | (_, Some(Severity::Critical | Severity::Error)) => 2,
        (Verdict::Unknown, _) => 3,
        (Verdict::Degraded, _) | (_, Some(Severity::Warning)) => 1,
        (Verdict::Healthy, _) => 0,
    }
}

pub(crate) fn render(report: &Report, _options: &Options, out: &mut dyn io::Write) -> io::Result<()> {
    let state = match nagios_status(report) {
        0 => "OK",
        1 => "WARNING",
        2 => "CRITICAL",
        _ => "UNKNOWN",
    };
    let said = match report.causes.first() {
        Some(cause) => format!("{} {}", cause.code, cause.summary),
        None => report.summary.clone(),
    };
    writeln!(
        out,
        "MXRAY {state} - {} | findings={};;;0 causes={};;;0 unseen={};;;0 took_ms={}ms;;;0",
        one_line(&said, FIRST_LINE_CHARS_MAX),
        report.findings.len(),
        report.causes.len(),
        report.unseen.len(),
        report.took_ms,
    )?;
    if !report.causes.is_empty() {
        writeln!(out, "{}", one_line(&report.summary, LINE_CHARS_MAX))?;
    }
    for cause in report.causes.iter().take(CAUSES_SHOWN) {
        let text = format!("{} {}: {}", cause.severity.as_str().to_uppercase(), cause.code, cause.summary);
        writeln!(out, "{}", one_line(&text, LINE_CHARS_MAX))?;
        for step in &cause.fix {
            writeln!(out, "  fix: {}", one_line(&step.text, LINE_CHARS_MAX))?;
        }
    }
    if report.causes.len() > CAUSES_SHOWN {
        writeln!(out, "and {} more causes", report.causes.len() - CAUSES_SHOWN)?;
    }
    if !report.unseen.is_empty() {
        writeln!(out, "could not look: {}", one_line(&unseen(report), LINE_CHARS_MAX))?;
    }
    Ok(())
}

fn unseen(report: &Report) -> String {
    report.unseen.iter().map(|unseen| unseen.what.as_str()).collect::<Vec<_>>().join(", ")
}

/// Escaped, without pipes, cut to a length. A pipe becomes `!`, which cannot begin performance data.
fn one_line(text: &str, chars_max: usize) -> String {
    let safe = printable(text).replace('|', "!");
    match safe.char_indices().nth(chars_max) {
        None => safe,
        Some((end, _)) => format!("{}...", safe.get(..end).unwrap_or_default()),
    }
}
