//! Tables of verdicts: many small cases on one host, each with what a command has to say of it.
//!
//! A fault breaks a host and asks `doctor`; it costs seconds. A case here is a zone, or a file, and one command looks at many
//! of them at once. A table is one file of `lab/tables`:
//!
//! - `[commands.NAME]`: what is run, as root on the host, and within how many seconds it ends. Where the text has `$NAMES`, one
//!   run is for all cases of the command, and each is judged by the findings about its own name. Otherwise there is one run a
//!   case, with its name in `$NAME`, and all findings count.
//! - `[[case]]`: its zone, and what must be said. The zone has the records of [`STANDARD`] but for those whose name and type
//!   stand in `records` or `without`; `bare` leaves all of them out. The shell expands `$` in it.
//!
//! Every cause that is not expected is wrong, from `warning` up: a table is about false alarms as much as about misses.

use crate::doctor::{Finding, Unseen};
use crate::host::{Host, SETUP_LIMIT, read_all};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a domain publishes in which nothing is wrong.
pub const STANDARD: [&str; 4] = [
    "@ MX 10 mx",
    "mx A 203.0.113.25",
    "@ TXT \"v=spf1 mx -all\"",
    "_dmarc TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@$NAME\"",
];
/// As many names as one run of `mxray domain` takes.
const NAMES_MAX: usize = 64;

/// One file of `lab/tables`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub about: String,
    pub host: String,
    /// Belongs to the fixed share that every CI run takes.
    #[serde(default)]
    pub share: bool,
    /// As root on the host, before the zones are made.
    #[serde(default)]
    pub setup: String,
    /// The same behind them.
    #[serde(default)]
    pub served: String,
    pub commands: BTreeMap<String, Command>,
    pub case: Vec<Row>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub run: String,
    /// A run that hangs: far above the deadline of the command itself, since a busy machine makes it longer.
    pub within_s: f64,
}

/// One case of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The name of its zone, or of its file.
    pub name: String,
    pub about: String,
    pub command: String,
    /// There is a zone of this name.
    #[serde(default)]
    pub records: Option<String>,
    /// The first words of standard records that are not there, as in `["@ MX"]`.
    #[serde(default)]
    pub without: Vec<String>,
    #[serde(default)]
    pub bare: bool,
    /// How the zone is signed: arguments of dnssec-signzone, or `unsigned`.
    #[serde(default = "unsigned")]
    pub signing: String,
    /// What the zone above says of this one, in place of its two servers.
    #[serde(default)]
    pub delegation: String,
    /// `CODE severity`. The first of them stands first among the causes where it is a warning or worse.
    #[serde(default)]
    pub expect: Vec<String>,
    /// Codes that must stand among what was not seen.
    #[serde(default)]
    pub unseen: Vec<String>,
    /// Words that the output has.
    #[serde(default)]
    pub says: Vec<String>,
}

fn unsigned() -> String {
    "unsigned".to_owned()
}

/// What is read of a command's JSON.
#[derive(Debug, Default, Deserialize)]
struct Said {
    /// `domain --mail` has none: there a cause is what no other finding explains.
    causes: Option<Vec<Finding>>,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default, deserialize_with = "questions")]
    unseen: Vec<Unseen>,
}

/// `domain --mail` names questions there, and no codes.
fn questions<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Unseen>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

impl Said {
    fn causes(&self) -> Vec<&Finding> {
        let explained = |one: &Finding| self.findings.iter().any(|other| other.explains.contains(&one.id));
        match &self.causes {
            Some(causes) => causes.iter().collect(),
            None => self.findings.iter().filter(|finding| !explained(finding)).collect(),
        }
    }
}

/// How one case ended: what was said of it, and what is wrong with that.
#[derive(Debug)]
pub struct Verdict {
    pub name: String,
    pub expected: String,
    pub got: String,
    pub wrong: Option<String>,
    pub took: Duration,
}

