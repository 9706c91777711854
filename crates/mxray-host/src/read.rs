//! Bounded reading of files, with the three states of a fact and one wording of what went wrong.
//!
//! [`file`] is for files that people and packages write: only regular ones, and nothing that could hold the run.
//! [`kernel`] and [`bounded`] are for `/proc`, `/sys` and the like, whose sizes and kinds say nothing. What stands in a
//! file is not this module's business.

use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Enough for every single-value or per-process file of `/proc` that is read here; a command line may be megabytes.
pub(crate) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub bytes: Vec<u8>,
    /// The file goes on behind the limit.
    pub cut: bool,
}

/// At most `limit` bytes of a regular file.
///
/// A FIFO in place of a configuration file would hold the run for ever. It is opened without waiting and looked at
/// afterwards: what was looked at before may be another file by the time it is opened.
pub(crate) fn file(path: &Path, limit: u64) -> Seen<Content> {
    let opened = match File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) {
        Ok(opened) => opened,
        Err(error) => return refused("read", path, &error),
    };
    match opened.metadata() {
        Ok(data) if data.is_file() => content(opened, path, limit),
        Ok(_) => failed("read", path, "not a regular file"),
        Err(error) => refused("read", path, &error),
    }
}

/// At most `limit` bytes of a file that the kernel makes.
pub(crate) fn kernel(path: &Path, limit: u64) -> Seen<Content> {
    match File::open(path) {
        Ok(opened) => content(opened, path, limit),
        Err(error) => refused("read", path, &error),
    }
}

/// At most `limit` bytes of a file that was opened and looked at by the caller; `path` is for what went wrong.
pub(crate) fn opened(opened: File, path: &Path, limit: u64) -> Seen<Content> {
    content(opened, path, limit)
}

fn content(opened: File, path: &Path, limit: u64) -> Seen<Content> {
    let mut bytes = Vec::new();
    if let Err(error) = opened.take(limit.saturating_add(1)).read_to_end(&mut bytes) {
        return refused("read", path, &error);
    }
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    let cut = bytes.len() > keep;
    bytes.truncate(keep);
    Seen::Value(Content { bytes, cut })
}

/// At most `limit` bytes of a file that the kernel makes; what is longer is cut there.
///
/// # Errors
/// As the system gave it, for callers to whom a process that has ended is no error.
pub(crate) fn bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A small text file without the blanks around it. Only a file that is not there is `Absent`.
pub(crate) fn line(path: &str) -> Seen<String> {
    kernel(Path::new(path), SMALL_BYTES_MAX).map(|content| untrusted(content.bytes.trim_ascii()))
}

/// A setting of the kernel, by its path below `/proc/sys`. A process may be kept from the whole tree (`ProcSubset=pid` of a unit, a
/// container's mount over it): then that a setting is not there says nothing.
pub(crate) fn setting(name: &str) -> Seen<String> {
    setting_below(Path::new("/proc/sys"), name)
}

fn setting_below(tree: &Path, name: &str) -> Seen<String> {
    let path = tree.join(name);
    match kernel(&path, SMALL_BYTES_MAX).map(|content| untrusted(content.bytes.trim_ascii())) {
        // Every Linux has this part.
        Seen::Absent if !tree.join("kernel").exists() => Seen::Unknown(Blind::NotPermitted {
            what: format!("read {} (the whole of {} is hidden from mxray)", shown(&path), shown(tree)),
            needs: "a run outside the unit or container that hides it (ProcSubset=)".to_owned(),
        }),
        seen => seen,
    }
}

/// The state that an I/O error stands for: not there, not permitted, or failed.
pub(crate) fn refused<T>(step: &str, path: &Path, error: &io::Error) -> Seen<T> {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Seen::Absent,
        _ => Seen::Unknown(blind(step, path, error, "root")),
    }
}

/// Why something that must be there could not be looked at; `needs` is what would permit it.
pub(crate) fn blind(step: &str, path: &Path, error: &io::Error, needs: &str) -> Blind {
    let step = format!("{step} {}", shown(path));
    match error.kind() {
        ErrorKind::PermissionDenied => Blind::NotPermitted { what: step, needs: needs.to_owned() },
        _ => Blind::Failed { step, error: error.to_string() },
    }
}

pub(crate) fn failed<T>(step: &str, path: &Path, error: &str) -> Seen<T> {
    Seen::Unknown(Blind::Failed { step: format!("{step} {}", shown(path)), error: error.to_owned() })
}

/// A path, safe to print.
pub(crate) fn shown(path: &Path) -> String {
    untrusted(path.as_os_str().as_bytes())
}

/// The value of `Key:` in a `/proc/PID/status` file.
pub(crate) fn status_field<'a>(status: &'a [u8], key: &str) -> Option<&'a [u8]> {
    status.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b":")?;
        Some(value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("mxray-read-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    #[test]
    fn of_a_hidden_tree_no_setting_is_absent() {
        let scratch = Scratch::new("settings");
        assert!(matches!(setting_below(&scratch.0, "net/ipv4/x"), Seen::Unknown(Blind::NotPermitted { .. })));
        std::fs::create_dir_all(scratch.0.join("kernel")).unwrap();
        assert_eq!(setting_below(&scratch.0, "net/ipv4/x"), Seen::Absent);
        std::fs::create_dir_all(scratch.0.join("net/ipv4")).unwrap();
        std::fs::write(scratch.0.join("net/ipv4/x"), "7\n").unwrap();
        assert_eq!(setting_below(&scratch.0, "net/ipv4/x"), Seen::Value("7".to_owned()));
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_else_holds_the_run() {
        let scratch = Scratch::new("kinds");
        let fifo = scratch.0.join("main.cf");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        // Nobody writes: an open that waited for a writer would never come back.
        let link = scratch.0.join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for path in [fifo.as_path(), &link, &scratch.0, Path::new("/dev/zero")] {
            let seen = file(path, 10);
            assert!(matches!(seen.blind(), Some(Blind::Failed { .. })), "{path:?}: {seen:?}");
        }
        assert!(file(&scratch.0.join("none"), 10).is_absent());
    }

    #[test]
    fn what_is_longer_is_cut_and_says_so() {
        let scratch = Scratch::new("cut");
        let path = scratch.0.join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(file(&path, 10), Seen::Value(Content { bytes: b"0123456789".to_vec(), cut: false }));
        assert_eq!(file(&path, 4), Seen::Value(Content { bytes: b"0123".to_vec(), cut: true }));
    }

    #[test]
    fn a_refusal_names_what_would_permit_it() {
        let error = io::Error::from(ErrorKind::PermissionDenied);
        let wanted = Blind::NotPermitted { what: "read /x\\u{1b}".to_owned(), needs: "root".to_owned() };
        assert_eq!(refused::<()>("read", Path::new("/x\x1b"), &error), Seen::Unknown(wanted));
        assert!(refused::<()>("read", Path::new("/x"), &io::Error::from(ErrorKind::NotFound)).is_absent());
    }
}
