//! TLS libraries of mail processes that no package of the distribution owns, and their versions.
//!
//! A distribution's packages leave `/usr/local` alone (FHS 3.0 section 4.9), so what lies there was put there by somebody
//! else. Everything else is taken for the distribution's. What is still supported is a rule's business. A library that is
//! linked into a program statically is not seen.

use crate::read;
use mxray_model::evidence::TlsLibrary;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of the distribution's packages nothing lies below it.
const LOCAL: &str = "/usr/local/";
/// Where a library lies that nobody was told to put elsewhere.
const DIRECTORIES: [&str; 3] = ["/usr/local/lib", "/usr/local/lib64", "/usr/local/ssl/lib"];
/// The part of OpenSSL and LibreSSL that knows the version.
const NAME: &str = "libcrypto.so";
/// A mail process maps some hundred files, 100 bytes each.
const MAPS_BYTES_MAX: u64 = 1 << 20;
/// Mail software runs many alike processes: some of each kind are enough, and this many in all.
const PROCESSES_MAX: usize = 128;
/// libcrypto has 5 MB, 12 MB with debugging information.
const LIBRARY_BYTES_MAX: u64 = 32 << 20;
const LIBRARIES_MAX: usize = 16;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 4096;

/// Who maps a library, and which file of the kernel it is.
struct Mapped {
    inode: u64,
    software: BTreeSet<String>,
}

/// Libraries by path. `processes`: mail software by process id, one process of each kind; unknown where none can be seen.
///
/// `Absent`: no mail process maps such a library. Where processes could not be looked into, libraries that are there are
/// told with unknown users.
pub fn look(processes: &Seen<BTreeMap<u32, String>>) -> Seen<BTreeMap<String, TlsLibrary>> {
    let (mapped, blind) = match processes {
        Seen::Value(processes) => mapped(processes),
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => (BTreeMap::new(), Some(blind.clone())),
    };
    let mut found = BTreeMap::new();
    for (path, mapped) in mapped.into_iter().take(LIBRARIES_MAX) {
        // Another root (a container's), or a library that was replaced since: what is at this path is not what runs.
        let is_same = std::fs::metadata(&path).is_ok_and(|data| data.ino() == mapped.inode);
        let version = match is_same {
            true => version(&path),
            false => Seen::not_attempted("the mapped file is no longer, or not here, at its path"),
        };
        found.insert(read::shown(&path), TlsLibrary { version, used_by: Seen::Value(mapped.software) });
    }
    let Some(blind) = blind else {
        return if found.is_empty() { Seen::Absent } else { Seen::Value(found) };
    };
    match installed() {
        Ok(paths) if paths.is_empty() && found.is_empty() => Seen::Absent,
        Ok(paths) => {
            for path in paths {
                let library = TlsLibrary { version: version(&path), used_by: Seen::Unknown(blind.clone()) };
                found.entry(read::shown(&path)).or_insert(library);
            }
            Seen::Value(found)
        }
        Err(blind) => Seen::Unknown(blind),
    }
}

/// What the processes map below [`LOCAL`], and why one could not be looked into.
fn mapped(processes: &BTreeMap<u32, String>) -> (BTreeMap<PathBuf, Mapped>, Option<Blind>) {
    let mut found: BTreeMap<PathBuf, Mapped> = BTreeMap::new();
    let mut unread = (processes.len() > PROCESSES_MAX)
        .then(|| Blind::NotAttempted { why: format!("there are more than {PROCESSES_MAX} kinds of mail processes") });
    for (pid, software) in processes.iter().take(PROCESSES_MAX) {
        let path = PathBuf::from(format!("/proc/{pid}/maps"));
        match read::bounded(&path, MAPS_BYTES_MAX) {
            Ok(maps) => {
                for (library, inode) in libraries(&maps) {
                    let mapped = found.entry(library).or_insert_with(|| Mapped { inode, software: BTreeSet::new() });
                    mapped.software.insert(software.clone());
                }
            }
            // It has ended.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) || is_gone(&error) => {}
            Err(error) => unread = Some(read::blind("read", &path, &error, "root")),
        }
    }
    (found, unread)
}

fn is_gone(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// proc_pid_maps(5): address, permissions, offset, device, inode, path.
fn libraries(maps: &[u8]) -> BTreeMap<PathBuf, u64> {
    let lines = maps.split(|byte| *byte == b'\n');
    let of = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'/')?;
        let (fields, path) = line.split_at_checked(at)?;
        let inode = std::str::from_utf8(fields).ok()?.split_ascii_whitespace().nth(4)?.parse().ok()?;
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        (path.starts_with(LOCAL) && is_library(path)).then(|| (path.to_owned(), inode))
    };
    lines.filter_map(of).collect()
}

