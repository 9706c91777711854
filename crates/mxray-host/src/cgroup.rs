//! From a cgroup to the name that an administrator knows: a systemd unit or a container.
//!
//! A socket carries the id of the cgroup v2 that it was created in, which is the inode of that directory; an accepted
//! socket carries its listener's. Reading it needs no privilege.

use crate::{mounts, read};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Directories looked at before giving up. A host with 1,000 containers has about 20,000.
const DIRECTORIES_MAX: usize = 200_000;
/// Deeper nesting than this is nobody's service manager.
const DEPTH_MAX: usize = 32;
/// The root of kernfs, whatever is mounted where.
const ROOT_ID: u64 = 1;

/// Names of the cgroups that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Units {
    names: BTreeMap<u64, Seen<String>>,
    /// Why nothing is known, where nothing is.
    blind: Option<Blind>,
}

impl Units {
    /// Finds the names of `ids`, walking the cgroup tree only as far as needed.
    pub fn resolve(ids: BTreeSet<u64>) -> Self {
        match mount_point() {
            Ok(mount)
                if ids.iter().all(|id| *id == ROOT_ID) && mount.beside_version_1 && !has_children(&mount.point) =>
            {
                Units::unseen(
                    "cgroup v2 is mounted but not used here: units are in version 1, which sockets do not tell",
                )
            }
            Ok(mount) => Units::walk(&mount.point, ids),
            Err(blind) => Units { names: BTreeMap::new(), blind: Some(blind) },
        }
    }

    /// Nothing is known, because of `why`.
    pub fn unseen(why: &str) -> Self {
        Units { names: BTreeMap::new(), blind: Some(Blind::NotAttempted { why: why.to_owned() }) }
    }

    /// The unit of a socket with this cgroup id. `Absent`: created in the root cgroup.
    pub fn name(&self, id: Option<u64>) -> Seen<String> {
        self.borrow(id).cloned().unwrap_or_else(|| Seen::Unknown(self.why(id)))
    }

    /// The same without a copy; `None`: unknown, for the reason that [`Units::name`] gives.
    pub fn borrow(&self, id: Option<u64>) -> Option<&Seen<String>> {
        self.names.get(&id?)
    }

    /// All names that were found.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.values().filter_map(|name| name.value().map(String::as_str))
    }

    /// Why names are missing, where some are.
    pub fn blind(&self) -> Option<&Blind> {
        self.blind.as_ref()
    }

    fn why(&self, id: Option<u64>) -> Blind {
        match (&self.blind, id) {
            (Some(blind), _) => blind.clone(),
            (None, None) => Blind::NotAttempted {
                why: "the kernel does not tell this socket's cgroup (TIME-WAIT, SYN-RECV, or older than 5.9)".into(),
            },
            (None, Some(id)) => Blind::Failed {
                step: format!("find cgroup {id}"),
                error: "it is not in the cgroup tree that is visible here: removed, or outside this container".into(),
            },
        }
    }

    fn walk(mount: &Path, mut wanted: BTreeSet<u64>) -> Self {
        let mut names = BTreeMap::new();
        let mut blind = None;
        // The root of what is mounted: in a container, its own cgroup.
        let own = std::fs::metadata(mount).map(|meta| meta.ino());
        for id in [Some(ROOT_ID), own.ok()].into_iter().flatten() {
            if wanted.remove(&id) {
                names.insert(id, Seen::Absent);
            }
        }
        let mut seen = 0;
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((relative, depth)) = open.pop() {
            if wanted.is_empty() {
                break;
            }
            let directory = mount.join(&relative);
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                // Removed meanwhile, or another user's delegated tree: its sockets stay unknown.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    blind = Some(read::blind("read", &directory, &error, "root"));
                    continue;
                }
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                seen += 1;
                if seen > DIRECTORIES_MAX {
                    let why = format!("the cgroup tree has more than {DIRECTORIES_MAX} directories");
                    return Units { names, blind: Some(Blind::NotAttempted { why }) };
                }
                let path = relative.join(entry.file_name());
                if wanted.remove(&entry.ino()) {
                    names.insert(entry.ino(), unit_of(path.as_os_str().as_bytes()));
                }
                if depth < DEPTH_MAX {
                    open.push((path, depth + 1));
                }
            }
        }
        Units { names, blind }
    }
}

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside version 1.
#[derive(Debug, PartialEq, Eq)]
struct Tree {
    point: PathBuf,
    beside_version_1: bool,
}

