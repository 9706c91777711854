//! The programs that one examination runs: how long, how much of their output, and that none of them outlives it.
//!
//! Which program is run is its caller's business, and to run only what is [`trusted`].

use crate::{read, secrets};
use mxray_model::{Blind, Seen, text};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// postconf's full dump is 50 KB; a site with large lists in main.cf stays under a megabyte.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Of what a program says on standard error, so much is told where it fails.
const ERROR_CHARS_MAX: usize = 400;
/// How often a program that has closed its output is looked at until it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What one examination may run, and until when.
///
/// A part that is not back at the deadline is left behind with whatever it does; a child process of it must not be.
#[derive(Debug, Clone)]
pub struct Programs {
    until: Instant,
    /// `None`: the examination is over, and nothing may be started any more.
    running: Arc<Mutex<Option<Vec<Running>>>>,
}

type Running = Arc<Mutex<Child>>;

/// A panic between two calls leaves nothing half done here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Programs {
    pub fn new(until: Instant) -> Programs {
        Programs { until, running: Arc::new(Mutex::new(Some(Vec::new()))) }
    }

    /// Ends what still runs, and lets nothing more be started.
    pub fn end(&self) {
        for child in locked(&self.running).take().into_iter().flatten() {
            let mut child = locked(&child);
            // What has ended by itself is as well.
            if matches!(child.try_wait(), Ok(None)) {
                end(&mut child);
            }
        }
    }

    /// Runs a program with an empty environment in `/`, for `patience` at most, and gives what it said.
    pub(crate) fn run(&self, command: Command, step: String, patience: Duration) -> Seen<Vec<u8>> {
        match self.said(command, step.clone(), patience) {
            Seen::Value((_, true)) => {
                Seen::Unknown(Blind::Failed { step, error: format!("more than {OUTPUT_BYTES_MAX} bytes of output") })
            }
            other => other.map(|(output, _)| output),
        }
    }

    /// The same, for a list whose beginning is worth something: what it said, and whether it was ended because it said more.
    pub(crate) fn said(&self, mut command: Command, step: String, patience: Duration) -> Seen<(Vec<u8>, bool)> {
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let now = Instant::now();
        let until = self.until.min(now + patience);
        let child = match self.spawn(&mut command) {
            Ok(Some(child)) => child,
            Ok(None) => return Seen::not_attempted(&format!("{step}: the examination's time was over")),
            Err(error) => return Seen::Unknown(Blind::Failed { step, error: error.to_string() }),
        };
        let heard = listen(&child, until).and_then(|said| {
            if said.cut {
                end(&mut locked(&child));
                return Ok((said, None));
            }
            ended(&child, until).map(|status| (said, Some(status)))
        });
        if heard.is_err() {
            end(&mut locked(&child));
        }
        if let Some(running) = locked(&self.running).as_mut() {
            running.retain(|other| !Arc::ptr_eq(other, &child));
        }
        match heard {
            Ok((said, None)) => Seen::Value((said.output, true)),
            Ok((said, Some(status))) if status.success() => Seen::Value((said.output, false)),
            Ok((said, Some(status))) => {
                Seen::Unknown(Blind::Failed { step, error: format!("{status}: {}", complaint(&said.errors)) })
            }
            Err(Stop::Late) => {
                let after_ms = u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX);
                Seen::Unknown(Blind::TimedOut { what: step, after_ms })
            }
            Err(Stop::Broken(error)) => Seen::Unknown(Blind::Failed { step, error }),
        }
    }

    fn spawn(&self, command: &mut Command) -> io::Result<Option<Running>> {
        let mut running = locked(&self.running);
        let Some(running) = running.as_mut().filter(|_| Instant::now() < self.until) else { return Ok(None) };
        let child = Arc::new(Mutex::new(command.spawn()?));
        running.push(Arc::clone(&child));
        Ok(Some(child))
    }
}

/// Ends a program with whatever it has started itself (doveconf asks Dovecot's plugins for what they can do). Only for
/// one that nobody has waited for: until then no other group can have its number.
fn end(child: &mut Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// A program whose output is read as it comes, and that ends with its reader.
#[derive(Debug)]
pub(crate) struct Stream {
    child: Child,
    out: Option<std::process::ChildStdout>,
}

impl Stream {
    /// Starts it with an empty environment in `/`. Of its other streams the caller disposes.
    pub(crate) fn start(mut command: Command) -> io::Result<Stream> {
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let out = child.stdout.take();
        Ok(Stream { child, out })
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.read(room))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // One that waits to write is not waited for.
        drop(self.out.take());
        if matches!(self.child.try_wait(), Ok(None)) {
            end(&mut self.child);
        }
    }
}

/// A program's real path. It is run only where nobody but root can have put it there.
pub(crate) fn trusted(path: &Path) -> Seen<PathBuf> {
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
    Seen::Value(real)
}

/// What a program said of its failure: postconf repeats whole lines of the configuration in its warnings.
fn complaint(errors: &[u8]) -> String {
    let lines = errors.trim_ascii().split(|byte| *byte == b'\n').map(|line| secrets::text(&text::untrusted(line)));
    let kept = lines.collect::<Vec<_>>().join("; ");
    match kept.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", kept.get(..end).unwrap_or_default()),
        None => kept,
    }
}

enum Stop {
    Late,
    Broken(String),
}

impl Stop {
    fn broken(error: &dyn std::fmt::Display) -> Stop {
        Stop::Broken(error.to_string())
    }
}

