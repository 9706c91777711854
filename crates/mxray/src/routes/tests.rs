//! What is printed of answers that were made here, and what the machine itself gives.

use super::look::{Answers, Asker, Listing, Row};
use super::{RoutesArgs, json, mark, text};
use crate::sockets::Format;
use mxray_host::routes::{Answer, Errno, Hop, Kind, Link, Links, MAIN, Neighbour, Question, Route, Tables};
use mxray_model::Seen;
use mxray_model::evidence::Refuser;
use std::collections::BTreeMap;

fn route(destination: &str) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        from: None,
        tos: 0,
        table: MAIN,
        protocol: 3,
        scope: 0,
        kind: Kind::Unicast,
        metric: 0,
        hops: vec![Hop { gateway: Some("203.0.113.1".parse().unwrap()), interface: 2, flags: 0, weight: 0 }],
        prefer_source: Some("203.0.113.25".parse().unwrap()),
        next_hop_id: None,
        mtu: Some(1400),
        mtu_locked: true,
        expires_ms: Some(590_000),
        cached: false,
    }
}

fn tables() -> Tables {
    let link = Link { index: 2, name: "eth0".to_owned(), flags: 0x10043, mtu: 1500, ..Link::default() };
    Tables { links: Links(BTreeMap::from([(2, link)])), ..Tables::default() }
}

fn row(answer: Option<Answer>) -> Row {
    let destination = "192.0.2.25".parse().unwrap();
    let neighbour = answer.as_ref().filter(|answer| answer.outcome.is_ok()).map(|_| Neighbour {
        address: "203.0.113.1".parse().unwrap(),
        interface: 2,
        state: 0x20,
        hardware: None,
        updated_ms: Some(4000),
    });
    Row {
        asked: "192.0.2.25".to_owned(),
        question: Question { destination, source: None, uid: Some(107), mark: 0, port: 25 },
        asker: Asker {
            uid: Some(107),
            user: "postfix".to_owned(),
            server: Some("postfix".to_owned()),
            sources: vec![],
        },
        answer,
        refuser: Seen::Absent,
        rule: Some("32766: from all lookup main".to_owned()),
        neighbour,
    }
}

fn rows() -> Answers {
    let sent = row(Some(Answer { outcome: Ok(route("192.0.2.25/32")), matched: Some(route("192.0.2.0/24")) }));
    let mut refused = row(Some(Answer { outcome: Err(Errno::INVAL), matched: None }));
    refused.refuser = Seen::Value(Refuser {
        is_rule: false,
        text: "blackhole 192.0.2.0/24".to_owned(),
        delete: "ip route del blackhole 192.0.2.0/24".to_owned(),
        add: "ip route add blackhole 192.0.2.0/24".to_owned(),
        network: Some("192.0.2.0/24".to_owned()),
        protocol: "boot".to_owned(),
    });
    let mut elsewhere = row(None);
    elsewhere.question.source = Some("203.0.113.77".parse().unwrap());
    Answers { rows: vec![sent, refused, elsewhere], tables: tables(), unseen: Vec::new() }
}

#[test]
fn an_answer_says_way_source_gateway_and_path_mtu() {
    let mut out = Vec::new();
    text::answers(&rows(), &mut out);
    let wanted = "\
192.0.2.25, port 25, for postfix (uid 107), as postfix sends
  way      via 203.0.113.1 on eth0
  route    192.0.2.0/24 in table main, by rule 32766: from all lookup main
  source   203.0.113.25
  gateway  failed, changed 4 s ago
  mtu      1400, learnt from the path, for another 9 min, locked: what routers say of the path is ignored
192.0.2.25, port 25, for postfix (uid 107), as postfix sends
  refused  programs get EINVAL (Invalid argument)
  by       the route blackhole 192.0.2.0/24
  remove   ip route del blackhole 192.0.2.0/24
192.0.2.25, port 25, for postfix (uid 107) from 203.0.113.77, as postfix sends
  refused  203.0.113.77 is not an address of this host: bind gives EADDRNOTAVAIL
           (Cannot assign requested address), unless net.ipv4.ip_nonlocal_bind permits it
";
    assert_eq!(String::from_utf8(out).unwrap(), wanted);
}

#[test]
fn json_says_the_same_with_units_in_its_names() {
    let mut out = Vec::new();
    json::answers(&rows(), Format::Json, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["schema"], "mxray/routes/1");
    let rows = value["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["matched"], &rows[0]["mtu_bytes"], &rows[0]["mtu_learnt"]),
        (&"192.0.2.0/24".into(), &1400.into(), &true.into())
    );
    assert_eq!(rows[0]["neighbour"]["state"], "failed");
    assert_eq!((&rows[1]["refusal"], &rows[1]["errno"]), (&"blackhole".into(), &"EINVAL".into()));
    assert_eq!(rows[2]["refusal"], "source_missing");
    let mut lines = Vec::new();
    json::answers(&self::rows(), Format::Ndjson, &mut lines);
    assert_eq!(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), 3);
}

#[test]
fn this_machine_is_listed_both_ways() {
    let Ok(listing) = Listing::look(true) else {
        let mut stderr = std::io::stderr();
        let _ = std::io::Write::write_all(&mut stderr, b"skipped: this_machine_is_listed_both_ways: no netlink here\n");
        return;
    };
    let mut out = Vec::new();
    json::listing(&listing, Format::Json, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let kinds = |kind: &str| value["rows"].as_array().unwrap().iter().filter(|row| row["kind"] == kind).count();
    assert_eq!(kinds("route"), listing.tables.routes.len());
    assert_eq!(kinds("rule"), listing.tables.rules.len());
    let mut out = Vec::new();
    text::listing(&listing, &mut out);
    let lines = String::from_utf8(out).unwrap();
    assert!(lines.contains("outes of IPv4"), "{lines}");
    let narrow = String::from_utf8(text::fitted(lines.as_bytes(), 20)).unwrap();
    assert!(narrow.lines().all(|line| line.chars().count() <= 20), "{narrow}");
}

#[test]
fn what_names_nothing_is_bad_usage() {
    let args = |words: &[&str]| RoutesArgs {
        destinations: words.iter().map(|w| (*w).to_owned()).collect(),
        ..RoutesArgs::default()
    };
    for wrong in ["nosuch.invalid", "192.0.2.0/33", "\u{1b}[2J"] {
        match Answers::ask(&args(&[wrong])) {
            Err(super::look::Stop::Usage(why)) => assert!(!why.contains('\u{1b}'), "{why:?}"),
            _ => panic!("{wrong} was taken for a destination"),
        }
    }
    assert_eq!((mark("0x10"), mark("16")), (Ok(16), Ok(16)));
    assert!(mark("x").is_err() && mark("0x1ffffffff").is_err());
}
