//! `logs` as a user meets it: forms of the answer, windows, lives, what cannot be read, hostile bytes.

use super::{Scratch, mxray, run, talk, text};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Output, Stdio};

/// Two mails: one delivered after it was put off, one refused for good; a failed login; a line of another program.
const LOG: &str = "\
2026-03-01T10:00:00+00:00 mx postfix/smtpd[10]: A1B2C3D4E5: client=app.example[192.0.2.20], sasl_method=PLAIN, sasl_username=shop
2026-03-01T10:00:00+00:00 mx postfix/cleanup[11]: A1B2C3D4E5: message-id=<one@example.net>
2026-03-01T10:00:00+00:00 mx postfix/qmgr[12]: A1B2C3D4E5: from=<bob@example.net>, size=900, nrcpt=1 (queue active)
2026-03-01T10:00:02+00:00 mx postfix/smtp[13]: A1B2C3D4E5: to=<anna@example.org>, relay=mx.example.org[198.51.100.1]:25, delay=2, delays=0.1/0/0.9/1, dsn=4.7.1, status=deferred (host mx.example.org[198.51.100.1] said: 450 4.7.1 <anna@example.org>: Recipient address rejected: Greylisted (in reply to RCPT TO command))
2026-03-01T10:10:02+00:00 mx postfix/smtp[13]: A1B2C3D4E5: to=<anna@example.org>, relay=mx.example.org[198.51.100.1]:25, delay=602, delays=600/0/1/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as F00)
2026-03-01T10:10:02+00:00 mx postfix/qmgr[12]: A1B2C3D4E5: removed
2026-03-01T11:00:00+00:00 mx postfix/smtpd[10]: B1B2C3D4E5: client=app.example[192.0.2.20]
2026-03-01T11:00:00+00:00 mx postfix/cleanup[11]: B1B2C3D4E5: message-id=<two@example.net>
2026-03-01T11:00:00+00:00 mx postfix/qmgr[12]: B1B2C3D4E5: from=<bob@example.net>, size=900, nrcpt=1 (queue active)
2026-03-01T11:00:02+00:00 mx postfix/smtp[13]: B1B2C3D4E5: to=<gone@example.org>, relay=mx.example.org[198.51.100.1]:25, delay=2, delays=0.1/0/0.9/1, dsn=5.1.1, status=bounced (host mx.example.org[198.51.100.1] said: 550 5.1.1 <gone@example.org>: Recipient address rejected: User unknown (in reply to RCPT TO command))
2026-03-01T11:00:03+00:00 mx postfix/qmgr[12]: B1B2C3D4E5: removed
2026-03-01T11:05:00+00:00 mx postfix/smtpd[10]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
2026-03-01T11:06:00+00:00 mx CRON[1]: (root) CMD (true)
";

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn given(words: &[&str], input: &[u8]) -> Output {
    let mut child = mxray(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn the_answer_has_counts_and_causes_in_every_form() {
    let scratch = Scratch::new("logs");
    let path = scratch.file("mail.log", LOG);
    let path = path.to_str().unwrap();
    let seen = json(&run(&["logs", "--json", path]));
    assert_eq!(seen["schema"], "mxray/logs/1");
    assert_eq!(seen["lines"]["read"], 13);
    assert_eq!(seen["lines"]["not_understood"], 0);
    assert_eq!(seen["lines"]["foreign"], 1);
    assert_eq!(seen["attempts"], serde_json::json!({"sent": 1, "deferred": 1, "bounced": 1, "echoes": 0}));
    assert_eq!(seen["recipients"]["bounced"], 1);
    assert_eq!(seen["rates"]["bounce"]["numerator"], 1);
    assert_eq!(seen["rates"]["bounce"]["percent"], Value::Null, "too few for a percentage");
    let causes: Vec<&str> =
        seen["causes"].as_array().unwrap().iter().filter_map(|cause| cause["cause"].as_str()).collect();
    assert!(causes.contains(&"rcpt-unknown") && causes.contains(&"greylist"), "{causes:?}");

    let shown = run(&["logs", path, "-v"]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = text(&shown.stdout);
    for part in ["2 messages received", "rcpt-unknown", "example.org", "too few", "13 read", "shop", "203.0.113.9"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let html = text(&run(&["logs", path, "--format", "html"]).stdout);
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<td>rcpt-unknown</td>"), "{html}");
    assert!(text(&run(&["logs", path, "--format", "markdown"]).stdout).contains("| rcpt-unknown |"));
    let series = text(&run(&["logs", path, "--format", "prometheus"]).stdout);
    assert!(series.contains("mxray_log_attempts{status=\"sent\"} 1\n"), "{series}");
}

#[test]
fn the_life_of_one_mail_is_told_with_every_reply() {
    let scratch = Scratch::new("logs-life");
    let path = scratch.file("mail.log", LOG);
    let path = path.to_str().unwrap();
    let asked = [["--to", "ANNA@example.org"], ["--message", "<one@example.net>"], ["--queue-id", "A1B2C3D4E5"]];
    for words in asked {
        let told = run(&[&["logs", path][..], &words].concat());
        assert_eq!(told.status.code(), Some(0), "{words:?}");
        let told = text(&told.stdout);
        assert!(told.contains("One mail") && told.contains("Greylisted") && told.contains("+10 min"), "{told}");
        assert!(!told.contains("gone@"), "{told}");
    }
    let both = json(&run(&["logs", path, "--from", "bob@example.net", "--json"]));
    assert_eq!(both["schema"], "mxray/logs-lives/1");
    assert_eq!(both["lives"].as_array().unwrap().len(), 2);
    assert_eq!(run(&["logs", path, "--to", "nobody@example.org"]).status.code(), Some(2));
}

#[test]
fn a_window_a_pipe_and_two_logs_beside_each_other() {
    let scratch = Scratch::new("logs-window");
    let path = scratch.file("mail.log", LOG);
    let path = path.to_str().unwrap();
    let late = json(&run(&["logs", path, "--json", "--since", "2026-03-01T10:30:00Z"]));
    assert_eq!((&late["attempts"]["sent"], &late["attempts"]["bounced"]), (&0.into(), &1.into()));
    let none = text(&run(&["logs", path, "--since", "2026-04-01", "--until", "2026-04-02"]).stdout);
    assert!(none.starts_with("No line of what was asked for"), "{none}");
    assert!(talk(&run(&["logs", path, "--since", "soon"]), 64).contains("no time"));
    let piped = given(&["logs", "--json", "-"], LOG.as_bytes());
    assert_eq!(json(&piped)["lines"]["read"], 13);

    let other = scratch
        .file("other.log", &LOG.replace("status=sent", "status=bounced").replace("250 2.0.0 Ok", "554 5.7.1 Spam"));
    let compared = run(&["logs", "--compare", path, other.to_str().unwrap()]);
    assert_eq!(compared.status.code(), Some(0), "{}", text(&compared.stderr));
    let compared = text(&compared.stdout);
    assert!(compared.contains("gone") && compared.contains("new"), "{compared}");
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_counts() {
    let scratch = Scratch::new("logs-unseen");
    let path = scratch.file("mail.log", LOG);
    let missing = scratch.0.join("none.log");
    let both = run(&["logs", "--json", path.to_str().unwrap(), missing.to_str().unwrap()]);
    assert!(text(&both.stderr).contains("there is no such file"));
    let seen = json(&both);
    assert_eq!(seen["lines"]["read"], 13);
    assert!(seen["unseen"][0]["why"].as_str().unwrap().contains("no such file"), "{}", seen["unseen"]);
    let none = run(&["logs", missing.to_str().unwrap()]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("no line could be read"));
}

#[test]
fn hostile_bytes_steer_nothing_and_hold_nobody() {
    // A line of 64 MB, noughts, bytes that are no UTF-8, and an address that would clear the screen.
    let mut hostile = vec![b'x'; 64 << 20];
    hostile.extend(b"\n\0\0\0\0");
    hostile.extend(b"2026-03-01T10:00:00Z mx postfix/smtp[1]: A1B2C3D4E5: to=<\x1b[2J\xff\xfe@x.example>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (connect to x.example[192.0.2.1]:25: Connection timed out \x1b]0;\x07)\n");
    hostile.extend(LOG.as_bytes());
    for format in ["text", "json", "html", "markdown", "prometheus"] {
        let output = given(&["logs", "-", "--format", format], &hostile);
        assert_eq!(output.status.code(), Some(0), "{format}: {}", text(&output.stderr));
        assert!(!output.stdout.contains(&0x1b) && !output.stdout.contains(&7), "{format}");
        let shown = text(&output.stdout);
        if format == "json" {
            let seen: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(seen["lines"]["read"], 15);
            assert!(seen["unseen"].to_string().contains("longer than"), "{}", seen["unseen"]);
        }
    }
}

#[test]
fn rules_of_ones_own_come_first_and_wrong_ones_are_left_out() {
    let scratch = Scratch::new("logs-rules");
    let log = scratch.file("mail.log", LOG);
    let own = "\
[[rule]]
id = \"house-moved\"
cause = \"rcpt-moved\"
any = [\"recipient address rejected: user unknown\"]
source = \"house\"
sample = \"550 5.1.1 <gone@example.org>: Recipient address rejected: User unknown\"

[[rule]]
id = \"x\"

[source.house]
about = \"told by the operator of example.org\"
date = \"2026-03-01\"
";
    let own = scratch.file("own.toml", own);
    let used = run(&["logs", log.to_str().unwrap(), "--rules", own.to_str().unwrap(), "--json"]);
    let said = text(&used.stderr);
    assert!(said.contains("own.toml, line 8: ") && !said.contains("line 1: "), "{said}");
    let answer = json(&used);
    let causes: Vec<&str> =
        answer["causes"].as_array().unwrap().iter().filter_map(|row| row["cause"].as_str()).collect();
    assert!(causes.contains(&"rcpt-moved") && !causes.contains(&"rcpt-unknown"), "{causes:?}");
}

#[test]
fn rules_that_change_while_we_follow_are_read_again() {
    let scratch = Scratch::new("logs-rules-follow");
    let own = "\
[[rule]]
id = \"house-moved\"
cause = \"CAUSE\"
any = [\"recipient address rejected: user unknown\"]
source = \"house\"
sample = \"550 5.1.1 <gone@example.org>: Recipient address rejected: User unknown\"

[source.house]
about = \"told by the operator of example.org\"
date = \"2026-03-01\"
";
    let log = scratch.file("mail.log", "");
    let rules = scratch.file("own.toml", &own.replace("CAUSE", "rcpt-moved"));
    let words =
        ["logs", log.to_str().unwrap(), "--follow", "--interval", "1", "--json", "--rules", rules.to_str().unwrap()];
    let mut child = mxray(&words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("0 lines read")));
    // A file whose time is another one has changed, however short the time between.
    std::fs::write(&rules, own.replace("CAUSE", "rcpt-disabled")).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options().write(true).open(&rules).unwrap().set_modified(later).unwrap();
    assert!(said.any(|line| line.contains("rules: changed")));
    std::fs::write(&log, LOG).unwrap();
    let counts = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let mut counts = counts.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let whole = counts.find(|answer| answer["lines"]["read"] == 13).unwrap();
    let causes: Vec<&str> =
        whole["causes"].as_array().unwrap().iter().filter_map(|row| row["cause"].as_str()).collect();
    assert!(causes.contains(&"rcpt-disabled"), "{causes:?}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
}
