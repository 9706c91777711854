//! The bytes of `NETLINK_SOCK_DIAG`: requests and answers, as pure functions over slices.
//!
//! Formats: linux/netlink.h, linux/inet_diag.h, linux/unix_diag.h. Nothing is copied that need not be, nothing panics
//! on any input, and a dump counts as complete only when the kernel said so: cut off bytes are an error, never a short
//! list. What must not live here: sockets (that is `dump`).

use super::socket::{Protocol, Socket, State};
use super::tcp_info;
use mxray_model::Prefix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER_BYTES: usize = 16;
/// The first form of the request, TCP alone: it lists both families in one walk over the table of connections.
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
/// The kernel's tables changed between two parts of the dump.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Both families at once, which only [`TCPDIAG_GETSOCK`] can do.
pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_UNIX: u8 = 1;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// An answer that is not what the kernel's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed at byte {at}")]
pub struct Malformed {
    pub what: &'static str,
    pub at: usize,
}

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// One socket: the bytes behind the header.
    Record { payload: &'a [u8], interrupted: bool },
    /// The dump is complete.
    Done { interrupted: bool },
    /// The kernel refuses, with its errno.
    Refused { errno: i32 },
    /// Part of the answer was dropped.
    Overrun,
}

/// Walks the messages of one datagram.
#[derive(Debug)]
pub struct Messages<'a> {
    datagram: &'a [u8],
    at: usize,
    sequence: u32,
}

impl<'a> Messages<'a> {
    /// `sequence` is the request's: answers to an older one are passed over.
    pub fn new(datagram: &'a [u8], sequence: u32) -> Self {
        Messages { datagram, at: 0, sequence }
    }

    fn message(&mut self) -> Result<Option<Message<'a>>, Malformed> {
        loop {
            let rest = self.datagram.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            let broken = Malformed { what: "a netlink message", at: self.at };
            let header: &[u8; HEADER_BYTES] = rest.first_chunk().ok_or(broken)?;
            let length = u32_at(header, 0).ok_or(broken)? as usize;
            let kind = u16_at(header, 4).ok_or(broken)?;
            let flags = u16_at(header, 6).ok_or(broken)?;
            let sequence = u32_at(header, 8).ok_or(broken)?;
            let payload = rest.get(HEADER_BYTES..length).ok_or(broken)?;
            self.at += aligned(length).min(rest.len());
            if sequence != self.sequence || kind == NLMSG_NOOP {
                continue;
            }
            let interrupted = flags & NLM_F_DUMP_INTR != 0;
            return Ok(Some(match kind {
                SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => Message::Record { payload, interrupted },
                // Since Linux 4.x the end of a dump carries its outcome; before, it may be empty.
                NLMSG_DONE => match u32_at(payload, 0).map_or(0, u32::cast_signed) {
                    0.. => Message::Done { interrupted },
                    errno => Message::Refused { errno: errno.saturating_neg() },
                },
                NLMSG_ERROR => {
                    Message::Refused { errno: u32_at(payload, 0).ok_or(broken)?.cast_signed().saturating_neg() }
                }
                NLMSG_OVERRUN => Message::Overrun,
                _ => return Err(broken),
            }));
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.message();
        if message.is_err() {
            // One error ends it: behind broken bytes there is no next message to be found.
            self.at = self.datagram.len();
        }
        message.transpose()
    }
}

/// Walks attributes: `(type, value)`.
struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        let parts = u16_at(rest, 0).zip(u16_at(rest, 2)).and_then(|(length, kind)| {
            // The upper two bits are flags (nested, byte order).
            Some((length as usize, kind & 0x3fff, rest.get(4..length as usize)?))
        });
        let Some((length, kind, value)) = parts else {
            self.at = self.bytes.len();
            return Some(Err(Malformed { what: "a netlink attribute", at }));
        };
        self.at += aligned(length).min(rest.len());
        Some(Ok((kind, value)))
    }
}

const INET_RECORD_BYTES: usize = 72;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SHUTDOWN: u16 = 8;
const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// Place of `sk_drops` in SKMEMINFO; kernels before 4.7 end before it.
const SK_MEMINFO_DROPS: usize = 8 * 4;

