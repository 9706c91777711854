//! The cause rules against collections of replies and bounces that others have judged.
//!
//! The collections lie beside the repository (`../shared/corpus`, or where MXRAY_CORPUS says) and are not part of it. Their
//! classes are mapped to our causes in `corpora/classes.tsv`; the share that agrees may not fall under `corpora/floor.tsv`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use mxray_mail::bounce::{self, Kind, Reading, Recipient};
use mxray_mail::causes::{Cause, Rules, Said, Speaker};
use mxray_mail::report::{self, Report};

fn corpus(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let roots = [std::env::var_os("MXRAY_CORPUS").map(PathBuf::from), Some(beside)];
    let found = roots.into_iter().flatten().map(|root| root.join(name)).find(|path| path.is_dir());
    if found.is_none() {
        // Past the capture of the test harness: a skip is counted.
        let _ = writeln!(std::io::stderr(), "skipped: the corpus {name} is not here (MXRAY_CORPUS)");
    }
    found
}

/// Rows of a table with a head line.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| {
            head.iter().zip(line.split('\t')).map(|(key, value)| ((*key).to_owned(), value.to_owned())).collect()
        })
        .collect()
}

/// Class of a corpus to the causes that agree with it.
fn mapping(corpus: &str) -> BTreeMap<String, Vec<String>> {
    let rows = include_str!("corpora/classes.tsv").lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0] == corpus)
        .map(|row| (row[1].to_owned(), row[2].split_whitespace().map(str::to_owned).collect()))
        .collect()
}

fn floor(corpus: &str) -> f64 {
    let rows = include_str!("corpora/floor.tsv").lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0] == corpus).map(|row| row[1].parse().unwrap()).next().expect("a floor for each corpus")
}

struct Score {
    corpus: &'static str,
    agreed: usize,
    rows: usize,
    others: Vec<String>,
}

impl Score {
    fn new(corpus: &'static str) -> Score {
        Score { corpus, agreed: 0, rows: 0, others: Vec::new() }
    }

    fn row(&mut self, name: &str, class: &str, expected: &[String], found: Cause, text: &str) {
        self.rows += 1;
        if expected.iter().any(|cause| cause == found.name()) {
            self.agreed += 1;
        } else {
            let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(150).collect();
            self.others.push(format!("{name}: {class}, found {}: {text}", found.name()));
        }
    }

    #[expect(clippy::print_stdout, reason = "a score is to be read")]
    fn finish(self) {
        let share = 100.0 * self.agreed as f64 / self.rows.max(1) as f64;
        let _ = writeln!(std::io::stderr(), "{}: {} of {} agree, {share:.1} %", self.corpus, self.agreed, self.rows);
        self.others.iter().for_each(|line| println!("  {line}"));
        assert!(share >= floor(self.corpus), "{}: {share:.1} % is under the floor", self.corpus);
    }
}

/// Score of something other than a cause.
struct Told {
    name: &'static str,
    right: usize,
    rows: usize,
    others: Vec<String>,
}

impl Told {
    fn new(name: &'static str) -> Told {
        Told { name, right: 0, rows: 0, others: Vec::new() }
    }

    fn row(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.rows += 1;
        self.right += usize::from(right);
        if !right {
            self.others.push(what());
        }
    }

    #[expect(clippy::print_stdout, reason = "a score is to be read")]
    fn finish(self) {
        let share = 100.0 * self.right as f64 / self.rows.max(1) as f64;
        let _ = writeln!(std::io::stderr(), "{}: {} of {} right, {share:.1} %", self.name, self.right, self.rows);
        self.others.iter().for_each(|line| println!("  {line}"));
        assert!(self.rows > 0 && share >= floor(self.name), "{}: {share:.1} % is under the floor", self.name);
    }
}

/// The recipient that a row is about: by its address, else by its place.
fn about<'r>(reading: &'r Reading, row: &BTreeMap<String, String>) -> Option<&'r Recipient> {
    let named = |own: &&Recipient| own.address.eq_ignore_ascii_case(&row["recipient"]);
    let index = row["index"].parse::<usize>().unwrap_or(1).saturating_sub(1);
    reading.recipients.iter().find(named).or_else(|| reading.recipients.get(index)).or(reading.recipients.first())
}

