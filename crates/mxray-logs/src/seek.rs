//! Where in a file a moment lies, and which years its lines are of, without reading it all.
//!
//! Bytes are asked for by their place. What must not live here: files.

use crate::envelope::{Scratch, frame};
use crate::reader::Origin;
use crate::stamp::{Stamp, YearScan, Years};

/// Gives bytes from a place; fewer at the end, none behind it.
pub type ReadAt<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> usize;

/// Files up to this size are scanned whole for their years.
const SCANNED_WHOLE_BYTES: u64 = 8 << 20;
/// Of larger ones a piece is looked at so often. Half a year lies in no two of them unless a file is nearly empty, and then it is small.
const STRIDE: u64 = 32 << 10;
const PIECE: usize = 512;
/// A line is looked for in this much at a place; longer ones are passed over.
const PROBE: usize = 16 << 10;
/// Lines of several processes are written a little out of order, and a clock is set back by seconds.
const GRACE_MICROS: i64 = 5 * 60 * crate::stamp::SECOND;
/// So many places show whether a file is in order.
const SAMPLES: u64 = 64;

/// The years of a file's lines, by samples.
pub fn years(size: u64, read_at: ReadAt<'_>) -> YearScan {
    let mut scan = YearScan::default();
    if size <= SCANNED_WHOLE_BYTES {
        let mut room = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            let count = read_at(at, &mut room).min(room.len());
            if count == 0 {
                return scan;
            }
            scan.feed(&room[..count]);
            at += count as u64;
        }
    }
    let mut room = vec![0; PIECE];
    let tail = size.saturating_sub(PROBE as u64);
    for at in (0..tail).step_by(STRIDE as usize) {
        let count = read_at(at, &mut room).min(PIECE);
        whole_lines(&room[..count], at == 0).map(|lines| scan.feed(lines)).unwrap_or_default();
    }
    // The last line tells how old the file is.
    let mut room = vec![0; PROBE];
    let count = read_at(tail, &mut room).min(PROBE);
    whole_lines(&room[..count], false).map(|lines| scan.feed(lines)).unwrap_or_default();
    scan
}

/// What stands between the first and the last line break.
fn whole_lines(bytes: &[u8], from_start: bool) -> Option<&[u8]> {
    let start = if from_start { 0 } else { memchr::memchr(b'\n', bytes)? + 1 };
    let end = memchr::memrchr(b'\n', bytes)? + 1;
    bytes.get(start..end)
}

/// The stamp of the first line that has one.
pub fn first_stamp(bytes: &[u8], origin: Origin) -> Option<Stamp> {
    let (mut years, mut scratch) = (Years::starting(origin.first_year, origin.local_offset), Scratch::default());
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| {
        let hole = line.iter().take_while(|byte| **byte == 0).count();
        &line[hole..]
    });
    lines.find_map(|line| frame(line, &mut years, &mut scratch, origin.local_offset)?.stamp)
}

/// Where to begin to read for a moment: at a line, a little before it, and what year stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub origin: Origin,
}

/// What of a file has to be read for a window: from a line to the beginning of another, or to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub from: Place,
    /// Before this place; `None`: to the end, wherever that will be.
    pub to: Option<u64>,
}

/// Looks for a window in a file whose lines are in order, but for what [`GRACE_MICROS`] forgives. One that is seen to be in no
/// order (two logs behind each other, a host whose clock is wrong) is read as a whole, and so is one that crosses two New Years
/// without naming them, from its beginning.
pub fn piece_of(
    (since, until): (Option<Stamp>, Option<Stamp>),
    size: u64,
    origin: Origin,
    scan: &YearScan,
    read_at: ReadAt<'_>,
) -> Piece {
    let whole = Piece { from: Place { at: 0, origin }, to: None };
    let mut stamps = Stamps { room: vec![0; PROBE], origin, scan, read_at };
    if (since.is_none() && until.is_none()) || !stamps.are_in_order(size) {
        return whole;
    }
    let since = since.map(|since| Stamp(since.0.saturating_sub(GRACE_MICROS)));
    let until = until.map(|until| Stamp(until.0.saturating_add(GRACE_MICROS)));
    Piece {
        from: since.and_then(|since| stamps.last_before(since, size)).unwrap_or(whole.from),
        to: until.and_then(|until| stamps.first_behind(until, size)),
    }
}

/// The stamps of a file, asked for by place.
struct Stamps<'a, 'r> {
    room: Vec<u8>,
    origin: Origin,
    scan: &'a YearScan,
    read_at: ReadAt<'r>,
}

impl Stamps<'_, '_> {
    /// The first line behind a place that has a stamp, and where the first line behind it begins.
    fn at(&mut self, at: u64) -> Option<(Place, Stamp)> {
        let count = (self.read_at)(at, &mut self.room).min(PROBE);
        let lines = whole_lines(&self.room[..count], at == 0)?;
        let year = self.scan.year_of(lines, self.origin.first_year)?;
        let origin = Origin { first_year: year, ..self.origin };
        let stamp = first_stamp(lines, origin)?;
        let skipped = lines.as_ptr().addr() - self.room.as_ptr().addr();
        Some((Place { at: at + skipped as u64, origin }, stamp))
    }

    /// By samples from one end to the other.
    fn are_in_order(&mut self, size: u64) -> bool {
        let step = (size / SAMPLES).max(PROBE as u64);
        let mut latest = Stamp(i64::MIN);
        for at in (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let Some((_, stamp)) = self.at(at) else { continue };
            if stamp.0 < latest.0.saturating_sub(GRACE_MICROS) {
                return false;
            }
            latest = latest.max(stamp);
        }
        true
    }

