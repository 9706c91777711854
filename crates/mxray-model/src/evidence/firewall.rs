//! What this host's own packet filters would do with the packets that mail needs, and which rule decides.
//!
//! The rulesets themselves are not kept: a set of 100,000 rules would be the whole report. What is kept is the answer to each
//! question that mail raises, with the walk through the chains that leads to it, and what the tables are.

use super::routing::RoutePurpose;
use super::server::FileLine;
use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The packet filters of this network namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Firewall {
    /// Tables of all frameworks, by `nft inet filter`, `nft ip filter`, `legacy ip filter`.
    pub tables: BTreeMap<String, FilterTable>,
    /// What would become of a packet, by [`Packet`]'s own words.
    pub answers: BTreeMap<String, FilterAnswer>,
    /// What mail asks of the packet filters, by `in tcp/25 to 203.0.113.25 over IPv4`, `out postfix sample tcp/25 over IPv4`.
    pub questions: BTreeMap<String, FilterQuestion>,
    /// Rulesets that are there and could not be read, by framework. A packet that passes all others may be stopped by one of them.
    pub unread: BTreeMap<String, Blind>,
    /// What was written down for the next start, by file or manager, beside what runs. Empty: nothing is written down.
    pub persisted: BTreeMap<String, Seen<Persisted>>,
}

/// One thing that mail needs to pass, asked for everybody whom it concerns. Packets that end alike are kept as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilterQuestion {
    pub about: FilterAbout,
    /// The instance that needs it. `None`: nobody's configuration asks for it; a socket is there.
    pub server: Option<String>,
    /// `tcp` or `udp`
    pub protocol: String,
    pub port: u16,
    pub ipv4: bool,
    /// What the configuration says of it: the key in `wanted`, `[smtp.example.com]:587`, the key in `helpers`.
    pub configured: String,
    pub at: Option<FileLine>,
    /// The user whose process sends. `None`: nobody of this host does, or the user is not known.
    pub uid: Option<u32>,
    /// What became of the packets, the most first.
    pub ends: Vec<FilterEnd>,
    /// The same packets, sent by root; asked only of those that leave.
    #[serde(default)]
    pub as_root: Vec<FilterEnd>,
    /// Only where all packets of strangers are stopped: networks that are let in to this port, and not to any other.
    #[serde(default)]
    pub admitted: Vec<String>,
}

/// Who needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FilterAbout {
    /// Strangers come in to one address and port of this host.
    Enter { to: IpAddr },
    /// Mail leaves.
    Leave { purpose: RoutePurpose },
    /// A name server is asked.
    Resolve { server: IpAddr },
    /// A service of this machine is asked.
    Helper { to: IpAddr },
}

/// Packets that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilterEnd {
    /// Key of the first one's answer in [`Firewall::answers`].
    pub answer: String,
    /// How many of the packets that were asked about end like this one.
    pub packets: u32,
    /// The others' ends of these packets: the strangers of those that come in, else the destinations; at most a few.
    pub peers: Vec<IpAddr>,
}

/// One table of the running ruleset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct FilterTable {
    /// `nf_tables`, or `legacy` (the xtables of before it): both act on every packet.
    pub framework: String,
    pub chains: u32,
    pub rules: u32,
    pub sets: u32,
    /// The program that wrote it, as its names show: `ufw`, `firewalld`, `docker`, `fail2ban`, `crowdsec`, `libvirt`,
    /// `iptables-nft`. `None`: by hand, or by one that mxray does not know.
    pub manager: Option<String>,
}

/// Which way a packet goes, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To a socket here.
    In,
    /// From a process here.
    Out,
    /// From one interface to another: to a container.
    Forward,
}

