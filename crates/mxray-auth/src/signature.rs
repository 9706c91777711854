//! Signatures: of certificates by their issuers, and of TLS handshakes. One verdict with three answers: what ring cannot
//! calculate (P-521, Ed448, RSA below 1024 bits, MD5) is not bad for that.

use crate::certificate;
use crate::public::{self, Public};
use ring::signature::{self as algorithms, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use x509_parser::signature_algorithm::{RsaSsaPssParams, SignatureAlgorithm};
use x509_parser::x509::AlgorithmIdentifier;

/// What checking a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Good,
    Bad,
    /// Nothing here can calculate it.
    CannotTell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn bytes(self) -> u32 {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

/// Names of the algorithms that certificates are signed with (RFC 3279, 4055, 5758, 8410), by object identifier.
#[rustfmt::skip]
const NAMES: &[(&str, &str, Option<Scheme>)] = &[
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption", None),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption", None),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption", Some(Scheme::Pkcs1(Hash::Sha1))),
    ("1.3.14.3.2.29", "sha1WithRSA", Some(Scheme::Pkcs1(Hash::Sha1))),
    ("1.2.840.113549.1.1.14", "sha224WithRSAEncryption", None),
    ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption", Some(Scheme::Pkcs1(Hash::Sha256))),
    ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption", Some(Scheme::Pkcs1(Hash::Sha384))),
    ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption", Some(Scheme::Pkcs1(Hash::Sha512))),
    (PSS, "rsassaPss", None),
    ("1.2.840.10040.4.3", "dsa-with-sha1", None),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1", None),
    ("1.2.840.10045.4.3.1", "ecdsa-with-SHA224", None),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256", Some(Scheme::Ecdsa(Hash::Sha256))),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384", Some(Scheme::Ecdsa(Hash::Sha384))),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512", Some(Scheme::Ecdsa(Hash::Sha512))),
    ("1.3.101.112", "Ed25519", Some(Scheme::Ed25519)),
    ("1.3.101.113", "Ed448", None),
];
const PSS: &str = "1.2.840.113549.1.1.10";

/// The algorithm's name; its number where it is none of the usual ones.
pub(crate) fn name(identifier: &AlgorithmIdentifier<'_>) -> String {
    let oid = public::oid_text(identifier.algorithm.as_bytes());
    NAMES.iter().find(|(known, _, _)| *known == oid).map_or(oid, |(_, name, _)| (*name).to_owned())
}

/// A hash for which two texts with the same value can be made (RFC 6151, RFC 9155).
pub(crate) fn is_weak(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["md2", "md5", "sha1"].iter().any(|hash| name.contains(hash))
}

/// Did the owner of `public` sign `message`, as a certificate says it?
pub(crate) fn by(public: &Public, identifier: &AlgorithmIdentifier<'_>, message: &[u8], signature: &[u8]) -> Signature {
    let oid = public::oid_text(identifier.algorithm.as_bytes());
    let known = NAMES.iter().find(|(known, _, _)| *known == oid).and_then(|(_, _, scheme)| *scheme);
    match known.or_else(|| pss(identifier)) {
        Some(scheme) => check(public, scheme, message, signature),
        None => Signature::CannotTell,
    }
}

/// RSASSA-PSS with its parameters (RFC 4055 section 3.1), where they are those that TLS has.
fn pss(identifier: &AlgorithmIdentifier<'_>) -> Option<Scheme> {
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(identifier) else { return None };
    let hash = pss_hash(&parameters)?;
    (parameters.salt_length() == hash.bytes()).then_some(Scheme::Pss(hash))
}

fn pss_hash(parameters: &RsaSsaPssParams<'_>) -> Option<Hash> {
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Some(Hash::Sha256),
        "2.16.840.1.101.3.4.2.2" => Some(Hash::Sha384),
        "2.16.840.1.101.3.4.2.3" => Some(Hash::Sha512),
        _ => None,
    }
}

