//! Lines that one thread has read and understood, to be joined by another: places in a piece of bytes, nothing borrowed.
//!
//! A [`Framer`] fills a [`Batch`], [`crate::Analysis::batch_line`] takes its lines one by one. A batch is used again when it has
//! been joined, so that memory is asked for once. What must not live here: threads, files, what lines mean together.

use crate::envelope::Line;
use crate::event::{Meaning, MeaningOf};
use crate::grammar::{Grammars, Program};
use crate::reader::{Origin, Read, Reader};
use crate::stamp::Stamp;

/// A text within a batch. A high bit says that it is a copy: of a line that was cut between two pieces, or had escapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    at: u32,
    length: u32,
}

const COPIED: u32 = 1 << 31;

#[derive(Debug, Clone)]
struct Row {
    raw: Span,
    /// `None`: no stamp that we know.
    framed: Option<Framed>,
}

#[derive(Debug, Clone)]
struct Framed {
    stamp: Option<Stamp>,
    host: Span,
    tag: Span,
    text: Span,
    pid: Option<u32>,
    repeats: u32,
    program: Option<Program>,
    meaning: MeaningOf<Span>,
}

/// One line of a batch, borrowed from it.
#[derive(Debug, Clone)]
pub(crate) struct Understood<'a> {
    pub raw: &'a [u8],
    pub line: Option<(Line<'a>, Option<Program>, Meaning<'a>)>,
}

/// A piece of a log and what its lines say.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    copies: Vec<u8>,
    rows: Vec<Row>,
}

impl Batch {
    /// The room for the next piece: what stands in it is lost with [`Framer::fill`].
    pub fn piece(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When a line was written; `None` where it does not say, or where there is no such line.
    pub fn stamp(&self, at: usize) -> Option<Stamp> {
        self.rows.get(at)?.framed.as_ref()?.stamp
    }

    #[inline]
    fn text(&self, span: Span) -> &[u8] {
        let (whole, at) = match span.at & COPIED {
            0 => (&self.bytes, span.at),
            _ => (&self.copies, span.at & !COPIED),
        };
        let at = at as usize;
        whole.get(at..at + span.length as usize).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn understood(&self, at: usize) -> Option<Understood<'_>> {
        let row = self.rows.get(at)?;
        let line = row.framed.as_ref().map(|framed| {
            let line = Line {
                stamp: framed.stamp,
                host: self.text(framed.host),
                tag: self.text(framed.tag),
                pid: framed.pid,
                text: self.text(framed.text),
                repeats: framed.repeats,
            };
            (line, framed.program, framed.meaning.map(|span| self.text(span)))
        });
        Some(Understood { raw: self.text(row.raw), line })
    }
}

/// Where the texts of a batch are put.
struct Store<'a> {
    bytes: &'a [u8],
    copies: &'a mut Vec<u8>,
}

impl Store<'_> {
    /// Where a text stands: in the piece, or behind the other copies.
    #[inline]
    fn span(&mut self, text: &[u8]) -> Span {
        if text.is_empty() {
            return Span::default();
        }
        let length = u32::try_from(text.len()).unwrap_or(0);
        let at = text.as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        let within = at < self.bytes.len() && text.len() <= self.bytes.len() - at;
        match u32::try_from(at) {
            Ok(at) if within && at < COPIED => Span { at, length },
            _ => {
                let at = u32::try_from(self.copies.len()).unwrap_or(0) | COPIED;
                self.copies.extend_from_slice(text);
                Span { at, length }
            }
        }
    }
}

/// Reads one file or stream: its lines, its years, and what its lines say.
#[derive(Debug, Clone)]
pub struct Framer {
    reader: Reader,
    grammars: Grammars,
    window: (Option<Stamp>, Option<Stamp>),
}

impl Framer {
    /// Lines outside the window are framed, not read.
    pub fn new(origin: Origin, since: Option<Stamp>, until: Option<Stamp>) -> Framer {
        Framer { reader: Reader::new(origin), grammars: Grammars::default(), window: (since, until) }
    }

    /// Lines that were longer than is kept.
    pub fn cut(&self) -> u64 {
        self.reader.cut
    }

    /// Reads the lines of a batch's piece. A line that is not complete waits for the next piece.
    pub fn fill(&mut self, batch: &mut Batch) {
        self.read(batch, |reader, bytes, sink| reader.feed(bytes, sink));
    }

    /// The stream is over: a last line without its line break counts.
    pub fn finish(&mut self, batch: &mut Batch) {
        batch.bytes.clear();
        self.read(batch, |reader, _, sink| reader.finish(sink));
    }

    fn read(&mut self, batch: &mut Batch, read: impl FnOnce(&mut Reader, &[u8], &mut dyn FnMut(&[u8], Read<'_>))) {
        let Batch { bytes, copies, rows } = batch;
        rows.clear();
        copies.clear();
        let mut store = Store { bytes, copies };
        let (grammars, (since, until)) = (&mut self.grammars, self.window);
        let mut sink = |raw: &[u8], read: Read<'_>| {
            let raw = store.span(raw);
            let Read::Framed(line) = read else { return rows.push(Row { raw, framed: None }) };
            let outside = line.stamp.is_some_and(|stamp| {
                since.is_some_and(|since| stamp < since) || until.is_some_and(|until| stamp > until)
            });
            let (program, meaning) = if outside { (None, Meaning::Foreign) } else { grammars.read(&line) };
            let (host, tag, text) = (store.span(line.host), store.span(line.tag), store.span(line.text));
            let meaning = meaning.map(|text| store.span(text));
            let (stamp, pid, repeats) = (line.stamp, line.pid, line.repeats);
            rows.push(Row { raw, framed: Some(Framed { stamp, host, tag, text, pid, repeats, program, meaning }) });
        };
        read(&mut self.reader, bytes, &mut sink);
    }
}
