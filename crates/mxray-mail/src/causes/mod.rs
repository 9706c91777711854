//! What a reply means: the cause, whose move it is, whether another attempt makes sense.
//!
//! The rules are dated data (`rules.toml`), each with a source and a sample that is its test; a user may load more. A rule is
//! keyed by receiver, code and words, never by the enhanced code alone: Google's x.7.27 is not the registered one. The first
//! digit of the reply decides about the next attempt, the words decide the cause. Start reading at [`Rules::judge`]. What must
//! not live here: reading logs or bounces, and files.

mod cause;
mod matching;
mod reply;
mod users;

pub use cause::{Cause, Finality, Move};
pub use matching::{RuleError, Rules};
pub use reply::{Codes, TEXT_BYTES_MAX, unwrap};
pub use users::Unused;

/// Whose words a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The other server's.
    Theirs,
    /// Our own server's: it reached nobody, or gave up.
    Ours,
}

/// A reply to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The host that was spoken to, where the caller knows it; else the one that the text names.
    pub host: &'a [u8],
    /// As it stands in the log or the bounce, with its wrapping.
    pub text: &'a [u8],
    pub speaker: Speaker,
}

/// Whether the next attempt makes sense: the first digit of the reply says it (RFC 5321 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    Yes,
    No,
    /// There is no reply; the sending server decides.
    Unsaid,
}

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    pub cause: Cause,
    pub finality: Finality,
    pub retry: Retry,
    pub codes: Codes,
    /// The rule that matched; `None` with [`Cause::Unknown`] and with echoes.
    pub rule: Option<&'r str>,
    /// Name of the receiver, where its host is known.
    pub receiver: Option<&'r str>,
}

impl Verdict<'_> {
    /// Whether this says anything new. What is repeated because nothing was tried, is no evidence.
    pub fn is_evidence(&self) -> bool {
        self.cause != Cause::Echo
    }
}

#[cfg(test)]
mod tests;
