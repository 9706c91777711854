//! How names are asked about: what crashes, what nobody knows, and what is put together.

use super::*;
use mxray_model::evidence::published::MailRoute;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A name server on loopback that gives every question the same answer: this code, and no record.
struct Answering {
    at: std::net::SocketAddr,
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Answering {
    fn with(code: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let flag = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut packet = [0u8; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                // The question comes back as it is, without what stands behind it.
                let mut end = 12;
                while packet[end] != 0 {
                    end += usize::from(packet[end]) + 1;
                }
                let end = (end + 5).min(length);
                packet[2..4].copy_from_slice(&[0x85, 0x80 | code]);
                packet[6..12].fill(0);
                let _ = socket.send_to(&packet[..end], from);
            }
        });
        Answering { at, stop, thread: Some(thread) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = socket.send_to(&[0; 17], self.at);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn own(name: &str) -> Evidence {
    let server: mxray_model::evidence::Server = serde_json::from_value(serde_json::json!({
        "enabled": true, "egress": {"sends": true},
        "domains": [{"value": {"name": name, "kind": "virtual"}, "setting": "virtual_mailbox_domains", "at": null}],
    }))
    .unwrap();
    Evidence { servers: Seen::Value([("postfix".to_owned(), server)].into()), ..Evidence::default() }
}

fn found(evidence: &Evidence, wish: &NamesWish, server: std::net::SocketAddr) -> Found {
    let wish = NamesWish { budget: Duration::from_secs(20), patience: Duration::from_secs(10), ..wish.clone() };
    let latest = Instant::now() + Duration::from_secs(30);
    prepare(evidence, &wish, &Resolver::new(vec![server]), latest).carry_out()
}

fn wish() -> NamesWish {
    NamesWish { own: true, ..NamesWish::default() }
}

#[test]
fn an_own_domain_that_no_zone_knows_is_left_out_and_a_named_one_is_not() {
    let server = Answering::with(3);
    let left = found(&own("made-up.example"), &wish(), server.at);
    assert!(left.names.domains.is_empty(), "{:?}", left.names.domains);
    assert!(left.names.left_out["made-up.example"].contains("no such name"), "{:?}", left.names.left_out);
    let named = NamesWish { domains: vec!["made-up.example".to_owned()], ..wish() };
    let named = found(&own("made-up.example"), &named, server.at);
    assert!(named.names.left_out.is_empty());
    assert!(named.names.domains["made-up.example"].why.contains(&DomainWhy::Asked));
}

#[test]
fn an_own_domain_is_kept_where_it_exists() {
    let server = Answering::with(0);
    let kept = found(&own("quay.example"), &wish(), server.at);
    assert!(kept.names.domains.contains_key("quay.example") && kept.names.left_out.is_empty());
    assert!(kept.lookups.contains_key("MX quay.example"));
}

#[test]
fn nobody_answers_and_nothing_more_is_asked() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = found(&own("quay.example"), &wish(), closed);
    assert_eq!(dead.names.left_out.len(), 1, "{:?}", dead.names);
    assert_eq!(dead.lookups.len(), 1, "{:?}", dead.lookups.keys());
}

#[test]
fn a_piece_that_crashes_costs_itself() {
    let piece = |name: &str, crash: bool| Task {
        name: name.to_owned(),
        work: Box::new(move || {
            assert!(!crash, "broken \x1b table");
            Piece::Rewrites(Seen::Value(false))
        }),
    };
    let tasks: Vec<Task<'_>> = (0..50).map(|n| piece(&format!("t{n}"), n == 7)).collect();
    let ended = side_by_side(&tasks);
    assert_eq!(ended.len(), 50);
    for (name, result) in ended {
        match result {
            Ok(_) => assert_ne!(name, "t7"),
            Err((message, _)) => assert_eq!((name.as_str(), message.as_str()), ("t7", "broken \\u{1b} table")),
        }
    }
}

#[test]
fn each_part_brings_its_own_fields() {
    let planned = Planned { why: [DomainWhy::Asked].into(), ..Planned::default() };
    let base = seed("quay.example", &planned);
    let mut domain = base.clone();
    let routing = mxray_model::evidence::published::MailRouting {
        domain: "quay.example".to_owned(),
        route: MailRoute::Null,
        problems: Vec::new(),
    };
    merge(&mut domain, &base, Domain { route: Seen::Value(routing.clone()), ..base.clone() });
    merge(&mut domain, &base, Domain { spf: Seen::Absent, ..base.clone() });
    assert_eq!((domain.route.value(), domain.spf.is_absent()), (Some(&routing), true));
    assert_eq!(seed("xn--mnchen-3ya.example", &planned).shown.as_deref(), Some("m\u{fc}nchen.example"));
}

fn sending(hello: &str) -> Evidence {
    let mut evidence = own("made-up.example");
    let server = serde_json::json!({
        "enabled": true,
        "egress": {"sends": true, "hello": [{"value": hello, "setting": "smtp_helo_name", "at": null}]},
    });
    evidence.servers = Seen::Value([("postfix".to_owned(), serde_json::from_value(server).unwrap())].into());
    let taken = |source: &str| {
        serde_json::json!({"sent": {"matched": "default", "table": "main", "interface": "eth0", "source": source, "next_hop": null,
            "is_gateway": false, "carrier": true, "neighbour": "absent"}})
    };
    let answer = serde_json::json!({"server": "postfix", "purpose": "sample", "destination": "8.97.33.1", "port": 25,
        "configured": "", "at": null, "uid": null, "source": null, "outcome": {"value": taken("9.9.9.25")}});
    let address = serde_json::json!({"interface": "eth0", "vrf": null, "state": "usable"});
    let routing = serde_json::json!({
        "answers": {"postfix 8.97.33.1": answer},
        "addresses": {"9.9.9.25": address, "9.9.9.26": address, "10.0.0.1": address},
    });
    evidence.routing = Seen::Value(serde_json::from_value(routing).unwrap());
    evidence
}

#[test]
fn t16_the_address_that_mail_leaves_from_is_looked_at_and_spare_ones_beside_it() {
    let server = Answering::with(3);
    let names = found(&sending("mail.made-up.example"), &wish(), server.at).names;
    let sender = &names.senders["9.9.9.25"];
    assert!(sender.pointers.is_absent() && sender.confirmed.is_absent(), "{sender:?}");
    let hello = &sender.hello["mail.made-up.example"];
    assert!(hello.addresses.is_absent() && hello.servers.contains("postfix"), "{hello:?}");
    // An address of an inner network is none that mail could have been meant to leave from.
    assert_eq!(names.spares.keys().collect::<Vec<_>>(), ["9.9.9.26"]);
}

#[test]
fn names_of_an_address_that_nobody_answers_for_are_unknown() {
    let server = Answering::with(2);
    let names = found(&sending("mail.made-up.example"), &wish(), server.at).names;
    let sender = &names.senders["9.9.9.25"];
    assert!(sender.pointers.blind().is_some() && sender.confirmed.blind().is_some(), "{sender:?}");
    assert!(sender.hello["mail.made-up.example"].addresses.blind().is_some());
}
