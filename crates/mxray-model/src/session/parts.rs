//! What the sessions of all protocols have in common: announcements, STARTTLS, logins.

use crate::Seen;
use serde::{Deserialize, Serialize};

/// One capability or service extension, as announced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Extension {
    /// The words behind the keyword. A keyword that was announced twice has all of them.
    pub parameters: Vec<String>,
    /// Its (first) line's place in the transcript.
    pub entry: u32,
}

/// What became of STARTTLS (STLS), with the server's replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "StarttlsOutcome_{R}"))]
#[serde(rename_all = "snake_case")]
pub enum StarttlsOutcome<R> {
    /// Announced, agreed, and the handshake succeeded.
    Established(R),
    /// Announced and agreed; the handshake failed.
    HandshakeFailed(R),
    /// Announced, and then refused.
    Refused(R),
    /// Announced and agreed; there were bytes behind the reply, so no handshake was begun.
    Injected(R),
}

/// A login that was tried. The secret is nowhere in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "AuthAttempt_{R}"))]
pub struct AuthAttempt<R> {
    /// By its registered name.
    pub mechanism: String,
    pub tls: bool,
    /// Challenges that the server sent.
    pub challenges: u32,
    /// The last reply.
    pub reply: Seen<R>,
    /// What the server said of the failure in the mechanism's own way (OAuth's JSON, SCRAM's reason).
    pub server_said: Option<String>,
    /// SCRAM: whether the server has proven that it knows the password.
    pub server_proved_itself: Option<bool>,
    /// Why we cancelled it.
    pub cancelled: Option<String>,
}
