//! The machine, as it bears on mail: its clock, how it resolves names, its memory, and the versions of its software.

use super::host::Counter;
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The clock, and what others say of it. Times are seconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Clock {
    pub now_s: Seen<i64>,
    /// The same moment as a date in UTC, `2026-05-01`.
    pub today: Seen<String>,
    /// What the kernel was told of the clock's quality (adjtimex(2)).
    pub kernel: Seen<KernelClock>,
    /// Time daemons that run here, by name. `Absent`: searched for, none.
    pub daemons: Seen<BTreeMap<String, TimeDaemon>>,
    /// Moments that lie in the past if the clock is right, by the file whose time stamp they are.
    pub past: BTreeMap<String, Seen<Stamp>>,
}

/// The kernel's own account of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelClock {
    /// STA_UNSYNC is not set: somebody has disciplined the clock of late.
    pub synchronised: bool,
    /// Grows by 500 µs a second since the clock was last disciplined, up to 16 s.
    pub max_error_us: i64,
}

/// A program that keeps the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeDaemon {
    pub pid: u32,
    /// Does it follow a source? `Absent`: it cannot be asked.
    pub synchronised: Seen<bool>,
    /// How far the clock is ahead of its source, in milliseconds; negative: behind. `Absent`: it cannot be asked.
    pub ahead_ms: Seen<i64>,
}

/// A moment that somebody recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stamp {
    pub at_s: i64,
    pub kind: StampKind,
}

/// Whose moment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StampKind {
    /// A time daemon's, when its clock agreed with its source.
    Synchronised,
    /// The distribution's, when it made the file.
    Built,
}

/// How names are resolved here, and in the root directories of mail servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Resolver {
    pub system: ResolverFiles,
    /// The servers that systemd-resolved asks (`/run/systemd/resolve/resolv.conf`). `Absent`: no such file.
    pub upstream: Seen<Vec<IpAddr>>,
    /// The files within another root directory, by that directory.
    pub roots: BTreeMap<String, ResolverFiles>,
    /// Processes of mail software whose root directory is another one, by that directory.
    pub processes: Seen<BTreeMap<String, BTreeSet<u32>>>,
}

/// The files that the C library's resolver reads below one root directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ResolverFiles {
    pub resolv_conf: Seen<ResolvConf>,
    /// The `hosts:` line of `etc/nsswitch.conf`, without the word. `Absent`: no file, or no such line.
    pub hosts_line: Seen<String>,
}

/// `etc/resolv.conf` as resolv.conf(5) and the GNU C library understand it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ResolvConf {
    /// In the order in which they are asked; the library keeps three. Empty: the name server of this machine is asked.
    pub nameservers: Vec<NameServer>,
    /// Of the last `search` or `domain` line.
    pub search: Vec<String>,
    /// `timeout:2`, `trust-ad`, in order.
    pub options: Vec<String>,
    /// Lines that the library passes over, by number.
    pub ignored: BTreeMap<u32, String>,
    pub owner_uid: u32,
    /// The group whose members may read the file. `None`: no group may.
    pub group_readable: Option<u32>,
    /// All users may read the file.
    pub world_readable: bool,
}

/// One `nameserver` line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NameServer {
    pub address: IpAddr,
    /// The interface of a link-local address: `eth0` of `fe80::1%eth0`.
    #[serde(default)]
    pub zone: Option<String>,
    pub line: u32,
}

/// Memory, and who was killed for want of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Memory {
    pub total_bytes: Seen<u64>,
    /// The kernel's estimate of what a program can get without swapping (MemAvailable).
    pub available_bytes: Seen<u64>,
    pub swap_total_bytes: Seen<u64>,
    pub swap_free_bytes: Seen<u64>,
    /// Share of the last 60 s in which every runnable task waited for memory, in hundredths of a percent
    /// (`/proc/pressure/memory`, full). `Absent`: the kernel does not account for it.
    pub stalled_60s: Seen<u32>,
    /// Processes killed for want of memory since boot, on the whole machine.
    pub oom_kills: Seen<u64>,
    /// The memory of the control groups that mail processes are in, by directory. `Absent` of one: memory is not
    /// accounted for in it.
    pub groups: Seen<BTreeMap<String, Seen<MemoryGroup>>>,
}

/// One control group's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemoryGroup {
    /// The mail software in it.
    pub software: BTreeSet<String>,
    /// Memory that cannot simply be taken back: in use, without the pages of files.
    pub working_set_bytes: u64,
    /// `Absent`: no limit.
    pub limit_bytes: Seen<u64>,
    /// Processes of the group killed for want of memory since it was made, at both ends of the examination's window.
    pub oom_kills: Seen<Counter>,
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Software {
    /// os-release(5). `Absent`: no such file.
    pub distribution: Seen<Distribution>,
    /// Where a package source of longer, paid support is configured. `Absent`: looked for, none.
    pub extended_support: Seen<String>,
    /// Packages of mail software and of its TLS libraries, by name, as the package manager has them.
    pub packages: Seen<BTreeMap<String, String>>,
    /// TLS libraries that no package of the distribution owns (below `/usr/local`), by path: those that mail processes map,
    /// and where that cannot be seen, those that are there. `Absent`: looked for, none.
    pub tls_libraries: Seen<BTreeMap<String, TlsLibrary>>,
}

/// A TLS library that was put here by somebody else than the distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TlsLibrary {
    /// `OpenSSL 1.1.1w`, as it says of itself.
    pub version: Seen<String>,
    /// The mail software whose processes map it.
    pub used_by: Seen<BTreeSet<String>>,
}

/// The distribution's word about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Distribution {
    /// `debian`
    pub id: String,
    /// `12`; empty for one that has no releases.
    pub version: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub name: String,
    /// SUPPORT_END=, a date.
    pub support_end: Option<String>,
}
