//! Which process holds which socket: one walk over `/proc/PID/fd`, joined through a hash set; or, of very many sockets, what
//! the kernel tells of all of them (`at_once`).
//!
//! A socket that nobody visible holds is `Absent` only when every process could be looked at; else it is unknown, with
//! the one of three reasons that applies: other users' descriptors may not be read, `/proc` hides processes, or this
//! is another process namespace than the machine's.

use super::at_once::{AtOnce, Records};
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
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

/// Directory entries per system call: 128 KiB holds some 5,000 descriptors.
const LISTING_BYTES: usize = 128 * 1024;
/// Inode of the machine's first process namespace (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The outcome of a walk: an inode's holders in the order of the walk.
#[derive(Debug)]
pub struct Holders {
    /// Of each wanted inode: the place in `found` of its last holder, whose `next` is the first.
    last: Slots,
    found: Vec<Holder>,
    /// Why an inode that was not found may still be held. `None`: everything was looked at, nobody holds it.
    pub blind: Option<Blind>,
}

/// One process that holds one socket, and the place of the next one that holds it too: a ring.
#[derive(Debug, Clone, Copy)]
struct Holder {
    pid: u32,
    next: u32,
}

impl Holders {
    /// The processes that hold this socket.
    pub fn of(&self, inode: u32) -> impl Iterator<Item = u32> {
        let last = self.last.get(inode).filter(|last| *last != NOBODY);
        let behind = |place: u32| self.found.get(place as usize).map(|holder| holder.next);
        let first = last.and_then(behind);
        std::iter::successors(first, move |place| if Some(*place) == last { None } else { behind(*place) })
            .filter_map(|place| self.found.get(place as usize))
            .map(|holder| holder.pid)
    }

    /// All of them.
    pub fn pids(&self) -> BTreeSet<u32> {
        self.found.iter().map(|holder| holder.pid).collect()
    }
}

/// A number for each inode that is asked for.
///
/// Sockets that are made one after the other have neighbouring inodes, and a process's descriptors are met in that
/// order: sixteen neighbours share a cache line, and a table of lines is small enough to stay near.
#[derive(Debug, Default)]
struct Slots {
    lines: HashMap<u32, u32, BuildHasherDefault<LineHasher>>,
    slots: Vec<[u32; LINE as usize]>,
}

/// Inodes in one line.
const LINE: u32 = 16;
/// The slot of an inode that nobody asked for.
const UNWANTED: u32 = u32::MAX;
/// The slot of an inode whose holder was not met yet.
const NOBODY: u32 = u32::MAX - 1;

impl Slots {
    /// Asks for an inode; `false`: that was done before.
    fn want(&mut self, inode: u32) -> bool {
        let slots = &mut self.slots;
        let line = *self.lines.entry(inode / LINE).or_insert_with(|| {
            slots.push([UNWANTED; LINE as usize]);
            (slots.len() - 1) as u32
        });
        let slot = slots.get_mut(line as usize).map(|line| &mut line[(inode % LINE) as usize]);
        slot.is_some_and(|slot| std::mem::replace(slot, NOBODY) == UNWANTED)
    }

    fn get(&self, inode: u32) -> Option<u32> {
        let line = self.lines.get(&(inode / LINE))?;
        self.slots.get(*line as usize).map(|line| line[(inode % LINE) as usize]).filter(|slot| *slot != UNWANTED)
    }

    fn get_mut(&mut self, inode: u32) -> Option<&mut u32> {
        let line = self.lines.get(&(inode / LINE))?;
        let slot = self.slots.get_mut(*line as usize).map(|line| &mut line[(inode % LINE) as usize]);
        slot.filter(|slot| **slot != UNWANTED)
    }
}

/// Spreads numbers of lines: hashbrown takes the place from the lower bits, and tells entries of one group apart by the
/// highest seven.
#[derive(Debug, Default)]
struct LineHasher(u64);

impl Hasher for LineHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 / golden ratio: neighbouring lines land far apart.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// Finds who holds `inodes`: `first_pids` in their order, then the other processes by pid, until each inode is found.
///
/// Children of a holder are looked at, too: a worker holds what its parent opened, and whether the socket is served
/// depends on it. An unrelated holder behind the last process that was needed is not seen; the list of a shared socket
/// begins with those of `first_pids`.
pub fn owners(table: &Table, inodes: &BTreeSet<u64>, first_pids: &[u32]) -> BTreeMap<u64, Seen<Vec<Owner>>> {
    let wanted: Vec<u32> = inodes.iter().filter_map(|inode| u32::try_from(*inode).ok()).collect();
    let order: Vec<u32> =
        first_pids.iter().copied().chain(table.rows.keys().copied().filter(|pid| !first_pids.contains(pid))).collect();
    let parent_of = |pid: u32| table.rows.get(&pid).map(|row| row.parent);
    let holders = walk(&order, &wanted, table.all_visible, &parent_of);
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
        Some(pids) => walk(pids, inodes, true, &|_| None),
        None => match pids() {
            Ok(pids) => walk(&pids, inodes, super::all_visible(), &|_| None),
            Err(blind) => Holders { last: Slots::default(), found: Vec::new(), blind: Some(blind) },
        },
    }
}

