//! The transcript: every byte, its direction, its time, the TLS boundary; and what was odd about it.

use super::Raw;
use serde::{Deserialize, Serialize};

/// A conversation, in order. What was received stands line by line, so that how the network cut it does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Transcript {
    pub entries: Vec<Entry>,
    /// Bytes that are not in `entries`, because there were too many: received ones, or those of a long message of ours.
    pub left_out_bytes: u64,
    pub anomalies: Vec<Anomaly>,
}

/// One line, one write, or one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Since the session began, in milliseconds. Of a received line: when its last byte came.
    pub at_ms: u64,
    /// Of a received line: from its first byte to its last.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub took_ms: u64,
    /// Under TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls: bool,
    #[serde(flatten)]
    pub what: What,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Secrets in it are replaced by `***` before they get here.
    Sent(Raw),
    /// Secrets that the peer repeats are replaced by `***`, too.
    Received(Raw),
    Mark(Mark),
}

/// Something that happened between the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Connected,
    /// The handshake began.
    TlsBegan,
    TlsEstablished,
    TlsFailed,
    /// The peer closed its side in order.
    PeerClosed,
    /// The connection was reset, or broke otherwise.
    Broke,
    /// Nothing came until the deadline.
    Deadline,
    /// A limit of ours was reached; no more was read.
    LimitReached,
    /// We closed.
    Closed,
}

/// Something that the protocol does not allow, or that only odd servers do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Anomaly {
    pub kind: AnomalyKind,
    /// The place in the transcript's `entries`.
    pub entry: u32,
}

/// The kinds of oddity, in every protocol that we speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// A line that ends with LF alone.
    BareLf,
    /// A CR inside a line.
    BareCr,
    /// A NUL byte.
    Nul,
    /// Longer than the protocol allows (RFC 5321 section 4.5.3.1.5: 512 bytes).
    LineTooLong { bytes: u32 },
    /// Lines that are no reply in front of the greeting.
    TextBeforeGreeting,
    /// A line that is no reply, between replies.
    NotAReply,
    /// The character behind the code is neither a blank nor `-` (`220****`: a middlebox rewrote it).
    BadSeparator,
    /// The lines of one reply carry different codes.
    MixedCodes { first: u16, last: u16 },
    /// The code is outside of RFC 5321's grammar.
    OddCode { code: u16 },
    /// A reply that nothing had asked for.
    Unasked,
    /// Bytes behind the reply to STARTTLS, before the handshake: a broken server, or somebody who injects text.
    TextBeforeTls { bytes: u32 },
    /// IMAP: logged in before anybody asked.
    PreAuthenticated,
    /// TLS: the server chose what was not offered (a version, a suite, a group, a compression method).
    NotOffered { number: u16 },
    /// TLS: a record's version is none that exists.
    OddRecordVersion { number: u16 },
    /// What the server said cannot be understood as this protocol.
    Malformed,
}

/// A bound of ours that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bytes of one line.
    LineBytes,
    /// Lines of one reply.
    ReplyLines,
    /// Bytes of the whole session.
    SessionBytes,
    /// Lines that were no replies.
    ForeignLines,
    /// Bytes of one handshake message of TLS.
    MessageBytes,
    /// Records of TLS.
    Records,
}

/// How a session ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is not over.
    #[default]
    Open,
    /// As far as it was meant to go, and closed by us in order.
    Finished,
    /// The peer closed before that.
    PeerClosed,
    /// Reset, or another error of the connection.
    Broke { error: String },
    /// Nothing came in time.
    Deadline { waited_ms: u64 },
    /// The peer said no, or asked to come again; what it said stands with the stage.
    Refused,
    /// A limit of ours.
    Limit { limit: Limit },
    /// What came cannot be trusted any further.
    Distrusted,
    /// The TLS handshake failed; what failed is the driver's evidence.
    TlsFailed,
}
