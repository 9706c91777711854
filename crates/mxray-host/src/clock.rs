//! The clock: what the kernel says of it, what the time daemon says of it, and files that prove it behind.
//!
//! Nobody else's clock is asked: a time server is another machine. What an offset means is a rule's business.

use crate::processes::{Row, Table};
use crate::programs::Programs;
use crate::read;
use mxray_model::evidence::{Clock, KernelClock, Stamp, StampKind, TimeDaemon};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Programs that keep a clock, by the name of their process: 15 bytes at most (`comm`).
const DAEMONS: &[(&str, &str)] = &[
    ("chronyd", "chronyd"),
    ("systemd-timesyn", "systemd-timesyncd"),
    ("ntpd", "ntpd"),
    ("openntpd", "openntpd"),
    ("ntpd-rs-daemon", "ntpd-rs"),
    ("ntp-daemon", "ntpd-rs"),
    ("ptp4l", "ptp4l"),
    ("phc2sys", "phc2sys"),
    ("VBoxService", "VBoxService"),
    ("vmtoolsd", "vmtoolsd"),
];

/// Files whose time stamp a time daemon renews when its clock agrees with its source, and no one else.
const SYNCHRONISED: &[&str] = &[
    // systemd-timesyncd.service(8)
    "/run/systemd/timesync/synchronized",
    // chrony.conf(5), driftfile
    "/var/lib/chrony/chrony.drift",
    "/var/lib/chrony/drift",
    // ntp.conf(5), driftfile
    "/var/lib/ntpsec/ntp.drift",
    "/var/lib/ntp/ntp.drift",
];
/// Files that come with their distribution's time stamp. `/etc/os-release` is a link to the first.
const BUILT: &[&str] = &["/usr/lib/os-release"];