/// As [`holders`] among all processes, with one question to the kernel where very many inodes are wanted and `at_once`
/// is to be had: the same answer for less.
pub fn holders_at_once(inodes: &[u32], at_once: &AtOnce) -> Holders {
    if inodes.len() < AT_ONCE_MIN {
        return holders(inodes, None);
    }
    by_records(inodes, || at_once.records()).unwrap_or_else(|| holders(inodes, None))
}

/// Fewer inodes are walked for. Reading the kernel's types and loading the program take 7 ms, as long as 4,000 calls of
/// readlinkat(2) (Linux 6.18, at 1.8 µs; a record takes a quarter of that), and mean a line in the audit log.
const AT_ONCE_MIN: usize = 8192;

/// `None`: there are no records, or they broke off.
pub(super) fn by_records(inodes: &[u32], records: impl Fn() -> Option<Records>) -> Option<Holders> {
    let mut walk = Walk::new(inodes);
    walk.records(records()?).ok()?;
    // The machine moves on meanwhile: on its way from one process to another a socket may have been met in neither. One
    // that two looks do not show was closed. Listing every directory would cost ten times as much, and on a busy machine
    // something is always missing.
    if walk.missing > 0 {
        walk.before = walk.found.len();
        walk.records(records()?).ok()?;
    }
    Some(walk.end(super::all_visible()))
}

struct Walk {
    last: Slots,
    missing: usize,
    found: Vec<Holder>,
    /// How many were found by earlier passes: their sockets' holders are known.
    before: usize,
    /// The kernel tells how many descriptors a process has.
    counted: bool,
    refused: Option<u32>,
    failed: Option<Blind>,
}

fn walk(order: &[u32], inodes: &[u32], all_visible: bool, parent_of: &dyn Fn(u32) -> Option<u32>) -> Holders {
    let mut walk = Walk::new(inodes);
    let mut listing = Vec::with_capacity(LISTING_BYTES);
    let mut rest = order.iter();
    while walk.missing > 0
        && let Some(pid) = rest.next()
    {
        walk.process(*pid, walk.counted, &mut listing);
    }
    // The quick pass may miss a descriptor while its process opens others; before anything is called missing, every
    // directory is listed.
    if walk.counted && walk.missing > 0 {
        walk.before = walk.found.len();
        for pid in order {
            if walk.missing == 0 {
                break;
            }
            walk.process(*pid, false, &mut listing);
        }
    }
    let parents: BTreeSet<u32> = walk.found.iter().map(|holder| holder.pid).collect();
    for pid in rest.filter(|pid| parent_of(**pid).is_some_and(|parent| parents.contains(&parent))) {
        walk.process(*pid, walk.counted, &mut listing);
    }
    walk.end(all_visible)
}

impl Walk {
    fn new(inodes: &[u32]) -> Self {
        let mut last = Slots::default();
        let missing = inodes.iter().filter(|inode| **inode != 0 && last.want(**inode)).count();
        let found = Vec::with_capacity(missing);
        Walk { last, missing, found, before: 0, counted: kernel_counts_descriptors(), refused: None, failed: None }
    }

    /// The quick pass over all processes by pid, which ends with the process that has the last of what is wanted.
    fn records(&mut self, records: Records) -> io::Result<()> {
        let mut process = 0;
        for record in records {
            let record = record?;
            if record.pid != process && self.missing == 0 {
                break;
            }
            process = record.pid;
            // A process without a number has ended.
            if let (Ok(inode), true) = (u32::try_from(record.inode), process != 0) {
                self.holds(process, inode);
            }
        }
        Ok(())
    }

    fn end(self, all_visible: bool) -> Holders {
        let blind = if self.missing == 0 { None } else { self.blind(all_visible) };
        Holders { last: self.last, found: self.found, blind }
    }

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

