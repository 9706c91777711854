//! What a server answers to one TLS ClientHello: the first flight, as far as it is readable, and nothing of a session.
//!
//! `mxray-wire`'s `hello` fills it. Numbers of registries stand beside their names, so that an unknown one is not lost.
//! What must not live here: the tables of the registries (`mxray-wire`), and what a combination means (rules).

use super::{Anomaly, AnomalyKind, Ending, Raw, Transcript};
use crate::{Blind, Seen};
use serde::{Deserialize, Serialize};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TlsVersion {
    /// RFC 6101; forbidden by RFC 7568.
    Ssl3,
    /// RFC 2246; deprecated by RFC 8996.
    #[serde(rename = "tls_1_0")]
    Tls10,
    /// RFC 4346; deprecated by RFC 8996.
    #[serde(rename = "tls_1_1")]
    Tls11,
    /// RFC 5246
    #[serde(rename = "tls_1_2")]
    Tls12,
    /// RFC 8446
    #[serde(rename = "tls_1_3")]
    Tls13,
    /// A number that is none of these.
    Other(u16),
}

impl TlsVersion {
    pub fn number(self) -> u16 {
        match self {
            TlsVersion::Ssl3 => 0x0300,
            TlsVersion::Tls10 => 0x0301,
            TlsVersion::Tls11 => 0x0302,
            TlsVersion::Tls12 => 0x0303,
            TlsVersion::Tls13 => 0x0304,
            TlsVersion::Other(number) => number,
        }
    }
}

impl From<u16> for TlsVersion {
    fn from(number: u16) -> Self {
        match number {
            0x0300 => TlsVersion::Ssl3,
            0x0301 => TlsVersion::Tls10,
            0x0302 => TlsVersion::Tls11,
            0x0303 => TlsVersion::Tls12,
            0x0304 => TlsVersion::Tls13,
            other => TlsVersion::Other(other),
        }
    }
}

/// Which suites are offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SuiteGroup {
    /// All with a certificate and a real cipher: is the version itself taken?
    #[default]
    Any,
    /// No encryption.
    Null,
    /// Keys that a law once made short.
    Export,
    /// No certificate.
    Anonymous,
    Rc4,
    /// DES and 3DES.
    Des,
    /// Other block ciphers with CBC.
    Cbc,
    /// GCM, CCM, ChaCha20-Poly1305.
    Aead,
    /// Diffie-Hellman with a prime of the server's choice and a certificate, whatever the cipher: how long is the prime?
    Dhe,
}

/// Which certificates are asked for. A host with an RSA and an ECDSA certificate shows one of them to each question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    #[default]
    Any,
    Rsa,
    Ecdsa,
}

/// A number of a registry, and the name that the registry gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Registered {
    pub number: u16,
    /// `None`: the number is not in our table.
    pub name: Option<String>,
}

/// Why a suite should not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Weakness {
    /// Nothing is encrypted.
    NoEncryption,
    /// 40 or 56 bits.
    Export,
    /// Nobody proves who the server is. Usual, and no fault, where nobody looks at the certificate (SMTP to port 25).
    Anonymous,
    Rc4,
    /// 56 bits.
    Des,
    /// Blocks of 64 bits: 3DES, IDEA.
    SmallBlocks,
    /// Who learns the server's key can read what was recorded before.
    NoForwardSecrecy,
}

impl Weakness {
    /// Where it is written.
    pub fn source(self) -> &'static str {
        match self {
            Weakness::Anonymous => "RFC 5246 section A.5",
            Weakness::Rc4 => "RFC 7465 section 2",
            Weakness::NoEncryption
            | Weakness::Export
            | Weakness::Des
            | Weakness::SmallBlocks
            | Weakness::NoForwardSecrecy => "RFC 9325 section 4.1",
        }
    }
}

/// A cipher suite.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Suite {
    #[serde(flatten)]
    pub registered: Registered,
    /// Empty for a suite that is as it should be, and for one that is not in our table.
    pub weak: Vec<Weakness>,
}

/// What was offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsOffer {
    /// Up to TLS 1.2 the highest one (a server may choose a lower one); TLS 1.3 alone is offered alone.
    pub version: TlsVersion,
    pub suites: SuiteGroup,
    pub keys: KeyKind,
    /// The groups for key exchange, in order.
    pub groups: Vec<Registered>,
    pub server_name: Option<String>,
}

impl Default for TlsOffer {
    fn default() -> Self {
        TlsOffer {
            version: TlsVersion::Tls12,
            suites: SuiteGroup::Any,
            keys: KeyKind::Any,
            groups: Vec::new(),
            server_name: None,
        }
    }
}

