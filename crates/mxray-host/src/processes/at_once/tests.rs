//! The reader of the kernel's types on whole and on broken input, the program word by word, and, where the kernel permits it, its
//! answers beside those of the walk over `/proc`.

use super::*;
use crate::processes::holders::{Holders, by_records, holders, holders_at_once};
use crate::sockets::{self, Query};
use btf::Types;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

// ---- types, made by hand ----

#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    names: Vec<u8>,
    count: u32,
}

impl Blob {
    fn name(&mut self, name: &str) -> u32 {
        let place = self.names.len() as u32;
        self.names.extend(name.bytes());
        self.names.push(0);
        place
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend(word.to_ne_bytes());
        }
    }

    /// A type with its head and the words behind it.
    fn add(&mut self, kind: u32, name: &str, count: u32, value: u32, trailer: &[u32]) -> u32 {
        let name = self.name(name);
        self.words(&[name, kind << 24 | count, value]);
        self.words(trailer);
        self.count += 1;
        self.count
    }

    /// A structure or union; members by name, type and offset in bits.
    fn structure(&mut self, kind: u32, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let trailer: Vec<u32> = members.iter().flat_map(|(name, id, bits)| [self.name(name), *id, *bits]).collect();
        self.add(kind, name, members.len() as u32, bytes, &trailer)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut blob = Blob::default();
        blob.types.extend(0xeb9f_u16.to_ne_bytes());
        blob.types.extend([1, 0]);
        let (types, names) = (self.types.len() as u32, self.names.len() as u32);
        blob.words(&[24, 0, types, types, names]);
        [blob.types, self.types.clone(), self.names.clone()].concat()
    }
}

const KIND_UNION: u32 = 5;
const KIND_STRUCT: u32 = 4;
const WITH_WIDTHS: u32 = 1 << 7 | KIND_STRUCT;

/// A kernel with one type of each kind and the structures that the program wants, as a configuration with shuffled
/// structures has them; `number` is the name of the inode's number, `wide` its bytes.
fn kernel(number: &str, wide: u32) -> Blob {
    let mut blob = Blob::default();
    blob.name("");
    let int = blob.add(1, "int", 0, 4, &[0x0100_0020]);
    let short = blob.add(1, "unsigned short", 0, 2, &[16]);
    let long = blob.add(1, "unsigned long", 0, wide, &[64]);
    blob.add(6, "colour", 2, 4, &[0, 0, 0, 1]);
    blob.add(19, "wide_colour", 1, 8, &[0, 0, 1]);
    blob.add(7, "elsewhere", 0, 0, &[]);
    blob.add(14, "jiffies", 0, long, &[1]);
    blob.add(15, ".data", 1, 8, &[7, 0, 8]);
    blob.add(16, "double", 0, 8, &[]);
    blob.add(17, "kfunc", 0, int, &[u32::MAX]);
    let pid_t = blob.add(8, "pid_t", 0, int, &[]);
    let mode = blob.add(8, "umode_t", 0, short, &[]);
    let namespace = blob.add(2, "", 0, 6, &[]);
    let upid = blob.structure(KIND_STRUCT, "upid", 16, &[("nr", int, 0), ("ns", namespace, 64)]);
    let upids = blob.add(3, "", 0, 0, &[upid, int, 0]);
    let pid = blob.structure(KIND_STRUCT, "pid", 96, &[("level", int, 32), ("numbers", upids, 96 * 8)]);
    let inode =
        blob.structure(KIND_STRUCT, "inode", 600, &[("i_mode", mode, 0), ("i_flags", int, 96), (number, long, 512)]);
    let inode_pointer = blob.add(2, "", 0, inode, &[]);
    let file = blob.structure(KIND_STRUCT, "file", 200, &[("f_mode", int, 96), ("f_inode", inode_pointer, 256)]);
    let pid_pointer = blob.add(2, "", 0, pid, &[]);
    let constant = blob.add(10, "", 0, pid_pointer, &[]);
    let shuffled = blob.structure(
        WITH_WIDTHS,
        "",
        96,
        &[("in_execve", int, 1 << 24 | 3), ("pid", pid_t, 64), ("tgid", pid_t, 96), ("thread_pid", constant, 256)],
    );
    let task = blob.structure(KIND_STRUCT, "task_struct", 9000, &[("state", int, 0), ("", shuffled, 2400 * 8)]);
    let seq_file = blob.structure(KIND_STRUCT, "seq_file", 120, &[]);
    let seq = blob.add(2, "", 0, seq_file, &[]);
    let either = blob.structure(KIND_UNION, "", 8, &[("seq", seq, 0), ("", long, 0)]);
    let meta = blob.structure(KIND_STRUCT, "bpf_iter_meta", 24, &[("", either, 0), ("session_id", long, 64)]);
    let mut pointers = [meta, task, file].map(|id| blob.add(2, "", 0, id, &[]));
    // Types may come before those that they are made of.
    pointers[2] = blob.add(9, "", 0, pointers[2], &[]);
    let [meta, task, file] = pointers;
    let prototype = blob.add(13, "", 4, int, &[0, meta, 0, task, 0, int, 0, file]);
    blob.add(12, "bpf_iter_task", 1, prototype, &[]);
    blob.add(12, "bpf_iter_task_file", 1, prototype, &[]);
    blob
}