fn mount_point() -> Result<Tree, Blind> {
    let table =
        mounts::table().map_err(|error| read::blind("read", Path::new(mounts::TABLE), &error, "a readable /proc"))?;
    tree_in(&table).ok_or_else(|| Blind::NotAttempted {
        why: "no cgroup v2 tree is mounted here, and the kernel tells a socket's cgroup only by it".into(),
    })
}

fn tree_in(table: &[u8]) -> Option<Tree> {
    let mut point = None;
    let mut beside_version_1 = false;
    for mount in mounts::mounts(table) {
        match mount.kind.as_slice() {
            b"cgroup2" if point.is_none() => point = Some(mount.point),
            b"cgroup" => beside_version_1 = true,
            _ => {}
        }
    }
    point.map(|point| Tree { point, beside_version_1 })
}

fn has_children(directory: &Path) -> bool {
    // A tree that may not be read may have some.
    std::fs::read_dir(directory).map_or(true, |entries| {
        entries.take(DIRECTORIES_MAX).flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    })
}

/// The control group, of those that a process is in, that is frozen (cgroup.freeze of version 2): `/sys/fs/cgroup/system.slice/…`.
/// Its processes keep their ports and do nothing, and `ps` shows nothing unusual. `Absent`: none is, or there is no such tree.
pub(crate) fn frozen(pid: u32) -> Seen<String> {
    const BYTES_MAX: u64 = 64 * 1024;
    let Ok(tree) = mount_point() else { return Seen::Absent };
    let file = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let content = match read::kernel(&file, BYTES_MAX) {
        Seen::Value(content) => content.bytes,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let Some(own) = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/")) else {
        return Seen::Absent;
    };
    let own = tree.point.join(std::ffi::OsStr::from_bytes(own));
    let groups = own.ancestors().take_while(|group| group.starts_with(&tree.point)).take(DEPTH_MAX);
    frozen_of(groups)
}

fn frozen_of<'a>(groups: impl Iterator<Item = &'a Path>) -> Seen<String> {
    let is_frozen = |group: &&Path| {
        // The root has no such file.
        let state = read::kernel(&group.join("cgroup.freeze"), 16);
        state.value().is_some_and(|content| content.bytes.trim_ascii() == b"1")
    };
    groups.into_iter().find(is_frozen).map_or(Seen::Absent, |group| Seen::Value(read::shown(group)))
}

/// The unit of a process, from its `/proc/PID/cgroup`.
///
/// The line of version 2 (`0::`) decides; beside version 1, systemd's own tree (`name=systemd`) may say more.
pub(crate) fn of_process(cgroup: &[u8]) -> Seen<String> {
    let path = |is_it: fn(&[u8], &[u8]) -> bool| {
        cgroup.split(|byte| *byte == b'\n').find_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            is_it(id, controllers).then_some(path)
        })
    };
    let unified = path(|id, controllers| id == b"0" && controllers.is_empty());
    let systemd = path(|_, controllers| controllers == b"name=systemd");
    let named = [unified, systemd].into_iter().flatten().map(unit_of).find(|unit| !unit.is_absent());
    match (named, unified.or(systemd)) {
        (Some(unit), _) => unit,
        (None, Some(_)) => Seen::Absent,
        (None, None) => Seen::not_attempted("the process has no cgroup v2 and no systemd hierarchy"),
    }
}

