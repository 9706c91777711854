//! Who serves a zone, what each of its servers says, and whether DNSSEC vouches for it.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The zone that a name lies in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Zone {
    /// Its apex, without the final dot.
    pub apex: String,
    /// Its servers by `NAME ADDRESS`, each asked directly. Unknown: they were not asked.
    pub servers: Seen<BTreeMap<String, ZoneServer>>,
    /// Names that a wildcard answers for and that only have a meaning by themselves: `_dmarc`, `_domainkey`, `_mta-sts`.
    pub wildcards: Vec<String>,
}

/// What one server of a zone says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ZoneServer {
    /// It answers for the zone itself (AA). Unknown: it did not answer, and why.
    pub authoritative: Seen<bool>,
    pub serial: Option<u32>,
}

/// DNSSEC from the trust anchor down to one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SecurityChain {
    pub links: Vec<SecurityLink>,
}

/// One delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecurityLink {
    pub zone: String,
}
