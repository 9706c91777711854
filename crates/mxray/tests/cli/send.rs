//! `mxray send` against scripted servers, a name server of our own, and what is installed: smtp-sink, swaks, openssl.

use super::{Scratch, free_for, mxray, run, skipped, talk, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

/// What a server does, line by line: `S: text` says a line, `C: text` reads one that has to begin so, `until-dot` reads a
/// message, `bytes N` reads so many, `close` ends it.
type Script = &'static [&'static str];

/// Plays one script; what the client wrote.
fn play(stream: impl Read + Write, script: Script) -> String {
    let mut stream = BufReader::new(stream);
    let mut seen = Vec::new();
    for step in script {
        if let Some(said) = step.strip_prefix("S: ") {
            stream.get_mut().write_all(format!("{said}\r\n").as_bytes()).unwrap();
        } else if let Some(expected) = step.strip_prefix("C: ") {
            let mut line = Vec::new();
            stream.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(line.starts_with(expected), "{line:?} does not begin with {expected:?}");
            seen.extend_from_slice(line.as_bytes());
        } else if *step == "until-dot" {
            let begin = seen.len();
            while !seen[begin..].ends_with(b"\r\n.\r\n") {
                assert!(stream.read_until(b'\n', &mut seen).unwrap() > 0, "the message has no end");
            }
        } else if let Some(count) = step.strip_prefix("bytes ") {
            let mut bytes = vec![0; count.parse().unwrap()];
            stream.read_exact(&mut bytes).unwrap();
            seen.extend_from_slice(&bytes);
        } else {
            assert_eq!(*step, "close");
            return String::from_utf8_lossy(&seen).into_owned();
        }
    }
    // Nothing may follow.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    String::from_utf8_lossy(&seen).into_owned()
}

/// A server that plays one script for each connection, in order.
fn server(at: &str, scripts: Vec<Script>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((at, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        scripts.into_iter().map(|script| play(listener.accept().unwrap().0, script)).collect()
    });
    (port, thread)
}

