//! What an earlier run of mxray on this host saw, as far as something is compared with it.
//!
//! What must not live here: the kept runs themselves (`mxray-host`), and whether a difference matters (rules).

use super::RecordData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The last run that was answered well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Earlier {
    /// When it was, RFC 3339.
    pub started: String,
    /// The records of each question that had an answer, by `TYPE name`; none: there were none of the kind.
    pub records: BTreeMap<String, Vec<RecordData>>,
}
