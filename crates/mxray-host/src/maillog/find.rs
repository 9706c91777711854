//! Words into files: names, patterns, directories, and what is usual where nothing was named.
//!
//! What must not live here: the order of what was found.

use super::file::{LogFile, unseen};
use super::packing::Packing;
use crate::read;
use mxray_model::Unseen;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of one run. Ten years of daily rotation of two logs stay under it.
const FILES_MAX: usize = 8_192;

/// What stands behind some words.
#[derive(Debug, Default)]
pub struct Found {
    pub files: Vec<LogFile>,
    pub unseen: Vec<Unseen>,
    identities: BTreeSet<(u64, u64)>,
}

impl Found {
    fn add(&mut self, path: &Path, must_be_text: bool) {
        if self.files.len() >= FILES_MAX {
            return self.left_out(path);
        }
        let file = match LogFile::try_open(path) {
            Ok(file) => file,
            Err(error) => return self.unseen.push(unseen(path, &error)),
        };
        if must_be_text && !is_text(&file) {
            return;
        }
        if self.identities.insert(file.identity) {
            self.files.push(file);
        }
    }

    fn left_out(&mut self, path: &Path) {
        let why = format!("more than {FILES_MAX} files");
        if self.unseen.last().is_none_or(|last| last.why != why) {
            self.unseen.push(Unseen {
                what: format!("{} and further files", read::shown(path)),
                why,
                needs: "fewer files at once".to_owned(),
            });
        }
    }

    fn directory(&mut self, path: &Path) {
        let listed = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut paths: Vec<PathBuf> = match listed {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => return self.unseen.push(unseen(path, &error)),
        };
        paths.sort();
        paths.retain(|path| path.is_file());
        paths.iter().for_each(|path| self.add(path, true));
    }
}

/// wtmp and the journal's own files lie beside logs; a log has no NUL, but for a hole in front of it.
fn is_text(file: &LogFile) -> bool {
    let Ok(head) = file.head() else { return file.packing != Packing::Plain };
    let hole = head.iter().take_while(|byte| **byte == 0).count();
    !head.get(hole..hole + 4_096.min(head.len() - hole)).unwrap_or_default().contains(&0)
}

/// The files that words name: paths, directories (their files, not those below), patterns.
pub fn find(words: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for word in words {
        match std::fs::metadata(word) {
            Ok(data) if data.is_dir() => found.directory(word),
            Ok(_) => found.add(word, false),
            Err(error) => match matching(word) {
                Some(paths) => paths.iter().for_each(|path| found.add(path, false)),
                None => found.unseen.push(unseen(word, &error)),
            },
        }
    }
    found
}

/// Of the plain files that directories and patterns stand for now, those that are not known.
pub fn fresh(words: &[PathBuf], known: &BTreeSet<(u64, u64)>) -> Vec<LogFile> {
    let is_fresh = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        data.is_some_and(|data| !known.contains(&(data.dev(), data.ino())))
    };
    let listed = |word: &PathBuf| -> Vec<PathBuf> {
        match std::fs::read_dir(word) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).take(FILES_MAX).collect(),
            Err(_) => matching(word).unwrap_or_default(),
        }
    };
    let paths: BTreeSet<PathBuf> = words.iter().flat_map(listed).filter(is_fresh).collect();
    let opened = paths.iter().filter_map(|path| LogFile::try_open(path).ok());
    opened.filter(|file| file.packing == Packing::Plain && file.size > 0 && is_text(file)).collect()
}

/// What a pattern matches; `None` where it is none, or nothing matches.
fn matching(word: &Path) -> Option<Vec<PathBuf>> {
    let text = word.to_str().filter(|text| text.contains(['*', '?', '[']))?;
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(text, options).ok()?;
    let paths: Vec<PathBuf> = paths.take(FILES_MAX + 1).filter_map(Result::ok).filter(|path| path.is_file()).collect();
    (!paths.is_empty()).then_some(paths)
}

/// Where distributions put what syslog writes of mail, and where servers write themselves. Debian's mail.err and mail.warn,
/// and Exim's rejectlog, repeat lines of these.
const USUAL: [&str; 13] = [
    "/var/log/mail.log*",
    "/var/log/maillog*",
    "/var/log/mail",
    "/var/log/mail/mail.log*",
    "/var/log/postfix.log*",
    "/var/log/postfix/*.log*",
    "/var/log/exim4/mainlog*",
    "/var/log/exim4/paniclog*",
    "/var/log/exim/main.log*",
    "/var/log/exim/mainlog*",
    "/var/log/exim_mainlog*",
    "/var/log/dovecot.log*",
    "/var/log/maillog/*.log*",
];

/// The logs that are usual, and those in the directories which mail servers of this machine were told to write to.
pub fn found_here(log_directories: &BTreeSet<String>) -> Found {
    let mut found = Found::default();
    let mut patterns: Vec<String> = USUAL.iter().map(|pattern| (*pattern).to_owned()).collect();
    let own = log_directories.iter().filter(|directory| directory.as_str() != "/var/log");
    for directory in own {
        let directory = glob::Pattern::escape(directory);
        patterns.extend(["mainlog*", "paniclog*", "*.log*"].map(|name| format!("{directory}/{name}")));
    }
    let repeats = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.contains("reject") || name.starts_with("mail.err") || name.starts_with("mail.warn")
    };
    for pattern in patterns {
        for path in matching_or_plain(&pattern) {
            if !repeats(&path) {
                found.add(&path, true);
            }
        }
    }
    found
}

fn matching_or_plain(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    if path.is_file() { vec![path.to_owned()] } else { matching(path).unwrap_or_default() }
}
