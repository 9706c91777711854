//! One source that is read ahead by a thread, and the place in it that the merge has reached.
//!
//! The thread reads, unpacks, cuts into lines and understands each; the merge joins. What must not live here: the order of lanes.

use super::plan::{Planned, broken, year_of_stream};
use super::{Ended, Source, SourceRead};
use mxray_host::maillog::{Follow, LogFile, Packing};
use mxray_logs::{Analysis, Batch, Framer, Origin, Stamp};
use mxray_model::Unseen;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Batches that wait in a lane.
const AHEAD: usize = 2;
/// How often it is asked whether to wait on.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes of one piece. They stay in the nearer caches with what is made of them; many lanes share the room.
pub(super) fn piece_bytes(sources: usize) -> usize {
    if sources <= 8 { 128 << 10 } else { 32 << 10 }
}

enum Sent {
    Lines(Batch),
    End(Box<Framer>, Option<std::io::Error>),
}

pub(super) enum Taken {
    Line,
    /// The last one that was here.
    Last,
}

pub(super) struct Lane {
    read: SourceRead,
    file: Option<LogFile>,
    from: u64,
    receive: Receiver<Sent>,
    give_back: Sender<Batch>,
    batch: Batch,
    at: usize,
    now: Stamp,
    ended: Option<(Box<Framer>, Option<std::io::Error>)>,
    bytes: Arc<AtomicU64>,
}

type Window = (Option<Stamp>, Option<Stamp>);

impl Lane {
    pub fn open(planned: Planned, piece: usize, window: Window, total: &Arc<AtomicU64>) -> Result<Lane, Unseen> {
        let Planned { name, source, origin, first, from, to } = planned;
        let (file, stream, packing) = match source {
            Source::File(file) => {
                let stream = file.stream(from).map_err(|error| broken(&name, &error))?;
                let packing = file.packing.name();
                let stream = match to {
                    Some(to) => Box::new(stream.take(to.saturating_sub(from))),
                    None => stream,
                };
                (Some(file), stream, packing)
            }
            Source::Stream { stream, .. } => (None, stream, "stream"),
        };
        let (send, receive) = sync_channel(AHEAD);
        let (give_back, again) = channel();
        let bytes = Arc::new(AtomicU64::new(0));
        let share = file.as_ref().filter(|file| file.packing != Packing::Plain).map(|file| file.size);
        let count = Count { own: Arc::clone(&bytes), total: Arc::clone(total), packed: share };
        let reader = Ahead { stream, piece, origin, window, is_stream: file.is_none(), count };
        let spawned = thread::Builder::new().name("log".to_owned()).spawn(move || reader.run(&send, &again));
        spawned.map_err(|error| broken(&name, &error))?;
        let read = SourceRead { name, first, packing, bytes: 0 };
        let now = first.unwrap_or(Stamp(i64::MIN));
        Ok(Lane { read, file, from, receive, give_back, batch: Batch::default(), at: 0, now, ended: None, bytes })
    }

    pub fn name(&self) -> &str {
        &self.read.name
    }

    /// When the next line was written; a line without a stamp belongs to the one before it.
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// Waits for the next lines. False: there are none, or somebody does not want to wait any longer.
    pub fn receive(&mut self, is_over: &dyn Fn() -> bool) -> bool {
        loop {
            match self.receive.recv_timeout(LOOK) {
                Ok(Sent::Lines(batch)) => {
                    let used = std::mem::replace(&mut self.batch, batch);
                    let _ = self.give_back.send(used);
                    self.at = 0;
                    if self.batch.is_empty() {
                        continue;
                    }
                    self.look();
                    return true;
                }
                Ok(Sent::End(framer, error)) => {
                    self.ended = Some((framer, error));
                    return false;
                }
                // A pipe may be quiet for hours.
                Err(RecvTimeoutError::Timeout) => {
                    if is_over() {
                        return false;
                    }
                }
                // The thread is gone without a word: it panicked.
                Err(RecvTimeoutError::Disconnected) => {
                    let error = std::io::Error::other("its reader broke down; please report it");
                    self.ended = Some((Box::new(Framer::new(Origin::default(), None, None)), Some(error)));
                    return false;
                }
            }
        }
    }

    fn look(&mut self) {
        if let Some(stamp) = self.batch.stamp(self.at) {
            self.now = stamp;
            self.read.first = self.read.first.or(Some(stamp));
        }
    }

    pub fn take(&mut self, analysis: &mut Analysis) -> Taken {
        analysis.batch_line(&self.batch, self.at);
        self.at += 1;
        if self.at >= self.batch.len() {
            return Taken::Last;
        }
        self.look();
        Taken::Line
    }

    pub fn close(mut self, ended: &mut Ended) {
        self.read.bytes = self.bytes.load(Ordering::Relaxed);
        let (framer, error) = match self.ended {
            Some((framer, error)) => (Some(framer), error),
            None => (None, None),
        };
        if let Some(error) = &error {
            ended.unseen.push(broken(&self.read.name, error));
        }
        if let Some(framer) = &framer
            && framer.cut() > 0
        {
            ended.unseen.push(Unseen {
                what: format!("the ends of {} lines of {}", framer.cut(), self.read.name),
                why: format!("longer than {} KiB", mxray_logs::LINE_BYTES_MAX >> 10),
                needs: "a log: no mail server writes such lines".to_owned(),
            });
        }
        if let (Some(file), Some(framer)) = (&self.file, framer)
            && file.packing == Packing::Plain
        {
            ended.followed.add(Follow::new(file, self.from + self.read.bytes), file.identity, *framer);
        }
        ended.sources.push(self.read);
    }
}

/// Bytes that were read, for this source and for all.
struct Count {
    own: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
    /// The size on disk of a packed file: it counts when it has been read.
    packed: Option<u64>,
}

/// The reading thread of one lane.
struct Ahead {
    stream: Box<dyn Read + Send>,
    piece: usize,
    origin: Origin,
    window: Window,
    is_stream: bool,
    count: Count,
}

impl Ahead {
    fn run(mut self, send: &SyncSender<Sent>, again: &Receiver<Batch>) {
        let mut framer = None;
        let error = loop {
            let mut batch = again.try_recv().unwrap_or_default();
            match self.read(batch.piece()) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
            let framer = framer.get_or_insert_with(|| {
                let origin = if self.is_stream { year_of_stream(batch.piece(), self.origin) } else { self.origin };
                Framer::new(origin, self.window.0, self.window.1)
            });
            framer.fill(&mut batch);
            if send.send(Sent::Lines(batch)).is_err() {
                return;
            }
        };
        if let Some(packed) = self.count.packed {
            self.count.total.fetch_add(packed, Ordering::Relaxed);
        }
        let mut framer = framer.unwrap_or_else(|| Framer::new(self.origin, self.window.0, self.window.1));
        let mut batch = Batch::default();
        framer.finish(&mut batch);
        let _ = send.send(Sent::Lines(batch)).and_then(|()| send.send(Sent::End(Box::new(framer), error)));
    }

    fn read(&mut self, piece: &mut Vec<u8>) -> std::io::Result<usize> {
        piece.resize(self.piece, 0);
        loop {
            match self.stream.read(piece) {
                Ok(count) => {
                    piece.truncate(count);
                    self.count.own.fetch_add(count as u64, Ordering::Relaxed);
                    if self.count.packed.is_none() {
                        self.count.total.fetch_add(count as u64, Ordering::Relaxed);
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    piece.clear();
                    return Err(error);
                }
            }
        }
    }
}
