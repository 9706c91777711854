//! Network namespaces besides the one that was looked at: who lives there, and which mail listeners they hold.
//!
//! Every namespace has its own sockets, routes, counters and rulesets. An examination sees one of them; this says what it
//! therefore did not see.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the machine's network namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Namespaces {
    /// Where the first process of each configured server runs, by instance. `Absent`: it has none.
    pub servers: BTreeMap<String, Seen<Place>>,
    /// The others that bear on mail or have a name, by what `--netns` takes: a name of `ip netns`, or a process id.
    pub others: BTreeMap<String, Namespace>,
    /// Further ones that were left out. Those with mail software are kept before all others.
    pub left_out: u32,
    /// Every process could be looked at, so that no namespace with a process in it is missing.
    pub complete: bool,
}

/// In which network namespace a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The one that was looked at.
    Here,
    /// Another one, by its key in [`Namespaces::others`].
    Elsewhere { namespace: String },
}

/// One network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Namespace {
    /// The kernel's number of it, as in `net:[4026532348]`.
    pub inode: Seen<u64>,
    /// Its names under `/run/netns`.
    pub names: BTreeSet<String>,
    /// How many visible processes live in it.
    pub processes: u32,
    /// The oldest of them. `Absent`: nobody lives in it.
    pub pid: Seen<u32>,
    /// Their units and containers, the first few by name.
    pub units: BTreeSet<String>,
    /// The mail software among them.
    pub software: BTreeSet<String>,
    /// Listeners on ports of mail, as `tcp/0.0.0.0:25`.
    pub listeners: Seen<BTreeSet<String>>,
    /// Its network interfaces. `lo` alone: no other machine can reach it.
    pub interfaces: Seen<BTreeSet<String>>,
}

impl Namespace {
    /// Nothing but the loopback interface: neither others nor the machine around it can reach what listens there.
    pub fn is_cut_off(&self) -> bool {
        self.interfaces.value().is_some_and(|names| names.iter().all(|name| name == "lo"))
    }
}
