//! The file system behind a directory: space, inodes, and what it is. Whether that is too little is a rule's business.

use crate::read;
use mxray_model::evidence::FileSystem;
use mxray_model::{Blind, Seen, text};
use std::collections::BTreeSet;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Enough for some ten thousand mounts, which container hosts have.
const MOUNTS_BYTES_MAX: u64 = 16 << 20;

/// linux/magic.h
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
const BTRFS_MAGIC: u64 = 0x9123_683e;

/// The file system that holds `directory`. `Absent`: there is no such directory.
pub fn file_system(directory: &str, holds: BTreeSet<String>) -> Seen<FileSystem> {
    let asked = Path::new(directory);
    let real = match std::fs::canonicalize(asked) {
        Ok(real) => real,
        Err(error) => return read::refused("look for", asked, &error),
    };
    let numbers = match rustix::fs::statvfs(&real) {
        Ok(numbers) => numbers,
        Err(error) => return read::refused("statvfs", &real, &error.into()),
    };
    let table = match read::kernel(Path::new("/proc/self/mountinfo"), MOUNTS_BYTES_MAX) {
        Seen::Value(content) => content.bytes,
        Seen::Absent => {
            let error = "does not exist".to_owned();
            return Seen::Unknown(Blind::Failed { step: "read /proc/self/mountinfo".to_owned(), error });
        }
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let mount = mount_of(&table, &real).unwrap_or_default();
    Seen::Value(FileSystem {
        mount_point: text::untrusted(mount.point.as_os_str().as_bytes()),
        kind: text::untrusted(&mount.kind),
        device: text::untrusted(&mount.device),
        holds,
        total_bytes: numbers.f_blocks.saturating_mul(numbers.f_frsize),
        available_bytes: numbers.f_bavail.saturating_mul(numbers.f_frsize),
        inodes_total: numbers.f_files,
        inodes_available: numbers.f_favail,
        read_only: numbers.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

/// Which of these subdirectories are mount points of their own. Reads the table of mounts only: a dead network file
/// system cannot hold it up.
pub(crate) fn mounted_below(directory: &str, names: &[&str]) -> Vec<(String, String)> {
    let Seen::Value(table) = read::kernel(Path::new("/proc/self/mountinfo"), MOUNTS_BYTES_MAX) else {
        return Vec::new();
    };
    let points: BTreeSet<PathBuf> =
        table.bytes.split(|byte| *byte == b'\n').filter_map(mount).map(|mount| mount.point).collect();
    let below = names.iter().map(|name| (name, Path::new(directory).join(name)));
    below
        .filter(|(_, path)| points.contains(path))
        .map(|(name, path)| ((*name).to_owned(), text::untrusted(path.as_os_str().as_bytes())))
        .collect()
}

/// On overlayfs the inode that stat shows is not always the one in the kernel's own tables.
pub(crate) fn is_overlay(path: &Path) -> bool {
    magic(path) == Some(OVERLAYFS_MAGIC)
}

/// The device that stat shows is not the one in the kernel's own tables: overlayfs, and btrfs with its subvolumes.
pub(crate) fn device_lies(path: &Path) -> bool {
    matches!(magic(path), Some(OVERLAYFS_MAGIC | BTRFS_MAGIC))
}

fn magic(path: &Path) -> Option<u64> {
    u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()
}

/// One line of mountinfo.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: Vec<u8>,
    device: Vec<u8>,
}

/// The mount that a canonical path lies on: the longest mount point that is a prefix by whole components. Of several on
/// one point the last one is on top.
fn mount_of(table: &[u8], path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for line in table.split(|byte| *byte == b'\n') {
        let Some(mount) = mount(line) else { continue };
        let length = |mount: &Mount| mount.point.components().count();
        if path.starts_with(&mount.point) && best.as_ref().is_none_or(|best| length(&mount) >= length(best)) {
            best = Some(mount);
        }
    }
    best
}

/// proc(5): id parent major:minor root mount-point options [optional fields] - type device super-options
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescaped(fields.nth(4)?);
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = behind.next()?.to_vec();
    let device = unescaped(behind.next()?);
    Some(Mount { point: PathBuf::from(std::ffi::OsString::from_vec(point)), kind, device })
}

/// The kernel writes space, tab, newline and backslash as `\040` and so on.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'\\'
            && let [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = tail
        {
            out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = after;
        } else {
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        22 21 0:20 / /var/spool rw - tmpfs tmpfs rw\n\
        23 21 0:21 / /var/spool/post\\040fix rw shared:2 master:3 - xfs /dev/mapper/a\\134b rw\n\
        broken\n24 22 0:22 / /var/spool rw - overlay over rw\n";

    #[test]
    fn the_longest_mount_point_by_components_and_the_topmost_holds() {
        let at = |path: &str| mount_of(TABLE, Path::new(path)).unwrap();
        assert_eq!(at("/var/spoolish").kind, b"ext4");
        assert_eq!(at("/var/spool/postfix").kind, b"overlay");
        let own = at("/var/spool/post fix/active");
        assert_eq!((own.kind.as_slice(), own.device.as_slice()), (&b"xfs"[..], &b"/dev/mapper/a\\b"[..]));
        assert_eq!(mount_of(b"", Path::new("/")), None);
    }

    #[test]
    fn escapes_are_only_octal_triples() {
        assert_eq!(unescaped(b"a\\040b\\09\\"), b"a b\\09\\");
        assert_eq!(unescaped(b"\\377\\400"), b"\xff\\400");
    }

    #[test]
    fn this_machine_answers_and_a_missing_directory_is_absent() {
        let root = file_system("/", BTreeSet::from(["queue".to_owned()]));
        let root = root.value().unwrap();
        assert_eq!(root.mount_point, "/");
        assert!(root.total_bytes >= root.available_bytes && !root.kind.is_empty());
        assert!(file_system("/no/such/directory", BTreeSet::new()).is_absent());
    }
}
