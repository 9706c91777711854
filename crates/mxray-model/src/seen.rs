//! The three states of a fact. "I could not look" is a value of its own, never a missing one.

use serde::{Deserialize, Serialize};

/// One fact: seen, seen to be absent, or unknown with the reason.
///
/// There is deliberately no conversion to `Option`: whoever reads a fact says what happens in all three cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Seen_{T}"))]
#[serde(rename_all = "snake_case")]
pub enum Seen<T> {
    /// The fact, as it was seen.
    Value(T),
    /// We looked where it would be, and it is not there.
    Absent,
    /// We could not look.
    Unknown(Blind),
}

impl<T> Seen<T> {
    /// The value, where it was seen.
    pub fn value(&self) -> Option<&T> {
        match self {
            Seen::Value(value) => Some(value),
            Seen::Absent | Seen::Unknown(_) => None,
        }
    }

    /// Why it is unknown, where it is.
    pub fn blind(&self) -> Option<&Blind> {
        match self {
            Seen::Unknown(blind) => Some(blind),
            Seen::Value(_) | Seen::Absent => None,
        }
    }

    /// True only where we looked and found nothing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Seen::Absent)
    }

    /// The same state with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Seen::Value(value) => Seen::Value(change(value)),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind),
        }
    }

    /// The same state, borrowed.
    pub fn as_ref(&self) -> Seen<&T> {
        match self {
            Seen::Value(value) => Seen::Value(value),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }

    /// A fact that nobody has tried to see yet.
    pub fn not_attempted(why: &str) -> Self {
        Seen::Unknown(Blind::NotAttempted { why: why.to_owned() })
    }
}

impl<T> Default for Seen<T> {
    /// What an older report does not carry was not looked at.
    fn default() -> Self {
        Seen::not_attempted("not part of this evidence")
    }
}

/// Why a fact is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Blind {
    /// The system refused. `needs` is what would be allowed to look: `root`, or a capability by its name.
    NotPermitted { what: String, needs: String },
    /// The run's deadline came first.
    TimedOut { what: String, after_ms: u64 },
    /// Nobody looked, and why not.
    NotAttempted { why: String },
    /// Looking failed: the step, and what the system said.
    Failed { step: String, error: String },
    /// It is visible from another place only: why, and the command that looks there.
    Elsewhere { why: String, look: String },
    /// Something was read and could not be understood.
    NotUnderstood { what: String, text: String },
}

impl Blind {
    /// What stood in the way, as one sentence without its full stop.
    pub fn why(&self) -> String {
        match self {
            Blind::NotPermitted { what, .. } => format!("not permitted: {what}"),
            Blind::TimedOut { what, after_ms } => format!("{what}: no answer within {after_ms} ms"),
            Blind::NotAttempted { why } => why.clone(),
            Blind::Failed { step, error } => format!("{step}: {error}"),
            Blind::Elsewhere { why, .. } => why.clone(),
            Blind::NotUnderstood { what, text } => format!("{what} not understood: {text}"),
        }
    }

    /// What would make it visible.
    pub fn needs(&self) -> String {
        match self {
            Blind::NotPermitted { needs, .. } => needs.clone(),
            Blind::TimedOut { .. } => "a longer --deadline, or the cause of the delay removed".to_owned(),
            Blind::NotAttempted { .. } => String::new(),
            Blind::Failed { .. } => "what failed there put right; if nothing is wrong with it, this is a fault of mxray: a report with this line helps".to_owned(),
            Blind::Elsewhere { look, .. } => look.clone(),
            Blind::NotUnderstood { .. } => "the line corrected, or a report to mxray with that line".to_owned(),
        }
    }
}