/// Decodes one `inet_diag_msg` with its attributes; the second value is its `tcp_info`.
///
/// # Errors
/// A record that is shorter than the kernel's struct, of another family or state, or whose attributes do not fit.
pub fn inet(protocol: Protocol, payload: &[u8]) -> Result<(Socket, &[u8]), Malformed> {
    let short = Malformed { what: "an inet_diag record", at: payload.len() };
    let record: &[u8; INET_RECORD_BYTES] = payload.first_chunk().ok_or(short)?;
    let family = record[0];
    let state = State::from_number(record[1]).ok_or(Malformed { what: "the state of an inet_diag record", at: 1 })?;
    let word = |at: usize| u32_at(record, at).unwrap_or_default();
    let port = |at: usize| word(at).to_ne_bytes();
    let [s0, s1, d0, d1] = port(4);
    let mut socket = Socket {
        protocol,
        state,
        local: address(family, record, 8)?,
        local_port: u16::from_be_bytes([s0, s1]),
        remote: address(family, record, 24)?,
        remote_port: u16::from_be_bytes([d0, d1]),
        interface: word(40),
        cookie: u64::from(word(44)) | u64::from(word(48)) << 32,
        receive_queue: word(56),
        send_queue: Some(word(60)),
        uid: word(64),
        inode: word(68),
        cgroup: None,
        v6_only: None,
        drops: None,
        shutdown: None,
        info: (0, 0),
    };
    let mut info: &[u8] = &[];
    for attribute in (Attributes { bytes: payload.get(INET_RECORD_BYTES..).unwrap_or_default(), at: 0 }) {
        let (kind, value) = attribute?;
        match kind {
            INET_DIAG_INFO => info = value.get(..tcp_info::BYTES_KEPT_MAX).unwrap_or(value),
            INET_DIAG_SKMEMINFO => socket.drops = u32_at(value, SK_MEMINFO_DROPS),
            INET_DIAG_SHUTDOWN => socket.shutdown = value.first().copied(),
            INET_DIAG_SKV6ONLY => socket.v6_only = value.first().map(|flag| *flag != 0),
            INET_DIAG_CGROUP_ID => socket.cgroup = value.first_chunk().map(|id| u64::from_ne_bytes(*id)),
            _ => {}
        }
    }
    Ok((socket, info))
}

fn address(family: u8, record: &[u8; INET_RECORD_BYTES], at: usize) -> Result<IpAddr, Malformed> {
    let bytes: Option<&[u8; 16]> = record.get(at..).and_then(<[u8]>::first_chunk);
    match (family, bytes) {
        (AF_INET, Some([a, b, c, d, ..])) => Ok(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d))),
        (AF_INET6, Some(all)) => Ok(IpAddr::V6(Ipv6Addr::from(*all))),
        _ => Err(Malformed { what: "the family of an inet_diag record", at: 0 }),
    }
}

/// One UNIX socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unix<'a> {
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5
    pub kind: u8,
    pub state: u8,
    pub inode: u32,
    pub cookie: u64,
    /// As it was bound; an abstract one begins with a zero byte.
    pub name: Option<&'a [u8]>,
    /// The file's device (in the kernel's own encoding) and the lower 32 bits of its inode.
    pub file: Option<(u32, u32)>,
    /// On a listener: who waits for `accept`, and the limit.
    pub queue: Option<(u32, u32)>,
    pub uid: Option<u32>,
}

const UNIX_RECORD_BYTES: usize = 16;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;

/// Decodes one `unix_diag_msg` with its attributes.
///
/// # Errors
/// As [`inet`].
pub fn unix(payload: &[u8]) -> Result<Unix<'_>, Malformed> {
    let short = Malformed { what: "a unix_diag record", at: payload.len() };
    let record: &[u8; UNIX_RECORD_BYTES] = payload.first_chunk().ok_or(short)?;
    if record[0] != AF_UNIX {
        return Err(Malformed { what: "the family of a unix_diag record", at: 0 });
    }
    let word = |at: usize| u32_at(record, at).unwrap_or_default();
    let mut socket = Unix {
        kind: record[1],
        state: record[2],
        inode: word(4),
        cookie: u64::from(word(8)) | u64::from(word(12)) << 32,
        name: None,
        file: None,
        queue: None,
        uid: None,
    };
    for attribute in (Attributes { bytes: payload.get(UNIX_RECORD_BYTES..).unwrap_or_default(), at: 0 }) {
        let (kind, value) = attribute?;
        match kind {
            UNIX_DIAG_NAME => socket.name = Some(value),
            UNIX_DIAG_VFS => socket.file = u32_at(value, 4).zip(u32_at(value, 0)),
            UNIX_DIAG_RQLEN => socket.queue = u32_at(value, 0).zip(u32_at(value, 4)),
            UNIX_DIAG_UID => socket.uid = u32_at(value, 0),
            _ => {}
        }
    }
    Ok(socket)
}

