//! The mail that is evaluated: read with a limit, its line ends, its author's domains, when it was received.
//!
//! What must not live here: verification (`mxray-auth`).

use crate::exit::Failure;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use mxray_auth::dkim::Message;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use mxray_net::wire_name;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Larger ones are taken by hardly any receiver.
const BYTES_MAX: u64 = 128 << 20;
/// Domains of authors that are evaluated; each costs walks.
pub const AUTHORS_MAX: usize = 4;

/// How the lines of the file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEnds {
    Crlf,
    /// As programs on UNIX store mail.
    Lf,
    Mixed,
}

/// A file that an option names; `-` is standard input.
pub fn read(option: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    let refuse =
        |why: String| Failure::Usage(format!("{option} {}: {why}", untrusted(file.as_os_str().as_encoded_bytes())));
    let read = if file.as_os_str() == "-" {
        limited(&mut io::stdin().lock())
    } else {
        File::open(file).and_then(|mut open| limited(&mut open))
    };
    let bytes = read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(refuse(format!("more than {} MiB", BYTES_MAX >> 20)));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(refuse("there is no mail in it".to_owned()));
    }
    Ok(bytes)
}

fn limited(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn line_ends(bytes: &[u8]) -> LineEnds {
    let (mut whole, mut bare) = (false, false);
    let mut before = 0;
    for byte in bytes {
        if *byte == b'\n' {
            if before == b'\r' { whole = true } else { bare = true }
        }
        before = *byte;
    }
    match (whole, bare) {
        (_, false) => LineEnds::Crlf,
        (false, true) => LineEnds::Lf,
        (true, true) => LineEnds::Mixed,
    }
}

/// When the last server took it, by the topmost Received field (RFC 5321 section 4.4).
pub fn received(message: &Message<'_>) -> Seen<i64> {
    let Some(value) = message.values("received").next() else { return Seen::Absent };
    let text = without_comments(&String::from_utf8_lossy(value));
    let date = text.rsplit_once(';').map(|(_, date)| date.split_whitespace().collect::<Vec<_>>().join(" "));
    let read = date.as_deref().and_then(|date| DateTimeParser::new().relaxed_weekday(true).parse_timestamp(date).ok());
    match read {
        Some(time) => Seen::Value(time.as_second()),
        None => Seen::Unknown(Blind::Failed {
            step: "reading the topmost Received field".to_owned(),
            error: "it has no date behind a semicolon".to_owned(),
        }),
    }
}

/// The domains of a message's authors, as A-labels, each once. `Err`: why there is none to evaluate.
pub fn authors(message: &Message<'_>) -> Result<Vec<String>, String> {
    let mut domains: Vec<String> = Vec::new();
    let mut fields = 0;
    let mut bad = None;
    for value in message.values("from") {
        fields += 1;
        for mailbox in mailboxes(&String::from_utf8_lossy(value)) {
            match domain(&mailbox) {
                Some(domain) if !domains.contains(&domain) => domains.push(domain),
                Some(_) => {}
                None => bad = Some(mailbox),
            }
        }
    }
    match (fields, domains.is_empty(), bad) {
        (0, ..) => Err("there is no From field".to_owned()),
        (_, true, Some(mailbox)) => Err(format!("{} in From has no domain", untrusted(mailbox.as_bytes()))),
        (_, true, None) => Err("the From field is empty".to_owned()),
        _ => Ok(domains),
    }
}

/// The addresses of a field (RFC 5322 section 3.4), bare: names, comments, routes and groups are left out.
fn mailboxes(text: &str) -> Vec<String> {
    let text = without_comments(text);
    let (mut all, mut current, mut angle) = (Vec::new(), String::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, &mut angle) {
            ('"', kept) => {
                let quoted = quoted(&mut chars);
                kept.as_mut().unwrap_or(&mut current).push_str(&quoted);
            }
            ('<', None) => angle = Some(String::new()),
            ('>', Some(inner)) => {
                // A route before the address is of no use any more (section 4.4).
                let inner = std::mem::take(inner);
                let address =
                    if inner.starts_with('@') { inner.rsplit(':').next().unwrap_or_default() } else { &inner };
                current = address.to_owned();
                all.push(std::mem::take(&mut current));
                angle = None;
            }
            (c, Some(inner)) => inner.push(c),
            // Behind the colon of a group stand its members.
            (':', None) => current.clear(),
            (',' | ';', None) => all.push(std::mem::take(&mut current)),
            (c, None) => current.push(c),
        }
    }
    all.push(current);
    let bare = |mailbox: &String| mailbox.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    all.iter().map(bare).filter(|mailbox| !mailbox.is_empty()).collect()
}

fn quoted(chars: &mut std::str::Chars<'_>) -> String {
    let mut out = String::from("\"");
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '\\' => out.extend(chars.next()),
            '"' => break,
            _ => {}
        }
    }
    out
}

