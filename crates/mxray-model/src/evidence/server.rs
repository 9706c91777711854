//! A mail server: what its configuration asks for, and what runs of it. The same form for every MTA.

use super::process::Owner;
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileLine {
    pub file: String,
    /// 1 is the first line.
    pub line: u32,
}

impl std::fmt::Display for FileLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One mail server instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Server {
    /// `postfix`, `exim`, …
    pub software: String,
    pub version: Seen<String>,
    pub config_dir: String,
    /// Started with the others; `false` where a multi-instance manager was told to leave it alone.
    pub enabled: bool,
    /// Who told us: the daemon's own dump (`postconf`, `doveconf -a`) or the files, read by us.
    pub configured_by: String,
    /// `myhostname`: the name that it gives itself.
    pub host_name: String,
    /// Parameters that rules look at, expanded; with the place where they were set, or none for a default.
    pub settings: BTreeMap<String, Setting>,
    /// Listeners that it opens at its next start, by `smtp/inet`.
    pub wanted: BTreeMap<String, WantedListener>,
    /// Local services that it depends on, by `smtpd_milters unix:/run/opendkim/opendkim.sock`.
    pub helpers: BTreeMap<String, Helper>,
    /// UNIX sockets that it makes for other programs, by path.
    pub offered: BTreeMap<String, OfferedSocket>,
    /// How its mail leaves this host.
    pub egress: Egress,
    /// Domains whose mail it takes as its own or relays by choice; a table that cannot be enumerated stands as it is
    /// written.
    pub domains: Vec<Configured<MailDomain>>,
    /// Certificates that it presents or logs in with, and their keys.
    pub certificates: Vec<CertificateFiles>,
    /// The largest message that it takes, in bytes. `Absent`: no limit.
    pub size_limit: Seen<Configured<u64>>,
    /// The largest mailbox file that its own delivery writes, in bytes, by `local/unix`; those without a limit do not stand
    /// here.
    pub mailbox_limits: BTreeMap<String, Configured<u64>>,
    /// What its services that connect to other servers ask of TLS, by `smtp/unix`.
    pub clients: BTreeMap<String, SmtpClient>,
    /// Tables that rules look at, by `hash:/etc/postfix/tls_policy`.
    pub tables: BTreeMap<String, Table>,
    /// The tables that its programs ask while they take or deliver mail, by the keys of `tables` where they are files.
    pub asked: Vec<Configured<String>>,
    /// Tables (`value`) that its programs ask and whose type this installation does not have: the package of the type is missing.
    pub typeless: Vec<Configured<String>>,
    /// Domains (`value`) whose addresses stand in a table of mailboxes (`setting`) and which no list of domains names.
    pub unlisted: Vec<Configured<String>>,
    /// Internal services that its programs or parameters name and that its service table does not have, by name.
    pub lacking: BTreeMap<String, Lacking>,
    /// Services of its whose program cannot be executed, by `smtp/inet`.
    pub unrunnable: BTreeMap<String, Unrunnable>,
    /// What its configuration says and its programs do not take: each program that reads it ends.
    pub refused: Vec<Refused>,
    /// Values (`value`) between quotation marks that its software takes for a part of them, without the marks.
    pub quoted: Vec<Configured<String>>,
    /// Sockets of its own services that are looked for by their path and are not there.
    pub unlinked: BTreeSet<String>,
    /// Parameters (`setting`) that its software does not know and nothing refers to, each with the one (`value`) that it is
    /// almost written like and that is not set.
    pub misspelt: Vec<Configured<String>>,
    /// Directories of its queue that the user of its programs cannot use, and files that it cannot read. `Absent`: there is none.
    pub closed: Seen<Vec<Barred>>,
    /// Where its master works, as the kernel names it, where that is another directory than the path of its queue leads to now.
    /// `Absent`: it is the same.
    pub works_in: Seen<String>,
    /// What the tables say that `clients` change content by, by `regexp:/etc/postfix/smtp_header_checks`. `Absent`: there is no
    /// such file.
    pub rewrites: BTreeMap<String, Seen<Vec<Rewrite>>>,
    /// Directories that it needs, by use: `queue`, `mailboxes`, `log`; a part of one that is a file system of its own as
    /// `queue/deferred`.
    pub directories: BTreeMap<String, String>,
    /// The master process. `Absent`: searched for, not running.
    pub master: Seen<Master>,
    /// The control group that is frozen with its master in it. `Absent`: none is.
    pub frozen: Seen<String>,
    /// Its worker processes, by `smtp/inet`.
    pub children: Seen<BTreeMap<String, Children>>,
    /// What the service manager would restrict at the next start. `Absent`: no unit, or no restriction.
    pub unit: Seen<UnitLimits>,
    /// Parts of the configuration that could not be understood.
    pub problems: Vec<Problem>,
}

