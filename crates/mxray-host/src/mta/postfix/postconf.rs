//! Asking `postconf`: found at a fixed path, checked, run with an empty environment, bounded in time and output.

use crate::read;
use mxray_model::{Blind, Seen};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where packages put it: Debian, Red Hat, SUSE; FreeBSD ports and self-built; /opt builds.
const PLACES: &[&str] =
    &["/usr/sbin/postconf", "/usr/local/sbin/postconf", "/usr/bin/postconf", "/opt/postfix/sbin/postconf"];
/// The full dump is 50 KB; a site with large lists in main.cf stays under a megabyte.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// It takes some 10 ms; up to 2 s where main.cf was changed within the last second, which it then reads repeatedly. It may
/// look up the host name, so a dead resolver can hold it.
const PATIENCE: Duration = Duration::from_secs(4);

/// postconf, found and fit to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postconf(PathBuf);

impl Postconf {
    /// The first one of the known places. `Unknown` where one is there that must not be run.
    pub fn find() -> Seen<Postconf> {
        for place in PLACES {
            let found = trusted(Path::new(place));
            if !found.is_absent() {
                return found;
            }
        }
        Seen::Absent
    }

    /// The effective, unexpanded values of one instance, defaults included.
    pub fn values(&self, config_dir: &str) -> Seen<BTreeMap<String, String>> {
        self.run(&["-c", config_dir]).map(|output| dump(&output))
    }

    /// Built-in values that no configuration can change.
    pub fn built_in(&self) -> Seen<BTreeMap<String, String>> {
        self.run(&["-d", "config_directory", "mail_version"]).map(|output| dump(&output))
    }

    /// The same, expanded by postconf itself (2.10 and later): what our own expansion is tested against.
    #[cfg(test)]
    pub fn expanded(&self, config_dir: &str) -> Seen<BTreeMap<String, String>> {
        self.run(&["-x", "-c", config_dir]).map(|output| dump(&output))
    }

    pub fn path(&self) -> String {
        read::shown(&self.0)
    }

    fn run(&self, arguments: &[&str]) -> Seen<Vec<u8>> {
        let step = format!("run {} {}", self.path(), arguments.join(" "));
        let mut command = Command::new(&self.0);
        command.args(arguments).env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => attend(child, step, PATIENCE),
            Err(error) => Seen::Unknown(Blind::Failed { step, error: error.to_string() }),
        }
    }
}

/// A program is run only where nobody but root can have put it there.
pub(super) fn trusted(path: &Path) -> Seen<Postconf> {
    let refuse = |why: String| read::failed("run", path, &format!("refused: {why}"));
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => return read::refused("look for", path, &error),
    };
    for part in real.ancestors() {
        let data = match std::fs::metadata(part) {
            Ok(data) => data,
            Err(error) => return read::refused("examine", part, &error),
        };
        let mode = data.permissions().mode();
        if data.uid() != 0 {
            return refuse(format!("{} belongs to user {}", read::shown(part), data.uid()));
        }
        // A sticky directory (/tmp) lets others add, not replace.
        let writable = if data.is_dir() && mode & 0o1000 != 0 { 0 } else { mode & 0o022 };
        if writable != 0 {
            return refuse(format!("{} may be written by others (mode {:o})", read::shown(part), mode & 0o7777));
        }
        if part == real && (!data.is_file() || mode & 0o111 == 0) {
            return refuse(format!("{} is not a program", read::shown(part)));
        }
    }
    Seen::Value(Postconf(real))
}

/// Reads what the child says until it ends, takes too long or says too much. Never leaves it behind.
pub(super) fn attend(mut child: Child, step: String, patience: Duration) -> Seen<Vec<u8>> {
    let until = Instant::now() + patience;
    let heard = listen(&mut child, until).and_then(|said| ended(&mut child, until).map(|()| said));
    if heard.is_err() {
        // Only this child, which we started, is ended. It may have ended by itself, which is as well.
        let _ = child.kill();
    }
    let status = child.wait();
    match (heard, status) {
        (Err(Stop::Late), _) => {
            let after_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            Seen::Unknown(Blind::TimedOut { what: step, after_ms })
        }
        (Err(Stop::Broken(error)), _) => Seen::Unknown(Blind::Failed { step, error }),
        (Ok((output, _)), Ok(status)) if status.success() => Seen::Value(output),
        (Ok((_, errors)), Ok(status)) => {
            let said = super::lines::escaped(&errors);
            Seen::Unknown(Blind::Failed { step, error: format!("{status}: {}", super::main_cf::clip_to(&said, 400)) })
        }
        (Ok(_), Err(error)) => Seen::Unknown(Blind::Failed { step, error: error.to_string() }),
    }
}

enum Stop {
    Late,
    Broken(String),
}

fn listen(child: &mut Child, until: Instant) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let broken = |error: &dyn std::fmt::Display| Stop::Broken(error.to_string());
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Stop::Broken("no pipes".to_owned()));
    };
    let (mut said, mut warned) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    let mut piece = vec![0_u8; 64 * 1024];
    while out_open || err_open {
        let left = until.checked_duration_since(Instant::now()).ok_or(Stop::Late)?;
        let mut polled = Vec::new();
        if out_open {
            polled.push(PollFd::new(&out, PollFlags::IN));
        }
        if err_open {
            polled.push(PollFd::new(&err, PollFlags::IN));
        }
        let patience =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut polled, Some(&patience)) {
            Ok(0) => return Err(Stop::Late),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(broken(&error)),
        }
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        if out_open && ready.next() == Some(true) {
            let count = out.read(&mut piece).map_err(|error| broken(&error))?;
            out_open = count > 0;
            said.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        if err_open && ready.next() == Some(true) {
            let count = err.read(&mut piece).map_err(|error| broken(&error))?;
            err_open = count > 0;
            warned.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        if said.len() + warned.len() > OUTPUT_BYTES_MAX {
            return Err(Stop::Broken(format!("more than {OUTPUT_BYTES_MAX} bytes of output")));
        }
    }
    Ok((said, warned))
}

/// Both pipes are closed; the process itself ends in the same moment, or is not postconf's usual self.
fn ended(child: &mut Child, until: Instant) -> Result<(), Stop> {
    const LOOK_AGAIN: Duration = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) if Instant::now() > until => return Err(Stop::Late),
            Ok(None) => std::thread::sleep(LOOK_AGAIN),
            Err(error) => return Err(Stop::Broken(error.to_string())),
        }
    }
}

/// `name = value`, one a line.
fn dump(output: &[u8]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in output.split(|byte| *byte == b'\n') {
        let line = super::lines::escaped(line);
        if let Some((name, value)) = line.split_once('=') {
            values.insert(name.trim_matches(' ').to_owned(), value.trim_matches(' ').to_owned());
        }
    }
    values
}
