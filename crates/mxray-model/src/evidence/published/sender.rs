//! An address that mail leaves from: its name, what it says in HELO, what SPF makes of it, which lists have it.

use super::SpfVerdict;
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How it is known that mail leaves from there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SenderWhy {
    /// `--ip`.
    Asked,
    /// The kernel would send this server's mail from it, as the routes say.
    Route { server: String },
    /// The server's configuration binds to it.
    Bound { server: String },
}

/// One address and what the names say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SenderAddress {
    pub why: BTreeSet<SenderWhy>,
    /// The names that its PTR records say. Absent: there is none.
    pub pointers: Seen<Vec<String>>,
    /// Of these, those whose own addresses have it (forward confirmed). Absent: none of them.
    pub confirmed: Seen<Vec<String>>,
    /// What it says in HELO or EHLO, by name.
    pub hello: BTreeMap<String, HelloName>,
    /// What receivers make of mail in the name of each domain.
    pub spf: BTreeMap<String, SpfVerdict>,
}

/// A name that is said in HELO.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct HelloName {
    /// The servers that say it.
    pub servers: BTreeSet<String>,
    /// Absent: the name does not exist, or has no address.
    pub addresses: Seen<Vec<std::net::IpAddr>>,
    /// What receivers make of mail without a sender, which bounces are (RFC 7208 section 2.4).
    pub spf: Seen<SpfVerdict>,
}

/// What one list says of one address or domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listing {
    /// The address or domain.
    pub subject: String,
    pub list: String,
    pub zone: String,
    pub tier: u8,
    pub allow: bool,
    /// About the network, not the address alone.
    pub netblock: bool,
    /// No accusation: no mail is expected from there.
    pub policy: bool,
    /// Unknown: the list refused us, is dead, or cannot be believed.
    pub listed: Seen<bool>,
    /// The list refused the question itself.
    pub refused: bool,
    /// The list is dead, empty or says yes to everything, or a resolver makes up its answers.
    #[serde(default)]
    pub unhealthy: bool,
    pub meanings: Vec<String>,
    /// What the list says in words.
    pub texts: Vec<String>,
    pub delisting: Option<String>,
    /// The name that was asked for.
    pub asked: String,
}
