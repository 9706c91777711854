//! `lists` against name servers on loopback: lists that are well, dead, refusing, sold, and resolvers that make answers up.

use super::dns::{self, Reply, Server};
use super::{Scratch, mxray, text};
use serde_json::Value;
use std::net::Ipv4Addr;

const CONFIG: &str = r#"
[lists]
zones = [
    { zone = "well.example", kind = "ipv4", codes = { "127.0.0.2" = "spam" }, tier = 1 },
    { zone = "well.example", kind = "ipv6", codes = { "127.0.0.2" = "spam" }, tier = 2 },
    { zone = "dead.example", kind = "ipv4" },
    { zone = "all.example", kind = "ipv4" },
    { zone = "silent.example", kind = "ipv4" },
    { zone = "names.example", kind = "domain" },
    { zone = "good.example", kind = "allow" },
    { zone = "dnsbl.sorbs.net", kind = "ipv4" },
]
"#;

fn a(name: &str, answer: [u8; 4]) -> Reply {
    dns::found(vec![(name.to_owned(), dns::A, dns::a(Ipv4Addr::from(answer)))])
}

fn zone(name: &str, kind: u16) -> Reply {
    let listed = |zone: &str, entries: &[&str], answer: [u8; 4]| {
        let is = entries.iter().any(|entry| name == format!("{entry}.{zone}"));
        if is && kind == dns::A { a(name, answer) } else { dns::code(dns::NXDOMAIN) }
    };
    if name.ends_with("well.example") {
        if name == "9.2.0.192.well.example" && kind == dns::TXT {
            return dns::found(vec![(
                name.to_owned(),
                kind,
                dns::txt(&[b"see \x1b[31mhttps://well.example".to_vec()]),
            )]);
        }
        let v6 = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
        let test = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0";
        return listed("well.example", &["2.0.0.127", "9.2.0.192", v6, test], [127, 0, 0, 2]);
    }
    if name.ends_with("all.example") {
        return a(name, [127, 0, 0, 2]);
    }
    if name.ends_with("silent.example") {
        return Reply::Silence;
    }
    if name.ends_with("names.example") {
        return listed("names.example", &["test", "bad.xn--bcher-kva.test"], [127, 0, 0, 2]);
    }
    if name.ends_with("good.example") {
        return listed("good.example", &["2.0.0.127", "8.2.0.192"], [127, 0, 0, 2]);
    }
    if name.ends_with("zen.spamhaus.org") {
        // To everybody who asks through an open resolver.
        return a(name, [127, 255, 255, 254]);
    }
    if name.ends_with("bl.spamcop.net") {
        // The domain was sold.
        return a(name, [203, 0, 113, 80]);
    }
    dns::code(dns::NXDOMAIN)
}

fn ask(server: &Server, words: &[&str]) -> (Option<i32>, String) {
    let scratch = Scratch::new(&format!("lists-{}", server.address.port()));
    let file = scratch.file("mxray.toml", CONFIG);
    let (resolver, file) = (server.resolver(), file.to_str().unwrap().to_owned());
    let fixed = ["--config", &file, "lists", "--patience=1", "--deadline=20", &resolver];
    let output = mxray(&[&fixed[..], words].concat()).env("COLUMNS", "80").output().unwrap();
    assert_eq!(text(&output.stderr), "");
    (output.status.code(), text(&output.stdout))
}

fn json(server: &Server, words: &[&str]) -> (Option<i32>, Value) {
    let (code, out) = ask(server, &[&["--json"], words].concat());
    (code, serde_json::from_str(&out).unwrap())
}

fn state<'a>(answer: &'a Value, subject: &str, zone: &str) -> &'a Value {
    let rows = answer["rows"].as_array().unwrap();
    rows.iter()
        .find(|row| row["subject"] == subject && row["zone"] == zone)
        .unwrap_or_else(|| panic!("{zone}: {answer:#}"))
}

