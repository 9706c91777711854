//! Writes a Postfix log to standard output and its truth as JSON to a file:
//! `generate-log FORM MESSAGES SEED TRUTH.json > mail.log`, FORM one of plain, rfc3339, journal, instances; or `hostile`, of which
//! every message has names of its own and none ends, or `line`, which is one line of so many million bytes.

#[path = "lives.rs"]
mod lives;

use std::error::Error;
use std::io::{BufWriter, Write, stdout};

use lives::{Form, Settings, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, messages, seed, truth] = arguments.as_slice() else {
        return Err("usage: generate-log plain|rfc3339|journal|instances|hostile|line MESSAGES SEED TRUTH.json".into());
    };
    let form = match form.as_str() {
        "hostile" => return Ok(hostile(messages.parse()?, truth)?),
        "line" => return Ok(line(messages.parse()?, truth)?),
        "plain" => Form::Plain,
        "rfc3339" => Form::Rfc3339,
        "journal" => Form::Journal,
        "instances" => Form::TwoInstances,
        _ => return Err("no such form".into()),
    };
    // Four hours before New Year.
    let settings =
        Settings { seed: seed.parse()?, messages: messages.parse()?, form, start: 1_767_211_200, gap: 1_200_000 };
    let mut out = BufWriter::new(stdout().lock());
    let known = generate(settings, &mut out)?;
    out.flush()?;
    std::fs::write(truth, serde_json::to_vec_pretty(&known)?)?;
    Ok(())
}

/// What strangers may make a server write: seven names a message that occur once, and a queue that only grows.
fn hostile(messages: u64, truth: &str) -> std::io::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    for n in 0..messages {
        let stamp = format!("Jan  1 {:02}:{:02}:{:02} mx postfix", n * 80_000 / messages / 3600, n / 60 % 60, n % 60);
        let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
        writeln!(
            out,
            "{stamp}/smtpd[1]: {n:08X}: client=h{n}[10.{a}.{b}.{c}], sasl_method=PLAIN, sasl_username=user{n}"
        )?;
        writeln!(out, "{stamp}/cleanup[1]: {n:08X}: message-id=<{n}@x{n}.example>")?;
        writeln!(out, "{stamp}/qmgr[1]: {n:08X}: from=<a@x{n}.example>, size=900, nrcpt=2 (queue active)")?;
        writeln!(
            out,
            "{stamp}/smtp[1]: {n:08X}: to=<u@y{n}.example>, relay=mx.y{n}.example[172.16.{b}.{c}]:25, delay=3, delays=1/0/1/1, dsn=4.2.2, status=deferred (host mx.y{n}.example[172.16.{b}.{c}] said: 452 4.2.2 <u@y{n}.example> is full, see {n:x} (in reply to RCPT TO command))"
        )?;
        writeln!(
            out,
            "{stamp}/smtpd[1]: warning: unknown[2001:db8::{b:x}:{n:x}]: SASL LOGIN authentication failed: \0{n}"
        )?;
    }
    out.flush()?;
    std::fs::write(truth, format!("{{\"received\": {messages}, \"alive\": 0, \"deferred\": {messages}}}"))
}

/// Without a line break, with bytes that are no text.
fn line(megabytes: u64, truth: &str) -> std::io::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    let piece = b"Jan  1 00:00:00 mx postfix/smtpd[1]: \0\xff\xfe ".repeat(22);
    for _ in 0..megabytes * 1_000_000 / piece.len() as u64 {
        out.write_all(&piece)?;
    }
    out.flush()?;
    std::fs::write(truth, "{}")
}
