//! One GET over a UNIX socket: as much of HTTP/1.1 (RFC 9112) as a container engine's API needs, with a bound on everything.
//!
//! Nothing else is ever asked: no request of this module changes anything.

use crate::read;
use mxray_model::{Blind, Seen};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A thousand containers with their labels are some megabytes.
const BODY_BYTES_MAX: usize = 16 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The body of a `200` answer. `Absent`: there is no such socket, or nobody listens there.
pub(super) fn get(path: &Path, target: &str, until: Instant) -> Seen<Vec<u8>> {
    let stream = match open(path) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Seen::Absent,
        Err(error) => return read::refused("connect to", path, &error),
    };
    match exchange(stream, target, until) {
        Ok(raw) => match answer(&raw) {
            Ok((200, body)) => Seen::Value(body),
            Ok((status, _)) => read::failed("ask", path, &format!("GET {target}: status {status}")),
            Err(why) => read::failed("ask", path, &format!("GET {target}: {why}")),
        },
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let what = format!("{} (GET {target})", read::shown(path));
            Seen::Unknown(Blind::TimedOut { what, after_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX) })
        }
        Err(error) => Seen::Unknown(read::blind("ask", path, &error, "root")),
    }
}

/// For all questions to one engine.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// Without waiting: a full backlog is an answer, too.
fn open(path: &Path) -> io::Result<UnixStream> {
    let socket: OwnedFd =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn wait(stream: &UnixStream, flags: PollFlags, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let timeout = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(stream, flags)], Some(&timeout)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `Connection: close`: the end of the stream ends the answer.
fn exchange(mut stream: UnixStream, target: &str, until: Instant) -> io::Result<Vec<u8>> {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\r\n");
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        wait(&stream, PollFlags::OUT, until)?;
        match stream.write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut raw = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        // A length that was announced ends it as well: not every server closes.
        if raw.len() > BODY_BYTES_MAX + HEAD_BYTES_MAX || is_whole(&raw) {
            return Ok(raw);
        }
        wait(&stream, PollFlags::IN, until)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(raw),
            Ok(count) => raw.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if is_again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn is_whole(raw: &[u8]) -> bool {
    let Some((head, body)) = split_head(raw) else { return false };
    if is_chunked(&head) {
        return body.ends_with(b"0\r\n\r\n");
    }
    length(&head).is_some_and(|length| body.len() >= length)
}

fn split_head(raw: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let end = raw.windows(4).take(HEAD_BYTES_MAX).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(raw.get(..end)?).into_owned();
    Some((head.split("\r\n").map(str::to_owned).collect(), raw.get(end + 4..)?))
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_chunked(head: &[String]) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn length(head: &[String]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// Status and body of a whole answer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn answer(raw: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    let (head, body) = split_head(raw).ok_or("no end of its head")?;
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    if !words.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err("not HTTP/1");
    }
    let status = words.next().and_then(|status| status.parse().ok()).ok_or("no status")?;
    if is_chunked(&head) {
        return chunks(body).map(|body| (status, body));
    }
    match length(&head) {
        Some(length) if length > BODY_BYTES_MAX => Err("too long"),
        Some(length) => body.get(..length).map(|body| (status, body.to_vec())).ok_or("cut short"),
        None if body.len() > BODY_BYTES_MAX => Err("too long"),
        None => Ok((status, body.to_vec())),
    }
}

/// RFC 9112, 7.1.
fn chunks(mut body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).take(1024).position(|window| window == b"\r\n").ok_or("a chunk without a size")?;
        let size = body.get(..end).and_then(|size| std::str::from_utf8(size).ok()).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk's size is no number")?;
        body = body.get(end + 2..).unwrap_or_default();
        if size == 0 {
            return Ok(out);
        }
        if out.len().saturating_add(size) > BODY_BYTES_MAX {
            return Err("too long");
        }
        out.extend_from_slice(body.get(..size).ok_or("cut short")?);
        body = body.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or("a chunk without an end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_by_length_by_chunks_and_to_the_end() {
        let of = |text: &str| answer(text.as_bytes());
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]x"), Ok((200, b"[]".to_vec())));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\n[1\r\n1\r\n]\r\n0\r\n\r\n";
        assert_eq!(of(chunked), Ok((200, b"[1]".to_vec())));
        assert!(is_whole(chunked.as_bytes()) && !is_whole(&chunked.as_bytes()[..chunked.len() - 2]));
        assert_eq!(of("HTTP/1.0 404 Not Found\r\n\r\nno"), Ok((404, b"no".to_vec())));
        for bad in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = answer(&bytes);
            let mut behind = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            behind.extend(&bytes);
            let _ = answer(&behind);
            let _ = is_whole(&behind);
        }
    }
}
