//! A host of the lab: the machine under test, its peer on the other end of a wire, and the proof that mail flows.

use crate::foreign;
use crate::machine::{Done, Holder, Machine, Spec, Traces, run};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Bring-up takes 2 to 4 seconds on two cores; a host with thousands of connections a little more.
pub const SETUP_LIMIT: Duration = Duration::from_secs(90);
/// Delivery both ways takes under a second; a queue that must first notice a healed destination takes longer.
const HEALTH_LIMIT: Duration = Duration::from_secs(60);
/// A minute of being kept back, and what the servers need then.
const RECOVERY_LIMIT: Duration = Duration::from_secs(90);
/// Between two looks at a host that is not well yet.
const PAUSE: Duration = Duration::from_secs(1);

/// One file of `lab/hosts`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    pub about: String,
    /// Whether this host, as it comes up, has nothing wrong with it.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// Belongs to the fixed share that every CI run takes.
    #[serde(default)]
    pub share: bool,
    #[serde(default = "standard_name")]
    pub name: String,
    #[serde(default)]
    pub proc_options: String,
    /// Debian packages that conflict with those of this system, for `foreign_packages`.
    #[serde(default)]
    pub foreign: Vec<String>,
    #[serde(default)]
    pub without_capabilities: Vec<String>,
    /// Runs in the peer before anything else.
    #[serde(default = "standard_peer")]
    pub peer: String,
    /// Brings the host up.
    pub setup: String,
    /// Holds something in place in the peer as long as the host lives; says `ready`.
    #[serde(default)]
    pub peer_hold: String,
    #[serde(default)]
    pub peer_health: String,
    #[serde(default)]
    pub health: String,
    /// Exit codes that `mxray doctor` may end with here while nothing is wrong.
    #[serde(default = "zero")]
    pub exit_codes: Vec<i32>,
    /// Codes that are right here, because the host is as its software cannot help being; `known_because` says why.
    #[serde(default)]
    pub known: Vec<String>,
    #[serde(default)]
    pub known_because: String,
    /// What must be named among what was not seen: nothing is wrong, and something stays unknown.
    #[serde(default)]
    pub unseen: Vec<String>,
}

fn yes() -> bool {
    true
}

fn zero() -> Vec<i32> {
    vec![0]
}

fn standard_name() -> String {
    "mail.harbour.example".to_owned()
}

fn standard_peer() -> String {
    "peer_setup".to_owned()
}

/// The directory with one file per host.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts")
}

/// All host files, by name.
pub fn all() -> io::Result<BTreeMap<String, HostFile>> {
    read_all(&directory())
}

/// Reads every `*.toml` of a directory; the file's stem is its name.
pub(crate) fn read_all<T: serde::de::DeserializeOwned>(directory: &Path) -> io::Result<BTreeMap<String, T>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let parsed = toml::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        found.insert(stem.to_owned(), parsed);
    }
    Ok(found)
}

/// A running host with its peer.
#[derive(Debug)]
pub struct Host {
    // Dropped in this order: what holds connections goes before the machines they run on.
    hold: Option<Holder>,
    pub machine: Machine,
    pub peer: Machine,
    pub file: HostFile,
    pub slug: String,
}

impl Host {
    /// Brings a host up. It stands when this returns: its own setup waits for greetings and listeners.
    pub fn up(slug: &str, file: &HostFile, mxray: Option<&Path>) -> io::Result<Host> {
        let peer = Machine::start(&Spec { name: "peer.elsewhere.example".to_owned(), ..Spec::default() })?;
        let machine = Machine::start(&Spec {
            name: file.name.clone(),
            proc_options: file.proc_options.clone(),
            without_capabilities: file.without_capabilities.clone(),
            mxray: mxray.map(Path::to_path_buf),
            foreign: foreign::packages(&file.foreign).map_err(io::Error::other)?,
        })?;
        wire(&machine, &peer)?;
        peer.must("set up the peer", &file.peer, &[], SETUP_LIMIT)?;
        machine.must(&format!("set up host {slug}"), &file.setup, &[], SETUP_LIMIT)?;
        let hold = if file.peer_hold.is_empty() {
            None
        } else {
            Some(peer.hold("hold what belongs to the host", &file.peer_hold, SETUP_LIMIT)?)
        };
        Ok(Host { hold, machine, peer, file: file.clone(), slug: slug.to_owned() })
    }

    /// Waits until mail flows each way. A service that failed is kept back by its master for a minute (postfix(5),
    /// service_throttle_time), and it may have failed because somebody connected while a fault was in place.
    pub fn prove_health(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match self.is_healthy() {
                Err(_) if begun.elapsed() < RECOVERY_LIMIT => thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    /// Mail flows each way now, shown with a message that nobody has seen before.
    fn is_healthy(&mut self) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let token = format!("token-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if let Some(hold) = &mut self.hold
            && let Some(end) = hold.ended()?
        {
            return Err(io::Error::other(format!("what the peer holds for host {} ended: {end}", self.slug)));
        }
        let settings = [("TOKEN", token.as_str())];
        if !self.file.peer_health.is_empty() {
            self.peer.must("health", &self.file.peer_health, &settings, HEALTH_LIMIT)?;
        }
        if !self.file.health.is_empty() {
            self.machine.must("health", &self.file.health, &settings, HEALTH_LIMIT)?;
        }
        Ok(())
    }

    /// Empties queue and logs, so that no fault is found by the traces of the one before.
    pub fn clean_slate(&self) -> io::Result<()> {
        self.machine.must("clean slate", "clean_slate", &[], SETUP_LIMIT)?;
        Ok(())
    }

    pub fn traces(&self) -> Vec<Traces> {
        vec![self.machine.traces(), self.peer.traces()]
    }
}

/// A veth pair made directly between the two: nothing of it shows in this system's own namespace.
fn wire(a: &Machine, b: &Machine) -> io::Result<Done> {
    let mut command = Command::new("nsenter");
    command.args(["-t", &a.init().to_string(), "-n", "--"]);
    command.args(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0"]);
    command.args(["netns", &b.init().to_string()]);
    let done = run(command, SETUP_LIMIT)?;
    if done.status.success() {
        return Ok(done);
    }
    Err(io::Error::other(format!("wire {} to its peer: {}: {}", a.name(), done.status, done.output.trim())))
}