/// What a dump of internet sockets asks for.
#[derive(Debug, Clone, Copy)]
pub struct InetRequest<'a> {
    pub family: u8,
    pub protocol: Protocol,
    /// Bits of [`State::bit`].
    pub states: u32,
    pub tcp_info: bool,
    /// Drops and shutdown bits.
    pub memory: bool,
    /// Local or remote port is one of these; empty: any.
    pub ports: &'a [u16],
    pub peer: Option<Prefix>,
}

/// Ports beyond this many are left to our own filter: the kernel's program has 16 bit offsets.
const KERNEL_PORTS_MAX: usize = 64;

impl InetRequest<'_> {
    /// The datagram to send.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        let extension = |wanted: bool, kind: u16| if wanted { 1u8 << (kind - 1) } else { 0 };
        let extensions = extension(self.tcp_info, INET_DIAG_INFO)
            | extension(self.memory, INET_DIAG_SKMEMINFO)
            | extension(self.memory, INET_DIAG_SHUTDOWN);
        // The socket's identity (48 bytes): all zero, which asks for any; no cookie is all ones.
        let mut anyone = [0; 48];
        anyone[40..].fill(0xff);
        let kind = if self.family == AF_UNSPEC {
            out.extend_from_slice(&[self.family, 0, 0, extensions]);
            out.extend_from_slice(&anyone);
            out.extend_from_slice(&self.states.to_ne_bytes());
            out.extend_from_slice(&[0; 4]);
            TCPDIAG_GETSOCK
        } else {
            out.extend_from_slice(&[self.family, self.protocol.number(), extensions, 0]);
            out.extend_from_slice(&self.states.to_ne_bytes());
            out.extend_from_slice(&anyone);
            SOCK_DIAG_BY_FAMILY
        };
        let program = self.program();
        if !program.is_empty() {
            out.extend_from_slice(&u16_length(4 + program.len()).to_ne_bytes());
            out.extend_from_slice(&1u16.to_ne_bytes()); // INET_DIAG_REQ_BYTECODE
            out.extend_from_slice(&program);
        }
        finish(&mut out, kind, sequence);
        out
    }

    /// The filter for the kernel's little machine: each operation jumps forward, to the end (accept) or four bytes
    /// beyond it (refuse).
    fn program(&self) -> Vec<u8> {
        const D_COND: u8 = 8;
        const S_EQ: u8 = 11;
        const D_EQ: u8 = 12;
        const JUMP: u8 = 1;
        let ports = if self.ports.len() <= KERNEL_PORTS_MAX { self.ports } else { &[] };
        // Every comparison but the last is followed by a jump to the end.
        let ports_bytes = (ports.len() * 2 * 12).saturating_sub(4);
        let mut out = Vec::new();
        if let Some(peer) = self.peer {
            let (family, bytes) = match peer.address {
                IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
                IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
            };
            let own = 12 + bytes.len();
            out.extend_from_slice(&[D_COND, u8::try_from(own).unwrap_or_default()]);
            out.extend_from_slice(&u16_length(own + ports_bytes + 4).to_ne_bytes());
            out.extend_from_slice(&[family, peer.length, 0, 0]);
            out.extend_from_slice(&(-1i32).to_ne_bytes());
            out.extend_from_slice(&bytes);
        }
        let mut left = ports_bytes;
        for (code, port) in ports.iter().flat_map(|port| [(S_EQ, *port), (D_EQ, *port)]) {
            let last = left == 8;
            out.extend_from_slice(&[code, 8]);
            out.extend_from_slice(&(12u16).to_ne_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&port.to_ne_bytes());
            left -= 8;
            if !last {
                out.extend_from_slice(&[JUMP, 4]);
                out.extend_from_slice(&u16_length(left).to_ne_bytes());
                left -= 4;
            }
        }
        out
    }
}

/// A dump of UNIX sockets in `states`, with name, file, queue and user.
pub fn unix_request(states: u32, sequence: u32) -> Vec<u8> {
    const SHOW_NAME_VFS_RQLEN_UID: u32 = 0x01 | 0x02 | 0x10 | 0x40;
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(&[AF_UNIX, 0, 0, 0]);
    out.extend_from_slice(&states.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&SHOW_NAME_VFS_RQLEN_UID.to_ne_bytes());
    out.extend_from_slice(&[0xff; 8]);
    finish(&mut out, SOCK_DIAG_BY_FAMILY, sequence);
    out
}

fn finish(out: &mut [u8], kind: u16, sequence: u32) {
    let length = u32::try_from(out.len()).unwrap_or_default();
    if let Some(header) = out.first_chunk_mut::<HEADER_BYTES>() {
        header[0..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

fn u16_length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}
