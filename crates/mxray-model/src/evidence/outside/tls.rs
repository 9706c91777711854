//! A TLS session: what was agreed upon, the certificates as they were presented, and everything that is wrong with them.

use crate::Seen;
use crate::evidence::Certificate;
use crate::session::Raw;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a handshake told. Certificates are looked at and never make it fail: whether they matter is a question of policy
/// (RFC 7435).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsFacts {
    /// The name that was sent (RFC 6066 section 3). `None`: none was.
    pub server_name: Option<String>,
    /// The name that the certificate was compared with. `None`: there is none to compare with.
    pub reference_name: Option<String>,
    pub took_ms: u64,
    pub ending: TlsEnding,
    /// `TLS 1.3`. Unknown: it did not come that far.
    pub version: Seen<String>,
    pub suite: Seen<String>,
    /// The key exchange group.
    pub group: Seen<String>,
    /// As presented, the server's own first.
    pub chain: Seen<Vec<PresentedCertificate>>,
    /// Everything that is wrong with the chain at the time of the examination, worst first. Empty with a chain: nothing is.
    pub problems: Vec<CertificateProblem>,
    /// Whether a chain ends at a root of this store.
    pub trusted: BTreeMap<RootStore, Seen<bool>>,
    /// The server asks for a certificate of ours.
    #[serde(default)]
    pub client_certificate_requested: bool,
    #[serde(default)]
    pub ocsp_stapled: bool,
}

/// How a handshake ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TlsEnding {
    Established,
    /// The peer sent a fatal alert, by its registered name.
    Alert {
        name: String,
    },
    /// What came is no TLS; its first bytes.
    NotTls {
        first: Raw,
    },
    PeerClosed,
    Broke {
        error: String,
    },
    TimedOut {
        after_ms: u64,
    },
    /// We ended it, and why: nothing in common, a broken signature.
    Incompatible {
        error: String,
    },
}

impl TlsEnding {
    /// How it ended, in words.
    pub fn words(&self) -> String {
        match self {
            TlsEnding::Established => "established".to_owned(),
            TlsEnding::Alert { name } => format!("the server sent the alert {name}"),
            TlsEnding::NotTls { first } => format!("what came is no TLS: {first}"),
            TlsEnding::PeerClosed => "the server closed the connection".to_owned(),
            TlsEnding::Broke { error } => error.clone(),
            TlsEnding::TimedOut { after_ms } => format!("no answer within {after_ms} ms"),
            TlsEnding::Incompatible { error } => error.clone(),
        }
    }
}

/// A certificate as the server presents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PresentedCertificate {
    /// What it says. Unknown: it cannot be read.
    pub certificate: Seen<Certificate>,
    /// SHA-256 of the whole, in lower-case hexadecimal digits: what a TLSA record `3 0 1` carries.
    pub sha256: String,
    /// The algorithm that it is signed with.
    pub signed_with: String,
    pub self_signed: bool,
    /// BasicConstraints says that it may sign others.
    pub is_ca: bool,
    /// By name, `serverAuth`; empty: not restricted.
    #[serde(default)]
    pub extended_usage: Vec<String>,
    /// Its serial number in lower-case hexadecimal digits.
    #[serde(default)]
    pub serial: String,
    /// Where its issuer's certificate can be fetched (RFC 5280 section 4.2.2.1, caIssuers); mail servers do not.
    #[serde(default)]
    pub issuer_urls: Vec<String>,
    /// The whole of it, for TLSA records in forms that no hash above answers. Not part of the report.
    #[serde(skip)]
    pub der: Vec<u8>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CertificateProblem {
    /// `at` is the place in the chain, 0 the server's own; the time in RFC 3339.
    Expired {
        at: u32,
        not_after: String,
    },
    NotYetValid {
        at: u32,
        not_before: String,
    },
    /// None of the names is the one that was asked for (RFC 9525).
    NameMismatch {
        wanted: String,
        names: Vec<String>,
    },
    /// The chain ends at an authority that no store has: a certificate that signed itself, or the issuer that the last one
    /// names.
    UnknownRoot {
        subject: String,
    },
    /// The server's own certificate signed itself.
    SelfSigned,
    /// The chain stops before a root: what is missing is the certificate of `issuer`.
    Incomplete {
        issuer: String,
    },
    /// A signature in the chain does not verify.
    BadSignature {
        at: u32,
    },
    /// A certificate stands in the chain that signs none of the others, or they are in the wrong order.
    Disordered,
    /// Fewer bits than RFC 9325 section 4.5 asks for, or a broken hash.
    WeakKey {
        at: u32,
        algorithm: String,
        bits: u32,
    },
    WeakSignature {
        at: u32,
        algorithm: String,
    },
    /// More authorities stand below it than it allows (RFC 5280 section 4.2.1.9).
    PathTooLong {
        at: u32,
    },
    /// The server's name is one that this authority may not sign for (RFC 5280 section 4.2.1.10).
    NameNotAllowed {
        at: u32,
        name: String,
    },
    /// Its extended key usage does not allow servers.
    WrongUsage {
        usages: Vec<String>,
    },
    /// It has an extension that is marked critical and that nobody knows: whoever checks it has to refuse it (RFC 5280 section 4.2).
    UnknownCritical {
        at: u32,
        oid: String,
    },
    /// An authority's certificate where a server's belongs; or one that signs others without being allowed to.
    NotACa {
        at: u32,
    },
    /// It cannot be read.
    Unreadable {
        at: u32,
        error: String,
    },
}

