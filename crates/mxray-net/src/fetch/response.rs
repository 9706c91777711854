//! What a web server answers, read from bytes: head, length, chunks. Knows no connection.
//!
//! Start reading at [`Response::take`]. What must not live here: whether a status is what somebody hoped for.

/// Most of a head that is read; Apache and nginx themselves stop at 8 KiB of one field.
const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 100;
/// Heads of 1xx before the one that counts (RFC 9110 section 15.2).
const INTERIM_MAX: u32 = 8;
/// The line in front of a chunk, with its extensions, and the fields behind the last one.
const CHUNK_LINE_MAX: usize = 4 * 1024;

/// An answer, as far as it has come.
#[derive(Debug)]
pub(crate) struct Response {
    /// What has come and is not read yet.
    bytes: Vec<u8>,
    state: State,
    body_max: usize,
    interim: u32,
    pub head: Option<Head>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub status: u16,
    pub content_type: Option<String>,
    pub location: Option<String>,
    /// Of what is not `identity`.
    pub encoded: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes are to come.
    Length(usize),
    /// Until the connection ends.
    ToEnd,
    /// At the line in front of a chunk.
    ChunkLine,
    /// So many bytes of a chunk, and the line's end behind it.
    Chunk(usize),
    ChunkEnd,
    Trailer,
    Whole,
}

/// Why no answer can be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    TooLarge,
    /// It is no HTTP, or breaks its rules.
    Malformed(String),
}

fn malformed<T>(why: &str) -> Result<T, Trouble> {
    Err(Trouble::Malformed(why.to_owned()))
}

impl Response {
    /// A body of at most so many bytes is kept.
    pub fn new(body_max: usize) -> Self {
        Response { bytes: Vec::new(), state: State::Head, body_max, interim: 0, head: None, body: Vec::new() }
    }

    /// Takes what has come. `true`: it is whole, and what stands behind is not read.
    ///
    /// # Errors
    /// It can become no answer any more.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, Trouble> {
        self.bytes.extend_from_slice(bytes);
        while self.step()? {}
        Ok(self.state == State::Whole)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The answer is not whole.
    pub fn end(&mut self) -> Result<(), Trouble> {
        match self.state {
            State::Whole => Ok(()),
            State::ToEnd => {
                self.state = State::Whole;
                Ok(())
            }
            State::Head if self.bytes.is_empty() => malformed("the server closed the connection without an answer"),
            State::Head => malformed("the connection ended within the head of the answer"),
            State::Length(missing) => {
                let (have, all) = (self.body.len(), self.body.len() + missing);
                Err(Trouble::Malformed(format!("the connection ended after {have} of {all} bytes")))
            }
            State::ChunkLine | State::Chunk(_) | State::ChunkEnd | State::Trailer => {
                malformed("the connection ended before the last chunk")
            }
        }
    }

    /// One step. `false`: more has to come first, or it is whole.
    fn step(&mut self) -> Result<bool, Trouble> {
        match self.state {
            State::Head => self.read_head(),
            State::Length(left) => {
                let taken = self.keep(left)?;
                self.state = if taken == left { State::Whole } else { State::Length(left - taken) };
                Ok(taken > 0 && taken < left)
            }
            State::ToEnd => Ok(self.keep(usize::MAX)? > 0),
            State::ChunkLine => self.read_chunk_line(),
            State::Chunk(left) => {
                let taken = self.keep(left)?;
                self.state = if taken == left { State::ChunkEnd } else { State::Chunk(left - taken) };
                Ok(taken > 0 || taken == left)
            }
            State::ChunkEnd => match self.line()? {
                None => Ok(false),
                Some(line) if line.is_empty() => {
                    self.state = State::ChunkLine;
                    Ok(true)
                }
                Some(_) => malformed("a chunk is longer than its length says"),
            },
            // Fields behind the last chunk say nothing of the body.
            State::Trailer => match self.line()? {
                None => Ok(false),
                Some(line) => {
                    self.state = if line.is_empty() { State::Whole } else { State::Trailer };
                    Ok(self.state == State::Trailer)
                }
            },
            State::Whole => Ok(false),
        }
    }

    /// Moves up to so many bytes into the body.
    fn keep(&mut self, most: usize) -> Result<usize, Trouble> {
        let count = self.bytes.len().min(most);
        if self.body.len() + count > self.body_max {
            return Err(Trouble::TooLarge);
        }
        self.body.extend(self.bytes.drain(..count));
        Ok(count)
    }