fn layout(bytes: &[u8]) -> Option<Layout> {
    Layout::new(&Types::new(bytes)?)
}

#[test]
fn types_are_found_by_name_also_within_members_without_one() {
    let bytes = kernel("i_ino", 8).bytes();
    let types = Types::new(&bytes).unwrap();
    let function = types.function("bpf_iter_task_file").unwrap();
    let structure = |number| types.pointee(types.parameter(function, number).unwrap()).unwrap();
    let task = structure(1);
    let offset = |name| types.member(task, name).map(|member| member.offset);
    assert_eq!((offset("pid"), offset("thread_pid"), offset("state")), (Some(2408), Some(2432), Some(0)));
    assert_eq!((offset("in_execve"), offset("pi"), offset("pid_t")), (None, None, None));
    assert_eq!(types.bytes(types.member(structure(3), "f_mode").unwrap().kind), Some(4));
    let pid = types.pointee(types.member(task, "thread_pid").unwrap().kind).unwrap();
    let upid = types.element(types.member(pid, "numbers").unwrap().kind).unwrap();
    assert_eq!((types.bytes(upid), types.member(upid, "nr").map(|member| member.offset)), (Some(16), Some(0)));
    assert_eq!((types.parameter(function, 4), types.parameter(task, 0), types.pointee(task)), (None, None, None));
    assert_eq!((types.function("bpf_iter"), types.function("task_struct"), types.bytes(0)), (None, None, None));
}

#[test]
fn a_kernel_that_is_another_gets_no_program() {
    assert!(layout(&kernel("i_ino", 8).bytes()).is_some());
    assert_eq!(layout(&kernel("i_number", 8).bytes()), None);
    assert_eq!(layout(&kernel("i_ino", 4).bytes()), None);
    let whole = kernel("i_ino", 8).bytes();
    for cut in 0..whole.len() {
        assert!(layout(&whole[..cut]).is_none());
    }
    let changed = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        layout(&bytes)
    };
    // Magic, version, the header's length, a kind that there is not yet.
    assert_eq!([changed(0, 0), changed(2, 2), changed(4, 8), changed(24 + 7, 0x1e)], [None; 4]);
}

#[test]
fn types_in_circles_come_to_an_end() {
    let mut blob = Blob::default();
    blob.name("");
    blob.add(8, "a", 0, 2, &[]);
    blob.add(8, "b", 0, 1, &[]);
    let own = blob.count + 1;
    let members = [("", own, 0); 40];
    blob.structure(KIND_STRUCT, "round", 8, &members);
    let bytes = blob.bytes();
    let types = Types::new(&bytes).unwrap();
    assert_eq!((types.bytes(1), types.pointee(2), types.member(own, "x")), (None, None, None));
}

/// What the fuzz target begins with.
#[test]
fn the_kernel_made_by_hand_is_the_fixture() {
    let fixture: String = include_str!("../../../fixtures/kernel-types.hex").split_whitespace().collect();
    let bytes: String = kernel("i_ino", 8).bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(fixture == bytes || cfg!(target_endian = "big"), "{bytes}");
}

// ---- what the program writes ----

