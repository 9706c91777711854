//! Public keys, in the one form in which those of certificates and of private keys are compared.

use crate::der::{self, Elements, element, spki, unpadded};
use data_encoding::{BASE64, HEXLOWER};
use mxray_model::evidence::PublicKey;
use mxray_model::text::untrusted;
use ring::digest::{SHA256, digest};
use x509_parser::asn1_rs::Oid;

/// rsaEncryption (RFC 3279 section 2.3.1), and the same key bound to PSS (RFC 4055 section 1.2).
pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(crate) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// id-ecPublicKey (RFC 5480 section 2.1.1).
pub(crate) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// id-Ed25519 (RFC 8410 section 3).
pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Named curves (RFC 5480 section 2.1.1.1) and the bits of their keys.
const CURVES: [(&[u8], &str, u32); 5] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "EC P-256", 256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "EC P-384", 384),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "EC P-521", 521),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "EC secp256k1", 256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x21], "EC P-224", 224),
];
pub(crate) const P256: &[u8] = CURVES[0].0;
pub(crate) const P384: &[u8] = CURVES[1].0;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    /// Modulus and exponent without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ec {
        curve: Vec<u8>,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    /// Anything else, by the object identifier of its algorithm.
    Other {
        algorithm: Vec<u8>,
        key: Vec<u8>,
    },
}

impl Public {
    /// From the parts of a SubjectPublicKeyInfo: algorithm, parameters, key.
    pub fn from_parts(algorithm: &[u8], curve: Option<&[u8]>, key: &[u8]) -> Public {
        let other = || Public::Other { algorithm: algorithm.to_vec(), key: key.to_vec() };
        match (algorithm, curve) {
            (RSA | RSA_PSS, _) => rsa(key).unwrap_or_else(other),
            (EC, Some(curve)) => Public::Ec { curve: curve.to_vec(), point: key.to_vec() },
            (ED25519, _) => Public::Ed25519(key.to_vec()),
            _ => other(),
        }
    }

    /// RSAPublicKey (RFC 8017 appendix A.1.1).
    fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let mut numbers = der::integer(modulus);
        numbers.extend(der::integer(exponent));
        element(der::SEQUENCE, &numbers)
    }

    fn spki(&self) -> Vec<u8> {
        match self {
            Public::Rsa { modulus, exponent } => spki(RSA, None, true, &Public::rsa_key(modulus, exponent)),
            Public::Ec { curve, point } => spki(EC, Some(curve), false, point),
            Public::Ed25519(key) => spki(ED25519, None, false, key),
            Public::Other { algorithm, key } => spki(algorithm, None, false, key),
        }
    }

    /// As evidence. A certificate brings its own encoding, which is what others hash.
    pub fn told(&self, encoded: Option<&[u8]>) -> PublicKey {
        let own = if encoded.is_none() { self.spki() } else { Vec::new() };
        let (algorithm, bits) = self.kind();
        let hash = digest(&SHA256, encoded.unwrap_or(&own));
        PublicKey { algorithm, bits, spki_sha256: HEXLOWER.encode(hash.as_ref()) }
    }

    /// Its kind, and its bits (0: not known).
    pub fn kind(&self) -> (String, u32) {
        match self {
            Public::Rsa { modulus, .. } => {
                let zeros = modulus.first().map_or(0, |first| first.leading_zeros());
                let bits = u32::try_from(modulus.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(zeros);
                ("RSA".to_owned(), bits)
            }
            Public::Ec { curve, .. } => match CURVES.iter().find(|(oid, _, _)| oid == curve) {
                Some((_, name, bits)) => ((*name).to_owned(), *bits),
                None => (format!("EC {}", oid_text(curve)), 0),
            },
            Public::Ed25519(_) => ("Ed25519".to_owned(), 256),
            Public::Other { algorithm, .. } => (oid_text(algorithm), 0),
        }
    }

    /// The `p=` tag of a DKIM record: for RSA the SubjectPublicKeyInfo (as all implementations have it), for Ed25519 the bare
    /// key (RFC 8463 section 4).
    pub fn dkim(&self) -> Option<String> {
        match self {
            Public::Rsa { .. } => Some(BASE64.encode(&self.spki())),
            Public::Ed25519(key) => Some(BASE64.encode(key)),
            Public::Ec { .. } | Public::Other { .. } => None,
        }
    }
}

fn rsa(key: &[u8]) -> Option<Public> {
    let mut numbers = Elements::of_sequence(key)?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    Some(Public::Rsa { modulus: unpadded(modulus).to_vec(), exponent: unpadded(exponent).to_vec() })
}

pub(crate) fn oid_text(oid: &[u8]) -> String {
    let oid = Oid::new(oid.into());
    untrusted(oid.to_id_string().as_bytes())
}

/// An RSA key as DKIM records have it: a SubjectPublicKeyInfo, or the bare RSAPublicKey (RFC 6376 erratum 3017).
pub(crate) fn rsa_record(der: &[u8]) -> Option<Public> {
    match of_spki(der) {
        Some(public @ Public::Rsa { .. }) => Some(public),
        Some(_) => None,
        None => rsa(der).filter(|public| matches!(public, Public::Rsa { modulus, .. } if !modulus.is_empty())),
    }
}

/// What kind of key a SubjectPublicKeyInfo holds.
pub(crate) fn spki_kind(der: &[u8]) -> Option<String> {
    of_spki(der).map(|public| public.kind().0)
}

fn of_spki(der: &[u8]) -> Option<Public> {
    let mut parts = Elements::of_sequence(der)?;
    let mut identifier = parts.sequence()?;
    let algorithm = identifier.oid()?;
    let curve = identifier.oid();
    let key = parts.bits()?;
    Some(Public::from_parts(algorithm, curve, key))
}
