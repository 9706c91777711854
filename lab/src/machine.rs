//! One machine: namespaces, an overlay of `/`, and the certainty that all of it goes away.
//!
//! What lives here: starting a machine through `lib/keeper.sh`, running scripts inside it with a bound on their time,
//! holding a script open, and looking for what a machine left behind. What must not: anything about mail; that is
//! `lib/host.sh`, the host files and the fault files.

use rustix::fs::MemfdFlags;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write as _};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting lab looks again.
const POLL: Duration = Duration::from_millis(5);
/// A machine stands in a tenth of a second; ten seconds is a broken kernel or a starved one.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Thousands of processes die with pid 1; the kernel takes their sockets apart one by one.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What a machine is to be, before it exists.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub name: String,
    /// More mount options for `/proc`, such as `hidepid=2`.
    pub proc_options: String,
    /// Capabilities that no process of the machine may ever have, as setpriv names them.
    pub without_capabilities: Vec<String>,
    /// Put at `/usr/local/bin/mxray` inside.
    pub mxray: Option<PathBuf>,
    /// Package files for `foreign_packages`.
    pub foreign: Vec<PathBuf>,
}

/// What a script did.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub output: String,
    pub took: Duration,
}

/// A running machine. Dropping it ends every process in it and removes everything it was made of.
#[derive(Debug)]
pub struct Machine {
    name: String,
    keeper: Child,
    alive: Option<ChildStdin>,
    init: u32,
    traces: Traces,
    without_capabilities: Vec<String>,
}

/// Where a machine shows on the outside, kept to prove afterwards that it is gone.
#[derive(Debug, Clone)]
pub struct Traces {
    directory: PathBuf,
    cgroup: Option<PathBuf>,
    /// The pid namespace. Held open, because the kernel gives the number of a dead namespace to the next one made on
    /// this system, whoever makes it; it costs nothing, for it keeps neither processes nor mounts alive.
    namespace: Option<std::sync::Arc<File>>,
}

/// The cgroup2 hierarchy of this system, if it has one that we may write to.
fn cgroup2() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().map(PathBuf::from).find(|at| {
        at.join("cgroup.controllers").exists() && rustix::fs::access(at, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// The directory with `keeper.sh`, `init.sh` and what is copied into every machine.
pub fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lib")
}

/// The first line of a pipe, read elsewhere so that waiting for it can be bounded.
fn first_line(from: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(from).read_line(&mut line).is_ok() {
            // Nobody waits any more: nothing to tell.
            let _ = send.send(line);
        }
    });
    receive
}

impl Machine {
    pub fn start(spec: &Spec) -> io::Result<Machine> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("mxray-lab.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&tag);
        let cgroup = cgroup2().map(|at| at.join(&tag));
        let library = library();
        let mut keeper = Command::new("bash")
            .arg(library.join("keeper.sh"))
            .arg(&directory)
            .arg(cgroup.as_deref().unwrap_or(Path::new("")))
            .arg(&spec.name)
            .arg(&spec.proc_options)
            .arg(spec.mxray.as_deref().unwrap_or(Path::new("")))
            .arg(&library)
            .args(&spec.foreign)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own group: Ctrl-C ends the lab, and the closing pipe ends the machine in good order.
            .process_group(0)
            .spawn()?;
        let alive = keeper.stdin.take();
        let stdout = keeper.stdout.take();
        let mut machine = Machine {
            name: spec.name.clone(),
            keeper,
            alive,
            init: 0,
            traces: Traces { directory, cgroup, namespace: None },
            without_capabilities: spec.without_capabilities.clone(),
        };
        let ready = stdout.map(first_line).and_then(|line| line.recv_timeout(START_LIMIT).ok()).unwrap_or_default();
        machine.init = ready.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok()).ok_or_else(|| {
            io::Error::other(format!("machine {} did not come up; its keeper said {ready:?}", machine.name))
        })?;
        machine.traces.namespace = Some(File::open(format!("/proc/{}/ns/pid", machine.init))?.into());
        Ok(machine)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid of the machine's pid 1, as this system sees it.
    pub fn init(&self) -> u32 {
        self.init
    }

    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// A command that runs `argv` inside, with a clean environment, in the cgroup of an admin's session.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let session = self.traces.cgroup.as_ref().map(|at| at.join("user.slice/user-0.slice/session-1.scope"));
        // The move happens outside: across a cgroup namespace's border the kernel may refuse it.
        command
            .arg("-c")
            .arg(
                r#"if [ -n "$1" ]; then mkdir -p "$1" && echo $$ >"$1/cgroup.procs" || exit 125; fi; shift; exec "$@""#,
            )
            .arg("enter")
            .arg(session.as_deref().unwrap_or(Path::new("")))
            .args(["nsenter", "-t", &self.init.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"])
            .args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["HOME=/root", "LANG=C.UTF-8", "TERM=dumb"]);
        if !self.without_capabilities.is_empty() {
            let list = self.without_capabilities.iter().fold(String::new(), |mut list, name| {
                let _ = write!(list, "{}-{name}", if list.is_empty() { "" } else { "," });
                list
            });
            command.args(["setpriv", "--bounding-set", &list, "--inh-caps", &list]);
        }
        command.args(argv);
        command
    }

