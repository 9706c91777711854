//! Which process holds which socket: one walk over `/proc/PID/fd`, joined through a hash set.
//!
//! A socket that nobody visible holds is `Absent` only when every process could be looked at; else it is unknown, with
//! the one of three reasons that applies: other users' descriptors may not be read, `/proc` hides processes, or this
//! is another process namespace than the machine's.

use super::{OTHERS, Table, kernel_counts_descriptors, pids};
use crate::read;
use mxray_model::evidence::Owner;
use mxray_model::{Blind, Seen};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::MaybeUninit;
use std::path::Path;

/// Directory entries per system call: 128 KiB holds some 5,000 descriptors.
const LISTING_BYTES: usize = 128 * 1024;
/// Inode of the machine's first process namespace (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The outcome of a walk: an inode's holders in the order of the walk.
#[derive(Debug)]
pub struct Holders {
    /// First and last place in `found`; `NOBODY`: not found.
    by_inode: InodeMap<(u32, u32)>,
    found: Vec<Holder>,
    /// Why an inode that was not found may still be held. `None`: everything was looked at, nobody holds it.
    pub blind: Option<Blind>,
}

/// One process that holds one socket, and the place of the next one that holds it too.
#[derive(Debug, Clone, Copy)]
struct Holder {
    pid: u32,
    next: u32,
}

/// No place in the list.
const NOBODY: u32 = u32::MAX;

impl Holders {
    /// The processes that hold this socket.
    pub fn of(&self, inode: u32) -> impl Iterator<Item = u32> {
        let first = self.by_inode.get(&inode).and_then(|(first, _)| self.found.get(*first as usize));
        std::iter::successors(first, |holder| self.found.get(holder.next as usize)).map(|holder| holder.pid)
    }

    /// All of them.
    pub fn pids(&self) -> BTreeSet<u32> {
        self.found.iter().map(|holder| holder.pid).collect()
    }
}

/// Inode numbers are small and dense; multiplying spreads them enough, and costs nothing.
#[derive(Debug, Default)]
pub struct InodeHasher(u64);

impl Hasher for InodeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 / golden ratio: neighbours land far apart, and the upper bits (which hashbrown uses) vary.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map keyed by a socket's inode.
pub type InodeMap<V> = HashMap<u32, V, BuildHasherDefault<InodeHasher>>;

/// Finds who holds `inodes`: `first_pids` in their order, then the other processes by pid, until each inode is found.
///
/// All holders within one process table entry are seen; a holder behind the last one that was needed is not. So the
/// list of a shared socket begins with those of `first_pids` and need not be complete.
pub fn owners(table: &Table, inodes: &BTreeSet<u64>, first_pids: &[u32]) -> BTreeMap<u64, Seen<Vec<Owner>>> {
    let wanted: Vec<u32> = inodes.iter().filter_map(|inode| u32::try_from(*inode).ok()).collect();
    let order: Vec<u32> =
        first_pids.iter().copied().chain(table.rows.keys().copied().filter(|pid| !first_pids.contains(pid))).collect();
    let holders = walk(&order, &wanted, table.all_visible);
    inodes
        .iter()
        .map(|inode| {
            let pids = u32::try_from(*inode).map(|inode| holders.of(inode)).into_iter().flatten();
            let owners: Vec<Owner> = pids
                .filter_map(|pid| table.rows.get(&pid))
                .map(|row| Owner { pid: row.pid, name: row.name.clone() })
                .collect();
            let seen = match &holders.blind {
                _ if !owners.is_empty() => Seen::Value(owners),
                Some(blind) => Seen::Unknown(blind.clone()),
                None => Seen::Absent,
            };
            (*inode, seen)
        })
        .collect()
}

/// The same without a process table, among `pids` or, if that is `None`, among all processes.
///
/// `inodes` may hold 0, which nobody holds. If `pids` is given, `blind` speaks of these alone.
pub fn holders(inodes: &[u32], among: Option<&[u32]>) -> Holders {
    match among {
        Some(pids) => walk(pids, inodes, true),
        None => match pids() {
            Ok(pids) => walk(&pids, inodes, super::all_visible()),
            Err(blind) => Holders { by_inode: InodeMap::default(), found: Vec::new(), blind: Some(blind) },
        },
    }
}

