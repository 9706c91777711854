//! Bounded reads of kernel files, with errors that say what was attempted and what would permit it.

use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Enough for every single-value or per-process file of `/proc` that is read here; a command line may be megabytes.
pub(crate) const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Reads at most `limit` bytes; what is longer is cut there.
///
/// # Errors
/// As the system gave it.
pub(crate) fn bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A small text file without the blanks around it. Only a file that is not there is `Absent`.
pub(crate) fn line(path: &str) -> Seen<String> {
    match bounded(Path::new(path), SMALL_BYTES_MAX) {
        Ok(bytes) => Seen::Value(untrusted(bytes.trim_ascii())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
        Err(error) => Seen::Unknown(blind(Path::new(path), &error, "root")),
    }
}

/// Why a file could not be read; `needs` is what would permit it.
pub(crate) fn blind(path: &Path, error: &io::Error, needs: &str) -> Blind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Blind::NotPermitted { what: format!("read {}", path.display()), needs: needs.to_owned() }
        }
        _ => Blind::Failed { step: format!("read {}", path.display()), error: error.to_string() },
    }
}

/// The value of `Key:` in a `/proc/PID/status` file.
pub(crate) fn status_field<'a>(status: &'a [u8], key: &str) -> Option<&'a [u8]> {
    status.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b":")?;
        Some(value.trim_ascii())
    })
}
