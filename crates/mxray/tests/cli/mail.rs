//! `domain --mail`: mails that are signed here, evaluated over name servers on loopback.

use super::dns::{self, Reply, Server};
use super::{Scratch, mxray, text};
use mxray_auth::dkim::{Canonicalization, Signer, Signing};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

/// 2026-11-02T08:00:00Z
const SIGNED_S: i64 = 1_793_606_400;
const RECEIVED: &str = "Received: from out.example.org by mx.example.net; Mon, 2 Nov 2026 09:00:00 +0100 (CET)\r\n";
const LETTER: &str = "From: Anna <anna@example.org>\r\nTo: b@example.net\r\nSubject: x\r\n\
    Date: Mon, 2 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello,\r\n\r\nthis is it.\r\n";

fn signer() -> Signer {
    Signer::ed25519(&[7; 32]).unwrap()
}

fn signing(domain: &str) -> Signing {
    Signing {
        domain: domain.to_owned(),
        selector: "s1".to_owned(),
        head: Canonicalization::Relaxed,
        body: Canonicalization::Relaxed,
        fields: ["from", "to", "subject", "date", "message-id"].map(str::to_owned).to_vec(),
        length: None,
        signed_s: Some(SIGNED_S),
        expires_s: Some(SIGNED_S + 86_400),
    }
}

/// The letter with its signature, as a receiver stores it.
fn signed(domain: &str) -> String {
    let field = signer().sign(LETTER.as_bytes(), &signing(domain)).unwrap();
    format!("{RECEIVED}{field}{LETTER}")
}

/// SPF for 192.0.2.1, a key, and a policy of reject, at example.org; the same key at stranger.example.
fn server() -> Server {
    let record = signer().record();
    Server::new(move |name, kind| {
        let one = |text: &str| dns::found(vec![(name.to_owned(), dns::TXT, dns::txt(&[text.as_bytes().to_vec()]))]);
        match (name, kind) {
            ("example.org", dns::TXT) => one("v=spf1 ip4:192.0.2.1 -all"),
            ("stranger.example", dns::TXT) => one("v=spf1 ip4:192.0.2.1 -all"),
            ("_dmarc.example.org", dns::TXT) => one("v=DMARC1; p=reject; rua=mailto:d@example.org"),
            ("s1._domainkey.example.org" | "s1._domainkey.stranger.example", dns::TXT) => one(&record),
            ("s1._domainkey.dead.example", _) => Reply::Silence,
            _ => dns::code(dns::NXDOMAIN),
        }
    })
}

fn ask(server: &Server, mail: &str, words: &[&str]) -> (Option<i32>, Vec<u8>) {
    let resolver = server.resolver();
    let fixed = ["domain", "--mail", "-", "--ip", "192.0.2.1", "--helo", "out.example.org", "--patience=1", &resolver];
    let mut child = mxray(&[&fixed[..], words].concat())
        .env("COLUMNS", "80")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    (output.status.code(), output.stdout)
}

fn json(server: &Server, mail: &str, words: &[&str]) -> (Option<i32>, Value) {
    let (code, out) = ask(server, mail, &[&["--json"], words].concat());
    (code, serde_json::from_slice(&out).unwrap())
}

const SENDER: [&str; 2] = ["--mail-from", "anna@example.org"];
const THAT_DAY: [&str; 4] = ["--mail-from", "anna@example.org", "--at", "2026-11-02T09:00:00Z"];

#[test]
fn a_good_mail_passes_everything() {
    let (code, answer) = json(&server(), &signed("example.org"), &THAT_DAY);
    assert_eq!((code, &answer["schema"]), (Some(0), &"mxray/mail-auth/1".into()), "{answer:#}");
    assert_eq!(
        (&answer["spf"]["result"], &answer["dkim"][0]["result"]),
        (&"pass".into(), &"pass".into()),
        "{answer:#}"
    );
    assert_eq!((&answer["dmarc"]["result"], &answer["arc"]["result"]), (&"pass".into(), &"none".into()), "{answer:#}");
    assert_eq!(answer["authors"], serde_json::json!(["example.org"]));
    assert_eq!(answer["message"]["line_ends"], "crlf");
    assert_eq!(
        (&answer["received"]["at"], &answer["differs"]),
        (&"2026-11-02T08:00:00Z".into(), &serde_json::json!([]))
    );
    let aligned: Vec<&Value> = answer["dmarc"]["rows"].as_array().unwrap().iter().map(|row| &row["aligned"]).collect();
    assert_eq!(aligned, [&Value::Bool(true), &Value::Bool(true)]);
}

#[test]
fn two_clocks_tell_what_expired_since() {
    let (_, answer) =
        json(&server(), &signed("example.org"), &["--mail-from", "anna@example.org", "--at", "2026-12-01T00:00:00Z"]);
    assert_eq!(
        (&answer["dkim"][0]["result"], &answer["received"]["dkim"][0]["result"]),
        (&"fail".into(), &"pass".into())
    );
    assert!(answer["differs"][0].as_str().unwrap().contains("pass when it was received"), "{answer:#}");
    let bare = signed("example.org").replace(RECEIVED, "");
    let (_, answer) = json(&server(), &bare, &THAT_DAY);
    assert!(answer["received"].is_null() && answer["no_received"].as_str().unwrap().contains("no Received"));
}

/// The codes of what is wrong with the mail, causes first.
fn codes(answer: &serde_json::Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect()
}

