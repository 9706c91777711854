//! Which sources there are, when each begins, and from where it is read: by what stands in them, never by their names.
//!
//! What must not live here: threads.

use super::{Ended, Reading, Source};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mxray_host::maillog::{LogFile, Packing};
use mxray_logs::seek::{Piece, Place, first_stamp, piece_of, years};
use mxray_logs::{Origin, SECOND, Stamp, YearScan};
use mxray_model::Unseen;
use std::io::{ErrorKind, Read};

/// A source that is ready to be read.
pub(super) struct Planned {
    pub name: String,
    pub source: Source,
    pub origin: Origin,
    pub first: Option<Stamp>,
    /// Of a plain file: where reading begins.
    pub from: u64,
    /// Of a plain file: where it ends, if not with the file.
    pub to: Option<u64>,
}

impl Planned {
    /// What has no stamp comes first: it holds nobody up.
    pub fn begins(&self) -> Stamp {
        self.first.unwrap_or(Stamp(i64::MIN))
    }

    pub fn bytes(&self) -> u64 {
        match &self.source {
            Source::File(file) => self.to.unwrap_or(file.size).saturating_sub(self.from),
            Source::Stream { .. } => 0,
        }
    }
}

/// Sources in the order of their first lines.
pub(super) fn plan(sources: Vec<Source>, reading: &Reading<'_>, ended: &mut Ended) -> Vec<Planned> {
    let now = Stamp(Timestamp::now().as_microsecond());
    let mut planned = Vec::new();
    for source in sources {
        match source {
            Source::File(file) => planned.extend(of_file(file, reading, ended)),
            Source::Stream { name, stream } => {
                let origin = Origin { first_year: now.date().0, local_offset: local_offset(now) };
                planned.push(Planned {
                    name: name.clone(),
                    source: Source::Stream { name, stream },
                    origin,
                    first: None,
                    from: 0,
                    to: None,
                });
            }
        }
    }
    planned.sort_by(|one, other| one.begins().cmp(&other.begins()).then_with(|| one.name.cmp(&other.name)));
    planned
}

/// Seconds east of UTC that this machine's clocks showed at a moment: stamps without an offset are local.
pub(super) fn local_offset(at: Stamp) -> i64 {
    let Ok(at) = Timestamp::from_microsecond(at.0) else { return 0 };
    i64::from(TimeZone::system().to_offset(at).seconds())
}

fn of_file(file: LogFile, reading: &Reading<'_>, ended: &mut Ended) -> Option<Planned> {
    let name = file.shown();
    let modified = Stamp(file.modified);
    // Its last line was written when the file was, within the second that stamps are right to.
    if reading.since.is_some_and(|since| modified.0 + SECOND < since.0) {
        return None;
    }
    if reading.tail_bytes.is_some() && file.packing != Packing::Plain {
        let why = "packed: it can only be read from its beginning".to_owned();
        ended.unseen.push(Unseen { what: name, why, needs: "`mxray logs`, which has the time".to_owned() });
        return None;
    }
    let head = match file.head() {
        Ok(head) => head,
        Err(error) => {
            ended.unseen.push(broken(&name, &error));
            return None;
        }
    };
    let scan = match has_years(&head) {
        true => YearScan::default(),
        false => scanned(&file),
    };
    // Lines without a year are local time, and so is the reference then.
    let offset = local_offset(modified);
    let local = Stamp(modified.0 + offset * SECOND);
    let origin = Origin { first_year: scan.first_year(local).unwrap_or(1970), local_offset: offset };
    let first = first_stamp(&head, origin);
    if reading.until.zip(first).is_some_and(|(until, first)| first > until) {
        return None;
    }
    let Piece { from, to } = piece(&file, origin, &scan, reading, ended);
    Some(Planned { name, source: Source::File(file), origin: from.origin, first, from: from.at, to })
}

/// What of it is read: the window, or of its end as much as there is time for.
fn piece(file: &LogFile, origin: Origin, scan: &YearScan, reading: &Reading<'_>, ended: &mut Ended) -> Piece {
    if file.packing != Packing::Plain {
        return Piece { from: Place { at: 0, origin }, to: None };
    }
    let mut read_at = |at: u64, room: &mut [u8]| file.read_at(at, room).unwrap_or(0);
    let piece = piece_of((reading.since, reading.until), file.size, origin, scan, &mut read_at);
    let left = piece.to.unwrap_or(file.size).saturating_sub(piece.from.at);
    let Some(tail) = reading.tail_bytes.filter(|tail| *tail < left) else { return piece };
    let mut room = vec![0; 64 << 10];
    let at = piece.to.unwrap_or(file.size) - tail;
    let count = read_at(at, &mut room);
    let lines = room.get(..count).unwrap_or_default();
    let skipped = lines.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    ended.unseen.push(Unseen {
        what: format!("the beginning of {}", file.shown()),
        why: format!("only its last {} MiB were read", tail >> 20),
        needs: "`mxray logs`, which has the time".to_owned(),
    });
    let year = scan.year_of(lines.get(skipped..).unwrap_or_default(), origin.first_year);
    let origin = Origin { first_year: year.unwrap_or(origin.first_year), ..origin };
    Piece { from: Place { at: at + skipped as u64, origin }, ..piece }
}

/// Whether lines name their year.
fn has_years(head: &[u8]) -> bool {
    let mut scan = YearScan::default();
    scan.feed(head);
    scan.first_year(Stamp(0)).is_none()
}

fn scanned(file: &LogFile) -> YearScan {
    if file.packing == Packing::Plain {
        return years(file.size, &mut |at, room| file.read_at(at, room).unwrap_or(0));
    }
    let mut scan = YearScan::default();
    let Ok(mut stream) = file.stream(0) else { return scan };
    let mut room = vec![0; 128 << 10];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return scan,
            Ok(count) => scan.feed(room.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What is wrong with it is told when it is read.
            Err(_) => return scan,
        }
    }
}

pub(super) fn broken(name: &str, error: &std::io::Error) -> Unseen {
    Unseen {
        what: format!("the rest of {name}"),
        why: mxray_model::text::untrusted(error.to_string().as_bytes()),
        needs: "a file that is whole".to_owned(),
    }
}

/// The year of a stream's first line: the last one in which it does not lie ahead of now. A stream says nothing of when it
/// was written.
pub(super) fn year_of_stream(head: &[u8], origin: Origin) -> Origin {
    let mut scan = YearScan::default();
    scan.feed(head);
    let now = Stamp(Timestamp::now().as_microsecond() + origin.local_offset * SECOND);
    Origin { first_year: scan.first_year(now).unwrap_or(origin.first_year), ..origin }
}
