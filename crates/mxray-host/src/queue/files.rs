//! Queues that are directories of small files: those of a Postfix that does not run, Exim's `input` and `msglog`, OpenSMTPD's envelopes, Sendmail's control files.

use super::{FILE_BYTES_MAX, Found, MESSAGES_MAX, Piece};
use crate::read;
use mxray_model::{Blind, Seen};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Names of one directory that are looked at; it also holds two files for each message.
const NAMES_MAX: usize = 200_000;

/// `input/ID-H`, or `input/X/ID-H` where the spool is split; beside it `ID-J`, and `msglog/ID`.
pub fn exim(spool: &str, until: Instant) -> Seen<Found> {
    let input = Path::new(spool).join("input");
    let mut found = Found { source: read::shown(&input), ..Found::default() };
    let names = match names(&input) {
        Ok(names) => names,
        Err(blind) => return blind,
    };
    let mut directories = vec![(PathBuf::new(), names)];
    let parts: Vec<OsString> =
        directories.iter().flat_map(|(_, all)| all).filter(|name| name.len() == 1).cloned().collect();
    for part in parts {
        match self::names(&input.join(&part)) {
            Ok(names) => directories.push((PathBuf::from(part), names)),
            Err(_) => found.unread += 1,
        }
    }
    for (part, names) in directories {
        for name in names {
            let Some(id) = name.as_bytes().strip_suffix(b"-H") else { continue };
            if full(&mut found, until) {
                return Seen::Value(found);
            }
            let id = id.to_vec();
            let beside = |tail: &str| {
                let mut path = std::ffi::OsStr::from_bytes(&id).to_owned();
                path.push(tail);
                input.join(&part).join(path)
            };
            let Some(header) = bytes(&beside("-H")) else {
                found.unread += 1;
                continue;
            };
            let log = Path::new(spool).join("msglog").join(&part).join(std::ffi::OsStr::from_bytes(&id));
            let journal = bytes(&beside("-J")).unwrap_or_default();
            found.pieces.push(Piece::Exim { journal, log: bytes(&log).unwrap_or_default(), header, id });
        }
    }
    Seen::Value(found)
}

/// Where Postfix keeps messages, by state; what is set aside as corrupt is not mail that waits.
const POSTFIX_STATES: [&str; 5] = ["maildrop", "incoming", "active", "deferred", "hold"];

/// `deferred/X/ID`, hashed or not, and beside it `defer/X/ID` with what was tried (`hash_queue_names`).
pub fn postfix(queue: &str, until: Instant) -> Seen<Found> {
    let queue = Path::new(queue);
    let mut found = Found { source: read::shown(queue), ..Found::default() };
    for state in POSTFIX_STATES {
        let mut open = vec![PathBuf::new()];
        while let Some(part) = open.pop() {
            let names = match names(&queue.join(state).join(&part)) {
                Ok(names) => names,
                // One that may not be read says that none may.
                Err(blind) if blind.value().is_none() && part.as_os_str().is_empty() => return blind,
                Err(blind) => {
                    found.unread += u64::from(blind.value().is_none());
                    continue;
                }
            };
            for name in names {
                if name.len() == 1 {
                    if open.len() < GROUPS_MAX {
                        open.push(part.join(&name));
                    }
                    continue;
                }
                if full(&mut found, until) {
                    return Seen::Value(found);
                }
                let Some(file) = bytes(&queue.join(state).join(&part).join(&name)) else {
                    found.unread += 1;
                    continue;
                };
                let beside = |part: &Path| bytes(&queue.join("defer").join(part).join(&name));
                let hashed = || {
                    name.as_bytes().first().and_then(|first| beside(Path::new(std::ffi::OsStr::from_bytes(&[*first]))))
                };
                let deferred = beside(&part).or_else(hashed).unwrap_or_default();
                found.pieces.push(Piece::Postfix { state, id: name.as_bytes().to_vec(), file, deferred });
            }
        }
    }
    Seen::Value(found)
}

/// `queue/01/01234567/0123456789abcdef`, one file for one recipient, beside `message`.
pub fn opensmtpd(spool: &str, until: Instant) -> Seen<Found> {
    let queue = Path::new(spool).join("queue");
    let mut found = Found { source: read::shown(&queue), ..Found::default() };
    let buckets = match names(&queue) {
        Ok(buckets) => buckets,
        Err(blind) => return blind,
    };
    let below = |directory: &Path, found: &mut Found| match names(directory) {
        Ok(names) => names,
        Err(_) => {
            found.unread += 1;
            Vec::new()
        }
    };
    for bucket in buckets {
        let bucket = queue.join(bucket);
        for message in below(&bucket, &mut found) {
            let message = bucket.join(message);
            for envelope in below(&message, &mut found) {
                let id = envelope.as_bytes();
                if id.len() != 16 || !id.iter().all(u8::is_ascii_hexdigit) {
                    continue;
                }
                if full(&mut found, until) {
                    return Seen::Value(found);
                }
                match bytes(&message.join(&envelope)) {
                    Some(text) => found.pieces.push(Piece::OpenSmtpd { id: id.to_vec(), envelope: text }),
                    None => found.unread += 1,
                }
            }
        }
    }
    Seen::Value(found)
}

