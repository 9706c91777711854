//! The state files on disk: all that mxray writes on the machine that it examines.
//!
//! Its directory must be ours alone, or root would write where another user points. A reader never sees half a file: it is
//! written beside its place, brought to disk, and moved.

use super::state::BYTES_MAX;
use crate::read;
use mxray_model::Blind;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const NAME: &str = "baseline.json";
const NEEDS: &str = "root, or the user who runs mxray regularly";

/// The directory, open.
pub struct Directory {
    path: PathBuf,
    directory: OwnedFd,
}

/// Where the file is.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

impl Directory {
    /// `None`: it is not there, and was not to be made.
    ///
    /// # Errors
    /// It may not be opened or made, or others may write into it.
    pub fn open(path: &Path, make: bool) -> Result<Option<Self>, Blind> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut opened = rustix::fs::open(path, flags, Mode::empty());
        if make && matches!(opened, Err(Errno::NOENT)) {
            // The specification of base directories wants 0700 for what is missing.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| read::blind("make", path, &error, NEEDS))?;
            opened = rustix::fs::open(path, flags, Mode::empty());
        }
        let directory = match opened {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(read::blind("open", path, &error.into(), NEEDS)),
        };
        let stat = rustix::fs::fstat(&directory).map_err(|error| read::blind("stat", path, &error.into(), NEEDS))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(foreign(path, "belongs to another user"));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(foreign(path, "may be written by others"));
        }
        Ok(Some(Directory { path: path.to_owned(), directory }))
    }

    /// A directory within, which is made where it is missing.
    ///
    /// # Errors
    /// Like [`Directory::open`].
    pub fn within(&self, name: &str) -> Result<Directory, Blind> {
        match rustix::fs::mkdirat(&self.directory, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(read::blind("make", &self.path.join(name), &error.into(), NEEDS)),
        }
        let missing = || foreign(&self.path.join(name), "was made, and is gone");
        Directory::open(&self.path.join(name), false)?.ok_or_else(missing)
    }

    /// The names of its files, in their order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Blind> {
        let entries = std::fs::read_dir(&self.path).map_err(|error| read::blind("read", &self.path, &error, NEEDS))?;
        let named = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = named.collect();
        names.sort();
        Ok(names)
    }

    /// Takes a file away. That it is gone already is well.
    pub fn remove(&self, name: &str) {
        // What cannot be removed stays, and is tried again by the next run.
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }

    /// What the file says. `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, is longer than it may be, or is no regular file of ours.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Blind> {
        self.read_file(NAME, BYTES_MAX)
    }

    /// The same of another file, up to one byte more than `most`.
    ///
    /// # Errors
    /// Like [`Directory::read`].
    pub fn read_file(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, Blind> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(read::blind("read", &path, &error.into(), NEEDS)),
        };
        let stat = rustix::fs::fstat(&opened).map_err(|error| read::blind("stat", &path, &error.into(), NEEDS))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(foreign(&path, "is no regular file"));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(foreign(&path, "belongs to another user"));
        }
        let mut bytes = Vec::new();
        let outcome = File::from(opened).take(most as u64 + 1).read_to_end(&mut bytes);
        outcome.map_err(|error| read::blind("read", &path, &error, NEEDS))?;
        Ok(Some(bytes))
    }

    /// Puts `bytes` in the file's place. False: another run is writing at this moment.
    ///
    /// # Errors
    /// A full or read-only disk, mostly. The old file stays as it was.
    pub fn write(&self, bytes: &[u8]) -> Result<bool, Blind> {
        self.write_file(NAME, bytes, true)
    }

    /// The same of another file. `sync`: it is on the disk when this returns; else a crash of the machine may take it.
    ///
    /// # Errors
    /// Like [`Directory::write`].
    pub fn write_file(&self, name: &str, bytes: &[u8], sync: bool) -> Result<bool, Blind> {
        let written = self.replace(name, bytes, sync);
        written.map_err(|error| read::blind("write", &self.path.join(name), &error, NEEDS))
    }

    fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<bool> {
        let new = format!(".{name}.new");
        let new_name = new.as_str();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let new = rustix::fs::openat(&self.directory, new_name, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&new, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // Between open and lock, another run may have moved it into place: then it is the file that readers read.
        let ours = rustix::fs::fstat(&new)?;
        match rustix::fs::statat(&self.directory, new_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let outcome = self.fill(new, (new_name, name), bytes, sync);
        if outcome.is_err() {
            // What could not be finished is of no use; that it cannot be removed either changes nothing.
            let _ = rustix::fs::unlinkat(&self.directory, new_name, AtFlags::empty());
        }
        outcome.map(|()| true)
    }

    fn fill(&self, new: OwnedFd, (from, to): (&str, &str), bytes: &[u8], sync: bool) -> io::Result<()> {
        let mut file = File::from(new);
        file.set_len(0)?;
        file.write_all(bytes)?;
        rustix::fs::fchmod(file.as_fd(), Mode::RUSR | Mode::WUSR)?;
        if sync {
            file.sync_all()?;
        }
        // The lock goes with `file`, after the move.
        rustix::fs::renameat(&self.directory, from, &self.directory, to)?;
        if sync {
            rustix::fs::fsync(&self.directory)?;
        }
        Ok(())
    }
}

fn foreign(path: &Path, what: &str) -> Blind {
    Blind::Failed { step: format!("use {}", read::shown(path)), error: format!("it {what}: left alone") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const NEW: &str = ".baseline.json.new";

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("mxray-baseline-{name}-{}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn open(path: &Path) -> Directory {
        Directory::open(path, true).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_for_its_owner_alone() {
        let scratch = Scratch::new("write");
        let deep = scratch.0.join("state/mxray");
        assert!(Directory::open(&deep, false).unwrap().is_none());
        let directory = open(&deep);
        assert_eq!(directory.read(), Ok(None));
        for text in ["first, and long", "second"] {
            assert_eq!(directory.write(text.as_bytes()), Ok(true));
            assert_eq!(directory.read(), Ok(Some(text.as_bytes().to_vec())));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&deep), mode(&path(&deep))), (0o700, 0o600));
        assert!(!deep.join(NEW).exists());
    }

    #[test]
    fn no_link_is_followed_and_nothing_foreign_is_written() {
        let scratch = Scratch::new("links");
        let precious = scratch.0.join("precious");
        fs::write(&precious, "precious").unwrap();
        let state = scratch.0.join("state");
        let directory = open(&state);
        symlink(&precious, state.join(NAME)).unwrap();
        assert!(directory.read().is_err());
        symlink(&precious, state.join(NEW)).unwrap();
        assert!(directory.write(b"x").is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        fs::remove_file(state.join(NEW)).unwrap();
        // Moving onto a link replaces the link.
        assert_eq!(directory.write(b"x"), Ok(true));
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        let linked = scratch.0.join("linked");
        symlink(&state, &linked).unwrap();
        assert!(Directory::open(&linked, true).is_err());
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Directory::open(&state, true).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_read_and_does_not_hold_the_run() {
        let scratch = Scratch::new("kinds");
        let directory = open(&scratch.0);
        rustix::fs::mknodat(rustix::fs::CWD, path(&scratch.0), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(directory.read().is_err());
    }

    #[test]
    fn of_two_runs_at_once_one_writes() {
        let scratch = Scratch::new("lock");
        let directory = open(&scratch.0);
        let new = File::create(scratch.0.join(NEW)).unwrap();
        rustix::fs::flock(&new, FlockOperation::LockExclusive).unwrap();
        assert_eq!(directory.write(b"x"), Ok(false));
        drop(new);
        // What a run that was killed left behind is no obstacle.
        assert_eq!(directory.write(b"x"), Ok(true));
    }
}
