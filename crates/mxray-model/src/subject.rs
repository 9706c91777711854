//! What a finding is about.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of things that findings speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    Host,
    Service,
    Process,
    File,
    Address,
    Network,
    Name,
    Domain,
    /// `host:port/protocol`
    Endpoint,
    Path,
    Resolver,
    List,
    Receiver,
    Mailbox,
    Account,
    Message,
    Queue,
    Report,
}

impl SubjectKind {
    /// The kind as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            SubjectKind::Host => "host",
            SubjectKind::Service => "service",
            SubjectKind::Process => "process",
            SubjectKind::File => "file",
            SubjectKind::Address => "address",
            SubjectKind::Network => "network",
            SubjectKind::Name => "name",
            SubjectKind::Domain => "domain",
            SubjectKind::Endpoint => "endpoint",
            SubjectKind::Path => "path",
            SubjectKind::Resolver => "resolver",
            SubjectKind::List => "list",
            SubjectKind::Receiver => "receiver",
            SubjectKind::Mailbox => "mailbox",
            SubjectKind::Account => "account",
            SubjectKind::Message => "message",
            SubjectKind::Queue => "queue",
            SubjectKind::Report => "report",
        }
    }
}

/// One thing that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subject {
    pub kind: SubjectKind,
    pub value: String,
}

impl Subject {
    pub fn new(kind: SubjectKind, value: impl Into<String>) -> Self {
        Subject { kind, value: value.into() }
    }

    pub fn host() -> Self {
        Subject::new(SubjectKind::Host, "localhost")
    }

    pub fn service(name: impl Into<String>) -> Self {
        Subject::new(SubjectKind::Service, name)
    }

    pub fn endpoint(endpoint: impl Into<String>) -> Self {
        Subject::new(SubjectKind::Endpoint, endpoint)
    }

    pub fn file(path: impl Into<String>) -> Self {
        Subject::new(SubjectKind::File, path)
    }

    pub fn path(path: impl Into<String>) -> Self {
        Subject::new(SubjectKind::Path, path)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.value)
    }
}