fn send(words: &[&str]) -> Output {
    run(&[&["send", "--helo", "probe.example", "--from", "a@b.example", "--timeout", "20"], words].concat())
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

#[test]
fn each_recipient_has_its_own_answer() {
    const SCRIPT: Script = &[
        "S: 220 mx.example ESMTP",
        "C: EHLO probe.example",
        "S: 250-mx.example",
        "S: 250-PIPELINING",
        "S: 250 SIZE 100000",
        "C: MAIL FROM:<a@b.example> SIZE=",
        "C: RCPT TO:<good@x.example>",
        "C: RCPT TO:<bad@x.example>",
        "C: RCPT TO:<later@x.example>",
        "S: 250 2.1.0 ok",
        "S: 250 2.1.5 ok",
        "S: 550 5.1.1 no such user",
        "S: 451 4.7.1 greylisted",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 2.0.0 queued as 1",
        "C: QUIT",
        "S: 221 bye",
    ];
    let (port, served) = server("127.0.0.1", vec![SCRIPT]);
    let at = format!("127.0.0.1:{port}");
    let to = ["--to", "good@x.example", "--to", "bad@x.example", "--to", "later@x.example"];
    let output = send(&[&["--server", &at, "--pipelining", "--json", "--text", ".dot\nend"], &to[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let wrote = served.join().unwrap().remove(0);
    assert!(wrote.contains("\r\n\r\n..dot\r\nend\r\n.\r\n"), "{wrote}");
    let json = json(&output);
    assert_eq!(json["schema"], "mxray/send/1");
    let rows = json["rows"].as_array().unwrap();
    let of = |place: usize| (rows[place]["status"].as_str().unwrap(), rows[place]["stage"].as_str().unwrap());
    assert_eq!([of(0), of(1), of(2)], [("accepted", "message"), ("refused", "rcpt"), ("deferred", "rcpt")]);
    assert_eq!((rows[1]["code"].as_u64(), rows[1]["enhanced"].as_str()), (Some(550), Some("5.1.1")));
    assert_eq!(rows[0]["reply"][0], "2.0.0 queued as 1");
    assert_eq!(json["attempts"][0]["session"]["ending"], "finished");
}

#[test]
fn chunks_are_counted_and_not_stuffed() {
    const SCRIPT: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250-a",
        "S: 250 CHUNKING",
        "C: MAIL FROM:<a@b.example>\r\n",
        "S: 250 ok",
        "C: RCPT TO:<c@d.example>\r\n",
        "S: 250 ok",
        "C: BDAT 10\r\n",
        "bytes 10",
        "S: 250 10 octets",
        "C: BDAT 8 LAST\r\n",
        "bytes 8",
        "S: 250 taken",
        "C: QUIT",
        "S: 221 bye",
    ];
    let scratch = Scratch::new("send-chunks");
    let file = scratch.file("m.eml", "Subject: x\n\n.y\n");
    let (port, served) = server("127.0.0.1", vec![SCRIPT]);
    let words = ["--server", &format!("127.0.0.1:{port}"), "--to", "c@d.example", "--raw", "--chunking=10", "-q"];
    let output = send(&[&words[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let wrote = served.join().unwrap().remove(0);
    assert!(wrote.ends_with("BDAT 10\r\nSubject: xBDAT 8 LAST\r\n\r\n\r\n.y\r\nQUIT\r\n"), "{wrote:?}");
}

#[test]
fn a_message_keeps_its_bytes_and_gets_what_is_missing() {
    const SCRIPT: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250 a",
        "C: MAIL",
        "S: 250 ok",
        "C: RCPT",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 ok",
        "C: QUIT",
        "S: 221 bye",
    ];
    let scratch = Scratch::new("send-keeps");
    let message = "subject:  odd\t spacing \nMESSAGE-ID: <mine@x>\n\nbody \n..\n";
    let file = scratch.file("m.eml", message);
    let (port, served) = server("127.0.0.1", vec![SCRIPT, SCRIPT]);
    let at = format!("127.0.0.1:{port}");
    let words = ["--server", &at, "--to", "c@d.example", "--subject", "other", "-q", file.to_str().unwrap()];
    let completed = send(&words);
    assert_eq!(completed.status.code(), Some(0));
    assert!(text(&completed.stderr).contains("Subject: the message has this field"), "{}", text(&completed.stderr));
    assert_eq!(
        send(&["--server", &at, "--to", "c@d.example", "--raw", "-q", file.to_str().unwrap()]).status.code(),
        Some(0)
    );
    let wrote = served.join().unwrap();
    let kept = message.replace('\n', "\r\n").replace("\r\n..\r\n", "\r\n...\r\n") + ".\r\n";
    assert!(wrote[0].contains("DATA\r\nFrom: a@b.example\r\nDate: "), "{}", wrote[0]);
    assert!(wrote[0].contains(&kept) && !wrote[0].contains("Message-ID: <1"), "{}", wrote[0]);
    assert!(wrote[1].contains(&format!("DATA\r\n{kept}")), "{}", wrote[1]);
}

#[test]
fn a_connection_that_ends_within_the_message_is_not_an_answer_and_nothing_is_sent_twice() {
    const LOST: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250 a",
        "C: MAIL",
        "S: 250 ok",
        "C: RCPT",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "close",
    ];
    let (port, served) = server("127.0.0.1", vec![LOST]);
    // The second server would take it: nobody is there, and nobody is asked.
    let output =
        send(&["--server", &format!("127.0.0.1:{port}"), "--server", "127.0.0.1:1", "--to", "c@d.example", "--json"]);
    served.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let json = json(&output);
    assert_eq!(json["rows"][0]["status"], "unknown");
    assert_eq!(json["rows"][0]["stage"], "message");
    assert_eq!(json["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(json["unseen"][0]["what"], "c@d.example");
}

#[test]
fn eight_bits_are_not_for_everybody() {
    const REFUSES: Script = &["S: 220 a", "C: EHLO", "S: 250 a", "C: QUIT", "S: 221 bye"];
    const TAKES: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250-a",
        "S: 250 8BITMIME",
        "C: MAIL FROM:<a@b.example> BODY=8BITMIME\r\n",
        "S: 250 ok",
        "C: RCPT",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 ok",
        "C: QUIT",
        "S: 221 bye",
    ];
    let (port, served) = server("127.0.0.1", vec![REFUSES, TAKES]);
    let at = format!("127.0.0.1:{port}");
    let words = ["--server", &at, "--to", "c@d.example", "--8bit", "--text", "größe", "--json"];
    let refused = send(&words);
    assert_eq!(refused.status.code(), Some(1));
    let row = &json(&refused)["rows"][0];
    assert_eq!((row["status"].as_str(), row["stage"].as_str()), (Some("not_sent"), Some("mail")));
    assert!(row["why"].as_str().unwrap().contains("8BITMIME"), "{row}");
    assert_eq!(send(&words).status.code(), Some(0));
    assert!(served.join().unwrap()[1].contains("größe"));
}

#[test]
fn lmtp_answers_for_each_through_a_unix_socket() {
    const SCRIPT: Script = &[
        "S: 220 a LMTP",
        "C: LHLO probe.example",
        "S: 250 a",
        "C: MAIL",
        "S: 250 ok",
        "C: RCPT TO:<one>",
        "S: 250 ok",
        "C: RCPT TO:<two>",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 2.0.0 saved",
        "S: 452 4.2.2 quota",
        "C: QUIT",
        "S: 221 bye",
    ];
    let scratch = Scratch::new("send-lmtp");
    let path = scratch.0.join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let served = std::thread::spawn(move || play(listener.accept().unwrap().0, SCRIPT));
    let words = ["--unix", path.to_str().unwrap(), "--lmtp", "--to", "one", "--to", "two", "--json"];
    let output = send(&words);
    served.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let json = json(&output);
    let status = |place: usize| json["rows"][place]["status"].as_str().unwrap().to_owned();
    assert_eq!((status(0), status(1)), ("accepted".to_owned(), "deferred".to_owned()));
    assert_eq!(json["rows"][1]["code"], 452);
}

#[test]
fn a_password_is_nowhere() {
    const SCRIPT: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250-a",
        "S: 250 AUTH PLAIN",
        "C: AUTH PLAIN AHRpbQBodW50ZXIyMg==",
        "S: 535 5.7.8 no, hunter22 is wrong",
        "C: QUIT",
        "S: 221 bye",
    ];
    for format in ["text", "json"] {
        let (port, served) = server("127.0.0.1", vec![SCRIPT]);
        let at = format!("127.0.0.1:{port}");
        let words = ["send", "--from", "a@b.example", "--server", &at, "--to", "c@d.example", "--user", "tim"];
        let output = mxray(&[&words[..], &["--password", "env:SECRET", "--format", format, "-v"]].concat())
            .env("SECRET", "hunter22")
            .output()
            .unwrap();
        served.join().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains("hunter22") && !all.contains("AHRpbQ"), "{all}");
        assert!(all.contains("auth") && all.contains("535"), "{all}");
    }
    let refused = talk(&send(&["--server", "127.0.0.1", "--to", "x", "--user", "u", "--password", "hunter22"]), 64);
    assert!(!refused.contains("hunter22"), "{refused}");
}

/// Options of one run, what the server plays, and the exit code, status and stage that have to come of it.
type Case = (&'static [&'static str], Script, i32, &'static str, &'static str);

const CASES: &[Case] = &[
    (&[], &["S: 554 not for you", "C: QUIT", "S: 221 bye"], 1, "refused", "greeting"),
    (&[], &["S: 421 busy", "C: QUIT", "S: 221 bye"], 1, "deferred", "greeting"),
    (&[], &["close"], 2, "unknown", "greeting"),
    (&[], &["S: 220 a", "C: EHLO", "close"], 2, "unknown", "ehlo"),
    (&[], &["S: 220 a", "C: EHLO", "S: 502 no", "C: HELO", "S: 450 no", "C: QUIT", "S: 221 a"], 1, "deferred", "ehlo"),
    (
        &["--tls", "required"],
        &["S: 220 a", "C: EHLO", "S: 250 a", "C: STARTTLS", "S: 502 5.5.1 no", "C: QUIT", "S: 221 a"],
        1,
        "refused",
        "starttls",
    ),
    (
        &["--tls-verify"],
        &["S: 220 a", "C: EHLO", "S: 250-a", "S: 250 STARTTLS", "C: STARTTLS", "S: 454 later", "C: QUIT", "S: 221 a"],
        1,
        "deferred",
        "starttls",
    ),
    (
        &["--user", "u", "--password", "file:/etc/hostname"],
        &["S: 220 a", "C: EHLO", "S: 250 a", "C: QUIT", "S: 221 a"],
        1,
        "not_sent",
        "auth",
    ),
    (
        &["--xclient", "ADDR=192.0.2.1"],
        &["S: 220 a", "C: EHLO", "S: 250 a", "C: QUIT", "S: 221 a"],
        1,
        "not_sent",
        "xclient",
    ),
    (
        &["--proxy", "1"],
        &[
            "C: PROXY UNKNOWN\r\n",
            "S: 220 a",
            "C: EHLO",
            "S: 250 a",
            "C: MAIL",
            "S: 550 no",
            "C: RSET",
            "S: 250 a",
            "C: QUIT",
            "S: 221 a",
        ],
        1,
        "refused",
        "mail",
    ),
    (
        &["--helo-only", "--dsn-return", "hdrs"],
        &["S: 220 a", "C: HELO", "S: 250 a", "C: MAIL FROM:<a@b.example>\r\n", "S: 250 a", "C: RCPT", "close"],
        2,
        "unknown",
        "rcpt",
    ),
    (
        &["--dsn-return", "hdrs", "--dsn-id", "a+b", "--dsn-notify", "success,delay", "--dsn-recipient"],
        &[
            "S: 220 a",
            "C: EHLO",
            "S: 250-a",
            "S: 250 DSN",
            "C: MAIL FROM:<a@b.example> RET=HDRS ENVID=a+2Bb\r\n",
            "S: 250 a",
            "C: RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d.example\r\n",
            "S: 250 a",
            "C: DATA",
            "S: 452 full",
            "C: RSET",
            "S: 250 a",
            "C: QUIT",
            "S: 221 a",
        ],
        1,
        "deferred",
        "data",
    ),
];

#[test]
fn every_stage_has_its_name_and_what_was_not_answered_is_not_known() {
    for (words, script, code, status, stage) in CASES {
        let (port, served) = server("127.0.0.1", vec![script]);
        let at = format!("127.0.0.1:{port}");
        let output = send(&[&["--server", &at, "--to", "c@d.example", "--json"], *words].concat());
        assert!(served.join().is_ok(), "{words:?} {script:?}: {}", text(&output.stderr));
        let row = &json(&output)["rows"][0];
        let found = (output.status.code(), row["status"].as_str(), row["stage"].as_str());
        assert_eq!(found, (Some(*code), Some(*status), Some(*stage)), "{words:?} {script:?} {row}");
    }
}

#[test]
fn stops_where_it_is_told_to() {
    const SCRIPT: Script =
        &["S: 220 a", "C: EHLO", "S: 250 a", "C: MAIL", "S: 250 ok", "C: RCPT", "S: 250 ok", "C: QUIT", "S: 221 bye"];
    const DROPPED: Script = &["S: 220 a", "C: EHLO", "S: 250 a"];
    let (port, served) = server("127.0.0.1", vec![SCRIPT, DROPPED]);
    let at = format!("127.0.0.1:{port}");
    let output = send(&["--server", &at, "--to", "c@d.example", "--quit-after", "rcpt", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(json(&output)["rows"][0]["status"], "stopped");
    let output = send(&["--server", &at, "--to", "c@d.example", "--drop-after", "ehlo", "--json"]);
    assert_eq!((output.status.code(), json(&output)["rows"][0]["stage"].as_str()), (Some(0), Some("ehlo")));
    served.join().unwrap();
}

#[test]
fn what_cannot_be_is_said_before_anything_is_sent() {
    let scratch = Scratch::new("send-usage");
    let bare = scratch.file("bare.eml", "Subject: x\r\n\r\na\n.\n");
    let message = scratch.file("m.eml", "Subject: x\n\nbody\n");
    let (bare, message) = (bare.to_str().unwrap(), message.to_str().unwrap());
    for (words, says) in [
        (&["--to", "a@b\r\nRSET"][..], "no address"),
        (&["--to", "postmaster"], "--server"),
        (&["--server", "x", "--to", "a@b", "--header", "X: a\nBcc: b"], "control character"),
        (&["--server", "x", "--to", "a@b", "--helo", "a b"], "--helo"),
        (&["--server", "x", "--to", "a@b", "--raw", "--exact", bare], "--bare-line-ends"),
        (&["--server", "x", "--to", "a@b", "--attach", bare, message], "is a message already"),
        (&["--server", "x", "--to", "a@b", "--attach", "/nonexistent/x"], "/nonexistent/x"),
        (&["--server", "x", "--to", "a@b", "--quit-after", "data"], "--drop-after data"),
        (&["--server", "x", "--to", "a@b", "--tls-min", "1.3", "--tls-max", "1.2"], "--tls-min"),
        (&["--server", "x", "--to", "a@b", "--tls", "none", "--tls-verify"], "--tls none"),
        (&["--server", "x", "--to", "a@b", "--ca", message], "no certificate"),
        (&["--server", "x", "--to", "a@b", "--mail-parameter", "A B"], "cannot be part"),
        (&["--server", "x:y", "--to", "a@b"], "--server"),
        (&["--server", "x"], "--to"),
    ] {
        let said = talk(&send(words), 64);
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let dry = send(&["--server", "x", "--to", "a@b", "--dry-run", message]);
    assert_eq!(dry.status.code(), Some(0));
    assert!(text(&dry.stdout).contains("to <a@b>\n  by x:25\n"), "{}", text(&dry.stdout));
    assert!(text(&dry.stdout).ends_with("Subject: x\n\nbody\n"), "{}", text(&dry.stdout));
}

/// Answers questions for names below `example.test`, as long as the process lives.
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&dns_answer(&buffer[..count]), from);
        }
    });
    port
}

