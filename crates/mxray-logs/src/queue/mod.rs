//! What waits in the queue of a mail server: its listing, or the files of its queue, as entries in one form.
//!
//! One module for one server; [`sums`] adds entries up. What must not live here: reading directories and running programs
//! (`mxray-host`), and clocks: whoever adds up says what time it is.

pub mod exim;
pub mod opensmtpd;
pub mod postfix;
pub mod sendmail;
mod sums;

pub use sums::{AGE_LIMITS_S, AgeRow, CauseRow, Row, Sums, Waiting};

/// Longest text of a reason that is kept.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Recipients of one message that are kept; a list has more, and they wait for the same reasons.
pub const RECIPIENTS_MAX: usize = 1_000;

/// In which state a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Handed in, not yet looked at.
    Maildrop,
    /// Taken, not yet tried.
    Incoming,
    /// Being delivered now.
    Active,
    /// Tried in vain; the next attempt comes by itself.
    Deferred,
    /// Nothing more is tried until somebody releases it.
    Hold,
    /// Set aside as unreadable.
    Corrupt,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Maildrop => "maildrop",
            State::Incoming => "incoming",
            State::Active => "active",
            State::Deferred => "deferred",
            State::Hold => "hold",
            State::Corrupt => "corrupt",
        }
    }
}

/// A recipient that is not done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipient {
    pub address: Vec<u8>,
    /// Why the last attempt failed; empty: not known, or none was made.
    pub reason: Vec<u8>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: Vec<u8>,
    pub state: State,
    /// Seconds since 1970.
    pub arrived_s: i64,
    pub bytes: Option<u64>,
    pub sender: Vec<u8>,
    pub recipients: Vec<Recipient>,
    /// When it is to be tried again, where the queue says so.
    pub next_try_s: Option<i64>,
    /// When it was tried last, where the queue says so.
    pub last_try_s: Option<i64>,
}

/// What is kept of a text.
fn bounded(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(REASON_BYTES_MAX)].to_vec()
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