impl Server {
    /// A parameter's expanded value; empty where it is not set.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// The value that one service uses: its own `-o` override, else the server's.
    pub fn setting_of<'a>(&'a self, listener: &'a WantedListener, name: &str) -> &'a str {
        listener.overrides.get(name).map_or_else(|| self.setting(name), String::as_str)
    }

    /// Where a parameter was set. `None`: it stands at its default.
    pub fn set_at(&self, name: &str) -> Option<&FileLine> {
        self.settings.get(name).and_then(|setting| setting.at.as_ref())
    }
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setting {
    /// With all `$name` expanded.
    pub value: String,
    pub at: Option<FileLine>,
}

/// A value of the configuration, the setting that holds it, and where that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Configured_{T}"))]
pub struct Configured<T> {
    pub value: T,
    /// `smtp_bind_address`, in the daemon's own words.
    pub setting: String,
    /// `None`: the daemon's default.
    pub at: Option<FileLine>,
}

/// What a service that connects to other servers asks of TLS and DNS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SmtpClient {
    /// `may`, `encrypt`, `dane`, `dane-only`, …, in Postfix's words; `may-verify`: TLS with a certificate that holds, else in
    /// clear (Exim). Empty: not set.
    pub tls_level: Configured<String>,
    /// `dnssec`, `enabled`, `disabled`; empty: not set.
    pub dns_support: Configured<String>,
    /// The tables with a policy for single destinations, by the keys of `tables` where they are files.
    pub policy_tables: Configured<Vec<String>>,
    /// The tables by which it changes content on its way out, by the keys of `rewrites`.
    #[serde(default)]
    pub rewriting: Vec<Configured<String>>,
    /// How it logs in at next hops. `None`: it does not.
    #[serde(default)]
    pub login: Option<ClientLogin>,
}

/// How a service that connects to other servers logs in there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClientLogin {
    /// The tables with users and passwords; one whose contents stand in its name is kept as its type alone.
    pub tables: Configured<Vec<String>>,
    /// smtp_sasl_mechanism_filter, or those that it has; empty: all mechanisms.
    pub mechanisms: String,
    /// smtp_sasl_tls_security_options: `noanonymous`, `noplaintext`, …
    pub options: String,
}

/// One entry of a table by which content is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rewrite {
    pub line: u32,
    /// The expression or the key that has to match.
    pub pattern: String,
    /// `REPLACE`, `IGNORE`, … in upper case; of a table of addresses `ADDRESS`.
    pub action: String,
}

/// A lookup table in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Table {
    /// The file that is opened for it: the text itself, or the index made of it.
    pub file: String,
    /// Its size in bytes. `Absent`: there is no such file.
    pub bytes: Seen<u64>,
    /// The text that the index is made of. `Absent`: the table has no index, or no text lies beside it.
    pub text: Seen<String>,
    /// What keeps the index from being opened as what it is named. `Absent`: nothing does.
    #[serde(default)]
    pub damage: Seen<String>,
    /// Keys of the text whose entry the index does not hold, where the text is the younger file; at most a few.
    pub not_indexed: Seen<Vec<String>>,
}

/// An internal service that is asked for and is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lacking {
    /// Who asks for it: a parameter, or the program's own name for a service that is always there.
    pub setting: String,
    /// Where the parameter stands. `None`: the daemon's default.
    pub at: Option<FileLine>,
    /// The line that defines it, without its comment sign, and its place. `None`: there is no such line.
    pub commented: Option<Configured<String>>,
    /// It is in the table, and a switch disables it.
    pub disabled: bool,
}