#[test]
fn t29e_what_passes_for_others_does_not_count_and_is_named() {
    let words = ["--mail-from", "list@stranger.example", "--at", "2026-11-02T09:00:00Z"];
    let (code, answer) = json(&server(), &signed("stranger.example"), &words);
    assert_eq!(
        (code, &answer["dmarc"]["result"], &answer["dmarc"]["asked"]),
        (Some(0), &"fail".into(), &"reject".into())
    );
    assert_eq!((&answer["spf"]["result"], &answer["dkim"][0]["result"]), (&"pass".into(), &"pass".into()));
    assert!(answer["dmarc"]["reason"].as_str().unwrap().contains("stranger.example"), "{answer:#}");
    assert_eq!(codes(&answer), ["MAIL104", "MAIL108"]);
    let (_, shown) = ask(&server(), &signed("stranger.example"), &words);
    assert!(text(&shown).contains("ERROR MAIL104"), "{}", text(&shown));
}

#[test]
fn a_changed_body_fails_with_both_hashes() {
    let mail = signed("example.org").replace("this is it", "this was it");
    let (_, answer) = json(&server(), &mail, &THAT_DAY);
    assert_eq!(answer["dkim"][0]["result"], "fail");
    assert!(answer["dkim"][0]["reasons"][0]["body_hash_differs"]["computed"].is_string(), "{answer:#}");
    // SPF is aligned: DMARC passes all the same, and rests on it.
    assert_eq!((&answer["dmarc"]["result"], &answer["dmarc"]["rests_on_spf"]), (&"pass".into(), &true.into()));
    assert_eq!(answer["message"]["hashed_with_lf"], serde_json::json!([]));
    assert_eq!(codes(&answer), ["MAIL102", "MAIL109"]);
}

#[test]
fn files_with_lf_are_read_as_crlf_and_that_is_said() {
    let (_, answer) = json(&server(), &signed("example.org").replace("\r\n", "\n"), &THAT_DAY);
    assert_eq!(
        (&answer["message"]["line_ends"], &answer["dkim"][0]["result"]),
        (&"lf".into(), &"pass".into()),
        "{answer:#}"
    );
    let (_, shown) = ask(&server(), &signed("example.org").replace("\r\n", "\n"), &THAT_DAY);
    assert!(text(&shown).contains("read as CRLF"), "{}", text(&shown));
}

#[test]
fn a_signer_that_hashed_lf_is_told_so() {
    use ring::digest::{SHA256, digest};
    // What a signer puts into bh= that sees the body before its line ends are CRLF.
    let body = LETTER.split_once("\r\n\r\n").unwrap().1;
    let whole = digest(&SHA256, body.as_bytes());
    let bare = digest(&SHA256, body.replace("\r\n", "\n").as_bytes());
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let mail = signed("example.org").replace(&base64(whole.as_ref()), &base64(bare.as_ref()));
    assert!(mail.contains(&base64(bare.as_ref())));
    let (_, answer) = json(&server(), &mail, &THAT_DAY);
    assert_eq!(
        (&answer["dkim"][0]["result"], &answer["message"]["hashed_with_lf"]),
        (&"fail".into(), &serde_json::json!([0]))
    );
}

#[test]
fn a_key_that_nobody_tells_leaves_it_open() {
    let mail = signed("dead.example");
    let (code, answer) = json(&server(), &mail, &["--mail-from", "x@other.example", "--at", "2026-11-02T09:00:00Z"]);
    assert_eq!(answer["dkim"][0]["result"], "temperror", "{answer:#}");
    // No policy of another's can be aligned with it: DMARC is decided, and the key does not matter for it.
    assert_eq!((code, &answer["dmarc"]["result"]), (Some(0), &"fail".into()), "{answer:#}");
    let stranger = mail.replace("anna@example.org", "anna@unpublished.example");
    let (code, answer) =
        json(&server(), &stranger, &["--mail-from", "x@other.example", "--at", "2026-11-02T09:00:00Z"]);
    assert_eq!((code, &answer["dmarc"]["result"], &answer["answered"]), (Some(2), &"none".into(), &false.into()));
    assert!(!answer["unseen"].as_array().unwrap().is_empty());
}

#[test]
fn for_a_person_within_80_columns_and_escaped() {
    let mail = signed("example.org").replace("Anna", "A\u{1b}[31mnna\u{202e}");
    let (code, shown) = ask(&server(), &mail, &THAT_DAY);
    let shown = text(&shown);
    assert_eq!(code, Some(0));
    for words in [
        "SPF of example.org for 192.0.2.1: pass",
        "DKIM of example.org, selector s1:",
        "DMARC of example.org: pass",
        "aligned?",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    // A command is to be copied, and stays whole.
    let is_command = |line: &str| line.trim_start().starts_with("mxray ");
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || is_command(line)), "{shown}");
}

#[test]
fn a_mail_without_an_author_and_no_mail_at_all() {
    let (_, answer) = json(&server(), "To: b@example.net\r\n\r\nx\r\n", &SENDER);
    assert!(answer["dmarc"].is_null() && answer["no_author"].as_str().unwrap().contains("no From"), "{answer:#}");
    let scratch = Scratch::new("mail");
    let empty = scratch.file("empty.eml", "\n");
    for file in [empty.to_str().unwrap(), "/nonexistent/letter.eml"] {
        let output = mxray(&["domain", "--mail", file, "--ip", "192.0.2.1", "--helo", "h.example"]).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
    }
}