#[test]
fn sisimai() {
    let Some(root) = corpus("sisimai") else { return };
    let (rules, classes, mut score) = (Rules::built_in(), mapping("sisimai"), Score::new("sisimai"));
    let mut kinds = Told::new("sisimai kinds");
    let mut recipients = Told::new("sisimai recipients");
    for row in table(&root.join("expected.tsv")) {
        let class = row["class"].as_str();
        let Some(expected) = classes.get(class) else { panic!("no mapping for {class}") };
        let reading = bounce::read(&std::fs::read(root.join(&row["file"])).unwrap(), &rules);
        let found = about(&reading, &row);
        let kind = match class {
            "feedback" => matches!(reading.kind, Kind::Complaint | Kind::AuthFailure | Kind::NotSpam),
            "delivered" => matches!(reading.kind, Kind::Delivered | Kind::Relayed | Kind::Expanded),
            "vacation" => reading.kind == Kind::AutomaticReply,
            _ => matches!(reading.kind, Kind::Failure | Kind::Delay),
        };
        kinds.row(kind, || format!("{}: {class}, found {:?}", row["file"], reading.kind));
        // A complaint's recipient is often hidden on purpose.
        if !row["recipient"].is_empty() && !row["recipient"].contains("undisclosed") && class != "vacation" {
            let right = found.is_some_and(|found| found.address.eq_ignore_ascii_case(&row["recipient"]));
            let all = || reading.recipients.iter().map(|one| one.address.as_str()).collect::<Vec<_>>().join(" ");
            recipients.row(right, || format!("{}: {}, found {}", row["file"], row["recipient"], all()));
        }
        // Complaints, deliveries and automatic answers are told by the message, not by a reply.
        if !expected.iter().any(|cause| cause == "-") {
            let cause = found.map_or(Cause::Unknown, |found| found.cause);
            score.row(&row["file"], class, expected, cause, found.map_or("", |found| &found.reply));
        }
    }
    kinds.finish();
    recipients.finish();
    score.finish();
}

#[test]
fn flufl() {
    let Some(root) = corpus("flufl") else { return };
    let (rules, mut score) = (Rules::built_in(), Told::new("flufl"));
    for row in table(&root.join("expected.tsv")) {
        let reading = bounce::read(&std::fs::read(root.join(&row["file"])).unwrap(), &rules);
        let expected = if row["class"] == "temporary" { Kind::Delay } else { Kind::Failure };
        let named = row["recipient"].is_empty()
            || reading.recipients.iter().any(|own| own.address.eq_ignore_ascii_case(&row["recipient"]));
        score.row(reading.kind == expected && named, || {
            let all = reading.recipients.iter().map(|one| one.address.as_str()).collect::<Vec<_>>().join(" ");
            format!("{}: {} {}, found {:?} {all}", row["file"], row["class"], row["recipient"], reading.kind)
        });
    }
    score.finish();
}

#[test]
fn bounceparser() {
    let Some(root) = corpus("bounceparser") else { return };
    let (rules, mut score) = (Rules::built_in(), Told::new("bounceparser"));
    for row in table(&root.join("expected.tsv")) {
        let reading = bounce::read(&std::fs::read(root.join(&row["file"])).unwrap(), &rules);
        let expected = row["class"] != "not a bounce" && !row["note"].contains("is_bounce=0");
        let is_bounce = matches!(reading.kind, Kind::Failure | Kind::Delay);
        let named = row["recipient"].is_empty()
            || reading.recipients.iter().any(|own| own.address.eq_ignore_ascii_case(&row["recipient"]));
        score.row(is_bounce == expected && (named || !expected), || {
            let all = reading.recipients.iter().map(|one| one.address.as_str()).collect::<Vec<_>>().join(" ");
            format!("{}: bounce {expected} {}, found {:?} {all}", row["file"], row["recipient"], reading.kind)
        });
    }
    score.finish();
}

