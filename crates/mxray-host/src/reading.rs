//! Bounded reading of files, with the three states of a fact. What is in them is not this module's business.

use mxray_model::{Blind, Seen, text};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub bytes: Vec<u8>,
    /// The file goes on behind the limit.
    pub cut: bool,
}

/// At most `limit` bytes of a regular file.
///
/// Only regular files are opened for reading: a FIFO in place of a configuration file would hold the run for ever.
pub(crate) fn file(path: &Path, limit: u64) -> Seen<Content> {
    match std::fs::metadata(path) {
        Ok(data) if !data.is_file() => return failed("read", path, "not a regular file"),
        Ok(_) => {}
        Err(error) => return blind("read", path, &error),
    }
    stream(path, limit)
}

/// The same for files under /proc, whose size and kind say nothing.
pub(crate) fn stream(path: &Path, limit: u64) -> Seen<Content> {
    let opened = match std::fs::File::open(path) {
        Ok(opened) => opened,
        Err(error) => return blind("read", path, &error),
    };
    let mut bytes = Vec::new();
    if let Err(error) = opened.take(limit.saturating_add(1)).read_to_end(&mut bytes) {
        return blind("read", path, &error);
    }
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    let cut = bytes.len() > keep;
    bytes.truncate(keep);
    Seen::Value(Content { bytes, cut })
}

/// The state that an I/O error stands for: not there, not permitted, or failed.
pub(crate) fn blind<T>(what: &str, path: &Path, error: &std::io::Error) -> Seen<T> {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Seen::Absent,
        ErrorKind::PermissionDenied => {
            Seen::Unknown(Blind::NotPermitted { what: format!("{what} {}", shown(path)), needs: "root".to_owned() })
        }
        _ => failed(what, path, &error.to_string()),
    }
}

pub(crate) fn failed<T>(what: &str, path: &Path, error: &str) -> Seen<T> {
    Seen::Unknown(Blind::Failed { step: format!("{what} {}", shown(path)), error: error.to_owned() })
}

/// A path, safe to print.
pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    text::untrusted(path.as_os_str().as_bytes())
}

/// linux/magic.h
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
const BTRFS_MAGIC: u64 = 0x9123_683e;

/// On overlayfs the inode that stat shows is not always the one in the kernel's own tables.
pub(crate) fn is_overlay(path: &Path) -> bool {
    kind(path) == Some(OVERLAYFS_MAGIC)
}

/// The device that stat shows is not the one in the kernel's own tables: overlayfs, and btrfs with its subvolumes.
pub(crate) fn device_lies(path: &Path) -> bool {
    matches!(kind(path), Some(OVERLAYFS_MAGIC | BTRFS_MAGIC))
}

fn kind(path: &Path) -> Option<u64> {
    u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()
}
