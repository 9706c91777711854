//! Logs that are still written, read on as they grow.
//!
//! What must not live here: how a rotation is seen (`mxray-host`), and what is said of it.

use super::Source;
use super::plan::{local_offset, year_of_stream};
use jiff::Timestamp;
use mxray_host::maillog::{Follow, LogFile, News, Watch, fresh};
use mxray_logs::{Analysis, Batch, Framer, Origin, Stamp};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

const PIECE_BYTES: usize = 64 << 10;
/// Pieces of one file before the others have their turn.
const PIECES_PER_TURN: usize = 64;
/// How often directories are searched for files that are new.
const SEARCH: Duration = Duration::from_secs(1);

/// Files and streams that go on.
#[derive(Debug, Default)]
pub struct Followed {
    files: Vec<(Follow, Framer)>,
    /// A file that was rotated is read on under its new name, not again from its beginning.
    known: BTreeSet<(u64, u64)>,
    streams: Vec<(Receiver<Vec<u8>>, Option<Framer>)>,
    /// Directories and patterns, in which files may appear.
    words: Vec<PathBuf>,
    searched: Option<Instant>,
    batch: Batch,
    watch: Watch,
}

impl Followed {
    pub(super) fn add(&mut self, follow: Follow, identity: (u64, u64), framer: Framer) {
        self.known.insert(identity);
        self.watch.file(follow.path());
        self.files.push((follow, framer));
    }

    /// A source that has no end: the journal, standard input.
    ///
    /// # Errors
    /// Where no thread can be had for it.
    pub fn add_stream(&mut self, source: Source) -> std::io::Result<()> {
        let Source::Stream { mut stream, .. } = source else { return Ok(()) };
        let (send, receive) = sync_channel(4);
        let bell = self.watch.bell();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut room = vec![0; PIECE_BYTES];
            while let Ok(count @ 1..) = stream.read(&mut room) {
                if send.send(room.get(..count).unwrap_or_default().to_vec()).is_err() {
                    return;
                }
                bell.ring();
            }
            // Its end is news too.
            drop(send);
            bell.ring();
        })?;
        self.streams.push((receive, None));
        Ok(())
    }

    /// Whether there is anything that may go on.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.streams.is_empty()
    }

    /// Leaves the files that nobody writes any more: `mail.log.1` beside `mail.log`. A rotation that copies makes a new one of
    /// that name, whose lines were read.
    pub fn leave_rotated(&mut self) {
        let names: Vec<Vec<u8>> =
            self.files.iter().map(|(follow, _)| follow.path().as_os_str().as_bytes().to_vec()).collect();
        let is_rotated = |name: &[u8]| names.iter().any(|other| name.len() > other.len() && name.starts_with(other));
        self.files.retain(|(follow, _)| !is_rotated(follow.path().as_os_str().as_bytes()));
    }

    /// Files that appear in these directories, or match these patterns, are read too.
    pub fn search(&mut self, words: &[PathBuf]) {
        self.words = words.to_vec();
    }

    /// Follows the files that appeared. A longer name of one that is followed is what a rotation left.
    fn take_fresh(&mut self, window: (Option<Stamp>, Option<Stamp>)) {
        if self.words.is_empty() || self.searched.is_some_and(|last| last.elapsed() < SEARCH) {
            return;
        }
        self.searched = Some(Instant::now());
        for file in fresh(&self.words, &self.known) {
            let path = file.path.as_os_str().as_bytes();
            let is_known = |follow: &Follow| path.starts_with(follow.path().as_os_str().as_bytes());
            if self.files.iter().any(|(follow, _)| is_known(follow)) {
                continue;
            }
            let origin = origin_of(&file.head().unwrap_or_default());
            self.add(Follow::new(&file, 0), file.identity, Framer::new(origin, window.0, window.1));
        }
    }

    /// Waits until there may be something new, and no longer than this. Whether there is, is for [`Followed::look`] to say.
    pub fn wait(&self, at_most: Duration) {
        self.watch.wait(at_most);
    }

    /// Takes what is new. Gives the number of lines.
    pub fn look(&mut self, analysis: &mut Analysis, window: (Option<Stamp>, Option<Stamp>)) -> usize {
        let mut lines = 0;
        self.take_fresh(window);
        let Followed { files, known, streams, batch, watch, .. } = self;
        files.retain_mut(|(follow, framer)| {
            let (more, keep) = of_file(follow, framer, (known, watch), batch, analysis);
            lines += more;
            keep
        });
        streams.retain_mut(|(receive, framer)| {
            for _ in 0..PIECES_PER_TURN {
                match receive.try_recv() {
                    Ok(piece) => {
                        let framer = framer.get_or_insert_with(|| Framer::new(origin_of(&piece), window.0, window.1));
                        batch.piece().clear();
                        batch.piece().extend_from_slice(&piece);
                        framer.fill(batch);
                        lines += joined(batch, analysis);
                    }
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            }
            true
        });
        lines
    }
}

fn origin_of(head: &[u8]) -> Origin {
    let now = Stamp(Timestamp::now().as_microsecond());
    year_of_stream(head, Origin { first_year: now.date().0, local_offset: local_offset(now) })
}

/// How many lines were new, and whether the file is to be looked at again.
fn of_file(
    follow: &mut Follow,
    framer: &mut Framer,
    (known, watch): (&mut BTreeSet<(u64, u64)>, &mut Watch),
    batch: &mut Batch,
    analysis: &mut Analysis,
) -> (usize, bool) {
    let mut lines = 0;
    for _ in 0..PIECES_PER_TURN {
        let piece = batch.piece();
        piece.resize(PIECE_BYTES, 0);
        match follow.look(piece) {
            Ok(News::Bytes(count)) => {
                piece.truncate(count);
                framer.fill(batch);
                lines += joined(batch, analysis);
            }
            // Half a line at the end of the old file is all that there is of it.
            Ok(news @ (News::Rotated | News::Truncated)) => {
                framer.finish(batch);
                lines += joined(batch, analysis);
                for (file, from) in follow.missed() {
                    lines += missed((&file, from), framer, known, batch, analysis);
                }
                if news == News::Rotated {
                    if !known.insert(follow.identity()) {
                        return (lines, false);
                    }
                    // Before it is read: what comes in between wakes.
                    watch.file(follow.path());
                }
            }
            Ok(News::Nothing) | Err(_) => break,
        }
    }
    (lines, true)
}

/// What was written and put away between two looks.
fn missed(
    (file, from): (&LogFile, u64),
    framer: &mut Framer,
    known: &mut BTreeSet<(u64, u64)>,
    batch: &mut Batch,
    analysis: &mut Analysis,
) -> usize {
    // A copy of what was read begins behind that, and is no file of its own.
    if from == 0 && !known.insert(file.identity) {
        return 0;
    }
    let Ok(mut stream) = file.stream(from) else { return 0 };
    let mut lines = 0;
    loop {
        let piece = batch.piece();
        piece.resize(PIECE_BYTES, 0);
        match stream.read(piece) {
            Ok(count @ 1..) => {
                piece.truncate(count);
                framer.fill(batch);
                lines += joined(batch, analysis);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    framer.finish(batch);
    lines + joined(batch, analysis)
}

fn joined(batch: &Batch, analysis: &mut Analysis) -> usize {
    (0..batch.len()).for_each(|at| analysis.batch_line(batch, at));
    batch.len()
}
