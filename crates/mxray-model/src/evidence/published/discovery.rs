//! How a user's program finds the servers of a domain: SRV records (RFC 6186, RFC 8314), autoconfig, autodiscover.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Discovery {
    pub services: Vec<ServiceRecord>,
    /// By the name that was asked for, `_imaps._tcp.example.org`. Absent: it has no SRV record.
    pub asked: BTreeMap<String, Seen<u32>>,
    /// Files for programs that know no SRV records, by URL. Absent: there is no such host, or it has no such file.
    pub pages: BTreeMap<String, Seen<DiscoveryPage>>,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServiceRecord {
    /// `_imaps._tcp.example.org`.
    pub name: String,
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Empty: the service is decidedly not offered (RFC 6186 section 3.4).
    pub target: String,
    /// Where the target's name leads, where it is an alias (RFC 2782 forbids it).
    #[serde(default)]
    pub alias: Option<String>,
    /// Of both families. Absent: the target has none.
    #[serde(default)]
    pub addresses: Seen<Vec<std::net::IpAddr>>,
    /// What came of one connection to it. Unknown: nobody connected.
    #[serde(default)]
    pub reached: Seen<ServiceReached>,
}

/// What one connection to the target of an SRV record met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceReached {
    /// It connected; where TLS is there from the first byte, what came of it.
    Open { tls: Seen<ServiceTls> },
    /// The port is closed at every address: the target says so itself.
    Closed,
}

/// A handshake on a port where TLS is there from the first byte, with the target's name as the name (RFC 6186 section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceTls {
    Valid,
    /// Why a program would refuse it.
    Refused {
        why: String,
    },
}

/// A file on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiscoveryPage {
    pub status: u16,
    pub content_type: Option<String>,
    /// Where a redirection leads; it is not followed.
    pub location: Option<String>,
    pub bytes: u32,
}