impl CertificateProblem {
    /// Whoever checks a certificate refuses it for this (RFC 5280 section 6, RFC 9525). The order of a chain, and keys that are
    /// merely weak, end no handshake by themselves.
    pub fn is_refused(&self) -> bool {
        !matches!(
            self,
            CertificateProblem::Disordered
                | CertificateProblem::WeakKey { .. }
                | CertificateProblem::WeakSignature { .. }
        )
    }

    /// What is wrong, in words.
    pub fn words(&self) -> String {
        let whose =
            |at: u32| if at == 0 { "the server's own".to_owned() } else { format!("number {} of the chain", at + 1) };
        match self {
            CertificateProblem::Expired { at, not_after } => format!("expired on {not_after} ({})", whose(*at)),
            CertificateProblem::NotYetValid { at, not_before } => {
                format!("valid only from {not_before} ({})", whose(*at))
            }
            CertificateProblem::NameMismatch { wanted, names } => {
                let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
                format!("not for {wanted}, only for {names}")
            }
            CertificateProblem::UnknownRoot { subject } => format!("issued by {subject}, which no store of roots has"),
            CertificateProblem::SelfSigned => "signed by itself".to_owned(),
            CertificateProblem::Incomplete { issuer } => format!("the chain lacks the certificate of {issuer}"),
            CertificateProblem::BadSignature { at } => format!("a signature that does not verify ({})", whose(*at)),
            CertificateProblem::Disordered => {
                "the chain is out of order, or holds what does not belong to it".to_owned()
            }
            CertificateProblem::WeakKey { at, algorithm, bits } => {
                format!("a weak key: {algorithm}, {bits} bits ({})", whose(*at))
            }
            CertificateProblem::WeakSignature { at, algorithm } => {
                format!("a weak signature: {algorithm} ({})", whose(*at))
            }
            CertificateProblem::PathTooLong { at } => {
                format!("more authorities stand below it than it allows ({})", whose(*at))
            }
            CertificateProblem::NameNotAllowed { at, name } => {
                format!("{name} is a name that its authority may not sign for ({})", whose(*at))
            }
            CertificateProblem::WrongUsage { usages } => {
                format!("not meant for servers, only for {}", usages.join(", "))
            }
            CertificateProblem::UnknownCritical { at, oid } => {
                format!("a critical extension that nobody knows, {oid} ({})", whose(*at))
            }
            CertificateProblem::NotACa { at } => format!("signed by what is no authority ({})", whose(*at)),
            CertificateProblem::Unreadable { at, error } => format!("cannot be read: {error} ({})", whose(*at)),
        }
    }
}

/// Where roots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RootStore {
    /// This host's own bundle.
    System,
    /// Mozilla's, as it was when mxray was built: what most peers use.
    Mozilla,
}
