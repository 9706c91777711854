//! What systemd would restrict when it starts a service: user and capabilities. [`merge`] is pure.

use super::files::{self, assignments};
use mxray_model::Seen;
use mxray_model::evidence::{FileLine, UnitLimits};
use mxray_sys::capability;
use std::collections::BTreeSet;
use std::path::Path;

/// What the unit restricts. `Absent`: no such unit, or it restricts neither user nor capabilities.
pub fn limits(unit: &str) -> Seen<UnitLimits> {
    limits_below(Path::new("/"), unit)
}

/// The same below another root.
fn limits_below(root: &Path, unit: &str) -> Seen<UnitLimits> {
    match files::load(root, unit) {
        Seen::Value(loaded) => merge(unit, &loaded.texts),
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// The unit's file and its drop-ins, in order, as one restriction.
fn merge(unit: &str, files: &[(String, Vec<u8>)]) -> Seen<UnitLimits> {
    let mut limits =
        UnitLimits { unit: unit.to_owned(), user: String::new(), bounding: None, ambient: BTreeSet::new(), at: None };
    for line in assignments(files).into_iter().filter(|line| line.section == "Service") {
        let at = || Some(FileLine { file: line.file.clone(), line: line.line });
        match line.key.as_str() {
            "User" => {
                limits.at = at();
                limits.user = if line.value == "root" || line.value == "0" { String::new() } else { line.value };
            }
            "CapabilityBoundingSet" => {
                limits.bounding = assign(limits.bounding.take(), &line.value);
                limits.at = at();
            }
            "AmbientCapabilities" => {
                let before = Some(std::mem::take(&mut limits.ambient)).filter(|set| !set.is_empty());
                limits.ambient = assign(before, &line.value).unwrap_or_else(all);
            }
            _ => {}
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