/// A ServerHello (RFC 5246 section 7.4.1.3, RFC 8446 section 4.1.3), or a HelloRetryRequest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServerHello {
    /// What was chosen.
    pub version: TlsVersion,
    pub suite: Suite,
    /// TLS 1.3: of the key share, or of the one that is asked for.
    pub group: Option<Registered>,
    /// A HelloRetryRequest: the server takes the offer and wants another key share (RFC 8446 section 4.1.4).
    pub retry: bool,
    /// 0: none. Anything else leaks what is encrypted (RFC 9325 section 3.3).
    pub compression: u8,
    /// RFC 5746
    pub secure_renegotiation: bool,
    /// RFC 7627
    pub extended_master_secret: bool,
    /// Only with TLS up to 1.2, which has no other way to say it: the server would have spoken this version, too
    /// (RFC 8446 section 4.1.3).
    pub could_have: Option<TlsVersion>,
    /// All extensions, in order, by number.
    pub extensions: Vec<u16>,
    /// From the end of our writing, in milliseconds.
    pub after_ms: u64,
    /// Its first record's place in the transcript.
    pub entry: u32,
}

/// How keys are agreed upon (RFC 5246 section 7.4.3, RFC 8422 section 5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyExchange {
    /// Diffie-Hellman with a prime of the server's choice.
    Dh {
        prime_bits: u32,
        /// The prime itself: some are known, and prepared for (Logjam).
        prime: Raw,
    },
    Ecdh {
        curve: Registered,
    },
    /// A curve that the server describes itself (forbidden by RFC 8422 section 5.4).
    EcdhOwnCurve,
    /// A short RSA key made for export suites.
    ExportRsa {
        modulus_bits: u32,
    },
    /// A message that none of our suites has.
    NotUnderstood,
}

/// An alert (RFC 8446 section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TlsAlert {
    pub fatal: bool,
    pub number: u8,
    /// By its registered name: `handshake_failure`, `protocol_version`.
    pub name: Option<String>,
    pub entry: u32,
}

impl TlsAlert {
    /// It says that nothing of the offer is wanted. Others (`internal_error`, `decode_error`) say that the server failed,
    /// or that it did not understand us.
    pub fn refuses_offer(&self) -> bool {
        // handshake_failure, protocol_version, insufficient_security, inappropriate_fallback.
        matches!(self.number, 40 | 70 | 71 | 86)
    }

    /// The server knows no such name (RFC 6066 section 3). As a warning it means nothing.
    pub fn refuses_name(&self) -> bool {
        self.fatal && self.number == 112
    }
}

/// What answers instead of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForeignKind {
    Http,
    /// `220 …`, `421 …`, `554 …`: STARTTLS is what this port wants. FTP says the same.
    Smtp,
    Imap,
    Pop3,
    Ssh,
    /// Other printable text.
    Text,
    /// A message of SSLv2, which nobody had offered.
    Ssl2,
    Binary,
}

/// The first bytes of what is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Foreign {
    pub kind: ForeignKind,
    /// Up to the first line's end.
    pub first: Raw,
}

/// One ClientHello and what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TlsHelloSession {
    pub offer: TlsOffer,
    /// `Absent`: refused in so many words, by an alert that says so. A connection that is closed or reset without one, or a
    /// server that says nothing, leaves it unknown: overload looks the same.
    pub server_hello: Seen<ServerHello>,
    /// DER, the server's own certificate first. `Absent`: an anonymous suite, or an empty list. Unknown with TLS 1.3, which
    /// encrypts it.
    pub certificates: Seen<Vec<Raw>>,
    /// `Absent`: the suite has none; RSA carries the key.
    pub key_exchange: Seen<KeyExchange>,
    /// The server asks for a certificate of ours.
    pub certificate_requested: bool,
    /// In order; warnings, too.
    pub alerts: Vec<TlsAlert>,
    pub foreign: Option<Foreign>,
    pub ending: Ending,
    /// One entry for each record.
    pub transcript: Transcript,
}

impl TlsHelloSession {
    /// Whether the server takes what was offered, in the version that was offered.
    pub fn takes_offer(&self) -> Seen<bool> {
        let elsewhere = |anomaly: &Anomaly| matches!(anomaly.kind, AnomalyKind::NotOffered { .. });
        match &self.server_hello {
            // A server that answers to another question has not answered this one.
            Seen::Value(_) if self.transcript.anomalies.iter().any(elsewhere) => Seen::Unknown(Blind::NotUnderstood {
                what: "the ServerHello".to_owned(),
                text: "it chooses what was not offered".to_owned(),
            }),
            Seen::Value(hello) => Seen::Value(hello.version == self.offer.version),
            Seen::Absent => Seen::Value(false),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }

    /// The server ended it with an alert that speaks of its own trouble. Alone that may be overload. Beside another hello
    /// that the same server takes, it is a no: OpenSSL 3 has TLS 1.0 and 1.1 switched on and, at its usual security level, no
    /// signature for them, and says `internal_error` to each such hello.
    pub fn failed_at_offer(&self) -> bool {
        let trouble = |alert: &TlsAlert| alert.fatal && !alert.refuses_offer() && !alert.refuses_name();
        self.server_hello.value().is_none() && self.alerts.iter().any(trouble)
    }
}
