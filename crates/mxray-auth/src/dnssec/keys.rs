//! DNSKEY, DS and RRSIG records: what they say, whether a key is the one that a DS record names, and whether a signature is
//! that of these records. What must not live here: which of them counts for what (`walk`).

use super::wire::{Name, Record, split_name};
use mxray_model::evidence::published::{DelegationSigner, SecurityReason, ZoneKey};
use ring::digest;
use ring::signature::{self as algorithms, RsaPublicKeyComponents, UnparsedPublicKey};

/// RFC 4034 section 2.1.1: a key that signs zones.
const ZONE_KEY: u16 = 0x0100;
/// RFC 5011 section 2.1: a key that its owner has withdrawn.
const REVOKED: u16 = 0x0080;

/// A DNSKEY record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub flags: u16,
    pub protocol: u8,
    pub algorithm: u8,
    pub public: Vec<u8>,
    pub tag: u16,
    /// As it stands in the record.
    data: Vec<u8>,
}

impl Key {
    pub fn read(data: &[u8]) -> Option<Key> {
        let (head, public) = data.split_first_chunk::<4>()?;
        let [high, low, protocol, algorithm] = *head;
        Some(Key {
            flags: u16::from_be_bytes([high, low]),
            protocol,
            algorithm,
            public: public.to_vec(),
            tag: tag(data),
            data: data.to_vec(),
        })
    }

    /// It may sign records of a zone (RFC 4034 section 2.1).
    pub fn signs(&self) -> bool {
        self.flags & ZONE_KEY != 0 && self.flags & REVOKED == 0 && self.protocol == 3
    }

    pub fn shown(&self) -> ZoneKey {
        ZoneKey { tag: self.tag, flags: self.flags, algorithm: self.algorithm }
    }
}

/// RFC 4034 appendix B.
pub(super) fn tag(data: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for (place, byte) in data.iter().enumerate() {
        let value = u32::from(*byte);
        sum = sum.wrapping_add(if place % 2 == 0 { value << 8 } else { value });
    }
    let folded = sum.wrapping_add(sum >> 16 & 0xffff) & 0xffff;
    u16::try_from(folded).unwrap_or(0)
}

/// A DS record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delegation {
    pub tag: u16,
    pub algorithm: u8,
    pub digest_type: u8,
    pub digest: Vec<u8>,
}

impl Delegation {
    pub fn read(data: &[u8]) -> Option<Delegation> {
        let (head, digest) = data.split_first_chunk::<4>()?;
        let [high, low, algorithm, digest_type] = *head;
        let tag = u16::from_be_bytes([high, low]);
        Some(Delegation { tag, algorithm, digest_type, digest: digest.to_vec() })
    }

    /// A key can be held against it here. SHA-1 still has to be understood (RFC 8624 section 3.3).
    pub fn is_supported(&self) -> bool {
        is_supported(self.algorithm) && hash(self.digest_type).is_some()
    }

    /// It names this key of this zone (RFC 4034 section 5.1.4).
    pub fn names(&self, zone: &Name, key: &Key) -> bool {
        let Some(hash) = hash(self.digest_type) else { return false };
        if self.tag != key.tag || self.algorithm != key.algorithm {
            return false;
        }
        let mut text = zone.bytes();
        text.extend(&key.data);
        digest::digest(hash, &text).as_ref() == self.digest
    }

    pub fn shown(&self, matches: bool) -> DelegationSigner {
        DelegationSigner { tag: self.tag, algorithm: self.algorithm, digest_type: self.digest_type, matches }
    }
}

fn hash(digest_type: u8) -> Option<&'static digest::Algorithm> {
    match digest_type {
        1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        2 => Some(&digest::SHA256),
        4 => Some(&digest::SHA384),
        _ => None,
    }
}

/// The algorithms that can be calculated here: RSA with SHA-1, SHA-256 and SHA-512, ECDSA P-256 and P-384, Ed25519. Others
/// are treated as if the zone was not signed (RFC 4035 section 5.2).
pub(super) fn is_supported(algorithm: u8) -> bool {
    matches!(algorithm, 5 | 7 | 8 | 10 | 13 | 14 | 15)
}

/// An RRSIG record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rrsig {
    pub covered: u16,
    pub algorithm: u8,
    pub labels: u8,
    pub original_ttl: u32,
    pub expiration: u32,
    pub inception: u32,
    pub tag: u16,
    pub signer: Name,
    pub signature: Vec<u8>,
    /// What of it is signed: all but the signature.
    head: Vec<u8>,
}

