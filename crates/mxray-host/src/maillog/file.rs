//! One log file: opened without waiting, read from any place, unpacked where it is packed.
//!
//! What must not live here: which files there are (`find.rs`), and what comes behind their end (`follow.rs`).

use super::packing::{Packing, unpacked};
use crate::read;
use mxray_model::{Blind, Unseen};
use rustix::fs::OFlags;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read of a file to see what it is and when it begins.
const HEAD_BYTES: usize = 64 * 1024;

/// A log file that is open. Whatever happens to its name, these bytes are read.
#[derive(Debug, Clone)]
pub struct LogFile {
    pub path: PathBuf,
    pub packing: Packing,
    /// When it was last written, in microseconds since 1970: its lines are not younger.
    pub modified: i64,
    /// Its size when it was opened, packed.
    pub size: u64,
    /// Device and number: the same file under two names is one.
    pub identity: (u64, u64),
    file: Arc<File>,
}

/// What would permit reading a log.
const NEEDS: &str = "root, or membership in the group that may read it (adm on Debian)";

pub(super) fn unseen(path: &Path, error: &io::Error) -> Unseen {
    let what = read::shown(path);
    let blind = match error.kind() {
        ErrorKind::NotFound => {
            return Unseen { what, why: "there is no such file".to_owned(), needs: "the name of a file".to_owned() };
        }
        ErrorKind::PermissionDenied => Blind::NotPermitted { what: "read it".to_owned(), needs: NEEDS.to_owned() },
        _ => Blind::Failed { step: "read it".to_owned(), error: error.to_string() },
    };
    Unseen { what, why: blind.why(), needs: blind.needs() }
}

/// Opens a regular file. One that waits for a writer (a FIFO) does not hold us.
pub(super) fn opened(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, data))
}

impl LogFile {
    /// # Errors
    /// Why it cannot be read, and what would permit it.
    pub fn open(path: &Path) -> Result<LogFile, Unseen> {
        LogFile::try_open(path).map_err(|error| unseen(path, &error))
    }

    pub(super) fn try_open(path: &Path) -> io::Result<LogFile> {
        let (file, data) = opened(path)?;
        let mut magic = [0; 8];
        let count = read_fully(&file, &mut magic, 0)?;
        Ok(LogFile {
            path: path.to_owned(),
            packing: Packing::of(&magic[..count]),
            modified: data.mtime().saturating_mul(1_000_000).saturating_add(data.mtime_nsec() / 1_000),
            size: data.len(),
            identity: (data.dev(), data.ino()),
            file: Arc::new(file),
        })
    }

    /// Its path, safe to print.
    pub fn shown(&self) -> String {
        read::shown(&self.path)
    }

    /// Its first bytes, unpacked. Fewer where it is shorter or breaks off.
    ///
    /// # Errors
    /// Where not one byte can be had.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; HEAD_BYTES];
        let mut stream = self.stream(0)?;
        let mut length = 0;
        while length < head.len() {
            match stream.read(&mut head[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if length > 0 => break,
                Err(error) => return Err(error),
            }
        }
        head.truncate(length);
        Ok(head)
    }

    /// Bytes of a plain file from a place; fewer at its end, none behind it.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_at(&self, at: u64, room: &mut [u8]) -> io::Result<usize> {
        read_fully(&self.file, room, at)
    }

    /// All bytes from a place, unpacked; a packed file can only be read from its beginning.
    ///
    /// # Errors
    /// What an unpacker says when it begins.
    pub fn stream(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let at = if self.packing == Packing::Plain { from } else { 0 };
        unpacked(self.packing, Positioned { file: Arc::clone(&self.file), at })
    }

    pub(super) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

fn read_fully(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < room.len() {
        match file.read_at(&mut room[length..], at + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Reads on from a place of its own: two readers of one file do not move each other.
struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(room, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