/// Gives a few bytes at a time, with interruptions.
struct Pieces(Vec<Result<Vec<u8>, ErrorKind>>);

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let bytes = self.0.remove(0)?;
        room[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

fn written(inode: u64, pid: u32) -> Vec<u8> {
    [&inode.to_ne_bytes()[..], &pid.to_ne_bytes(), &[0; 4]].concat()
}

#[test]
fn records_are_read_whole_however_the_kernel_cuts_them() {
    let bytes = [written(1 << 40, 7), written(5, u32::MAX)].concat();
    let mut pieces: Vec<_> = bytes.chunks(5).map(|piece| Ok(piece.to_vec())).collect();
    pieces.insert(2, Err(ErrorKind::WouldBlock));
    pieces.insert(0, Err(ErrorKind::Interrupted));
    let records: Result<Vec<Record>, _> = Records::of(Pieces(pieces)).collect();
    let wanted = [Record { inode: 1 << 40, pid: 7 }, Record { inode: 5, pid: u32::MAX }];
    assert_eq!(records.unwrap(), wanted);
}

#[test]
fn a_broken_end_is_an_error() {
    let error = |pieces| Records::of(Pieces(pieces)).find_map(Result::err).map(|error| error.kind());
    assert_eq!(error(vec![Ok(written(1, 1)), Ok(vec![0; 15])]), Some(ErrorKind::UnexpectedEof));
    assert_eq!(error(vec![Ok(written(1, 1)), Err(ErrorKind::Other)]), Some(ErrorKind::Other));
    let again = (0..=AGAIN_MAX).map(|_| Err(ErrorKind::WouldBlock)).collect();
    assert_eq!(error(again), Some(ErrorKind::WouldBlock));
}

#[test]
fn it_is_asked_only_where_it_may_and_speaks_of_what_proc_shows() {
    assert!(speaks_for_proc(b"Pid:\t7\nNSpid:\t7\nSeccomp:\t0\n") && speaks_for_proc(b"NSpid:\t7\n"));
    for other in ["NSpid:\t70\t7\n", "NSpid:\t7\nSeccomp:\t2\n", "NSpid:\t7\nSeccomp:\t1\n", "Pid:\t7\n"] {
        assert!(!speaks_for_proc(other.as_bytes()), "{other}");
    }
    let with = |own: &[&str]| suffices(|name| own.contains(&name));
    assert!(with(&["cap_sys_ptrace", "cap_sys_admin"]) && with(&["cap_sys_ptrace", "cap_bpf", "cap_perfmon"]));
    assert!(!with(&["cap_sys_ptrace", "cap_bpf"]) && !with(&["cap_sys_admin"]) && !with(&[]));
}

// ---- this machine's kernel ----

fn skip(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
}

/// Why the kernel does not take the program here; `None`: it does.
fn refusal() -> Option<String> {
    if !is_allowed() {
        return Some("needs cap_sys_ptrace, cap_bpf, cap_perfmon, and no filter on system calls".to_owned());
    }
    let Ok(bytes) = read::bounded(Path::new(TYPES), TYPES_BYTES_MAX) else {
        return Some(format!("there is no {TYPES}"));
    };
    let layout = layout(&bytes).expect("a kernel whose structures are others than known");
    let error = bpf::Iterator::load(NAME, LICENCE, &layout.program(), layout.function).err()?;
    // Whoever may load programs is not refused this one.
    let is_policy = matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported);
    assert!(is_policy && error.raw_os_error() != Some(rustix::io::Errno::ACCESS.raw_os_error()), "{error}");
    Some(error.to_string())
}

/// BPF's descriptors of this process, and whether each is closed on exec.
fn own_descriptors() -> Vec<bool> {
    let numbers =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    numbers
        .filter(|number| {
            std::fs::read_link(format!("/proc/self/fd/{number}"))
                .is_ok_and(|link| link.to_string_lossy().contains("bpf"))
        })
        .filter_map(|number| std::fs::read(format!("/proc/self/fdinfo/{number}")).ok())
        .map(|info| {
            let flags = std::str::from_utf8(read::status_field(&info, "flags").unwrap()).unwrap().to_owned();
            i32::from_str_radix(&flags, 8).unwrap() & rustix::fs::OFlags::CLOEXEC.bits().cast_signed() != 0
        })
        .collect()
}

fn inode(socket: impl AsFd) -> u32 {
    u32::try_from(rustix::fs::fstat(socket).unwrap().st_ino).unwrap()
}

/// The holders of each inode, without processes whose descriptors the walk may not read.
fn seen(holders: &Holders, inodes: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let hidden: BTreeSet<u32> = holders
        .pids()
        .into_iter()
        .filter(|pid| {
            let Ok(list) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return true };
            list.flatten().any(|entry| {
                std::fs::read_link(entry.path()).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
            })
        })
        .collect();
    inodes.iter().map(|inode| (*inode, holders.of(*inode).filter(|pid| !hidden.contains(pid)).collect())).collect()
}

