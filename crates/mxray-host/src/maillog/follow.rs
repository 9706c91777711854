//! A file that is still written: what is new in it, across rotation and truncation.
//!
//! Looked at when asked, by its size and its name's identity: no watch of the kernel has to be told apart from what it missed.
//! What must not live here: when to look again (`watch.rs`).

use super::file::{LogFile, opened};
use super::packing::Packing;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What became of a file since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// So many bytes stand at the front of the room.
    Bytes(usize),
    /// It was read to its end, and its name belongs to another file now: that one is read from here on.
    Rotated,
    /// It is shorter than what was read of it: it is read from its beginning.
    Truncated,
}

/// A plain file that is followed by its name.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Arc<File>,
    at: u64,
    identity: (u64, u64),
    /// The first bytes of what was read: a file that was cut and grew past the place has others.
    first: Vec<u8>,
    /// Files that came and went between two looks, and from where each is new.
    missed: Vec<(LogFile, u64)>,
}

/// A rotation keeps a few dozen files, seldom some years of days.
const SIBLINGS_MAX: usize = 2_048;

fn data_written(data: &std::fs::Metadata) -> i64 {
    data.mtime().saturating_mul(1_000_000).saturating_add(data.mtime_nsec() / 1_000)
}

/// Enough of a first line to hold its stamp and host.
const FIRST_BYTES: usize = 64;

impl Follow {
    /// Goes on from a place of a file.
    pub fn new(file: &LogFile, at: u64) -> Follow {
        let mut follow = Follow {
            path: file.path.clone(),
            file: file.handle(),
            at,
            identity: file.identity,
            first: Vec::new(),
            missed: Vec::new(),
        };
        follow.first = follow.beginning();
        follow
    }

    /// Device and number of the file that is read now.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn beginning(&self) -> Vec<u8> {
        let mut room = vec![0; FIRST_BYTES.min(usize::try_from(self.at).unwrap_or(FIRST_BYTES))];
        let count = self.file.read_at(&mut room, 0).unwrap_or(0);
        room.truncate(count);
        room
    }

    /// What is new. Call again until it says [`News::Nothing`].
    ///
    /// # Errors
    /// What the system says of reading; the file may be asked again later.
    pub fn look(&mut self, room: &mut [u8]) -> io::Result<News> {
        let data = self.file.metadata()?;
        if data.len() < self.at || (self.at > 0 && self.beginning() != self.first) {
            self.missed = self.copies();
            (self.at, self.first) = (0, Vec::new());
            return Ok(News::Truncated);
        }
        match self.file.read_at(room, self.at) {
            Ok(0) => {}
            Ok(count) => {
                self.at += count as u64;
                if self.first.len() < FIRST_BYTES {
                    self.first = self.beginning();
                }
                return Ok(News::Bytes(count));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(News::Nothing),
            Err(error) => return Err(error),
        }
        // The end of what is there; while its name is gone or not readable, the old file may still be written.
        let Ok((file, data)) = opened(&self.path) else { return Ok(News::Nothing) };
        let identity = (data.dev(), data.ino());
        if identity == self.identity {
            return Ok(News::Nothing);
        }
        let missed = self.between(identity, data_written(&self.file.metadata()?));
        *self = Follow { path: self.path.clone(), file: Arc::new(file), at: 0, identity, first: Vec::new(), missed };
        Ok(News::Rotated)
    }

    /// What was written and put away while nobody looked, in the order of time: it belongs before what is read from here on.
    pub fn missed(&mut self) -> Vec<(LogFile, u64)> {
        std::mem::take(&mut self.missed)
    }

    /// The copy that was made before the file was cut, where it holds more than was read.
    fn copies(&self) -> Vec<(LogFile, u64)> {
        let mut copies = self.siblings();
        copies.retain(|file| file.packing == Packing::Plain && file.size > self.at && self.begins_like_this(file));
        copies.sort_by_key(|file| file.modified);
        copies.pop().map(|file| (file, self.at)).into_iter().collect()
    }

    /// Files that had the name after this one and before the one that has it now: a rotation gave them further names.
    fn between(&self, now: (u64, u64), written: i64) -> Vec<(LogFile, u64)> {
        let mut files = self.siblings();
        files.retain(|file| {
            ![self.identity, now].contains(&file.identity) && file.modified > written && !self.begins_like_this(file)
        });
        files.sort_by_key(|file| file.modified);
        files.into_iter().map(|file| (file, 0)).collect()
    }

    fn begins_like_this(&self, file: &LogFile) -> bool {
        !self.first.is_empty() && file.head().is_ok_and(|head| head.starts_with(&self.first))
    }

    /// Files whose names go on where this one's ends: `mail.log.1`, `mail.log-20260301.gz`.
    fn siblings(&self) -> Vec<LogFile> {
        let Some(name) = self.path.file_name() else { return Vec::new() };
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
        let is_sibling = |path: &PathBuf| {
            let other = path.file_name().unwrap_or_default().as_bytes();
            other.len() > name.len() && other.starts_with(name.as_bytes())
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_sibling);
        paths.take(SIBLINGS_MAX).filter_map(|path| LogFile::try_open(&path).ok()).collect()
    }
}
