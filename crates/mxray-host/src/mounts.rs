//! The table of mounts, one line at a time: `/proc/self/mountinfo`. What a mount means is its caller's business.

use crate::read;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where the kernel tells them.
pub(crate) const TABLE: &str = "/proc/self/mountinfo";
/// Enough for some ten thousand mounts, which container hosts have.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// One mount.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub point: PathBuf,
    pub kind: Vec<u8>,
    pub device: Vec<u8>,
    /// Of the file system as a whole, such as `rw,hidepid=2`.
    pub options: Vec<u8>,
}

/// The table's bytes.
///
/// # Errors
/// `/proc` is not mounted, or a sandbox hides it.
pub(crate) fn table() -> io::Result<Vec<u8>> {
    read::bounded(Path::new(TABLE), TABLE_BYTES_MAX)
}

/// The mounts of a table in the kernel's order: of several on one point the last one is on top.
pub(crate) fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

/// proc(5): id parent major:minor root mount-point options [optional fields] - type device super-options
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescaped(fields.nth(4)?);
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = behind.next()?.to_vec();
    let device = unescaped(behind.next()?);
    let options = behind.next().unwrap_or_default().to_vec();
    Some(Mount { point: PathBuf::from(OsString::from_vec(point)), kind, device, options })
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

    #[test]
    fn escapes_are_only_octal_triples() {
        assert_eq!(unescaped(b"a\\040b\\09\\"), b"a b\\09\\");
        assert_eq!(unescaped(b"\\377\\400"), b"\xff\\400");
    }

    #[test]
    fn optional_fields_may_be_any_number_and_broken_lines_are_left_out() {
        let table = b"21 1 8:1 / / rw shared:1 master:2 - ext4 /dev/sda1 rw,x\nbroken\n\
            22 21 0:5 / /a\\040b rw - proc proc rw,hidepid=2\n23 21 0:5 / /c rw - proc\n";
        let found: Vec<Mount> = mounts(table).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind.as_slice(), found[0].options.as_slice()), (&b"ext4"[..], &b"rw,x"[..]));
        assert_eq!(found[1].point, Path::new("/a b"));
    }
}
