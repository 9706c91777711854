//! The traps of a session that other tools fell into, each against the whole program: what must not be said, and what must.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by panicking")]

mod common;

use mxray_wire::scenario::Scenario;
use serde_json::Value;
use sinner::Sinner;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A report of one server.
struct Seen(Value);

impl Seen {
    /// Severities by code.
    fn findings(&self) -> BTreeMap<String, String> {
        let all = self.0["findings"].as_array().into_iter().flatten();
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        all.map(|finding| (text(finding, "code"), text(finding, "severity"))).collect()
    }

    fn verdict(&self) -> &str {
        self.0["verdict"].as_str().unwrap_or_default()
    }

    fn unseen(&self, code: &str) -> bool {
        self.0["unseen"].as_array().into_iter().flatten().any(|unseen| unseen["what"] == code)
    }

    fn address(&self) -> &Value {
        let endpoint = self.0["evidence"]["endpoints"].as_object().unwrap().values().next().unwrap();
        endpoint["addresses"].as_object().unwrap().values().next().unwrap()
    }
}

fn probe(name: &str, url: &str, words: &[&str]) -> Seen {
    let scratch = std::env::temp_dir().join(format!("mxray-traps-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let told = common::probe(url, words, &[], (&scratch, name)).unwrap();
    let _ = std::fs::remove_dir_all(&scratch);
    Seen(serde_json::from_str(&told).unwrap())
}

/// A probe of a server that plays this.
fn played(name: &str, scheme: &str, text: &str) -> Seen {
    let server = Sinner::serve(Scenario::parse(text).unwrap()).unwrap();
    probe(name, &format!("{scheme}://{}", server.address), &["--ehlo", "probe.example", "--depth", "tls"])
}

const BUSY: &str = "S: 220 a\nC: EHLO x\nS: 421 4.7.0 too many connections from you\nclose\n";

#[test]
fn t01_busy_in_place_of_the_list_says_nothing_of_what_is_offered() {
    for (name, text) in
        [("busy", BUSY.to_owned()), ("later", BUSY.replace("421", "450").replace("close\n", "C: QUIT\nS: 221 bye\n"))]
    {
        let seen = played(name, "smtp", &text);
        assert!(!seen.findings().contains_key("TLS101"), "{:?}", seen.findings());
        assert!(seen.unseen("TLS101") && seen.verdict() != "healthy", "{}", seen.verdict());
    }
}

#[test]
fn t02_a_delayed_greeting_is_one_notice() {
    let text = "wait: 6000\nS: 220 mail.example ESMTP\nC: EHLO x\nS: 250-a\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\ntls: ok\nC: EHLO x\nS: 250 a\nC: QUIT\nS: 221 bye\n";
    let seen = played("delayed", "smtp", text);
    let found = seen.findings();
    let slow: Vec<&String> = ["SMTP102", "LOOK008"].iter().filter_map(|code| found.get(*code)).collect();
    assert!(!slow.is_empty() && slow.iter().all(|severity| *severity == "notice"), "{found:?}");
    assert!(!found.contains_key("TLS101") && !found.contains_key("SMTP101"), "{found:?}");
}

/// Listens once, and says whether anything came before the greeting, and behind STARTTLS before its answer.
fn listener() -> (u16, mpsc::Receiver<(usize, usize)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let mut early = |stream: &mut std::net::TcpStream| {
            stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            let early = stream.read(&mut buffer).unwrap_or(0);
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            early
        };
        let before_greeting = early(&mut stream);
        let line = |stream: &mut std::net::TcpStream| {
            let mut byte = [0];
            while byte != *b"\n" {
                stream.read_exact(&mut byte).unwrap();
            }
        };
        stream.write_all(b"220 a\r\n").unwrap();
        line(&mut stream);
        stream.write_all(b"250-a\r\n250-PIPELINING\r\n250 STARTTLS\r\n").unwrap();
        line(&mut stream);
        let behind_starttls = early(&mut stream);
        tell.send((before_greeting, behind_starttls)).unwrap();
    });
    (port, told)
}

