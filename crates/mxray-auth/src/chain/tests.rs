//! Chains that OpenSSL made (`fixtures/chain/make.sh`), one fault each, and what is odd and no fault.

use super::{Examined, Stores, chain};
use crate::pem::blocks;
use crate::{Anchors, Signature, handshake_signature};
use mxray_model::evidence::{CertificateProblem as Problem, RootStore};
use mxray_model::{Blind, Seen};
use proptest::prelude::*;

/// 2026-12-01: everything in the fixtures is valid but what is called expired.
const NOW: i64 = 1_796_083_200;

macro_rules! ders {
    ($($name:ident),*) => {
        [$(der(include_bytes!(concat!("../../fixtures/chain/", stringify!($name), ".pem")))),*].to_vec()
    };
}

fn der(pem: &[u8]) -> Vec<u8> {
    blocks(pem)[0].der.as_ref().unwrap().to_vec()
}

fn anchors(ders: &[Vec<u8>]) -> Anchors {
    let mut anchors = Anchors::default();
    assert!(ders.iter().all(|der| anchors.add_certificate(der)));
    anchors
}

/// The system knows Root; Mozilla knows nobody.
fn stores() -> Stores {
    let system = Seen::Value(anchors(&ders![root]));
    Stores::from([(RootStore::System, system), (RootStore::Mozilla, Seen::Value(Anchors::default()))])
}

fn look(ders: &[Vec<u8>]) -> Examined {
    chain(ders, Some("mail.example"), &stores(), NOW)
}

fn trusted(examined: &Examined) -> bool {
    *examined.trusted[&RootStore::System].value().expect("a verdict")
}

#[test]
fn a_chain_as_it_should_be() {
    let good = look(&ders![leaf, between]);
    assert_eq!(good.problems, []);
    assert_eq!(good.trusted[&RootStore::System], Seen::Value(true));
    assert_eq!(good.trusted[&RootStore::Mozilla], Seen::Value(false));
    let [leaf, between] = good.chain.as_slice() else { panic!("{good:?}") };
    assert_eq!(leaf.certificate.value().unwrap().not_after, "2027-01-01T00:00:00Z");
    assert_eq!((leaf.signed_with.as_str(), leaf.is_ca, leaf.self_signed), ("ecdsa-with-SHA256", false, false));
    assert_eq!(leaf.extended_usage, ["serverAuth"]);
    assert!(between.is_ca && leaf.sha256.len() == 64 && !leaf.serial.is_empty());
}

#[test]
fn odd_and_no_fault() {
    for (what, ders) in [
        ("the root comes along", ders![leaf, between, root]),
        ("crossed, in front of the one that leads home", ders![leaf, crossed, between]),
        ("crossed, behind it", ders![leaf, between, crossed]),
        ("crossed, with its own root", ders![leaf, between, crossed, other]),
        ("no subject worth the name", ders![nobody, between]),
        ("critical extensions that all know, and one that nobody knows", ders![critical, between]),
        ("a thousand names, and another one asked for below", ders![leaf, between]),
        ("RSA of 2048 bits", ders![rsa2048, between]),
        ("RSA with PSS padding", ders![underpss, pss]),
    ] {
        let examined = look(&ders);
        assert_eq!(examined.problems, [], "{what}");
        assert!(trusted(&examined), "{what}");
    }
    let one_of_many = chain(&ders![many, between], Some("host1000.example"), &stores(), NOW);
    assert_eq!(one_of_many.problems, []);
    let fitting = chain(&ders![fitting, narrow], Some("mail.other.example"), &stores(), NOW);
    assert_eq!((fitting.problems.as_slice(), trusted(&fitting)), (&[][..], true));
}

#[test]
fn names_are_compared_as_rfc_9525_says() {
    for good in ["mail.example", "MAIL.Example.", "a.wild.example", "192.0.2.1", "2001:db8::1", "2001:DB8:0:0:0:0:0:1"]
    {
        assert_eq!(chain(&ders![leaf, between], Some(good), &stores(), NOW).problems, [], "{good}");
    }
    for bad in ["example", "www.mail.example", "wild.example", "a.b.wild.example", "192.0.2.2", "2001:db8::2", ""] {
        let problems = chain(&ders![leaf, between], Some(bad), &stores(), NOW).problems;
        assert!(matches!(problems.as_slice(), [Problem::NameMismatch { .. }]), "{bad}: {problems:?}");
    }
    // Without a name to compare with there is nothing to say, and a name that is not ASCII is not compared.
    for none in [None, Some("größe.example")] {
        assert_eq!(chain(&ders![leaf, between], none, &stores(), NOW).problems, []);
    }
    // A common name is none.
    let common = look(&ders![common, between]).problems;
    assert_eq!(common, [Problem::NameMismatch { wanted: "mail.example".to_owned(), names: Vec::new() }]);
    // In a certificate, a name that ends in a dot is no name.
    let dotted = look(&ders![dotted, between]).problems;
    assert!(matches!(dotted.as_slice(), [Problem::NameMismatch { .. }]), "{dotted:?}");
    let many = look(&ders![many, between]).problems;
    assert!(matches!(many.as_slice(), [Problem::NameMismatch { names, .. }] if names.len() == 20), "{many:?}");
}

