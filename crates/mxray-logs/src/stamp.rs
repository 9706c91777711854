//! Moments as lines state them, and the year that RFC 3164 leaves out.
//!
//! What must not live here: a clock. "Today" is never the answer to "which year was this": a year comes from a reference
//! that the caller knows (when the file was last written, the first line of the next newer file) by walking back from it.

/// A moment in microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

pub const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

impl Stamp {
    /// The minute it lies in, counted from 1970.
    pub fn minute(self) -> i64 {
        self.0.div_euclid(60 * SECOND)
    }

    /// Year, month and day in UTC.
    pub fn date(self) -> (i32, u32, u32) {
        date_of(self.0.div_euclid(DAY))
    }

    /// RFC 3339 in UTC, to the second.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = self.date();
        let second = self.0.rem_euclid(DAY) / SECOND;
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }

    pub fn from_civil(year: i32, month: u32, day: u32, second_of_day: i64) -> Stamp {
        Stamp((days(year, month, day) * 86_400 + second_of_day) * SECOND)
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; March is the first month of the reckoning, so that the leap
/// day comes last.
fn days(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days: i64) -> (i32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |n: i64| u32::try_from(n).unwrap_or(1);
    (i32::try_from(year).unwrap_or(i32::MAX), small(month), small(day))
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_of(name: &[u8]) -> Option<u32> {
    const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let name: &[u8; 3] = name.try_into().ok()?;
    let at = NAMES.chunks_exact(3).position(|known| known == name)?;
    u32::try_from(at + 1).ok()
}

/// One or two digits; a blank may stand for the first.
fn small(bytes: &[u8]) -> Option<u32> {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u32::from(byte - b'0'),
            b' ' if place == 0 => {}
            _ => return None,
        }
    }
    Some(value)
}

fn time_of_day(bytes: &[u8]) -> Option<i64> {
    let [a, b, b':', c, d, b':', e, f] = *bytes.first_chunk::<8>()? else { return None };
    let (hour, minute, second) = (small(&[a, b])?, small(&[c, d])?, small(&[e, f])?);
    (hour < 24 && minute < 60 && second <= 60).then(|| i64::from(hour * 3600 + minute * 60 + second))
}

/// The head of an RFC 3164 line: month, day, second of the day; and how many bytes it took.
///
/// The day is padded with a blank (RFC 3164 section 4.1.2); some writers pad with nought or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yearless {
    pub month: u32,
    pub day: u32,
    pub second: i64,
}

pub fn yearless(line: &[u8]) -> Option<(Yearless, usize)> {
    let month = month_of(line.get(..3)?)?;
    if line.get(3) != Some(&b' ') {
        return None;
    }
    // "Jan  1", "Jan 01", "Jan 11" take two places, "Jan 1" one.
    let wide = line.get(6) == Some(&b' ');
    let (day, time) = if wide { (line.get(4..6)?, 7) } else { (line.get(4..5)?, 6) };
    if !wide && line.get(5) != Some(&b' ') {
        return None;
    }
    let day = small(day)?;
    let second = time_of_day(line.get(time..)?)?;
    (1..=31).contains(&day).then_some((Yearless { month, day, second }, time + 8))
}

/// `YYYY-MM-DD hh:mm:ss` or `…T…`, with fraction and offset where they stand; and how many bytes it took.
///
/// RFC 3339 section 5.6, and what writers make of it: `.` or `,` before the fraction, an offset without its colon, an offset
/// after a blank (Exim). Without an offset the time is local, and `local_offset` (seconds east) is taken.
pub fn dated(line: &[u8], local_offset: i64) -> Option<(Stamp, usize)> {
    let head = line.get(..19)?;
    if head[4] != b'-' || head[7] != b'-' || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = small(&head[..2])? * 100 + small(&head[2..4])?;
    let (month, day) = (small(&head[5..7])?, small(&head[8..10])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let second = time_of_day(&head[11..])?;
    let (micros, mut at) = fraction(line, 19);
    let mut offset = None;
    match line.get(at) {
        Some(b'Z' | b'z') => {
            offset = Some(0);
            at += 1;
        }
        Some(b'+' | b'-') => (offset, at) = offset_at(line, at),
        Some(b' ') if head[10] == b' ' && matches!(line.get(at + 1), Some(b'+' | b'-')) => {
            let (found, after) = offset_at(line, at + 1);
            if found.is_some() {
                (offset, at) = (found, after);
            }
        }
        _ => {}
    }
    let year = i32::try_from(year).ok()?;
    let seconds = days(year, month, day) * 86_400 + second - offset.unwrap_or(local_offset);
    Some((Stamp(seconds * SECOND + micros), at))
}

fn fraction(line: &[u8], at: usize) -> (i64, usize) {
    if !matches!(line.get(at), Some(b'.' | b',')) {
        return (0, at);
    }
    let (mut micros, mut scale, mut end) = (0, 100_000, at + 1);
    while let Some(digit @ b'0'..=b'9') = line.get(end) {
        micros += i64::from(digit - b'0') * scale;
        scale /= 10;
        end += 1;
    }
    (micros, end)
}

fn offset_at(line: &[u8], at: usize) -> (Option<i64>, usize) {
    let read = || {
        let sign = if line.get(at)? == &b'-' { -1 } else { 1 };
        let hours = small(line.get(at + 1..at + 3)?)?;
        let colon = usize::from(line.get(at + 3) == Some(&b':'));
        let minutes = line.get(at + 3 + colon..at + 5 + colon).and_then(small);
        let end = if minutes.is_some() { at + 5 + colon } else { at + 3 };
        Some((sign * i64::from(hours * 3600 + minutes.unwrap_or(0) * 60), end))
    };
    read().map_or((None, at), |(offset, end)| (Some(offset), end))
}

/// How far a month may fall back before it means a new year. A clock that is set back moves by minutes; New Year moves by
/// eleven months.
const MONTHS_BACK_MIN: u32 = 6;

/// What the month of a line says of its year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    SameYear,
    NewYear,
    /// From the old year, behind the first lines of the new one.
    Straggler,
}

