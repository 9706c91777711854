//! What another server says that it found: Authentication-Results (RFC 8601), and its form within ARC.

use serde::{Deserialize, Serialize};

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatedResults {
    /// Who says so.
    pub server: String,
    /// Empty: `none`, nothing was done.
    pub results: Vec<StatedResult>,
}

/// One method's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatedResult {
    /// `dkim`, `spf`, `dmarc`, `arc`; in lower case.
    pub method: String,
    /// `pass`, `fail`; in lower case.
    pub result: String,
    pub reason: Option<String>,
    /// `header.d` and its value, in order.
    pub properties: Vec<(String, String)>,
}
