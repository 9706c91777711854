//! Processes: those of mail software, and those that own a socket which matters.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The processes that bear on mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Processes {
    /// Other users' processes are visible (`/proc` is not mounted with hidepid, or we may see past it). Only then does
    /// "no such process" mean anything.
    pub all_visible: bool,
    /// Mail software's processes and owners of sockets that matter, by process id.
    pub mail: BTreeMap<u32, Process>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    pub parent: u32,
    /// `comm`: 15 bytes that the process may choose itself.
    pub name: String,
    /// The command line, words joined by a space, without what may be a secret; of a program that is no mail software its
    /// first word.
    pub command: String,
    /// Real user id.
    pub uid: u32,
    /// The kernel's state letter: R, S, D, T (stopped), t (traced), Z, I.
    pub state: char,
    /// When it was started, in seconds since 1970.
    #[serde(default)]
    pub started_s: Seen<i64>,
    /// systemd unit or container, from the cgroup path.
    pub unit: Seen<String>,
    pub descriptors: Seen<Descriptors>,
    /// Effective capabilities, by their names in lower case.
    pub capabilities: Seen<BTreeSet<String>>,
    /// The mail software that it belongs to (`postfix`, `dovecot`, `opendkim`, …). `Absent`: some other program.
    pub software: Seen<String>,
}

impl Process {
    /// Stopped by a signal or a debugger: it holds its sockets and does nothing.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// Open file descriptors against the soft limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Descriptors {
    pub used: u64,
    /// RLIMIT_NOFILE, soft. `u64::MAX`: unlimited.
    pub limit: u64,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Owner {
    pub pid: u32,
    pub name: String,
}
