//! BPF iterators: a program that the kernel runs once for each of its objects while somebody reads (bpf(2), Linux 5.8).
//!
//! rustix and nix have no bpf(2): the second `unsafe` block of the workspace. A program is loaded for as long as its
//! [`Iterator`] lives, and gone with it: nothing is pinned. What a program looks at is not known here.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// linux/bpf.h: commands, the kind of program, the place that it is attached to.
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_ITER: u32 = 28;
/// With its closing zero (`BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;

/// One instruction, as the kernel takes it (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u8,
    /// The destination in one half, the source in the other.
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

/// A program that is loaded and attached.
#[derive(Debug)]
pub struct Iterator {
    link: OwnedFd,
}

/// What bpf(2) reads of its caller's memory. Padding is spelt out: all of it is initialised.
trait Attributes {}

/// As long as Linux 5.8 knows it: a later kernel takes what is missing for zero.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_BYTES],
    interface: u32,
    attach_place: u32,
    types: u32,
    function_record_bytes: u32,
    functions: u64,
    function_count: u32,
    line_record_bytes: u32,
    lines: u64,
    line_count: u32,
    attach_type_id: u32,
    attach_program: u32,
    padding: u32,
}

#[repr(C)]
struct Link {
    program: RawFd,
    target: u32,
    attach_place: u32,
    flags: u32,
}

#[repr(C)]
struct Begin {
    link: RawFd,
    flags: u32,
}

impl Attributes for Load {}
impl Attributes for Link {}
impl Attributes for Begin {}

impl Iterator {
    /// Loads a program and attaches it to the kernel's function `bpf_iter_…` that has this number among the kernel's types.
    ///
    /// The kernel verifies the program before it takes it: one that could read or write outside of its bounds, or not end,
    /// is refused. `name` shows in lists of loaded programs (15 bytes of it), `licence` decides which of the kernel's
    /// functions it may call.
    ///
    /// # Errors
    /// As the kernel gave it: no permission (`CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`), no such call, or a program
    /// that it does not take.
    pub fn load(name: &str, licence: &CStr, instructions: &[Instruction], function: u32) -> io::Result<Self> {
        let count = u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut room = [0; NAME_BYTES];
        for (place, byte) in room.iter_mut().take(NAME_BYTES - 1).zip(name.bytes()) {
            *place = byte;
        }
        let program = call(
            PROG_LOAD,
            &Load {
                kind: PROG_TYPE_TRACING,
                instruction_count: count,
                instructions: instructions.as_ptr().addr() as u64,
                licence: licence.as_ptr().addr() as u64,
                log_level: 0,
                log_bytes: 0,
                log: 0,
                kernel_version: 0,
                flags: 0,
                name: room,
                interface: 0,
                attach_place: TRACE_ITER,
                types: 0,
                function_record_bytes: 0,
                functions: 0,
                function_count: 0,
                line_record_bytes: 0,
                lines: 0,
                line_count: 0,
                attach_type_id: function,
                attach_program: 0,
                padding: 0,
            },
        )?;
        // The link holds the program from here on.
        let link = Link { program: program.as_raw_fd(), target: 0, attach_place: TRACE_ITER, flags: 0 };
        Ok(Iterator { link: call(LINK_CREATE, &link)? })
    }

    /// Begins a run over all objects: what the program writes is read from the file, up to its end.
    ///
    /// # Errors
    /// As the kernel gave it.
    pub fn begin(&self) -> io::Result<File> {
        Ok(call(ITER_CREATE, &Begin { link: self.link.as_raw_fd(), flags: 0 })?.into())
    }
}

/// A command of bpf(2) that answers with a new descriptor; the kernel closes each of these on exec.
fn call<A: Attributes>(command: libc::c_int, attributes: &A) -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "bpf(2) reads a structure by pointer; rustix and nix have no safe call for it")]
    // SAFETY: the pointer leads to `size_of::<A>()` initialised bytes in the kernel's own layout, and the addresses in
    // them to slices that the caller borrows beyond this call; the kernel reads them, writes none of them, and keeps no
    // reference. The three commands answer with a new descriptor, or -1: it is nobody else's.
    unsafe {
        let answer = libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<A>());
        match RawFd::try_from(answer) {
            Ok(descriptor) if descriptor >= 0 => Ok(OwnedFd::from_raw_fd(descriptor)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_have_the_kernels_layout() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!((offset_of!(Load, name), offset_of!(Load, attach_place)), (48, 68));
        assert_eq!((offset_of!(Load, attach_type_id), size_of::<Load>()), (108, 120));
        assert_eq!((size_of::<Link>(), size_of::<Begin>()), (16, 8));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        // Without one instruction, on any kernel and with any privilege.
        let error = Iterator::load("mxray_test", c"Dual MIT/GPL", &[], 1).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
