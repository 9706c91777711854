//! Targets for rulesets of packet filters: the kernel's netlink messages and iptables-save's text, read and then walked through.

use bolero::check;
use data_encoding::HEXLOWER;
use mxray_firewall::{Family, Ruleset, Surroundings, evaluate, legacy, nft};
use mxray_model::evidence::{Direction, FilterAnswer, Packet};

/// What a kernel sent, so that mutations reach what is behind the outer layers.
const SENT: &str = include_str!("../../crates/mxray-firewall/fixtures/nft.hex");
const COMPAT: &str = include_str!("../../crates/mxray-firewall/fixtures/iptables.hex");

/// Words and lines that iptables-save writes; a byte from 0xb0 on stands for one of them.
const WORDS: [&str; 40] = [
    "*filter\n",
    "*nat\n",
    "*raw\n",
    "COMMIT\n",
    ":INPUT DROP [0:0]\n",
    ":INPUT ACCEPT [1:60]\n",
    ":PREROUTING ACCEPT [0:0]\n",
    ":mine - [0:0]\n",
    "-A INPUT ",
    "-A mine ",
    "-A PREROUTING ",
    "-A OUTPUT ",
    "-p tcp ",
    "-p udp ",
    "-m tcp --dport 25 ",
    "-m multiport --dports 25,465:587 ",
    "! ",
    "-s 192.0.2.0/24 ",
    "-d 2001:db8::/32 ",
    "-i eth+ ",
    "-m conntrack --ctstate NEW ",
    "-m owner --uid-owner 101 ",
    "-m limit --limit 3/min ",
    "-m mark --mark 0x1/0x3 ",
    "-m comment --comment \"a \\\"b\\\"\" ",
    "-m addrtype --dst-type LOCAL ",
    "-m iprange --src-range 192.0.2.1-192.0.2.9 ",
    "-m set --match-set f2b src ",
    "-j ACCEPT\n",
    "-j DROP\n",
    "-j REJECT --reject-with tcp-reset\n",
    "-j mine\n",
    "-g mine\n",
    "-j RETURN\n",
    "-j DNAT --to-destination 192.0.2.9:25\n",
    "-j REDIRECT --to-ports 2525\n",
    "-j MARK --set-xmark 0x5/0xff\n",
    "-j CT --notrack\n",
    "-j LOG --log-prefix \"x\"\n",
    "[1:2] ",
];

fn packets() -> Vec<Packet> {
    let packet = |direction, source: &str, destination: &str| Packet {
        direction,
        protocol: "tcp".to_owned(),
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        source_port: None,
        destination_port: Some(25),
        interface_in: Some("eth0".to_owned()),
        interface_out: None,
        state: "new".to_owned(),
        uid: Some(101),
        gid: None,
        mark: 0,
        cgroup: Some("system.slice/postfix.service".to_owned()),
    };
    vec![
        packet(Direction::In, "203.0.113.9", "192.0.2.25"),
        packet(Direction::Out, "2001:db8::25", "2001:db8::9"),
        packet(Direction::Out, "127.0.0.1", "127.0.0.1"),
        packet(Direction::Forward, "203.0.113.9", "172.17.0.2"),
    ]
}

/// Every rule is written, and every packet comes to an end.
fn walked(rulesets: &[Ruleset]) {
    for table in rulesets.iter().flat_map(|ruleset| &ruleset.tables) {
        table.facts();
        for chain in &table.chains {
            for rule in &chain.rules {
                assert!(!table.found(chain, rule).text.chars().any(char::is_control));
            }
        }
    }
    for packet in packets() {
        let answer: FilterAnswer = evaluate(rulesets, &packet, &Surroundings::default());
        assert!(answer.walk.len() <= 256);
    }
}

#[test]
fn firewall_nft() {
    let honest: Vec<Vec<u8>> =
        SENT.lines().chain(COMPAT.lines()).map(|line| HEXLOWER.decode(line.as_bytes()).unwrap()).collect();
    check!().for_each(|input: &[u8]| {
        let mut decoder = nft::Decoder::new();
        let mut datagrams = honest.clone();
        // Each group of five bytes changes one: a datagram, a place and a value.
        for change in input.chunks_exact(5) {
            let which = usize::from(change[0]) % datagrams.len();
            let datagram = &mut datagrams[which];
            let place = usize::from(u16::from_be_bytes([change[1], change[2]])) % datagram.len().max(1);
            if change[3] == 0 {
                datagram.truncate(place.max(1));
            } else if let Some(byte) = datagram.get_mut(place) {
                *byte = change[4];
            }
        }
        decoder.feed(input);
        for datagram in &datagrams {
            decoder.feed(datagram);
        }
        decoder.sets();
        walked(&[decoder.finish()]);
    });
}

#[test]
fn firewall_save() {
    check!().for_each(|input: &[u8]| {
        let mut text = Vec::new();
        for byte in input {
            match byte.checked_sub(0xb0).and_then(|at| WORDS.get(usize::from(at))) {
                Some(words) => text.extend_from_slice(words.as_bytes()),
                None => text.push(*byte),
            }
        }
        let both = [Family::Ip, Family::Ip6].map(|family| legacy::parse(family, &mut text.as_slice()));
        walked(&both);
        walked(&[Family::Ip, Family::Ip6].map(|family| legacy::parse(family, &mut &input[..])));
    });
}
