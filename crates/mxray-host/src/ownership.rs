//! Who the owners are that an assignments file names: the ids of its users, and which processes run a program of its packages.
//!
//! Packages are dpkg's: a package's files stand in `/var/lib/dpkg/info/NAME.list` (or `NAME:ARCH.list`), one path a line
//! (dpkg-query(1)). No program is run for it. What must not live here: whether an owner is the right one (`mxray-rules`).

use crate::{names, read};
use mxray_model::evidence::{Assignments, PackageProcesses};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const DPKG: &str = "/var/lib/dpkg/info";
/// The longest list of Debian's archive has 100,000 files.
const LIST_BYTES_MAX: u64 = 32 << 20;
/// A large desktop has 6,000 packages.
const LISTS_MAX: usize = 50_000;
/// All lists together, where each has to be read.
const ALL_BYTES_MAX: u64 = 512 << 20;

/// The words of a command line in which a script's path is looked for.
const WORDS_MAX: usize = 6;
const COMMAND_BYTES_MAX: u64 = 64 << 10;
/// Programs that run others' scripts, without their version.
const INTERPRETERS: [&str; 9] = ["python", "perl", "ruby", "node", "java", "php", "bash", "sh", "dash"];

/// What a process runs.
#[derive(Debug, Default)]
struct Program {
    /// Its file, and the scripts that its command line may name.
    files: Vec<Vec<u8>>,
    interpreter: bool,
}

/// `None` where the process is gone.
type Programs = BTreeMap<u32, Result<Option<Program>, Blind>>;

/// Fills in what this host knows of the users and packages that `assignments` names.
pub fn resolve(assignments: &mut Assignments, holders: &BTreeSet<u32>) {
    let owners = || assignments.services.values().map(|service| &service.owner);
    let users: BTreeSet<String> = owners().map(|owner| owner.user.clone()).filter(|user| !user.is_empty()).collect();
    let packages: BTreeSet<String> =
        owners().map(|owner| owner.package.clone()).filter(|package| !package.is_empty()).collect();
    assignments.users = users.into_iter().map(|user| (user.clone(), uid(&user))).collect();
    if packages.is_empty() {
        return;
    }
    let programs = programs(holders);
    assignments.packages = packages.into_iter().map(|name| (name.clone(), of_package(&name, &programs))).collect();
}

/// Where nobody came to look.
pub fn unread(assignments: &mut Assignments, blind: &Blind) {
    for service in assignments.services.values() {
        let owner = &service.owner;
        if !owner.user.is_empty() {
            assignments.users.insert(owner.user.clone(), Seen::Unknown(blind.clone()));
        }
        if !owner.package.is_empty() {
            assignments.packages.insert(owner.package.clone(), Seen::Unknown(blind.clone()));
        }
    }
}

/// The packages of programs, by process; only what is known.
pub fn packages(holders: &BTreeSet<u32>) -> BTreeMap<u32, String> {
    let programs = programs(holders);
    let mut wanted: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for (pid, program) in &programs {
        let Ok(Some(program)) = program else { continue };
        // An interpreter's own package says nothing of what it runs.
        for path in program.files.iter().skip(usize::from(program.interpreter)) {
            wanted.entry(path.clone()).or_default().push(*pid);
        }
    }
    let mut found = BTreeMap::new();
    let mut left = ALL_BYTES_MAX;
    for (name, path) in lists() {
        let Ok(text) = read::bounded(&path, LIST_BYTES_MAX.min(left)) else { continue };
        left = left.saturating_sub(text.len() as u64);
        for line in text.split(|byte| *byte == b'\n') {
            for pid in wanted.get(&merged(line)).into_iter().flatten() {
                found.entry(*pid).or_insert_with(|| name.clone());
            }
        }
    }
    found
}

/// A user's id; a number stands for itself.
fn uid(user: &str) -> Seen<u32> {
    match user.parse() {
        Ok(uid) => Seen::Value(uid),
        Err(_) => names::account(user).map(|account| account.uid),
    }
}

fn programs(holders: &BTreeSet<u32>) -> Programs {
    holders.iter().map(|pid| (*pid, program(*pid))).collect()
}