#[test]
fn t34_each_list_is_believed_as_far_as_its_test_entries_go() {
    let server = Server::new(zone);
    let (code, answer) = json(&server, &["192.0.2.9"]);
    assert_eq!((code, &answer["schema"]), (Some(1), &"mxray/lists/1".into()));
    let row = |zone: &str| state(&answer, "192.0.2.9", zone);
    let well = row("well.example");
    assert_eq!(
        (&well["state"], &well["severity"], &well["answers"]),
        (&"listed".into(), &"error".into(), &serde_json::json!(["127.0.0.2"]))
    );
    assert_eq!((&well["meanings"][0], &well["health"]), (&"127.0.0.2: spam".into(), &"healthy".into()));
    assert!(well["texts"][0].as_str().unwrap().contains("\\u{1b}"), "{well:#}");
    for (zone, why) in [
        ("dead.example", "dead"),
        ("all.example", "yes to everything"),
        ("silent.example", "does not answer"),
        ("zen.spamhaus.org", "open resolver"),
        ("bl.spamcop.net", "sold"),
    ] {
        let row = row(zone);
        assert_eq!(row["state"], "unknown", "{row:#}");
        assert!(row["why"].as_str().unwrap().contains(why), "{row:#}");
    }
    assert_eq!(row("good.example")["state"], "not_listed");
    let dropped: Vec<&str> =
        answer["dropped"].as_array().unwrap().iter().map(|one| one["zone"].as_str().unwrap()).collect();
    assert!(dropped.contains(&"dnsbl.sorbs.net"));
    assert!(answer["rows"].as_array().unwrap().iter().all(|row| row["zone"] != "dnsbl.sorbs.net"));
    assert!(answer["unseen"].as_array().unwrap().len() >= 5);
}

#[test]
fn ipv6_names_and_allow_lists_each_at_lists_of_their_kind() {
    let server = Server::new(zone);
    let (code, answer) = json(&server, &["2001:db8::9", "bad.b\u{fc}cher.test", "192.0.2.8"]);
    assert_eq!(code, Some(0), "a list of tier 2, one of tier 3, and an allow list: {answer:#}");
    let v6 = state(&answer, "2001:db8::9", "well.example");
    assert_eq!((&v6["state"], &v6["kind"], &v6["severity"]), (&"listed".into(), &"ipv6".into(), &"notice".into()));
    let name = state(&answer, "bad.xn--bcher-kva.test", "names.example");
    assert_eq!((&name["state"], &name["subject_unicode"]), (&"listed".into(), &"bad.b\u{fc}cher.test".into()));
    let good = state(&answer, "192.0.2.8", "good.example");
    assert_eq!((&good["state"], &good["severity"], &good["allow"]), (&"listed".into(), &Value::Null, &true.into()));
    assert_eq!(ask(&server, &["2001:db8::9", "--fail-on", "notice"]).0, Some(1));
}

#[test]
fn t33_a_resolver_that_makes_answers_up_knows_nothing() {
    let server = Server::new(|name, kind| match kind {
        dns::A => a(name, [127, 0, 0, 2]),
        _ => dns::code(dns::NXDOMAIN),
    });
    let (code, answer) = json(&server, &["192.0.2.9"]);
    assert_eq!((code, &answer["resolver_rewrites"]), (Some(2), &serde_json::json!({ "value": true })));
    assert!(answer["rows"].as_array().unwrap().iter().all(|row| row["state"] == "unknown"));
}

#[test]
fn for_a_person_within_80_columns_and_escaped() {
    let server = Server::new(zone);
    let (code, shown) = ask(&server, &["192.0.2.9", "-v"]);
    assert_eq!(code, Some(1));
    for words in
        ["192.0.2.9: on 1 of", "listed    well.example", "unknown   Spamhaus ZEN:", "dnsbl.sorbs.net since 2024-06-05"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn what_is_neither_an_address_nor_a_name_is_said_with_64() {
    for word in ["localhost", "a@b.example", "192.0.2.0/24"] {
        assert_eq!(mxray(&["lists", word]).output().unwrap().status.code(), Some(64), "{word}");
    }
}
