//! What is read from whole configurations. The lab compares more of them with a running smtpd.

use super::{grammar, interpret};
use crate::interfaces::Interfaces;
use crate::mta::machine::Machine;
use mxray_model::evidence::{DomainKind, Endpoint, Purpose, Server, TlsMode};
use mxray_model::{Blind, Seen};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn machine() -> Machine {
    Machine {
        host_name: "mail.harbour.example".into(),
        addresses: Seen::Value(["127.0.0.1", "::1", "203.0.113.25"].into_iter().map(address).collect()),
        ipv6: true,
        hosts: BTreeMap::from([("localhost".to_owned(), vec![address("127.0.0.1"), address("::1")])]),
        ports: BTreeMap::new(),
    }
}

fn interfaces() -> Interfaces {
    let one = |name: &str, text: &str| BTreeMap::from([(name.to_owned(), vec![address(text)])]);
    Interfaces {
        four: Seen::Value(one("eth0", "203.0.113.25")),
        six: BTreeMap::from([("eth0".to_owned(), vec![address("2001:db8::1"), address("fe80::1")])]),
    }
}

fn server_with(text: &str, files: &[(&str, &str)], interfaces: &Interfaces) -> Server {
    let read = |path: &str| match files.iter().find(|(name, _)| *name == path) {
        Some((_, "FORBIDDEN")) => {
            Seen::Unknown(Blind::NotPermitted { what: format!("read {path}"), needs: "root".to_owned() })
        }
        Some((_, text)) => Seen::Value(text.as_bytes().to_vec()),
        None => Seen::Absent,
    };
    interpret::server(interpret::Input {
        file: "/etc/smtpd.conf",
        config: grammar::parse("/etc/smtpd.conf", text.as_bytes(), &read),
        machine: &machine(),
        interfaces,
        host_name: "mail.harbour.example".to_owned(),
        read: &read,
    })
}

fn server(text: &str) -> Server {
    server_with(text, &[], &interfaces())
}