/// Comments nest, and are none within quotes (RFC 5322 section 3.2.2).
fn without_comments(text: &str) -> String {
    let (mut out, mut depth, mut quoted) = (String::with_capacity(text.len()), 0usize, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next();
                if depth == 0 {
                    out.push('\\');
                    out.extend(next);
                }
            }
            '"' if depth == 0 => {
                quoted = !quoted;
                out.push('"');
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

fn domain(mailbox: &str) -> Option<String> {
    let (_, domain) = mailbox.rsplit_once('@')?;
    let domain = domain.trim_end_matches('.');
    let is_name = !domain.is_empty() && !domain.starts_with('[');
    is_name.then(|| wire_name(domain).unwrap_or_else(|_| domain.to_owned()).to_ascii_lowercase())
}

/// `--at`: RFC 3339, or `@` and seconds since 1970.
pub fn time(text: &str) -> Result<i64, String> {
    let wrong = || "not a time such as 2026-11-02T08:00:00Z or @1793606400".to_owned();
    let time = match text.strip_prefix('@') {
        Some(seconds) => seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        None => text.parse::<Timestamp>().ok(),
    };
    time.map(Timestamp::as_second).ok_or_else(wrong)
}

/// A moment in RFC 3339.
pub fn shown_time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| format!("@{seconds}"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Result<Vec<String>, String> {
        authors(&Message::read(text.as_bytes()))
    }

    #[test]
    fn authors_are_found_in_odd_places() {
        for (from, wanted) in [
            ("a@Example.ORG", "example.org"),
            ("\"b@decoy.example\" <a@example.org>", "example.org"),
            ("\"Last, First\" <a@example.org>", "example.org"),
            ("(c@decoy.example (nested)) a@example.org (x)", "example.org"),
            ("Name\r\n <a@example.org>", "example.org"),
            ("<@relay.example,@other.example:a@example.org>", "example.org"),
            ("\"odd<@>name\"@example.org", "example.org"),
            ("Team: a@example.org, b@example.org;", "example.org"),
            ("a@b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("a @ example.org.", "example.org"),
        ] {
            assert_eq!(of(&format!("From: {from}\r\n\r\n")), Ok(vec![wanted.to_owned()]), "{from}");
        }
        assert_eq!(of("From: a@a.example, b@b.example\r\n\r\n").unwrap(), ["a.example", "b.example"]);
        assert_eq!(of("From: a@a.example\r\nFrom: b@b.example\r\n\r\n").unwrap().len(), 2);
    }

    #[test]
    fn without_an_author_it_is_said_why() {
        assert!(of("To: x@example.org\r\n\r\n").unwrap_err().contains("no From"));
        assert!(of("From: postmaster\r\n\r\n").unwrap_err().contains("postmaster"));
        assert!(of("From: a@[192.0.2.1]\r\n\r\n").unwrap_err().contains("no domain"));
        assert!(of("From: undisclosed:;\r\n\r\n").is_err());
    }

    #[test]
    fn the_topmost_received_is_the_clock() {
        let text = "Received: from a (b; c) by d\r\n\tid 1; Mon, 2 Nov 2026 09:00:00 +0100 (CET)\r\n\
                    Received: from x by y; Sun, 1 Nov 2026 08:00:00 +0000\r\n\r\n";
        let at = time("2026-11-02T08:00:00Z").unwrap();
        assert_eq!(received(&Message::read(text.as_bytes())), Seen::Value(at));
        let odd = "Received: from a by b; Tue, 2 Nov 2026 08:00:00 GMT\r\n\r\n";
        assert_eq!(received(&Message::read(odd.as_bytes())), Seen::Value(at), "the weekday is wrong, the time is not");
        assert_eq!(received(&Message::read(b"From: a\r\n\r\n")), Seen::Absent);
        assert!(received(&Message::read(b"Received: from a by b\r\n\r\n")).blind().is_some());
        assert_eq!(shown_time(at), "2026-11-02T08:00:00Z");
        assert_eq!(time("@1793606400"), Ok(at));
    }

    #[test]
    fn line_ends_are_told() {
        assert_eq!(line_ends(b"a\r\nb\r\n"), LineEnds::Crlf);
        assert_eq!(line_ends(b"a\nb\n"), LineEnds::Lf);
        assert_eq!(line_ends(b"a\r\nb\n"), LineEnds::Mixed);
    }

    proptest! {
        #[test]
        fn no_field_breaks_it(text in "[\\PC\"<>(),:;@\\\\ \t]{0,80}") {
            let _ = of(&format!("From: {text}\r\nReceived: {text}\r\n\r\n"));
            let _ = received(&Message::read(format!("Received: {text}\r\n\r\n").as_bytes()));
        }
    }
}