#[test]
fn t03_nothing_is_said_before_the_greeting_nor_behind_starttls() {
    let (port, told) = listener();
    probe("early", &format!("smtp://127.0.0.1:{port}"), &["--depth", "tls"]);
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), (0, 0));
}

#[test]
fn t04_keywords_have_no_case_and_imap4rev2_is_enough() {
    let smtp = played(
        "lower",
        "smtp",
        "S: 220 a\nC: EHLO x\nS: 250-a\nS: 250 starttls\nC: STARTTLS\nS: 220 go\ntls: ok\nC: EHLO x\nS: 250 a\nC: QUIT\nS: 221 bye\n",
    );
    assert!(!smtp.findings().contains_key("TLS101"), "{:?}", smtp.findings());
    let imap = "S: * OK hi\nC: m1 CAPABILITY\nS: * capability imap4rev2 starttls logindisabled\nS: m1 OK done\nC: m2 STARTTLS\nS: m2 OK go\ntls: ok\nC: m3 CAPABILITY\nS: * CAPABILITY IMAP4rev2 AUTH=PLAIN\nS: m3 OK done\nC: m4 LOGOUT\nS: * BYE\nS: m4 OK done\n";
    let imap = played("rev2", "imap", imap);
    let wrong = ["MBOX101", "MBOX107", "TLS101", "TLS102"];
    assert!(!wrong.iter().any(|code| imap.findings().contains_key(*code)), "{:?}", imap.findings());
}

#[test]
fn t06_a_certificate_that_nobody_issued_does_not_unmake_starttls() {
    let seen = played(
        "self-signed",
        "smtp",
        "S: 220 a\nC: EHLO x\nS: 250-a\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\ntls: ok\nC: EHLO x\nS: 250 a\nC: QUIT\nS: 221 bye\n",
    );
    let found = seen.findings();
    assert!(!found.contains_key("TLS101") && !found.contains_key("TLS102"), "{found:?}");
    // On a port between servers it matters as little as the receiver says (T38).
    assert!(found.get("TLS106").is_some_and(|severity| severity != "critical" && severity != "error"), "{found:?}");
    assert_eq!(seen.address()["tls"]["value"]["ending"], "established");
}

#[test]
fn t07_no_other_port_is_asked_in_place_of_a_dead_one() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let seen = probe("dead", &format!("smtp://127.0.0.1:{port}"), &[]);
    let asked: Vec<&String> = seen.0["evidence"]["endpoints"].as_object().unwrap().keys().collect();
    assert!(asked.len() == 1 && asked[0].contains(&port.to_string()), "{asked:?}");
    assert_ne!(seen.verdict(), "healthy");
}

#[test]
fn t43_logindisabled_before_tls_is_no_fault() {
    let text = "S: * OK hi\nC: m1 CAPABILITY\nS: * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\nS: m1 OK done\nC: m2 STARTTLS\nS: m2 OK go\ntls: ok\nC: m3 CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN\nS: m3 OK done\nC: m4 LOGOUT\nS: * BYE\nS: m4 OK done\n";
    let seen = played("disabled", "imap", text);
    let found = seen.findings();
    assert!(!found.contains_key("MBOX101") && !found.contains_key("AUTH108"), "{found:?}");
}

#[test]
fn t48_nobody_is_asked_whom_he_knows() {
    let text = "S: 220 a\nC: EHLO x\nS: 250-a\nS: 250-VRFY\nS: 250-EXPN\nS: 250 HELP\nC: QUIT\nS: 221 bye\n";
    let seen = played("vrfy", "smtp", text);
    let sent = seen.address()["session"]["value"]["smtp"]["transcript"].to_string();
    assert!(!sent.contains("\"sent\":\"VRFY") && !sent.contains("\"sent\":\"EXPN"), "{sent}");
    assert!(!seen.findings().keys().any(|code| code == "SMTP110"), "{:?}", seen.findings());
}
