//! Private keys in the forms in which servers keep them, read as far as their public half.

use crate::der::Elements;
use crate::pem::Block;
use crate::public::{self, Public, oid_text};
use ring::rand::SystemRandom;
use ring::signature::KeyPair;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// A private key. It is never printed, kept or handed on.
pub(crate) struct Private {
    pub form: &'static str,
    pub secret: Secret,
}

pub(crate) enum Secret {
    /// The public half stands beside the private one, or follows from it.
    Known(Public),
    /// A scalar on a curve; the public point stands beside it or not.
    Ec {
        curve: Vec<u8>,
        scalar: Zeroizing<Vec<u8>>,
        point: Option<Vec<u8>>,
    },
    Encrypted,
    /// Why nothing can be said of it.
    Strange(String),
}

/// Reads the contents of a block of one form; `None`: they are of another.
type Reading = fn(&[u8]) -> Option<Secret>;

/// The private key that a block holds. `None`: the block is something else.
pub(crate) fn private(block: &Block) -> Option<Private> {
    let (form, read): (_, Reading) = match block.label.as_str() {
        "PRIVATE KEY" => ("PKCS#8", pkcs8),
        "ENCRYPTED PRIVATE KEY" => return Some(Private { form: "PKCS#8", secret: Secret::Encrypted }),
        "RSA PRIVATE KEY" => ("PKCS#1", |der| rsa(der).map(Secret::Known)),
        "EC PRIVATE KEY" => ("SEC1", |der| ec(der, None)),
        "DSA PRIVATE KEY" => ("DSA", |_| Some(Secret::Strange("DSA keys are not examined".to_owned()))),
        _ => return None,
    };
    let secret = match &block.der {
        _ if block.encrypted => Secret::Encrypted,
        Ok(der) => read(der).unwrap_or_else(|| Secret::Strange("it is no private key of that form".to_owned())),
        Err(why) => Secret::Strange((*why).to_owned()),
    };
    Some(Private { form, secret })
}

/// OneAsymmetricKey (RFC 5958 section 2): version, algorithm, key, attributes, public key.
fn pkcs8(der: &[u8]) -> Option<Secret> {
    let mut parts = Elements::of_sequence(der)?;
    parts.unsigned()?;
    let mut identifier = parts.sequence()?;
    let algorithm = identifier.oid()?;
    let key = parts.octets()?;
    match algorithm {
        public::RSA | public::RSA_PSS => rsa(key).map(Secret::Known),
        public::EC => ec(key, identifier.oid()),
        public::ED25519 => ed25519(key),
        other => Some(Secret::Strange(format!("keys of the kind {} are not examined", oid_text(other)))),
    }
}

/// RSAPrivateKey (RFC 8017 appendix A.1.2): version, modulus, public exponent, and the rest, which is left alone.
fn rsa(der: &[u8]) -> Option<Public> {
    let mut numbers = Elements::of_sequence(der)?;
    numbers.unsigned()?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    Some(Public::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
}

/// ECPrivateKey (RFC 5915 section 3): version, key, `[0]` curve, `[1]` public key. Within PKCS#8 the curve stands outside.
fn ec(der: &[u8], outer: Option<&[u8]>) -> Option<Secret> {
    let mut parts = Elements::of_sequence(der)?;
    parts.unsigned()?;
    let scalar = Zeroizing::new(parts.octets()?.to_vec());
    let mut curve = outer;
    let mut point = None;
    let mut rest = parts;
    // Both are optional, and stand in this order.
    while let Some((number, data)) = rest.next_tagged() {
        match number {
            0 => curve = curve.or_else(|| Elements::inside(data).oid()),
            1 => point = Elements::inside(data).bits().map(<[u8]>::to_vec),
            _ => {}
        }
    }
    match curve {
        Some(curve) => Some(Secret::Ec { curve: curve.to_vec(), scalar, point }),
        None => Some(Secret::Strange("its curve is given by parameters, not by name".to_owned())),
    }
}

/// The seed is an OCTET STRING within the OCTET STRING (RFC 8410 section 7).
fn ed25519(key: &[u8]) -> Option<Secret> {
    let seed = Elements::inside(key).octets()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    Some(Secret::Known(Public::Ed25519(pair.public_key().as_ref().to_vec())))
}

impl Private {
    /// The public half, where it is known without a certificate to compare with.
    pub fn public(&self) -> Result<Cow<'_, Public>, String> {
        match &self.secret {
            Secret::Known(public) => Ok(Cow::Borrowed(public)),
            Secret::Ec { curve, point: Some(point), .. } => {
                Ok(Cow::Owned(Public::Ec { curve: curve.clone(), point: point.clone() }))
            }
            Secret::Ec { .. } => Err("the file does not carry the key's public half".to_owned()),
            Secret::Encrypted => Err("it is encrypted".to_owned()),
            Secret::Strange(why) => Err(why.clone()),
        }
    }

    /// Is this the private half of `wanted`?
    pub fn belongs_to(&self, wanted: &Public) -> Result<bool, String> {
        if let (Secret::Ec { curve, scalar, .. }, Public::Ec { curve: other, point }) = (&self.secret, wanted) {
            if curve != other {
                return Ok(false);
            }
            if let Some(answer) = scalar_fits(curve, scalar, point) {
                return Ok(answer);
            }
        }
        if let (Secret::Ec { .. }, Public::Rsa { .. } | Public::Ed25519(_)) = (&self.secret, wanted) {
            return Ok(false);
        }
        match wanted {
            Public::Other { algorithm, .. } => {
                Err(format!("keys of the kind {} are not compared", oid_text(algorithm)))
            }
            _ => self.public().map(|public| *public == *wanted),
        }
    }
}

/// Does the scalar give this point? `None`: ring has no such curve, or the point is compressed.
///
/// The generator that ring asks for is for signatures to come; the answer does not depend on it.
fn scalar_fits(curve: &[u8], scalar: &[u8], point: &[u8]) -> Option<bool> {
    let (algorithm, length) = match curve {
        public::P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, 32),
        public::P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, 48),
        _ => return None,
    };
    if scalar.len() > length || point.first() != Some(&4) || point.len() != 2 * length + 1 {
        return None;
    }
    // Some writers leave out leading zeros of the scalar.
    let mut padded = Zeroizing::new(vec![0; length - scalar.len()]);
    padded.extend_from_slice(scalar);
    Some(EcdsaKeyPair::from_private_key_and_public_key(algorithm, &padded, point, &SystemRandom::new()).is_ok())
}
