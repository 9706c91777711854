//! Numbers, addresses and columns written straight into a byte buffer: no `format!`, no `String` in the hot path.

use std::io::{self, Write};
use std::net::IpAddr;

/// Rows collect here and leave in pieces, so that a long list neither costs a system call a row nor its own size in
/// memory.
pub struct Output<'a> {
    pub buffer: Vec<u8>,
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// Bytes that are collected before they leave.
    const PIECE: usize = 256 * 1024;

    pub fn new(out: &'a mut dyn Write) -> Self {
        Output { buffer: Vec::new(), out, failed: None }
    }

    /// Between rows. False: nobody reads any more.
    pub fn goes_on(&mut self) -> bool {
        if self.buffer.len() >= Self::PIECE && self.failed.is_none() {
            self.failed = self.out.write_all(&self.buffer).err();
            self.buffer.clear();
        }
        self.failed.is_none()
    }

    /// # Errors
    /// The first that writing gave.
    pub fn finish(self) -> io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => {
                self.out.write_all(&self.buffer)?;
                self.out.flush()
            }
        }
    }
}

/// Writes the digits of `number` at the end of `room`; returns where they begin.
fn digits(room: &mut [u8; 20], number: u64) -> usize {
    let mut at = room.len();
    let mut rest = number;
    loop {
        at -= 1;
        room[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return at;
        }
    }
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut room = [0; 20];
    let at = digits(&mut room, number);
    out.extend_from_slice(&room[at..]);
}

/// Appends an address as it is usually written.
pub fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        // Writing into a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// Appends `192.0.2.1:25`, `[2001:db8::1]:25`; port 0 is `*`.
pub fn endpoint(out: &mut Vec<u8>, ip: IpAddr, port: u16) {
    if ip.is_ipv6() {
        out.push(b'[');
    }
    address(out, ip);
    out.extend_from_slice(if ip.is_ipv6() { b"]:" } else { b":" });
    match port {
        0 => out.push(b'*'),
        port => number(out, u64::from(port)),
    }
}

/// Appends `*:25`, as `ss` writes what takes both families.
pub fn both_families(out: &mut Vec<u8>, port: u16) {
    out.extend_from_slice(b"*:");
    match port {
        0 => out.push(b'*'),
        port => number(out, u64::from(port)),
    }
}

/// Appends microseconds as milliseconds with three digits behind the point.
pub fn milliseconds(out: &mut Vec<u8>, us: u64) {
    number(out, us / 1000);
    out.push(b'.');
    let rest = us % 1000;
    for place in [100, 10, 1] {
        out.push(b'0' + (rest / place % 10) as u8);
    }
}

/// Fills up with blanks until what was written since `start` is `width` wide, and adds one blank. The text since
/// `start` is ASCII, or as wide as it is long.
pub fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    let written = out.len() - start;
    out.resize(out.len() + width.saturating_sub(written) + 1, b' ');
}

/// Appends a number at the right edge of `width`, and one blank.
pub fn right(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut room = [0; 20];
    let at = digits(&mut room, value);
    out.resize(out.len() + width.saturating_sub(room.len() - at), b' ');
    out.extend_from_slice(&room[at..]);
    out.push(b' ');
}

/// Moves what was written since `start` to the right edge of `width`, and adds one blank.
pub fn push_right(out: &mut Vec<u8>, start: usize, width: usize) {
    let written = out.len() - start;
    let missing = width.saturating_sub(written);
    if missing > 0 {
        out.resize(out.len() + missing, b' ');
        if let Some(field) = out.get_mut(start..) {
            field.rotate_right(missing);
        }
    }
    out.push(b' ');
}

/// Appends text in at most `width` characters, the last of which says that more was there.
pub fn clipped(out: &mut Vec<u8>, text: &str, width: usize) {
    if text.chars().count() <= width {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars().take(width.saturating_sub(1)) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.extend_from_slice("…".as_bytes());
}

/// Removes blanks at the end of a line and ends it.
pub fn end(out: &mut Vec<u8>) {
    while out.last() == Some(&b' ') {
        out.pop();
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_as_std_writes_them() {
        for value in [0, 7, 10, 65_535, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
        for text in ["127.0.0.1:25", "0.0.0.0:65535", "[::1]:143", "[2001:db8::ff]:465"] {
            let at: std::net::SocketAddr = text.parse().unwrap();
            assert_eq!(written(|out| endpoint(out, at.ip(), at.port())), text);
        }
        assert_eq!(written(|out| endpoint(out, "::".parse().unwrap(), 0)), "[::]:*");
        assert_eq!(written(|out| both_families(out, 25)), "*:25");
        assert_eq!(written(|out| both_families(out, 0)), "*:*");
        assert_eq!(written(|out| milliseconds(out, 1_002_003)), "1002.003");
        assert_eq!(written(|out| milliseconds(out, 47)), "0.047");
    }

    #[test]
    fn columns_line_up_and_are_clipped() {
        assert_eq!(written(|out| right(out, 12, 5)), "   12 ");
        assert_eq!(written(|out| right(out, 123_456, 3)), "123456 ");
        assert_eq!(written(|out| clipped(out, "größe", 5)), "größe");
        assert_eq!(written(|out| clipped(out, "postfix@-.service", 8)), "postfix…");
        let padded = written(|out| {
            out.extend_from_slice(b"ab");
            pad(out, 0, 4);
            out.extend_from_slice(b"c  ");
            end(out);
        });
        assert_eq!(padded, "ab   c\n");
    }
}
