//! The log of issues: runs that are kept, what they found and when, what differs between two, and what people noted.
//!
//! What must not live here: files (`mxray-host`'s `runs.rs`), and judgement.

use crate::cli::ReportFormat;
use crate::exit::{self, Failure};
use crate::output::{Output, say};
use mxray_host::baseline::Place;
use mxray_host::runs::{self, NOTE_CHARS_MAX, Note, Run};
use mxray_model::evidence::{DnsOutcome, Earlier, Lookup, RecordData};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Finding, Report, Seen, Verdict};
use mxray_render::{Piece, Screen, Style, write_json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const HISTORY: &str = "mxray/history/1";
/// Lines of difference of one kind that a person is shown.
const SHOWN: usize = 40;

/// What is read of a kept report for the list.
#[derive(Debug, Deserialize)]
struct Kept {
    started: String,
    verdict: Verdict,
    causes: Vec<Finding>,
}

/// What is read of a kept report to compare it.
#[derive(Debug, Deserialize)]
struct Compared {
    started: String,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    evidence: Value,
}

/// The part of a report's evidence that DNS109 compares with.
#[derive(Debug, Deserialize)]
struct WithLookups {
    started: String,
    evidence: Lookups,
}

#[derive(Debug, Deserialize)]
struct Lookups {
    #[serde(default)]
    lookups: BTreeMap<String, Lookup>,
}

/// One cause over all runs.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    code: String,
    severity: &'static str,
    subject: String,
    summary: String,
    first_seen: String,
    last_seen: String,
    runs: usize,
    /// The first run without it, where the newest is without it.
    gone_since: Option<String>,
    notes: Vec<Note>,
}

/// Keeps a run. A user without a place for state keeps none; a directory that cannot be written any more is told, and stops nothing.
pub fn keep(place: &Place, report: &Report) {
    let verdict = json!(report.verdict);
    if let Ok(bytes) = serde_json::to_vec(report)
        && let Err(blind) = runs::keep(place, &report.started, verdict.as_str().unwrap_or_default(), &bytes)
        // Where none was ever kept, none is missed: that this user has no place for state is no news on every run.
        && matches!(runs::list(place), Seen::Value(_))
    {
        say(&format!("mxray: this run is not kept: {}", untrusted(blind.why().as_bytes())));
    }
}

