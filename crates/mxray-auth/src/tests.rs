//! Keys and certificates that OpenSSL made, and what is no key at all.

use crate::{chain_file, key_file, pair};
use mxray_model::Seen;
use mxray_model::evidence::{CertificatePair, PrivateKey};
use proptest::prelude::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/", $name)).to_vec()
    };
}

fn of(chain: Vec<u8>, key: Vec<u8>) -> CertificatePair {
    pair("/c.pem", Seen::Value(chain), "/k.pem", Seen::Value(key))
}

fn private(key: Vec<u8>) -> PrivateKey {
    key_file("/k.pem", key).key.value().expect("a private key").clone()
}

#[test]
fn every_form_of_a_key_belongs_to_its_certificate_and_to_no_other() {
    let certificates = [
        fixture!("rsa.pem"),
        fixture!("p256.pem"),
        fixture!("p384.pem"),
        fixture!("p521.pem"),
        fixture!("ed25519.pem"),
    ];
    let keys = [
        (0, fixture!("rsa.key")),
        (0, fixture!("rsa.pkcs8.key")),
        (1, fixture!("p256.key")),
        (1, fixture!("p256.pkcs8.key")),
        (1, fixture!("p256.bare.key")),
        (2, fixture!("p384.key")),
        (2, fixture!("p384.pkcs8.key")),
        (2, fixture!("p384.bare.key")),
        (3, fixture!("p521.key")),
        (3, fixture!("p521.pkcs8.key")),
        (4, fixture!("ed25519.key")),
    ];
    for (n, (own, key)) in keys.iter().enumerate() {
        for (which, certificate) in certificates.iter().enumerate() {
            let seen = of(certificate.clone(), key.clone()).belongs;
            assert_eq!(seen, Seen::Value(which == *own), "key {n} and certificate {which}");
        }
    }
    assert_eq!(of(fixture!("rsa.pem"), fixture!("other.key")).belongs, Seen::Value(false));
}

#[test]
fn what_cannot_be_compared_is_unknown_and_never_a_mismatch() {
    for (certificate, key) in [
        (fixture!("p521.pem"), fixture!("p521.bare.key")),
        (fixture!("ed448.pem"), fixture!("ed448.key")),
        (fixture!("rsa.pem"), fixture!("rsa.encrypted.key")),
        (fixture!("rsa.pem"), fixture!("rsa.old-encrypted.key")),
        (fixture!("rsa.pem"), b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec()),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(), fixture!("rsa.key")),
    ] {
        let pair = of(certificate, key);
        assert!(pair.belongs.blind().is_some(), "{pair:?}");
    }
    assert!(private(fixture!("rsa.encrypted.key")).encrypted);
    assert!(private(fixture!("rsa.old-encrypted.key")).encrypted);
    assert!(!private(fixture!("p521.bare.key")).encrypted);
}

#[test]
fn hashes_are_openssl_s_own() {
    // openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum
    for (certificate, key, wanted) in [
        (fixture!("rsa.pem"), fixture!("rsa.key"), "c7e477f7239151a9bfc98a0085ef29e8c74af9710b36dbe6cbfe38ce1821453b"),
        (
            fixture!("p256.pem"),
            fixture!("p256.key"),
            "9934e5cfafa809d23cc015867f767f4a44a57e34a518a4a03a686eaf4807e17d",
        ),
        (
            fixture!("p521.pem"),
            fixture!("p521.key"),
            "f48ca2e4f1eeb99eb36494a4740caf1577f91e8275460400058e2f2ed5775511",
        ),
        (
            fixture!("ed25519.pem"),
            fixture!("ed25519.key"),
            "a2a9ceeb72cebe0bc7acb6b6efa9250a94f2f3b08f505ae8ab4ece39096b8dd0",
        ),
    ] {
        let chain = chain_file("/c.pem", &certificate);
        assert_eq!(chain.leaf.value().unwrap().public.spki_sha256, wanted);
        assert_eq!(private(key).public.value().unwrap().spki_sha256, wanted);
    }
}

