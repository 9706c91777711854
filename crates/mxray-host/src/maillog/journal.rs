//! systemd's journal, through `journalctl`: its files may be packed in three ways and are written while they are read, and the
//! program that belongs to them reads all versions.
//!
//! What must not live here: what the entries say.

use crate::programs;
use mxray_model::{Blind, Seen};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];
/// Where the journal's files are: kept, and of this boot only.
const PLACES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Units that log mail without syslog's facility for it.
const UNITS: [&str; 8] = [
    "postfix.service",
    "postfix@-.service",
    "exim4.service",
    "exim.service",
    "dovecot.service",
    "opensmtpd.service",
    "rspamd.service",
    "opendkim.service",
];

/// Fields that the frame of a line is made of. Without this the export of an entry has thirty fields more.
const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP";

/// Which entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalWindow {
    /// Microseconds since 1970.
    pub since: Option<i64>,
    pub until: Option<i64>,
    /// Goes on with what is written from now on.
    pub follow: bool,
}

/// Entries of this machine's mail servers, one JSON object a line.
#[derive(Debug)]
pub struct Journal {
    program: programs::Stream,
}

impl Journal {
    /// `Absent`: there is no journal here. `Unknown`: it may not be read, or its program may not be trusted.
    pub fn open(window: JournalWindow) -> Seen<Journal> {
        match readable(&PLACES.map(Path::new)) {
            Seen::Value(()) => {}
            Seen::Absent => return Seen::Absent,
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
        let mut program = Seen::Absent;
        for path in PROGRAMS {
            program = programs::trusted(Path::new(path));
            if !program.is_absent() {
                break;
            }
        }
        let program = match program {
            Seen::Value(program) => program,
            // A journal is there, and nothing here reads it.
            Seen::Absent => return Seen::Unknown(without_program()),
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        };
        let mut command = Command::new(program);
        command.args(arguments(window)).stdin(Stdio::null()).stderr(Stdio::null());
        match programs::Stream::start(command) {
            Ok(program) => Seen::Value(Journal { program }),
            Err(error) => Seen::Unknown(Blind::Failed { step: "run journalctl".to_owned(), error: error.to_string() }),
        }
    }
}

impl Read for Journal {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.program.read(room)
    }
}

/// Containers mount the host's journal and have no systemd.
fn without_program() -> Blind {
    Blind::Elsewhere {
        why: format!("the journal's files are here, and journalctl is at neither of {}", PROGRAMS.join(", ")),
        look: "journalctl -o json SYSLOG_FACILITY=2 | mxray logs -".to_owned(),
    }
}

fn arguments(window: JournalWindow) -> Vec<String> {
    let mut words: Vec<String> =
        ["--output=json", "--no-pager", "--quiet", "--all"].iter().map(|word| (*word).to_owned()).collect();
    words.push(format!("--output-fields={FIELDS}"));
    // Seconds: a line more at the edges is left out by its own stamp.
    let seconds = |micros: i64| micros.div_euclid(1_000_000);
    words.extend(window.since.map(|since| format!("--since=@{}", seconds(since).max(0))));
    words.extend(window.until.map(|until| format!("--until=@{}", seconds(until).max(0) + 1)));
    if window.follow {
        words.extend(["--follow".to_owned(), "--no-tail".to_owned()]);
    }
    // Facility 2 is mail (RFC 5424 section 6.2.1).
    words.push("SYSLOG_FACILITY=2".to_owned());
    for unit in UNITS {
        words.extend(["+".to_owned(), format!("_SYSTEMD_UNIT={unit}")]);
    }
    words
}

/// Whether the system's own journal may be read. journalctl itself says nothing and shows the user's own entries.
fn readable(places: &[&Path]) -> Seen<()> {
    let mut refused = None;
    let mut files = 0;
    for machine in places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten() {
        let file: PathBuf = machine.path().join("system.journal");
        match std::fs::File::open(&file) {
            Ok(_) => files += 1,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(file),
            Err(_) => {}
        }
    }
    match (files, refused) {
        (0, None) => Seen::Absent,
        (0, Some(_)) => Seen::Unknown(Blind::NotPermitted {
            what: "read the system's journal".to_owned(),
            needs: "root, or membership in the group systemd-journal or adm".to_owned(),
        }),
        _ => Seen::Value(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_asked_for_and_a_place_without_files_is_absent() {
        let words = arguments(JournalWindow { since: Some(1_500_000), until: Some(2_000_000), follow: true });
        for word in ["--since=@1", "--until=@3", "--follow", "SYSLOG_FACILITY=2", "_SYSTEMD_UNIT=dovecot.service"] {
            assert!(words.iter().any(|known| known == word), "{word}: {words:?}");
        }
        assert!(readable(&[Path::new("/proc/nonexistent")]).is_absent());
    }
}
