//! The program that the kernel runs for every descriptor of every process: what it must know of the kernel's structures,
//! and its instructions.
//!
//! It answers with a [`Record`] for each socket. It looks and writes nothing but that. What must not live here: what the
//! records mean.

use super::btf::{Id, Types};
use mxray_sys::bpf::Instruction;

/// The place in the kernel that an iterator over descriptors is attached to: since Linux 5.8, as
/// `bpf_iter_task_file(struct bpf_iter_meta *, struct task_struct *, u32 fd, struct file *)`.
const FUNCTION: &str = "bpf_iter_task_file";

/// The kernel's helpers (`__BPF_FUNC_MAPPER` of linux/bpf.h).
const GET_CURRENT_TASK: i32 = 35;
const PROBE_READ_KERNEL: i32 = 113;
const SEQ_WRITE: i32 = 127;

/// Process namespaces nest 32 deep (`MAX_PID_NS_LEVEL`).
const LEVEL_MASK: i32 = 31;

/// One socket in one process: the inode's number, and the process as the reader's namespace numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub inode: u64,
    pub pid: u32,
}

impl Record {
    /// Its length as the program writes it.
    pub const BYTES: usize = 16;

    pub fn new(bytes: &[u8; Record::BYTES]) -> Self {
        let [i0, i1, i2, i3, i4, i5, i6, i7, p0, p1, p2, p3, ..] = *bytes;
        Record {
            inode: u64::from_ne_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            pid: u32::from_ne_bytes([p0, p1, p2, p3]),
        }
    }
}

/// Where things stand in this kernel's structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The number of the function that the program is attached to.
    pub function: Id,
    /// `bpf_iter_meta.seq`
    seq: i16,
    /// `file.f_inode`
    inode: i16,
    /// `inode.i_mode`, `inode.i_ino`
    mode: i16,
    number: i16,
    /// `task_struct.pid`, `.tgid`, `.thread_pid`
    thread: i16,
    process: i16,
    thread_pid: i16,
    /// `pid.level`
    level: i16,
    /// `pid.numbers[0].nr`, and how far the next is from it
    numbers: i16,
    stride: i16,
}

impl Layout {
    /// From the function's own parameters on: these are the types that the kernel's verifier goes by. `None`: this kernel
    /// has no such iterator, or its structures are others than those of Linux 5.8 to 6.x.
    pub fn new(types: &Types<'_>) -> Option<Self> {
        let function = types.function(FUNCTION)?;
        let behind = |number| types.pointee(types.parameter(function, number)?);
        let (meta, task, file) = (behind(0)?, behind(1)?, behind(3)?);
        let pointer = |structure, name| {
            let member = types.member(structure, name)?;
            Some((i16::try_from(member.offset).ok()?, types.pointee(member.kind)?))
        };
        let integer = |structure, name, bytes| {
            let member = types.member(structure, name).filter(|member| types.bytes(member.kind) == Some(bytes))?;
            i16::try_from(member.offset).ok()
        };
        let (seq, _) = pointer(meta, "seq")?;
        let (inode, inode_kind) = pointer(file, "f_inode")?;
        let (thread_pid, pid) = pointer(task, "thread_pid")?;
        let numbers = types.member(pid, "numbers")?;
        let upid = types.element(numbers.kind)?;
        Some(Layout {
            function,
            seq,
            inode,
            mode: integer(inode_kind, "i_mode", 2)?,
            number: integer(inode_kind, "i_ino", 8)?,
            thread: integer(task, "pid", 4)?,
            process: integer(task, "tgid", 4)?,
            thread_pid,
            level: integer(pid, "level", 4)?,
            numbers: i16::try_from(numbers.offset).ok()?.checked_add(integer(upid, "nr", 4)?)?,
            stride: i16::try_from(types.bytes(upid)?).ok()?,
        })
    }