#[test]
fn it_says_what_the_walk_says() {
    const TEST: &str = "it_says_what_the_walk_says";
    let at_once = AtOnce::default();
    let (tcp, udp) = (TcpListener::bind(("127.0.0.1", 0)).unwrap(), UdpSocket::bind(("127.0.0.1", 0)).unwrap());
    // Enough to have it asked, where it is permitted; of the others nobody has a descriptor.
    let many: Vec<u32> = (0..10_000).map(|number| u32::MAX - 2 - number).chain([inode(&tcp)]).collect();
    let held = holders_at_once(&many, &at_once);
    assert_eq!(
        (seen(&held, &[inode(&tcp)])[&inode(&tcp)].contains(&std::process::id()), held.of(many[0]).count()),
        (true, 0)
    );
    if let Some(why) = refusal() {
        assert_eq!(held.blind, holders(&many, None).blind);
        return skip(TEST, &why);
    }
    let path = std::env::temp_dir().join(format!("mxray-at-once-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _twice = tcp.try_clone().unwrap();
    rustix::io::fcntl_setfd(&udp, rustix::io::FdFlags::empty()).unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let own = [inode(&tcp), inode(&udp), inode(&unix)];
    let all = sockets::scan(&Query { tcp: true, udp: true, ..Query::default() }).unwrap().sockets;
    let all: Vec<u32> = all.iter().map(|socket| socket.inode).filter(|inode| *inode != 0).chain(own).collect();
    // What else runs here opens, closes and inherits sockets meanwhile: each is looked at until two walks around the
    // look agree on it, and the look with them.
    for inodes in [&own[..], &all] {
        let mut left = inodes.to_vec();
        for _ in 0..200 {
            let walked = seen(&holders(inodes, None), inodes);
            let asked = seen(&by_records(inodes, || at_once.records()).unwrap(), inodes);
            let again = seen(&holders(inodes, None), inodes);
            assert!(asked[&own[0]].contains(&std::process::id()), "{asked:?}");
            left.retain(|inode| walked[inode] != again[inode] || walked[inode] != asked[inode]);
            if left.is_empty() {
                break;
            }
        }
        assert_eq!(left, Vec::<u32>::new());
    }
    // Of these not all have a holder, so nobody stopped early.
    let shared = seen(&by_records(&all, || at_once.records()).unwrap(), &[own[1]]);
    assert!(shared[&own[1]].contains(&child.id()), "{shared:?}");
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(own_descriptors(), [true]);
    drop(at_once);
    assert!(own_descriptors().is_empty());
}

#[test]
fn in_another_namespace_processes_have_its_numbers() {
    const TEST: &str = "in_another_namespace_processes_have_its_numbers";
    let run = |arguments: &[&str]| {
        Command::new("/usr/bin/unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc"])
            .arg(std::env::current_exe().unwrap())
            .args(arguments)
            .output()
    };
    if !run(&["--list"]).is_ok_and(|output| output.status.success()) {
        return skip(TEST, "unshare is not permitted or not installed");
    }
    let output = run(&["--ignored", "--exact", "processes::at_once::tests::as_process_1", "--nocapture"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    if let Some((_, why)) = said.split_once("skipped: ") {
        skip(TEST, why.lines().next().unwrap_or_default());
    }
}

#[test]
#[ignore = "run behind unshare --pid by in_another_namespace_processes_have_its_numbers"]
fn as_process_1() {
    if let Some(why) = refusal() {
        return skip("as_process_1", &why);
    }
    let (shared, own) = (TcpListener::bind(("127.0.0.1", 0)).unwrap(), UdpSocket::bind(("127.0.0.1", 0)).unwrap());
    rustix::io::fcntl_setfd(&shared, rustix::io::FdFlags::empty()).unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let inodes = [inode(&shared), inode(&own)];
    let records: Vec<Record> = AtOnce::default().records().unwrap().map(Result::unwrap).collect();
    let of = |inode: u32| -> Vec<u32> {
        records.iter().filter(|record| record.inode == u64::from(inode)).map(|record| record.pid).collect()
    };
    assert_eq!((std::process::id(), of(inodes[0]), of(inodes[1])), (1, vec![1, child.id()], vec![1]));
    drop(child.stdin.take());
    child.wait().unwrap();
}