fn step(last: Option<Yearless>, now: Yearless) -> Step {
    let Some(last) = last else { return Step::SameYear };
    if last.month >= now.month + MONTHS_BACK_MIN {
        Step::NewYear
    } else if last.month == 1 && last.day <= 2 && now.month == 12 && now.day >= 30 {
        Step::Straggler
    } else {
        Step::SameYear
    }
}

/// The years of a file without years, found before it is read: its New Years are counted once, and the last line lies at or
/// before the reference.
#[derive(Debug, Clone, Default)]
pub struct YearScan {
    first: Option<Yearless>,
    last: Option<Yearless>,
    rollovers: i32,
    /// New Years before the first 29 February, which pins the year.
    leap_after: Option<i32>,
    tail: Vec<u8>,
    skipping: bool,
}

/// Bytes of a line's beginning that the scan keeps between two pieces.
const SCAN_HEAD_BYTES: usize = 96;

impl YearScan {
    /// Bytes of the file, in order, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let piece = &rest[..end.unwrap_or(rest.len())];
            if self.tail.is_empty() && end.is_some() && !self.skipping {
                self.line(piece);
            } else {
                let room = SCAN_HEAD_BYTES.saturating_sub(self.tail.len());
                self.tail.extend_from_slice(&piece[..piece.len().min(room)]);
                self.skipping = end.is_none();
                if end.is_some() {
                    let line = std::mem::take(&mut self.tail);
                    self.line(&line);
                }
            }
            rest = end.map_or(&[][..], |end| &rest[end + 1..]);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = crate::envelope::without_prefix(line);
        let Some((now, _)) = yearless(line) else { return };
        match step(self.last, now) {
            Step::NewYear => self.rollovers += 1,
            Step::SameYear => {}
            Step::Straggler => return,
        }
        if now.month == 2 && now.day == 29 && self.leap_after.is_none() {
            self.leap_after = Some(self.rollovers);
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// The year of some line of the file, by its month, where the file crosses at most one New Year. `None`: it crosses more, or the
    /// line cannot be told.
    pub fn year_of(&self, lines: &[u8], first_year: i32) -> Option<i32> {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Some(first_year) };
        let now =
            lines.split(|byte| *byte == b'\n').find_map(|line| yearless(crate::envelope::without_prefix(line)))?.0;
        match self.rollovers {
            0 => Some(first_year),
            // Less than a year in all: a month belongs to one side of New Year only.
            1 if last.month < first.month => Some(first_year + i32::from(now.month < first.month)),
            _ => None,
        }
    }

    /// The year of the first line, where the last one is not later than `reference`; `None` for a file whose lines all have
    /// their year.
    pub fn first_year(&self, reference: Stamp) -> Option<i32> {
        let last = self.last?;
        let (year, _, _) = reference.date();
        // A day's grace: the reference is UTC, the lines are local.
        let fits = |year: i32| Stamp::from_civil(year, last.month, last.day, last.second).0 <= reference.0 + DAY;
        let mut last_year = if fits(year + 1) && last.month == 1 {
            year + 1
        } else if fits(year) {
            year
        } else {
            year - 1
        };
        if let Some(after) = self.leap_after {
            let leap = |last_year: i32| is_leap(last_year - self.rollovers + after);
            // Eight years lie between the leap years around 1900 and 2100, four elsewhere.
            last_year = (0..8).map(|back| last_year - back).find(|year| leap(*year)).unwrap_or(last_year);
        }
        Some(last_year - self.rollovers)
    }
}

/// Gives each line without a year its year, and steps at New Year.
#[derive(Debug, Clone)]
pub struct Years {
    year: i32,
    last: Option<Yearless>,
    local_offset: i64,
    cached: ([u8; 15], Stamp),
}

impl Years {
    /// Begins in the year of the first line; `local_offset` in seconds east of UTC is that of the writer.
    pub fn starting(first_year: i32, local_offset: i64) -> Years {
        Years { year: first_year, last: None, local_offset, cached: ([0; 15], Stamp(0)) }
    }