#[test]
fn what_the_chain_lacks_is_told_apart() {
    let between = || "CN=Between, O=Tests".to_owned();
    let root = || "CN=Root, O=Tests".to_owned();
    let other = || "CN=Other Root, O=Tests".to_owned();
    let nobody = Stores::from([(RootStore::System, Seen::Value(Anchors::default()))]);
    let look_alone = |ders: &[Vec<u8>]| chain(ders, Some("mail.example"), &nobody, NOW);
    for (what, examined, wanted) in [
        ("leaf alone", look(&ders![leaf]), Problem::Incomplete { issuer: between() }),
        ("leaf alone, fetchable", look(&ders![fetchable]), Problem::Incomplete { issuer: between() }),
        ("the root sent, not between", look_alone(&ders![direct, root]), Problem::UnknownRoot { subject: root() }),
        ("an own root, unsent", look_alone(&ders![leaf, between]), Problem::UnknownRoot { subject: root() }),
        ("an own root, that signs servers", look_alone(&ders![direct]), Problem::UnknownRoot { subject: root() }),
        ("another root", look(&ders![leaf, crossed, other]), Problem::UnknownRoot { subject: other() }),
        ("self-signed", look(&ders![own_self]), Problem::SelfSigned),
    ] {
        assert_eq!(examined.problems, [wanted], "{what}");
        assert!(!trusted(&examined), "{what}");
    }
    assert_eq!(look(&ders![direct]).problems, []);
    // A self-signed certificate that the admin gave to the system.
    let given = Stores::from([(RootStore::System, Seen::Value(anchors(&ders![own_self])))]);
    let known = chain(&ders![own_self], Some("mail.example"), &given, NOW);
    assert_eq!((known.problems.as_slice(), trusted(&known)), (&[][..], true));
}

#[test]
fn an_old_certificate_without_extensions_is_read() {
    let problems = look(&ders![old]).problems;
    assert_eq!(
        problems,
        [Problem::SelfSigned, Problem::NameMismatch { wanted: "mail.example".to_owned(), names: vec![] }]
    );
}

#[test]
fn order_does_not_matter_and_is_told() {
    for (what, ders, disordered) in [
        ("reversed", ders![leaf, root, between], true),
        ("a stranger", ders![leaf, between, other], true),
        ("the leaf twice", ders![leaf, leaf, between], true),
        ("in order", ders![leaf, between, root], false),
    ] {
        let examined = look(&ders);
        let wanted: &[Problem] = if disordered { &[Problem::Disordered] } else { &[] };
        assert_eq!(examined.problems, wanted, "{what}");
        assert!(trusted(&examined), "{what}");
    }
}

#[test]
fn dates_are_judged_on_the_way_that_counts() {
    let expired = look(&ders![expired, between]);
    assert_eq!(expired.problems, [Problem::Expired { at: 0, not_after: "2025-04-01T00:00:00Z".to_owned() }]);
    assert!(trusted(&expired), "who signed it is one question, until when another");
    let stale = look(&ders![understale, stale]);
    assert_eq!(stale.problems, [Problem::Expired { at: 1, not_after: "2025-01-01T00:00:00Z".to_owned() }]);
    let early = chain(&ders![leaf, between], None, &stores(), NOW - 400 * 86_400);
    assert_eq!(
        early.problems,
        [0, 1].map(|at| Problem::NotYetValid { at, not_before: "2026-01-01T00:00:00Z".to_owned() })
    );
    // One that has expired and leads nowhere is no part of it.
    let problems = look(&ders![leaf, between, stale]).problems;
    assert_eq!(problems, [Problem::Disordered]);
}

#[test]
fn authorities_have_to_be_some() {
    for (what, ders, wanted) in [
        ("signed by a server", ders![undermere, mere], Problem::NotACa { at: 1 }),
        ("below the last", ders![underbelow, below, last], Problem::PathTooLong { at: 2 }),
        (
            "for other names",
            ders![undernarrow, narrow],
            Problem::NameNotAllowed { at: 1, name: "mail.example".to_owned() },
        ),
    ] {
        let examined = look(&ders);
        assert_eq!(examined.problems, [wanted], "{what}");
        assert!(!trusted(&examined), "{what}");
    }
    assert_eq!(look(&ders![authority, between]).problems, [Problem::NotACa { at: 0 }]);
    for (ders, oid) in [(ders![strange, between], "1.2.3.4.5.6"), (ders![draft, between], "1.3.6.1.4.1.11129.2.4.3")] {
        let examined = look(&ders);
        assert_eq!(examined.problems, [Problem::UnknownCritical { at: 0, oid: oid.to_owned() }]);
        assert!(!trusted(&examined), "{oid}");
    }
    let usages = ["clientAuth", "emailProtection"].map(str::to_owned).to_vec();
    assert_eq!(look(&ders![client, between]).problems, [Problem::WrongUsage { usages }]);
}