#[test]
fn zonemta() {
    let Some(root) = corpus("zonemta") else { return };
    let (rules, classes, mut score) = (Rules::built_in(), mapping("zonemta"), Score::new("zonemta"));
    for row in table(&root.join("replies.tsv")) {
        let class = row["message"].as_str();
        let Some(expected) = classes.get(class) else { panic!("no mapping for {class}") };
        let found = rules.judge(&Said { host: b"", text: row["reply"].as_bytes(), speaker: Speaker::Theirs }).cause;
        score.row("", class, expected, found, &row["reply"]);
    }
    score.finish();
}

#[test]
fn crisp() {
    let Some(root) = corpus("crisp") else { return };
    let (rules, classes, mut score) = (Rules::built_in(), mapping("crisp"), Score::new("crisp"));
    for row in table(&root.join("expected.tsv")) {
        // The file is named after its class.
        let name = row["file"].trim_end_matches(".txt");
        let class = classes.keys().filter(|class| name.contains(class.as_str())).max_by_key(|class| class.len());
        let Some(class) = class else { panic!("no mapping for {name}") };
        let text = String::from_utf8_lossy(&std::fs::read(root.join(&row["file"])).unwrap()).into_owned();
        let start = text.find(&format!("<{}>:", row["recipient"])).unwrap_or(0);
        let text = &text[start..];
        let found = rules.judge(&Said { host: b"", text: text.as_bytes(), speaker: Speaker::Ours }).cause;
        score.row(&row["file"], class, &classes[class], found, text);
    }
    score.finish();
}

/// All files below a directory that are reports, without the tables and notes beside them.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn reports() {
    let rules = Rules::built_in();
    let mut score = Told::new("reports");
    for (name, below) in [
        ("parsedmarc", ""),
        ("mail-auth", "dmarc-feedback"),
        ("mail-auth", "tlsrpt"),
        ("mail-auth", "arf"),
        ("mox", ""),
        ("cryinc", ""),
        ("tlsrpt-digest", ""),
        ("mail-dmarc", ""),
    ] {
        let Some(root) = corpus(name) else { return };
        for path in files(&root.join(below)) {
            let file = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            // What mail-auth's own reader makes of its mails stands beside them.
            let expected_of_others =
                name == "mail-auth" && path.extension().is_some_and(|end| end == "json") && below != "tlsrpt";
            if file.ends_with(".md")
                || file.ends_with(".tsv")
                || expected_of_others
                || file == "tlsrpt/rpt01.json"
                || file == "tlsrpt/rpt02.json"
            {
                continue;
            }
            let found = report::read(&std::fs::read(&path).unwrap(), &rules);
            score.row(!found.reports.is_empty() && found.troubles.is_empty(), || {
                format!("{name}/{file}: {} reports, {:?}", found.reports.len(), found.troubles)
            });
        }
    }
    score.finish();
}

/// What another reader (parsedmarc) counted in the same files.
#[test]
fn report_figures() {
    let Some(root) = corpus("parsedmarc") else { return };
    let (rules, mut score) = (Rules::built_in(), Told::new("report figures"));
    for row in table(&root.join("expected.tsv")) {
        let found = report::read(&std::fs::read(root.join(&row["file"])).unwrap(), &rules);
        let told = match found.reports.first() {
            Some(Report::Dmarc(report)) => {
                let messages: u64 = report.rows.iter().map(|row| row.count).sum();
                let (org, id) = (&report.org_name, report.report_id.trim_matches(['<', '>']));
                format!("org={org} id={id} rows={} messages={messages}", report.rows.len())
            }
            Some(Report::Tls(report)) => {
                let sum = |figure: fn(&report::TlsPolicy) -> u64| report.policies.iter().map(figure).sum::<u64>();
                let (ok, failed) = (sum(|policy| policy.successes), sum(|policy| policy.failures));
                let (org, id) = (&report.organization, &report.report_id);
                format!("org={org} id={id} policies={} ok={ok} failed={failed}", report.policies.len())
            }
            _ => "nothing".to_owned(),
        };
        score
            .row(told.eq_ignore_ascii_case(&row["note"]), || format!("{}: {}, found {told}", row["file"], row["note"]));
    }
    score.finish();
}
