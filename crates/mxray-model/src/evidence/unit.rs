//! Units of systemd that bear on mail, as their files stand: what the next start will do, and what holds sockets for a
//! service.

use super::server::{FileLine, Setting};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Services of mail software, and socket units that open a port of mail or belong to such a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Units {
    /// By name: `postfix@-.service`.
    pub services: BTreeMap<String, Seen<Unit>>,
    /// By name: `dovecot.socket`.
    pub sockets: BTreeMap<String, Seen<SocketUnit>>,
}

/// One unit, its file and drop-ins merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Unit {
    /// The file that it stands in.
    pub file: String,
    /// A link to /dev/null, or an empty file: systemd refuses to start it.
    pub masked: bool,
    /// Something pulls it in at boot: the link in a `.wants` or `.requires` directory. `Absent`: nothing
    /// does.
    pub enabled: Seen<String>,
    /// Its cgroup holds processes. `Absent`: no such cgroup, or an empty one.
    pub active: Seen<u32>,
    /// Assignments that bear on mail, by key as in the file (`PrivateNetwork`); the last one where several stand.
    pub settings: BTreeMap<String, Setting>,
}

impl Unit {
    /// A setting's value; empty where it is not set.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// A boolean as systemd reads it (`parse_boolean`).
    pub fn is_yes(&self, name: &str) -> bool {
        matches!(self.setting(name).to_ascii_lowercase().as_str(), "1" | "yes" | "y" | "true" | "t" | "on")
    }
}

/// A socket unit: systemd opens the sockets, and starts the service when somebody comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SocketUnit {
    pub unit: Unit,
    pub listens: Vec<UnitListen>,
    /// The service that gets the connections: `dovecot.service`, and with Accept= a template such as `smtp@.service`.
    pub service: String,
    /// Accept=yes: systemd itself accepts, and starts one process for each connection.
    pub accept: bool,
}

/// One Listen line of a socket unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnitListen {
    /// `tcp`, `udp`, or `unix` (then `text` is its path and the port 0).
    pub protocol: String,
    /// As it is written: `25`, `127.0.0.1:587`.
    pub text: String,
    /// The addresses that it stands for: a port alone is `::`, and with it `0.0.0.0` unless BindIPv6Only= says `ipv6-only`.
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    pub at: FileLine,
}
