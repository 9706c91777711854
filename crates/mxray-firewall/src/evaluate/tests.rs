//! Walks of single packets through small rulesets, and the bounds of a walk.

use super::*;
use crate::legacy;
use crate::ruleset::Family;
use crate::surroundings::{InterfaceFacts, RouteFacts};
use mxray_model::evidence::FilterStep;
use std::fmt::Write as _;

fn rules(text: &str) -> Ruleset {
    legacy::parse(Family::Ip, &mut text.as_bytes())
}

fn filter(rules: &str) -> Ruleset {
    self::rules(&format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"))
}

fn around() -> Surroundings {
    let address = |text: &str, len| (text.parse().unwrap(), len);
    let route = |prefix: &str, len, name: &str| RouteFacts {
        prefix: (prefix.parse().unwrap(), len),
        interface: Some(name.to_owned()),
        metric: 0,
    };
    Surroundings {
        interfaces: [
            (
                "lo".to_owned(),
                InterfaceFacts { index: Some(1), kind: Some(772), addresses: vec![address("127.0.0.1", 8)] },
            ),
            (
                "eth0".to_owned(),
                InterfaceFacts { index: Some(2), kind: Some(1), addresses: vec![address("192.0.2.25", 24)] },
            ),
            (
                "docker0".to_owned(),
                InterfaceFacts { index: Some(3), kind: Some(1), addresses: vec![address("172.17.0.1", 16)] },
            ),
        ]
        .into(),
        routes: Some(vec![
            route("0.0.0.0", 0, "eth0"),
            route("192.0.2.0", 24, "eth0"),
            route("172.17.0.0", 16, "docker0"),
        ]),
        policy_routing: false,
        cgroups: [("system.slice".to_owned(), 77)].into(),
    }
}

fn incoming(port: u16) -> Packet {
    Packet {
        direction: Direction::In,
        protocol: "tcp".to_owned(),
        source: "203.0.113.9".parse().unwrap(),
        destination: "192.0.2.25".parse().unwrap(),
        source_port: None,
        destination_port: Some(port),
        interface_in: Some("eth0".to_owned()),
        interface_out: None,
        state: "new".to_owned(),
        uid: None,
        gid: None,
        mark: 0,
        cgroup: None,
    }
}

fn outgoing(port: u16, uid: Option<u32>) -> Packet {
    Packet {
        direction: Direction::Out,
        source: "192.0.2.25".parse().unwrap(),
        destination: "203.0.113.9".parse().unwrap(),
        interface_in: None,
        interface_out: Some("eth0".to_owned()),
        uid,
        gid: uid,
        ..incoming(port)
    }
}

fn verdict(ruleset: &Ruleset, packet: &Packet) -> FilterVerdict {
    evaluate(std::slice::from_ref(ruleset), packet, &around()).verdict
}

fn unknown(verdict: &FilterVerdict) -> bool {
    matches!(verdict, FilterVerdict::Unknown { .. })
}

#[test]
fn the_rule_that_decides_is_named_with_its_place() {
    let ruleset = filter("[7:420] -A INPUT -p tcp -m tcp --dport 25 -m comment --comment \"no mail\" -j DROP\n");
    let answer = evaluate(&[ruleset], &incoming(25), &around());
    assert_eq!(answer.verdict, FilterVerdict::Drop);
    let by = answer.by.unwrap();
    assert_eq!(
        (by.table.as_str(), by.chain.as_str(), by.position, by.packets),
        ("legacy ip filter", "INPUT", 1, Some(7))
    );
    assert_eq!(by.comment.as_deref(), Some("no mail"));
    assert_eq!(by.text, "-p tcp -m tcp --dport 25 -m comment --comment \"no mail\" -j DROP");
    assert!(!by.by_sender);
}

#[test]
fn what_is_not_known_matters_only_where_the_answer_depends_on_it() {
    let high = "-A INPUT -p tcp -m tcp --sport 1024:65535 --dport 25 -j ACCEPT\n";
    assert_eq!(verdict(&filter(high), &incoming(25)), FilterVerdict::Pass, "both ways pass");
    let ruleset = filter(&format!("{high}-A INPUT -p tcp -m tcp --dport 25 -j DROP\n"));
    let answer = evaluate(std::slice::from_ref(&ruleset), &incoming(25), &around());
    assert!(unknown(&answer.verdict));
    assert_eq!(answer.by.unwrap().position, 1, "the rule of which the match is not known");
    let known = Packet { source_port: Some(40_000), ..incoming(25) };
    assert_eq!(verdict(&ruleset, &known), FilterVerdict::Pass);
    assert_eq!(verdict(&ruleset, &incoming(26)), FilterVerdict::Pass, "the rule is not for this port");

    let strange =
        "-A INPUT -p tcp -m geoip --source-country XX -j DROP\n-A INPUT -p udp -m string --string x -j DROP\n";
    assert!(unknown(&verdict(&filter(strange), &incoming(25))));
    let all_drop = filter(&format!("{strange}-A INPUT -j DROP\n"));
    assert_eq!(verdict(&all_drop, &incoming(25)), FilterVerdict::Drop, "it is dropped either way");
}

#[test]
fn a_rule_by_user_stops_that_user_alone() {
    let ruleset = filter(
        "-A OUTPUT -p tcp -m tcp --dport 25 -m owner --uid-owner 101 -j ACCEPT\n\
         -A OUTPUT -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset\n",
    );
    assert_eq!(verdict(&ruleset, &outgoing(25, Some(101))), FilterVerdict::Pass);
    let with = "tcp reset".to_owned();
    assert_eq!(verdict(&ruleset, &outgoing(25, Some(0))), FilterVerdict::Reject { with });
    assert!(unknown(&verdict(&ruleset, &outgoing(25, None))));
    let difference = compare_senders(&[ruleset], &outgoing(25, Some(101)), &around());
    assert!(difference.differs);
    assert_eq!(difference.by.unwrap().position, 1);

    let against = filter("-A OUTPUT -m owner --uid-owner 101 -j DROP\n");
    let difference = compare_senders(&[against], &outgoing(25, Some(101)), &around());
    assert!(difference.differs && difference.by.unwrap().by_sender);
    let for_all = filter("-A OUTPUT -p tcp -m tcp --dport 25 -j DROP\n");
    assert!(!compare_senders(&[for_all], &outgoing(25, Some(101)), &around()).differs);
}

#[test]
fn an_accept_ends_its_own_chain_only() {
    let first = rules("*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n");
    let second = filter("-A INPUT -p tcp -m tcp --dport 25 -j DROP\n");
    assert_eq!(evaluate(&[first, second], &incoming(25), &around()).verdict, FilterVerdict::Drop);
}

#[test]
fn what_is_published_by_dnat_skips_input() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 25 -j DNAT --to-destination 172.17.0.2:2525\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n-A FORWARD -o docker0 -j DOCKER\n\
        -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 2525 -j ACCEPT\nCOMMIT\n";
    let answer = evaluate(&[rules(text)], &incoming(25), &around());
    assert_eq!(answer.verdict, FilterVerdict::Pass);
    let to = answer.rewritten_to.unwrap();
    assert_eq!((to.address, to.port), ("172.17.0.2".parse().ok(), Some(2525)));
    assert_eq!(to.by.manager.as_deref(), Some("docker"));
    let hooks: Vec<&str> = answer.walk.iter().map(|step: &FilterStep| step.hook.as_str()).collect();
    assert!(hooks.contains(&"forward") && !hooks.contains(&"input"));
    assert_eq!(verdict(&rules(text), &incoming(26)), FilterVerdict::Drop, "what is not published meets input");

    // With a mark that is not known, it may go either way.
    let perhaps =
        text.replace("! -i docker0 -p tcp -m tcp --dport 25", "-p tcp -m tcp --dport 25 -m geoip --source-country XX");
    assert!(unknown(&verdict(&rules(&perhaps), &incoming(25))));
}

