//! DKIM and ARC: published keys as they are judged, and signatures as they are verified. Every failure has its reason.

use serde::{Deserialize, Serialize};

/// RFC 8601 section 2.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DkimResult {
    Pass,
    /// The signature can be read, and does not hold.
    Fail,
    /// Signature or key cannot be used.
    PermError,
    /// The key could not be looked up.
    TempError,
    /// It may hold; nothing here can calculate it.
    Unknown,
}

/// Why a signature does not hold. Sections are those of RFC 6376 where no other RFC is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DkimReason {
    /// The field is no list of tags (section 3.2), or a tag has a value that it cannot have (section 3.5).
    SignatureSyntax {
        tag: String,
        why: String,
    },
    MissingTag {
        tag: String,
    },
    /// Section 3.5: `v=1` is the only one.
    Version {
        found: String,
    },
    UnknownAlgorithm {
        name: String,
    },
    /// RFC 8301 section 3.1: not to be accepted any more.
    Sha1,
    UnknownCanonicalization {
        name: String,
    },
    /// Section 5.4: From has to be signed.
    FromNotSigned,
    /// Section 3.5: `i=` is not `d=` or below it.
    IdentityOutside {
        identity: String,
        domain: String,
    },
    /// Section 3.5, `x=`.
    Expired {
        at_s: i64,
    },
    /// `x=` is not after `t=`.
    ExpiresBeforeSigned {
        signed_s: i64,
        expires_s: i64,
    },
    /// RFC 5322 section 3.6: a message has one From field.
    SeveralFrom {
        count: u32,
    },
    /// The name does not exist, or has no TXT record (section 6.1.2).
    KeyMissing {
        name: String,
    },
    KeyNotLookedUp {
        name: String,
        why: String,
    },
    /// `p=` is empty (section 3.6.1).
    KeyRevoked {
        name: String,
    },
    KeyInvalid {
        name: String,
        why: String,
    },
    /// `k=` of the key, `a=` of the signature.
    KeyOfOtherKind {
        key: String,
        signature: String,
    },
    /// `h=` of the key.
    HashNotAllowed {
        allowed: String,
    },
    /// `s=` of the key: not for mail.
    ServiceNotAllowed {
        allowed: String,
    },
    /// `t=s` of the key: `i=` has to be in `d=` itself.
    SubdomainNotAllowed {
        identity: String,
    },
    /// RFC 8301 section 3.2.
    KeyTooShort {
        bits: u32,
    },
    /// `l=` is more than the body has.
    BodyShorterThanSigned {
        signed: u64,
        body: u64,
    },
    /// The body was changed, or was signed in another form.
    BodyHashDiffers {
        claimed: String,
        computed: String,
    },
    /// The signed fields were changed, or the key is another one than the signer's.
    SignatureDiffers,
    CannotCompute {
        why: String,
    },
}

/// What is worth a look although it decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DkimNote {
    /// `l=`: whoever wants to may append to the message (section 8.2).
    BodyPartlySigned { signed: u64, body: u64 },
    /// `t=y` in the key (section 3.6.1): signature and failure count as ever; the domain is testing.
    TestMode,
    /// RFC 8301 section 3.2: below 2048 bits.
    ShortKey { bits: u32 },
    /// Section 3.6.2.2: undefined; each was tried.
    SeveralKeys { count: u32 },
    /// `t=` is later than the clock of the examination.
    SignedInFuture { seconds: i64 },
    /// Fields that a reader sees and that can be added or changed (section 5.4.1).
    FieldNotSigned { name: String },
    /// Line ends were LF alone, and were taken for CRLF: in a file as it was stored, not as it was sent.
    BareLineFeeds,
    /// `q=` knows none of ours; RFC 6376 section 3.5 has unrecognised methods ignored.
    UnknownQuery { methods: String },
}

