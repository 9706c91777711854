//! Policies for the way to a domain's servers: MTA-STS, TLS-RPT, TLSA. And BIMI's record, which rests on DMARC.

use crate::Seen;
use serde::{Deserialize, Serialize};

/// RFC 8461 section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StsMode {
    Enforce,
    Testing,
    None,
}

/// What is wrong with a record or a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StsProblem {
    /// In the record; the column counts from 1.
    Record {
        column: u32,
        why: String,
    },
    /// More than one record: as if there were none (section 3.1).
    SeveralRecords {
        count: u32,
    },
    /// In the policy; the line counts from 1.
    Policy {
        line: u32,
        why: String,
    },
    MissingKey {
        key: String,
    },
    /// `enforce` and `testing` need at least one `mx`.
    NoMx,
    /// Section 3.2: at most 31557600.
    MaxAge {
        found: String,
    },
    /// Less than a week protects nobody who writes seldom.
    ShortAge {
        seconds: u64,
    },
    /// Section 3.3: text/plain is asked for; senders should not refuse others.
    ContentType {
        found: String,
    },
}

/// The TXT record at `_mta-sts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StsRecord {
    pub text: String,
    pub id: Option<String>,
    pub problems: Vec<StsProblem>,
}

/// A policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StsPolicy {
    pub text: String,
    /// `None`: the policy cannot be used.
    pub mode: Option<StsMode>,
    pub max_age_s: Option<u64>,
    /// As written, in lower case: names, or `*.` and a name.
    pub patterns: Vec<String>,
    /// Senders can use it.
    pub valid: bool,
    pub problems: Vec<StsProblem>,
}

/// MTA-STS of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StsState {
    pub domain: String,
    /// Absent: no record, and so no policy for anybody (section 3.1).
    pub record: Seen<StsRecord>,
    /// Absent: the server says that there is none.
    pub policy: Seen<StsPolicy>,
    /// Why there is none, where there should be.
    pub fetch: Option<String>,
    /// MX names that no pattern matches. Unknown: the policy or the MX records could not be seen.
    pub uncovered: Seen<Vec<String>>,
}

/// The TXT record at `_smtp._tls` (RFC 8460 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsReportRecord {
    pub text: String,
    pub targets: Vec<String>,
    /// Column from 1, and why.
    pub problems: Vec<(u32, String)>,
}

/// What is wrong with a TLSA record for SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TlsaProblem {
    /// RFC 7672 section 3.1.3: 0 and 1 cannot be used for SMTP.
    Usage,
    Selector,
    MatchingType,
    /// The data is not as long as its hash.
    Length {
        bytes: u32,
        wanted: u32,
    },
    NotHexadecimal,
}

/// One record, held against what the server presents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsaMatch {
    /// `3 1 1 ab…`.
    pub record: String,
    pub problem: Option<TlsaProblem>,
    /// The places in the chain that it matches, 0 the server's own.
    pub matches: Vec<u32>,
    /// A sender that goes by it accepts the chain.
    pub accepts: bool,
    /// Why not.
    pub why: Option<String>,
}

/// What DANE makes of one endpoint (RFC 7672 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DaneResult {
    /// No TLSA record: senders go on as without DANE.
    NotUsed,
    /// The records or what leads to them are not signed: they have no effect.
    Ineffective,
    /// Records are there and none can be used: TLS is mandatory, and nothing authenticated.
    Unusable,
    /// The chain matches.
    Authenticated,
    /// The server offers no STARTTLS: senders defer.
    NoStarttls,
    /// It does not: senders defer.
    Mismatch,
    /// The TLSA records could not be looked up, or are bogus: senders defer (section 2.1.1).
    LookupFails,
    /// What is needed for an answer could not be seen.
    Unknown,
}

/// An endpoint's records and its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DaneVerdict {
    /// `_25._tcp.mx.example.org`.
    pub name: String,
    pub result: DaneResult,
    pub reason: String,
    pub records: Vec<TlsaMatch>,
    /// There is a record for the next key (RFC 7671 section 8.1), or one for an issuer that stays.
    pub rollover: bool,
}

/// BIMI's assertion record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BimiRecord {
    pub text: String,
    pub logo: Option<String>,
    pub evidence: Option<String>,
    /// `l=` and `a=` are empty: the domain declines.
    pub declined: bool,
    /// Column from 1, and why.
    pub problems: Vec<(u32, String)>,
}
