//! What Postfix's delivery agents say: attempts, the hosts that they passed over, TLS towards others.

use mxray_mail::causes::Speaker;

use super::is_queue_id;
use crate::cut::{find, has, split, starts_with_any};
use crate::envelope::seconds;
use crate::event::{Attempt, Delays, Event, Peer, Status};

/// `name[address]`, with a port or without.
pub fn peer(text: &[u8]) -> Peer<'_> {
    let Some((name, rest)) = split(text, b"[") else { return Peer { name: text, address: b"" } };
    let address = split(rest, b"]").map_or(rest, |(address, _)| address);
    Peer { name, address }
}

/// `to=<…>[, orig_to=<…>], relay=…[, conn_use=N], delay=T, delays=a/b/c/d[, tls=…], dsn=x.y.z, status=… (text)`.
///
/// An address may hold blanks, commas and `=` within quotes: it ends where `>, ` and the name of a field follow.
pub(super) fn attempt<'a>(id: &'a [u8], line: &'a [u8]) -> Option<Event<'a>> {
    let (to, mut rest) = address(&line[b"to=".len()..])?;
    let mut found = Attempt {
        to,
        more: b"",
        original_to: b"",
        relay: Peer::default(),
        delay: None,
        delays: None,
        tls: b"",
        session: b"",
        dsn: b"",
        status: Status::Sent,
        text: b"",
        next_id: None,
        speaker: Speaker::Ours,
    };
    if let Some(original) = rest.strip_prefix(b"orig_to=") {
        (found.original_to, rest) = address(original)?;
    }
    let status = loop {
        let (key, behind) = field(rest).or_else(|| split(rest, b"="))?;
        if key == b"status" {
            break behind;
        }
        let (value, next) = split(behind, b", ")?;
        match key {
            b"relay" if value != b"none" => found.relay = peer(value),
            b"delay" => found.delay = seconds(value),
            b"delays" => found.delays = delays(value),
            b"tls" => found.tls = value,
            b"dsn" => found.dsn = value,
            _ => {}
        }
        rest = next;
    };
    let (word, text) = split(status, b" (").unwrap_or((status, b""));
    found.status = match word {
        b"sent" => Status::Sent,
        b"deferred" => Status::Deferred,
        b"bounced" => Status::Bounced,
        _ if starts_with_any(word, &[b"deliverable", b"undeliverable"]) => Status::Probed,
        _ => return None,
    };
    // A line that syslog cut has no closing parenthesis; what is there counts.
    found.text = text.strip_suffix(b")").unwrap_or(text);
    // Whose words they are is asked of failures only.
    if found.status == Status::Sent {
        found.next_id = next_id(found.text);
    } else {
        found.speaker = speaker(found.text);
    }
    Some(Event::Attempt { id, attempt: found })
}

/// One of the fields that every attempt has, with what stands behind its `=`: told by its first letters, faster than found.
fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    const FIELDS: [&[u8]; 5] = [b"relay=", b"delay=", b"delays=", b"dsn=", b"status="];
    let own = FIELDS.iter().find(|own| text.starts_with(own))?;
    Some((&own[..own.len() - 1], &text[own.len()..]))
}

/// An address and what follows `, ` behind it.
fn address(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.first() != Some(&b'<') {
        return split(text, b", ");
    }
    let mut from = 0;
    loop {
        let at = from + find(&text[from..], b">, ")?;
        let behind = &text[at + 3..];
        if starts_with_any(behind, &[b"relay=", b"orig_to="]) {
            return Some((&text[1..at], behind));
        }
        from = at + 1;
    }
}

fn delays(text: &[u8]) -> Option<Delays> {
    let mut parts = text.split(|byte| *byte == b'/').map(seconds);
    let mut part = || parts.next().flatten();
    Some(Delays { before_queue: part()?, in_queue: part()?, connecting: part()?, sending: part()? })
}

/// Whose words a text holds: `host … said: …` and what stands behind `status=sent (` are the other server's.
fn speaker(text: &[u8]) -> Speaker {
    if has(text, b" said: ") || has(text, b" refused to talk to me: ") { Speaker::Theirs } else { Speaker::Ours }
}