    fn process(&mut self, pid: u32, quick: bool, listing: &mut Vec<u8>) {
        let path = format!("/proc/{pid}/fd");
        // Kernel threads and zombies have none; asking for the number needs no permission.
        let count = if self.counted { rustix::fs::stat(path.as_str()).map(|stat| stat.st_size).ok() } else { None };
        if count == Some(0) {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(error) => return self.not_read(pid, &path, error),
        };
        let read = match count.filter(|_| quick).map(|count| self.by_number(pid, &directory, count)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(false)) | None => self.by_listing(pid, &directory, listing),
        };
        if let Err(error) = read {
            self.not_read(pid, &path, error);
        }
    }

    fn not_read(&mut self, pid: u32, path: &str, error: Errno) {
        match error {
            // It ended meanwhile.
            Errno::NOENT | Errno::SRCH => {}
            Errno::ACCESS | Errno::PERM => self.refused = self.refused.or(Some(pid)),
            error => {
                self.failed.get_or_insert_with(|| read::blind("read", Path::new(path), &error.into(), OTHERS));
            }
        }
    }

    /// Asks for descriptors 0, 1, 2, … until all `count` were met; `false`: the numbers have too many gaps for that.
    ///
    /// Listing the directory first would make the kernel look up each of them twice: a third of this walk's time.
    fn by_number(&mut self, pid: u32, directory: &OwnedFd, count: i64) -> Result<bool, Errno> {
        let mut gaps = 0;
        let mut left = count;
        let mut number: u32 = 0;
        while left > 0 {
            match socket_inode(directory.as_fd(), &Digits::new(number))? {
                Descriptor::Socket(inode) => self.holds(pid, inode),
                Descriptor::Other => {}
                Descriptor::Closed => {
                    gaps += 1;
                    if gaps > GAPS_MAX {
                        return Ok(false);
                    }
                    number += 1;
                    continue;
                }
            }
            left -= 1;
            number += 1;
        }
        Ok(true)
    }

    fn by_listing(&mut self, pid: u32, directory: &OwnedFd, listing: &mut Vec<u8>) -> Result<(), Errno> {
        listing.clear();
        let mut entries = RawDir::new(directory.as_fd(), listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            // Everything but "." and "..".
            if name.to_bytes().first().is_some_and(u8::is_ascii_digit)
                && let Descriptor::Socket(inode) = socket_inode(directory.as_fd(), name)?
            {
                self.holds(pid, inode);
            }
        }
        Ok(())
    }

    fn holds(&mut self, pid: u32, inode: u32) {
        let Some(last) = self.last.get_mut(inode) else { return };
        let place = u32::try_from(self.found.len()).unwrap_or(NOBODY);
        let mut next = place;
        if let Some(previous) = self.found.get_mut(*last as usize) {
            // A process that holds one socket twice (dup) is one holder.
            if previous.pid == pid || (*last as usize) < self.before {
                return;
            }
            next = std::mem::replace(&mut previous.next, place);
        } else {
            self.missing -= 1;
        }
        *last = place;
        self.found.push(Holder { pid, next });
    }
}

/// Closed numbers between open ones, beyond which the directory is listed instead.
const GAPS_MAX: u32 = 64;

enum Descriptor {
    Socket(u32),
    Other,
    Closed,
}

/// A number as a path.
struct Digits {
    room: [u8; 11],
    start: usize,
}

impl Digits {
    fn new(number: u32) -> Self {
        let mut room = [0; 11];
        let mut start = room.len() - 1;
        let mut rest = number;
        loop {
            start -= 1;
            room[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return Digits { room, start };
            }
        }
    }
}

impl std::ops::Deref for Digits {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        self.room.get(self.start..).and_then(|digits| CStr::from_bytes_until_nul(digits).ok()).unwrap_or_default()
    }
}

/// What is behind a descriptor's link; a socket's reads `socket:[4242]`.
fn socket_inode(directory: BorrowedFd<'_>, name: &CStr) -> Result<Descriptor, Errno> {
    let mut room = [MaybeUninit::<u8>::uninit(); 64];
    let target = match rustix::fs::readlinkat_raw(directory, name, &mut room) {
        Ok((target, _)) => &*target,
        Err(Errno::NOENT) => return Ok(Descriptor::Closed),
        Err(error) => return Err(error),
    };
    let digits = target.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
    let inode = digits.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    Ok(inode.map_or(Descriptor::Other, Descriptor::Socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn inode(listener: &TcpListener) -> u32 {
        u32::try_from(rustix::fs::fstat(listener).unwrap().st_ino).unwrap()
    }

    fn found(inodes: &[u32]) -> Holders {
        holders(inodes, Some(&[std::process::id()]))
    }

    #[test]
    fn numbers_are_paths() {
        for number in [0, 9, 10, 4711, u32::MAX] {
            assert_eq!(Digits::new(number).to_str().unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_socket_held_twice_has_one_holder_and_zero_has_none() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let _twice = listener.try_clone().unwrap();
        let found = found(&[inode(&listener), 0, u32::MAX]);
        assert_eq!(found.of(inode(&listener)).collect::<Vec<_>>(), [std::process::id()]);
        assert_eq!((found.of(0).count(), found.of(u32::MAX).count()), (0, 0));
    }

    #[test]
    fn a_child_behind_the_first_holder_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (own, inode) = (std::process::id(), inode(&listener));
        let order = [own, child.id()];
        let with_children = walk(&order, &[inode], true, &|pid| (pid == order[1]).then_some(own));
        let first_alone = walk(&order, &[inode], true, &|_| None);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(with_children.of(inode).collect::<Vec<_>>(), order);
        assert_eq!(first_alone.of(inode).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn a_descriptor_behind_a_wide_gap_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let far = rustix::io::fcntl_dupfd_cloexec(&listener, 900).unwrap();
        let inode = inode(&listener);
        drop(listener);
        assert_eq!(found(&[inode]).of(inode).collect::<Vec<_>>(), [std::process::id()]);
        drop(far);
    }
}
