//! Who serves a zone, what each of its servers says, and whether DNSSEC vouches for it.

use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The zone that a name lies in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Zone {
    /// Its apex, without the final dot.
    pub apex: String,
    /// Its servers by `NAME ADDRESS`, each asked directly; by `NAME` where the name has no address. Unknown: they were not asked.
    pub servers: Seen<BTreeMap<String, ZoneServer>>,
    /// Names that a wildcard answers for and that only have a meaning by themselves: `_dmarc`, `_domainkey`, `_mta-sts`.
    pub wildcards: Vec<String>,
}

/// What one server of a zone says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ZoneServer {
    /// It answers for the zone itself (AA). Absent: its name has no address. Unknown: it did not answer, and why.
    pub authoritative: Seen<bool>,
    pub serial: Option<u32>,
    /// The code of its answer, `NOERROR`, `REFUSED`, where one came.
    pub code: Option<String>,
    /// How long its answer took.
    pub took_ms: Option<u64>,
    /// RA: whoever answered asks others. Servers of zones seldom do; a resolver that answers in their place does.
    pub recursive: bool,
}

/// What DNSSEC makes of an answer (RFC 4035 section 4.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecurityState {
    /// Signed from the trust anchor down, and every signature holds.
    Secure,
    /// It is proven that no signatures have to be there.
    Insecure,
    /// Signatures have to be there, and they are missing or do not hold: validating resolvers say SERVFAIL.
    Bogus,
    /// It could not be found out.
    #[default]
    Indeterminate,
}

impl SecurityState {
    pub fn as_str(self) -> &'static str {
        match self {
            SecurityState::Secure => "secure",
            SecurityState::Insecure => "insecure",
            SecurityState::Bogus => "bogus",
            SecurityState::Indeterminate => "indeterminate",
        }
    }
}

/// Why an answer is something else than secure. `what` is `TYPE name`, as `DNSKEY example.org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecurityReason {
    /// Insecure: the parent proves that it has no DS record for the zone; `opt_out`: that it may have left it out.
    Unsigned { zone: String, parent: String, opt_out: bool },
    /// Insecure: nothing here, or in any validator by RFC 8624 or RFC 9276, can check it (RFC 4035 section 5.2).
    Unsupported { zone: String, what: String },
    /// Bogus: the signature ended at this time.
    Expired { what: String, at: String },
    /// Bogus: the signature begins at this time.
    NotYetValid { what: String, at: String },
    /// Bogus: no key of the zone is the one that the DS records at its parent name.
    NoMatchingKey { zone: String, ds: Vec<u16>, keys: Vec<u16> },
    /// Bogus: the zone is to be signed, and has no keys.
    NoKeys { zone: String },
    /// Bogus: signed with a key that the zone does not have.
    UnknownKey { what: String, tag: u16 },
    /// Bogus: the calculation does not come out.
    BadSignature { what: String, tag: u16 },
    /// Bogus: records without a signature in a zone that is signed.
    UnsignedRecords { what: String },
    /// Bogus: the signatures are in the name of another zone.
    WrongSigner { what: String, signer: String, zone: String },
    /// Bogus: that something is not there is not proven by NSEC or NSEC3 records.
    NoProof { what: String },
    /// Indeterminate: the answer did not come.
    NotAnswered { what: String, why: String },
    /// Indeterminate: the resolver passes no signatures on, not even those of the zone that is trusted.
    Stripped { zone: String },
    /// Indeterminate: the keys of the trusted zone are others than those that this program, or its configuration, has.
    AnchorDiffers { zone: String, why: String },
    /// Indeterminate: the work for it is beyond every bound.
    TooMuch { what: String },
}

impl SecurityReason {
    pub fn state(&self) -> SecurityState {
        match self {
            SecurityReason::Unsigned { .. } | SecurityReason::Unsupported { .. } => SecurityState::Insecure,
            SecurityReason::Expired { .. }
            | SecurityReason::NotYetValid { .. }
            | SecurityReason::NoMatchingKey { .. }
            | SecurityReason::NoKeys { .. }
            | SecurityReason::UnknownKey { .. }
            | SecurityReason::BadSignature { .. }
            | SecurityReason::UnsignedRecords { .. }
            | SecurityReason::WrongSigner { .. }
            | SecurityReason::NoProof { .. } => SecurityState::Bogus,
            SecurityReason::NotAnswered { .. }
            | SecurityReason::Stripped { .. }
            | SecurityReason::AnchorDiffers { .. }
            | SecurityReason::TooMuch { .. } => SecurityState::Indeterminate,
        }
    }
}