/// The name for a cgroup path: the innermost unit or container. `Absent`: the root, or a path that names neither.
///
/// A container that runs its own systemd is named with the unit inside it; a container that a unit runs (Quadlet) is
/// known by that unit.
fn unit_of(path: &[u8]) -> Seen<String> {
    let mut container: Option<String> = None;
    let mut unit: Option<&[u8]> = None;
    let mut before = None;
    for element in path.split(|byte| *byte == b'/').filter(|element| !element.is_empty()) {
        if let Some(name) = container_of(element, before) {
            if !unit.is_some_and(|unit| unit.ends_with(b".service")) {
                container = Some(name);
                unit = None;
            }
        } else if is_unit(element) && (!is_slice(element) || unit.is_none_or(is_slice)) {
            unit = Some(element);
        }
        before = Some(element);
    }
    match (container, unit) {
        (Some(container), Some(unit)) if !is_slice(unit) => Seen::Value(format!("{container}/{}", untrusted(unit))),
        (Some(container), _) => Seen::Value(container),
        (None, Some(unit)) => Seen::Value(untrusted(unit)),
        (None, None) => match path.split(|byte| *byte == b'/').rfind(|element| !element.is_empty()) {
            // Made by hand, or by another manager: its own name is all there is.
            Some(element) if element != b".." => Seen::Value(untrusted(element)),
            _ => Seen::Absent,
        },
    }
}

fn is_slice(element: &[u8]) -> bool {
    element.ends_with(b".slice")
}

fn is_unit(element: &[u8]) -> bool {
    [".service", ".socket", ".scope", ".slice", ".mount", ".swap"]
        .iter()
        .any(|suffix| element.len() > suffix.len() && element.ends_with(suffix.as_bytes()))
}

/// `docker:ab12cd34ef56` and its like, from one path element and the one before it.
fn container_of(element: &[u8], before: Option<&[u8]>) -> Option<String> {
    const RUNTIMES: [(&str, &str); 5] = [
        ("docker-", "docker"),
        ("libpod-", "podman"),
        ("cri-containerd-", "containerd"),
        ("crio-", "crio"),
        ("nerdctl-", "containerd"),
    ];
    if let Some(name) = element.strip_prefix(b"lxc.payload.") {
        return Some(format!("lxc:{}", untrusted(name)));
    }
    let bare = element.strip_suffix(b".scope").unwrap_or(element);
    for (prefix, kind) in RUNTIMES {
        if let Some(id) = bare.strip_prefix(prefix.as_bytes())
            && let Some(short) = short_id(id.strip_prefix(b"payload-").unwrap_or(id))
        {
            return Some(format!("{kind}:{short}"));
        }
    }
    let before = before?;
    if before == b"lxc" {
        return Some(format!("lxc:{}", untrusted(element)));
    }
    let short = short_id(element)?;
    let kind = match before {
        b"docker" => "docker",
        _ if before.starts_with(b"pod") || before.starts_with(b"kubepods") => "kubernetes",
        b"libpod_parent" => "podman",
        _ => "container",
    };
    Some(format!("{kind}:{short}"))
}