/// `libcrypto.so`, `libcrypto.so.1.1`
fn is_library(path: &Path) -> bool {
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    name.strip_prefix(NAME.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// Libraries where one that is built by hand lies, each file once whatever links lead to it.
fn installed() -> Result<BTreeSet<PathBuf>, Blind> {
    let mut found = BTreeSet::new();
    for directory in DIRECTORIES.map(Path::new) {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(read::blind("read", directory, &error, "root")),
        };
        let paths = entries.take(ENTRIES_MAX).flatten().map(|entry| entry.path()).filter(|path| is_library(path));
        found.extend(paths.filter_map(|path| path.canonicalize().ok()).filter(|path| path.starts_with(LOCAL)));
    }
    Ok(found.into_iter().take(LIBRARIES_MAX).collect())
}

fn version(path: &Path) -> Seen<String> {
    match read::file(path, LIBRARY_BYTES_MAX) {
        Seen::Value(content) => match version_in(&content.bytes) {
            Some(version) => Seen::Value(version),
            None => Seen::Unknown(Blind::NotUnderstood {
                what: read::shown(path),
                text: "no version of OpenSSL or LibreSSL stands in it".to_owned(),
            }),
        },
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

/// OPENSSL_VERSION_TEXT, as every libcrypto carries it: `OpenSSL 1.1.1w  11 Sep 2023`, `LibreSSL 3.8.2`.
fn version_in(bytes: &[u8]) -> Option<String> {
    let is_version = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    // The text begins a string of C: a sentence that names OpenSSL does not.
    ["OpenSSL ", "LibreSSL "].iter().find_map(|name| {
        let places = bytes.windows(name.len() + 1).enumerate();
        let texts = places.filter(|(_, window)| window.strip_prefix(b"\0").is_some_and(|rest| rest == name.as_bytes()));
        texts.filter_map(|(at, _)| bytes.get(at + 1 + name.len()..)).find_map(|rest| {
            let end = rest.iter().take(32).position(|byte| !is_version(byte))?;
            let version = rest.get(..end)?;
            let is_number = version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.');
            is_number.then(|| format!("{name}{}", untrusted(version)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_is_the_librarys_own_text() {
        let text = b"x\0see OpenSSL 9.9.9 docs\0OpenSSL Project\0OpenSSL 1.1.1w  11 Sep 2023\0";
        assert_eq!(version_in(text).as_deref(), Some("OpenSSL 1.1.1w"));
        assert_eq!(version_in(b"\0LibreSSL 3.8.2\0").as_deref(), Some("LibreSSL 3.8.2"));
        assert_eq!(version_in(b"\0OpenSSL 3.0\0").as_deref(), Some("OpenSSL 3.0"));
        for none in [&b""[..], b"OpenSSL 3.0.1\0", b"\0OpenSSL \0", b"\0OpenSSL 3", b"\0OpenSSL x.y\0"] {
            assert_eq!(version_in(none), None);
        }
    }

    #[test]
    fn the_library_of_this_machine_tells_its_version() {
        let path = Path::new("/usr/lib/x86_64-linux-gnu/libcrypto.so.3");
        if !path.exists() {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "skipped: the_library_of_this_machine_tells_its_version: no libcrypto.so.3"
            );
            return;
        }
        let Seen::Value(version) = version(path) else { panic!("no version") };
        assert!(version.starts_with("OpenSSL 3."), "{version}");
    }

    #[test]
    fn only_what_lies_in_usr_local_counts() {
        let maps = b"7f00-7f01 r-xp 00000000 08:01 17 /usr/local/lib/libcrypto.so.1.1\n\
            7f01-7f02 r--p 00000000 08:01 17 /usr/local/lib/libcrypto.so.1.1\n\
            7f02-7f03 r--p 00000000 08:01 19 /usr/local/ssl/lib/libcrypto.so.3 (deleted)\n\
            7f02-7f03 r--p 00000000 08:01 18 /usr/lib/x86_64-linux-gnu/libcrypto.so.3\n\
            7f03-7f04 r--p 00000000 08:01 20 /usr/local/lib/libcrypto.solid\n7f05-7f06 rw-p 0 00:00 0 [heap]\n";
        let found: Vec<(String, u64)> =
            libraries(maps).into_iter().map(|(path, inode)| (path.display().to_string(), inode)).collect();
        let wanted = [("/usr/local/lib/libcrypto.so.1.1", 17), ("/usr/local/ssl/lib/libcrypto.so.3", 19)];
        assert_eq!(found, wanted.map(|(path, inode)| (path.to_owned(), inode)));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            libraries(&bytes);
            version_in(&bytes);
        }
    }
}
