//! Certificates and private keys as values: what two files hold, and whether they belong together.
//!
//! Of a private key nothing is kept but what its public half says.

use crate::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the two files of one [`super::CertificateFiles`] hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CertificatePair {
    pub chain_file: String,
    pub key_file: String,
    /// `Absent`: there is no such file.
    pub chain: Seen<ChainFile>,
    /// `Absent`: there is no such file.
    pub key: Seen<KeyFile>,
    /// The private key is the one whose public half the certificate carries. `Absent`: one of the two is missing.
    pub belongs: Seen<bool>,
    /// Both stand in one file, and the key behind the first certificate.
    #[serde(default)]
    pub key_behind: bool,
}

/// A file with certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainFile {
    /// How many it holds.
    pub certificates: u32,
    /// The first one, which is the one that is presented as the server's own. `Absent`: the file holds none.
    pub leaf: Seen<Certificate>,
}

/// A file with a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyFile {
    /// The first private key in it. `Absent`: the file holds none.
    pub key: Seen<PrivateKey>,
}

/// What may be known of a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrivateKey {
    /// `PKCS#1`, `PKCS#8`, `SEC1`, as the file has it.
    pub form: String,
    /// Readable with a passphrase only: a server that starts by itself cannot use it.
    pub encrypted: bool,
    /// Its public half.
    pub public: Seen<PublicKey>,
    /// The `p=` of a DKIM record for it (RFC 6376 section 3.6.1, RFC 8463 section 4). `Absent`: no kind of key that DKIM
    /// knows.
    pub dkim_public: Seen<String>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PublicKey {
    /// `RSA`, `EC P-256`, `Ed25519`; of what is not known its object identifier.
    pub algorithm: String,
    /// 0 where it is not known.
    pub bits: u32,
    /// SHA-256 of the SubjectPublicKeyInfo in DER, in lower-case hexadecimal digits: what a TLSA record `3 1 1` carries.
    pub spki_sha256: String,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// DNS names and addresses of the subjectAltName.
    pub names: BTreeSet<String>,
    /// RFC 3339, in UTC.
    pub not_before: String,
    pub not_after: String,
    pub public: PublicKey,
}