fn addresses(server: &Server, key: &str) -> Vec<String> {
    server.wanted[key].addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_package_s_own_configuration_is_a_host_that_only_sends() {
    let read = server(concat!(
        "table aliases file:/etc/aliases\nlisten on localhost\naction \"local\" maildir alias <aliases>\n",
        "action \"relay\" relay\nmatch for local action \"local\"\nmatch from local for any action \"relay\"\n"
    ));
    // The machine has IPv4 alone besides loopback, and the resolver then gives IPv4 alone.
    assert_eq!(addresses(&read, "listen on localhost port 25"), ["127.0.0.1"]);
    assert!(read.wanted.values().all(|listener| listener.is_loopback_only() && listener.at.line == 2));
    assert!(read.egress.sends && read.egress.smarthosts.is_empty());
    let names: Vec<&str> = read.domains.iter().map(|domain| domain.value.name.as_str()).collect();
    assert_eq!(names, ["mail.harbour.example"]);
    assert_eq!(read.size_limit.value().unwrap().value, 35 << 20);
    assert_eq!(read.problems, []);
}

#[test]
fn listeners_have_their_purpose_and_tls() {
    let read = server(concat!(
        "pki a.example cert \"/c\" key \"/k\"\npki b.example cert \"/c2\" key \"/k2\"\n",
        "listen on eth0 tls pki a.example\nlisten on eth0 port 587 tls-require pki a.example auth\n",
        "listen on eth0 smtps pki a.example auth <users>\nlisten on eth0 inet4 port 2525 tag x\nlisten on eth0 inet6 port 26\n"
    ));
    let brief = |port: u16| {
        let listener = read.wanted.values().find(|listener| listener.port == port).unwrap();
        (listener.purpose, listener.tls, listener.addresses.len())
    };
    assert_eq!(brief(25), (Purpose::Relay, TlsMode::Starttls, 2));
    assert_eq!(brief(587), (Purpose::Submission, TlsMode::StarttlsRequired, 2));
    assert_eq!(brief(465), (Purpose::Submissions, TlsMode::Implicit, 2));
    assert_eq!(brief(2525), (Purpose::Other, TlsMode::None, 1));
    assert_eq!(brief(26), (Purpose::Other, TlsMode::None, 1));
    let [a, b] = read.certificates.as_slice() else { panic!("{:?}", read.certificates) };
    assert_eq!((a.chain.value.as_str(), a.services.len(), a.names.len()), ("/c", 3, 0));
    assert!(b.services.is_empty() && b.names.contains("b.example"));
}

#[test]
fn domains_are_those_that_others_may_send_to() {
    let read = server_with(
        concat!(
            "table list { a.example, \"b.example\" }\ntable file file:/d\ntable db db:/d.db\ntable gone file:/gone\n",
            "action l maildir\naction v lmtp \"/run/lmtp\"\naction r relay host smtp://192.0.2.1\n",
            "match from any for domain <list> action l\nmatch from any for domain <file> action v\n",
            "match from any for domain <db> action r\nmatch for domain inside.example action l\n",
            "match from any auth for domain users.example action r\nmatch from any for domain no.example reject\n",
            "match !from local for domain !x action l\nmatch from any for domain <gone> action l\n"
        ),
        &[("/d", "# x\nc.example\n d.example extra\n")],
        &interfaces(),
    );
    let names: Vec<(&str, DomainKind)> =
        read.domains.iter().map(|domain| (domain.value.name.as_str(), domain.value.kind)).collect();
    assert_eq!(
        names,
        [
            ("a.example", DomainKind::Local),
            ("b.example", DomainKind::Local),
            ("c.example", DomainKind::Virtual),
            ("d.example", DomainKind::Virtual),
            ("db:/d.db", DomainKind::Relay),
        ]
    );
    assert_eq!(read.problems.iter().map(|problem| problem.at.line).collect::<Vec<_>>(), [14, 15]);
    let helper = &read.helpers["lmtp unix:/run/lmtp"];
    assert_eq!(helper.endpoint, Endpoint::Unix { path: "/run/lmtp".into() });
}

#[test]
fn a_rule_that_rejects_all_in_front_of_the_others_is_told() {
    let of = |rules: &str| {
        let text = format!("action l maildir\n{rules}\nmatch from any for domain a.example action l\n");
        server_with(&text, &[], &interfaces())
            .settings
            .get("match reject")
            .and_then(|set| set.at.clone())
            .map(|at| at.line)
    };
    assert_eq!(of("match from any for any reject"), Some(2));
    assert_eq!(of("match !from local for any reject"), Some(2));
    for healthy in [
        "match for any reject",
        "match from any for local action l\nmatch from any for any reject",
        "match from any for domain b.example reject",
        "match from src 192.0.2.1 for any reject",
        "match from any auth for any reject",
        "match from any mail-from \"x@b.example\" for any reject",
        "match !from any for any reject",
    ] {
        assert_eq!(of(healthy), None, "{healthy}");
    }
}

#[test]
fn a_smarthost_is_what_all_other_mail_goes_to() {
    let smart = |rules: &str| {
        let read = server(&format!(
            "action s relay host \"smtp+tls://label@smart.example:587\" src {{ 203.0.113.25 }}\naction t relay host smtps://[192.0.2.7]\n\
             action m relay\n{rules}"
        ));
        let hosts: Vec<String> = read.egress.smarthosts.iter().map(|host| host.value.clone()).collect();
        (hosts, read.egress.sources.len())
    };
    assert_eq!(smart("match for any action s\n"), (vec!["[smart.example]:587".to_owned()], 1));
    assert_eq!(smart("match for any action t\n").0, ["[192.0.2.7]:465"]);
    assert_eq!(smart("match for domain x.example action s\nmatch for any action m\n"), (vec![], 1));
    assert_eq!(smart("match for any action s\nmatch from auth for any action m\n").0, Vec::<String>::new());
}

#[test]
fn what_is_not_understood_is_told_and_never_guessed() {
    for (text, line) in [
        ("listen on eth0 port 25\nlisten on eth0 port 26 newword 7\n", 2),
        ("\nlisten on eth0 port nosuch\n", 2),
        ("listen on wlan7\n", 1),
        ("listen on $lan\n", 1),
        ("frobnicate x\n", 1),
        ("include \"/missing\"\n", 1),
        ("include \"/closed\"\n", 1),
        ("smtp max-message-size \"12X\"\n", 1),
        ("match from any for domain x.example action\n", 1),
    ] {
        let read = server_with(text, &[("/closed", "FORBIDDEN")], &interfaces());
        assert_eq!(read.problems.iter().map(|problem| problem.at.line).collect::<Vec<_>>(), [line], "{text}");
        assert!(read.wanted.values().all(|listener| listener.port == 25 || listener.addresses.is_empty()), "{text}");
    }
    let blind = Interfaces { four: Seen::not_attempted("refused"), six: BTreeMap::new() };
    let read = server_with("listen on eth0\n", &[], &blind);
    assert!(read.wanted["listen on eth0 port 25"].addresses.is_empty() && read.problems.len() == 1);
}

#[test]
fn secrets_stay_where_they_are() {
    let read = server(concat!(
        "srs key \"s3cret\"\nqueue encryption s3cret\nsrs key s3cret s3cret {\nlisten on eth0 s3cret\n",
        "}\ntable creds { l = \"u:s3cret\", }\nlisten on lo port 2 auth { u = s3cret }\nbogus s3cret\n"
    ));
    assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
}

#[test]
fn includes_end() {
    let loops = "include \"/etc/smtpd.conf\"\ninclude \"/etc/smtpd.conf\"\nlisten on eth0\n";
    let read = server_with(loops, &[("/etc/smtpd.conf", loops)], &interfaces());
    assert!(!read.problems.is_empty() && read.problems.len() <= 100);
    let inner = server_with("include \"/a\"\nlisten on $if\n", &[("/a", "if = eth0\n")], &interfaces());
    assert_eq!(addresses(&inner, "listen on eth0 port 25"), ["203.0.113.25", "2001:db8::1"]);
}

#[test]
fn a_hostile_size_is_bounded() {
    let mut text = String::from("table d { ");
    for number in 0..60_000 {
        text.push_str(&format!("d{number}.example, "));
    }
    text.push_str("}\naction l maildir\nmatch from any for domain <d> action l\n");
    let read = server(&text);
    assert_eq!(read.domains.len(), 10_000);
    let many = "x y\n".repeat(50_000);
    assert_eq!(server(&many).problems.len(), 100);
}

proptest! {
    #[test]
    fn no_configuration_panics(text in "(listen on |match |for |from |any|domain |action |relay |host |table |pki |[a-z<>{}!=,\"'$\\\\ \n0-9./:@]){0,60}") {
        let _ = server(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = grammar::parse("/x", &bytes, &|_| Seen::Absent);
    }
}

#[test]
fn what_is_said_in_helo() {
    let names = |text: &str| -> Vec<String> { server(text).egress.hello.into_iter().map(|name| name.value).collect() };
    assert_eq!(names("action \"out\" relay\nmatch for any action \"out\"\n"), ["mail.harbour.example"]);
    assert_eq!(names("action \"out\" relay helo a.example\nmatch for any action \"out\"\n"), ["a.example"]);
    let by_source = "action \"out\" relay helo-src { 203.0.113.25 = a.example }\nmatch for any action \"out\"\n";
    assert!(names(by_source).is_empty());
}