    /// A line without its end, which is CRLF or LF (RFC 9112 section 2.2). `None`: it has not come whole.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(at) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return if self.bytes.len() > CHUNK_LINE_MAX { malformed("a line that does not end") } else { Ok(None) };
        };
        let mut line: Vec<u8> = self.bytes.drain(..=at).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    fn read_chunk_line(&mut self) -> Result<bool, Trouble> {
        let Some(mut line) = self.line()? else { return Ok(false) };
        line.extend_from_slice(b"\r\n");
        let size = match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) if line.first().is_some_and(u8::is_ascii_hexdigit) => size,
            _ => return malformed("the length of a chunk cannot be read"),
        };
        self.state = match usize::try_from(size) {
            Ok(0) => State::Trailer,
            Ok(size) if size <= self.body_max.saturating_sub(self.body.len()) => State::Chunk(size),
            _ => return Err(Trouble::TooLarge),
        };
        Ok(true)
    }

    fn read_head(&mut self) -> Result<bool, Trouble> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(&self.bytes) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if self.bytes.len() <= HEAD_MAX => return Ok(false),
            Ok(_) => return Err(Trouble::Malformed(format!("the head is larger than {HEAD_MAX} bytes"))),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Trouble::Malformed(format!("the head has more than {FIELDS_MAX} fields")));
            }
            Err(error) => return Err(Trouble::Malformed(format!("what it answers is no HTTP ({error})"))),
        };
        let status = parsed.code.unwrap_or_default();
        let head = head(status, parsed.headers);
        let state = framing(status, parsed.headers, self.body_max);
        self.bytes.drain(..length);
        if (100..200).contains(&status) {
            self.interim += 1;
            return match status {
                101 => malformed("it changes to another protocol, which nobody asked for"),
                _ if self.interim > INTERIM_MAX => malformed("answers of 1xx without an end"),
                _ => Ok(true),
            };
        }
        self.head = Some(head);
        self.state = state?;
        Ok(self.state != State::Whole)
    }
}

fn values<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = move |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
    fields.iter().filter(named).filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
}

fn head(status: u16, fields: &[httparse::Header<'_>]) -> Head {
    let encoded = values(fields, "content-encoding")
        .find(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
        .map(str::to_owned);
    let first = |name: &str| values(fields, name).next().map(str::to_owned);
    Head { status, content_type: first("content-type"), location: first("location"), encoded }
}

/// How the body is delimited (RFC 9112 section 6.3).
fn framing(status: u16, fields: &[httparse::Header<'_>], body_max: usize) -> Result<State, Trouble> {
    if matches!(status, 204 | 304) {
        return Ok(State::Whole);
    }
    let codings: Vec<&str> = values(fields, "transfer-encoding").flat_map(|value| value.split(',')).collect();
    match codings.as_slice() {
        [] => {}
        [one] if one.trim().eq_ignore_ascii_case("chunked") => return Ok(State::ChunkLine),
        _ => return malformed("a Transfer-Encoding that is not chunked alone"),
    }
    let lengths: Vec<&str> =
        values(fields, "content-length").flat_map(|value| value.split(',')).map(str::trim).collect();
    let Some(first) = lengths.first() else { return Ok(State::ToEnd) };
    if lengths.iter().any(|length| length != first) {
        return malformed("several lengths that differ");
    }
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return malformed("its Content-Length is no number");
    }
    match first.parse::<usize>() {
        Ok(0) => Ok(State::Whole),
        Ok(length) if length <= body_max => Ok(State::Length(length)),
        _ => Err(Trouble::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same however it is cut into pieces.
    fn read(text: &str, piece: usize) -> Result<(u16, String), Trouble> {
        let mut response = Response::new(64);
        let mut whole = false;
        for part in text.as_bytes().chunks(piece) {
            whole = response.take(part)?;
        }
        if !whole {
            response.end()?;
        }
        let status = response.head.as_ref().map(|head| head.status).unwrap_or_default();
        Ok((status, String::from_utf8(response.body).unwrap()))
    }

    fn all_ways(text: &str) -> Result<(u16, String), Trouble> {
        let whole = read(text, text.len().max(1));
        for piece in [1, 2, 3, 7] {
            assert_eq!(read(text, piece), whole, "{text:?} in pieces of {piece}");
        }
        whole
    }

    fn fine(text: &str, status: u16, body: &str) {
        assert_eq!(all_ways(text), Ok((status, body.to_owned())), "{text:?}");
    }

    #[test]
    fn bodies_by_length_by_chunks_and_by_the_end() {
        fine("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyrest", 200, "body");
        fine("HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\ncontent-length: 4\r\n\r\nbody", 200, "body");
        fine("HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end");
        fine("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "");
        fine("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
        fine("HTTP/1.1 200 OK\nContent-Length: 4\n\nbody", 200, "body");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        fine(&format!("{chunked}4\r\nbody\r\n3;a=\"b\"\r\n-12\r\n0\r\nTrailer: x\r\n\r\n"), 200, "body-12");
        fine(&format!("{chunked}4\nbody\n0\n\n"), 200, "body");
        fine("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 1\r\n\r\n.", 301, ".");
        fine(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 90\r\n\r\n1\r\na\r\n0\r\n\r\n",
            200,
            "a",
        );
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let long = "x".repeat(65);
        for text in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n{long}"),
            format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n{long}\r\n0\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
        ] {
            assert_eq!(all_ways(&text), Err(Trouble::TooLarge), "{text:?}");
        }
        for text in [
            "",
            "220 mail.example ESMTP\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodyx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
        ] {
            assert!(matches!(all_ways(text), Err(Trouble::Malformed(_))), "{text:?}: {:?}", all_ways(text));
        }
        assert!(matches!(read(&"HTTP/1.1 103 Hints\r\n\r\n".repeat(20), 64), Err(Trouble::Malformed(_))));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(HEAD_MAX));
        assert!(matches!(read(&endless, 4096), Err(Trouble::Malformed(_))));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(FIELDS_MAX + 1));
        assert!(matches!(read(&many, 4096), Err(Trouble::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(text in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50, chunked in any::<bool>()) {
            let start: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
            let bytes = [start, &text].concat();
            let mut response = Response::new(64);
            let _ = bytes.chunks(piece).try_for_each(|part| response.take(part).map(|_| ()));
            prop_assert!(response.body.len() <= 64);
        }
    }
}