    fn script(&self, script: &str, settings: &[(&str, &str)]) -> Command {
        let mut text = String::from("set -eu\n");
        for (key, value) in settings {
            let _ = writeln!(text, "{key}='{}'", value.replace('\'', r"'\''"));
        }
        text.push_str(". /usr/local/lib/lab/host.sh\n");
        text.push_str(script);
        self.command(&["bash", "-c", &text])
    }

    /// Runs a script to its end. Its output goes to memory, not to a pipe: a daemon that it starts and that keeps
    /// the descriptor would hold a pipe open for ever.
    pub fn run(&self, script: &str, settings: &[(&str, &str)], limit: Duration) -> io::Result<Done> {
        run(self.script(script, settings), limit)
    }

    /// [`Machine::run`], with what it says on standard error apart.
    pub fn run_apart(&self, script: &str, settings: &[(&str, &str)], limit: Duration) -> io::Result<(Done, String)> {
        run_apart(self.script(script, settings), limit, false)
    }

    /// [`Machine::run`], where anything but success is an error that carries what was said.
    pub fn must(&self, what: &str, script: &str, settings: &[(&str, &str)], limit: Duration) -> io::Result<String> {
        let done = self.run(script, settings, limit)?;
        if done.status.success() {
            return Ok(done.output);
        }
        Err(io::Error::other(format!("{what} on {}: {}: {}", self.name, done.status, done.output.trim())))
    }

    /// Starts a script that holds something in place, and waits until it says `ready`.
    ///
    /// It ends when its standard input does, which is when the holder is dropped.
    pub fn hold(&self, what: &str, script: &str, limit: Duration) -> io::Result<Holder> {
        let output = memory("hold")?;
        let mut child = self
            .script(script, &[])
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .process_group(0)
            .spawn()?;
        let input = child.stdin.take();
        let mut holder = Holder { child, input, output };
        let end = Instant::now() + limit;
        loop {
            let said = holder.said()?;
            if said.lines().any(|line| line == "ready") {
                return Ok(holder);
            }
            if let Some(status) = holder.child.try_wait()? {
                return Err(io::Error::other(format!("{what} on {}: {status} before ready: {said}", self.name)));
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("{what} on {}: not ready in {limit:?}: {said}", self.name)));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.alive.take());
        let end = Instant::now() + STOP_LIMIT;
        while Instant::now() < end {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        // The leftover check names what stays; a destructor has nobody to tell.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A script that holds connections, floods, or a server in place until dropped.
#[derive(Debug)]
pub struct Holder {
    child: Child,
    input: Option<ChildStdin>,
    output: File,
}

impl Holder {
    fn said(&mut self) -> io::Result<String> {
        read_back(&mut self.output)
    }

    /// The holder's end, if it ended of its own accord: what it held is no longer held.
    pub fn ended(&mut self) -> io::Result<Option<String>> {
        Ok(match self.child.try_wait()? {
            Some(status) => Some(format!("{status}: {}", self.said()?.trim())),
            None => None,
        })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.input.take());
        let end = Instant::now() + STOP_LIMIT;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        kill_group(&self.child);
        let _ = self.child.wait();
    }
}

/// nsenter waits for what it started, so the whole group goes; what escaped the group goes with the machine.
fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself this moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn read_back(file: &mut File) -> io::Result<String> {
    // Through a descriptor of its own: the writer shares ours, offset included.
    let mut copy = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file)))?;
    copy.rewind()?;
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command to its end or to the limit.
pub fn run(command: Command, limit: Duration) -> io::Result<Done> {
    let (done, error) = run_apart(command, limit, true)?;
    debug_assert!(error.is_empty());
    Ok(done)
}

/// Runs a command; what it says on standard error comes back separately unless `joined`.
pub fn run_apart(mut command: Command, limit: Duration, joined: bool) -> io::Result<(Done, String)> {
    let mut output = memory("output")?;
    let mut error = memory("error")?;
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(if joined { output.try_clone()? } else { error.try_clone()? })
        .process_group(0)
        .spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > limit {
            kill_group(&child);
            child.wait()?;
            let said = read_back(&mut output)?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done in {limit:?}; so far: {said}")));
        }
        std::thread::sleep(POLL);
    };
    let took = begun.elapsed();
    let done = Done { status, output: read_back(&mut output)?, took };
    Ok((done, read_back(&mut error)?))
}

impl Traces {
    /// What of the machine is still there; empty when all is gone.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for path in [Some(&self.directory), self.cgroup.as_ref()].into_iter().flatten() {
            if path.exists() {
                left.push(path.display().to_string());
            }
        }
        let Some(namespace) = &self.namespace else { return left };
        let (Ok(processes), Ok(ours)) = (fs::read_dir("/proc"), namespace.metadata().map(|data| data.ino())) else {
            left.push("/proc could not be listed, so leftover processes are unknown".to_owned());
            return left;
        };
        for process in processes.flatten().map(|entry| entry.path()) {
            // The second is what an nsenter that still waits for its child has.
            let inside = ["pid", "pid_for_children"]
                .into_iter()
                .filter_map(|kind| fs::metadata(process.join("ns").join(kind)).ok())
                .any(|data| data.ino() == ours);
            if inside {
                left.push(format!("process {}", process.display()));
            }
        }
        left
    }
}

/// Writes a line for the person who watches.
pub fn say(line: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