/// The queue id which the next server gave: `250 2.0.0 Ok: queued as ID`, local(8)'s `forwarded as ID`.
pub(crate) fn next_id(text: &[u8]) -> Option<&[u8]> {
    // Nearly always it is the last word.
    let last = memchr::memrchr(b' ', text).map(|at| (&text[..at], &text[at + 1..]));
    if let Some((before, id)) = last
        && (before.ends_with(b"queued as") || before.ends_with(b"forwarded as"))
        && (is_queue_id(id) || crate::exim::is_message_id(id))
    {
        return Some(id);
    }
    // Exim's and Sendmail's words.
    if let Some((before, id)) = last {
        let exim = id.strip_prefix(b"id=").filter(|id| before.ends_with(b"OK") && crate::exim::is_message_id(id));
        if exim.is_some() {
            return exim;
        }
        if id == b"delivery" {
            return accepted_as(text);
        }
    }
    let (_, behind) = match split(text, b"queued as ") {
        Some(found) => found,
        None => split(text, b"forwarded as ")?,
    };
    // amavis repeats the words of the server behind it: the last one is the one that has the message.
    if let Some(deeper) = next_id(behind) {
        return Some(deeper);
    }
    let end = behind.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(behind.len());
    let id = &behind[..end];
    (is_queue_id(id) || crate::exim::is_message_id(id)).then_some(id)
}

/// `250 2.0.0 621A01Ab000101 Message accepted for delivery`: Sendmail's id, or the eight digits of OpenSMTPD's.
fn accepted_as(text: &[u8]) -> Option<&[u8]> {
    let before = text.strip_suffix(b" Message accepted for delivery")?;
    let id = before.rsplit(|byte| *byte == b' ').next()?;
    let sendmail = || (12..=16).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    let opensmtpd = || id.len() == 8 && id.iter().all(u8::is_ascii_hexdigit);
    (sendmail() || opensmtpd()).then_some(id)
}

/// `QID: host X said: …`, `QID: lost connection with …`: of a host that was passed over.
pub(super) fn with_host<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    let skipped = |host: &'a [u8]| Event::Skipped { id: Some(id), host: peer(host), text: rest };
    if let Some(tail) = rest.strip_prefix(b"host ") {
        let (host, _) = split(tail, b" said: ").or_else(|| split(tail, b" refused to talk to me: "))?;
        return Some(skipped(host));
    }
    if let Some(tail) = rest.strip_prefix(b"lost connection with ") {
        return Some(skipped(tail));
    }
    // `conversation with mx.example[192.0.2.1] timed out while sending message body`
    if let Some(tail) = rest.strip_prefix(b"conversation with ") {
        return Some(skipped(tail));
    }
    if starts_with_any(rest, &[b"connect to ", b"Server certificate "]) {
        return Some(skipped(rest));
    }
    None
}

/// What delivery agents say without a queue id: connections and TLS. It belongs to the next attempt of the same process.
pub(super) fn without_id(text: &[u8]) -> Option<Event<'_>> {
    if let Some((trust, rest)) = split(text, b" TLS connection ") {
        let known: [&[u8]; 5] = [b"Trusted", b"Verified", b"Untrusted", b"Anonymous", b"Fingerprint"];
        if !known.contains(&trust) {
            return None;
        }
        let towards = has(rest, b"ed to ");
        let (_, behind) = split(rest, if towards { b" to " } else { b" from " })?;
        return Some(Event::Tls { peer: peer(behind), towards });
    }
    if let Some(rest) = text.strip_prefix(b"connect to ") {
        return Some(Event::Skipped { id: None, host: peer(rest), text });
    }
    if let Some(rest) = text.strip_prefix(b"SSL_connect error to ") {
        return Some(Event::TlsFailed { peer: peer(rest), towards: true, reason: rest });
    }
    if let Some(rest) = text.strip_prefix(b"certificate verification failed for ") {
        return Some(Event::TlsFailed { peer: peer(rest), towards: true, reason: rest });
    }
    let known: [&[u8]; 8] = [
        // What it handed to the collector of reports (3.10).
        b"TLSRPT: status=",
        b"Host offered STARTTLS",
        b"server certificate verification failed",
        b"certificate peer name verification failed",
        b"Server certificate",
        b"Peer certificate",
        b"TLS SNI ",
        b"Peer TLSA ",
    ];
    // `mx.example[192.0.2.1]:25: re-using session with untrusted certificate, …`
    if starts_with_any(text, &known) || has(text, b": re-using session with ") {
        return Some(Event::Remark);
    }
    // With smtp_tls_loglevel = 2: `mx.example[192.0.2.1]:25: subject_CN=mx.example, issuer_CN=…`, `…: depth=0 matched …`
    let (_, certificate) = split(text, b"]:").or_else(|| split(text, b"]: "))?;
    let words: [&[u8]; 4] = [b"subject_CN=", b"depth=", b"certificate verification failed", b"Matched "];
    words.iter().any(|word| has(certificate, word)).then_some(Event::Remark)
}
