//! Everything one examination saw, as typed facts. Rules read this and nothing else; `doctor --replay` feeds it back.
//!
//! Collections are maps with readable keys (`"tcp/0.0.0.0:25"`, `"smtp/inet"`), so that the order is stable, a JSON
//! pointer keeps its meaning from run to run, and a test can change one entry by name. Every leaf that a collector may
//! fail to see is a [`Seen`]. All text from outside has gone through [`crate::text::untrusted`].

mod host;
mod process;
mod server;
mod socket;

pub use host::{Counter, FileSystem, Kernel, PortRange, Vantage};
pub use process::{Descriptors, Owner, Process, Processes};
pub use server::{
    Account, CertificateFiles, Children, Configured, DomainKind, Egress, Endpoint, FileLine, Helper, HelperKind,
    HelperState, MailDomain, Master, OfferedSocket, OtherServer, Problem, Purpose, Server, Setting, TlsMode,
    UnitLimits, WantedListener,
};
pub use socket::{AcceptQueue, Count, Drops, Listener, Load, Sockets, TOP_KEPT, Towards};

use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All facts of one examination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Evidence {
    pub vantage: Vantage,
    /// What mxray's own configuration says about this host.
    pub declared: Declared,
    pub kernel: Kernel,
    pub sockets: Seen<Sockets>,
    pub processes: Seen<Processes>,
    /// Mail servers whose configuration we read, by instance name. `Absent`: searched for, none installed.
    pub servers: Seen<BTreeMap<String, Server>>,
    /// Mail servers that are here and whose configuration could not be read, by software name.
    pub unread: BTreeMap<String, Blind>,
    /// Mail software that is here and whose configuration is not read, by software name.
    pub others: BTreeMap<String, OtherServer>,
    /// File systems behind the directories that mail needs, by directory.
    pub file_systems: BTreeMap<String, Seen<FileSystem>>,
    /// How each part of the examination went, by its name.
    pub parts: BTreeMap<String, Part>,
}

/// What the operator told mxray.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Declared {
    /// `[network] public_prefixes`: count these as public, whatever the registries say.
    pub public_prefixes: Vec<String>,
    /// `[doctor] targets`: addresses and domains to examine besides this host.
    pub targets: Vec<String>,
    /// `[submission] user` is set: users log in here to send.
    pub submission_user: bool,
    /// Configuration files of mxray that are there and could not be read, and why: what they say does not hold.
    pub unread: BTreeMap<String, Blind>,
}

/// How one collector's run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Part {
    pub outcome: PartOutcome,
    pub took_ms: u64,
}

/// The three ways in which a collector's run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PartOutcome {
    /// It came back; what it could not see stands in its facts.
    Finished,
    /// The run's deadline came first.
    CutOff,
    /// It crashed; the message is the panic's.
    Crashed { message: String },
}