const CHRONYC: &[&str] = &["/usr/bin/chronyc", "/usr/local/bin/chronyc"];
/// chronyd answers within a millisecond; chronyc itself gives up after a second and asks again.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Looks at the clock; `table` is for the daemons.
pub fn look(table: &Seen<Table>, programs: &Programs) -> Clock {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|before| -whole(before.duration()), whole);
    let stamps =
        |paths: &'static [&'static str], kind| paths.iter().map(move |path| ((*path).to_owned(), stamp(path, kind)));
    let past = stamps(SYNCHRONISED, StampKind::Synchronised).chain(stamps(BUILT, StampKind::Built));
    Clock {
        now_s: Seen::Value(now_s),
        today: Seen::Value(date(now_s)),
        kernel: kernel(),
        daemons: daemons(table, programs),
        past: past.filter(|(_, seen)| !seen.is_absent()).collect(),
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn kernel() -> Seen<KernelClock> {
    match mxray_sys::clock::state() {
        Ok(state) => Seen::Value(KernelClock { synchronised: state.synchronised, max_error_us: state.max_error_us }),
        Err(error) => Seen::Unknown(Blind::Failed {
            step: "ask the kernel for the clock's state".to_owned(),
            error: error.to_string(),
        }),
    }
}

fn stamp(path: &str, kind: StampKind) -> Seen<Stamp> {
    let path = Path::new(path);
    match std::fs::metadata(path) {
        Ok(data) => Seen::Value(Stamp { at_s: data.mtime(), kind }),
        Err(error) => read::refused("examine", path, &error),
    }
}

fn daemons(table: &Seen<Table>, programs: &Programs) -> Seen<BTreeMap<String, TimeDaemon>> {
    let table = match table {
        Seen::Value(table) => table,
        Seen::Absent => return Seen::Absent,
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let mut found = BTreeMap::new();
    for row in table.rows.values() {
        let Some(name) = daemon(row) else { continue };
        found.entry(name.to_owned()).or_insert_with(|| asked(name, row.pid, programs));
    }
    match found.is_empty() {
        true if !table.all_visible => Seen::Unknown(Blind::NotPermitted {
            what: "other users' processes are hidden (hidepid)".to_owned(),
            needs: "cap_sys_ptrace".to_owned(),
        }),
        true => Seen::Absent,
        false => Seen::Value(found),
    }
}

fn daemon(row: &Row) -> Option<&'static str> {
    DAEMONS.iter().find(|(process, _)| *process == row.name).map(|(_, name)| *name)
}

fn asked(name: &str, pid: u32, programs: &Programs) -> TimeDaemon {
    let unasked = TimeDaemon { pid, synchronised: Seen::Absent, ahead_ms: Seen::Absent };
    if name != "chronyd" {
        return unasked;
    }
    let Some(chronyc) = CHRONYC.iter().map(Path::new).find(|path| path.exists()) else { return unasked };
    let said = match crate::programs::trusted(chronyc) {
        Seen::Value(program) => {
            let mut command = Command::new(program);
            // By UDP on the loopback address: by the other way, chronyc would make a socket of its own in /run/chrony.
            command.args(["-n", "-h", "127.0.0.1", "tracking"]);
            programs.run(command, "run chronyc -n -h 127.0.0.1 tracking".to_owned(), PATIENCE)
        }
        Seen::Absent => return unasked,
        Seen::Unknown(blind) => Seen::Unknown(blind),
    };
    let tracking = match said {
        Seen::Value(output) => tracking(&output),
        Seen::Absent => return unasked,
        Seen::Unknown(blind) => Err(blind),
    };
    match tracking {
        Ok(Tracking { synchronised, ahead_ms }) => {
            TimeDaemon { pid, synchronised: Seen::Value(synchronised), ahead_ms: Seen::Value(ahead_ms) }
        }
        Err(blind) => TimeDaemon { pid, synchronised: Seen::Unknown(blind.clone()), ahead_ms: Seen::Unknown(blind) },
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Tracking {
    synchronised: bool,
    ahead_ms: i64,
}

/// chronyc(1), tracking: `System time : 12.000000001 seconds slow of NTP time` is what still has to be corrected, and
/// `Leap status : Not synchronised` says that there is no source.
fn tracking(output: &[u8]) -> Result<Tracking, Blind> {
    let text = String::from_utf8_lossy(output);
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let offset = || {
        let mut words = value("System time")?.split_whitespace();
        let seconds: f64 = words.next()?.parse().ok()?;
        let sign = match (words.next()?, words.next()?) {
            ("seconds", "fast") => 1.0,
            ("seconds", "slow") => -1.0,
            _ => return None,
        };
        // A saturating cast: what is out of range stays out of range.
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        Some((seconds * sign * 1000.0).round() as i64)
    };
    match (value("Leap status"), offset()) {
        (Some(leap), Some(ahead_ms)) => Ok(Tracking { synchronised: leap != "Not synchronised", ahead_ms }),
        _ => {
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(Blind::NotUnderstood { what: "chronyc tracking".to_owned(), text: untrusted(first.as_bytes()) })
        }
    }
}

/// The date in UTC of a moment: days since 0000-03-01 cut into 400-year cycles, whose leap days fall alike.
pub fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400).saturating_add(719_468);
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    // Months from March, in groups of 153 days to five months.
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", year + cycle * 400 + next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAID: &str = "Reference ID    : C0000201 (192.0.2.1)\nStratum         : 3\n\
        Ref time (UTC)  : Thu Jan 01 00:00:00 1970\nSystem time     : 3600.000001501 seconds slow of NTP time\n\
        Last offset     : -0.000001632 seconds\nLeap status     : Normal\n";

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date_text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_709_164_800, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), date_text, "{seconds}");
        }
    }

    #[test]
    fn chrony_says_how_far_it_is_off() {
        assert_eq!(tracking(SAID.as_bytes()), Ok(Tracking { synchronised: true, ahead_ms: -3_600_000 }));
        let fast = SAID.replace("slow", "fast").replace("Normal", "Not synchronised");
        assert_eq!(tracking(fast.as_bytes()), Ok(Tracking { synchronised: false, ahead_ms: 3_600_000 }));
        for bad in ["", "506 Cannot talk to daemon\n", "System time : x seconds slow\nLeap status : Normal\n"] {
            assert!(tracking(bad.as_bytes()).is_err(), "{bad}");
        }
        let endless = SAID.replace("3600.000001501", "1e300");
        assert_eq!(tracking(endless.as_bytes()).map(|said| said.ahead_ms), Ok(i64::MIN));
    }

    #[test]
    fn this_machine_has_a_clock() {
        let programs = Programs::new(std::time::Instant::now() + PATIENCE);
        let clock = look(&crate::processes::table(), &programs);
        assert!(clock.now_s.value().is_some_and(|now| *now > 1_700_000_000));
        assert!(clock.kernel.value().is_some_and(|kernel| kernel.max_error_us >= 0), "{:?}", clock.kernel);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), seconds in any::<i64>()) {
            let _ = tracking(&bytes);
            date(seconds);
        }
    }
}
