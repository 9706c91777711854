//! The cause rules against collections of replies and bounces that others have judged.
//!
//! The collections lie beside the repository (`../shared/corpus`, or where MXRAY_CORPUS says) and are not part of it. Their
//! classes are mapped to our causes in `corpora/classes.tsv`; the share that agrees may not fall under `corpora/floor.tsv`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use mxray_mail::causes::{Cause, Rules, Said, Speaker};

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

/// What a bounce says of recipient number `index`, for scoring only: its Diagnostic-Code, else the text before the original.
fn said_of(raw: &[u8], index: usize, recipient: &str, alone: bool) -> String {
    let text = String::from_utf8_lossy(raw).replace("\r\n", "\n").replace("=\n", "");
    let lower = text.to_ascii_lowercase();
    let mut codes = Vec::new();
    let mut from = 0;
    while let Some(at) = lower[from..].find("\ndiagnostic-code:") {
        let start = from + at + "\ndiagnostic-code:".len();
        let mut value = String::new();
        for (number, line) in text[start..].split('\n').enumerate() {
            if number > 0 && !line.starts_with([' ', '\t']) {
                break;
            }
            value.push_str(line);
            value.push('\n');
        }
        codes.push(value);
        from = start;
    }
    let body = lower.find("\n\n").map_or(&text[..], |at| &text[at..]);
    let ends = [
        "original message -",
        "original message follows",
        "--- original message",
        "copy of the message",
        "copy of the original",
        "copy of your message",
        "below this line is",
        "message headers follow",
        "unsent message follows",
        "\nreceived:",
        "\nreturn-path:",
        "header of the original",
        "content-type: message/rfc822",
        "content-type: text/rfc822",
        "content-type: message/delivery-status",
    ];
    let end = ends.iter().filter_map(|end| body.to_ascii_lowercase().find(end)).min().unwrap_or(body.len().min(4000));
    let body = &body[..body.char_indices().map(|(at, _)| at).take_while(|at| *at <= end).last().unwrap_or(0)];
    match codes.get(index).or(codes.first()) {
        // Some put no more than a number or the name of a type there.
        Some(code) if code.trim().len() > 12 => code.clone(),
        // Several recipients: each has its own lines, which begin with its address.
        _ if !alone && !recipient.is_empty() => {
            let start = body.find(recipient).unwrap_or(0);
            body[body[..start].rfind('\n').unwrap_or(0)..].lines().take(5).collect::<Vec<_>>().join("\n")
        }
        _ => body.to_owned(),
    }
}

#[test]
fn sisimai() {
    let Some(root) = corpus("sisimai") else { return };
    let (rules, classes, mut score) = (Rules::built_in(), mapping("sisimai"), Score::new("sisimai"));
    let rows = table(&root.join("expected.tsv"));
    for row in &rows {
        let class = row["class"].as_str();
        let Some(expected) = classes.get(class) else { panic!("no mapping for {class}") };
        // Complaints, deliveries and automatic answers are told by the message, not by a reply.
        if expected.iter().any(|cause| cause == "-") {
            continue;
        }
        let raw = std::fs::read(root.join(&row["file"])).unwrap();
        let index = row["index"].parse::<usize>().unwrap_or(1).saturating_sub(1);
        let alone = rows.iter().filter(|other| other["file"] == row["file"]).count() == 1;
        let text = said_of(&raw, index, &row["recipient"], alone);
        let found = rules.judge(&Said { host: b"", text: text.as_bytes(), speaker: Speaker::Ours }).cause;
        score.row(&row["file"], class, expected, found, &text);
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
