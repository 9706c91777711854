//! What the logs of mail servers say: rates, causes by receiver, accounts, incidents.
//!
//! Times are RFC 3339 in UTC, to the second, so that their order is that of their letters. Names and samples are foreign text
//! that went through [`crate::text::untrusted`]. How lines are read is `mxray-logs`' business.

use crate::{Mover, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was read of the logs, and what it adds up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MailLogs {
    /// Files by path, or `journal`; with the reason where one could not be read.
    pub sources: BTreeMap<String, Seen<LogSource>>,
    /// Lines before this were not looked at. `Absent`: all were.
    pub since: Seen<String>,
    /// First and last line with a time. `Absent`: there is none.
    pub first: Seen<String>,
    pub last: Seen<String>,
    pub lines: LogLines,
    /// All that was read.
    pub whole: LogSums,
    /// The last hour before the examination. `Absent`: the log was not compared with a clock.
    pub recent: Seen<LogSums>,
    pub causes: Vec<LogCause>,
    pub accounts: Vec<LogAccount>,
    pub logins: LogLogins,
    pub incidents: Vec<LogIncident>,
}

/// One file or stream of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogSource {
    pub bytes: u64,
    /// Not from its beginning, or not to its end: time or size set a bound, and why.
    pub cut: String,
}

/// What became of the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogLines {
    pub read: u64,
    pub understood: u64,
    /// Of programs that are no mail servers.
    pub foreign: u64,
    pub not_understood: u64,
    pub outside_window: u64,
    /// Of those not understood, one of each beginning.
    pub samples: Vec<String>,
}

/// Sums of one stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogSums {
    pub received: u64,
    pub attempts: LogAttempts,
    pub recipients: LogRecipients,
    /// Recipients whose address was wrong, of those that are final.
    pub bounce: LogRate,
    /// Recipients refused for reputation or policy, of those that are final.
    pub block: LogRate,
    pub expiry: LogRate,
    /// Recipients that were put off at least once, of all.
    pub deferral: LogRate,
    /// Receivers towards which attempts failed, and those that took mail.
    pub failing_receivers: u64,
    pub taking_receivers: u64,
    pub rejected: u64,
    pub tls: LogTls,
    pub logins_granted: u64,
    pub logins_failed: u64,
    /// `total`, `before_queue`, `in_queue`, `connecting`, `sending`.
    pub delays: BTreeMap<String, LogDelay>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogAttempts {
    pub sent: u64,
    pub deferred: u64,
    pub bounced: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogRecipients {
    pub delivered: u64,
    pub bounced: u64,
    pub expired: u64,
    pub pending: u64,
}

impl LogRecipients {
    /// Those that wait no more.
    pub fn finished(&self) -> u64 {
        self.delivered + self.bounced + self.expired
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogRate {
    pub numerator: u64,
    pub denominator: u64,
}

impl LogRate {
    /// Under so many recipients a rate says nothing.
    pub const RECIPIENTS_MIN: u64 = 100;

    /// At least this share, in hundredths, of enough recipients.
    pub fn reaches(&self, percent: u64) -> bool {
        self.denominator >= Self::RECIPIENTS_MIN
            && self.numerator.saturating_mul(100) >= self.denominator.saturating_mul(percent)
    }

    /// `12 of 340 (3.5 %)`
    pub fn text(&self) -> String {
        if self.denominator == 0 {
            return "0 of 0".to_owned();
        }
        let tenths = u128::from(self.numerator) * 1_000 / u128::from(self.denominator);
        format!("{} of {} ({}.{} %)", self.numerator, self.denominator, tenths / 10, tenths % 10)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogTls {
    /// Deliveries to other hosts, and those of them with TLS.
    pub sent_remote: u64,
    pub sent_tls: u64,
    pub failures_out: u64,
    /// Sessions of clients with TLS, and handshakes of clients that failed.
    pub received_tls: u64,
    pub failures_in: u64,
}

/// Of attempts that delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogDelay {
    pub count: u64,
    pub p50_ms: u64,
    pub p95_ms: u64,
}

/// One cause at one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogCause {
    /// `auth-ptr`, `rcpt-full`, …
    pub cause: String,
    /// The provider behind the host, not the domain of the address.
    pub receiver: String,
    /// Of one of the attempts: the host, and the recipient's domain.
    pub host: String,
    pub domain: String,
    /// One sentence for a person.
    pub about: String,
    pub whose_move: Mover,
    /// `address-gone`, `message-dead`, `wait`, `slow-down`, `stop-lane`.
    pub finality: String,
    /// What the first digit of the reply says. `Absent`: there was no reply.
    pub retry: Seen<bool>,
    /// What to look at to confirm it; empty where nothing on our side can.
    pub proof: String,
    pub attempts: u64,
    /// Not delivered, and this was the last that was said.
    pub recipients: u64,
    pub first: String,
    pub last: String,
    /// Deliveries to the receiver after the last of these.
    pub delivered_since: u64,
    pub sample: String,
    /// The rule that matched; empty for replies that no rule knows.
    pub rule: String,
}

/// What one login name sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogAccount {
    pub name: String,
    pub messages: u64,
    pub recipients: LogRecipients,
    pub bounce: LogRate,
    pub block: LogRate,
    pub logins: u64,
    pub failures: u64,
    /// Different addresses it came from.
    pub clients: u64,
    pub last: String,
    pub busiest_hour: String,
    pub busiest_hour_messages: u64,
    /// In each of the other hours in which it sent anything, in tenths.
    pub usual_hour_messages_tenths: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogLogins {
    pub granted: u64,
    pub failed: u64,
    /// Addresses with most failures.
    pub sources: Vec<LogLoginSource>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogLoginSource {
    pub address: String,
    pub failures: u64,
}

/// Something that stopped a program, as often as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LogIncident {
    pub host: String,
    pub instance: String,
    /// The program as its lines name it: `postfix/smtpd`.
    pub program: String,
    pub panic: bool,
    pub text: String,
    pub times: u64,
    /// With those that it drew after it.
    pub lines: u64,
    pub first: String,
    pub last: String,
    /// The program did something else after the last of them, or the server was started anew.
    pub over: bool,
}