/// One signature of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DkimVerdict {
    /// Its place among the message's signatures, from the top, from 0.
    pub at: u32,
    pub result: DkimResult,
    /// In the order in which a receiver meets them; empty for a pass.
    pub reasons: Vec<DkimReason>,
    pub notes: Vec<DkimNote>,
    /// `d=`.
    pub domain: Option<String>,
    /// `s=`.
    pub selector: Option<String>,
    /// `i=`, or what stands for it.
    pub identity: Option<String>,
    /// `a=`.
    pub algorithm: Option<String>,
    /// Head and body: `relaxed/simple`.
    pub canonicalization: Option<String>,
    /// `h=`, in order.
    pub fields: Vec<String>,
    /// Those of them that the message has not: signed not to be there.
    pub absent_fields: Vec<String>,
    /// `t=` and `x=`.
    pub signed_s: Option<i64>,
    pub expires_s: Option<i64>,
    pub body_hash_claimed: Option<String>,
    pub body_hash_computed: Option<String>,
    /// The key that was used, or the first one that was found.
    pub key: Option<DkimKey>,
}

/// What is wrong with a published key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DkimKeyProblem {
    /// RFC 6376 section 3.6.1; the column counts from 1.
    Syntax {
        column: u32,
        why: String,
    },
    /// `v=` is there, and not first, or not DKIM1.
    Version {
        found: String,
    },
    /// `p=` is not there.
    NoKey,
    /// `p=` is empty.
    Revoked,
    /// Where the base64 breaks, in characters of `p=` from 1, and how.
    Base64 {
        at: u32,
        why: String,
    },
    /// What was decoded is no key of its kind.
    NotAKey {
        why: String,
    },
    UnknownKind {
        kind: String,
    },
    /// RFC 8301 section 3.2: below 1024 bits.
    TooShort {
        bits: u32,
    },
    /// RFC 8301 section 3.2: below 2048 bits.
    Short {
        bits: u32,
    },
    /// More than ring, or most receivers, calculate with.
    TooLong {
        bits: u32,
    },
    /// `h=` has no hash that signers use.
    Hashes {
        allowed: String,
    },
    /// `s=` is not for mail.
    Services {
        allowed: String,
    },
}

/// A key record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DkimKey {
    /// Where it is published: `s1._domainkey.example.org`.
    pub name: String,
    pub record: String,
    /// `k=`; `rsa` where it is not said.
    pub kind: String,
    /// 0: no key could be read.
    pub bits: u32,
    /// As in [`crate::evidence::PublicKey`], where a key could be read.
    pub spki_sha256: Option<String>,
    /// `p=` without white space, to be compared with a private key's.
    pub public: Option<String>,
    /// `t=y`.
    pub testing: bool,
    /// `t=s`.
    pub exact_identity: bool,
    /// `h=`; empty: any.
    pub hashes: Vec<String>,
    /// `s=`; empty or `*`: any.
    pub services: Vec<String>,
    pub problems: Vec<DkimKeyProblem>,
}

/// RFC 8617 section 4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ArcResult {
    /// No chain.
    None,
    Pass,
    Fail,
    /// A key could not be looked up, or nothing here can calculate it.
    Unknown,
}

/// Why a chain does not hold (RFC 8617 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ArcReason {
    /// More than 50 sets (section 4.2.1).
    TooManySets {
        sets: u32,
    },
    /// A field without a usable `i=`.
    Instance {
        field: String,
        why: String,
    },
    /// A set has not exactly one of each field, or a number is left out.
    Incomplete {
        instance: u32,
        why: String,
    },
    /// The newest seal says that the chain was broken already.
    BrokenBefore {
        instance: u32,
    },
    /// `cv=` is not what the place asks for: `none` in the first set, `pass` in all others.
    ChainValue {
        instance: u32,
        found: String,
    },
    /// A tag of a field, as for DKIM.
    Seal {
        instance: u32,
        reasons: Vec<DkimReason>,
    },
    Message {
        instance: u32,
        reasons: Vec<DkimReason>,
    },
}

/// One set of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ArcSet {
    pub instance: u32,
    /// Who sealed, and with which key.
    pub domain: Option<String>,
    pub selector: Option<String>,
    /// `cv=`.
    pub chain: Option<String>,
    /// What the sealer's ARC-Authentication-Results says.
    pub results: String,
    pub seal: DkimResult,
    /// The message as it was when this set was added. That older ones do not hold is what chains are for.
    pub message: DkimResult,
}

/// A message's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ArcVerdict {
    pub result: ArcResult,
    pub reasons: Vec<ArcReason>,
    /// The oldest set whose message signature still holds; 0: all do (section 5.2).
    pub oldest_pass: Option<u32>,
    pub sets: Vec<ArcSet>,
}
