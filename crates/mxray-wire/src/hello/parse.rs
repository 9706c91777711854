//! Handshake messages of a server, read with bounds. Nothing here decides what they mean for the session.

use super::names;
use super::suites::{self, Exchange};
use mxray_model::session::{KeyExchange, Raw, Registered, ServerHello, TlsVersion};

/// Longest chain that is kept; real ones have up to five certificates.
const CERTIFICATES_MAX: usize = 32;
/// Most extensions of a ServerHello that are kept.
const EXTENSIONS_MAX: usize = 64;

/// SHA-256 of "HelloRetryRequest": the random value that makes one of a ServerHello (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

mod extension {
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// Bytes that are read from the front. `None` everywhere: there are not so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A number of up to four bytes.
    pub fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number16(&mut self) -> Option<u16> {
        self.number(2).and_then(|number| u16::try_from(number).ok())
    }

    /// What a length of so many bytes stands in front of.
    fn block(&mut self, bytes: usize) -> Option<Bytes<'a>> {
        let length = self.number(bytes)?;
        self.take(length).map(Bytes)
    }

    fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A ServerHello; time and place are the caller's. `None`: it is none.
pub(super) fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut bytes = Bytes(body);
    let legacy = bytes.number16()?;
    let random = bytes.take(32)?;
    let session = bytes.block(1)?;
    if session.0.len() > 32 {
        return None;
    }
    let suite = bytes.number16()?;
    let compression = bytes.byte()?;
    let mut hello = ServerHello {
        version: legacy.into(),
        suite: suites::suite(suite),
        group: None,
        retry: random == RETRY,
        compression,
        secure_renegotiation: false,
        extended_master_secret: false,
        could_have: None,
        extensions: Vec::new(),
        after_ms: 0,
        entry: 0,
    };
    // Up to TLS 1.2 the list may be missing.
    let mut extensions = if bytes.is_empty() { Bytes(&[]) } else { bytes.block(2)? };
    if !bytes.is_empty() {
        return None;
    }
    while !extensions.is_empty() {
        let number = extensions.number16()?;
        let value = extensions.block(2)?;
        extension(&mut hello, number, value)?;
    }
    if hello.version < TlsVersion::Tls13 {
        hello.could_have = could_have(random);
    }
    Some(hello)
}

fn extension(hello: &mut ServerHello, number: u16, mut value: Bytes<'_>) -> Option<()> {
    match number {
        extension::SUPPORTED_VERSIONS => hello.version = value.number16()?.into(),
        // A HelloRetryRequest has the group alone; the rest is the key itself.
        extension::KEY_SHARE => hello.group = Some(names::group(value.number16()?)),
        extension::EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
        extension::RENEGOTIATION_INFO => hello.secure_renegotiation = true,
        _ => {}
    }
    if hello.extensions.len() < EXTENSIONS_MAX {
        hello.extensions.push(number);
    }
    Some(())
}

/// The last eight bytes of the random value warn of a downgrade.
fn could_have(random: &[u8]) -> Option<TlsVersion> {
    match random.get(24..)? {
        b"DOWNGRD\x01" => Some(TlsVersion::Tls13),
        b"DOWNGRD\x00" => Some(TlsVersion::Tls12),
        _ => None,
    }
}

/// The certificates of a Certificate message up to TLS 1.2 (RFC 5246 section 7.4.2).
pub(super) fn certificates(body: &[u8]) -> Option<Vec<Raw>> {
    let mut bytes = Bytes(body);
    let mut list = bytes.block(3)?;
    let mut found = Vec::new();
    while !list.is_empty() {
        let certificate = list.block(3)?;
        if found.len() < CERTIFICATES_MAX {
            found.push(Raw::from(certificate.0));
        }
    }
    bytes.is_empty().then_some(found)
}

/// A ServerKeyExchange, as the suite says what stands in it.
pub(super) fn key_exchange(suite: u16, body: &[u8]) -> KeyExchange {
    let mut bytes = Bytes(body);
    let found = match suites::exchange(suite) {
        Exchange::Dh => dh(&mut bytes),
        Exchange::Ecdh => ecdh(&mut bytes),
        Exchange::ExportRsa => bytes.block(2).map(|modulus| KeyExchange::ExportRsa { modulus_bits: bits(modulus.0) }),
        Exchange::Nothing | Exchange::Unknown => None,
    };
    found.unwrap_or(KeyExchange::NotUnderstood)
}

fn dh(bytes: &mut Bytes<'_>) -> Option<KeyExchange> {
    let (prime, _generator, _public) = (bytes.block(2)?, bytes.block(2)?, bytes.block(2)?);
    Some(KeyExchange::Dh { prime_bits: bits(prime.0), prime: Raw::from(prime.0) })
}

fn ecdh(bytes: &mut Bytes<'_>) -> Option<KeyExchange> {
    match bytes.byte()? {
        // RFC 8422 section 5.4: a curve by its name, or described.
        3 => {
            let curve: Registered = names::group(bytes.number16()?);
            bytes.block(1)?;
            Some(KeyExchange::Ecdh { curve })
        }
        1 | 2 => Some(KeyExchange::EcdhOwnCurve),
        _ => None,
    }
}

/// The size of a number.
fn bits(number: &[u8]) -> u32 {
    let Some(at) = number.iter().position(|byte| *byte != 0) else { return 0 };
    let leading = number.get(at).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(number.len() - at).map_or(u32::MAX, |bytes| bytes.saturating_mul(8)) - leading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_bits() {
        for (number, expected) in [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[0xff; 128], 1024)] {
            assert_eq!(bits(number), expected);
        }
    }
}
