//! From files to settings: which files there are, what may be read of them, and the walk over their keys.

use super::complaint::{Complaint, Shown};
use super::keys::{KEYS, Key, Wrong};
use super::{Config, Origin};
use mxray_model::nearest::nearest;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// A configuration of a person's making is a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of one directory.
const FILES_MAX: usize = 256;

/// Why a file gave no text.
#[derive(Debug)]
pub enum Refused {
    NotThere,
    NotPermitted(String),
    Unusable(Box<Complaint>),
}

impl Refused {
    /// For a file that was named, all of these are errors.
    pub fn into_complaint(self, file: &Path) -> Complaint {
        match self {
            Refused::NotThere => Complaint::of_file(file, "no such file or directory"),
            Refused::NotPermitted(why) => Complaint::of_file(file, &why),
            Refused::Unusable(complaint) => *complaint,
        }
    }
}

/// The file itself, or the *.toml of a directory by name.
pub fn files_of(named: &Path) -> Result<Vec<PathBuf>, Refused> {
    if !named.is_dir() {
        return Ok(vec![named.to_owned()]);
    }
    let unusable = |why: &str| Refused::Unusable(Box::new(Complaint::of_file(named, why)));
    let failed = |error: &io::Error| unusable(&format!("list the directory: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(named).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(unusable(&format!("more than {FILES_MAX} files")));
        }
    }
    if files.is_empty() {
        return Err(unusable("the directory has no *.toml"));
    }
    files.sort();
    Ok(files)
}

/// A file that was named may be a pipe (`--config <(…)`): whoever named it waits for it.
pub fn text_of_named(file: &Path) -> Result<String, Refused> {
    text_of(file, File::open(file))
}

/// A file at a usual place must be a regular one: a FIFO in a user's directory would hold a `sudo mxray` for ever. It is
/// opened without waiting and looked at afterwards, when it cannot be exchanged any more.
pub fn text_of_usual(file: &Path) -> Result<String, Refused> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(file).and_then(|open| {
        if open.metadata()?.is_file() { Ok(open) } else { Err(io::Error::other("not a regular file")) }
    });
    text_of(file, opened)
}

fn text_of(file: &Path, opened: io::Result<File>) -> Result<String, Refused> {
    let unusable = |why: &str| Refused::Unusable(Box::new(Complaint::of_file(file, why)));
    let mut bytes = Vec::new();
    let read = opened.and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(unusable("larger than 1 MiB")),
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
            unusable(&format!("line {line} is not UTF-8"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refused::NotThere),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Refused::NotPermitted(error.to_string())),
        Err(error) => Err(unusable(&error.to_string())),
    }
}

/// Takes over what the file says, and returns everything that is wrong with it.
pub fn merge(config: &mut Config, file: &Path, text: &str) -> Vec<Complaint> {
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            // The parser's first line is the message; what follows may repeat the text.
            let what = error.message().lines().next().unwrap_or("not TOML");
            return vec![Complaint::new(file, text, at, what, None, Shown::IfHarmless)];
        }
    };
    let mut complaints = Vec::new();
    for (section, value) in root.get_ref() {
        let name = section.get_ref().as_ref();
        if !KEYS.iter().any(|key| key.section == name) {
            complaints.push(unknown_section(file, text, name, section.span()));
            continue;
        }
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("[{name}] is a table, not {}", value.get_ref().type_str());
            complaints.push(Complaint::new(file, text, section.span(), &what, None, Shown::KeyOnly));
            continue;
        };
        for (key, value) in table {
            let Some(known) = KEYS.iter().find(|known| known.section == name && known.name == key.get_ref()) else {
                complaints.push(unknown_key(file, text, name, key.get_ref(), key.span()));
                continue;
            };
            match (known.set)(&mut config.settings, value) {
                Ok(()) => {
                    let line = line_of(text, key.span().start);
                    config.origins.insert(known.path(), Origin::File { path: file.to_owned(), line });
                }
                Err(wrong) => complaints.push(wrong_value(file, text, known, wrong)),
            }
        }
    }
    complaints.sort_by_key(Complaint::place);
    complaints
}

fn wrong_value(file: &Path, text: &str, key: &Key, wrong: Wrong) -> Complaint {
    let what = format!("{} in [{}]: {}", key.name, key.section, wrong.what);
    let shown = if key.secret { Shown::KeyOnly } else { Shown::IfHarmless };
    Complaint::new(file, text, wrong.at, &what, wrong.help, shown)
}

fn unknown_section(file: &Path, text: &str, name: &str, at: Range<usize>) -> Complaint {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    // A key that was written above the first header looks like a section of its own.
    let help = match KEYS.iter().find(|key| key.name == name) {
        Some(key) => format!("`{name}` belongs below [{}]", key.section),
        None => match nearest(name, sections.iter().copied()) {
            Some(near) => format!("did you mean [{near}]?"),
            None => format!("the sections are {}", sections.join(", ")),
        },
    };
    Complaint::new(file, text, at, &format!("unknown section or key `{name}`"), Some(help), Shown::KeyOnly)
}

fn unknown_key(file: &Path, text: &str, section: &str, name: &str, at: Range<usize>) -> Complaint {
    let here: Vec<_> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
    let elsewhere = KEYS.iter().find(|key| key.name == name);
    let help = match (nearest(name, here.iter().copied()), elsewhere) {
        (_, Some(key)) => format!("`{name}` belongs below [{}]", key.section),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("the keys of [{section}] are {}", here.join(", ")),
    };
    Complaint::new(file, text, at, &format!("unknown key `{name}` in [{section}]"), Some(help), Shown::KeyOnly)
}

/// 1 is the first line.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
