//! Points in time as people write them.
//!
//! What must not live here: a clock. "Now" is given.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, Timestamp, ToSpan, Zoned};
use mxray_logs::Stamp;

/// `2026-03-01T10:00:00Z`, a local date with or without a time of day, `24h` before now, `yesterday`, `today`, `now`.
pub fn parse(text: &str, now: &Zoned) -> Result<Stamp, String> {
    let text = text.trim();
    let found = words(text, now)
        .or_else(|| back(text, now))
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| local(text, now));
    let found = found.ok_or_else(|| {
        let shown = mxray_model::text::untrusted(text.as_bytes());
        format!("{shown}: no time. Such are 2026-03-01, 2026-03-01T10:00:00Z, 10:30, 90m, 24h, 7d, yesterday")
    })?;
    Ok(Stamp(found.as_microsecond()))
}

fn words(text: &str, now: &Zoned) -> Option<Timestamp> {
    let day = match text {
        "now" => return Some(now.timestamp()),
        "today" => now.date(),
        "yesterday" => now.date().yesterday().ok()?,
        _ => return None,
    };
    midnight(day, now)
}

fn midnight(day: Date, now: &Zoned) -> Option<Timestamp> {
    Some(day.to_zoned(now.time_zone().clone()).ok()?.timestamp())
}

/// `90s`, `90m`, `24h`, `7d`, `2w`, with or without a minus before it.
fn back(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
    // More is a date.
    if !(0..=100_000).contains(&count) {
        return None;
    }
    let span: Span = match unit {
        's' => count.seconds(),
        'm' => count.minutes(),
        'h' => count.hours(),
        'd' => count.days(),
        'w' => count.weeks(),
        _ => return None,
    };
    Some(now.checked_sub(span).ok()?.timestamp())
}

fn local(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<DateTime>() {
        return Some(moment.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    }
    let time: Time = text.parse().ok()?;
    Some(now.date().to_datetime(time).to_zoned(now.time_zone().clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{TimeZone, offset};

    #[test]
    fn times_as_people_write_them() {
        let zone = TimeZone::fixed(offset(2));
        let now = "2026-03-10T12:00:00Z".parse::<Timestamp>().unwrap().to_zoned(zone);
        let read = |text: &str| parse(text, &now).map(Stamp::rfc3339).unwrap_or_default();
        assert_eq!(read("24h"), "2026-03-09T12:00:00Z");
        assert_eq!(read("-90m"), "2026-03-10T10:30:00Z");
        assert_eq!(read("7d"), "2026-03-03T12:00:00Z");
        assert_eq!(read("yesterday"), "2026-03-08T22:00:00Z");
        assert_eq!(read("today"), "2026-03-09T22:00:00Z");
        assert_eq!(read("2026-03-01"), "2026-02-28T22:00:00Z");
        assert_eq!(read("2026-03-01T10:00:00"), "2026-03-01T08:00:00Z");
        assert_eq!(read("2026-03-01 10:00"), "2026-03-01T08:00:00Z");
        assert_eq!(read("2026-03-01T10:00:00Z"), "2026-03-01T10:00:00Z");
        assert_eq!(read("2026-03-01T10:00:00+01:00"), "2026-03-01T09:00:00Z");
        assert_eq!(read("10:30"), "2026-03-10T08:30:00Z");
        for wrong in ["", "h", "soon", "1x", "2026-13-01", "999999999h", "\u{1b}"] {
            assert!(parse(wrong, &now).is_err(), "{wrong}");
        }
    }
}