fn dns_answer(question: &[u8]) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..at + 1 + length]).to_ascii_lowercase());
        at += length + 1;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let wire = |name: &str| -> Vec<u8> {
        let labels = name.split('.').filter(|label| !label.is_empty());
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect()
    };
    let mx = |preference: u16, host: &str| [&preference.to_be_bytes()[..], &wire(host)].concat();
    let (rcode, records): (u8, Vec<Vec<u8>>) = match (name.as_str(), kind) {
        ("two.example.test", 15) => (0, vec![mx(20, "b.example.test"), mx(10, "a.example.test")]),
        ("null.example.test", 15) => (0, vec![mx(0, "")]),
        ("a.example.test", 1) => (0, vec![vec![127, 0, 0, 2]]),
        ("b.example.test" | "plain.example.test", 1) => (0, vec![vec![127, 0, 0, 3]]),
        ("gone.example.test", _) => (3, Vec::new()),
        ("broken.example.test", _) => (2, Vec::new()),
        _ => (0, Vec::new()),
    };
    let mut answer = [&question[..2], &[0x81, 0x80 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    answer.extend_from_slice(&question[12..at + 5]);
    for record in records {
        answer.extend_from_slice(&[0xc0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        answer.extend_from_slice(&(record.len() as u16).to_be_bytes());
        answer.extend_from_slice(&record);
    }
    answer
}

#[test]
fn the_next_exchanger_is_asked_for_those_who_were_put_off() {
    const BUSY: Script = &["S: 421 busy", "C: QUIT", "S: 221 bye"];
    const TAKES: Script = &[
        "S: 220 b",
        "C: EHLO",
        "S: 250 b",
        "C: MAIL",
        "S: 250 ok",
        "C: RCPT TO:<x@two.example.test>",
        "S: 250 ok",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 taken",
        "C: QUIT",
        "S: 221 bye",
    ];
    let first = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let Ok(second) = TcpListener::bind(("127.0.0.3", port)) else {
        return skipped("the next exchanger", "somebody has the port already");
    };
    let served = std::thread::spawn(move || {
        play(first.accept().unwrap().0, BUSY);
        play(second.accept().unwrap().0, TAKES)
    });
    let scratch = Scratch::new("send-mx");
    let config = scratch.file("mxray.toml", &format!("[dns]\nservers = [\"127.0.0.1:{}\"]\n", name_server()));
    let port = port.to_string();
    let to = |recipient: &str| {
        run(&[
            "--config",
            config.to_str().unwrap(),
            "send",
            "--helo",
            "probe.example",
            "--from",
            "a@b.example",
            "--port",
            &port,
            "--json",
            "--to",
            recipient,
        ])
    };
    let output = to("x@two.example.test");
    served.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer = json(&output);
    assert_eq!(answer["rows"][0]["server"], "b.example.test");
    let attempts = answer["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), attempts[0]["preference"].as_u64()), (2, Some(10)));
    // Nobody listens any more.
    for (recipient, code, status, stage) in [
        ("x@null.example.test", 1, "refused", "mx"),
        ("x@gone.example.test", 1, "refused", "mx"),
        ("x@broken.example.test", 2, "unknown", "mx"),
        ("x@plain.example.test", 2, "unknown", "connect"),
        ("x@none.example.test", 1, "not_sent", "resolve"),
    ] {
        let output = to(recipient);
        assert_eq!(output.status.code(), Some(code), "{recipient}: {}", text(&output.stdout));
        let row = &json(&output)["rows"][0];
        assert_eq!((row["status"].as_str(), row["stage"].as_str()), (Some(status), Some(stage)), "{recipient}");
    }
}

/// A program that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_there(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|place| place.join(program).is_file())
    });
    if !found {
        skipped(program, "it is not installed");
    }
    found
}

/// Who answers has to be who was asked for, where that is insisted on.
#[test]
fn a_certificate_decides_where_it_is_to() {
    if !is_there("openssl") {
        return;
    }
    let scratch = Scratch::new("send-tls");
    let (key, certificate) = (scratch.0.join("key.pem"), scratch.0.join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=mx.example", "-addext", "subjectAltName=DNS:mx.example", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let free = free_for(Ipv4Addr::new(127, 25, 0, 1));
    let at = free.to_string();
    let mut child = Running(
        Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &at, "-cert"])
            .args([certificate.as_os_str(), "-key".as_ref(), key.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    while std::net::TcpStream::connect(free).is_err() {
        assert!(child.0.try_wait().unwrap().is_none(), "openssl has ended");
        std::thread::yield_now();
    }
    let words = ["--server", &at, "--to", "c@d.example", "--tls", "implicit", "--json", "--drop-after", "connect"];
    let distrusted = send(&[&words[..7], &["--tls-verify-name", "mx.example"]].concat());
    assert_eq!(distrusted.status.code(), Some(1), "{}", text(&distrusted.stderr));
    let row = json(&distrusted)["rows"][0].clone();
    assert_eq!((row["status"].as_str(), row["stage"].as_str()), (Some("not_sent"), Some("tls")), "{row}");
    let ca = certificate.to_str().unwrap();
    let misnamed = send(&[&words[..7], &["--tls-verify-name", "other.example", "--ca", ca]].concat());
    assert!(json(&misnamed)["rows"][0]["why"].as_str().unwrap().contains("other.example"));
    let trusted = send(&[&words[..], &["--tls-verify-name", "mx.example", "--ca", ca]].concat());
    let answer = json(&trusted);
    assert_eq!((trusted.status.code(), answer["rows"][0]["status"].as_str()), (Some(0), Some("stopped")), "{answer}");
}

/// The same options, the same server: the same envelope and the same text as swaks has.
#[test]
fn the_envelope_is_swaks_own() {
    if !is_there("swaks") {
        return;
    }
    const SCRIPT: Script = &[
        "S: 220 a",
        "C: EHLO",
        "S: 250-a",
        "S: 250 PIPELINING",
        "C: MAIL",
        "C: RCPT",
        "C: RCPT",
        "S: 250 ok",
        "S: 250 ok",
        "S: 550 no",
        "C: DATA",
        "S: 354 go",
        "until-dot",
        "S: 250 ok",
        "C: QUIT",
        "S: 221 bye",
    ];
    let (port, served) = server("127.0.0.1", vec![SCRIPT, SCRIPT]);
    let at = format!("127.0.0.1:{port}");
    let common = ["--helo", "probe.example", "--from", "a@b.example", "--server", &at];
    let message = ["--header", "X-Same: yes"];
    let _ = run(&[
        &["send", "--to", "c@d.example", "--to", "e@f.example", "--pipelining", "--text", ".x"],
        &common[..],
        &message[..],
    ]
    .concat());
    let theirs = Command::new("swaks")
        .args(common)
        .args(message)
        .args(["--to", "c@d.example,e@f.example", "--pipeline", "--body", ".x"])
        .output();
    assert!(theirs.is_ok());
    let wrote = served.join().unwrap();
    // Fields differ by date and program; commands, stuffing and the end may not.
    let envelope = |all: &str| all.split_once("DATA\r\n").unwrap().0.to_owned();
    let body = |all: &str| {
        all.split_once("\r\n\r\n").unwrap().1.trim_start().trim_end_matches("QUIT\r\n").trim_end().to_owned()
    };
    assert_eq!(envelope(&wrote[0]), envelope(&wrote[1]));
    assert!(body(&wrote[0]).starts_with("..x") && body(&wrote[1]).starts_with("..x"), "{wrote:?}");
    assert!(
        wrote.iter().all(|all| all.contains("\r\nX-Same: yes\r\n") && all.ends_with("\r\n.\r\nQUIT\r\n")),
        "{wrote:?}"
    );
}

#[test]
fn a_real_receiver_takes_it() {
    if !is_there("smtp-sink") {
        return;
    }
    let scratch = Scratch::new("send-sink");
    let free = free_for(Ipv4Addr::new(127, 25, 0, 2));
    let mut child = Command::new("smtp-sink");
    if rustix::process::getuid().is_root() {
        child.args(["-u", "nobody"]);
    }
    let at = free.to_string();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let child = child.env("PATH", path).args([at.as_str(), "10"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = Running(child.unwrap());
    while std::net::TcpStream::connect(free).is_err() {
        assert!(child.0.try_wait().unwrap().is_none(), "smtp-sink has ended");
        std::thread::yield_now();
    }
    let file = scratch.file("big.bin", &"0123456789".repeat(200_000));
    let many: Vec<String> = (0..150).flat_map(|n| ["--to".to_owned(), format!("u{n}@d.example")]).collect();
    let mut words = vec!["--server", at.as_str(), "--json", "--pipelining", "--attach", file.to_str().unwrap()];
    words.extend(many.iter().map(String::as_str));
    let output = send(&words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer = json(&output);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 150);
    // A hundred recipients are one transaction.
    let counts: Vec<usize> =
        answer["attempts"].as_array().unwrap().iter().map(|one| one["recipients"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [100, 50]);
}