#[test]
fn a_certificate_says_who_for_whom_and_how_long() {
    let chain = chain_file("/c.pem", &fixture!("rsa.pem"));
    let leaf = chain.leaf.value().unwrap();
    assert_eq!((leaf.subject.as_str(), leaf.issuer.as_str()), ("CN=rsa.example", "CN=rsa.example"));
    assert_eq!(leaf.names.iter().map(String::as_str).collect::<Vec<_>>(), ["192.0.2.1", "rsa.example"]);
    assert!(leaf.not_before.starts_with("20") && leaf.not_before.ends_with('Z'), "{leaf:?}");
    assert!(leaf.not_before < leaf.not_after);
    assert_eq!((leaf.public.algorithm.as_str(), leaf.public.bits), ("RSA", 2048));
}

#[test]
fn the_public_half_for_dkim_is_what_its_record_carries() {
    let rsa = private(fixture!("rsa.key")).dkim_public;
    assert!(rsa.value().unwrap().starts_with("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "{rsa:?}");
    // RFC 8463 section 4: the bare 32 bytes.
    assert_eq!(
        private(fixture!("ed25519.key")).dkim_public,
        Seen::Value("PLjdW0kCW1+pidIlrNp7oqr8vgKqaQC4jgBAprqhtjI=".to_owned())
    );
    assert!(private(fixture!("p256.key")).dkim_public.is_absent());
}

/// Several blocks, commentary, Windows line ends, and one file for both.
#[test]
fn files_are_read_as_openssl_reads_them() {
    let mut both = b"subject=CN = rsa.example\n\xff\xfe no text\n".to_vec();
    both.extend(fixture!("rsa.key"));
    both.extend(b"issuer\n");
    both.extend(fixture!("rsa.pem"));
    both.extend(fixture!("other.pem"));
    let crlf: Vec<u8> =
        both.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect();
    for bytes in [both, crlf] {
        let pair = of(bytes.clone(), bytes);
        assert_eq!(pair.belongs, Seen::Value(true));
        assert_eq!(pair.chain.value().unwrap().certificates, 2);
    }
    // The chain stands the wrong way round: the first certificate is the one that is presented.
    let mut turned = fixture!("other.pem");
    turned.extend(fixture!("rsa.pem"));
    assert_eq!(of(turned, fixture!("rsa.key")).belongs, Seen::Value(false));
}

#[test]
fn what_is_missing_is_told_apart() {
    let none = of(b"nothing\n".to_vec(), fixture!("rsa.pem"));
    assert!(none.chain.value().unwrap().leaf.is_absent() && none.key.value().unwrap().key.is_absent());
    assert!(none.belongs.is_absent());
    let no_file = pair("/c.pem", Seen::Absent, "/k.pem", Seen::Value(fixture!("rsa.key")));
    assert!(no_file.chain.is_absent() && no_file.belongs.is_absent());
    let cut: Vec<u8> = fixture!("rsa.pem").into_iter().take(300).collect();
    assert!(of(cut, fixture!("rsa.key")).belongs.blind().is_some());
}

#[test]
fn nothing_private_is_told() {
    for (secret, told) in
        [(fixture!("rsa.key"), "rsa"), (fixture!("p256.key"), "p256"), (fixture!("ed25519.key"), "ed25519")]
    {
        let text = String::from_utf8(secret.clone()).unwrap();
        let printed = format!("{:?}", of(fixture!("rsa.pem"), secret));
        // A line of a key's base64 that is no part of its public half: the last but one.
        let line = text.lines().rev().nth(1).unwrap();
        assert!(!printed.contains(line), "{told}: {printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), label in "(RSA |EC |)PRIVATE KEY|CERTIFICATE") {
        let text = data_encoding::BASE64.encode(&bytes);
        let file = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes();
        of(file.clone(), file);
        of(bytes.clone(), bytes);
    }

    #[test]
    fn no_damage_panics_or_fits(at in 0usize..1000, bit in 0u8..8) {
        let mut damaged = fixture!("rsa.pem");
        let at = at % damaged.len();
        damaged[at] ^= 1 << bit;
        // A changed certificate may still carry the same key; it must never be taken for a fit of another one.
        prop_assert_ne!(of(damaged, fixture!("other.key")).belongs, Seen::Value(true));
    }
}