    /// The program for it.
    pub fn program(&self) -> Vec<Instruction> {
        let mut code = Code::default();
        // The context's four fields are eight bytes each.
        code.put(MOVE, R6, R1, 0, 0);
        code.put(LOAD_8, R7, R6, 24, 0);
        code.unless(EQUAL, R7, 0);
        code.put(LOAD_8, R8, R6, 8, 0);
        code.unless(EQUAL, R8, 0);
        // A thread that has descriptors of its own is shown by /proc/PID/fd as little; before Linux 5.10, each thread
        // comes by with those of its process.
        code.put(LOAD_4, R1, R8, self.thread, 0);
        code.put(LOAD_4, R2, R8, self.process, 0);
        code.unless(NOT_EQUAL_REGISTER, R1, 0);
        // (mode & S_IFMT) == S_IFSOCK
        code.put(LOAD_8, R9, R7, self.inode, 0);
        code.put(LOAD_2, R1, R9, self.mode, 0);
        code.put(AND, R1, R0, 0, 0o170_000);
        code.unless(NOT_EQUAL, R1, 0o140_000);
        // The record: its pid is a zero for now.
        code.put(LOAD_8, R1, R9, self.number, 0);
        code.put(STORE_8, R10, R1, RECORD, 0);
        code.put(STORE_8_IMMEDIATE, R10, R0, RECORD + 8, 0);
        // How deep the reader's namespace is: the program runs in the reader's name.
        code.call(GET_CURRENT_TASK);
        code.put(MOVE, R3, R0, 0, 0);
        code.read(POINTER, 8, self.thread_pid);
        code.put(LOAD_8, R3, R10, POINTER, 0);
        code.read(LEVEL, 4, self.level);
        // The process's number at that depth.
        code.put(LOAD_4, R1, R10, LEVEL, 0);
        code.put(AND, R1, R0, 0, LEVEL_MASK);
        code.put(MULTIPLY, R1, R0, 0, i32::from(self.stride));
        code.put(LOAD_8, R3, R8, self.thread_pid, 0);
        code.put(ADD_REGISTER, R3, R1, 0, 0);
        code.read(RECORD + 8, 4, self.numbers);
        code.put(LOAD_8, R1, R6, 0, 0);
        code.put(LOAD_8, R1, R1, self.seq, 0);
        code.put(MOVE, R2, R10, 0, 0);
        code.put(ADD, R2, R0, 0, i32::from(RECORD));
        code.put(MOVE_IMMEDIATE, R3, R0, 0, Record::BYTES as i32);
        code.call(SEQ_WRITE);
        code.end()
    }
}

/// Places below the frame's end.
const RECORD: i16 = -16;
const POINTER: i16 = -24;
const LEVEL: i16 = -32;

/// Registers: R0 has a call's answer, R1 to R5 its arguments, R6 to R9 outlive it, R10 is the frame's end.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R6: u8 = 6;
const R7: u8 = 7;
const R8: u8 = 8;
const R9: u8 = 9;
const R10: u8 = 10;

/// Codes of instructions (Documentation/bpf/standardization/instruction-set.rst), of 64 bits where nothing is said.
const LOAD_2: u8 = 0x69;
const LOAD_4: u8 = 0x61;
const LOAD_8: u8 = 0x79;
const STORE_8: u8 = 0x7b;
const STORE_8_IMMEDIATE: u8 = 0x7a;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const ADD: u8 = 0x07;
const ADD_REGISTER: u8 = 0x0f;
const MULTIPLY: u8 = 0x27;
const AND: u8 = 0x57;
const EQUAL: u8 = 0x15;
const NOT_EQUAL: u8 = 0x55;
const NOT_EQUAL_REGISTER: u8 = 0x5d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

#[derive(Default)]
struct Code {
    instructions: Vec<Instruction>,
    /// Jumps to the end, which is not known yet.
    jumps: Vec<usize>,
}

impl Code {
    fn put(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }

    fn call(&mut self, helper: i32) {
        self.put(CALL, R0, R0, 0, helper);
    }

    /// To the end where this holds of the register: against `immediate`, or against R2.
    fn unless(&mut self, condition: u8, register: u8, immediate: i32) {
        self.jumps.push(self.instructions.len());
        let other = if condition == NOT_EQUAL_REGISTER { R2 } else { R0 };
        self.put(condition, register, other, 0, immediate);
    }

    /// Copies bytes that are `offset` behind R3 to a place below the frame's end; to the end of the program where that
    /// fails.
    fn read(&mut self, place: i16, bytes: i32, offset: i16) {
        self.put(ADD, R3, R0, 0, i32::from(offset));
        self.put(MOVE, R1, R10, 0, 0);
        self.put(ADD, R1, R0, 0, i32::from(place));
        self.put(MOVE_IMMEDIATE, R2, R0, 0, bytes);
        self.call(PROBE_READ_KERNEL);
        self.unless(NOT_EQUAL, R0, 0);
    }

    /// 0 means: on to the next object.
    fn end(mut self) -> Vec<Instruction> {
        let end = self.instructions.len();
        for jump in self.jumps {
            if let Some(instruction) = self.instructions.get_mut(jump) {
                // A jump of 0 goes to the instruction behind it.
                instruction.offset = i16::try_from(end - jump - 1).unwrap_or(i16::MAX);
            }
        }
        self.jumps = Vec::new();
        self.put(MOVE_IMMEDIATE, R0, R0, 0, 0);
        self.put(EXIT, R0, R0, 0, 0);
        self.instructions
    }
}