impl Rrsig {
    pub fn read(data: &[u8]) -> Option<Rrsig> {
        let (head, rest) = data.split_first_chunk::<18>()?;
        let (signer, signature) = split_name(rest)?;
        let number16 = |at: usize| head.get(at..at + 2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        let number32 = |at: usize| head.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        Some(Rrsig {
            covered: number16(0)?,
            algorithm: *head.get(2)?,
            labels: *head.get(3)?,
            original_ttl: number32(4)?,
            expiration: number32(8)?,
            inception: number32(12)?,
            tag: number16(16)?,
            signature: signature.to_vec(),
            head: data.get(..data.len().checked_sub(signature.len())?)?.to_vec(),
            signer,
        })
    }

    /// The bytes that are signed (RFC 4034 section 3.1.8.1). `None`: the owner cannot have been signed so.
    pub fn signed(&self, owner: &Name, kind: u16, datas: &[&[u8]]) -> Option<Vec<u8>> {
        let labels = usize::from(self.labels);
        let count = owner.labels().len();
        let owner = match labels {
            same if same == count => owner.clone(),
            fewer if fewer < count => owner.last(fewer).wildcard(),
            _ => return None,
        };
        let owner = owner.bytes();
        let mut sorted = datas.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut text = self.head.clone();
        for data in sorted {
            text.extend(&owner);
            text.extend(kind.to_be_bytes());
            text.extend(1u16.to_be_bytes());
            text.extend(self.original_ttl.to_be_bytes());
            text.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            text.extend(data);
        }
        Some(text)
    }

    /// The two ends of its time as seconds since 1970, of which a record has the low 32 bits (RFC 4034 section 3.1.5).
    pub fn times(&self, now_s: i64) -> (i64, i64) {
        let near = |stamp: u32| {
            let low = u32::try_from(now_s.rem_euclid(1 << 32)).unwrap_or(0);
            let ahead = i64::from(stamp.wrapping_sub(low));
            // Beyond half of the circle it lies behind (RFC 1982).
            now_s.saturating_add(if ahead >= 1 << 31 { ahead - (1 << 32) } else { ahead })
        };
        (near(self.inception), near(self.expiration))
    }
}

/// What a calculation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verified {
    Good,
    Bad,
    /// The key is one that ring does not take: RSA beyond its bounds.
    CannotTell,
}

pub(super) fn verify(key: &Key, text: &[u8], signature: &[u8]) -> Verified {
    let told = |good: bool| if good { Verified::Good } else { Verified::Bad };
    match key.algorithm {
        5 | 7 | 8 | 10 => rsa(key, text, signature),
        13 | 14 => {
            let algorithm = if key.algorithm == 13 {
                &algorithms::ECDSA_P256_SHA256_FIXED
            } else {
                &algorithms::ECDSA_P384_SHA384_FIXED
            };
            // RFC 6605 section 4: the point without the byte that says that it is not compressed.
            let mut point = vec![4];
            point.extend(&key.public);
            told(UnparsedPublicKey::new(algorithm, point).verify(text, signature).is_ok())
        }
        15 => told(UnparsedPublicKey::new(&algorithms::ED25519, &key.public).verify(text, signature).is_ok()),
        _ => Verified::CannotTell,
    }
}

/// RFC 3110 section 2: the exponent's length in one byte or three, the exponent, the modulus.
fn rsa(key: &Key, text: &[u8], signature: &[u8]) -> Verified {
    let Some((exponent, modulus)) = rsa_parts(&key.public) else { return Verified::Bad };
    let bits = modulus.len().saturating_mul(8);
    // ring takes exponents up to 2^33 - 1.
    if !(1024..=8192).contains(&bits) || exponent.len() > 4 {
        return Verified::CannotTell;
    }
    let parameters = match key.algorithm {
        8 if bits >= 2048 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        8 => &algorithms::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        10 if bits >= 2048 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        10 => &algorithms::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => &algorithms::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    };
    let public = RsaPublicKeyComponents { n: modulus, e: exponent };
    if public.verify(parameters, text, signature).is_ok() { Verified::Good } else { Verified::Bad }
}

fn rsa_parts(public: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = public.split_first()?;
    let (length, rest) = match first {
        0 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length => (usize::from(*length), rest),
    };
    let (exponent, modulus) = rest.split_at_checked(length)?;
    let start = |bytes: &[u8]| bytes.iter().take_while(|byte| **byte == 0).count();
    Some((exponent.get(start(exponent)..)?, modulus.get(start(modulus)..)?))
}

/// All records of one name and type, and the signatures of them.
#[derive(Debug, Clone)]
pub(super) struct Set<'a> {
    pub owner: &'a Name,
    pub kind: u16,
    pub datas: Vec<&'a [u8]>,
    pub signatures: Vec<Rrsig>,
}

pub(super) const RRSIG: u16 = 46;

/// The records of a name and type in a section. `None`: there are none.
pub(super) fn set<'a>(records: &'a [Record], owner: &Name, kind: u16) -> Option<Set<'a>> {
    let mut found = records.iter().filter(|record| record.kind == kind && record.owner == *owner).peekable();
    let first = found.peek()?;
    let of = &first.owner;
    let datas = found.map(|record| record.data.as_slice()).collect();
    let signatures = records.iter().filter(|record| record.kind == RRSIG && record.owner == *owner);
    let signatures = signatures.filter_map(|record| Rrsig::read(&record.data)).filter(|one| one.covered == kind);
    Some(Set { owner: of, kind, datas, signatures: signatures.collect() })
}

/// The date and time of a stamp, as people write it.
pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |stamp| stamp.to_string())
}

/// One that says most about the matter: an expired signature tells more than one of an unknown key.
pub(super) fn rank(reason: &SecurityReason) -> u8 {
    match reason {
        SecurityReason::Expired { .. } | SecurityReason::NotYetValid { .. } => 4,
        SecurityReason::BadSignature { .. } => 3,
        SecurityReason::WrongSigner { .. } => 2,
        SecurityReason::UnknownKey { .. } => 1,
        _ => 0,
    }
}