/// Does the certificate's key sign this handshake, by the number of the scheme (RFC 8446 section 4.2.3)?
///
/// Up to TLS 1.2 such a number says nothing of the curve; the certificate does.
pub fn handshake_signature(certificate: &[u8], scheme: u16, message: &[u8], signature: &[u8]) -> Signature {
    let scheme = match scheme {
        0x0201 => Scheme::Pkcs1(Hash::Sha1),
        0x0401 => Scheme::Pkcs1(Hash::Sha256),
        0x0501 => Scheme::Pkcs1(Hash::Sha384),
        0x0601 => Scheme::Pkcs1(Hash::Sha512),
        0x0804 | 0x0809 => Scheme::Pss(Hash::Sha256),
        0x0805 | 0x080a => Scheme::Pss(Hash::Sha384),
        0x0806 | 0x080b => Scheme::Pss(Hash::Sha512),
        0x0403 => Scheme::Ecdsa(Hash::Sha256),
        0x0503 => Scheme::Ecdsa(Hash::Sha384),
        0x0603 => Scheme::Ecdsa(Hash::Sha512),
        0x0807 => Scheme::Ed25519,
        _ => return Signature::CannotTell,
    };
    match certificate::public_of(certificate) {
        Some(public) => check(&public, scheme, message, signature),
        None => Signature::CannotTell,
    }
}

pub(crate) fn check(public: &Public, scheme: Scheme, message: &[u8], signature: &[u8]) -> Signature {
    let answer = |good: bool| if good { Signature::Good } else { Signature::Bad };
    match (public, scheme) {
        (Public::Rsa { modulus, exponent }, Scheme::Pkcs1(_) | Scheme::Pss(_)) => {
            // ring takes exponents up to 2^33 - 1.
            let small = exponent.len() <= 4;
            match rsa(scheme, bits(modulus)).filter(|_| small) {
                Some(parameters) => {
                    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                    answer(key.verify(parameters, message, signature).is_ok())
                }
                None => Signature::CannotTell,
            }
        }
        (Public::Ec { curve, point }, Scheme::Ecdsa(hash)) => {
            let algorithm = match (curve.as_slice(), hash) {
                (public::P256, Hash::Sha256) => &algorithms::ECDSA_P256_SHA256_ASN1,
                (public::P256, Hash::Sha384) => &algorithms::ECDSA_P256_SHA384_ASN1,
                (public::P384, Hash::Sha256) => &algorithms::ECDSA_P384_SHA256_ASN1,
                (public::P384, Hash::Sha384) => &algorithms::ECDSA_P384_SHA384_ASN1,
                _ => return Signature::CannotTell,
            };
            // A compressed point is a key, and none that ring reads (RFC 5480 section 2.2).
            if point.first() != Some(&4) {
                return Signature::CannotTell;
            }
            answer(UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok())
        }
        (Public::Ed25519(key), Scheme::Ed25519) => {
            answer(UnparsedPublicKey::new(&algorithms::ED25519, key).verify(message, signature).is_ok())
        }
        (Public::Other { .. }, _) => Signature::CannotTell,
        // A key of one kind, and a signature of another.
        _ => Signature::Bad,
    }
}

fn bits(modulus: &[u8]) -> usize {
    modulus.len().saturating_mul(8)
}

fn rsa(scheme: Scheme, bits: usize) -> Option<&'static RsaParameters> {
    let parameters = match (scheme, bits) {
        (_, ..1024 | 8193..) => return None,
        (Scheme::Pkcs1(Hash::Sha1), _) => &algorithms::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Scheme::Pkcs1(Hash::Sha256), ..2048) => &algorithms::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (Scheme::Pkcs1(Hash::Sha512), ..2048) => &algorithms::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (_, ..2048) => return None,
        (Scheme::Pkcs1(Hash::Sha256), _) => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        (Scheme::Pkcs1(Hash::Sha384), _) => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        (Scheme::Pkcs1(Hash::Sha512), _) => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        (Scheme::Pss(Hash::Sha256), _) => &algorithms::RSA_PSS_2048_8192_SHA256,
        (Scheme::Pss(Hash::Sha384), _) => &algorithms::RSA_PSS_2048_8192_SHA384,
        (Scheme::Pss(Hash::Sha512), _) => &algorithms::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    Some(parameters)
}
