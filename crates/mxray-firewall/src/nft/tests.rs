//! Datagrams that a kernel sent, as they are, cut off and changed.

use super::*;
use crate::evaluate;
use crate::surroundings::Surroundings;
use data_encoding::HEXLOWER;
use mxray_model::evidence::{Direction, Packet};

/// What the kernel (6.18) sent for `tests/kernel/written.nft`, and for rules that iptables-nft 1.8.9 wrote: a datagram a line.
const WRITTEN: &str = include_str!("../../fixtures/nft.hex");
const IPTABLES: &str = include_str!("../../fixtures/iptables.hex");

fn datagrams(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| HEXLOWER.decode(line.as_bytes()).unwrap()).collect()
}

fn decoded(text: &str) -> Ruleset {
    let mut decoder = Decoder::new();
    for datagram in datagrams(text) {
        let fed = decoder.feed(&datagram);
        assert_eq!((fed.error, fed.interrupted), (None, false));
    }
    decoder.finish()
}

fn table<'all>(ruleset: &'all Ruleset, key: &str) -> &'all Table {
    ruleset.tables.iter().find(|table| table.key() == key).unwrap()
}

fn question() -> Packet {
    Packet {
        direction: Direction::In,
        protocol: "tcp".to_owned(),
        source: "203.0.113.9".parse().unwrap(),
        destination: "192.0.2.25".parse().unwrap(),
        source_port: Some(40_000),
        destination_port: Some(25),
        interface_in: Some("eth0".to_owned()),
        interface_out: None,
        state: "new".to_owned(),
        uid: None,
        gid: None,
        mark: 0,
        cgroup: None,
    }
}

#[test]
fn a_dump_is_read_with_its_hooks_sets_and_comments() {
    let ruleset = decoded(WRITTEN);
    assert_eq!(ruleset.left_out, []);
    let table = table(&ruleset, "nft inet written");
    let input = table.chain("input").unwrap();
    let base = input.base.as_ref().unwrap();
    assert_eq!((base.hook, base.priority, base.kind, base.policy), (Hook::Input, 0, ChainKind::Filter, Policy::Drop));
    assert_eq!(table.chain("pre").unwrap().base.as_ref().unwrap().kind, ChainKind::Nat);
    assert_eq!(table.chain("raw").unwrap().base.as_ref().unwrap().priority, -300);
    assert!(table.chain("other").unwrap().base.is_none());
    let commented = input.rules.iter().find(|rule| rule.comment.as_deref() == Some("published")).unwrap();
    assert_eq!(table.text(commented), "ct status dnat accept");
    let blocked = table.set("blocked").unwrap();
    assert!(blocked.interval && !blocked.anonymous);
    assert_eq!(blocked.elements.iter().filter(|element| !element.interval_end).count(), 2);
    assert_eq!(table.objects.len(), 3);
    assert!(
        input.rules.iter().all(|rule| rule.expressions.iter().all(|one| !matches!(one, Expression::Unknown { .. })))
    );
    let facts = table.facts();
    assert_eq!((facts.chains, facts.sets, facts.manager), (5, 4, None));
}

#[test]
fn what_iptables_writes_is_read_from_the_kernels_structures() {
    let ruleset = decoded(IPTABLES);
    let filter = table(&ruleset, "nft ip filter");
    assert_eq!(filter.manager(), Some("fail2ban"));
    let texts = |name: &str| filter.chain(name).unwrap().rules.iter().map(|rule| filter.text(rule)).collect::<Vec<_>>();
    assert_eq!(texts("OUTPUT")[0], "tcp dport { 25, 465 } meta skuid != 101 counter reject with tcp reset");
    assert_eq!(texts("f2b-postfix")[0], "ip saddr 192.0.2.66 counter reject");
    assert_eq!(texts("INPUT")[0], "tcp dport { 25, 465-470 } ct state new counter jump f2b-postfix");
    let input = filter.chain("INPUT").unwrap();
    let comments: Vec<&str> = input.rules.iter().filter_map(|rule| rule.comment.as_deref()).collect();
    assert_eq!(comments, ["mail from anywhere"]);
    // Only what searches the payload is not understood.
    let unknown = |rule: &&Rule| {
        rule.expressions.iter().any(|one| matches!(one, Expression::Match(crate::xt::Match::Unknown { .. })))
    };
    let unknown: Vec<String> = input.rules.iter().filter(unknown).map(|rule| filter.text(rule)).collect();
    assert_eq!(unknown, ["meta l4proto tcp xt match \"string\" counter drop"]);
    let nat = table(&ruleset, "nft ip nat");
    let pre = nat.chain("PREROUTING").unwrap();
    assert_eq!(nat.text(&pre.rules[0]), "xt match \"addrtype\" tcp dport 587 counter dnat to 172.17.0.2:2525");
    assert_eq!(nat.text(&pre.rules[1]), "tcp dport 26 counter redirect to :25");
    assert_eq!(nat.manager(), Some("iptables-nft"));
}

#[test]
fn any_piece_of_a_dump_is_read_without_harm() {
    for text in [WRITTEN, IPTABLES] {
        for datagram in datagrams(text) {
            for end in (0..datagram.len()).step_by(29) {
                let mut decoder = Decoder::new();
                decoder.feed(&datagram[..end]);
                decoder.finish();
            }
        }
    }
    let mut decoder = Decoder::new();
    decoder.feed(&datagrams(WRITTEN)[0][..30]);
    assert_eq!(decoder.finish().left_out.len(), 1, "what is cut off is told of");
}

#[test]
fn changed_bytes_make_no_harm() {
    let whole: Vec<u8> = datagrams(IPTABLES).into_iter().chain(datagrams(WRITTEN)).flatten().collect();
    let mut seed = 1_u64;
    let mut number = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            let at = number(bytes.len());
            bytes[at] = u8::try_from(number(256)).unwrap();
        }
        let mut decoder = Decoder::new();
        decoder.feed(&bytes);
        let ruleset = decoder.finish();
        for table in &ruleset.tables {
            for rule in table.chains.iter().flat_map(|chain| &chain.rules) {
                table.text(rule);
            }
        }
        evaluate(&[ruleset], &question(), &Surroundings::default());
    }
}

#[test]
fn a_refusal_and_an_interruption_are_told() {
    let mut refused = vec![36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    refused.extend_from_slice(&(-1_i32).to_ne_bytes());
    refused.extend_from_slice(&[0; 16]);
    let fed = Decoder::new().feed(&refused);
    assert_eq!(fed, Fed { done: true, interrupted: false, error: Some(1), generation: None });
    let interrupted = [20, 0, 0, 0, 3, 0, 0x12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(Decoder::new().feed(&interrupted).interrupted);
}