/// One of the two pipes, and what came through it.
struct Ear<T> {
    /// `None`: closed.
    pipe: Option<T>,
    heard: Vec<u8>,
}

impl<T: Read> Ear<T> {
    fn hear(&mut self, room: &mut [u8]) -> Result<(), Stop> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let count = pipe.read(room).map_err(|error| Stop::broken(&error))?;
        self.heard.extend_from_slice(room.get(..count).unwrap_or_default());
        if count == 0 {
            self.pipe = None;
        }
        Ok(())
    }
}

/// What came through the two pipes.
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
    /// There was more.
    cut: bool,
}

/// Standard output and standard error until both are closed, or until it is too much.
fn listen(child: &Running, until: Instant) -> Result<Heard, Stop> {
    let (out, err) = {
        let mut child = locked(child);
        (child.stdout.take(), child.stderr.take())
    };
    let (mut out, mut err) = (Ear { pipe: out, heard: Vec::new() }, Ear { pipe: err, heard: Vec::new() });
    let mut room = vec![0_u8; 64 * 1024];
    while out.pipe.is_some() || err.pipe.is_some() {
        let (out_ready, err_ready) = ready(&out, &err, until)?;
        if out_ready {
            out.hear(&mut room)?;
        }
        if err_ready {
            err.hear(&mut room)?;
        }
        if out.heard.len() + err.heard.len() > OUTPUT_BYTES_MAX {
            return Ok(Heard { output: out.heard, errors: err.heard, cut: true });
        }
    }
    Ok(Heard { output: out.heard, errors: err.heard, cut: false })
}

fn ready<A: std::os::fd::AsFd, B: std::os::fd::AsFd>(
    out: &Ear<A>,
    err: &Ear<B>,
    until: Instant,
) -> Result<(bool, bool), Stop> {
    let left = until.checked_duration_since(Instant::now()).ok_or(Stop::Late)?;
    let patience = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
    let mut polled: Vec<PollFd<'_>> = out.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
    polled.extend(err.pipe.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    match poll(&mut polled, Some(&patience)) {
        Ok(0) => return Err(Stop::Late),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Stop::broken(&error)),
    }
    let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
    let out_ready = out.pipe.is_some() && ready.next() == Some(true);
    Ok((out_ready, err.pipe.is_some() && ready.next() == Some(true)))
}

/// Both pipes are closed; the process itself ends in the same moment, or is not its usual self.
fn ended(child: &Running, until: Instant) -> Result<ExitStatus, Stop> {
    loop {
        match locked(child).try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() > until => return Err(Stop::Late),
            Ok(None) => {}
            Err(error) => return Err(Stop::broken(&error)),
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn run(script: &str, patience: Duration) -> Seen<Vec<u8>> {
        Programs::new(Instant::now() + LONG).run(shell(script), "run a test".to_owned(), patience)
    }

    #[test]
    fn a_program_that_hangs_or_floods_is_ended() {
        let short = Duration::from_millis(50);
        for script in ["exec sleep 600", "exec sleep 600 >&- 2>&-"] {
            assert!(matches!(run(script, short), Seen::Unknown(Blind::TimedOut { .. })), "{script}");
        }
        for script in ["exec cat /dev/zero", "exec cat /dev/zero >&2"] {
            assert!(matches!(run(script, LONG), Seen::Unknown(Blind::Failed { .. })), "{script}");
        }
        assert_eq!(run("echo a = b; echo $HOME; pwd", LONG), Seen::Value(b"a = b\n\n/\n".to_vec()));
    }

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let file = std::env::temp_dir().join(format!("mxray-programs-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! >{0}.new; mv {0}.new {0}; echo", file.display());
        // The program itself has ended; what it started holds its output open.
        let seen = run(&script, Duration::from_millis(500));
        assert!(matches!(seen, Seen::Unknown(Blind::TimedOut { .. })), "{seen:?}");
        let pid = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // Its new parent reaps it; until then it is a zombie.
        let ended = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
            Err(_) => true,
        };
        let until = Instant::now() + LONG;
        while !ended() {
            assert!(Instant::now() < until, "process {pid} is still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_it_complains_of_is_told_without_secrets() {
        match run("echo unused parameter: x_password=hunter2 >&2; echo no such parameter >&2; exit 3", LONG) {
            Seen::Unknown(Blind::Failed { error, .. }) => {
                assert!(error.contains("no such parameter") && !error.contains("hunter2"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_outlives_the_examination_and_nothing_is_started_after_it() {
        let programs = Programs::new(Instant::now() + LONG);
        let other = programs.clone();
        let part = std::thread::spawn(move || other.run(shell("exec sleep 600"), "sleep".to_owned(), LONG));
        let pid = loop {
            if let Some(child) = locked(&programs.running).as_ref().and_then(|running| running.first().cloned()) {
                break locked(&child).id();
            }
            std::thread::yield_now();
        };
        programs.end();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        assert!(part.join().unwrap().blind().is_some());
        let late = programs.run(shell("echo late"), "late".to_owned(), LONG);
        assert!(matches!(late, Seen::Unknown(Blind::NotAttempted { .. })), "{late:?}");
        let over = Programs::new(Instant::now()).run(shell("echo late"), "late".to_owned(), LONG);
        assert!(matches!(over, Seen::Unknown(Blind::NotAttempted { .. })), "{over:?}");
    }
}
