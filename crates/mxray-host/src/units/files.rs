//! Where a unit's file and its drop-ins lie, in which order they apply, and the assignments in them (systemd.unit(5),
//! systemd.syntax(7)).

use crate::read;
use mxray_model::{Blind, Seen, text};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The unit load path of the system manager: earlier directories win.
pub(super) const DIRECTORIES: &[&str] = &[
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Unit files are a few kilobytes.
const UNIT_BYTES_MAX: u64 = 1 << 20;
/// Most drop-ins of one directory.
const DROP_INS_MAX: usize = 256;
/// Most entries of one directory of units; a large machine has some thousand.
const ENTRIES_MAX: usize = 20_000;
/// Aliases of aliases: systemd follows some, a loop of links must end.
const ALIASES_MAX: usize = 8;

/// The files of one unit in the order in which they apply: path, content.
#[derive(Debug)]
pub(super) struct Loaded {
    pub fragment: PathBuf,
    /// A link to /dev/null, or an empty file.
    pub masked: bool,
    pub texts: Vec<(String, Vec<u8>)>,
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub section: String,
    pub key: String,
    /// Empty: what was assigned before is taken back.
    pub value: String,
    pub file: String,
    pub line: u32,
}

/// Reads a unit. `Absent`: there is no such unit.
pub(super) fn load(root: &Path, unit: &str) -> Seen<Loaded> {
    let fragment = match fragment(root, unit) {
        Seen::Value(fragment) => fragment,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let mut files = vec![fragment.clone()];
    for name in names(root, unit, &fragment) {
        match drop_ins(root, &name) {
            Ok(found) => files.extend(found),
            Err(blind) => return Seen::Unknown(blind),
        }
    }
    let mut seen = BTreeSet::new();
    files.retain(|path| seen.insert(path.clone()));
    let mut texts = Vec::new();
    let mut masked = false;
    for path in files {
        match read::file(&path, UNIT_BYTES_MAX) {
            Seen::Value(content) => {
                masked |= path == fragment && content.bytes.is_empty();
                texts.push((read::shown(&path), content.bytes));
            }
            Seen::Absent => {}
            // A link to /dev/null masks a unit, or a drop-in.
            Seen::Unknown(Blind::Failed { .. }) if is_null(&path) => masked |= path == fragment,
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Value(Loaded { fragment, masked, texts })
}

fn is_null(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null"))
}

/// `postfix@-.service` → `postfix@.service`
pub(super) fn template(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

fn below(root: &Path, directory: &str) -> PathBuf {
    root.join(directory.trim_start_matches('/'))
}

/// The file that defines a unit: by its own name, else by its template's.
pub(super) fn fragment(root: &Path, unit: &str) -> Seen<PathBuf> {
    if unit.contains('/') {
        return Seen::Absent;
    }
    for name in std::iter::once(unit.to_owned()).chain(template(unit)) {
        for directory in DIRECTORIES {
            let path = below(root, directory).join(&name);
            match path.symlink_metadata() {
                Ok(_) => return Seen::Value(path),
                Err(error) => match read::refused("look for", &path, &error) {
                    Seen::Absent => {}
                    // An earlier directory would win: what a later one says may not hold.
                    refused => return refused,
                },
            }
        }
    }
    Seen::Absent
}

/// The unit's own name, and the names that its link leads to: it is an alias of those, and their drop-ins apply.
fn names(root: &Path, unit: &str, fragment: &Path) -> Vec<String> {
    let mut names = vec![unit.to_owned()];
    let mut path = fragment.to_owned();
    for _ in 0..ALIASES_MAX {
        let Ok(target) = std::fs::read_link(&path) else { break };
        let next = if target.is_absolute() {
            below(root, &target.to_string_lossy())
        } else {
            path.parent().unwrap_or(root).join(target)
        };
        let Some(name) = next.file_name().and_then(|name| name.to_str()) else { break };
        // `foo@bar.service` → `foo@.service` is an instance and its template, no alias.
        if name.contains('.') && Some(name) != template(unit).as_deref() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        path = next;
    }
    names
}

/// Drop-ins in the order in which they apply: by file name, of equal names the one in the earlier directory.
fn drop_ins(root: &Path, unit: &str) -> Result<Vec<PathBuf>, Blind> {
    let kind = unit.rsplit_once('.').map_or("service", |(_, kind)| kind);
    let mut names: Vec<String> = vec![format!("{unit}.d")];
    names.extend(template(unit).map(|template| format!("{template}.d")));
    names.extend(truncated(unit, kind));
    names.push(format!("{kind}.d"));
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for name in names {
        for directory in DIRECTORIES {
            let path = below(root, directory).join(&name);
            let entries = match std::fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) => match read::refused::<()>("list", &path, &error) {
                    Seen::Unknown(blind) => return Err(blind),
                    Seen::Value(()) | Seen::Absent => continue,
                },
            };
            for entry in entries.flatten().take(DROP_INS_MAX) {
                if entry.path().extension().is_some_and(|extension| extension == "conf") {
                    found.entry(entry.file_name()).or_insert_with(|| entry.path());
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// `foo-bar-baz.service` also has `foo-bar-.service.d` and `foo-.service.d`; the longer one comes first.
fn truncated(unit: &str, kind: &str) -> Vec<String> {
    let stem = unit.strip_suffix(&format!(".{kind}")).unwrap_or(unit);
    let stem = stem.split('@').next().unwrap_or(stem);
    let mut found: Vec<String> =
        stem.match_indices('-').filter_map(|(at, _)| Some(format!("{}.{kind}.d", stem.get(..=at)?))).collect();
    found.reverse();
    found.retain(|name| *name != format!("{unit}.d"));
    found
}

/// Names of all units of one kind (`.socket`) in the load path.
pub(super) fn of_kind(root: &Path, suffix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for directory in DIRECTORIES {
        // What may not be listed is found by name only.
        let Ok(entries) = std::fs::read_dir(below(root, directory)) else { continue };
        let names = entries.flatten().take(ENTRIES_MAX).filter_map(|entry| entry.file_name().into_string().ok());
        // systemd itself takes no other characters in a name than plain ones (systemd.unit(5)).
        found.extend(names.filter(|name| name.ends_with(suffix) && text::untrusted(name.as_bytes()) == *name));
    }
    found
}

/// What pulls units in: links in `.wants` and `.requires` directories, by the unit that they name.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_unit: BTreeMap<String, String>,
    /// Why a unit without a link may still have one.
    blind: Option<Blind>,
}

impl Links {
    pub fn read(root: &Path) -> Links {
        let mut links = Links::default();
        for directory in DIRECTORIES {
            let directory = below(root, directory);
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    if let Seen::Unknown(blind) = read::refused::<()>("list", &directory, &error) {
                        links.blind.get_or_insert(blind);
                    }
                    continue;
                }
            };
            for entry in entries.flatten().take(ENTRIES_MAX) {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "wants" || extension == "requires") {
                    links.read_one(&path);
                }
            }
        }
        links
    }

    fn read_one(&mut self, directory: &Path) {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                if let Seen::Unknown(blind) = read::refused::<()>("list", directory, &error) {
                    self.blind.get_or_insert(blind);
                }
                return;
            }
        };
        for entry in entries.flatten().take(ENTRIES_MAX) {
            let name = text::untrusted(entry.file_name().as_bytes());
            self.by_unit.entry(name).or_insert_with(|| read::shown(&entry.path()));
        }
    }

    /// The link that pulls a unit in.
    pub fn of(&self, unit: &str) -> Seen<String> {
        match (self.by_unit.get(unit), &self.blind) {
            (Some(path), _) => Seen::Value(path.clone()),
            (None, Some(blind)) => Seen::Unknown(blind.clone()),
            (None, None) => Seen::Absent,
        }
    }

    /// All units that something pulls in.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.by_unit.keys().map(String::as_str)
    }
}

/// The assignments of all files, in order. A backslash at a line's end joins it with the next one; comments between do not
/// count.
pub(crate) fn assignments(files: &[(String, Vec<u8>)]) -> Vec<Assignment> {
    let mut found = Vec::new();
    for (file, bytes) in files {
        let mut section = String::new();
        let mut joined = String::new();
        let mut first = 0;
        for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = text::untrusted(raw.trim_ascii());
            if line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            if joined.is_empty() {
                first = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
            }
            if let Some(part) = line.strip_suffix('\\') {
                joined.push_str(part);
                joined.push(' ');
                continue;
            }
            joined.push_str(&line);
            let whole = std::mem::take(&mut joined);
            if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = whole.split_once('=') {
                found.push(Assignment {
                    section: section.clone(),
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                    file: file.clone(),
                    line: first,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dashes_give_more_directories_the_longest_first() {
        assert_eq!(truncated("foo-bar-baz.service", "service"), ["foo-bar-.service.d", "foo-.service.d"]);
        assert!(truncated("postfix@-.service", "service").is_empty());
    }

    #[test]
    fn sections_and_continuations() {
        let text = b"[Unit]\nA=1\n[Service]\nExecStart=/bin/a \\\n# between\n  -b\nB=\nno assignment\n".to_vec();
        let found = assignments(&[("/x".to_owned(), text)]);
        let brief: Vec<_> =
            found.iter().map(|a| (a.section.as_str(), a.key.as_str(), a.value.as_str(), a.line)).collect();
        assert_eq!(brief, [("Unit", "A", "1", 2), ("Service", "ExecStart", "/bin/a  -b", 4), ("Service", "B", "", 7)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for line in assignments(&[(String::new(), bytes)]) {
                prop_assert!(!line.key.contains('\n') && line.line > 0);
            }
        }
    }
}
