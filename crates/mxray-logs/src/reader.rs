//! Bytes into lines: pieces of any size, cut lines, and the frame of each.
//!
//! One `Reader` for one file or stream, because the year and a half line belong to it. What must not live here: opening
//! files, waiting for more, decompression.

use crate::envelope::{Line, Scratch, frame};
use crate::stamp::Years;

/// Longest line that is kept. Postfix cuts at 2,048 bytes and syslog at 8,192; journald's JSON adds its fields. What is
/// longer is read past, not kept.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What is known about a stream before its first line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Year of the first line, for stamps without one ([`crate::YearScan::first_year`]).
    pub first_year: i32,
    /// Seconds east of UTC of the clock that wrote stamps without an offset.
    pub local_offset: i64,
}

/// What came of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<'a> {
    Framed(Line<'a>),
    /// No stamp that we know.
    Unframed(&'a [u8]),
}

#[derive(Debug, Clone)]
pub struct Reader {
    years: Years,
    local_offset: i64,
    /// A line that began in an earlier piece.
    partial: Vec<u8>,
    scratch: Scratch,
    /// Lines that were longer than [`LINE_BYTES_MAX`].
    pub cut: u64,
    over: bool,
}

impl Reader {
    pub fn new(origin: Origin) -> Reader {
        Reader {
            years: Years::starting(origin.first_year, origin.local_offset),
            local_offset: origin.local_offset,
            partial: Vec::new(),
            scratch: Scratch::default(),
            cut: 0,
            over: false,
        }
    }

    /// Bytes in order, in pieces of any size: any split gives the same lines.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut (impl FnMut(&[u8], Read<'_>) + ?Sized)) {
        let mut rest = bytes;
        if self.partial.is_empty() && !self.over {
            // A file that was cut while its writer went on where it was has a hole in front.
            rest = &rest[rest.iter().take_while(|byte| **byte == 0).count()..];
        }
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let piece = &rest[..end];
            rest = &rest[end + 1..];
            if self.partial.is_empty() && !self.over && piece.len() <= LINE_BYTES_MAX {
                self.line(piece, sink);
                continue;
            }
            self.keep(piece);
            self.end_partial(sink);
        }
        self.keep(rest);
    }

    /// The end of the stream: a last line without its line break counts.
    pub fn finish(&mut self, sink: &mut (impl FnMut(&[u8], Read<'_>) + ?Sized)) {
        if !self.partial.is_empty() {
            self.end_partial(sink);
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX - self.partial.len();
        if piece.len() > room {
            self.over = true;
        }
        self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn end_partial(&mut self, sink: &mut (impl FnMut(&[u8], Read<'_>) + ?Sized)) {
        let mut line = std::mem::take(&mut self.partial);
        self.cut += u64::from(self.over);
        self.over = false;
        self.line(&line, sink);
        line.clear();
        self.partial = line;
    }

    fn line(&mut self, line: &[u8], sink: &mut (impl FnMut(&[u8], Read<'_>) + ?Sized)) {
        // An empty line says nothing and is not counted.
        if line.is_empty() || line == b"\r" {
            return;
        }
        let read = match frame(line, &mut self.years, &mut self.scratch, self.local_offset) {
            Some(framed) => Read::Framed(framed),
            None => Read::Unframed(line),
        };
        sink(line, read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: &[u8] =
        b"May  1 10:00:00 mx postfix/smtpd[12]: connect from a[192.0.2.1]\n\nnonsense\nMay  1 10:00:01 mx a: b";

    fn lines(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut reader = Reader::new(Origin { first_year: 2025, local_offset: 0 });
        let mut seen = Vec::new();
        let mut sink = |_: &[u8], read: Read<'_>| seen.push(format!("{read:?}"));
        pieces.for_each(|piece| reader.feed(&piece, &mut sink));
        reader.finish(&mut sink);
        seen
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(size in 1usize..80) {
            let whole = lines(std::iter::once(LOG.to_vec()));
            prop_assert_eq!(whole.len(), 3);
            prop_assert_eq!(lines(LOG.chunks(size).map(<[u8]>::to_vec)), whole);
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut reader = Reader::new(Origin::default());
        let mut longest = 0;
        let mut sink = |line: &[u8], _: Read<'_>| longest = longest.max(line.len());
        for _ in 0..1024 {
            reader.feed(&[b'x'; 4096], &mut sink);
        }
        reader.feed(b"\nnext\n", &mut sink);
        assert_eq!((longest, reader.cut), (LINE_BYTES_MAX, 1));
    }
}
