//! DMARC: records as they are read, the walk up the tree, and what both generations of receivers make of it.

use super::{DkimResult, SpfResult};
use crate::Seen;
use serde::{Deserialize, Serialize};

/// RFC 9989 section 4.7, `p=`, `sp=`, `np=`. Ordered by strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    None,
    Quarantine,
    Reject,
}

impl DmarcPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            DmarcPolicy::None => "none",
            DmarcPolicy::Quarantine => "quarantine",
            DmarcPolicy::Reject => "reject",
        }
    }
}

/// `adkim=`, `aspf=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DmarcMode {
    Relaxed,
    Strict,
}

/// `psd=`: is the domain a public suffix?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DmarcPsd {
    Yes,
    /// It is an organisation's own domain.
    No,
    Undefined,
}

/// Where reports go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcUri {
    pub uri: String,
    /// Of a `mailto:` address.
    pub domain: Option<String>,
}

/// What is wrong with a record, or worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DmarcProblem {
    /// The column counts from 1.
    Syntax {
        column: u32,
        why: String,
    },
    /// A value that its tag cannot have; the tag counts as not there (RFC 9989 section 4.8).
    Value {
        tag: String,
        value: String,
        column: u32,
    },
    /// RFC 9989: none; RFC 7489 receivers ignore the record.
    PolicyMissing,
    /// RFC 7489 has `p=` second; receivers of that generation may ignore the record.
    PolicyNotSecond,
    /// Ignored by all (section 4.7).
    UnknownTag {
        tag: String,
    },
    /// `pct=`, `rf=`, `ri=`: gone in RFC 9989, and still honoured by some.
    RemovedTag {
        tag: String,
        value: String,
    },
    /// `!10m`, likewise.
    SizeLimit {
        uri: String,
    },
    Uri {
        tag: String,
        uri: String,
        why: String,
    },
    /// No aggregate reports are asked for.
    NoReports,
    /// `sp=` or `np=` is weaker than `p=`.
    Weaker {
        tag: String,
        policy: DmarcPolicy,
    },
    /// `t=y` (section 4.7): each policy counts as the next weaker one.
    Testing,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcRecord {
    pub text: String,
    pub policy: DmarcPolicy,
    /// `p=` is there and can be read: what RFC 7489 receivers ask for.
    pub policy_stated: bool,
    /// For names below it, and for those that do not exist; stated or inherited.
    pub subdomains: DmarcPolicy,
    pub nonexistent: DmarcPolicy,
    pub dkim: DmarcMode,
    pub spf: DmarcMode,
    pub psd: DmarcPsd,
    /// `t=y`.
    pub testing: bool,
    /// `pct=`, for receivers of RFC 7489.
    pub percent: Option<u32>,
    pub aggregate: Vec<DmarcUri>,
    pub failure: Vec<DmarcUri>,
    pub problems: Vec<DmarcProblem>,
}

/// What stands under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DmarcFound {
    Record(Box<DmarcRecord>),
    /// Looks like a record, and is none.
    NotRecord {
        text: String,
        why: String,
    },
    Nothing,
    /// All are discarded (RFC 9989 section 4.10).
    Several {
        count: u32,
    },
    Unknown {
        why: String,
    },
}

/// One question of a walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcStep {
    /// Without `_dmarc.`.
    pub domain: String,
    pub found: DmarcFound,
}

/// What receivers of one generation go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcAnswer {
    /// `None`: it depends on what could not be looked up.
    pub organizational: Option<String>,
    /// Whose record applies. `None`: no record does, or that could not be looked up.
    pub record_of: Option<String>,
    /// What is asked for mail that is not authenticated. `None`: no record applies, or unknown.
    pub policy: Option<DmarcPolicy>,
    /// What could not be looked up.
    pub unknown: Option<String>,
    /// Why, in one sentence.
    pub why: String,
}

/// Everything found for one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcDiscovery {
    pub domain: String,
    /// The walk of RFC 9989 section 4.10, in order.
    pub walk: Vec<DmarcStep>,
    /// RFC 9989.
    pub current: DmarcAnswer,
    /// RFC 7489 with the public suffix list.
    pub older: DmarcAnswer,
    /// How the two differ in what they do. `None`: they do the same.
    pub differ: Option<String>,
    /// The record that applies by RFC 9989.
    pub record: Option<DmarcRecord>,
    /// `v=DMARC1` at the domain itself, where nobody looks.
    pub misplaced: Vec<String>,
}

/// Does one authenticated name belong to the author's domain?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcRow {
    /// `spf` or `dkim`.
    pub mechanism: String,
    pub domain: String,
    /// What its own evaluation came to.
    pub result: String,
    pub mode: DmarcMode,
    /// `None`: it depends on what could not be looked up.
    pub aligned: Option<bool>,
    pub organizational: Option<String>,
}

/// RFC 8601 section 2.7.7 with RFC 9989 section 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DmarcResult {
    None,
    Pass,
    Fail,
    TempError,
}

/// What a receiver makes of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcVerdict {
    pub result: DmarcResult,
    pub reason: String,
    /// What the domain asks for, where the result is `fail`.
    pub asked: Option<DmarcPolicy>,
    /// It passes by SPF alone, which forwarding breaks.
    pub rests_on_spf: bool,
    pub rows: Vec<DmarcRow>,
    pub discovery: DmarcDiscovery,
}

/// What a message's SPF came to, for alignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcInputs {
    /// The domain of the From field.
    pub author: String,
    /// The domain that SPF evaluated: of MAIL FROM, or of HELO.
    pub spf: Option<(String, SpfResult)>,
    /// `d=` of each signature.
    pub dkim: Vec<(String, DkimResult)>,
}

/// May reports about one domain go to another (RFC 9990 section 4)?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarcTarget {
    pub uri: String,
    pub domain: String,
    /// The name that has to say so. `None`: the same organisation, nobody has to.
    pub asked: Option<String>,
    /// `None`: it could not be looked up.
    pub authorized: Option<bool>,
    pub why: String,
    /// Mail for this domain is taken somewhere.
    #[serde(default)]
    pub receives: Seen<bool>,
}
