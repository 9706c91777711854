//! Logs of mail servers, from files and streams into one analysis: in the order of time, each source read ahead by a thread of its own.
//!
//! Whoever reads logs goes through [`read`], and on with [`Followed`] where they are still written. Which files there are is
//! `mxray-host`'s to say, what lines mean `mxray-logs`'s. What must not live here: either of both, and any printing.

mod follow;
mod lane;
mod plan;
#[cfg(test)]
mod tests;

pub use follow::Followed;

use lane::{Lane, Taken};
use mxray_host::maillog::LogFile;
use mxray_logs::{Analysis, Stamp};
use mxray_model::Unseen;
use plan::Planned;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Sources that are read at the same time, because their times overlap. Further ones wait until one has ended.
const LANES_MAX: usize = 64;
/// Lines between two looks at the clock.
const LINES_PER_LOOK: usize = 4_096;

/// Where lines come from.
pub enum Source {
    File(LogFile),
    /// Standard input, the journal: read once, from its beginning to its end.
    Stream {
        name: String,
        stream: Box<dyn Read + Send>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(file) => f.debug_tuple("File").field(&file.path).finish(),
            Source::Stream { name, .. } => f.debug_tuple("Stream").field(name).finish(),
        }
    }
}

/// How far it has come: bytes as they lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub bytes: u64,
    /// Of all files; streams have no size.
    pub total: u64,
}

/// What is read, and until when.
pub struct Reading<'a> {
    pub since: Option<Stamp>,
    pub until: Option<Stamp>,
    /// Of each plain file so much from its end, and of packed ones none: for those who have no time.
    pub tail_bytes: Option<u64>,
    pub deadline: Option<Instant>,
    /// Set from elsewhere (Ctrl-C): what is known then is the answer.
    pub stop: &'a AtomicBool,
    pub progress: &'a mut dyn FnMut(Progress),
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("since", &self.since).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Reading<'_> {
    /// Somebody wants the end, or the time is over.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// One source, when it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRead {
    pub name: String,
    /// Of its first line with a stamp.
    pub first: Option<Stamp>,
    /// `plain`, `gzip`, …, `stream`.
    pub packing: &'static str,
    pub bytes: u64,
}

/// What came of reading.
#[derive(Debug, Default)]
pub struct Ended {
    pub sources: Vec<SourceRead>,
    pub unseen: Vec<Unseen>,
    /// It was stopped, or the deadline came.
    pub cut_short: bool,
    /// Plain files, each where it was left.
    pub followed: Followed,
}

/// Reads all sources, in the order of their lines' times.
pub fn read(sources: Vec<Source>, analysis: &mut Analysis, reading: Reading<'_>) -> Ended {
    let mut ended = Ended::default();
    let planned = plan::plan(sources, &reading, &mut ended);
    let total = planned.iter().map(Planned::bytes).sum();
    let mut merge = Merge {
        bytes_read: Arc::default(),
        total,
        lanes: Vec::new(),
        piece: lane::piece_bytes(planned.len()),
        waiting: planned,
        reading,
        analysis,
        ended,
        lines: 0,
    };
    // The last one is the next one.
    merge.waiting.reverse();
    merge.run();
    merge.ended
}

struct Merge<'a, 'r> {
    waiting: Vec<Planned>,
    lanes: Vec<Lane>,
    piece: usize,
    reading: Reading<'r>,
    analysis: &'a mut Analysis,
    ended: Ended,
    bytes_read: Arc<AtomicU64>,
    total: u64,
    lines: usize,
}

impl Merge<'_, '_> {
    fn run(&mut self) {
        loop {
            self.open();
            let Some(at) = (0..self.lanes.len()).min_by_key(|at| self.lanes[*at].now()) else { return };
            // The lane is read until another one's next line, or a file that has not begun, is older.
            let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, lane)| lane.now());
            let begins = self.waiting.last().filter(|_| self.lanes.len() < LANES_MAX).map(Planned::begins);
            let limit = others.chain(begins).min();
            if !self.take(at, limit) {
                return;
            }
        }
    }

    /// Opens what begins before the oldest line that waits.
    fn open(&mut self) {
        while self.lanes.len() < LANES_MAX {
            let oldest = self.lanes.iter().map(Lane::now).min();
            let next = self.waiting.pop_if(|next| oldest.is_none_or(|oldest| next.begins() <= oldest));
            let Some(next) = next else { return };
            let window = (self.reading.since, self.reading.until);
            match Lane::open(next, self.piece, window, &self.bytes_read) {
                Ok(mut lane) => {
                    // Its first line says where it belongs.
                    if lane.receive(&|| self.reading.is_over()) { self.lanes.push(lane) } else { self.close(lane) }
                }
                Err(unseen) => self.ended.unseen.push(unseen),
            }
        }
    }

    /// Takes lines of one lane up to the limit. False: it is over.
    fn take(&mut self, at: usize, limit: Option<Stamp>) -> bool {
        loop {
            self.lines += 1;
            if self.lines.is_multiple_of(LINES_PER_LOOK) && self.is_over() {
                return false;
            }
            let Merge { lanes, reading, .. } = self;
            let Some(lane) = lanes.get_mut(at) else { return true };
            match lane.take(self.analysis) {
                Taken::Line => {
                    if limit.is_some_and(|limit| lane.now() > limit) {
                        return true;
                    }
                }
                Taken::Last => {
                    if !lane.receive(&|| reading.is_over()) {
                        let lane = self.lanes.remove(at);
                        self.close(lane);
                        return !self.is_over();
                    }
                    if limit.is_some_and(|limit| lane.now() > limit) {
                        return true;
                    }
                }
            }
        }
    }

    fn is_over(&mut self) -> bool {
        (self.reading.progress)(Progress { bytes: self.bytes_read.load(Ordering::Relaxed), total: self.total });
        let over = self.reading.is_over();
        self.ended.cut_short |= over;
        if over {
            let left: Vec<String> = self.lanes.iter().map(|lane| lane.name().to_owned()).collect();
            let left = left.into_iter().chain(self.waiting.iter().rev().map(|next| next.name.clone()));
            let why = "the reading was ended before it".to_owned();
            self.ended.unseen.extend(left.map(|what| Unseen {
                what: format!("the rest of {what}"),
                why: why.clone(),
                needs: "more time".to_owned(),
            }));
        }
        over
    }

    fn close(&mut self, lane: Lane) {
        lane.close(&mut self.ended);
    }
}