    /// The moment at the head of a line, and how many bytes it took: a fraction of the second may follow (`short-precise`).
    pub fn read(&mut self, line: &[u8]) -> Option<(Stamp, usize)> {
        let (stamp, used) = self.second(line)?;
        if line.get(used) != Some(&b'.') {
            return Some((stamp, used));
        }
        let (micros, end) = fraction(line, used);
        Some((Stamp(stamp.0 + micros), end))
    }

    fn second(&mut self, line: &[u8]) -> Option<(Stamp, usize)> {
        // Many lines share their second: what was just read is not read again.
        let head = line.first_chunk::<15>();
        if let Some(head) = head
            && *head == self.cached.0
        {
            return Some((self.cached.1, 15));
        }
        let (found, used) = yearless(line)?;
        match step(self.last, found) {
            Step::NewYear => self.year += 1,
            Step::SameYear => {}
            Step::Straggler => {
                let second = found.second - self.local_offset;
                return Some((Stamp::from_civil(self.year - 1, found.month, found.day, second), used));
            }
        }
        self.last = Some(found);
        let stamp = Stamp::from_civil(self.year, found.month, found.day, found.second - self.local_offset);
        if let (Some(head), 15) = (head, used) {
            self.cached = (*head, stamp);
        }
        Some((stamp, used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_both_ways() {
        for (year, month, day) in
            [(1970, 1, 1), (1999, 12, 31), (2000, 2, 29), (2024, 2, 29), (2026, 3, 1), (2100, 3, 1)]
        {
            assert_eq!(date_of(days(year, month, day)), (year, month, day));
        }
        assert_eq!(days(2000, 1, 1), 10_957);
        assert_eq!(Stamp::from_civil(2026, 11, 22, 3661).rfc3339(), "2026-11-22T01:01:01Z");
    }

    #[test]
    fn stamps_with_a_year() {
        let read = |text: &str| dated(text.as_bytes(), 3600).map(|(stamp, used)| (stamp.rfc3339(), used));
        assert_eq!(read("2024-12-31T06:56:17.784598+01:00 mail"), Some(("2024-12-31T05:56:17Z".into(), 32)));
        assert_eq!(read("2024-12-31T06:56:17Z x"), Some(("2024-12-31T06:56:17Z".into(), 20)));
        assert_eq!(read("2024-12-31T06:56:17-0130 x"), Some(("2024-12-31T08:26:17Z".into(), 24)));
        assert_eq!(read("2024-12-31 06:56:17 x"), Some(("2024-12-31T05:56:17Z".into(), 19)));
        assert_eq!(read("2024-12-31 06:56:17.123 +0000 x"), Some(("2024-12-31T06:56:17Z".into(), 29)));
        assert_eq!(read("2024-13-31 06:56:17"), None);
        assert_eq!(read("short"), None);
    }

    fn scanned(lines: &[&str]) -> YearScan {
        let mut scan = YearScan::default();
        let text = lines.iter().map(|line| format!("{line} 10:00:00 h t: x\n")).collect::<String>();
        // In pieces of seven bytes: a line's head may be cut anywhere.
        text.as_bytes().chunks(7).for_each(|piece| scan.feed(piece));
        scan
    }

    #[test]
    fn a_year_is_walked_back_to() {
        let reference = Stamp::from_civil(2021, 3, 1, 0);
        assert_eq!(scanned(&["Nov 30", "Dec 31", "Jan  1", "Feb  2"]).first_year(reference), Some(2020));
        assert_eq!(scanned(&["Nov 30", "Dec 31"]).first_year(reference), Some(2020), "an archive of last year");
        assert_eq!(scanned(&["Feb 27", "Feb 29"]).first_year(reference), Some(2020), "29 February pins the year");
        assert_eq!(
            scanned(&["Mar 10", "Mar  9", "Mar 10"]).first_year(reference),
            Some(2020),
            "no new year, a clock set back"
        );
        assert_eq!(scanned(&["Dec 31", "Jan  1", "Dec 31", "Jan  1"]).first_year(reference), Some(2020), "a straggler");
        assert_eq!(scanned(&["Dec 31", "Jan  1", "Jun  1", "Jan  1"]).first_year(reference), Some(2020));
        assert_eq!(scanned(&["Dec 31", "Jan  1", "Jul  1", "Jan  1"]).first_year(reference), Some(2019));
        assert_eq!(YearScan::default().first_year(reference), None);
    }

    #[test]
    fn years_step_at_new_year_only() {
        let mut years = Years::starting(2019, 0);
        let mut read = |text: &str| years.read(text.as_bytes()).map(|(stamp, _)| stamp.date().0);
        assert_eq!(read("Dec 31 23:59:59 h"), Some(2019));
        assert_eq!(read("Jan  1 00:00:00 h"), Some(2020));
        assert_eq!(read("Dec 31 23:59:59 h"), Some(2019), "a straggler");
        assert_eq!(read("Jan  1 00:00:01 h"), Some(2020));
        assert_eq!(read("Jul  1 00:00:01 h"), Some(2020));
        assert_eq!(read("Jan 1 00:00:01 h"), Some(2021));
    }
}
