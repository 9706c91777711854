//! What waits in the queue of a mail server.
//!
//! Ages are seconds at the moment of the look. Names and reasons are foreign text that went through
//! [`crate::text::untrusted`].

use crate::{Mover, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One server's queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Queue {
    /// `postqueue -j`, or the directory.
    pub source: String,
    pub messages: u64,
    pub recipients: u64,
    /// Unknown where the queue's files do not say how large each message is (Exim, OpenSMTPD, Sendmail).
    pub bytes: Seen<u64>,
    /// By state: `active`, `deferred`, `hold`, `incoming`, `maildrop`, `corrupt`.
    pub states: BTreeMap<String, QueueRow>,
    pub destinations: BTreeMap<String, QueueRow>,
    /// By the domain of the sender; empty: notices.
    pub senders: BTreeMap<String, QueueRow>,
    pub causes: Vec<QueueCause>,
    /// The oldest message of each state.
    pub oldest: BTreeMap<String, QueueMessage>,
    /// Of those being delivered, the one with most recipients. `Absent`: none is.
    pub widest_active: Seen<QueueMessage>,
    /// Deferred messages between five minutes and an hour old.
    pub young_deferred: u64,
    /// Until the next of the deferred messages is tried, at the latest. `Absent`: none waits for that.
    pub next_try_in_s: Seen<u64>,
    /// So many messages were read, and there are more.
    pub truncated_at: Seen<u64>,
    /// Files or lines that could not be understood.
    pub not_understood: u64,
}

/// What waits under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct QueueRow {
    pub messages: u64,
    pub recipients: u64,
    pub oldest_s: u64,
    /// Messages by age: below each of 300, 600, 1200, … seconds, the last one for all that are older.
    pub ages: Vec<u64>,
}

/// Recipients that wait for one cause at one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueCause {
    pub cause: String,
    pub receiver: String,
    pub host: String,
    pub domain: String,
    pub about: String,
    pub whose_move: Mover,
    pub finality: String,
    pub retry: Seen<bool>,
    pub proof: String,
    pub recipients: u64,
    pub oldest_s: u64,
    pub sample: String,
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct QueueMessage {
    pub id: String,
    pub age_s: u64,
    pub sender: String,
    pub recipients: u64,
    pub first_recipient: String,
    pub reason: String,
}