fn program(pid: u32) -> Result<Option<Program>, Blind> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    let file = match std::fs::read_link(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read::blind("read", &path, &error, "root, or cap_sys_ptrace")),
    };
    // The kernel's word for a program that was replaced while it runs (proc_pid_exe(5)).
    let bytes = file.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let interpreter = is_interpreter(bytes);
    let mut files = vec![merged(bytes)];
    if interpreter {
        let command = Path::new("/proc").join(pid.to_string()).join("cmdline");
        let text = read::bounded(&command, COMMAND_BYTES_MAX).unwrap_or_default();
        // Perl's daemons put one text with spaces in its place.
        let words = text.split(|byte| *byte == 0 || *byte == b' ').take(WORDS_MAX);
        files.extend(words.filter(|word| word.starts_with(b"/") && !is_interpreter(word)).map(merged));
    }
    Ok(Some(Program { files, interpreter }))
}

/// `/usr/bin/python3.11`, `/usr/bin/perl`
fn is_interpreter(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let end = name.iter().rposition(|byte| !byte.is_ascii_digit() && *byte != b'.').map_or(0, |last| last + 1);
    name.get(..end).is_some_and(|name| INTERPRETERS.iter().any(|known| known.as_bytes() == name))
}

/// One name for a file on systems where `/sbin` is a link to `/usr/sbin`, whichever of both dpkg's list has.
fn merged(path: &[u8]) -> Vec<u8> {
    path.strip_prefix(b"/usr").filter(|rest| rest.starts_with(b"/")).unwrap_or(path).to_vec()
}

fn of_package(name: &str, programs: &Programs) -> Seen<PackageProcesses> {
    if !Path::new(DPKG).is_dir() {
        return Seen::not_attempted("this system's packages are not dpkg's");
    }
    if name.contains(['/', '\0']) {
        return Seen::Absent;
    }
    let own = Path::new(DPKG).join(format!("{name}.list"));
    let with_architecture = || lists().find(|(package, path)| package == name && *path != own).map(|(_, path)| path);
    let text = match read::bounded(&own, LIST_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match with_architecture() {
            Some(path) => read::bounded(&path, LIST_BYTES_MAX),
            None => return Seen::Absent,
        },
        other => other,
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => return read::refused("read", &own, &error),
    };
    let files: BTreeSet<Vec<u8>> = text.split(|byte| *byte == b'\n').map(merged).collect();
    let mut found = PackageProcesses::default();
    for (pid, program) in programs {
        match program {
            Ok(Some(program)) if program.files.iter().any(|file| files.contains(file)) => {
                _ = found.running.insert(*pid);
            }
            Ok(Some(program)) if program.interpreter => {
                _ = found.undecided.insert(*pid);
            }
            Ok(_) => {}
            Err(blind) => return Seen::Unknown(blind.clone()),
        }
    }
    Seen::Value(found)
}

/// Packages and their lists.
fn lists() -> impl Iterator<Item = (String, PathBuf)> {
    let entries = std::fs::read_dir(DPKG).into_iter().flatten().take(LISTS_MAX).flatten();
    entries.filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?.strip_suffix(".list")?;
        let bare = name.split(':').next().unwrap_or(name);
        Some((untrusted(bare.as_bytes()), path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_usr_makes_no_difference() {
        assert_eq!(merged(b"/usr/sbin/x"), merged(b"/sbin/x"));
        assert_eq!(merged(b"/usrlocal/x"), b"/usrlocal/x");
    }

    #[test]
    fn interpreters_are_known_with_their_version() {
        for interpreter in ["/usr/bin/python3.11", "/usr/bin/perl", "/usr/bin/perl5.36.0", "/bin/sh", "java"] {
            assert!(is_interpreter(interpreter.as_bytes()), "{interpreter}");
        }
        for program in ["/usr/sbin/sshd", "/usr/bin/pythonic", "/usr/lib/postfix/sbin/master", ""] {
            assert!(!is_interpreter(program.as_bytes()), "{program}");
        }
    }

    #[test]
    fn this_process_has_no_package_and_its_user_a_number() {
        let own = BTreeSet::from([std::process::id()]);
        assert!(packages(&own).is_empty(), "a test's program is of no package");
        assert_eq!(uid("0"), Seen::Value(0));
        assert_eq!(uid("root"), Seen::Value(0));
        assert_eq!(uid("no such user"), Seen::Absent);
    }
}
