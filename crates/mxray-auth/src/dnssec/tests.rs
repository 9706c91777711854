//! Keys, anchors and messages by themselves; whole chains are validated in `mxray-net`, over zones that BIND signs.

use super::keys::{Key, Rrsig, tag};
use super::wire::{Message, Name};
use super::{TrustAnchors, judges};
use crate::ask::Kind;
use data_encoding::BASE64;
use mxray_model::evidence::published::{SecurityReason, SecurityState};
use proptest::prelude::*;

/// The root's key of 2017, as the root serves it.
const ROOT_2017: &str = "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=";
/// That of 2024.
const ROOT_2024: &str = "AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=";

fn root_key(public: &str) -> Key {
    let mut data = vec![1, 1, 3, 8];
    data.extend(BASE64.decode(public.as_bytes()).unwrap());
    Key::read(&data).unwrap()
}

#[test]
fn the_built_in_anchors_are_the_keys_that_the_root_serves() {
    let anchors = TrustAnchors::root();
    assert_eq!(anchors.shown(), ". 20326, 38696");
    for (public, tag) in [(ROOT_2017, 20326), (ROOT_2024, 38696)] {
        let key = root_key(public);
        assert_eq!(key.tag, tag);
        assert!(anchors.trusts(&key));
    }
    // One bit more, and it is another key.
    let mut data = vec![1, 1, 3, 8];
    data.extend(BASE64.decode(ROOT_2017.as_bytes()).unwrap());
    *data.last_mut().unwrap() ^= 1;
    assert!(!anchors.trusts(&Key::read(&data).unwrap()));
}

#[test]
fn anchors_are_read_as_tools_write_them() {
    let line = format!(". 172800 IN DNSKEY 257 3 8 {ROOT_2017} ; alg = RSASHA256");
    let anchors = TrustAnchors::read(&line).unwrap();
    assert!(anchors.trusts(&root_key(ROOT_2017)) && !anchors.trusts(&root_key(ROOT_2024)));
    let (one, other) = ROOT_2024.split_at(100);
    let folded = format!("; comment\n\n.\tIN\tDNSKEY 257 3 8 (\n\t{one}\n\t{other} ) ; key id = 38696\n");
    assert!(TrustAnchors::read(&folded).unwrap().trusts(&root_key(ROOT_2024)));
    for bad in [
        "",
        "; nothing",
        ". A 192.0.2.1",
        ". DS 1 8 2 xyz",
        ". DS 1 8 2 AA\nexample. DS 1 8 2 AA",
        ". DNSKEY 257 3 8 !",
    ] {
        assert!(TrustAnchors::read(bad).is_err(), "{bad}");
    }
}

#[test]
fn times_go_round() {
    let data = |inception: u32, expiration: u32| {
        let mut data = vec![0, 1, 15, 1, 0, 0, 0, 60];
        data.extend(expiration.to_be_bytes());
        data.extend(inception.to_be_bytes());
        data.extend([0, 1, 0]);
        Rrsig::read(&data).unwrap()
    };
    assert_eq!(data(100, 200).times(150), (100, 200));
    // In February 2106 the numbers begin anew.
    let round = 1i64 << 32;
    assert_eq!(data(u32::MAX - 9, 10).times(round), (round - 10, round + 10));
}

#[test]
fn tags_are_those_of_the_appendix() {
    assert_eq!(tag(&[1, 1, 3, 8]), 0x0101 + 0x0308);
    assert_eq!(tag(&[]), 0);
}

#[test]
fn names_are_ordered_from_the_right() {
    // RFC 4034 section 6.1.
    let ordered = [
        "example",
        "a.example",
        "yljkjljk.a.example",
        "Z.a.example",
        "zABC.a.EXAMPLE",
        "z.example",
        "\\001.z.example",
        "*.z.example",
        "\\200.z.example",
    ];
    let names: Vec<Name> = ordered.iter().map(|name| Name::read(&name.to_ascii_lowercase()).unwrap()).collect();
    assert!(names.is_sorted());
    assert_eq!(names[6].to_string(), "\\001.z.example");
}

#[test]
fn a_pointer_forwards_or_to_itself_ends_the_reading() {
    let mut packet = vec![0, 1, 0x81, 0x80, 0, 0, 0, 1, 0, 0, 0, 0];
    packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    assert_eq!(Message::read(&packet), None);
}

#[test]
fn without_signatures_nothing_is_blamed_on_the_domain() {
    // An answer that is empty: what a resolver that takes signatures away makes of the root's keys.
    let packet = [0, 1, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
    let chain = judges(&packet, "www.example", Kind::A, ". DS 1 8 2 AA", 0).unwrap();
    assert_eq!(chain.state, SecurityState::Indeterminate);
    assert!(matches!(chain.reason, Some(SecurityReason::AnchorDiffers { .. })), "{:?}", chain.reason);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = super::denies(&bytes, "example", "x.example");
        let _ = judges(&bytes, "x.example", Kind::Mx, ". DS 20326 8 2 E06D", 1_790_000_000);
    }
}
