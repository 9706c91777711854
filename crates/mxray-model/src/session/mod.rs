//! What was said in a session with a mail server, as values: the transcript, replies, capabilities, where it ended.
//!
//! `mxray-wire` writes these, rules and renderers read them. All bytes are kept as they came ([`Raw`]); every judgement that
//! is in here (an anomaly, the end of a session) points at the bytes that it was made from.

mod hello;
mod mailbox;
mod parts;
mod raw;
mod smtp;
mod transcript;

pub use hello::{
    Foreign, ForeignKind, KeyExchange, KeyKind, Registered, ServerHello, Suite, SuiteGroup, TlsAlert, TlsHelloSession,
    TlsOffer, TlsVersion, Weakness,
};
pub use mailbox::{Answer, Capabilities, MailboxProtocol, MailboxSession, MailboxStage};
pub use parts::{AuthAttempt, Extension, StarttlsOutcome};
pub use raw::{BadEscape, Raw};
pub use smtp::{Depth, Enhanced, Hello, Recipient, Reply, SmtpSession, Stage, Transaction};
pub use transcript::{Anomaly, AnomalyKind, Ending, Entry, Limit, Mark, Transcript, What};