/// The directory with one file per table.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tables")
}

/// All tables, by slug.
pub fn all() -> io::Result<BTreeMap<String, Table>> {
    let tables: BTreeMap<String, Table> = read_all(&directory())?;
    for (slug, table) in &tables {
        if let Some(wrong) = table.wrong() {
            return Err(io::Error::other(format!("table {slug}: {wrong}")));
        }
    }
    Ok(tables)
}

impl Table {
    fn wrong(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        for row in &self.case {
            let Some(command) = self.commands.get(&row.command) else {
                return Some(format!("{}: no command named {}", row.name, row.command));
            };
            if !names.insert(&row.name) {
                return Some(format!("two cases are named {}", row.name));
            }
            if command.is_for_many() && !row.unseen.is_empty() {
                return Some(format!("{}: what one run for many has not seen belongs to none of them", row.name));
            }
            if let Some(word) = row.expect.iter().find(|word| word.split(' ').count() != 2) {
                return Some(format!("{}: {word:?} is no `CODE severity`", row.name));
            }
            if row.records.is_none() && (row.bare || row.signing != unsigned() || !row.without.is_empty()) {
                return Some(format!("{}: there is no zone that this could be about", row.name));
            }
        }
        None
    }

    /// Makes the zones on the host, runs the commands, and judges.
    pub fn run(&self, host: &Host) -> io::Result<Vec<Verdict>> {
        host.machine.must("prepare the table", &self.preparation(), &[], SETUP_LIMIT)?;
        let mut verdicts = Vec::new();
        for (name, command) in &self.commands {
            let rows: Vec<&Row> = self.case.iter().filter(|row| row.command == *name).collect();
            let parts: Vec<&[&Row]> = rows.chunks(if command.is_for_many() { NAMES_MAX } else { 1 }).collect();
            for part in parts {
                verdicts.extend(command.judge(host, part));
            }
        }
        Ok(verdicts)
    }

    fn preparation(&self) -> String {
        let mut script = self.setup.clone();
        script.push('\n');
        for row in &self.case {
            let Some(zone) = row.zone() else { continue };
            let name = &row.name;
            let _ = write!(script, "NAME={name}\nzone_put {name} <<END\n{zone}END\nzone_below {name}\n");
            if !row.signing.is_empty() {
                let _ = writeln!(script, "zone_args {name} '{}'", row.signing);
            }
            if !row.delegation.is_empty() {
                let _ = writeln!(script, "zone_delegation {name} <<END\n{}\nEND", row.delegation.trim());
            }
        }
        if self.case.iter().any(|row| row.records.is_some()) {
            script.push_str("zones_serve\n");
        }
        script.push_str(&self.served);
        script
    }
}

impl Row {
    fn zone(&self) -> Option<String> {
        let records = self.records.as_ref()?;
        let mut zone = String::new();
        // An alias stands alone (RFC 1034 section 3.6.2).
        let replaces = |line: &str, standard: &str| {
            let ([name, kind], [old_name, old_kind]) = (first_words(line), first_words(standard));
            name == old_name && (kind == old_kind || kind == "CNAME")
        };
        for line in STANDARD.iter().filter(|_| !self.bare) {
            let mut others = self.without.iter().map(String::as_str).chain(records.lines());
            if !others.any(|other| replaces(other, line)) {
                let _ = writeln!(zone, "{line}");
            }
        }
        for line in records.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(zone, "{line}");
        }
        Some(zone)
    }

    /// A finding about this name or one below it, and not about one of the others below it.
    fn is_about(&self, finding: &Finding, all: &[&Row]) -> bool {
        let value = finding.subject.value.to_ascii_lowercase();
        let names = value.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_')));
        let within = |row: &Row, name: &str| {
            name == row.name || name.strip_suffix(&row.name).is_some_and(|rest| rest.ends_with('.'))
        };
        let nearest = |name| all.iter().filter(|row| within(row, name)).max_by_key(|row| row.name.len());
        names.filter_map(nearest).any(|row| row.name == self.name)
    }
}

