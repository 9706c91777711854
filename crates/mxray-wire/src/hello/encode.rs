//! The ClientHello as bytes (RFC 6101 section 5.6.1.2, RFC 5246 section 7.4.1.2, RFC 8446 section 4.1.2), and our goodbye.

use super::names::X25519;
use super::plan::Plan;
use super::suites::SIGNAL_RENEGOTIATION;
use mxray_model::session::{KeyKind, TlsVersion};

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;

/// Numbers of extensions.
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const SUPPORTED_GROUPS: u16 = 10;
    pub const POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const PADDING: u16 = 21;
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
}

// "TLS SignatureScheme": the strong ones first; SHA-1 last, for servers that have nothing else.
const WITH_RSA: &[u16] = &[0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601, 0x0301, 0x0201];
const WITH_ECDSA: &[u16] = &[0x0403, 0x0503, 0x0603, 0x0303, 0x0203];
const WITH_OTHERS: &[u16] = &[0x0807, 0x0808, 0x0402, 0x0202];

/// A hello of these lengths makes some old boxes hang; one byte more does not (RFC 7685 section 1).
const HANGS: std::ops::Range<usize> = 256..512;

/// The record with the hello in it.
pub(super) fn client_hello(plan: &Plan) -> Vec<u8> {
    let version = plan.offer().version;
    let mut body = Vec::with_capacity(512);
    // TLS 1.3 says 1.2 here, and the truth in an extension.
    put16(&mut body, version.number().min(TlsVersion::Tls12.number()));
    body.extend_from_slice(&plan.entropy.random);
    // Up to TLS 1.2 there is no session to go on with. TLS 1.3 wants a number for boxes in the middle (appendix D.4).
    let session: &[u8] = if version == TlsVersion::Tls13 { &plan.entropy.session } else { &[] };
    block8(&mut body, session);
    let signal = (version != TlsVersion::Tls13).then_some(SIGNAL_RENEGOTIATION);
    block16(&mut body, &numbers(plan.suites().iter().copied().chain(signal)));
    // No compression.
    block8(&mut body, &[0]);
    if version != TlsVersion::Ssl3 {
        let extensions = extensions(plan, body.len() + 4 + 2);
        block16(&mut body, &extensions);
    }
    let mut message = vec![CLIENT_HELLO, 0];
    block16(&mut message, &body);
    // A record that says 1.0 is taken by servers of all later versions (RFC 8446 section 5.1).
    let mut record = vec![HANDSHAKE];
    put16(&mut record, version.number().min(TlsVersion::Tls10.number()));
    block16(&mut record, &message);
    record
}

/// `close_notify`, as a warning (RFC 5246 section 7.2.1).
pub(super) fn close_notify(version: TlsVersion) -> Vec<u8> {
    let mut record = vec![ALERT];
    put16(&mut record, version.number().min(TlsVersion::Tls12.number()));
    block16(&mut record, &[1, 0]);
    record
}

/// `before`: what the message has without extensions.
fn extensions(plan: &Plan, before: usize) -> Vec<u8> {
    let offer = plan.offer();
    let mut out = Vec::new();
    if let Some(name) = &offer.server_name {
        // One name, of type 0: a host.
        let mut entry = vec![0];
        block16(&mut entry, name.as_bytes());
        let mut list = Vec::new();
        block16(&mut list, &entry);
        put(&mut out, extension::SERVER_NAME, &list);
    }
    if !offer.groups.is_empty() {
        let mut list = Vec::new();
        block16(&mut list, &numbers(offer.groups.iter().map(|group| group.number)));
        put(&mut out, extension::SUPPORTED_GROUPS, &list);
        if offer.version != TlsVersion::Tls13 {
            put(&mut out, extension::POINT_FORMATS, &[1, 0]);
        }
    }
    if matches!(offer.version, TlsVersion::Tls12 | TlsVersion::Tls13) {
        let mut list = Vec::new();
        block16(&mut list, &numbers(signatures(offer.keys)));
        put(&mut out, extension::SIGNATURE_ALGORITHMS, &list);
    }
    if offer.version == TlsVersion::Tls13 {
        put(&mut out, extension::SUPPORTED_VERSIONS, &[2, 3, 4]);
        put(&mut out, extension::KEY_SHARE, &key_share(plan));
    } else {
        put(&mut out, extension::EXTENDED_MASTER_SECRET, &[]);
    }
    pad(&mut out, before);
    out
}

fn pad(out: &mut Vec<u8>, before: usize) {
    let length = before + out.len();
    if HANGS.contains(&length) {
        // The extension's own head has four bytes.
        let missing = HANGS.end.saturating_sub(length + 4);
        put(out, extension::PADDING, &vec![0; missing]);
    }
}

fn signatures(keys: KeyKind) -> impl Iterator<Item = u16> {
    let lists: &[&[u16]] = match keys {
        KeyKind::Any => &[WITH_ECDSA, WITH_RSA, WITH_OTHERS],
        KeyKind::Rsa => &[WITH_RSA],
        KeyKind::Ecdsa => &[WITH_ECDSA],
    };
    lists.iter().flat_map(|list| list.iter().copied())
}

/// A share of X25519 where that is offered. For all other groups none: the server then asks for the group that it wants with
/// a HelloRetryRequest, which is all that we want to know (RFC 8446 section 4.2.8).
fn key_share(plan: &Plan) -> Vec<u8> {
    let mut shares = Vec::new();
    if plan.offer().groups.iter().any(|group| group.number == X25519) {
        put(&mut shares, X25519, &plan.entropy.share);
    }
    let mut list = Vec::new();
    block16(&mut list, &shares);
    list
}

fn put(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    put16(out, number);
    block16(out, value);
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn numbers(of: impl Iterator<Item = u16>) -> Vec<u8> {
    of.flat_map(u16::to_be_bytes).collect()
}

// The bounds of `Plan` keep every block far below 2^16 (a name has 253 bytes, there are some hundred suites).
fn block16(out: &mut Vec<u8>, bytes: &[u8]) {
    put16(out, u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(bytes);
}

fn block8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}
