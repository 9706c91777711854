//! Memory: the machine's, and that of the control groups which mail processes are in.
//!
//! Kills for want of memory are read from the groups' own counters, not from logs: version 2 of control groups
//! (`memory.events`), and version 1 (`memory.oom_control`).

use crate::{mounts, read};
use mxray_model::evidence::{Counter, Memory, MemoryGroup};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Mail servers that run their workers in one group each are rare; a host with some hundred units is not.
const GROUPS_MAX: usize = 512;

/// The machine's own numbers; groups are left for [`groups`].
pub fn look() -> Memory {
    let meminfo = text(Path::new("/proc/meminfo"));
    let of = |key: &str| field(&meminfo, "/proc/meminfo", key, ":").map(|kib| kib.saturating_mul(1024));
    Memory {
        total_bytes: of("MemTotal"),
        available_bytes: of("MemAvailable"),
        swap_total_bytes: of("SwapTotal"),
        swap_free_bytes: of("SwapFree"),
        stalled_60s: stalled(&text(Path::new("/proc/pressure/memory"))),
        oom_kills: field(&text(Path::new("/proc/vmstat")), "/proc/vmstat", "oom_kill", ""),
        groups: Seen::not_attempted("groups need two looks"),
    }
}

/// `Key:  123 kB`, or `key 123`. `Absent`: this kernel has no such line.
fn field(text: &Seen<String>, what: &str, key: &str, mark: &str) -> Seen<u64> {
    let text = match text {
        Seen::Value(text) => text,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let key = format!("{key}{mark}");
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some(key.as_str()) {
            return match words.next().and_then(|number| number.parse().ok()) {
                Some(number) => Seen::Value(number),
                None => not_understood(what, line),
            };
        }
    }
    Seen::Absent
}