#[test]
fn a_translation_to_what_it_has_already_is_none() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j REDIRECT --to-ports 25\nCOMMIT\n\
        *filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate DNAT -j DROP\nCOMMIT\n";
    let answer = evaluate(&[rules(text)], &incoming(25), &around());
    assert_eq!((answer.verdict, answer.rewritten_to), (FilterVerdict::Pass, None));
    let answer = evaluate(&[rules(text)], &incoming(26), &around());
    assert_eq!(answer.verdict, FilterVerdict::Drop);
    assert_eq!(answer.rewritten_to.unwrap().port, Some(25));
}

#[test]
fn quiet_senders_pass_what_counts_and_reverse_paths_are_followed() {
    let counted = filter(
        "-A INPUT -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW -m recent --set --name DEFAULT --mask 255.255.255.255 --rsource\n\
         -A INPUT -p tcp -m tcp --dport 25 -m recent --update --seconds 30 --hitcount 6 --name DEFAULT --rsource -j DROP\n",
    );
    assert_eq!(verdict(&counted, &incoming(25)), FilterVerdict::Pass);
    let listed = filter("-A INPUT -m recent --rcheck --name bad --rsource -j DROP\n");
    assert!(unknown(&verdict(&listed, &incoming(25))), "who is in a list without a count is not known");
    let strict = rules("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n");
    assert_eq!(verdict(&strict, &incoming(25)), FilterVerdict::Pass);
    let wrong_side = Packet { interface_in: Some("docker0".to_owned()), ..incoming(25) };
    assert_eq!(verdict(&strict, &wrong_side), FilterVerdict::Drop);
    let blind = Surroundings { routes: None, ..around() };
    assert!(unknown(&evaluate(&[strict], &incoming(25), &blind).verdict));
}