#[test]
fn signatures_and_keys() {
    let forged = look(&ders![leaf, impostor]);
    assert_eq!(forged.problems, [Problem::BadSignature { at: 0 }, Problem::Disordered]);
    assert!(!trusted(&forged));
    // The true one stands beside it.
    assert_eq!(look(&ders![leaf, between, impostor]).problems, [Problem::Disordered]);
    let mut damaged = ders![leaf, between];
    let last = damaged[0].len() - 1;
    damaged[0][last] ^= 1;
    assert_eq!(look(&damaged).problems[0], Problem::BadSignature { at: 0 });

    for (ders, bits) in [(ders![rsa512, between], 512), (ders![rsa1024, between], 1024)] {
        assert_eq!(look(&ders).problems, [Problem::WeakKey { at: 0, algorithm: "RSA".to_owned(), bits }]);
    }
    let sha1 = look(&ders![sha1, between]);
    assert_eq!(sha1.problems, [Problem::WeakSignature { at: 0, algorithm: "ecdsa-with-SHA1".to_owned() }]);
    // What cannot be calculated is neither good nor bad.
    for unclear in [sha1, look(&ders![underp521, p521])] {
        assert!(unclear.trusted[&RootStore::System].blind().is_some(), "{unclear:?}");
        assert!(!unclear.problems.iter().any(|problem| matches!(problem, Problem::BadSignature { .. })));
    }
}

#[test]
fn what_cannot_be_read() {
    let garbage = look(&[vec![0x30, 0x03, 1, 2, 3], ders![between].remove(0)]);
    assert!(matches!(garbage.problems.as_slice(), [Problem::Unreadable { at: 0, .. }]), "{garbage:?}");
    assert!(garbage.trusted.values().all(|verdict| verdict.blind().is_some()) && garbage.chain.len() == 2);
    let behind = look(&[ders![leaf, between], vec![vec![1, 2, 3]]].concat());
    assert!(matches!(behind.problems.as_slice(), [Problem::Unreadable { at: 2, .. }]));
    assert!(trusted(&behind));
    let endless: Vec<_> = std::iter::once(ders![leaf]).chain((0..100).map(|_| ders![between])).flatten().collect();
    let examined = look(&endless);
    assert_eq!(examined.chain.len(), 32);
    assert!(matches!(examined.problems.as_slice(), [Problem::Unreadable { at: 32, .. }]), "{:?}", examined.problems);
    assert_eq!(look(&[]).chain, []);
}

#[test]
fn a_store_that_was_not_read_says_nothing() {
    let blind = Blind::Failed { step: "read the system's certificates".to_owned(), error: "none".to_owned() };
    let unread = Stores::from([(RootStore::System, Seen::Unknown(blind.clone()))]);
    let examined = chain(&ders![leaf, between], Some("mail.example"), &unread, NOW);
    assert_eq!(examined.problems, []);
    assert_eq!(examined.trusted[&RootStore::System], Seen::Unknown(blind));
    assert_eq!(chain(&ders![own_self], None, &unread, NOW).problems, [Problem::SelfSigned]);
}

#[test]
fn handshakes_are_checked_by_the_certificate_s_key() {
    let leaf = &ders![leaf][0];
    assert_eq!(handshake_signature(leaf, 0x0403, b"message", &[0x30, 0]), Signature::Bad);
    assert_eq!(handshake_signature(leaf, 0x0804, b"message", &[1; 256]), Signature::Bad);
    assert_eq!(handshake_signature(leaf, 0x0603, b"message", &[1; 70]), Signature::CannotTell);
    assert_eq!(handshake_signature(leaf, 0xffff, b"message", &[]), Signature::CannotTell);
    assert_eq!(handshake_signature(&ders![rsa512][0], 0x0401, b"message", &[1; 64]), Signature::CannotTell);
    assert_eq!(handshake_signature(b"no certificate", 0x0403, b"message", &[]), Signature::CannotTell);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A changed byte that is signed, or of the signature, breaks the chain. What stands between the two is neither:
    /// the algorithm's name, which the signed part has again, and the wrapping of the signature.
    #[test]
    fn no_damage_is_trusted(which in 0usize..2, at in 0usize..2000, bit in 0u8..8) {
        let mut ders = ders![leaf, between];
        let at = at % ders[which].len();
        let signed = 8 + usize::from(u16::from_be_bytes([ders[which][6], ders[which][7]]));
        prop_assume!(!(signed..signed + 14).contains(&at));
        ders[which][at] ^= 1 << bit;
        prop_assert_ne!(&look(&ders).trusted[&RootStore::System], &Seen::Value(true));
    }

    #[test]
    fn no_bytes_panic(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)) {
        look(&ders);
    }
}
