//! The file system behind a directory: space, inodes, and what it is. Whether that is too little is a rule's business.

use crate::mounts::{self, Mount};
use crate::read;
use mxray_model::evidence::FileSystem;
use mxray_model::{Seen, text};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
    let table = match mounts::table() {
        Ok(table) => table,
        Err(error) => return Seen::Unknown(read::blind("read", Path::new(mounts::TABLE), &error, "a readable /proc")),
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
    // Without the table `file_system` of the queue directory itself is unknown, and says why.
    let Ok(table) = mounts::table() else { return Vec::new() };
    let points: BTreeSet<PathBuf> = mounts::mounts(&table).map(|mount| mount.point).collect();
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

/// The mount that a canonical path lies on: the longest mount point that is a prefix by whole components. Of several on
/// one point the last one is on top.
fn mount_of(table: &[u8], path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for mount in mounts::mounts(table) {
        let length = |mount: &Mount| mount.point.components().count();
        if path.starts_with(&mount.point) && best.as_ref().is_none_or(|best| length(&mount) >= length(best)) {
            best = Some(mount);
        }
    }
    best
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
    fn this_machine_answers_and_a_missing_directory_is_absent() {
        let root = file_system("/", BTreeSet::from(["queue".to_owned()]));
        let root = root.value().unwrap();
        assert_eq!(root.mount_point, "/");
        assert!(root.total_bytes >= root.available_bytes && !root.kind.is_empty());
        assert!(file_system("/no/such/directory", BTreeSet::new()).is_absent());
    }
}