/// Where Sendmail's programs put what the daemon did not take from them (submit.cf's QueueDirectory).
const CLIENT_QUEUES: [&str; 2] = ["/var/spool/mqueue-client", "/var/spool/clientmqueue"];
/// Directories of one queue group, and of all groups.
const GROUPS_MAX: usize = 1_000;

/// `mqueue/qfID`, `mqueue/qf/qfID`, or `mqueue/GROUP/qfID` and `mqueue/GROUP/qf/qfID` where `QueueDirectory` ends in `*`; and the
/// queue of the programs that hand mail to the daemon.
pub fn sendmail(queue: &str, until: Instant) -> Seen<Found> {
    let mut found = Found { source: read::shown(Path::new(queue)), ..Found::default() };
    for (place, root) in [queue].into_iter().chain(CLIENT_QUEUES).enumerate() {
        let root = Path::new(root);
        if place > 0 && (!root.is_dir() || root == Path::new(queue)) {
            continue;
        }
        let names = match names(root) {
            Ok(names) => names,
            // The queue itself decides; its companion adds to it.
            Err(blind) if place == 0 && blind.value().is_none() => return blind,
            Err(blind) => {
                found.unread += u64::from(blind.value().is_none());
                continue;
            }
        };
        if place > 0 {
            found.source = format!("{}, {}", found.source, read::shown(root));
        }
        if control_files(root, names, 2, until, &mut found) {
            break;
        }
    }
    Seen::Value(found)
}

/// True: no more is read.
fn control_files(at: &Path, names: Vec<OsString>, deeper: usize, until: Instant, found: &mut Found) -> bool {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for name in names {
        let bytes = name.as_bytes();
        match bytes.first_chunk::<2>() {
            Some(kind @ (b"qf" | b"hf")) if bytes.len() > 2 => files.push((kind == b"hf", name)),
            // Data, transcripts and what is being written: `df`, `xf`, `tf`; `Qf` is one that was lost.
            Some([b'd' | b'x' | b't' | b'T' | b'D' | b'l' | b'n', b'f']) => {}
            _ if deeper > 0 && directories.len() < GROUPS_MAX => directories.push(name),
            _ => {}
        }
    }
    for (set_aside, name) in files {
        if full(found, until) {
            return true;
        }
        let id = name.as_bytes().get(2..).unwrap_or_default().to_vec();
        match bytes(&at.join(&name)) {
            // It is empty for a moment while it is made.
            Some(control) if control.is_empty() => {}
            Some(control) => found.pieces.push(Piece::Sendmail { id, control, set_aside }),
            None => found.unread += 1,
        }
    }
    for name in directories {
        let below = at.join(name);
        if !below.is_dir() {
            continue;
        }
        match self::names(&below) {
            Ok(names) => {
                if control_files(&below, names, deeper - 1, until, found) {
                    return true;
                }
            }
            Err(_) => found.unread += 1,
        }
    }
    false
}

/// The bound, or the end of the time, is reached: there is more than was read.
fn full(found: &mut Found, until: Instant) -> bool {
    found.cut = found.pieces.len() >= MESSAGES_MAX || Instant::now() >= until;
    found.cut
}

fn bytes(path: &Path) -> Option<Vec<u8>> {
    match read::file(path, FILE_BYTES_MAX) {
        Seen::Value(content) => Some(content.bytes),
        _ => None,
    }
}

/// Names in a directory, ordered.
fn names(directory: &Path) -> Result<Vec<OsString>, Seen<Found>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        // A spool without its directory has never had mail.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Seen::Value(empty(directory))),
        Err(error) => return Err(Seen::Unknown(blind(directory, &error))),
    };
    let mut names: Vec<OsString> = entries.take(NAMES_MAX).filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    Ok(names)
}

fn empty(directory: &Path) -> Found {
    Found { source: read::shown(directory), ..Found::default() }
}

fn blind(directory: &Path, error: &std::io::Error) -> Blind {
    read::blind("read", directory, error, "root")
}
