//! SPF: what a receiver's evaluation comes to, step by step, and what stands in a record and the records that it leads to.

use serde::{Deserialize, Serialize};

/// RFC 7208 section 2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SpfResult {
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    TempError,
    PermError,
}

impl SpfResult {
    pub fn as_str(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

/// What one term of a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpfEffect {
    /// It decides.
    Matched,
    NotMatched,
    /// `include` and `redirect`: the record that it leads to is entered; its own result follows.
    Entered,
    /// Modifiers that decide nothing, and what follows a match.
    Skipped,
    /// It ends the evaluation with an error.
    Broke,
}

/// One line of the ledger: a term, in the order in which it was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpfStep {
    /// 0 for the domain's own record; includes stand below it.
    pub depth: u32,
    /// Whose record the term stands in.
    pub domain: String,
    /// Where the term begins in the record, from 1. 0: the record as a whole.
    pub column: u32,
    pub term: String,
    /// The name that the term asks for, macros evaluated.
    pub target: Option<String>,
    /// Counted so far, this term included (RFC 7208 section 4.6.4).
    pub lookups: u32,
    /// Questions without an answer so far.
    pub voids: u32,
    pub effect: SpfEffect,
    /// Why, in a few words.
    pub note: String,
    /// The questions, as the lookups' keys: `A mail.example.org`.
    pub asked: Vec<String>,
}

/// What a receiver's evaluation comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpfVerdict {
    pub result: SpfResult,
    /// Why, in one sentence.
    pub reason: String,
    /// What the domain wants the sender to be told. `None`: the result is not `fail`, or nothing usable is published.
    pub explanation: Option<String>,
    /// The domain that was evaluated.
    pub domain: String,
    pub lookups: u32,
    pub voids: u32,
    pub ledger: Vec<SpfStep>,
}

/// Something that is wrong with a record, or worth a look. Names follow the catalogue's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpfProblem {
    /// No record (section 3).
    Missing,
    /// More than one (section 4.5).
    Multiple {
        count: u32,
    },
    /// Section 4.6.1. The column counts from 1.
    Syntax {
        column: u32,
        text: String,
        why: String,
    },
    /// The worst case is over ten (section 4.6.4).
    LookupsExceeded {
        lookups: u32,
    },
    /// The worst case is nine or ten.
    LookupsNear {
        lookups: u32,
    },
    /// More than two questions without an answer in the worst case (section 4.6.4; a SHOULD, and most receivers hold it).
    VoidsExceeded {
        voids: u32,
    },
    /// Section 5.2: the target of `include` or `redirect` has no record, and the whole evaluation is an error.
    IncludeNoRecord {
        target: String,
    },
    /// A record leads to itself.
    Loop {
        target: String,
    },
    /// Anybody passes.
    PassAll {
        term: String,
    },
    /// Neither `all` nor `redirect`, or `?all`.
    NoDefault {
        term: Option<String>,
    },
    /// Section 5.5.
    PtrUsed {
        term: String,
    },
    /// Section 4.6.4: more than ten names.
    MxOverTen {
        name: String,
        count: u32,
    },
    /// Section 3.4.
    TooLong {
        bytes: u32,
        strings: Vec<u32>,
    },
    /// Never reached, without effect, or there twice.
    DeadTerm {
        term: String,
        column: u32,
        why: String,
    },
    BroadRange {
        term: String,
        addresses_log2: u32,
    },
    /// Section 3.1: `spf2.0/…`.
    SenderId {
        text: String,
    },
    /// Macros: what is asked for depends on who sends; counts are bounds.
    Dynamic {
        term: String,
        column: u32,
    },
    /// Looks like a record, and section 4.5 discards it.
    NotRecord {
        text: String,
        why: String,
    },
    /// What could not be looked at; counts are lower bounds.
    NotSeen {
        what: String,
        why: String,
    },
}

/// A problem and the record that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpfFlaw {
    /// Whose record.
    pub domain: String,
    pub depth: u32,
    pub problem: SpfProblem,
}

/// One term of the tree of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpfNode {
    pub depth: u32,
    pub domain: String,
    pub column: u32,
    pub term: String,
    /// What it costs by itself.
    pub lookups: u32,
    /// What it and everything before it cost.
    pub lookups_so_far: u32,
    /// Which of its questions have no answer.
    pub voids: Vec<String>,
}

/// A record and all records that it leads to, without a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpfSurvey {
    pub domain: String,
    /// The record's text. `None`: there is none, or more than one, or it could not be looked up.
    pub record: Option<String>,
    /// All terms evaluated.
    pub lookups: u32,
    pub voids: u32,
    /// False: macros, or what could not be looked at; the counts are bounds.
    pub exact: bool,
    pub tree: Vec<SpfNode>,
    pub flaws: Vec<SpfFlaw>,
}
