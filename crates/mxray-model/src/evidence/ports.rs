//! Who is meant to have which port: the operator's assignments file, and what other software's configuration asks for at its
//! next start. What mail servers ask for stands in [`super::Server::wanted`], what socket units ask for in [`super::Units`].

use super::server::{FileLine, TlsMode};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// `mxray-ports.toml`: what the operator decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Assignments {
    pub file: String,
    /// By the name of the entry; several may be of one service.
    pub services: BTreeMap<String, Assignment>,
    /// Ports that nobody may listen on, by `tcp 110`.
    pub forbidden: BTreeMap<String, Forbidden>,
    /// The ids of the users that `services` name. `Absent`: this host has no such user.
    pub users: BTreeMap<String, Seen<u32>>,
    /// Which processes that hold a listener run a program of the packages that `services` name, by package. `Absent`: the
    /// package is not installed.
    pub packages: BTreeMap<String, Seen<PackageProcesses>>,
}

/// Processes against a package's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PackageProcesses {
    /// These run a program or a script of it.
    pub running: BTreeSet<u32>,
    /// These run a script that was not found, by an interpreter that is of another package.
    pub undecided: BTreeSet<u32>,
}

/// One service's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Assignment {
    pub at: FileLine,
    /// `tcp` or `udp`
    pub protocol: String,
    /// First and last; the same for a single port. A range is for a service that may choose (`dynamic`).
    pub ports: (u16, u16),
    /// Empty: any address.
    pub addresses: BTreeSet<IpAddr>,
    pub owner: PortOwner,
    /// Whether an IPv6 wildcard takes IPv4 as well.
    pub v6: V6Policy,
    pub exposure: Exposure,
    pub tls: Option<TlsMode>,
    pub purpose: String,
    pub contact: String,
}

/// Who holds a port; what is empty may be anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PortOwner {
    pub unit: String,
    pub user: String,
    pub package: String,
}

/// What an IPv6 wildcard socket does with IPv4.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum V6Policy {
    /// Nothing is said of it.
    #[default]
    Any,
    /// IPv4 alone.
    None,
    /// One socket for both.
    Dual,
    /// A socket of its own that refuses IPv4.
    Separate,
}

/// From where a port may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    Loopback,
    /// Loopback and the networks that the IANA registries call private.
    Private,
    Public,
    /// These networks, and loopback.
    Prefixes(Vec<String>),
}

/// A port that must not listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forbidden {
    pub at: FileLine,
    pub protocol: String,
    pub port: u16,
    /// May listen on loopback.
    pub except_loopback: bool,
    pub reason: String,
}

/// What software besides mail servers asks for at its next start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Bystanders {
    /// By `haproxy tcp/0.0.0.0:25`.
    pub listeners: BTreeMap<String, AskedListener>,
    /// What starts mail servers with the machine, by software as in [`super::Server`]: the link in a `.wants` directory or a run
    /// level. `Absent`: nothing does.
    pub servers_at_boot: BTreeMap<String, Seen<String>>,
    /// Software whose files are here and could not be read or understood, with the line where one is known.
    pub unread: BTreeMap<String, super::Problem>,
}

/// A socket that a configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AskedListener {
    /// `haproxy`, `amavis`, `docker`, `inetd`
    pub software: String,
    /// The section, container or line that asks: `frontend smtp`, `container mailpit`.
    pub service: String,
    /// `tcp` or `udp`
    pub protocol: String,
    pub address: IpAddr,
    pub port: u16,
    /// An IPv6 socket that refuses IPv4. `Absent` on IPv4.
    pub v6_only: Seen<bool>,
    /// Opens it with SO_REUSEPORT.
    pub reuse_port: bool,
    /// What starts it: `haproxy.service`, `container mailpit`. Empty: not known.
    pub unit: String,
    /// Whether the next start of the machine starts it. `Absent`: it does not.
    pub at_boot: Seen<String>,
    /// Its processes run now.
    pub running: Seen<bool>,
    /// The traffic is taken by DNAT before any listener (a container's published port), with or without a socket on the host.
    pub by_dnat: bool,
    /// Read from the maker's documentation alone, never tried with the software itself.
    pub from_documentation: bool,
    /// Line 0: nothing in the file says so, it is the default or comes from elsewhere.
    pub at: FileLine,
}
