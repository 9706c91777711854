//! `ports plan`, `free`, `doc` and `diff` as a user meets them, on this machine as it is: a socket that the test holds is in the way,
//! and nothing else is counted on.

use super::{Scratch, run, talk, text};
use std::net::TcpListener;

fn json(words: &[&str]) -> (i32, serde_json::Value) {
    let output = run(words);
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{words:?}: {error}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code().unwrap(), answer)
}

fn codes(answer: &serde_json::Value) -> Vec<String> {
    let reasons = answer["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_port_that_is_held_is_a_no_with_the_holder_and_another_port() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let (code, answer) = json(&["ports", "plan", "newcomer", &port, "--address", "127.0.0.1", "--json"]);
    assert_eq!((code, answer["answer"].as_str()), (1, Some("no")), "{answer}");
    assert!(codes(&answer).contains(&"listener".to_owned()), "{answer}");
    let pids = answer["reasons"][0]["pids"].as_array().unwrap();
    assert!(pids.contains(&std::process::id().into()), "{answer}");
    let proposed = answer["proposal"].as_u64().unwrap();
    assert_ne!(proposed.to_string(), port);
    assert_eq!(answer["edits_for"], answer["proposal"]);
    let parts: Vec<&str> =
        answer["edits"].as_array().unwrap().iter().map(|edit| edit["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["daemon", "firewall", "documentation", "test"]);
    // What is proposed is what would be answered.
    let (_, again) = json(&["ports", "plan", "newcomer", &proposed.to_string(), "--address", "127.0.0.1", "--json"]);
    assert_eq!(again["now"], "yes", "{again}");
    // Another loopback address is nobody's.
    let (_, apart) = json(&["ports", "plan", "newcomer", &port, "--address", "127.0.0.2", "--json"]);
    assert_eq!(apart["now"], "yes", "{apart}");
    let said = text(&run(&["ports", "plan", "newcomer", &port, "--address", "127.0.0.1"]).stdout);
    for word in [
        "\nNo.\n",
        "EADDRINUSE",
        "\nWhy\n",
        "\nInstead: port ",
        "\n1. daemon",
        "\n2. firewall",
        "\n3. documentation",
        "\n4. test",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn free_and_dynamic_leave_out_what_is_held() {
    let held = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let (code, answer) = json(&["ports", "free", &port.to_string(), "--json"]);
    assert_eq!((code, answer["rows"][0]["free"].as_bool()), (1, Some(false)), "{answer}");
    assert_eq!(answer["schema"], "mxray/ports-free/1");
    let (code, answer) = json(&["ports", "plan", "newcomer", "--dynamic", &format!("{port}-{port}"), "--json"]);
    assert_eq!((code, answer["answer"].as_str()), (1, Some("no")), "{answer}");
    let (code, ten) = json(&["ports", "free", "--json"]);
    let rows = ten["rows"].as_array().unwrap();
    assert_eq!((code, rows.len()), (0, 10), "{ten}");
    assert!(rows.iter().all(|row| row["free"] == true), "{ten}");
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    for words in [
        &["ports", "plan"][..],
        &["ports", "plan", "x"],
        &["ports", "plan", "x", "0"],
        &["ports", "plan", "x", "70000"],
        &["ports", "plan", "x", "no-such-service"],
        &["ports", "plan", "x", "25", "--dynamic", "10-20"],
        &["ports", "plan", "x", "25", "--address", "mail.example.org"],
        &["ports", "plan", "x", "25", "--address", "::1", "--v6", "none"],
        &["ports", "plan", "x", "25", "--exposure", "10.0.0.0/99"],
        &["ports", "plan", "x", "25", "--user", "no-such-user-here"],
        &["ports", "plan", "x", "25", "--unit", "no-such-unit-here.service"],
        &["ports", "plan", "", "25"],
        &["ports", "free", "20-10"],
        &["ports", "free", "--count", "0"],
        &["ports", "doc", "--format", "pdf"],
        &["ports", "diff", "a.json"],
        &["ports", "diff", "-", "-"],
        &["ports", "diff", "/nonexistent/a", "/nonexistent/b"],
    ] {
        assert!(!talk(&run(words), 64).is_empty(), "{words:?}");
    }
}

#[test]
fn a_file_with_a_mistake_ends_the_plan() {
    let scratch = Scratch::new("ports-plan");
    let file = scratch.file("ports.toml", "version = 1\n[[service]]\nnaem = \"x\"\n");
    let said = talk(&run(&["ports", "plan", "x", "2525", "--file", file.to_str().unwrap()]), 64);
    assert!(said.contains("ports.toml") && said.contains("naem"), "{said}");
    let file = scratch.file("good.toml", "version = 1\n[[forbidden]]\nport = 2525\nreason = \"ours\"\n");
    let (code, answer) = json(&["ports", "plan", "x", "2525", "--file", file.to_str().unwrap(), "--json"]);
    assert_eq!((code, answer["answer"].as_str()), (1, Some("no")), "{answer}");
    assert!(codes(&answer).contains(&"forbidden".to_owned()), "{answer}");
    let page = text(&run(&["ports", "doc", "--file", file.to_str().unwrap(), "--format", "html"]).stdout);
    assert!(page.starts_with("<!doctype html>") && page.contains("2525/tcp") && page.contains("ours"), "{page}");
}

#[test]
fn two_reports_of_one_moment_do_not_differ_and_a_new_listener_does() {
    let scratch = Scratch::new("ports-diff");
    let report = |listeners: &str| {
        format!(
            "{{\"schema\":\"mxray/report/1\",\"started\":\"2026-05-01T00:00:00Z\",\"took_ms\":1,\
             \"question\":{{\"command\":\"doctor\",\"targets\":[]}},\"evidence\":{{\"servers\":\"absent\",\"units\":\"absent\",\
             \"bystanders\":\"absent\",\"assignments\":\"absent\",\"sockets\":{{\"value\":{{\"listeners\":{{{listeners}}}}}}}}}}}"
        )
    };
    let one = "\"tcp/127.0.0.1:25\":{\"protocol\":\"tcp\",\"address\":\"127.0.0.1\",\"port\":25,\"v6_only\":\"absent\",\"uid\":0,\
               \"inode\":1,\"unit\":{\"value\":\"postfix.service\"},\"owners\":\"absent\",\"queue\":\"absent\",\"drops\":\"absent\"}";
    let (a, b) = (scratch.file("a.json", &report("")), scratch.file("b.json", &report(one)));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let (code, same) = json(&["ports", "diff", b, b, "--json"]);
    assert_eq!((code, same["rows"].as_array().map(Vec::len)), (0, Some(0)), "{same}");
    let output = run(&["ports", "diff", a, b]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("+ 25/tcp listener: postfix.service on 127.0.0.1 (loopback)"),
        "{}",
        text(&output.stdout)
    );
    let broken = scratch.file("c.json", "{\"schema\":\"other/1\"}");
    assert!(talk(&run(&["ports", "diff", a, broken.to_str().unwrap()]), 64).contains("other/1"));
}