/// A program that a service runs and that cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unrunnable {
    pub path: String,
    /// It is there, and cannot be started all the same: nobody may execute it, or it lacks a library.
    pub exists: bool,
    /// A shared library that it needs and that is nowhere where the dynamic linker looks; empty: none.
    #[serde(default)]
    pub library: String,
    /// The service's line.
    pub at: FileLine,
}

/// A part of the configuration that the server's programs do not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Refused {
    /// The parameter; empty: a line as a whole.
    pub setting: String,
    /// As the programs see it, with all references expanded.
    pub value: String,
    /// What is wrong with it: `neither yes nor no`.
    pub why: String,
    /// The default, which is taken; empty: there is none, or it does not fit.
    pub default: String,
    /// The service that overrides the parameter, `submission/inet`; empty: it holds for all.
    pub service: String,
    /// The programs that read it; empty where all do.
    pub programs: BTreeSet<String>,
    /// Every program of the server reads it, also the one that starts all others.
    pub by_all: bool,
    pub at: Option<FileLine>,
}

/// How a server's mail leaves this host: what the kernel's routing, by user and by source address, is asked about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Egress {
    /// Carries mail to other hosts at all; not so for a mailbox server.
    pub sends: bool,
    /// The user whose processes open the connections.
    pub account: Seen<Account>,
    /// Addresses that outgoing connections are bound to. Empty: the kernel chooses.
    pub sources: Vec<Configured<IpAddr>>,
    /// Everything leaves through these hosts, as configured (`[smtp.example.com]:587`). Empty: by MX.
    pub smarthosts: Vec<Configured<String>>,
    /// The names that it says in HELO or EHLO to other servers. Empty: not known.
    pub hello: Vec<Configured<String>>,
    /// The root directory that the processes which resolve names see, where that is not `/` by configuration.
    pub root: Option<Configured<String>>,
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Account {
    pub name: String,
    pub uid: u32,
}

/// A domain that a server is responsible for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailDomain {
    pub name: String,
    pub kind: DomainKind,
}

/// What becomes of mail to a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DomainKind {
    /// Delivered to users of this system.
    Local,
    /// Delivered to mailboxes or aliases that are no system users.
    Virtual,
    /// Handed to the next host.
    Relay,
}

/// A certificate and the key that belongs to it, as the configuration names them. One file may hold both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CertificateFiles {
    /// The certificate, with its chain.
    pub chain: Configured<String>,
    pub key: Configured<String>,
    /// The services that present it, by the keys of `wanted`; empty: all of them.
    pub services: BTreeSet<String>,
    /// Presented to servers that we connect to, not to clients.
    pub as_client: bool,
    /// Only for clients that ask for these names (SNI); empty: for all.
    pub names: BTreeSet<String>,
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Port 25: mail from other servers.
    Relay,
    /// Mail from users, STARTTLS (587).
    Submission,
    /// Mail from users, TLS from the first byte (465).
    Submissions,
    /// IMAP, POP3, ManageSieve.
    Mailbox,
    /// LMTP, or a content filter that hands mail back.
    Internal,
    Other,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Relay => "mail from other servers",
            Purpose::Submission => "submission",
            Purpose::Submissions => "submission over TLS",
            Purpose::Mailbox => "mailbox access",
            Purpose::Internal => "internal hand-over",
            Purpose::Other => "other",
        }
    }
}

/// How a listener does TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    None,
    Starttls,
    /// STARTTLS, and nothing is accepted without it.
    StarttlsRequired,
    /// From the first byte.
    Implicit,
}

/// A listener that the configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WantedListener {
    /// The name in front of the daemon: `smtp`, `submission`, `127.0.0.1:10025`.
    pub service: String,
    /// The daemon: `smtpd`, `postscreen`.
    pub command: String,
    pub port: u16,
    /// Where it binds; the unspecified address stands for all addresses of its family.
    pub addresses: Vec<IpAddr>,
    pub purpose: Purpose,
    pub tls: TlsMode,
    /// Most processes at a time. `None`: no limit.
    pub process_limit: Option<u32>,
    /// One process serves many connections (postscreen): its process limit says nothing about connections.
    pub multiplexed: bool,
    /// The `-o` overrides.
    pub overrides: BTreeMap<String, String>,
    pub at: FileLine,
}

