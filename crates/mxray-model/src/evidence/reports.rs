//! What receivers reported: DMARC aggregates, TLS reports, complaints.
//!
//! Sums over the files that were given, by domain. What must not live here: the reading of files (`mxray-mail`), and whether a
//! figure is bad (rules). Text has gone through [`crate::text::untrusted`].

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Reports, read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Reports {
    pub read: ReportsRead,
    /// By the domain that the reports are about.
    pub dmarc: BTreeMap<String, DmarcReports>,
    pub tls: BTreeMap<String, TlsReports>,
    /// By the domain that sent what was complained about.
    pub complaints: BTreeMap<String, Complaints>,
}

/// What was read, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ReportsRead {
    pub files: u64,
    pub dmarc: u64,
    pub tls: u64,
    /// Complaints, their opposite, and single failures.
    pub feedback: u64,
    /// The same report once more (by reporter, identifier and window): counted once.
    pub repeated: u64,
    /// What could not be read, and why; the first of them.
    pub unread: BTreeMap<String, String>,
    pub unread_count: u64,
    /// Rows in the form of the standard, all together.
    pub rows: u64,
}

/// DMARC reports about one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DmarcReports {
    /// `p` as the newest report found it: `none`, `quarantine` or `reject`. Absent: no report names one.
    pub policy: Seen<String>,
    pub subdomain_policy: String,
    pub percent: String,
    /// The receiver that found a test flag: a policy that is not meant to be followed (RFC 9989 `t=y`).
    pub testing: bool,
    /// First and last day that the reports cover, RFC 3339.
    pub first: String,
    pub last: String,
    /// Reports by who sent them.
    pub reporters: BTreeMap<String, u64>,
    pub messages: u64,
    /// DKIM or SPF passed and aligned.
    pub aligned: u64,
    pub quarantined: u64,
    pub rejected: u64,
    /// By address.
    pub sources: BTreeMap<String, ReportedSource>,
    /// Messages of sources beyond the limit.
    pub others: u64,
    /// What differs between a reporter's newest report and the one before.
    pub changes: Vec<ReportChange>,
}

/// One address that sent in the name of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ReportedSource {
    pub messages: u64,
    pub dkim_aligned: u64,
    pub spf_aligned: u64,
    pub aligned: u64,
    pub quarantined: u64,
    pub rejected: u64,
    /// Not aligned, and the receiver says that somebody passed it on: forwarders and lists.
    pub forwarded: u64,
    pub own: Option<OwnBy>,
    pub first: String,
    pub last: String,
    pub reporters: u64,
    /// What did not align and was not passed on, the most first.
    pub unaligned: Vec<Unaligned>,
}

/// How a source is known as our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum OwnBy {
    /// The operator says so.
    Declared { prefix: String },
    /// The domain's own SPF record passes it, as a receiver evaluated it.
    Spf { domain: String },
}

/// Messages that did not align, and what was checked in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Unaligned {
    pub header_from: String,
    pub dkim: Vec<CheckedDomain>,
    pub spf: Vec<CheckedDomain>,
    pub messages: u64,
}

/// One check of DKIM or SPF, as a receiver reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CheckedDomain {
    pub domain: String,
    pub selector: String,
    pub result: String,
}

/// A difference to the report before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReportChange {
    pub reporter: String,
    /// The address; empty where the policy changed.
    pub source: String,
    pub what: ReportChanged,
    /// Messages in the newest report, or in the one before where there are none now.
    pub messages: u64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReportChanged {
    NewSource,
    SourceGone,
    AlignmentLost,
    AlignmentGained,
    Policy { from: String, to: String },
}

/// TLS reports about one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TlsReports {
    pub first: String,
    pub last: String,
    /// Reports by who sent them.
    pub reporters: BTreeMap<String, u64>,
    pub successes: u64,
    pub failures: u64,
    /// The same by the kind of policy: `sts`, `tlsa`, `no-policy-found`.
    pub policies: BTreeMap<String, TlsSessions>,
    /// What failed, the most first.
    pub failed: Vec<TlsFailures>,
    /// The newest report of each sender has no failure: what failed is over.
    pub over: bool,
}

/// Sessions, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TlsSessions {
    pub successes: u64,
    pub failures: u64,
}

/// Sessions that failed alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TlsFailures {
    /// RFC 8460 section 4.3.
    pub kind: String,
    pub policy: String,
    pub mx: String,
    pub reporter: String,
    pub sessions: u64,
    pub last: String,
    /// In the sender's own words.
    pub reason: String,
}

/// Complaints about one domain's mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Complaints {
    pub complaints: u64,
    /// Taken out of the junk folder.
    pub not_spam: u64,
    /// Messages that failed authentication, each reported by itself (RFC 6591).
    pub auth_failures: u64,
    /// By who sent the report.
    pub reporters: BTreeMap<String, u64>,
    /// Messages that the complaints are a part of. Unknown: nobody said how many.
    pub messages: Seen<u64>,
}