/// The twelve digits that container tools print, of a 64 digit id.
fn short_id(element: &[u8]) -> Option<String> {
    let is_id = element.len() == 64 && element.iter().all(u8::is_ascii_hexdigit);
    is_id.then(|| element.get(..12).map(untrusted)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12";

    #[test]
    fn a_frozen_group_holds_all_below_it() {
        let base = std::env::temp_dir().join(format!("mxray-frozen-{}", std::process::id()));
        let inner = base.join("system.slice/postfix.service");
        std::fs::create_dir_all(&inner).unwrap();
        let look = || frozen_of(inner.ancestors().take_while(|group| group.starts_with(&base)));
        assert!(look().is_absent());
        std::fs::write(inner.join("cgroup.freeze"), "0\n").unwrap();
        std::fs::write(base.join("system.slice/cgroup.freeze"), "1\n").unwrap();
        assert_eq!(look(), Seen::Value(base.join("system.slice").display().to_string()));
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn units_and_containers_have_the_names_that_their_tools_print() {
        let cases = [
            ("/system.slice/postfix.service", "postfix.service"),
            ("/system.slice/system-postfix.slice/postfix@-.service", "postfix@-.service"),
            ("/system.slice/dovecot.service/workers", "dovecot.service"),
            ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service", "mail.service"),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope"),
            ("/user.slice/user-1000.slice", "user-1000.slice"),
            ("/docker/ID", "docker:ab12cd34ef56"),
            ("/system.slice/docker-ID.scope", "docker:ab12cd34ef56"),
            ("/machine.slice/libpod-ID.scope/container", "podman:ab12cd34ef56"),
            ("/system.slice/mail.service/libpod-payload-ID", "mail.service"),
            ("/kubepods/besteffort/pod1234/ID", "kubernetes:ab12cd34ef56"),
            ("/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope", "containerd:ab12cd34ef56"),
            ("/lxc.payload.mail/system.slice/postfix.service", "lxc:mail/postfix.service"),
            ("/lxc/mail", "lxc:mail"),
            ("/made-by-hand", "made-by-hand"),
            ("/evil\x1b[2J.service", "evil\\u{1b}[2J.service"),
        ];
        for (path, expected) in cases {
            let path = path.replace("ID", ID);
            assert_eq!(unit_of(path.as_bytes()), Seen::Value(expected.to_owned()), "{path}");
        }
        assert_eq!(unit_of(b"/"), Seen::Absent);
        assert_eq!(unit_of(b""), Seen::Absent);
        assert_eq!(unit_of(b"/../.."), Seen::Absent);
    }

    #[test]
    fn the_tree_of_a_process_is_chosen() {
        assert_eq!(of_process(b"0::/system.slice/a.service\n"), Seen::Value("a.service".into()));
        let hybrid = b"4:memory:/x\n1:name=systemd:/system.slice/b.service\n0::/\n";
        assert_eq!(of_process(hybrid), Seen::Value("b.service".into()));
        assert_eq!(of_process(b"0::/\n"), Seen::Absent);
        assert!(matches!(of_process(b"4:memory:/x\n"), Seen::Unknown(_)));
        assert!(matches!(of_process(b""), Seen::Unknown(_)));
    }

    #[test]
    fn the_mount_is_found_with_blanks_in_it() {
        let text = b"22 1 0:5 / /sys rw shared:7 - sysfs sysfs rw\n23 22 0:6 / /sys/fs\\040x/unified rw - cgroup2 cgroup2 rw\n";
        let mount = tree_in(text).unwrap();
        assert_eq!((mount.point, mount.beside_version_1), (PathBuf::from("/sys/fs x/unified"), false));
        assert_eq!(tree_in(b"22 1 0:5 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn a_tree_is_walked_for_what_is_asked_and_the_rest_is_unknown() {
        let root = tempfile();
        let unit = root.join("system.slice/postfix.service");
        std::fs::create_dir_all(&unit).unwrap();
        let id = std::fs::metadata(&unit).unwrap().ino();
        let units = Units::walk(&root, BTreeSet::from([id, ROOT_ID, u64::MAX]));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(units.name(Some(id)), Seen::Value("postfix.service".into()));
        assert_eq!(units.name(Some(ROOT_ID)), Seen::Absent);
        assert!(matches!(units.name(Some(u64::MAX)), Seen::Unknown(Blind::Failed { .. })));
        assert!(matches!(units.name(None), Seen::Unknown(Blind::NotAttempted { .. })));
    }

    fn tempfile() -> PathBuf {
        let path = std::env::temp_dir().join(format!("mxray-cgroup-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}