/// `full avg10=0.00 avg60=1.25 avg300=0.00 total=306150`, in hundredths of a percent.
fn stalled(text: &Seen<String>) -> Seen<u32> {
    let text = match text {
        Seen::Value(text) => text,
        Seen::Absent => return Seen::Absent,
        // The file is there and cannot be opened where the kernel was told not to account (psi=0).
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let Some(line) = text.lines().find(|line| line.starts_with("full ")) else { return Seen::Absent };
    let number = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg60="));
    match number.and_then(hundredths) {
        Some(number) => Seen::Value(number),
        None => not_understood("/proc/pressure/memory", line),
    }
}

fn hundredths(number: &str) -> Option<u32> {
    let (whole, rest) = number.split_once('.')?;
    if rest.len() != 2 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(rest.parse().ok()?)
}

fn not_understood<T>(what: &str, line: &str) -> Seen<T> {
    Seen::Unknown(Blind::NotUnderstood { what: what.to_owned(), text: untrusted(line.as_bytes()) })
}

fn text(path: &Path) -> Seen<String> {
    read::kernel(path, read::SMALL_BYTES_MAX).map(|content| String::from_utf8_lossy(&content.bytes).into_owned())
}

/// A group's directory, and what its kills were at the first look.
#[derive(Debug, Clone)]
pub struct Watched {
    directory: PathBuf,
    version: Version,
    software: BTreeSet<String>,
    kills: Seen<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The first look at the groups of these processes (pid and software), by directory.
pub fn watch(mail: &BTreeMap<u32, String>) -> Seen<BTreeMap<String, Watched>> {
    let mut found: BTreeMap<String, Watched> = BTreeMap::new();
    let table = match mounts::table() {
        Ok(table) => table,
        Err(error) => {
            return Seen::Unknown(read::blind("read", Path::new(mounts::TABLE), &error, "a readable /proc"));
        }
    };
    let trees = trees(&table);
    for (pid, software) in mail {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let Ok(bytes) = read::bounded(&path, read::SMALL_BYTES_MAX) else { continue };
        let Some((directory, version)) = directory_in(&trees, &bytes) else { continue };
        let name = untrusted(directory.as_os_str().as_bytes());
        // One beyond the limit says that there are more.
        if found.len() > GROUPS_MAX && !found.contains_key(&name) {
            continue;
        }
        let watched = found.entry(name).or_insert_with(|| Watched {
            kills: kills(&directory, version),
            directory,
            version,
            software: BTreeSet::new(),
        });
        watched.software.insert(software.clone());
    }
    Seen::Value(found)
}

/// The second look.
pub fn groups(watched: Seen<BTreeMap<String, Watched>>) -> Seen<BTreeMap<String, Seen<MemoryGroup>>> {
    watched.map(|mut watched| {
        let more = watched.len() > GROUPS_MAX;
        if more {
            watched.pop_last();
        }
        let mut all: BTreeMap<String, Seen<MemoryGroup>> =
            watched.into_iter().map(|(name, watched)| (name, group(watched))).collect();
        if more {
            let why = format!("mail processes are in more than {GROUPS_MAX} control groups");
            all.insert("further ones".to_owned(), Seen::not_attempted(&why));
        }
        all
    })
}

fn group(watched: Watched) -> Seen<MemoryGroup> {
    let Watched { directory, version, software, kills: first } = watched;
    let oom_kills = match (first, kills(&directory, version)) {
        (Seen::Value(first), Seen::Value(last)) => Seen::Value(Counter { first, last }),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        (Seen::Absent, _) | (_, Seen::Absent) => Seen::Absent,
    };
    let (used, limit) = match version {
        Version::One => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
        Version::Two => ("memory.current", "memory.max"),
    };
    let cache = page_cache(&text(&directory.join("memory.stat")), version);
    number(&directory.join(used)).map(|used| MemoryGroup {
        software,
        working_set_bytes: used.saturating_sub(cache),
        limit_bytes: effective_limit(&directory, limit),
        oom_kills,
    })
}

/// What the kernel takes back before it kills: pages of files, and its own caches of names. In use and not, because a group
/// that reads many files keeps both, up to its limit, and is well.
fn page_cache(statistics: &Seen<String>, version: Version) -> u64 {
    let keys: &[&str] = match version {
        Version::One => &["total_inactive_file", "total_active_file"],
        Version::Two => &["inactive_file", "active_file", "slab_reclaimable"],
    };
    let numbers = keys.iter().filter_map(|key| field(statistics, "memory.stat", key, "").value().copied());
    numbers.fold(0, u64::saturating_add)
}

/// The least limit of the group and of those that it stands in.
fn effective_limit(directory: &Path, file: &str) -> Seen<u64> {
    let mut least = Seen::Absent;
    for ancestor in directory.ancestors() {
        match number(&ancestor.join(file)) {
            Seen::Value(limit) => {
                // Version 1 says "no limit" with the largest multiple of a page.
                let unlimited = limit >= u64::try_from(i64::MAX).unwrap_or(u64::MAX) - 0xffff;
                if !unlimited && least.value().is_none_or(|least| limit < *least) {
                    least = Seen::Value(limit);
                }
            }
            // `max`, or the root of the tree, which has no such file.
            Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
        if ancestor == Path::new("/sys/fs/cgroup") {
            break;
        }
    }
    least
}

/// A file with one number; `max` is no number.
fn number(path: &Path) -> Seen<u64> {
    match text(path) {
        Seen::Value(text) if text.trim() == "max" => Seen::Absent,
        Seen::Value(text) => match text.trim().parse() {
            Ok(number) => Seen::Value(number),
            Err(_) => not_understood(&read::shown(path), &text),
        },
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

fn kills(directory: &Path, version: Version) -> Seen<u64> {
    let file = match version {
        Version::One => "memory.oom_control",
        Version::Two => "memory.events",
    };
    field(&text(&directory.join(file)), file, "oom_kill", "")
}

/// Where memory is accounted for: version 1's own tree where it is mounted, else version 2's.
struct Trees {
    one: Option<PathBuf>,
    two: Option<PathBuf>,
}

fn trees(table: &[u8]) -> Trees {
    let mut trees = Trees { one: None, two: None };
    for mount in mounts::mounts(table) {
        match mount.kind.as_slice() {
            b"cgroup2" if trees.two.is_none() => trees.two = Some(mount.point),
            b"cgroup" if mount.options.split(|byte| *byte == b',').any(|option| option == b"memory") => {
                trees.one = Some(mount.point);
            }
            _ => {}
        }
    }
    trees
}

/// `4:memory:/x` of version 1, or `0::/x`. A path that leads out of what is visible here (`/../x`) is none.
fn directory_in(trees: &Trees, cgroup: &[u8]) -> Option<(PathBuf, Version)> {
    let path = |is_it: fn(&[u8], &[u8]) -> bool| {
        cgroup.split(|byte| *byte == b'\n').find_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            is_it(id, controllers).then_some(path)
        })
    };
    let one = path(|_, controllers| controllers.split(|byte| *byte == b',').any(|name| name == b"memory"));
    let (mount, path, version) = match (&trees.one, one) {
        (Some(mount), Some(path)) => (mount, path, Version::One),
        _ => (trees.two.as_ref()?, path(|id, controllers| id == b"0" && controllers.is_empty())?, Version::Two),
    };
    let relative = Path::new(std::ffi::OsStr::from_bytes(path.strip_prefix(b"/")?));
    // The root group has no limit, and beside version 2 no numbers.
    let inside = path != b"/" && relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    inside.then(|| (mount.join(relative), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_keys() {
        let text = Seen::Value("MemTotal:  16 kB\nMemAvailable: x kB\noom_kill 7\noom_kill_disable 0\n".to_owned());
        assert_eq!(field(&text, "meminfo", "MemTotal", ":"), Seen::Value(16));
        assert!(field(&text, "meminfo", "MemAvailable", ":").blind().is_some());
        assert_eq!(field(&text, "meminfo", "oom_kill", ""), Seen::Value(7));
        assert!(field(&text, "meminfo", "SwapFree", ":").is_absent());
    }

    #[test]
    fn stalls_are_hundredths_of_a_percent() {
        let full = |line: &str| stalled(&Seen::Value(format!("some avg10=9.00 avg60=9.00 total=1\n{line}\n")));
        assert_eq!(full("full avg10=0.00 avg60=12.34 avg300=0.00 total=306150"), Seen::Value(1234));
        assert!(full("full avg60=1.2").blind().is_some() && full("other").is_absent());
    }

    #[test]
    fn the_tree_that_accounts_for_memory_is_taken() {
        let hybrid = b"30 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 1 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = b"4:memory:/mail\n0::/mail.slice/x\n";
        let one = directory_in(&trees(hybrid), own).unwrap();
        assert_eq!(one, (PathBuf::from("/sys/fs/cgroup/memory/mail"), Version::One));
        let unified = b"31 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let two = directory_in(&trees(unified), own).unwrap();
        assert_eq!(two, (PathBuf::from("/sys/fs/cgroup/mail.slice/x"), Version::Two));
        assert_eq!(directory_in(&trees(unified), b"0::/../x\n"), None);
        assert_eq!(directory_in(&trees(unified), b"0::/\n"), None);
        assert_eq!(directory_in(&trees(b""), own), None);
    }

    #[test]
    fn the_least_limit_on_the_way_up_holds() {
        let root = std::env::temp_dir().join(format!("mxray-memory-{}", std::process::id()));
        let inner = root.join("a.slice/b.service");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        std::fs::write(root.join("a.slice/memory.max"), "1000\n").unwrap();
        std::fs::write(root.join("memory.max"), "9223372036854771712\n").unwrap();
        std::fs::write(inner.join("memory.current"), "900\n").unwrap();
        std::fs::write(inner.join("memory.stat"), "anon 1\ninactive_file 200\nactive_file 90\nslab_reclaimable 10\n")
            .unwrap();
        std::fs::write(inner.join("memory.events"), "low 0\noom 2\noom_kill 2\noom_group_kill 0\n").unwrap();
        let watched = Watched {
            kills: Seen::Value(1),
            directory: inner,
            version: Version::Two,
            software: BTreeSet::from(["postfix".to_owned()]),
        };
        let seen = group(watched);
        std::fs::remove_dir_all(&root).unwrap();
        let group = seen.value().unwrap();
        assert_eq!((group.working_set_bytes, &group.limit_bytes), (600, &Seen::Value(1000)));
        assert_eq!(group.oom_kills, Seen::Value(Counter { first: 1, last: 2 }));
    }

    #[test]
    fn this_machine_tells_its_memory() {
        let memory = look();
        assert!(memory.total_bytes.value() > memory.available_bytes.value(), "{memory:?}");
    }
}