fn first_words(line: &str) -> [&str; 2] {
    let mut words = line.split_whitespace();
    [words.next().unwrap_or(""), words.next().unwrap_or("")]
}

fn shown(findings: &[&Finding]) -> String {
    let all: Vec<String> = findings.iter().map(|finding| format!("{} {}", finding.code, finding.severity)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn is_grave(severity: &str) -> bool {
    matches!(severity, "warning" | "error" | "critical")
}

impl Command {
    fn is_for_many(&self) -> bool {
        self.run.contains("$NAMES")
    }

    fn judge(&self, host: &Host, rows: &[&Row]) -> Vec<Verdict> {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let settings = [("NAMES", names.join(" ")), ("NAME", names.first().copied().unwrap_or_default().to_owned())];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let ran = host.machine.run_apart(&self.run, &settings, SETUP_LIMIT);
        let (said, text, took, late) = match ran {
            Ok((done, talk)) => {
                let late = done.took.as_secs_f64() > self.within_s;
                let said = serde_json::from_str::<Said>(&done.output).map_err(|error| {
                    let begin: String = done.output.chars().take(400).collect();
                    format!("no report ({}; {error}): {begin:?} {}", done.status, talk.trim())
                });
                (said, done.output, done.took, late)
            }
            Err(error) => (Err(error.to_string()), String::new(), Duration::ZERO, false),
        };
        let verdict = |row: &&Row| {
            let (got, mut wrong) = match &said {
                Ok(said) => row.judge(said, &text, if self.is_for_many() { rows } else { &[] }),
                Err(why) => ("no report".to_owned(), Some(why.clone())),
            };
            if late && wrong.is_none() {
                wrong = Some(format!("it took {:.1} s, and {} are given", took.as_secs_f64(), self.within_s));
            }
            let expected = if row.expect.is_empty() { "nothing".to_owned() } else { row.expect.join(", ") };
            Verdict { name: row.name.clone(), expected, got, wrong, took }
        };
        rows.iter().map(verdict).collect()
    }
}

impl Row {
    /// What was said of it, and what is wrong with that. `all`: the cases of a run for many.
    fn judge(&self, said: &Said, text: &str, all: &[&Row]) -> (String, Option<String>) {
        let own = |finding: &&Finding| all.is_empty() || self.is_about(finding, all);
        let findings: Vec<&Finding> = said.findings.iter().filter(own).collect();
        let wanted = |finding: &Finding| format!("{} {}", finding.code, finding.severity);
        // What another finding explains is no verdict of its own.
        let mut causes = said.causes();
        causes.retain(|cause| own(cause) && is_grave(&cause.severity));
        let milder = findings.iter().copied().filter(|finding| !is_grave(&finding.severity));
        let told: Vec<&Finding> =
            causes.iter().copied().chain(milder.filter(|finding| self.expect.contains(&wanted(finding)))).collect();
        let got = shown(&told);
        let missing = self.expect.iter().find(|code| !findings.iter().any(|finding| wanted(finding) == **code));
        if let Some(code) = missing {
            let all = shown(&findings);
            return (got, Some(format!("{code} is not said; said is {all}")));
        }
        if let Some(other) = causes.iter().find(|finding| !self.expect.contains(&wanted(finding))) {
            let why = format!("not expected: {} {}: {}", wanted(other), other.subject.value, other.summary);
            return (got, Some(why));
        }
        if let Some(first) = self.expect.first()
            && first.split(' ').nth(1).is_some_and(is_grave)
            && let Some(cause) = causes.first()
            && wanted(cause) != *first
        {
            return (got, Some(format!("the first cause is {}: {}", wanted(cause), cause.summary)));
        }
        let unseen = |code: &&String| said.unseen.iter().any(|one| one.what == **code && !one.needs.is_empty());
        if let Some(code) = self.unseen.iter().find(|code| !unseen(code)) {
            return (got, Some(format!("{code} is not among what was not seen")));
        }
        if let Some(words) = self.says.iter().find(|words| !text.contains(words.as_str())) {
            return (got, Some(format!("the output does not have {words:?}")));
        }
        (got, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(more: &str) -> Row {
        toml::from_str(&format!("name = \"a.example\"\nabout = \"x\"\ncommand = \"dns\"\n{more}")).unwrap()
    }

    fn said(findings: &[(&str, &str, &str)]) -> Said {
        let all = findings.iter().map(|(code, severity, subject)| {
            serde_json::json!({"code": code, "severity": severity, "id": "", "explains": [], "summary": "", "subject": {"kind": "domain", "value": subject}})
        });
        let all: Vec<serde_json::Value> = all.collect();
        serde_json::from_value(serde_json::json!({"findings": all.clone(), "causes": all})).unwrap()
    }

    #[test]
    fn a_zone_is_the_standard_but_for_what_it_says_itself() {
        let zone =
            row("records = \"\"\"\n@ TXT \\\"v=spf1 -all\\\"\n\"\"\"\nwithout = [\"_dmarc TXT\"]").zone().unwrap();
        assert_eq!(zone, "@ MX 10 mx\nmx A 203.0.113.25\n@ TXT \"v=spf1 -all\"\n");
        assert_eq!(row("records = \"\"\nbare = true").zone().unwrap(), "");
        assert_eq!(row("").zone(), None);
    }

    #[test]
    fn what_is_said_of_another_name_counts_where_one_was_asked_about() {
        let (asked, below) = (row(""), Row { name: "b.a.example".to_owned(), ..row("") });
        let other = said(&[("SPF103", "error", "b.example"), ("SPF103", "error", "ba.example")]);
        assert_eq!(asked.judge(&other, "", &[&asked]).1, None);
        assert!(asked.judge(&other, "", &[]).1.is_some());
        let deeper = said(&[("DKIM104", "error", "s._domainkey.b.a.example")]);
        assert!(asked.judge(&deeper, "", &[&asked]).1.is_some());
        assert_eq!(asked.judge(&deeper, "", &[&asked, &below]).1, None);
    }

    #[test]
    fn missing_unexpected_and_misplaced_findings_are_wrong() {
        let wanted = row("expect = [\"SPF103 error\", \"MX101 warning\"]");
        let both = [("SPF103", "error", "a.example"), ("MX101", "warning", "a.example")];
        assert_eq!(wanted.judge(&said(&both), "", &[&wanted]).1, None);
        assert!(wanted.judge(&said(&both[..1]), "", &[&wanted]).1.is_some());
        let turned = [both[1], both[0]];
        assert!(wanted.judge(&said(&turned), "", &[&wanted]).1.is_some());
        let softer = [("SPF103", "warning", "a.example"), both[1]];
        assert!(wanted.judge(&said(&softer), "", &[&wanted]).1.is_some());
        let more = [both[0], both[1], ("DMARC101", "warning", "a.example")];
        assert!(wanted.judge(&said(&more), "", &[&wanted]).1.is_some());
        let notice = [both[0], both[1], ("DMARC104", "notice", "a.example")];
        assert_eq!(wanted.judge(&said(&notice), "", &[&wanted]).1, None);
    }

    #[test]
    fn what_was_not_seen_and_what_is_printed_count() {
        let wanted = row("unseen = [\"SPF101\"]");
        assert!(wanted.judge(&Said::default(), "", &[]).1.is_some());
        let unseen = serde_json::json!({"unseen": [{"what": "SPF101", "why": "silence", "needs": "an answer"}, "TXT b.example"]});
        assert_eq!(wanted.judge(&serde_json::from_value(unseen).unwrap(), "", &[]).1, None);
        assert!(row("says = [\"x\"]").judge(&Said::default(), "y", &[]).1.is_some());
    }
}
