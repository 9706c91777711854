//! Everything one examination saw, as typed facts. Rules read this and nothing else; `doctor --replay` feeds it back.
//!
//! Collections are maps with readable keys (`"tcp/0.0.0.0:25"`, `"smtp/inet"`), so that the order is stable, a JSON
//! pointer keeps its meaning from run to run, and a test can change one entry by name. Every leaf that a collector may
//! fail to see is a [`Seen`]. All text from outside has gone through [`crate::text::untrusted`].

mod baseline;
mod certificate;
mod earlier;
mod firewall;
mod host;
mod logs;
mod machine;
mod namespace;
mod outside;
mod ports;
mod process;
pub mod published;
mod queue;
pub mod reports;
mod routing;
mod server;
mod signer;
mod socket;
mod unit;

pub use baseline::{Baseline, Usual};
pub use certificate::{Certificate, CertificatePair, ChainFile, KeyFile, PrivateKey, PublicKey};
pub use earlier::Earlier;
pub use firewall::{
    Direction, FilterAbout, FilterAnswer, FilterEnd, FilterQuestion, FilterRule, FilterStep, FilterTable,
    FilterVerdict, Firewall, Packet, Persisted, PersistedAnswer, RewrittenTo,
};
pub use host::{Counter, FileSystem, Fill, Kernel, PortRange, TcpMemory, Vantage};
pub use logs::{
    LogAccount, LogAttempts, LogCause, LogDelay, LogIncident, LogLines, LogLoginSource, LogLogins, LogRate,
    LogRecipients, LogSource, LogSums, LogTls, MailLogs,
};
pub use machine::{
    Clock, Distribution, KernelClock, Memory, MemoryGroup, NameServer, ResolvConf, Resolver, ResolverFiles, Software,
    Stamp, StampKind, TimeDaemon, TlsLibrary,
};
pub use namespace::{Namespace, Namespaces, Place};
pub use outside::{
    CertificateProblem, Conduct, Dial, DialOutcome, Distance, DnsOutcome, DnsRecord, DnsTrouble, DnsTry, DnssecAnswer,
    EndpointWhy, ExaminedAddress, ExaminedEndpoint, HopAnswer, IcmpError, Lookup, NodeSample, Phase, PhaseTime,
    PresentedCertificate, RecordData, ResolverCheck, Retried, Role, RoleSign, RootStore, Session, SessionProtocol,
    StarttlsFacts, TlsEnding, TlsFacts, Transport, WayAnswer, standard_service,
};
pub use ports::{
    AskedListener, Assignment, Assignments, Bystanders, Exposure, Forbidden, PackageProcesses, PortOwner, V6Policy,
};
pub use process::{Descriptors, Owner, Process, Processes};
pub use queue::{Queue, QueueCause, QueueMessage, QueueRow};
pub use reports::Reports;
pub use routing::{
    AddressState, BoundSource, DefaultRoute, NextHop, OwnAddress, Refusal, Refuser, RouteAnswer, RouteOutcome,
    RoutePurpose, RouteRefused, RouteTaken, Routing,
};
pub use server::{
    Account, Barred, CertificateFiles, Children, ClientLogin, Configured, DomainKind, Egress, Endpoint, FileLine,
    Helper, HelperKind, HelperState, Lacking, MailDomain, Master, OfferedSocket, OtherServer, Problem, Purpose,
    Refused, Rewrite, Server, Setting, SmtpClient, Table, TlsMode, UnitLimits, Unrunnable, WantedListener,
};
pub use signer::{KeyUse, Signer, SignerMode};
pub use socket::{AcceptQueue, Count, Drops, Listener, Load, Sent, Sockets, Stale, TOP_KEPT, Towards};
pub use unit::{SocketUnit, Unit, UnitListen, Units};

use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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
    /// What is usual here, beside what is now. `Absent`: nothing is kept for what was looked at.
    pub baseline: Seen<Baseline>,
    pub processes: Seen<Processes>,
    /// Mail servers whose configuration we read, by instance name. `Absent`: searched for, none installed.
    pub servers: Seen<BTreeMap<String, Server>>,
    /// Mail servers that are here and whose configuration could not be read, by software name.
    pub unread: BTreeMap<String, Blind>,
    /// Mail software that is here and whose configuration is not read, by software name.
    pub others: BTreeMap<String, OtherServer>,
    /// What the files of all servers' `certificates` hold, by `CHAIN-FILE KEY-FILE`. What an older report does not carry was
    /// not looked at.
    pub certificates: BTreeMap<String, CertificatePair>,
    /// Software of this host that signs or checks signatures, by software name. `Absent`: looked for, none installed.
    pub signers: Seen<BTreeMap<String, Signer>>,
    /// File systems behind the directories that mail needs, by directory.
    pub file_systems: BTreeMap<String, Seen<FileSystem>>,
    /// Addresses of this network namespace's interfaces that connections can come to: those that IPv6 still checks for
    /// duplicates, or has found to be one, are left out.
    pub addresses: Seen<BTreeSet<IpAddr>>,
    /// Network namespaces besides the one that was looked at.
    pub namespaces: Seen<Namespaces>,
    /// Units of systemd that bear on mail. `Absent`: systemd does not start services here.
    pub units: Seen<Units>,
    /// Where the kernel sends what the mail servers send.
    pub routing: Seen<Routing>,
    /// What this host's own packet filters would do with mail's packets. `Absent`: looked, there is no rule at all.
    pub firewall: Seen<Firewall>,
    /// Who is meant to have which port. `Absent`: no assignments file was given or found.
    pub assignments: Seen<Assignments>,
    /// What software besides mail servers asks for at its next start.
    pub bystanders: Seen<Bystanders>,
    pub clock: Clock,
    pub resolver: Resolver,
    pub memory: Memory,
    pub software: Software,
    /// Services that were connected to, by `host:port/protocol`.
    pub endpoints: BTreeMap<String, ExaminedEndpoint>,
    /// Questions that were asked of name servers, by `TYPE name`.
    pub lookups: BTreeMap<String, Lookup>,
    /// What names say that bears on mail: domains, addresses that mail leaves from, lists.
    pub names: published::Names,
    /// The mail that was given to be evaluated.
    pub mail: Seen<published::ExaminedMail>,
    /// What the mail servers' logs say. `Absent`: looked for, there is none.
    pub logs: Seen<MailLogs>,
    /// What waits in the queue of each server, by instance name.
    pub queues: BTreeMap<String, Seen<Queue>>,
    /// This host's name servers, each asked directly, by address.
    pub resolver_checks: BTreeMap<String, ResolverCheck>,
    /// What an earlier run saw. Absent: none is kept.
    pub earlier: Seen<Earlier>,
    /// What receivers reported. Unknown: no reports were given.
    pub reports: Seen<Reports>,
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

impl Declared {
    /// An address of the Internet, by the registries or by the operator's word.
    pub fn is_public(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut declared = self.public_prefixes.iter().filter_map(|prefix| prefix.parse::<crate::Prefix>().ok());
        declared.any(|prefix| prefix.contains(address)) || !crate::special::is_special(address)
    }
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