impl WantedListener {
    /// Asks for loopback addresses only.
    pub fn is_loopback_only(&self) -> bool {
        !self.addresses.is_empty() && self.addresses.iter().all(IpAddr::is_loopback)
    }
}

/// What kind of local service the mail server depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HelperKind {
    Milter,
    Sasl,
    Policy,
    ContentFilter,
    /// Where mail for local users is handed over (LMTP).
    Delivery,
    /// A table that is asked over a socket.
    Lookup,
}

impl HelperKind {
    pub fn as_str(self) -> &'static str {
        match self {
            HelperKind::Milter => "milter",
            HelperKind::Sasl => "SASL login service",
            HelperKind::Policy => "policy service",
            HelperKind::ContentFilter => "content filter",
            HelperKind::Delivery => "delivery service",
            HelperKind::Lookup => "lookup service",
        }
    }
}

/// Where a helper listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Unix { path: String },
    Inet { host: String, port: u16 },
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Unix { path } => write!(f, "unix:{path}"),
            Endpoint::Inet { host, port } if host.contains(':') => write!(f, "inet:[{host}]:{port}"),
            Endpoint::Inet { host, port } => write!(f, "inet:{host}:{port}"),
        }
    }
}

/// A local service that the mail server depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Helper {
    pub kind: HelperKind,
    pub endpoint: Endpoint,
    /// The parameter that names it.
    pub setting: String,
    pub at: Option<FileLine>,
    /// The services that need it, by `smtp/inet`; empty: all mail.
    pub needed_by: BTreeSet<String>,
    /// What becomes of mail while it is down: `tempfail`, `accept`, `reject`, `defer`, …
    pub on_failure: String,
    /// The user that connects to it. Unknown for those that are reached over TCP.
    #[serde(default)]
    pub connects_as: Seen<Account>,
    /// `Absent`: nothing listens there.
    pub state: Seen<HelperState>,
}

/// A helper that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HelperState {
    pub owners: Seen<Vec<Owner>>,
    pub queue: Seen<super::AcceptQueue>,
    /// All of its processes are stopped.
    pub stopped: Seen<bool>,
    /// What keeps the user that connects from it. `Absent`: nothing does.
    #[serde(default)]
    pub barred: Seen<Barred>,
}

/// A file that does not let a user pass on the way to a UNIX socket: the socket itself, or a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Barred {
    pub path: String,
    /// A directory that may not be passed; else the socket, which may not be written to (unix(7)).
    pub directory: bool,
    /// Its permissions, `0660`.
    pub mode: String,
    pub owner: String,
    pub group: String,
    /// Who is in the group would be let through.
    pub group_may: bool,
}

/// A UNIX socket that a mail server makes for other programs: Dovecot's for logins, or for delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OfferedSocket {
    /// The service behind it: `auth`, `lmtp`.
    pub service: String,
    /// `None`: it is there by default.
    pub at: Option<FileLine>,
}

/// The process that starts all others of a mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Master {
    pub pid: u32,
    pub state: char,
}

impl Master {
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// The worker processes of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Children {
    pub count: u32,
    /// Of these, stopped by a signal or a debugger.
    pub stopped: u32,
    /// Most at a time. `None`: no limit.
    pub limit: Option<u32>,
}

/// What a service manager restricts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnitLimits {
    pub unit: String,
    /// The user that it is started as; empty for root.
    pub user: String,
    /// CapabilityBoundingSet=, by names in lower case. `None`: not restricted.
    pub bounding: Option<BTreeSet<String>>,
    /// AmbientCapabilities=
    pub ambient: BTreeSet<String>,
    pub at: Option<FileLine>,
}

/// A line that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    pub at: FileLine,
    pub text: String,
}

/// Mail software that was found and whose configuration is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OtherServer {
    /// How it was found: `process 812 (dovecot)`, `/usr/sbin/exim4`.
    pub found: String,
    pub running: Seen<bool>,
    /// Keys of its listeners in `sockets.listeners`.
    pub listeners: BTreeSet<String>,
}
