//! OpenSMTPD 6.4 and later: sessions in, envelopes, deliveries out.

use mxray_mail::causes::Speaker;

use crate::cut::{bare, has, split, starts_with_any, value, word};
use crate::envelope::{number, seconds};
use crate::event::{Arrival, Attempt, Event, Peer, Severity, Status};

/// One line. `None`: not understood.
pub fn read(text: &[u8]) -> Option<Event<'_>> {
    let (session, rest) = word(text);
    let is_session = session.len() == 16 && session.iter().all(u8::is_ascii_hexdigit);
    if !is_session {
        return without_session(text);
    }
    let (side, rest) = word(rest);
    let (verb, fields) = word(rest);
    match (side, verb) {
        (b"smtp", b"connected") => Some(Event::Connect { client: client(fields) }),
        (b"smtp", b"disconnected") => Some(Event::Disconnect { client: client(fields) }),
        (b"smtp", b"message") => message(fields),
        (b"smtp", b"envelope") => envelope(fields),
        (b"smtp", b"authentication") => {
            let account = field(fields, b"user").unwrap_or_default();
            let result = field(fields, b"result").unwrap_or_default();
            // The table of users does not answer: nobody's password was wrong.
            if result == b"tempfail" {
                return Some(Event::Trouble { severity: Severity::Warning, text });
            }
            Some(Event::Login { account, client: client(fields), granted: result == b"ok" })
        }
        (b"smtp", b"failed-command") => Some(failed_command(fields)),
        (b"smtp", b"tls") => Some(Event::Tls { peer: client(fields), towards: false }),
        (b"mta", b"tls") => Some(Event::SessionTls { session }),
        (b"mta" | b"mda", b"delivery") => delivery(session, side == b"mda", fields),
        (b"mta", b"error") => {
            // Unquoted, up to the end.
            let reason = split(fields, b"reason=").map_or(fields, |(_, reason)| reason);
            Some(Event::Skipped { id: None, host: client(fields), text: reason })
        }
        (b"smtp" | b"mta" | b"mda" | b"bounce" | b"filter" | b"queue" | b"scheduler", _) => Some(Event::Remark),
        _ => None,
    }
}

fn without_session(text: &[u8]) -> Option<Event<'_>> {
    for (head, severity) in [
        (&b"warn: "[..], Severity::Warning),
        (b"warn:", Severity::Warning),
        (b"fatal: ", Severity::Fatal),
        (b"fatal:", Severity::Fatal),
    ] {
        if let Some(rest) = text.strip_prefix(head) {
            return Some(Event::Trouble { severity, text: rest });
        }
    }
    // `fatal in dispatcher: …`, as OpenBSD's daemons end.
    if let Some((_, rest)) = text.strip_prefix(b"fatal in ").and_then(|rest| split(rest, b": ")) {
        return Some(Event::Trouble { severity: Severity::Fatal, text: rest });
    }
    if text == b"Exiting" {
        return Some(Event::Stopped);
    }
    if text.starts_with(b"info: OpenSMTPD") && has(text, b"starting") {
        return Some(Event::Started);
    }
    if starts_with_any(text, &[b"info: ", b"debug: ", b"scheduler: ", b"smtp-in: ", b"smtp-out: "]) {
        return Some(Event::Remark);
    }
    None
}

/// `key=value` or `key="value with blanks"`.
fn field<'a>(fields: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = fields;
    loop {
        let (name, behind) = split(rest, b"=")?;
        let (found, next) = match behind.strip_prefix(b"\"") {
            Some(quoted) => split(quoted, b"\"").unwrap_or((quoted, b"")),
            None => word(behind),
        };
        if name.trim_ascii_start() == key {
            return Some(found);
        }
        rest = next;
    }
}

fn client(fields: &[u8]) -> Peer<'_> {
    let address = field(fields, b"address").unwrap_or_default();
    let address = split(address, b"://").map_or(address, |(_, address)| address);
    Peer { name: field(fields, b"host").unwrap_or_default(), address: without_port(address) }
}

fn without_port(address: &[u8]) -> &[u8] {
    if let Some(inner) = address.strip_prefix(b"[") {
        return split(inner, b"]").map_or(inner, |(address, _)| address);
    }
    match split(address, b":") {
        Some((head, tail)) if !tail.contains(&b':') => head,
        _ => address,
    }
}

/// A message id is the first eight digits of the ids of its envelopes.
const MESSAGE_ID_DIGITS: usize = 8;

fn message(fields: &[u8]) -> Option<Event<'_>> {
    let id = field(fields, b"msgid")?;
    let size = field(fields, b"size").and_then(number).map(u64::from);
    let recipients = field(fields, b"nrcpt").and_then(number);
    let arrival = Arrival { size, recipients, client: client(fields), ..Arrival::default() };
    Some(Event::Arrival { id, arrival, begins: true })
}