/// What the last good run knew of names; of the newest run, where none was good.
pub fn earlier(place: &Place) -> Seen<Earlier> {
    let runs = match runs::list(place) {
        Seen::Value(runs) => runs,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let good = runs.iter().rev().find(|run| run.verdict() == "healthy").or(runs.last());
    let Some(run) = good else { return Seen::Absent };
    let read = runs::read(place, run).and_then(|bytes| {
        serde_json::from_slice::<WithLookups>(&bytes)
            .map_err(|error| Blind::NotUnderstood { what: "a kept run".to_owned(), text: error.to_string() })
    });
    match read {
        Ok(kept) => Seen::Value(Earlier { started: kept.started, records: records(kept.evidence.lookups) }),
        Err(blind) => Seen::Unknown(blind),
    }
}

fn records(lookups: BTreeMap<String, Lookup>) -> BTreeMap<String, Vec<RecordData>> {
    let answered =
        |lookup: &Lookup| matches!(lookup.outcome, DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName);
    let of_kind = |lookup: Lookup| {
        let kind = lookup.kind;
        lookup.records.into_iter().map(|record| record.data).filter(|data| data.kind() == kind).collect()
    };
    lookups.into_iter().filter(|(_, lookup)| answered(lookup)).map(|(key, lookup)| (key, of_kind(lookup))).collect()
}

/// The newest run that is kept and can be read, to be compared. One that is damaged is told.
pub fn last(place: &Place) -> Option<Value> {
    let Seen::Value(runs) = runs::list(place) else { return None };
    runs.iter().rev().find_map(|run| {
        let understood = runs::read(place, run).and_then(|bytes| {
            serde_json::from_slice::<Compared>(&bytes)
                .and_then(|_| serde_json::from_slice(&bytes))
                .map_err(|error| Blind::NotUnderstood { what: "a kept run".to_owned(), text: error.to_string() })
        });
        understood.map_err(|blind| say(&format!("mxray: --diff: {}", untrusted(blind.why().as_bytes())))).ok()
    })
}

/// Notes what was done.
pub fn note(place: &Place, about: &str, text: &str) -> Result<u8, Failure> {
    if text.trim().is_empty() || about.trim().is_empty() {
        return Err(Failure::Usage("--note: an id or a code, and what was done".to_owned()));
    }
    let text: String = text.chars().take(NOTE_CHARS_MAX).collect();
    let note = Note { at: now(), about: untrusted(about.trim().as_bytes()), text: untrusted(text.as_bytes()) };
    let (shown, met) = (note.about.clone(), was_a_cause(place, &note.about));
    match runs::note(place, note) {
        Ok(true) => {
            if !met {
                say(&format!(
                    "mxray: noted; no run that is kept has a cause {shown} (mxray doctor --history lists them)"
                ));
            }
            Ok(exit::OK)
        }
        Ok(false) => {
            Err(Failure::Unanswered("--note: this user has no directory for state, or looks elsewhere".to_owned()))
        }
        Err(blind) => Err(Failure::Unanswered(format!("--note: {}; needs {}", blind.why(), blind.needs()))),
    }
}

/// Has a kept run a cause of this id or code?
fn was_a_cause(place: &Place, about: &str) -> bool {
    let is_it = |cause: &Finding| cause.id == about || cause.code.eq_ignore_ascii_case(about);
    let runs = runs::list(place);
    let mut kept = runs.value().into_iter().flatten().filter_map(|run| read(place, run).ok());
    kept.any(|run| run.causes.iter().any(is_it))
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Lists the causes of all runs that are kept.
pub fn show(place: &Place, format: ReportFormat, output: &mut Output) -> Result<u8, Failure> {
    let runs = match runs::list(place) {
        Seen::Value(runs) => runs,
        Seen::Absent => Vec::new(),
        Seen::Unknown(blind) => {
            return Err(Failure::Unanswered(format!("--history: {}; needs {}", blind.why(), blind.needs())));
        }
    };
    let mut unseen = Vec::new();
    let mut kept = Vec::new();
    for run in &runs {
        match read(place, run) {
            Ok(report) => kept.push(report),
            Err(blind) => unseen.push(("a kept run", blind)),
        }
    }
    let notes = runs::notes(place).unwrap_or_else(|blind| {
        unseen.push(("notes", blind));
        Vec::new()
    });
    let lines = lines(&kept, &notes);
    let (first, last) = (kept.first().map(|run| run.started.clone()), kept.last().map(|run| run.started.clone()));
    let options = output.options();
    match format {
        ReportFormat::Json => {
            let unseen: Vec<Value> = unseen
                .iter()
                .map(|(what, blind)| json!({"what": what, "why": blind.why(), "needs": blind.needs()}))
                .collect();
            let value = json!({
                "schema": HISTORY, "runs": kept.len(), "first": first, "last": last,
                "verdict": kept.last().map(|run| run.verdict), "rows": lines, "notes": notes, "unseen": unseen,
            });
            output.emit(|out| write_json(&value, out))?;
        }
        _ => output.emit(|out| {
            let mut screen = Screen::new(out, &options);
            let text = match (&first, &last) {
                (Some(first), Some(last)) => format!("{} runs, {first} to {last}", kept.len()),
                _ if runs.is_empty() => "no run of mxray doctor is kept here yet".to_owned(),
                _ => "none of the runs that are kept can be read".to_owned(),
            };
            screen.prose("", &[Piece::new(Style::Faint, &text)])?;
            lines.iter().try_for_each(|line| of_person(line, &mut screen))?;
            let about = |note: &&Note| !lines.iter().any(|line| is_about(note, line));
            for note in notes.iter().filter(about) {
                let text = format!("{} {}: {}", note.at, note.about, note.text);
                screen.prose("  note       ", &[Piece::plain(&text)])?;
            }
            for (what, blind) in &unseen {
                let text = untrusted(format!("{what}: {}", blind.why()).as_bytes());
                screen.prose("  not read   ", &[Piece::new(Style::Caution, &text)])?;
            }
            Ok(())
        })?,
    }
    Ok(if runs.is_empty() { exit::UNANSWERED } else { exit::OK })
}

fn read(place: &Place, run: &Run) -> Result<Kept, Blind> {
    let bytes = runs::read(place, run)?;
    let understood = serde_json::from_slice(&bytes);
    understood.map_err(|error| Blind::NotUnderstood { what: "a kept run".to_owned(), text: error.to_string() })
}

fn is_about(note: &Note, line: &Line) -> bool {
    note.about == line.id || note.about.eq_ignore_ascii_case(&line.code)
}

/// Each cause once, the ones that last first.
fn lines(kept: &[Kept], notes: &[Note]) -> Vec<Line> {
    let mut all: BTreeMap<&str, Line> = BTreeMap::new();
    for run in kept {
        for cause in &run.causes {
            let line = all.entry(cause.id.as_str()).or_insert_with(|| Line {
                id: cause.id.clone(),
                code: cause.code.clone(),
                severity: cause.severity.as_str(),
                subject: cause.subject.to_string(),
                summary: String::new(),
                first_seen: run.started.clone(),
                last_seen: String::new(),
                runs: 0,
                gone_since: None,
                notes: Vec::new(),
            });
            line.last_seen.clone_from(&run.started);
            line.summary.clone_from(&cause.summary);
            line.severity = cause.severity.as_str();
            line.runs += 1;
            line.gone_since = None;
        }
        for line in all.values_mut() {
            let lasts = run.causes.iter().any(|cause| cause.id == line.id);
            // A run that could not tell has not seen it gone.
            if !lasts && line.gone_since.is_none() && run.verdict != Verdict::Unknown {
                line.gone_since = Some(run.started.clone());
            }
        }
    }
    let mut lines: Vec<Line> = all.into_values().collect();
    for line in &mut lines {
        line.notes = notes.iter().filter(|note| is_about(note, line)).cloned().collect();
    }
    lines.sort_by(|a, b| {
        a.gone_since
            .is_some()
            .cmp(&b.gone_since.is_some())
            .then_with(|| b.last_seen.cmp(&a.last_seen))
            .then_with(|| a.id.cmp(&b.id))
    });
    lines
}

fn of_person(line: &Line, screen: &mut Screen<'_>) -> std::io::Result<()> {
    let style = if line.gone_since.is_some() { Style::Calm } else { Style::Alarm };
    let head = format!("{} {}", line.severity, line.code);
    screen.prose("", &[Piece::new(style, &head), Piece::plain(&line.summary)])?;
    let gone = line.gone_since.as_ref().map_or("still there".to_owned(), |since| format!("gone since {since}"));
    let text =
        format!("first {}, last {} ({} runs), {gone}; id {}", line.first_seen, line.last_seen, line.runs, line.id);
    screen.prose("  ", &[Piece::new(Style::Faint, &text)])?;
    for note in &line.notes {
        screen.prose("  note ", &[Piece::plain(&format!("{}: {}", note.at, note.text))])?;
    }
    Ok(())
}

/// What differs between two runs.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Difference {
    since: String,
    new: Vec<String>,
    gone: Vec<String>,
    /// Settings, listeners, records: `what: before -> now`.
    changed: Vec<String>,
}

/// Says what changed since the run before.
pub fn diff(before: Option<Value>, report: &Report, format: ReportFormat, output: &mut Output) -> Result<(), Failure> {
    let compared = before.and_then(|before| serde_json::from_value::<Compared>(before).ok());
    let Some(before) = compared else {
        say("mxray: --diff: no earlier run is kept");
        return Ok(());
    };
    let difference = difference(before, report);
    // Data stays what its schema says; the difference is talk there.
    if format != ReportFormat::Text {
        say(&json!({"schema": "mxray/diff/1", "difference": difference}).to_string());
        return Ok(());
    }
    let options = output.options();
    output.emit(|out| {
        let mut screen = Screen::new(out, &options);
        screen.blank()?;
        let none = difference.new.is_empty() && difference.gone.is_empty() && difference.changed.is_empty();
        let head = if none { "Nothing changed since" } else { "Changed since" };
        screen.prose("", &[Piece::new(Style::Bold, &format!("{head} {}", difference.since))])?;
        for (label, style, texts) in [
            ("  new        ", Style::Alarm, &difference.new),
            ("  gone       ", Style::Calm, &difference.gone),
            ("  changed    ", Style::Caution, &difference.changed),
        ] {
            for text in texts.iter().take(SHOWN) {
                screen.prose(label, &[Piece::new(style, text)])?;
            }
            if texts.len() > SHOWN {
                screen.prose(label, &[Piece::plain(&format!("and {} more", texts.len() - SHOWN))])?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn difference(before: Compared, report: &Report) -> Difference {
    let line = |finding: &Finding| format!("{} {}: {}", finding.severity.as_str(), finding.code, finding.summary);
    let of = |findings: &[Finding], others: &[Finding]| {
        let known: BTreeSet<&str> = others.iter().map(|finding| finding.id.as_str()).collect();
        findings.iter().filter(|finding| !known.contains(finding.id.as_str())).map(line).collect::<Vec<_>>()
    };
    let now = serde_json::to_value(&report.evidence).unwrap_or_default();
    let mut changed = Vec::new();
    let (then, now) = (facts(&before.evidence), facts(&now));
    for key in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
        let (was, is) = (then.get(key), now.get(key));
        if was != is {
            let text = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
            changed.push(format!("{key}: {} -> {}", text(was), text(is)));
        }
    }
    Difference {
        since: before.started,
        new: of(&report.findings, &before.findings),
        gone: of(&before.findings, &report.findings),
        changed,
    }
}

/// What stays the same from run to run unless somebody changes it: settings, versions, listeners, records.
fn facts(evidence: &Value) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    for (server, value) in members(evidence.pointer("/servers/value")) {
        if let Some(version) = value.pointer("/version/value").and_then(Value::as_str) {
            facts.insert(format!("version of {server}"), version.to_owned());
        }
        for (name, setting) in members(value.get("settings")) {
            if let Some(text) = setting.get("value").and_then(Value::as_str) {
                facts.insert(format!("{server}: {name}"), text.to_owned());
            }
        }
    }
    for key in members(evidence.pointer("/sockets/value/listeners")).keys() {
        facts.insert(format!("listener {key}"), "there".to_owned());
    }
    for (key, lookup) in members(evidence.get("lookups")) {
        let steady = ["MX ", "TXT ", "TLSA ", "CNAME ", "PTR ", "NS "].iter().any(|kind| key.starts_with(kind));
        // What was not answered is no change.
        let answered =
            matches!(lookup.get("outcome").and_then(Value::as_str), Some("found" | "no_data" | "no_such_name"));
        if steady && answered {
            let records = lookup.get("records").and_then(Value::as_array).cloned().unwrap_or_default();
            let mut texts: Vec<String> =
                records.iter().filter_map(|record| record.get("data")).map(Value::to_string).collect();
            texts.sort();
            facts.insert(format!("record {key}"), texts.join(", "));
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::{Severity, Subject};

    fn run(started: &str, codes: &[&str]) -> Kept {
        let causes: Vec<Finding> = codes
            .iter()
            .map(|code| Finding::new(code, "name", Severity::Error, Subject::host(), "it is broken"))
            .collect();
        let verdict = if causes.is_empty() { Verdict::Healthy } else { Verdict::Degraded };
        Kept { started: started.to_owned(), verdict, causes }
    }

    #[test]
    fn a_cause_is_listed_from_first_to_last_and_since_when_it_is_gone() {
        let note = |about: &str| Note { at: "t".to_owned(), about: about.to_owned(), text: "done".to_owned() };
        let kept = [run("1", &["A101"]), run("2", &["A101", "B101"]), run("3", &["B101"]), run("4", &["B101"])];
        let lines = lines(&kept, &[note("a101"), note("Z999")]);
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[0].code.as_str(), lines[0].first_seen.as_str(), lines[0].gone_since.as_deref()),
            ("B101", "2", None)
        );
        assert_eq!((lines[1].last_seen.as_str(), lines[1].gone_since.as_deref(), lines[1].runs), ("2", Some("3"), 2));
        assert_eq!((lines[0].notes.len(), lines[1].notes.len()), (0, 1));
    }

    #[test]
    fn what_comes_back_is_not_gone_and_a_blind_run_tells_nothing() {
        let mut blind = run("2", &[]);
        blind.verdict = Verdict::Unknown;
        assert_eq!(lines(&[run("1", &["A101"]), blind], &[])[0].gone_since, None);
        let kept = [run("1", &["A101"]), run("2", &[]), run("3", &["A101"])];
        assert_eq!(lines(&kept, &[])[0].gone_since, None);
    }

    #[test]
    fn facts_are_what_somebody_changes() {
        let evidence = json!({
            "servers": {"value": {"postfix": {"version": {"value": "3.9"}, "settings": {"myhostname": {"value": "a"}}}}},
            "sockets": {"value": {"listeners": {"tcp/0.0.0.0:25": {"queue": 1}}}},
            "lookups": {
                "MX x.example": {"outcome": "found", "records": [{"ttl_s": 5, "data": {"mx": {"preference": 10}}}]},
                "MX y.example": {"outcome": {"no_answer": {"after_ms": 5}}, "records": []},
                "A x.example": {"outcome": "found", "records": []},
            },
        });
        let facts = facts(&evidence);
        let keys: Vec<&str> = facts.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["listener tcp/0.0.0.0:25", "postfix: myhostname", "record MX x.example", "version of postfix"]
        );
    }
}