impl fmt::Display for SecurityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecurityReason::Unsigned { zone, parent, opt_out: false } => {
                write!(f, "{zone} is not signed: {parent} proves that it has no DS record for it")
            }
            SecurityReason::Unsigned { zone, parent, opt_out: true } => {
                write!(f, "{zone} is not signed: {parent} leaves unsigned zones out of its proofs (opt-out)")
            }
            SecurityReason::Unsupported { zone, what } => {
                write!(f, "{zone} is signed in a way that is not validated any more: {what}")
            }
            SecurityReason::Expired { what, at } => write!(f, "the signature of {what} expired at {at}"),
            SecurityReason::NotYetValid { what, at } => write!(f, "the signature of {what} is not valid before {at}"),
            SecurityReason::NoMatchingKey { zone, ds, keys } => {
                let list = |tags: &[u16]| tags.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "the DS records for {zone} name key {}, and none of its keys ({}) is that",
                    list(ds),
                    list(keys)
                )
            }
            SecurityReason::NoKeys { zone } => write!(f, "{zone} has DS records at its parent, and no DNSKEY records"),
            SecurityReason::UnknownKey { what, tag } => {
                write!(f, "{what} is signed with key {tag}, which the zone does not have")
            }
            SecurityReason::BadSignature { what, tag } => {
                write!(f, "the signature of {what} by key {tag} does not belong to these records")
            }
            SecurityReason::UnsignedRecords { what } => write!(f, "{what} has no signature, and the zone is signed"),
            SecurityReason::WrongSigner { what, signer, zone } => {
                write!(f, "{what} is signed in the name of {signer}, and lies in {zone}")
            }
            SecurityReason::NoProof { what } => {
                write!(f, "that there is no {what} is not proven by NSEC or NSEC3 records")
            }
            SecurityReason::NotAnswered { what, why } => write!(f, "{what} could not be had: {why}"),
            SecurityReason::Stripped { zone } => {
                write!(f, "the resolver passes no signatures on, not even those of {zone}")
            }
            SecurityReason::AnchorDiffers { zone, why } => {
                write!(f, "the keys of {zone} are not those that are trusted here: {why}")
            }
            SecurityReason::TooMuch { what } => write!(f, "{what} takes more work than any validator does"),
        }
    }
}

/// DNSSEC from the trust anchor down to one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SecurityChain {
    /// `TYPE name`.
    pub question: String,
    pub state: SecurityState,
    /// `None`: it is secure.
    pub reason: Option<SecurityReason>,
    /// The zones on the way, from the trust anchor down; those behind aliases follow.
    pub links: Vec<SecurityLink>,
    /// What vouches for the answer itself.
    pub signatures: Vec<ZoneSignature>,
    /// The answer is that there is none, and how that is proven.
    pub denial: Option<String>,
}

impl SecurityChain {
    /// For those who need it secure. Bogus is not: nobody who validates has that answer.
    pub fn secure(&self) -> Seen<bool> {
        match (self.state, &self.reason) {
            (SecurityState::Secure, _) => Seen::Value(true),
            (SecurityState::Insecure | SecurityState::Bogus, _) => Seen::Value(false),
            (SecurityState::Indeterminate, reason) => {
                let error = reason.as_ref().map_or_else(|| "it was not looked at".to_owned(), ToString::to_string);
                Seen::Unknown(Blind::Failed { step: format!("validating {}", self.question), error })
            }
        }
    }
}

/// One zone on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SecurityLink {
    /// Its apex, without the final dot; the root is `.`.
    pub zone: String,
    pub state: SecurityState,
    pub reason: Option<SecurityReason>,
    /// What its parent says of its keys; for the first zone, what is trusted here.
    pub delegated: Vec<DelegationSigner>,
    pub keys: Vec<ZoneKey>,
    /// Of the keys.
    pub signatures: Vec<ZoneSignature>,
}

/// A DS record (RFC 4034 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DelegationSigner {
    pub tag: u16,
    pub algorithm: u8,
    pub digest_type: u8,
    /// A key of the zone is the one that it names.
    pub matches: bool,
}

/// A DNSKEY record (RFC 4034 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ZoneKey {
    pub tag: u16,
    pub flags: u16,
    pub algorithm: u8,
}

/// An RRSIG record (RFC 4034 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ZoneSignature {
    /// `TYPE name`.
    pub of: String,
    pub tag: u16,
    pub algorithm: u8,
    pub inception: String,
    pub expiration: String,
    /// `None`: it holds.
    pub reason: Option<SecurityReason>,
}