/// Comes before its message: tells the sender.
fn envelope(fields: &[u8]) -> Option<Event<'_>> {
    let id = field(fields, b"evpid")?.get(..MESSAGE_ID_DIGITS)?;
    let arrival = Arrival { sender: field(fields, b"from").map(bare), ..Arrival::default() };
    Some(Event::Arrival { id, arrival, begins: false })
}

fn failed_command(fields: &[u8]) -> Event<'_> {
    let result = field(fields, b"result").unwrap_or_default();
    let command = field(fields, b"command").unwrap_or_default();
    let refusal = crate::event::Refusal {
        stage: word(command).0,
        client: client(fields),
        reply: result,
        from: b"",
        to: value(command, b"TO:<", b">").unwrap_or_default(),
        account: None,
        class: None,
        ends_message: false,
    };
    Event::Refusal { id: None, refusal }
}

fn delivery<'a>(session: &'a [u8], is_local: bool, fields: &'a [u8]) -> Option<Event<'a>> {
    let id = field(fields, b"evpid")?.get(..MESSAGE_ID_DIGITS)?;
    let result = field(fields, b"result")?;
    let status = match result {
        b"Ok" | b"ok" => Status::Sent,
        b"TempFail" => Status::Deferred,
        b"PermFail" | b"LoopFail" => Status::Bounced,
        _ => return None,
    };
    let text = stat(fields);
    let relay = field(fields, b"relay").unwrap_or_default();
    let relay = match split(relay, b" (") {
        Some((address, name)) => Peer { name: name.strip_suffix(b")").unwrap_or(name), address },
        None if is_local => Peer { name: b"local", address: b"" },
        // Nobody was reached: the domain.
        None => {
            // `action … relay host smtps://label@smart.example:465`
            let host = split(relay, b"://").map_or(relay, |(_, host)| host);
            let host = split(host, b"@").map_or(host, |(_, host)| host);
            Peer { name: without_port(host), address: if is_address(host) { without_port(host) } else { b"" } }
        }
    };
    let attempt = Attempt {
        to: bare(field(fields, b"to")?),
        more: b"",
        original_to: field(fields, b"rcpt").map(bare).filter(|rcpt| *rcpt != b"-").unwrap_or_default(),
        relay,
        delay: field(fields, b"delay").and_then(delay),
        delays: None,
        tls: b"",
        session,
        dsn: b"",
        status,
        text,
        next_id: if status == Status::Sent { crate::postfix::next_id(text) } else { None },
        speaker: if text.first().is_some_and(u8::is_ascii_digit) { Speaker::Theirs } else { Speaker::Ours },
    };
    Some(Event::Attempt { id, attempt })
}

/// The last field, in quotes of an `mta`, without them of an `mda`, and with quotes of its own within: `Error ("over quota")`.
fn stat(fields: &[u8]) -> &[u8] {
    let Some((_, text)) = split(fields, b" stat=") else { return b"" };
    match text.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").unwrap_or(quoted),
        None => text,
    }
}

fn is_address(text: &[u8]) -> bool {
    text.contains(&b':') || text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// `5s`, `1m5s`, `2h3m`, `1d2h`.
fn delay(text: &[u8]) -> Option<i64> {
    let (mut total, mut start) = (0i64, 0);
    for (at, byte) in text.iter().enumerate() {
        let unit = match byte {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => continue,
        };
        total = total.checked_add(seconds(&text[start..at])?.checked_mul(unit)?)?;
        start = at + 1;
    }
    (start == text.len() && start > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery() {
        let line = b"0123456789abcdef mta delivery evpid=4f2a1c00deadbeef from=<a@b.example> to=<c@d.example> rcpt=<-> source=\"192.0.2.9\" relay=\"192.0.2.1 (mx.d.example)\" delay=1m5s result=\"PermFail\" stat=\"550 5.1.1 User unknown\"";
        let Some(Event::Attempt { id, attempt }) = read(line) else { panic!("no attempt") };
        assert_eq!((id, attempt.to, attempt.status), (&b"4f2a1c00"[..], &b"c@d.example"[..], Status::Bounced));
        assert_eq!((attempt.relay.name, attempt.delay), (&b"mx.d.example"[..], Some(65_000_000)));
        assert_eq!(attempt.text, b"550 5.1.1 User unknown");
    }

    #[test]
    fn a_session() {
        let line = |text: &str| format!("0123456789abcdef smtp {text}");
        let connected = line("connected address=192.0.2.7 host=a.example");
        assert_eq!(
            read(connected.as_bytes()),
            Some(Event::Connect { client: Peer { name: b"a.example", address: b"192.0.2.7" } })
        );
        let login = line("authentication user=bob result=permfail");
        assert!(matches!(read(login.as_bytes()), Some(Event::Login { account: b"bob", granted: false, .. })));
        assert_eq!(read(b"something else"), None);
    }
}
