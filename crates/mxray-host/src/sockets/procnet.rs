//! The fallback where netlink is refused: `/proc/net/{tcp,tcp6,udp,udp6,unix}`, parsed as pure functions over bytes.
//!
//! These files have no cgroups, no accept-queue limits, no TCP drops, no ages and no cookies; those stay unknown.

use super::socket::{Protocol, Socket, State};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A line that is not what the kernel writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not understood")]
pub struct BadLine {
    pub line: usize,
    pub text: Vec<u8>,
}

/// Hands every socket of a `/proc/net/tcp`-like file to `with`.
///
/// # Errors
/// The first line that does not parse: half a table would look like missing listeners.
pub fn inet(protocol: Protocol, text: &[u8], mut with: impl FnMut(Socket)) -> Result<(), BadLine> {
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate().skip(1) {
        // Without its line break it is cut off, perhaps inside a number.
        match line.strip_suffix(b"\n").and_then(|whole| inet_line(protocol, whole)) {
            Some(socket) => with(socket),
            None => return Err(BadLine { line: number + 1, text: line.to_vec() }),
        }
    }
    Ok(())
}

fn inet_line(protocol: Protocol, line: &[u8]) -> Option<Socket> {
    let text = std::str::from_utf8(line).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let _slot = fields.next()?;
    let (local, local_port) = end(fields.next()?)?;
    let (remote, remote_port) = end(fields.next()?)?;
    let state = State::from_number(u8::from_str_radix(fields.next()?, 16).ok()?)?;
    let (send, receive) = fields.next()?.split_once(':')?;
    let _timer = fields.next()?;
    let _retransmits = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let _timeout = fields.next()?;
    let inode = fields.next()?.parse().ok()?;
    // Behind the inode: reference count and address; UDP ends with its drops.
    let drops = match protocol {
        Protocol::Udp => fields.nth(2).and_then(|drops| drops.parse().ok()),
        Protocol::Tcp => None,
    };
    let send = u32::from_str_radix(send, 16).ok()?;
    Some(Socket {
        protocol,
        state,
        local,
        local_port,
        remote,
        remote_port,
        interface: 0,
        uid,
        inode,
        receive_queue: u32::from_str_radix(receive, 16).ok()?,
        send_queue: (state != State::Listen).then_some(send),
        cookie: 0,
        cgroup: None,
        v6_only: None,
        drops,
        shutdown: None,
        info: (0, 0),
    })
}

/// `0100007F:0019`: each 32 bit word of the address as this machine's number.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    let mut words = 0;
    for (word, place) in address.as_bytes().chunks(8).zip(bytes.chunks_exact_mut(4)) {
        let number = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        place.copy_from_slice(&number.to_ne_bytes());
        words += 1;
    }
    let [a, b, c, d, ..] = bytes;
    match (address.len(), words) {
        (8, 1) => Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)),
        (32, 4) => Some((IpAddr::V6(Ipv6Addr::from(bytes)), port)),
        _ => None,
    }
}

/// A listening UNIX stream socket: inode and path as bound (abstract ones begin with `@` here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixLine<'a> {
    pub inode: u32,
    pub path: &'a [u8],
}

/// Hands every listening stream socket of `/proc/net/unix` that has a name to `with`.
///
/// A path may hold a line break, so a line that does not parse is taken for the rest of the path before it.
pub fn unix(text: &[u8], mut with: impl FnMut(UnixLine<'_>)) {
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        if let Some(socket) = unix_line(line) {
            with(socket);
        }
    }
}

fn unix_line(line: &[u8]) -> Option<UnixLine<'_>> {
    const ACCEPTS_CONNECTIONS: u32 = 0x1_0000;
    const STREAM: u32 = 1;
    // "Num: RefCount Protocol Flags Type St Inode Path"; the path may hold blanks.
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let word = rest.get(start..)?;
        let length = word.iter().position(|byte| *byte == b' ').unwrap_or(word.len());
        let (word, after) = word.split_at_checked(length)?;
        rest = after;
        std::str::from_utf8(word).ok()
    };
    field()?.strip_suffix(':')?;
    let _references = field()?;
    let _protocol = field()?;
    let flags = u32::from_str_radix(field()?, 16).ok()?;
    let kind = u32::from_str_radix(field()?, 16).ok()?;
    let _state = field()?;
    let inode = field()?.parse().ok()?;
    let path = rest.strip_prefix(b" ").filter(|path| !path.is_empty())?;
    (flags & ACCEPTS_CONNECTIONS != 0 && kind == STREAM).then_some(UnixLine { inode, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0019 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 4242 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0019 0100007F:8001 01 00000002:00000005 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
";

    #[test]
    fn a_listener_and_one_that_waits_for_it() {
        let mut seen = Vec::new();
        inet(Protocol::Tcp, TCP, |socket| seen.push(socket)).unwrap();
        let [listener, waiting] = seen[..] else { panic!("{seen:?}") };
        assert_eq!((listener.state, listener.local_port, listener.uid), (State::Listen, 25, 1000));
        assert_eq!((listener.inode, listener.receive_queue, listener.send_queue), (4242, 3, None));
        assert_eq!(listener.local, "127.0.0.1".parse::<IpAddr>().unwrap());
        assert!(waiting.waits_for_accept() && !listener.waits_for_accept());
        assert_eq!((waiting.receive_queue, waiting.send_queue), (5, Some(2)));
    }

    #[test]
    fn six_and_udp() {
        let text = b"header
 10: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 9
";
        let mut seen = Vec::new();
        inet(Protocol::Udp, text, |socket| seen.push(socket)).unwrap();
        assert_eq!(seen[0].local, "::1".parse::<IpAddr>().unwrap());
        assert_eq!((seen[0].local_port, seen[0].drops, seen[0].inode), (53, Some(9), 77));
    }

    #[test]
    fn every_cut_inside_a_line_is_an_error() {
        let header = TCP.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in header..TCP.len() {
            let mut seen = 0;
            let outcome = inet(Protocol::Tcp, &TCP[..length], |_| seen += 1);
            let whole_lines = TCP[..length].iter().filter(|byte| **byte == b'\n').count() - 1;
            assert_eq!(seen, whole_lines, "at {length}");
            assert_eq!(outcome.is_ok(), TCP[..length].ends_with(b"\n"), "at {length}");
        }
    }

    #[test]
    fn unix_paths_with_blanks_and_breaks() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01  1200 /run/a b
0000000000000000: 00000002 00000000 00010000 0001 01  1201 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01  1202 /run/with
break
0000000000000000: 00000003 00000000 00000000 0001 03  1203 /run/connected
0000000000000000: 00000002 00000000 00000000 0002 01  1204 /run/datagram
0000000000000000: 00000002 00000000 00010000 0001 01  1205
";
        let mut seen = Vec::new();
        unix(text, |socket| seen.push((socket.inode, socket.path.to_vec())));
        let expected: [(u32, &[u8]); 3] = [(1200, b"/run/a b"), (1201, b"@abstract"), (1202, b"/run/with")];
        assert_eq!(seen.len(), expected.len());
        for (have, want) in seen.iter().zip(expected) {
            assert_eq!((have.0, have.1.as_slice()), want);
        }
    }
}