struct Walk {
    wanted: InodeMap<(u32, u32)>,
    missing: usize,
    found: Vec<Holder>,
    refused: Option<u32>,
    failed: Option<Blind>,
}

fn walk(order: &[u32], inodes: &[u32], all_visible: bool) -> Holders {
    let mut wanted = InodeMap::default();
    wanted.reserve(inodes.len());
    wanted.extend(inodes.iter().filter(|inode| **inode != 0).map(|inode| (*inode, (NOBODY, NOBODY))));
    let missing = wanted.len();
    let mut walk = Walk { wanted, missing, found: Vec::with_capacity(missing), refused: None, failed: None };
    let counted = kernel_counts_descriptors();
    let mut listing = Vec::with_capacity(LISTING_BYTES);
    for pid in order {
        if walk.missing == 0 {
            break;
        }
        walk.process(*pid, counted, &mut listing);
    }
    let blind = if walk.missing == 0 { None } else { walk.blind(all_visible) };
    Holders { by_inode: walk.wanted, found: walk.found, blind }
}

impl Walk {
    fn blind(&self, all_visible: bool) -> Option<Blind> {
        if !all_visible {
            return Some(Blind::NotPermitted {
                what: "/proc is mounted with hidepid: other users' processes cannot be seen".into(),
                needs: "root, or membership of the group that /proc's gid= option names".into(),
            });
        }
        if let Some(pid) = self.refused {
            return Some(Blind::NotPermitted {
                what: format!("read the descriptors of other users' processes (process {pid} is one)"),
                needs: OTHERS.into(),
            });
        }
        if let Some(blind) = &self.failed {
            return Some(blind.clone());
        }
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
        if namespace.as_deref() != Some(Path::new(FIRST_PID_NAMESPACE)) {
            return Some(Blind::NotAttempted {
                why: "the holder may be outside this process namespace (container), where we cannot look".into(),
            });
        }
        None
    }

    fn process(&mut self, pid: u32, counted: bool, listing: &mut Vec<u8>) {
        let path = format!("/proc/{pid}/fd");
        // Kernel threads and zombies have none; asking for the number needs no permission.
        if counted && rustix::fs::stat(path.as_str()).is_ok_and(|stat| stat.st_size == 0) {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(error) => return self.not_read(pid, &path, error),
        };
        if let Err(error) = self.descriptors(pid, &directory, listing) {
            self.not_read(pid, &path, error);
        }
    }

    fn not_read(&mut self, pid: u32, path: &str, error: Errno) {
        match error {
            // It ended meanwhile.
            Errno::NOENT | Errno::SRCH => {}
            Errno::ACCESS | Errno::PERM => self.refused = self.refused.or(Some(pid)),
            error => {
                self.failed.get_or_insert_with(|| read::blind(Path::new(path), &error.into(), OTHERS));
            }
        }
    }

    fn descriptors(&mut self, pid: u32, directory: &OwnedFd, listing: &mut Vec<u8>) -> Result<(), Errno> {
        listing.clear();
        let mut entries = RawDir::new(directory.as_fd(), listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            // Everything but "." and "..".
            if !name.to_bytes().first().is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let Some(inode) = socket_inode(directory.as_fd(), name)? else { continue };
            let Some((first, last)) = self.wanted.get_mut(&inode) else { continue };
            let place = u32::try_from(self.found.len()).unwrap_or(NOBODY);
            if let Some(previous) = self.found.get_mut(*last as usize) {
                // A process that holds one socket twice (dup) is one holder.
                if previous.pid == pid {
                    continue;
                }
                previous.next = place;
            } else {
                *first = place;
                self.missing -= 1;
            }
            *last = place;
            self.found.push(Holder { pid, next: NOBODY });
        }
        Ok(())
    }
}

/// The inode behind a descriptor's link, `socket:[4242]`; `None`: it is something else, or was closed meanwhile.
fn socket_inode(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<u32>, Errno> {
    let mut room = [MaybeUninit::<u8>::uninit(); 64];
    let target = match rustix::fs::readlinkat_raw(directory, name, &mut room) {
        Ok((target, _)) => &*target,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let digits = target.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
    Ok(digits.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok()))
}
