//! What systemd would restrict when it starts a service: user and capabilities, from unit files and drop-ins.
//!
//! Files are read, systemd is not asked: its bus needs a running manager, and the question is the next start.
//! `merge` is pure.

use crate::read;
use mxray_model::evidence::{FileLine, UnitLimits};
use mxray_model::{Blind, Seen, text};
use mxray_sys::capability;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// systemd.unit(5): earlier directories win.
const DIRECTORIES: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Unit files are a few kilobytes.
const UNIT_BYTES_MAX: u64 = 1 << 20;
/// Most drop-ins of one unit.
const DROP_INS_MAX: usize = 256;

/// Is there a file for this unit (`postfix@-.service` also by its template)? Where that cannot be seen, [`limits`] says
/// why.
pub fn exists(unit: &str) -> bool {
    !fragment(Path::new("/"), unit).is_absent()
}

/// What the unit restricts. `Absent`: no such unit, or it restricts neither user nor capabilities.
pub fn limits(unit: &str) -> Seen<UnitLimits> {
    limits_below(Path::new("/"), unit)
}

/// The same below another root.
fn limits_below(root: &Path, unit: &str) -> Seen<UnitLimits> {
    let mut files = match fragment(root, unit) {
        Seen::Value(main) => vec![main],
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    match drop_ins(root, unit) {
        Ok(found) => files.extend(found),
        Err(blind) => return Seen::Unknown(blind),
    }
    let mut texts = Vec::new();
    for path in files {
        match read::file(&path, UNIT_BYTES_MAX) {
            Seen::Value(content) => texts.push((read::shown(&path), content.bytes)),
            Seen::Absent => {}
            // A link to /dev/null masks a drop-in.
            Seen::Unknown(Blind::Failed { .. }) if is_null(&path) => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    merge(unit, &texts)
}

fn is_null(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null"))
}

/// `postfix@-.service` → `postfix@.service`
fn template(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

fn fragment(root: &Path, unit: &str) -> Seen<PathBuf> {
    if unit.contains('/') {
        return Seen::Absent;
    }
    for name in std::iter::once(unit.to_owned()).chain(template(unit)) {
        for directory in DIRECTORIES {
            let path = root.join(directory.trim_start_matches('/')).join(&name);
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

/// Drop-ins in the order in which they apply: by file name, of equal names the one in the earlier directory.
fn drop_ins(root: &Path, unit: &str) -> Result<Vec<PathBuf>, Blind> {
    let kind = unit.rsplit_once('.').map_or("service", |(_, kind)| kind);
    let mut names: Vec<String> = vec![format!("{unit}.d")];
    names.extend(template(unit).map(|template| format!("{template}.d")));
    names.push(format!("{kind}.d"));
    let mut found: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for name in names {
        for directory in DIRECTORIES {
            let path = root.join(directory.trim_start_matches('/')).join(&name);
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

/// The unit's file and its drop-ins, in order, as one restriction.
fn merge(unit: &str, files: &[(String, Vec<u8>)]) -> Seen<UnitLimits> {
    let mut limits =
        UnitLimits { unit: unit.to_owned(), user: String::new(), bounding: None, ambient: BTreeSet::new(), at: None };
    for (file, bytes) in files {
        for (line, key, value) in service_lines(bytes) {
            let at = || Some(FileLine { file: file.clone(), line });
            match key.as_str() {
                "User" => {
                    limits.user = if value == "root" || value == "0" { String::new() } else { value };
                    limits.at = at();
                }
                "CapabilityBoundingSet" => {
                    limits.bounding = assign(limits.bounding.take(), &value);
                    limits.at = at();
                }
                "AmbientCapabilities" => {
                    let before = Some(std::mem::take(&mut limits.ambient)).filter(|set| !set.is_empty());
                    limits.ambient = assign(before, &value).unwrap_or_else(all);
                }
                _ => {}
            }
        }
    }
    if limits.user.is_empty() && limits.bounding.is_none() { Seen::Absent } else { Seen::Value(limits) }
}

fn all() -> BTreeSet<String> {
    capability::NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// One assignment of a capability list onto what stood before. `None` before: not set yet; `None` after: everything.
///
/// As systemd does it: an empty list replaces (`~` alone: by everything), a plain one adds, one with `~` takes away, and
/// the first assignment replaces.
fn assign(before: Option<BTreeSet<String>>, value: &str) -> Option<BTreeSet<String>> {
    let (inverted, list) = match value.strip_prefix('~') {
        Some(list) => (true, list),
        None => (false, value),
    };
    let named: BTreeSet<String> = list.split_whitespace().map(str::to_ascii_lowercase).collect();
    let after = match before {
        Some(before) if !named.is_empty() => {
            if inverted {
                before.difference(&named).cloned().collect()
            } else {
                before.union(&named).cloned().collect()
            }
        }
        _ if inverted => all().difference(&named).cloned().collect(),
        _ => named,
    };
    (after != all()).then_some(after)
}

/// The assignments of the `[Service]` section. A backslash at a line's end joins it with the next one.
fn service_lines(bytes: &[u8]) -> Vec<(u32, String, String)> {
    let mut found = Vec::new();
    let mut in_service = false;
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
        if whole.starts_with('[') {
            in_service = whole == "[Service]";
        } else if in_service && let Some((key, value)) = whole.split_once('=') {
            found.push((first, key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(files: &[&str]) -> Seen<UnitLimits> {
        let files: Vec<(String, Vec<u8>)> =
            files.iter().enumerate().map(|(n, text)| (format!("/{n}.conf"), text.as_bytes().to_vec())).collect();
        merge("postfix@-.service", &files)
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_unit_without_restrictions_is_absent() {
        assert!(
            merged(&["[Unit]\nUser=nobody\n[Service]\nExecStart=/usr/sbin/postmulti -i %i -p start\n"]).is_absent()
        );
        assert!(merged(&["[Service]\nUser=root\nCapabilityBoundingSet=~\n"]).is_absent());
    }

    #[test]
    fn lines_add_up_and_an_empty_one_starts_anew() {
        let limits = merged(&[
            "[Service]\nCapabilityBoundingSet=CAP_CHOWN \\\n# between\n  CAP_KILL\nCapabilityBoundingSet=CAP_SETUID\n",
            "[Service]\nUser=mail\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n",
        ]);
        let limits = limits.value().unwrap();
        assert_eq!(names(limits.bounding.as_ref().unwrap()), ["cap_chown", "cap_kill", "cap_setuid"]);
        assert_eq!(limits.user, "mail");
        assert_eq!(names(&limits.ambient), ["cap_net_bind_service"]);
        assert_eq!(limits.at, Some(FileLine { file: "/1.conf".into(), line: 2 }));
        let reset = merged(&[
            "[Service]\nCapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\n",
        ]);
        assert_eq!(names(reset.value().unwrap().bounding.as_ref().unwrap()), ["cap_kill"]);
        let none = merged(&["[Service]\nCapabilityBoundingSet=\n"]);
        assert!(none.value().unwrap().bounding.as_ref().unwrap().is_empty());
    }

    #[test]
    fn a_tilde_takes_away() {
        let limits = merged(&["[Service]\nCapabilityBoundingSet=~CAP_NET_BIND_SERVICE CAP_SYS_ADMIN\n"]);
        let bounding = limits.value().unwrap().bounding.clone().unwrap();
        assert!(!bounding.contains("cap_net_bind_service") && bounding.contains("cap_setuid"));
        assert_eq!(bounding.len(), capability::NAMES.len() - 2);
        let both = merged(&["[Service]\nCapabilityBoundingSet=CAP_KILL CAP_CHOWN\nCapabilityBoundingSet=~CAP_KILL\n"]);
        assert_eq!(names(both.value().unwrap().bounding.as_ref().unwrap()), ["cap_chown"]);
    }

    #[test]
    fn files_of_earlier_directories_win_and_templates_count() {
        let root = std::env::temp_dir().join(format!("mxray-units-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lib/systemd/system/postfix@.service", "[Service]\nUser=a\n");
        write("lib/systemd/system/postfix@.service.d/20.conf", "[Service]\nUser=b\n");
        write("etc/systemd/system/postfix@-.service.d/10.conf", "[Service]\nCapabilityBoundingSet=CAP_KILL\n");
        write("etc/systemd/system/postfix@.service.d/20.conf", "[Service]\nUser=c\n");
        write("etc/systemd/system/postfix@.service.d/30.txt", "[Service]\nUser=d\n");
        let found = limits_below(&root, "postfix@-.service");
        assert!(limits_below(&root, "exim4.service").is_absent());
        std::fs::remove_dir_all(&root).unwrap();
        let limits = found.value().unwrap();
        assert_eq!(limits.user, "c");
        assert_eq!(names(limits.bounding.as_ref().unwrap()), ["cap_kill"]);
    }
}