#[test]
fn what_a_host_sends_to_itself_goes_out_and_comes_in() {
    let to_self = Packet {
        source: "127.0.0.1".parse().unwrap(),
        destination: "127.0.0.1".parse().unwrap(),
        interface_out: None,
        ..outgoing(10_024, Some(101))
    };
    let input = filter("-A INPUT -i lo -p tcp -m tcp --dport 10024 -j DROP\n");
    assert_eq!(verdict(&input, &to_self), FilterVerdict::Drop);
    let lets = filter("-A INPUT -i lo -j ACCEPT\n-A INPUT -j DROP\n");
    assert_eq!(verdict(&lets, &to_self), FilterVerdict::Pass);
    // Redirected in output, it comes in by loopback.
    let redirected = rules(
        "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 25 -j REDIRECT --to-ports 2525\nCOMMIT\n\
         *filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i lo -p tcp -m tcp --dport 2525 -j DROP\nCOMMIT\n",
    );
    assert_eq!(verdict(&redirected, &outgoing(25, Some(101))), FilterVerdict::Drop);
}

#[test]
fn conntrack_has_seen_nothing_before_it_is_called() {
    let text = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate NEW -j DROP\n\
        -A PREROUTING -p tcp -m tcp --dport 26 -j CT --notrack\nCOMMIT\n\
        *filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\nCOMMIT\n";
    assert_eq!(verdict(&rules(text), &incoming(25)), FilterVerdict::Pass);
    assert_eq!(verdict(&rules(text), &incoming(26)), FilterVerdict::Drop, "what is not tracked is not new");
    let established = Packet { state: "established".to_owned(), ..incoming(25) };
    assert_eq!(verdict(&rules(text), &established), FilterVerdict::Pass);
}

#[test]
fn chains_that_jump_in_a_circle_end() {
    let mut text = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
    for at in 0..6 {
        let _ = writeln!(text, ":c{at} - [0:0]");
    }
    text.push_str("-A INPUT -j c0\n");
    for from in 0..6 {
        for to in 0..6 {
            let _ = writeln!(text, "-A c{from} -p tcp -j c{to}");
        }
    }
    text.push_str("COMMIT\n");
    assert!(unknown(&verdict(&rules(&text), &incoming(25))));
    assert!(unknown(&verdict(&rules(&text.replace("-j c", "-g c")), &incoming(25))));
    assert_eq!(verdict(&rules(&text), &Packet { protocol: "udp".to_owned(), ..incoming(25) }), FilterVerdict::Pass);
}

#[test]
fn a_hundred_thousand_rules_are_walked_once() {
    let mut text = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
    for at in 0..100_000 {
        let _ = writeln!(text, "-A INPUT -s 198.{}.{}.0/24 -j DROP", at / 256 % 256, at % 256);
    }
    text.push_str("-A INPUT -p tcp -m tcp --dport 25 -j REJECT\nCOMMIT\n");
    let answer = evaluate(&[rules(&text)], &incoming(25), &around());
    assert!(matches!(answer.verdict, FilterVerdict::Reject { .. }));
    assert_eq!(answer.by.unwrap().position, 100_001);
}

#[test]
fn what_was_left_out_may_decide() {
    let mut ruleset = filter("-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT\n");
    let table = Some("legacy ip filter".to_owned());
    let (what, why) = ("line 9".to_owned(), "it is longer than any rule".to_owned());
    ruleset.left_out.push(crate::ruleset::LeftOut { what, why, table, rules: true });
    assert!(unknown(&verdict(&ruleset, &incoming(25))));
    assert_eq!(verdict(&rules(""), &incoming(25)), FilterVerdict::Pass, "no rules, no filter");
}

#[test]
fn a_program_in_the_way_is_told() {
    let ruleset = filter("-A INPUT -p tcp -m tcp --dport 25 -j NFQUEUE --queue-num 3\n");
    assert_eq!(verdict(&ruleset, &incoming(25)), FilterVerdict::Queue);
}

#[test]
fn an_interface_that_is_not_known_is_unknown() {
    let ruleset = filter("-A INPUT -i eth1 -j DROP\n");
    assert_eq!(verdict(&ruleset, &incoming(25)), FilterVerdict::Pass);
    assert!(unknown(&verdict(&ruleset, &Packet { interface_in: None, ..incoming(25) })));
}

#[test]
fn a_way_that_a_rule_may_change_is_not_told_as_walked() {
    let tproxy = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 25 -j TPROXY --on-port 2525 --on-ip 0.0.0.0\nCOMMIT\n\
                  *filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let through =
        Packet { direction: Direction::Forward, destination: "203.0.113.77".parse().unwrap(), ..incoming(25) };
    assert!(unknown(&verdict(&rules(tproxy), &through)), "it may come to a socket of this host");
    assert_eq!(verdict(&rules(tproxy), &Packet { destination_port: Some(26), ..through }), FilterVerdict::Drop);
}

#[test]
fn extension_headers_and_helpers_are_not_an_ordinary_packets() {
    let ufw = filter(
        "-A INPUT -m rt --rt-type 0 -j DROP\n-A INPUT -m frag ! --fragid 1 -j DROP\n-A INPUT -m helper --helper ftp -j DROP\n",
    );
    assert_eq!(verdict(&ufw, &incoming(25)), FilterVerdict::Pass);
    let other = filter("-A INPUT -m helper ! --helper ftp -j DROP\n");
    assert_eq!(verdict(&other, &incoming(25)), FilterVerdict::Drop);
    let later = Packet { state: "established".to_owned(), ..incoming(25) };
    assert!(unknown(&verdict(&other, &later)));
}
