//! The report: the one value that every renderer, every surface and every program gets.

use crate::{Evidence, Finding};
use serde::{Deserialize, Serialize};

/// The name of this JSON form.
pub const REPORT_SCHEMA: &str = "mxray/report/1";

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was examined is well.
    Healthy,
    /// Something is at risk or fails in part.
    Degraded,
    /// Mail is lost or refused now.
    Broken,
    /// The main question could not be answered.
    Unknown,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::Degraded => "degraded",
            Verdict::Broken => "broken",
            Verdict::Unknown => "unknown",
        }
    }
}

/// Which program made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tool {
    pub name: String,
    pub version: String,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    pub command: String,
    pub targets: Vec<String>,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unseen {
    /// A finding code whose rule could not tell, or the name of what was not visible.
    pub what: String,
    pub why: String,
    /// What would make it visible: a capability, an option, another vantage point.
    pub needs: String,
}

/// A rival cause, and the fact that cleared it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuledOut {
    pub code: String,
    pub name: String,
    pub because: String,
}

/// Something that was examined and is well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    pub code: String,
    pub text: String,
}

/// One examination, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    pub schema: String,
    pub tool: Tool,
    /// RFC 3339, UTC.
    pub started: String,
    pub took_ms: u64,
    pub question: Question,
    pub verdict: Verdict,
    /// The verdict as one sentence.
    pub summary: String,
    /// What no other finding explains, most damaging first; repeats members of `findings`.
    pub causes: Vec<Finding>,
    pub findings: Vec<Finding>,
    pub ruled_out: Vec<RuledOut>,
    pub healthy: Vec<Row>,
    pub unseen: Vec<Unseen>,
    pub evidence: Evidence,
}
