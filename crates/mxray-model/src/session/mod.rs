//! What was said in a session with a mail server, as values: the transcript, replies, capabilities, where it ended.
//!
//! `mxray-wire` writes these, rules and renderers read them. All bytes are kept as they came ([`Raw`]); every judgement that
//! is in here (an anomaly, the end of a session) points at the bytes that it was made from.

mod raw;
mod smtp;
mod transcript;

pub use raw::{BadEscape, Raw};
pub use smtp::{
    AuthAttempt, Depth, Enhanced, Extension, Hello, Recipient, Reply, SmtpSession, Stage, StarttlsOutcome, Transaction,
};
pub use transcript::{Anomaly, AnomalyKind, Ending, Entry, Limit, Mark, Transcript, What};
