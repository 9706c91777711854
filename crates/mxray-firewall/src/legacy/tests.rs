//! What iptables-save writes, read; its bounds.

use super::*;
use crate::ruleset::Verdict;
use crate::xt::{Conntrack, PortSide, Target};
use std::io::Read;

fn one(rule: &str) -> Vec<Expression> {
    let text = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {rule}\nCOMMIT\n");
    let ruleset = parse(Family::Ip, &mut text.as_bytes());
    assert_eq!(ruleset.left_out, []);
    ruleset.tables[0].chains[0].rules[0].expressions.clone()
}

#[test]
fn options_are_read_with_their_negations() {
    assert_eq!(
        one("! -s 10.0.0.0/8 -p tcp -m multiport ! --dports 25,465:470 -j DROP"),
        [
            Expression::Match(Match::Source {
                address: "10.0.0.0".parse().unwrap(),
                mask: "255.0.0.0".parse().unwrap(),
                inverted: true
            }),
            Expression::Match(Match::Protocol { number: 6, inverted: false }),
            Expression::Match(Match::MultiPort {
                which: PortSide::Destination,
                spans: vec![(25, 25), (465, 470)],
                inverted: true
            }),
            Expression::Verdict(Verdict::Drop),
        ]
    );
    assert_eq!(
        one("-m conntrack ! --ctstate RELATED,ESTABLISHED -g other"),
        [
            Expression::Match(Match::Conntrack(Box::new(Conntrack { state: Some((6, true)), ..Conntrack::default() }))),
            Expression::Verdict(Verdict::Goto("other".to_owned())),
        ]
    );
    assert_eq!(
        one("-p tcp -m tcp --dport smtp -j DNAT --to-destination 10.0.0.1-10.0.0.3:25-30").last(),
        Some(&Expression::Target(Target::Destination {
            low: "10.0.0.1".parse().ok(),
            high: "10.0.0.3".parse().ok(),
            ports: Some((25, 30))
        }))
    );
}

#[test]
fn a_quoted_text_is_no_option() {
    let read = one(r#"-m comment --comment "it said \"-j DROP\"" -j LOG --log-prefix "-j ACCEPT ""#);
    assert_eq!(read[0], Expression::Match(Match::Comment("it said \"-j DROP\"".to_owned())));
    assert_eq!(read[1..], [Expression::Target(Target::Continues { name: "LOG".to_owned() })]);
}

#[test]
fn what_is_not_understood_is_kept_as_unknown() {
    let unknown = |name: &str| Expression::Match(Match::Unknown { name: name.to_owned() });
    assert_eq!(one("-m set --match-set f2b-sshd src -j DROP")[0], unknown("set"));
    assert_eq!(one("-m owner --uid-owner postfix -j DROP")[0], unknown("owner"), "a name is nobody's number here");
    assert_eq!(one("-m tcp --dport 25 --strange -j DROP")[0], unknown("tcp"));
    assert_eq!(one("-s mail.example.org -j DROP")[0], unknown("-s"));
    assert_eq!(one("-j NETMAP --to 10.0.0.0/8"), [Expression::Target(Target::Unknown { name: "NETMAP".to_owned() })]);
}

#[test]
fn lines_that_are_no_rules_are_told_of() {
    let text =
        format!("*filter\n:INPUT ACCEPT\n-D INPUT 1\n-A INPUT {}\nCOMMIT\n-A INPUT -j DROP\n", "x".repeat(40_000));
    let ruleset = parse(Family::Ip, &mut text.as_bytes());
    let left: Vec<(&str, Option<&str>)> =
        ruleset.left_out.iter().map(|left| (left.what.as_str(), left.table.as_deref())).collect();
    let table = Some("legacy ip filter");
    assert_eq!(left, [("line 3", table), ("line 4", table), ("line 6", None)]);
}

/// A file that is never whole in memory.
struct Repeated {
    line: &'static [u8],
    left: usize,
}

impl Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.fill_buf()?;
        let len = piece.len().min(into.len());
        into[..len].copy_from_slice(&piece[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Repeated {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(if self.left == 0 { &[] } else { self.line })
    }

    fn consume(&mut self, amount: usize) {
        if amount == self.line.len() {
            self.left -= 1;
        }
    }
}

#[test]
fn fifty_megabytes_are_read_within_the_limits() {
    const LINE: &[u8] = b"-A INPUT -s 192.0.2.0/24 -p tcp -j DROP\n";
    let head = &b"*filter\n:INPUT ACCEPT [0:0]\n"[..];
    let mut text = head.chain(Repeated { line: LINE, left: 50_000_000 / LINE.len() });
    let ruleset = parse(Family::Ip, &mut text);
    assert_eq!(ruleset.tables[0].chains[0].rules.len(), RULES_MAX);
    assert_eq!(ruleset.left_out.len(), 1);
    assert_eq!(ruleset.left_out[0].what, format!("line {} and what follows", RULES_MAX + 3));
    assert!(ruleset.left_out[0].rules);
}

#[test]
fn the_module_of_the_protocol_need_not_be_named() {
    let expressions = |text: &str| {
        let mut all = Vec::new();
        super::words::expressions(text, false, &mut all);
        all
    };
    let named = expressions("-s 192.0.2.1 -p tcp -m tcp --dport 25 -j ACCEPT");
    assert_eq!(expressions("-p tcp --dport 25 -s 192.0.2.1 -j ACCEPT").len(), named.len());
    for (short, long) in [
        ("-p tcp --dport 25 -j ACCEPT", "-p tcp -m tcp --dport 25 -j ACCEPT"),
        ("-p tcp ! --dport 25 --syn -j DROP", "-p tcp -m tcp ! --dport 25 --syn -j DROP"),
        ("-p 17 --sport 53 -j ACCEPT", "-p 17 -m udp --sport 53 -j ACCEPT"),
        ("-p icmp --icmp-type echo-request -j ACCEPT", "-p icmp -m icmp --icmp-type echo-request -j ACCEPT"),
        ("-p tcp -m tcp --sport 1024: --dport 25 -j DROP", "-p tcp -m tcp --sport 1024: --dport 25 -j DROP"),
    ] {
        assert_eq!(expressions(short), expressions(long), "{short}");
    }
}
