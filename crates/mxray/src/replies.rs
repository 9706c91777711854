//! The rules for what replies mean: those of the user's files, before the built-in ones. Every command that judges causes takes
//! them from here: the files of `--rules`, then those of the configuration (`[replies] rules`).
//!
//! What must not live here: what a rule says, and judging (`mxray-mail`).

use crate::config::Config;
use crate::exit::Failure;
use crate::output::say;
use mxray_mail::causes::Rules;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Unseen};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A file of rules is far smaller.
const RULES_BYTES_MAX: u64 = 4 << 20;

/// How often the files are looked at while a command goes on.
const LOOK: Duration = Duration::from_secs(1);

/// The files, and what they said when they were last read.
pub struct Replies {
    files: Vec<RuleFile>,
    /// As the files were before they were read.
    written: Vec<Option<SystemTime>>,
    looked: Instant,
    rules: Arc<Rules>,
    unused: Vec<Left>,
}

struct RuleFile {
    path: PathBuf,
    /// By `--rules`: whoever names a file wants it to be used, and waits where it is a pipe.
    named: bool,
}

impl RuleFile {
    fn shown(&self) -> String {
        untrusted(self.path.as_os_str().as_encoded_bytes())
    }

    fn open(&self) -> io::Result<File> {
        if self.named {
            return File::open(&self.path);
        }
        open_regular(&self.path)
    }

    fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        self.open()?.take(RULES_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > RULES_BYTES_MAX {
            return Err(io::Error::other(format!("larger than {} MiB", RULES_BYTES_MAX >> 20)));
        }
        Ok(text)
    }
}

/// A FIFO at a place that a file of settings names would hold every run: it is opened without waiting, and looked at afterwards.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// A file or a rule that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The file, and the line where it is one rule.
    pub what: String,
    pub blind: Blind,
}

impl Replies {
    /// Reads the files of `--rules` and of the configuration. What of them is not used stops nothing.
    ///
    /// # Errors
    /// A file of `--rules` cannot be read.
    pub fn read(named: &[PathBuf], config: &Config) -> Result<Self, Failure> {
        let file = |named: bool| move |path: &PathBuf| RuleFile { path: path.clone(), named };
        let set = config.settings.replies.rules.iter().map(file(false));
        let files: Vec<RuleFile> = named.iter().map(file(true)).chain(set).collect();
        let written = written(&files);
        let (texts, unread) = texts(&files);
        if let Some((file, error)) = unread.iter().find(|(file, _)| file.named) {
            return Err(Failure::Usage(format!("--rules: read {}: {error}", file.shown())));
        }
        let (rules, mut unused) = compiled(&texts);
        unused.extend(unread.iter().map(|(file, error)| left_unread(file, error)));
        Ok(Replies { written, files, looked: Instant::now(), rules, unused })
    }

    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// What is not used, and why.
    pub fn unused(&self) -> &[Left] {
        &self.unused
    }

    /// The same, as a part of an answer.
    pub fn unseen(&self) -> impl Iterator<Item = Unseen> + '_ {
        self.unused.iter().map(|left| Unseen {
            what: left.what.clone(),
            why: format!("{}; judged without it", left.blind.why()),
            needs: left.blind.needs(),
        })
    }

    /// Says on standard error what is not used.
    pub fn tell(&self) {
        for left in &self.unused {
            say(&format!("mxray: rules: not used: {}: {}", left.what, left.blind.why()));
        }
    }

    /// Reads the files again where they have changed since. Where one of them cannot be read, all stays as it was, and `Err`
    /// says so, once.
    pub fn changed(&mut self) -> Result<bool, String> {
        if self.files.is_empty() || self.looked.elapsed() < LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        let now = written(&self.files);
        if now == self.written {
            return Ok(false);
        }
        self.written = now;
        let (texts, unread) = texts(&self.files);
        if let Some((file, error)) = unread.first() {
            return Err(format!("read {}: {error}; the rules stay as they were", file.shown()));
        }
        (self.rules, self.unused) = compiled(&texts);
        Ok(true)
    }
}

/// When each was last written. `None`: it cannot be seen.
fn written(files: &[RuleFile]) -> Vec<Option<SystemTime>> {
    files.iter().map(|file| std::fs::metadata(&file.path).and_then(|found| found.modified()).ok()).collect()
}

type Texts = Vec<(String, String)>;

fn texts(files: &[RuleFile]) -> (Texts, Vec<(&RuleFile, io::Error)>) {
    let (mut texts, mut unread) = (Texts::new(), Vec::new());
    for file in files {
        match file.text() {
            Ok(text) => texts.push((file.shown(), text)),
            Err(error) => unread.push((file, error)),
        }
    }
    (texts, unread)
}

fn compiled(texts: &[(String, String)]) -> (Arc<Rules>, Vec<Left>) {
    if texts.is_empty() {
        return (Arc::new(Rules::built_in()), Vec::new());
    }
    let (rules, unused) = Rules::of_users(texts);
    let left = unused.into_iter().map(|unused| Left {
        what: format!("{}, line {}", unused.file, unused.line),
        blind: Blind::NotUnderstood {
            what: "the rule for replies is".to_owned(),
            text: untrusted(unused.why.to_string().as_bytes()),
        },
    });
    (Arc::new(rules), left.collect())
}

fn left_unread(file: &RuleFile, error: &io::Error) -> Left {
    let said = untrusted(error.to_string().as_bytes());
    let blind = match error.kind() {
        io::ErrorKind::PermissionDenied => Blind::NotPermitted {
            what: format!("read it ({said})"),
            needs: "root, or a file that this user may read".to_owned(),
        },
        _ => Blind::NotAttempted { why: format!("it cannot be read: {said}") },
    };
    Left { what: file.shown(), blind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_mail::causes::{Cause, Said, Speaker};

    const RULE: &str = "[[rule]]\nid = \"own\"\ncause = \"virus\"\nany = [\"frobozz\"]\nsource = \"me\"\n\
                        sample = \"550 frobozz\"\n[source.me]\nabout = \"seen here\"\ndate = \"2026-01-01\"\n";

    fn cause(replies: &Replies) -> Cause {
        replies.rules().judge(&Said { host: b"", text: b"550 frobozz", speaker: Speaker::Theirs }).cause
    }

    #[test]
    fn named_files_come_before_those_of_the_configuration_which_may_be_missing() {
        let root = std::env::temp_dir().join(format!("mxray-replies-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let (one, other) = (root.join("1"), root.join("2"));
        std::fs::write(&one, RULE).unwrap();
        std::fs::write(&other, RULE.replace("virus", "greylist")).unwrap();
        let mut config = Config::default();
        config.settings.replies.rules = vec![one.clone(), root.join("none"), root.clone()];
        let set = Replies::read(&[], &config).ok().unwrap();
        let named = Replies::read(std::slice::from_ref(&other), &config).ok().unwrap();
        let missing = Replies::read(&[root.join("none")], &Config::default());
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!((cause(&set), cause(&named)), (Cause::Virus, Cause::Greylist));
        assert!(missing.is_err());
        let why: Vec<String> = set.unused().iter().map(|left| left.blind.why()).collect();
        assert!(why.len() == 2 && why[1].contains("not a regular file"), "{why:?}");
    }
}
