//! The grammars against logs that others have collected: how many lines are understood.
//!
//! The collections lie beside the repository (`../shared/corpus`, or where MXRAY_CORPUS says) and are not part of it.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mxray_logs::{Analysis, Lines, Options, Origin, Read, Reader};
use mxray_mail::causes::Rules;

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

fn files(folder: &Path, keep: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if keep(&path.file_name().unwrap().to_string_lossy()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Lines of logs, each file with its own state.
fn read(texts: impl Iterator<Item = Vec<u8>>) -> Lines {
    let rules = Arc::new(Rules::built_in());
    let mut sum = Lines::default();
    for text in texts {
        let mut analysis = Analysis::new(Arc::clone(&rules), Options::default());
        let mut reader = Reader::new(Origin { first_year: 2024, local_offset: 0 });
        let mut sink = |raw: &[u8], read: Read<'_>| analysis.line(raw, read);
        reader.feed(&text, &mut sink);
        reader.finish(&mut sink);
        let lines = analysis.lines();
        sum.read += lines.read;
        sum.understood += lines.understood;
        sum.foreign += lines.foreign;
        sum.free_text += lines.free_text;
        sum.not_understood += lines.not_understood;
        sum.samples.extend(lines.samples.iter().cloned());
        let _ = analysis.into_summary();
    }
    sum
}

/// The share that may not be undercut, from a file beside this one: it only goes up.
fn floor(name: &str) -> f64 {
    let rows = include_str!("corpora/floor.tsv").lines().skip(1).map(|line| line.split_once('\t').unwrap());
    rows.filter(|(corpus, _)| *corpus == name).map(|(_, floor)| floor.parse().unwrap()).next().unwrap()
}

fn told(name: &str, lines: &Lines) {
    let share = 100.0 * (lines.read - lines.not_understood) as f64 / lines.read.max(1) as f64;
    // Past the capture of the test harness: a score is to be read.
    let mut out = std::io::stderr();
    let _ = writeln!(
        out,
        "{name}: {} lines, {} understood, {} foreign ({} free text), {} not: {share:.2} %",
        lines.read, lines.understood, lines.foreign, lines.free_text, lines.not_understood
    );
    if share < 100.0 {
        for sample in lines.samples.iter().take(60) {
            let _ = writeln!(out, "  {}", sample.chars().take(160).collect::<String>());
        }
    }
    assert!(lines.read > 0 && share >= floor(name), "{name}: {share:.2} % is under the floor");
}

/// What a YAML double-quoted or plain scalar says, for the few escapes that these files have.
fn scalar(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    inner.replace("\\\"", "\"").replace("\\r", "").replace("\\n", "").replace("\\\\", "\\")
}

#[test]
fn grok() {
    let Some(root) = corpus("grok") else { return };
    let mut texts = Vec::new();
    for path in files(&root, &|name| name.ends_with(".yaml")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // Pieces of lines, not lines.
        let piece = name.starts_with("command_counter") || name.starts_with("delays");
        let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
        let data = scalar(data);
        if piece || (name.starts_with("tls_features") && !data.contains("to=<")) {
            continue;
        }
        let program = name.rsplit_once('_').map_or("smtp", |(head, _)| head).replace('_', "-");
        texts.push(format!("May  1 10:00:00 mx postfix/{program}[1]: {data}\n").into_bytes());
    }
    assert!(texts.len() > 70, "{}", texts.len());
    told("grok", &read(texts.into_iter()));
}

#[test]
fn crowdsec() {
    let Some(root) = corpus("crowdsec") else { return };
    let logs = files(&root, &|name| name.ends_with(".log"));
    told("crowdsec", &read(logs.iter().map(|path| std::fs::read(path).unwrap())));
}

#[test]
fn fail2ban() {
    let Some(root) = corpus("fail2ban") else { return };
    // The files of the servers that we read; a comment above each line says what fail2ban finds in it.
    let logs = files(&root, &|name| matches!(name, "exim-spam" | "sendmail-reject"));
    let without_comments = |path: &PathBuf| {
        let text = std::fs::read(path).unwrap();
        text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")).collect::<Vec<_>>().join(&b'\n')
    };
    told("fail2ban", &read(logs.iter().map(without_comments)));
}

#[test]
fn lightmeter() {
    let Some(root) = corpus("lightmeter") else { return };
    let logs = files(&root, &|name| name.ends_with(".log"));
    told("lightmeter", &read(logs.iter().map(|path| std::fs::read(path).unwrap())));
}

#[test]
fn exim() {
    if let Some(root) = corpus("exim_exporter") {
        told("exim_exporter", &read(std::iter::once(std::fs::read(root.join("mainlog")).unwrap())));
    }
    let Some(root) = corpus("exim-testlogs") else { return };
    for folder in ["log", "rejectlog", "paniclog"] {
        let logs = files(&root.join(folder), &|_| true);
        // A blank line and a caption stand between the parts of a test.
        let parts = |path: &PathBuf| {
            let text = std::fs::read(path).unwrap();
            text.split(|byte| *byte == b'\n')
                .filter(|line| !line.starts_with(b"*****"))
                .collect::<Vec<_>>()
                .join(&b'\n')
        };
        told(&format!("exim-testlogs/{folder}"), &read(logs.iter().map(parts)));
    }
}

#[test]
fn rfc3339() {
    let Some(root) = corpus("pflogsumm-go") else { return };
    told("pflogsumm-go", &read(std::iter::once(std::fs::read(root.join("rfc3339.log")).unwrap())));
}