/// A packet to ask about. What is `None` is not known: a rule that looks at it gives `unknown`, unless nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Packet {
    pub direction: Direction,
    /// `tcp`, `udp`, `icmp`, `ipv6-icmp`
    pub protocol: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: Option<u16>,
    pub destination_port: Option<u16>,
    pub interface_in: Option<String>,
    pub interface_out: Option<String>,
    /// Conntrack's state: `new`, `established`, `related`, `invalid`, `untracked`.
    pub state: String,
    /// The user and group whose process sends (out only).
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// fwmark; a packet that nobody marked has 0.
    pub mark: u32,
    /// The sender's cgroup, by path below the root of the hierarchy (out only).
    pub cgroup: Option<String>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilterAnswer {
    pub packet: Packet,
    pub verdict: FilterVerdict,
    /// What decides: the rule that drops, or whose meaning is not known. `None`: it passes, or a chain's policy decides.
    pub by: Option<FilterRule>,
    /// The chains in the order in which the packet meets them, and in each what happened.
    pub walk: Vec<FilterStep>,
    /// Where it goes instead, where a rule changes the destination on the way (DNAT, redirect).
    pub rewritten_to: Option<RewrittenTo>,
}

impl FilterAnswer {
    /// The end of the packet that is not this host.
    pub fn packet_far_end(&self) -> IpAddr {
        if self.packet.direction == Direction::Out { self.packet.destination } else { self.packet.source }
    }
}

/// The end of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FilterVerdict {
    Pass,
    /// Nothing comes back.
    Drop,
    /// An answer comes back: `icmp port-unreachable`, `icmpv6 admin-prohibited`, `tcp reset`.
    Reject {
        with: String,
    },
    /// Handed to a program (NFQUEUE), which decides.
    Queue,
    /// Whether a rule matches cannot be told, and the answer depends on it.
    Unknown {
        why: Blind,
    },
}

impl FilterVerdict {
    /// Drop or reject: the packet does not arrive.
    pub fn stops(&self) -> bool {
        matches!(self, FilterVerdict::Drop | FilterVerdict::Reject { .. })
    }
}

/// A destination that a rule puts in the place of the packet's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RewrittenTo {
    /// `None`: it stays.
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    pub by: FilterRule,
}

/// One chain on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilterStep {
    /// The key of `tables`.
    pub table: String,
    pub chain: String,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress`; empty for a chain that was jumped to.
    pub hook: String,
    pub priority: i32,
    /// How many jumps deep.
    pub depth: u32,
    /// The rule of this chain that ended the look at it, or that jumped. `None`: none matched.
    pub rule: Option<FilterRule>,
    /// What it, or the policy, said: `accept`, `drop`, `jump web`, `policy accept`, `return`, `not known: …`.
    pub said: String,
}

/// A rule of a packet filter, as a person finds it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilterRule {
    /// The key of `tables`.
    pub table: String,
    pub chain: String,
    /// nf_tables' handle. `None` for the legacy framework.
    pub handle: Option<u64>,
    /// 1 is the first rule of its chain.
    pub position: u32,
    /// In the framework's own words: `tcp dport 25 drop`, `-p tcp -m tcp --dport 25 -j DROP`.
    pub text: String,
    /// Packets that it matched since it was loaded, where it counts.
    pub packets: Option<u64>,
    pub comment: Option<String>,
    /// The program that wrote it, as [`FilterTable::manager`], where the rule or its chain shows it.
    pub manager: Option<String>,
    /// It looks at the sender's user, group, mark or cgroup.
    pub by_sender: bool,
}

/// A ruleset that the next start will load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Persisted {
    /// What loads it: `nftables.service`, `netfilter-persistent.service`, `ufw.service`.
    pub loaded_by: String,
    /// Whether the next start does load it.
    pub at_boot: Seen<bool>,
    /// What runs and is not in the file, as rules; at most a few of each.
    pub only_running: Vec<String>,
    /// What is in the file and does not run.
    pub only_in_file: Vec<FileLine>,
    /// The texts of `only_in_file`, in its order.
    pub only_in_file_texts: Vec<String>,
    /// Questions of mail that the next start will answer differently, by the keys of [`Firewall::questions`].
    #[serde(default)]
    pub differs: BTreeMap<String, PersistedAnswer>,
    /// Questions that are answered now, and of which it is not known what the next start makes of them; and why.
    #[serde(default)]
    pub untold: BTreeMap<String, String>,
}

/// One question, now and after the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PersistedAnswer {
    pub passes_now: bool,
    pub passes_then: bool,
    /// The rule that makes the difference, in its framework's words; `policy` where it is none.
    pub by: String,
    /// Its line, where it stands in a file and its line is known.
    pub at: Option<FileLine>,
}
