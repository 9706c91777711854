//! Targets for the validation of DNSSEC: messages as a validator reads them, and proofs that something is not there.
//!
//! An input stands behind the head and the question of an honest answer; each byte from 0xb0 on stands for a piece of a record.

use bolero::check;
use mxray_auth::ask::Kind;
use mxray_auth::dnssec::{TrustAnchors, denies, judges};

const PIECES_FROM: u8 = 0xb0;
/// Owners, types with class and TTL, lengths, and data of NSEC, NSEC3, RRSIG, DNSKEY and DS records.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"\xc0\x0c", b"\x00", b"\x01a\xc0\x0e", b"\x01*\xc0\x0e", b"\x07example\x00", b"\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc0\x0e",
    b"\x00\x2f\x00\x01\x00\x00\x00\x3c", b"\x00\x32\x00\x01\x00\x00\x00\x3c", b"\x00\x2e\x00\x01\x00\x00\x00\x3c",
    b"\x00\x30\x00\x01\x00\x00\x00\x3c", b"\x00\x2b\x00\x01\x00\x00\x00\x3c", b"\x00\x01\x00\x01\x00\x00\x00\x3c",
    b"\x00\x05\x00\x01\x00\x00\x00\x3c", b"\x00\x27\x00\x01\x00\x00\x00\x3c", b"\x00\x06\x00\x01\x00\x00\x00\x3c",
    b"\x00\x0c\x07example\x00\x00\x01\x40", b"\x00\x0f\x01z\x07example\x00\x00\x02\x20\x80",
    b"\x00\x1c\x01\x00\x00\x01\x00\x14aaaaaaaaaaaaaaaaaaaa\x00\x01", b"\x00\x1e\x01\x01\x00\x96\x02xx\x14zzzzzzzzzzzzzzzzzzzz\x00\x01\x40",
    b"\x00\x1b\x00\x01\x0f\x02\x00\x00\x00\x3c\xff\xff\xff\xff\x00\x00\x00\x00\x12\x34\x07example\x00", b"\x00\x08\x01\x01\x03\x0faaaa",
    b"\x00\x08\x4f\x66\x08\x02aaaa", b"\x00\x02\xc0\x0c", b"\xff\xff", b"\x00\x00",
];

fn packet(input: &[u8]) -> Vec<u8> {
    let (counts, rest) = input.split_at(input.len().min(3));
    let count = |place: usize| counts.get(place).copied().unwrap_or(1) % 12;
    let code = counts.get(2).copied().unwrap_or(0) % 4;
    let mut packet = vec![0, 7, 0x81, 0x80 | code, 0, 1, 0, count(0), 0, count(1), 0, 0];
    packet.extend(b"\x01x\x07example\x00\x00\x01\x00\x01");
    for byte in rest {
        match byte.checked_sub(PIECES_FROM).and_then(|place| PIECES.get(usize::from(place))) {
            Some(piece) => packet.extend_from_slice(piece),
            None => packet.push(*byte),
        }
    }
    packet
}

#[test]
fn dnssec_denial() {
    check!().for_each(|input: &[u8]| {
        for bytes in [packet(input), input.to_vec()] {
            let _ = denies(&bytes, "example", "x.example");
            let _ = denies(&bytes, "", "a.b.c.example");
        }
    });
}

#[test]
fn dnssec_walk() {
    const ANCHOR: &str = ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
    check!().for_each(|input: &[u8]| {
        if let Some(chain) = judges(&packet(input), "x.example", Kind::A, ANCHOR, 1_790_000_000) {
            assert_ne!(chain.state.as_str(), "secure", "nobody can sign for the root: {chain:?}");
        }
    });
}

#[test]
fn dnssec_anchors() {
    check!().for_each(|input: &[u8]| {
        let _ = TrustAnchors::read(&String::from_utf8_lossy(input));
    });
}