    /// A line before the moment, as late as a few probes find one.
    fn last_before(&mut self, wanted: Stamp, size: u64) -> Option<Place> {
        let (mut low, mut high, mut found) = (0, size, None);
        while high - low > PROBE as u64 {
            let middle = low + (high - low) / 2;
            match self.at(middle) {
                Some((place, stamp)) if stamp < wanted => {
                    found = Some(place);
                    low = middle;
                }
                // What could not be understood counts as too late: what is before is certain to be early enough.
                _ => high = middle,
            }
        }
        found
    }

    /// A line behind the moment, as early as a few probes find one.
    fn first_behind(&mut self, wanted: Stamp, size: u64) -> Option<u64> {
        let (mut low, mut high, mut found) = (0, size, None);
        while high - low > PROBE as u64 {
            let middle = low + (high - low) / 2;
            match self.at(middle) {
                Some((place, stamp)) if stamp > wanted => {
                    found = Some(place.at);
                    high = middle;
                }
                _ => low = middle,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(days: &[(&str, usize)]) -> Vec<u8> {
        let line = |day: &str, n: usize| {
            format!("{day} 10:{:02}:{:02} mx postfix/qmgr[1]: A1B2C3D4: removed\n", n / 60 % 60, n % 60)
        };
        days.iter().flat_map(|(day, lines)| (0..*lines).map(move |n| line(day, n))).collect::<String>().into_bytes()
    }

    fn at(log: &[u8]) -> impl FnMut(u64, &mut [u8]) -> usize + '_ {
        |at, room| {
            let rest = log.get(at as usize..).unwrap_or_default();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            count
        }
    }

    #[test]
    fn samples_give_the_years_of_the_whole() {
        // More than is scanned whole.
        let log = log(&[("Nov 30", 90_000), ("Dec 31", 90_000), ("Jan  1", 10), ("Feb  2", 90_000)]);
        assert!(log.len() as u64 > SCANNED_WHOLE_BYTES);
        let reference = Stamp::from_civil(2021, 3, 1, 0);
        assert_eq!(years(log.len() as u64, &mut at(&log)).first_year(reference), Some(2020));
    }

    #[test]
    fn a_moment_is_found_without_reading_what_is_before() {
        let log = log(&[("Nov 30", 3_000), ("Dec 31", 3_000), ("Jan  1", 3_000), ("Feb  2", 3_000)]);
        let size = log.len() as u64;
        let scan = years(size, &mut at(&log));
        let origin = Origin { first_year: 2020, local_offset: 0 };
        let place = |year, month, day| {
            let since = Some(Stamp::from_civil(year, month, day, 0));
            piece_of((since, None), size, origin, &scan, &mut at(&log)).from
        };
        let new_year = place(2021, 1, 1);
        assert_eq!(new_year.origin.first_year, 2020);
        assert!(log[new_year.at as usize..].starts_with(b"Dec 31") && new_year.at > size * 4 / 10, "{new_year:?}");
        let february = place(2021, 2, 2);
        assert!(log[february.at as usize..].starts_with(b"Jan  1") && february.origin.first_year == 2021);
        assert_eq!(place(2019, 1, 1).at, 0);
        assert!(place(2022, 1, 1).at > size * 9 / 10);
    }

    #[test]
    fn what_is_behind_a_window_is_not_read() {
        let log = log(&[("Nov 30", 3_000), ("Dec 31", 3_000), ("Jan  1", 3_000), ("Feb  2", 3_000)]);
        let size = log.len() as u64;
        let scan = years(size, &mut at(&log));
        let origin = Origin { first_year: 2020, local_offset: 0 };
        let end = |year, month, day| {
            let until = Some(Stamp::from_civil(year, month, day, 0));
            piece_of((None, until), size, origin, &scan, &mut at(&log)).to
        };
        let new_year = end(2021, 1, 1).unwrap();
        assert!(log[new_year as usize..].starts_with(b"Jan  1") && new_year < size * 6 / 10, "{new_year}");
        assert_eq!((end(2021, 2, 3), end(2030, 1, 1)), (None, None));
        let before = end(2020, 11, 1).unwrap();
        assert!(before <= 2 * PROBE as u64 && log[before as usize..].starts_with(b"Nov 30"), "{before}");
    }

    #[test]
    fn a_file_in_no_order_is_read_as_a_whole() {
        let days = |days: [&str; 4]| -> Vec<u8> {
            let line = "T10:00:00+00:00 mx postfix/qmgr[1]: A1B2C3D4: removed\n";
            days.iter().flat_map(|day| [*day, line].concat().repeat(3_000).into_bytes()).collect()
        };
        let origin = Origin { first_year: 2020, local_offset: 0 };
        let window = (Some(Stamp::from_civil(2020, 12, 1, 0)), Some(Stamp::from_civil(2020, 12, 2, 0)));
        let piece = |log: &[u8]| piece_of(window, log.len() as u64, origin, &YearScan::default(), &mut at(log));
        let mixed = days(["2020-11-30", "2020-12-31", "2020-11-30", "2020-12-01"]);
        assert_eq!(piece(&mixed), Piece { from: Place { at: 0, origin }, to: None });
        let sorted = piece(&days(["2020-11-30", "2020-12-01", "2020-12-03", "2020-12-31"]));
        assert!(sorted.from.at > 0 && sorted.to.is_some(), "{sorted:?}");
    }
}
