//! The machine: who looks, what the kernel is set to, how full the file systems are.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// From where, and with which rights, the examination looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Vantage {
    pub host_name: String,
    /// Effective user id of mxray.
    pub uid: u32,
    /// Effective capabilities, by their names in lower case (`cap_net_admin`).
    pub capabilities: BTreeSet<String>,
    /// The capabilities that a service started here can still get: the bounding set of process 1 and, where no service
    /// manager starts services, of this session too.
    pub bounding: Seen<BTreeSet<String>>,
    pub kernel_release: String,
    /// Inode of the network namespace that was looked at.
    pub network_namespace: Seen<u64>,
    /// What starts services here: `systemd`. `Absent`: looked for, none that we know.
    pub service_manager: Seen<String>,
    /// The container's kind, where this is one. `Absent`: signs of one were looked for and not found.
    pub container: Seen<String>,
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// How many ports it holds.
    pub fn ports(self) -> u32 {
        u32::from(self.last).saturating_sub(u32::from(self.first)) + 1
    }
}

/// One kernel counter at both ends of the examination's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counter {
    pub first: u64,
    pub last: u64,
}

impl Counter {
    /// How much it rose within the window. A counter that went backwards was reset: no rise is known.
    pub fn rise(self) -> u64 {
        self.last.saturating_sub(self.first)
    }
}

/// How much of something limited is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fill {
    pub used: u64,
    pub limit: u64,
}

/// Kernel settings and counters that decide about mail's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Kernel {
    /// net.ipv4.ip_local_port_range (of IPv6 too)
    pub local_ports: Seen<PortRange>,
    /// net.ipv4.ip_local_reserved_ports
    pub reserved_ports: Seen<Vec<PortRange>>,
    /// net.ipv4.ip_unprivileged_port_start
    pub unprivileged_port_start: Seen<u32>,
    /// net.core.somaxconn
    pub somaxconn: Seen<u32>,
    /// net.ipv4.tcp_max_syn_backlog
    pub max_syn_backlog: Seen<u32>,
    /// net.ipv4.tcp_syncookies: 0 never, 1 when the queue is full, 2 always
    pub syncookies: Seen<u32>,
    /// net.ipv4.tcp_tw_reuse: 0 never, 1 everywhere, 2 on loopback only
    pub tw_reuse: Seen<u32>,
    /// net.netfilter.nf_conntrack_count and nf_conntrack_max. `Absent`: connections are not tracked here.
    pub conntrack: Seen<Fill>,
    /// Open files of the whole machine against fs.file-max (`/proc/sys/fs/file-nr`).
    pub open_files: Seen<Fill>,
    /// `TcpExt` and `Tcp` counters of this network namespace, `TcpExt.ListenOverflows` and so on.
    pub counters: Seen<BTreeMap<String, Counter>>,
    /// Memory of all TCP sockets of the machine. `Absent`: its limits do not show in this network namespace.
    pub tcp_memory: Seen<TcpMemory>,
    /// What the IP layer was asked to send, and what it sent, while sessions were held: `Ip.OutRequests` counts before the packet
    /// filter's output hook, `Ip.OutTransmits` (Linux 6.8) behind it.
    pub while_connecting: Seen<BTreeMap<String, Counter>>,
    /// Time between the two looks, in milliseconds.
    pub window_ms: u64,
}

/// What TCP uses at both ends of the window (`/proc/net/sockstat`) against net.ipv4.tcp_mem; in pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TcpMemory {
    pub first: u64,
    pub last: u64,
    /// Above it the kernel makes buffers smaller.
    pub pressure: u64,
    /// At it the kernel refuses memory to sockets.
    pub max: u64,
    pub page_bytes: u64,
}

/// One file system, as `statvfs` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileSystem {
    pub mount_point: String,
    /// `ext4`, `tmpfs`, …
    pub kind: String,
    pub device: String,
    /// What mail keeps there: `queue`, `mailboxes`, `log`.
    pub holds: BTreeSet<String>,
    pub total_bytes: u64,
    /// Free for an unprivileged process, which is what a mail server's processes are.
    pub available_bytes: u64,
    /// 0 where the file system has no fixed number of inodes (btrfs).
    pub inodes_total: u64,
    pub inodes_available: u64,
    pub read_only: bool,
}
