//! All sockets of all processes in one go: a BPF iterator over descriptors, for where the walk over `/proc/PID/fd` would
//! take a system call for each of very many.
//!
//! It stands in for that walk where it pays and where it is permitted; wherever the kernel refuses it, it was never there.
//! `btf` reads the kernel's description of its structures, `program` has the instructions. What must not live here: who
//! holds what (that is `holders`).

pub mod btf;
pub mod program;

use crate::read;
use mxray_sys::bpf;
use mxray_sys::capability;
use program::{Layout, Record};
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

/// The kernel's description of its own types: some 5 MiB.
const TYPES: &str = "/sys/kernel/btf/vmlinux";
const TYPES_BYTES_MAX: u64 = 64 << 20;
/// As lists of loaded programs show it.
const NAME: &str = "mxray_sockets";
/// The kernel lends its functions for reading and writing to programs under the GPL alone. This one is ours, and under MIT
/// too; "MIT" by itself would not do.
const LICENCE: &std::ffi::CStr = c"Dual MIT/GPL";
/// The kernel gives 32 KiB at a time (`bpf_seq_read`).
const READ_BYTES: usize = 64 * 1024;
/// A million descriptors without one socket among them end a read with "try again": as often as this.
const AGAIN_MAX: u32 = 1 << 12;
/// A bound, not a guess: more open sockets than fit into the memory of a machine.
const RECORDS_MAX: u64 = 1 << 32;

/// Loads the program when it is first needed, and keeps it for further looks. Nothing of it is left behind.
#[derive(Debug, Default)]
pub struct AtOnce {
    iterator: OnceCell<Option<bpf::Iterator>>,
}

impl AtOnce {
    /// Each socket of each process that this process namespace shows, in the order of their pids. `None`: it is not to be
    /// had here.
    pub(super) fn records(&self) -> Option<Records> {
        let file = self.iterator.get_or_init(load).as_ref()?.begin().ok()?;
        Some(Records::of(file))
    }
}

fn load() -> Option<bpf::Iterator> {
    if !is_allowed() {
        return None;
    }
    // Read as a whole: what is needed stands near its end, and the names behind that.
    let bytes = read::bounded(Path::new(TYPES), TYPES_BYTES_MAX).ok()?;
    let layout = Layout::new(&btf::Types::new(&bytes)?)?;
    bpf::Iterator::load(NAME, LICENCE, &layout.program(), layout.function).ok()
}

/// Whether the kernel may be asked, and would answer what `/proc` would.
fn is_allowed() -> bool {
    let path = Path::new("/proc/thread-self/status");
    let Ok(status) = read::bounded(path, read::SMALL_BYTES_MAX) else { return false };
    let Ok(capabilities) = capability::effective() else { return false };
    speaks_for_proc(&status) && suffices(|name| capabilities.contains(name))
}

/// The first field of `NSpid` is the number in the namespace that `/proc` shows, the last one that in our own: where these
/// are one, the program's answers have the numbers of `/proc`. A filter on system calls may answer an unknown one by a
/// signal that ends the process (seccomp(2)).
fn speaks_for_proc(status: &[u8]) -> bool {
    let is_unfiltered = matches!(read::status_field(status, "Seccomp"), None | Some(b"0"));
    let fields = |numbers: &[u8]| numbers.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).count();
    is_unfiltered && read::status_field(status, "NSpid").map(fields) == Some(1)
}

/// What bpf(2) asks for, and what the walk would need to see as much.
fn suffices(has: impl Fn(&str) -> bool) -> bool {
    has("cap_sys_ptrace") && (has("cap_sys_admin") || (has("cap_bpf") && has("cap_perfmon")))
}

/// What the program writes, one record after the other.
#[derive(Debug)]
pub(super) struct Records<R = File> {
    file: R,
    room: Vec<u8>,
    filled: Range<usize>,
    again: u32,
    left: u64,
}

impl<R: Read> Iterator for Records<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let waiting = self.room.get(self.filled.clone()).unwrap_or_default();
            if let Some(bytes) = waiting.first_chunk::<{ Record::BYTES }>() {
                let record = Record::new(bytes);
                self.filled.start += Record::BYTES;
                self.left = match self.left.checked_sub(1) {
                    Some(left) => left,
                    None => return Some(Err(ErrorKind::QuotaExceeded.into())),
                };
                return Some(Ok(record));
            }
            match self.fill() {
                Ok(0) if self.filled.is_empty() => return None,
                Ok(0) => return Some(Err(ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<R: Read> Records<R> {
    fn of(file: R) -> Self {
        Records { file, room: vec![0; READ_BYTES], filled: 0..0, again: AGAIN_MAX, left: RECORDS_MAX }
    }

    /// Reads more behind what is left of a record.
    fn fill(&mut self) -> io::Result<usize> {
        self.room.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        loop {
            let room = self.room.get_mut(self.filled.end..).unwrap_or_default();
            match self.file.read(room) {
                Ok(read) => {
                    self.filled.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.again > 0 => self.again -= 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
