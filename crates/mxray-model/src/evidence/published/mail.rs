//! One mail as a receiver evaluates it: SPF, DKIM, ARC and DMARC of that mail alone.
//!
//! What must not live here: what the author's domain publishes besides (`domain.rs`), and whether a result matters (rules).

use super::{ArcVerdict, DkimVerdict, DmarcVerdict, SpfVerdict};
use crate::Seen;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A mail that was evaluated by the clock of the examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExaminedMail {
    /// The file, as it was named; `-` is standard input.
    pub file: String,
    /// Seconds since 1970.
    pub at_s: i64,
    /// The client that is said to have sent it.
    pub client: IpAddr,
    pub spf: SpfVerdict,
    /// Its signatures, from the top. Empty: it has none.
    pub signatures: Vec<DkimVerdict>,
    /// Places of signatures whose body hash holds for the body with LF line ends: signed over what was never sent.
    pub signed_with_line_feeds: Vec<u32>,
    pub arc: ArcVerdict,
    /// For the author's domain; where there are several, of the one that asks for most. Absent: there is no author's domain.
    pub dmarc: Seen<DmarcVerdict>,
}
