//! How a user's program finds the servers of a domain: SRV records (RFC 6186, RFC 8314), autoconfig.

use serde::{Deserialize, Serialize};

/// What is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Discovery {
    pub services: Vec<ServiceRecord>,
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
}
