//! Exim's main, reject and panic logs, from files and from syslog.
//!
//! What administrators write with `log_message` and `logwrite` is free text: with a message id it is a remark of that message,
//! without one it is understood only in a known form.

use mxray_mail::causes::Speaker;

use crate::cut::{bare, find, has, split, starts_with_any, value, word};
use crate::envelope::{number, seconds};
use crate::event::{Arrival, Attempt, Event, Peer, Refusal, Severity, Status};

/// `6-6-2` characters in base 62, or `6-11-4` since 4.97.
pub fn is_message_id(id: &[u8]) -> bool {
    let parts: [usize; 3] = match id.len() {
        16 => [6, 6, 2],
        23 => [6, 11, 4],
        _ => return false,
    };
    let mut at = 0;
    for (place, length) in parts.into_iter().enumerate() {
        if place > 0 {
            if id[at] != b'-' {
                return false;
            }
            at += 1;
        }
        if !id[at..at + length].iter().all(u8::is_ascii_alphanumeric) {
            return false;
        }
        at += length;
    }
    true
}

/// One line of Exim behind its stamp. `None`: not understood.
pub fn read(text: &[u8]) -> Option<Event<'_>> {
    // syslog repeats the stamp where `syslog_timestamp` is on.
    let text = match crate::stamp::dated(text, 0) {
        Some((_, used)) if text.get(10) == Some(&b' ') => text.get(used + 1..)?,
        _ => text,
    };
    let text = without_pid(text);
    let (first, rest) = word(text);
    if is_message_id(first) {
        return Some(of_message(first, rest));
    }
    without_id(text)
}

/// `[pid] `, with `log_selector = +pid`.
fn without_pid(text: &[u8]) -> &[u8] {
    let Some(inner) = text.strip_prefix(b"[") else { return text };
    match split(inner, b"] ") {
        Some((pid, rest)) if number(pid).is_some() => rest,
        _ => text,
    }
}

fn of_message<'a>(id: &'a [u8], rest: &'a [u8]) -> Event<'a> {
    let (flag, tail) = word(rest);
    match flag {
        b"<=" | b"(=" => arrival(id, tail),
        b"=>" | b"->" | b">>" => attempt(id, tail, Status::Sent),
        b"**" => attempt(id, tail, Status::Bounced),
        b"==" => attempt(id, tail, Status::Deferred),
        b"*>" => Event::Filtered { id, text: rest },
        b"Completed" => Event::Removed { id },
        b"Frozen" => Event::Held { id },
        b"Message" if tail.starts_with(b"abandoned") => Event::Canceled { id },
        // The client did not hear that it was taken: it sends it again, and this one is thrown away.
        b"SMTP" if tail.starts_with(b"connection lost after final dot") => Event::Canceled { id },
        b"rejected" if tail.starts_with(b"from <") => of_whole(Some(id), tail),
        // Said at each queue run as long as it is.
        b"Message" if tail.starts_with(b"is frozen") => Event::Held { id },
        b"removed" => Event::Filtered { id, text: rest },
        _ if rest.starts_with(b"H=") && has(rest, b" rejected ") => {
            refusal(Some(id), rest).unwrap_or(Event::Filtered { id, text: rest })
        }
        _ if rest.starts_with(b"F=") && has(rest, b" rejected ") => {
            refusal(Some(id), rest).unwrap_or(Event::Filtered { id, text: rest })
        }
        b"H=" => Event::Filtered { id, text: rest },
        _ if rest.starts_with(b"H=") || rest.starts_with(b"host ") => {
            Event::Skipped { id: Some(id), host: host_field(rest).unwrap_or_default(), text: rest }
        }
        _ if has(rest, b"cancelled by") => Event::Canceled { id },
        // Before 4.80: `mx.example [192.0.2.1] Connection refused`.
        _ if starts_with_any(bracket_tail(tail), &[b"Connection ", b"No route ", b"Network is "]) => {
            Event::Skipped { id: Some(id), host: host_in(rest), text: rest }
        }
        // Free text of a message: an ACL's log_message, DKIM results, a router's remark.
        _ => Event::Filtered { id, text: rest },
    }
}

/// Fields are `Letter(s)=value`, with values in quotes where they hold blanks. What stands in quotes is a stranger's: a subject
/// may read like a field.
fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (_, value) = behind_key(text, key)?;
    Some(match value.strip_prefix(b"\"") {
        Some(quoted) => &quoted[..end_of_quote(quoted)],
        None => word(value).0,
    })
}

/// A token that begins with `key=`, and all that stands behind the `=`.
fn behind_key<'a>(text: &'a [u8], key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut rest = text;
    while !rest.is_empty() {
        let (token, next) = token(rest);
        if token.get(key.len()) == Some(&b'=') && token.starts_with(key) {
            return Some((token, &rest[key.len() + 1..]));
        }
        rest = next;
    }
    None
}

/// Up to the next blank that is not within quotes, and what stands behind it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let quote = match text.first() {
        Some(b'"') => Some(0),
        _ => find(word(text).0, b"=\"").map(|at| at + 1),
    };
    let Some(quote) = quote else { return word(text) };
    let inner = &text[quote + 1..];
    let close = quote + 1 + end_of_quote(inner);
    let end = memchr::memchr(b' ', &text[close..]).map_or(text.len(), |blank| close + blank);
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

/// What stands behind `[address] `.
fn bracket_tail(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"[").and_then(|inner| split(inner, b"] ")).map_or(b"", |(_, tail)| tail)
}

fn end_of_quote(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// `H=name (helo) [address]:port`: a bare name is verified, one in parentheses only claimed; the last bracket is the truth.
fn host_field(text: &[u8]) -> Option<Peer<'_>> {
    let (_, body) = behind_key(text, b"H")?;
    // A claimed name may hold brackets: `H=([192.0.2.9]) [192.0.2.1]`.
    let open = match split(body, b") [") {
        Some((head, _)) if !head.contains(&b'=') => head.len() + 2,
        _ => find(body, b"[")?,
    };
    let address = split(&body[open + 1..], b"]").map(|(address, _)| address)?;
    let name = word(&body[..open]).0;
    let name = if name.starts_with(b"(") || name.starts_with(b"[") { b"unknown" } else { name };
    Some(Peer { name, address })
}

/// `<= sender R=id H=… U=… P=… A=… S=size id=message-id`
fn arrival<'a>(id: &'a [u8], tail: &'a [u8]) -> Event<'a> {
    let (sender, fields) = token(tail);
    let tls = field(fields, b"P").is_some_and(|protocol| has_any(protocol, &[b"smtps"]));
    let arrival = Arrival {
        client: host_field(fields).unwrap_or_default(),
        // `A=plain_login:user@example.org`
        account: field(fields, b"A").and_then(|account| split(account, b":").map(|(_, user)| user)),
        sender: Some(bare(sender)),
        size: field(fields, b"S").and_then(number).map(u64::from),
        recipients: None,
        message_id: field(fields, b"id"),
        earlier_id: None,
        notice_of: field(fields, b"R").filter(|_| sender == b"<>"),
        tls,
    };
    Event::Arrival { id, arrival, begins: true }
}

/// `=> address <original> R=router T=transport H=… C="…" QT=… DT=…`, and with `: reason` at the end where it failed.
fn attempt<'a>(id: &'a [u8], tail: &'a [u8], status: Status) -> Event<'a> {
    let (to, rest) = token(tail);
    // Behind a command stand its arguments first: `|/usr/bin/filter --all <bob@example.org>`.
    let open = if to.starts_with(b"|") { find(rest, b"<").unwrap_or(0) } else { 0 };
    let original_to =
        rest[open..].strip_prefix(b"<").and_then(|rest| split(rest, b">")).map_or(&b""[..], |(inner, _)| inner);
    let text = match status {
        Status::Sent => field(rest, b"C").unwrap_or_default(),
        _ => reason(tail),
    };
    // What the other side said is no field.
    let rest = if status == Status::Sent { rest } else { &rest[..rest.len().saturating_sub(text.len())] };
    let relay = host_field(rest).unwrap_or_default();
    let transport = field(rest, b"T").unwrap_or_default();
    let relay = if relay.address.is_empty() { Peer { name: transport, address: b"" } } else { relay };
    let remote = !relay.address.is_empty();
    let theirs = status != Status::Sent && has_any(text, &THEIRS);
    let attempt = Attempt {
        // `:blackhole:` is a name, `a@b.example:` an address and what ends it.
        to: to.strip_suffix(b":").filter(|_| !to.starts_with(b":")).unwrap_or(to),
        more: b"",
        original_to,
        relay: if status == Status::Sent || remote { relay } else { Peer::default() },
        delay: field(rest, b"QT").and_then(duration),
        delays: None,
        tls: if field(rest, b"X").is_some() { b"encrypt" } else { b"" },
        session: b"",
        dsn: b"",
        status,
        text,
        next_id: if status == Status::Sent { exim_next(text) } else { None },
        speaker: if theirs { Speaker::Theirs } else { Speaker::Ours },
    };
    Event::Attempt { id, attempt }
}

/// `250 OK id=…` (Exim) or what other servers say.
fn exim_next(text: &[u8]) -> Option<&[u8]> {
    let exim = value(text, b"OK id=", b" ").filter(|id| is_message_id(id));
    exim.or_else(|| crate::postfix::next_id(text))
}

/// What stands behind the fields: `…: SMTP error from remote mail server after RCPT TO:<…>: 550 …`, `defer (110): Connection
/// timed out`.
fn reason(tail: &[u8]) -> &[u8] {
    let known: [&[u8]; 5] = [b" defer (", b": retry timeout", b": Unrouteable", b": host ", b": all hosts"];
    let first = |heads: &[&[u8]]| heads.iter().filter_map(|head| find(tail, head)).min();
    // `defer (-44) H=mx.example [192.0.2.1]: SMTP error …`: what was said stands behind the host.
    let at = first(&THEIRS).or_else(|| first(&known));
    let text = match at {
        Some(at) => &tail[at..],
        None => split(tail, b": ").map_or(tail, |(_, rest)| rest),
    };
    let text = text.strip_prefix(b": ").unwrap_or(text).trim_ascii_start();
    // `defer (-53): retry time not reached …`
    let Some((_, behind)) = text.strip_prefix(b"defer (").and_then(|rest| split(rest, b")")) else { return text };
    // `H=mx.example [192.0.2.1] DT=30s: Connection timed out`
    match behind.strip_prefix(b" H=").and_then(|host| split(host, b": ")) {
        Some((_, words)) => words,
        None => behind.strip_prefix(b": ").unwrap_or(behind),
    }
}

/// What stands before a reply of the other server.
const THEIRS: [&[u8]; 2] = [b"SMTP error from remote", b"LMTP error after "];

fn has_any(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| has(text, word))
}

/// `4s`, `1m30s`, `2d3h`, `0.123s`.
fn duration(text: &[u8]) -> Option<i64> {
    let (mut total, mut start) = (0i64, 0);
    for (at, byte) in text.iter().enumerate() {
        let unit = match byte {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => continue,
        };
        total = total.checked_add(seconds(&text[start..at])?.checked_mul(unit)?)?;
        start = at + 1;
    }
    (start == text.len() && start > 0).then_some(total)
}

/// `rejected from <a@b.example> H=mail.b.example [192.0.2.1]: message too big: read=… max=…`, when it was received.
fn of_whole<'a>(id: Option<&'a [u8]>, tail: &'a [u8]) -> Event<'a> {
    let from = value(tail, b"from <", b">").unwrap_or_default();
    let client = host_field(tail).unwrap_or_default();
    let reply = split(tail, b"]: ").or_else(|| split(tail, b": ")).map_or(tail, |(_, reply)| reply);
    let class = Some(5);
    let refusal = Refusal { stage: b"DATA", client, reply, from, to: b"", account: None, class, ends_message: true };
    Event::Refusal { id, refusal }
}

/// `H=… F=<…> rejected RCPT <…>: reason`, `temporarily rejected connection in "connect" ACL: …`.
fn refusal<'a>(id: Option<&'a [u8]>, text: &'a [u8]) -> Option<Event<'a>> {
    let (head, tail) = split(text, b"rejected ")?;
    let (stage, reply) = split(tail, b": ").unwrap_or((tail, b""));
    let before: [&[u8]; 3] = [b"after ", b"during ", b"by "];
    let stage = before.iter().find_map(|word| stage.strip_prefix(*word)).unwrap_or(stage);
    let command = word(stage).0;
    let named = split(stage, b"<").and_then(|(_, rest)| split(rest, b">")).map_or(&b""[..], |(named, _)| named);
    let (sender, to) = if command == b"MAIL" { (named, &b""[..]) } else { (&b""[..], named) };
    let refusal = Refusal {
        stage: command,
        client: host_field(head).unwrap_or_default(),
        reply: if reply.is_empty() { tail } else { reply },
        from: field(head, b"F").map_or(sender, bare),
        to,
        class: Some(if head.ends_with(b"temporarily ") { 4 } else { 5 }),
        account: field(head, b"A").and_then(|account| split(account, b":").map(|(_, user)| user)),
        ends_message: id.is_some(),
    };
    Some(Event::Refusal { id, refusal })
}

/// `plain authenticator failed for (helo) [address]: 535 Incorrect authentication data (set_id=user)`
fn failed_login(text: &[u8]) -> Option<Event<'_>> {
    let (_, behind) = split(text, b" authenticator failed for ")?;
    // `(helo) [192.0.2.1]:4711 I=[198.51.100.1]:587`: the second one is our own.
    let who = split(behind, b": ").map_or(behind, |(who, _)| who);
    let who = find(who, b" I=[").map_or(who, |at| &who[..at]);
    let open = memchr::memmem::rfind(who, b"[")?;
    let address = split(&behind[open + 1..], b"]").map(|(address, _)| address)?;
    // The server behind the login does not answer: nobody's password was wrong.
    if has(behind, b": 435 ") || has(behind, b": 454 ") {
        return Some(Event::Trouble { severity: Severity::Warning, text });
    }
    let account = value(text, b"(set_id=", b")").unwrap_or_default();
    let name = word(behind).0;
    let name = name.strip_prefix(b"H=").unwrap_or(name);
    let name = if name.starts_with(b"(") || name.starts_with(b"[") { b"unknown" } else { name };
    Some(Event::Login { account, client: Peer { name, address }, granted: false })
}

fn without_id(text: &[u8]) -> Option<Event<'_>> {
    if let Some(event) = failed_login(text) {
        return Some(event);
    }
    let subject = starts_with_any(text, &[b"H=", b"F=", b"U=", b"SMTP call ", b"SMTP connection ", b"sender verify"]);
    if has(text, b"rejected ") && subject {
        return refusal(None, text);
    }
    if let Some(event) = turned_away(text) {
        return Some(event);
    }
    if starts_with_any(text, &[b"exim ", b"daemon started"]) && has(text, b"daemon started") {
        return Some(Event::Started);
    }
    if starts_with_any(text, &[b"TLS error on connection from ", b"TLS error on connection to "]) {
        let towards = text.starts_with(b"TLS error on connection to ");
        let who = word(&text[b"TLS error on connection ".len()..]).1;
        return Some(Event::TlsFailed { peer: host_in(who), towards, reason: who });
    }
    if starts_with_any(text, &[b"no host name found for IP address", b"no IP address found for host"]) {
        return Some(Event::Remark);
    }
    if let Some(rest) = text.strip_prefix(b"Failed ").or_else(|| text.strip_prefix(b"failed to ")) {
        return Some(Event::Trouble { severity: Severity::Error, text: rest });
    }
    if starts_with_any(
        text,
        &[
            b"expansion of ",
            b"spool_directory space check failed",
            b"spool directory space check failed",
            b"daemon: fork of ",
            b"unable to open private key ",
            b"spam acl condition: ",
            b"malware acl condition: ",
            b"string too large in ",
            b"WARNING: ",
            b"(SSL_",
            b"(gnutls_",
        ],
    ) || has(text, b" verb not allowed in ")
    {
        return Some(Event::Trouble { severity: Severity::Error, text });
    }
    let grave =
        has(text, b"configuration error") || has(text, b"Exim configuration error") || text.starts_with(b"Cannot ");
    if grave || starts_with_any(text, &[b"socket bind() to port", b"Memory allocation failed"]) {
        return Some(Event::Trouble { severity: Severity::Fatal, text });
    }
    is_known_remark(text).then_some(Event::Remark)
}

/// Refusals that name the client at their end: `unqualified recipient rejected: <bob> H=(x) [192.0.2.1]`, `rejected HELO from
/// [192.0.2.1]: …`, `Connection from [192.0.2.1] refused: too many connections`.
fn turned_away(text: &[u8]) -> Option<Event<'_>> {
    if let Some(tail) = text.strip_prefix(b"rejected ").filter(|tail| tail.starts_with(b"from <")) {
        return Some(of_whole(None, tail));
    }
    let at = |stage: &'static [u8], client: Peer<'static>| Refusal {
        stage,
        client,
        reply: b"",
        from: b"",
        to: b"",
        account: None,
        class: Some(5),
        ends_message: false,
    };
    let refusal: Refusal<'_> = if let Some(rest) = text.strip_prefix(b"rejected HELO from ") {
        let (who, reply) = split(rest, b": ")?;
        Refusal { client: host_in(who), reply, ..at(b"HELO", Peer::default()) }
    } else if let Some(rest) = text.strip_prefix(b"unqualified recipient rejected: ") {
        let to = bare(word(rest).0);
        Refusal { client: host_field(rest).unwrap_or_default(), reply: text, to, ..at(b"RCPT", Peer::default()) }
    } else if let Some(rest) = text.strip_prefix(b"unqualified sender rejected: ") {
        let from = bare(word(rest).0);
        Refusal { client: host_field(rest).unwrap_or_default(), reply: text, from, ..at(b"MAIL", Peer::default()) }
    } else {
        let rest = text.strip_prefix(b"Connection from ")?;
        let (who, reply) = split(rest, b" refused: ")?;
        // Too many of them at once, always with a 421.
        Refusal { client: host_in(who), reply, class: Some(4), ..at(b"connection", Peer::default()) }
    };
    Some(Event::Refusal { id: None, refusal })
}

fn host_in(text: &[u8]) -> Peer<'_> {
    let Some((name, rest)) = split(text, b"[") else { return Peer { name: word(text).0, address: b"" } };
    // A name in parentheses is only claimed.
    let name = word(name).0;
    let name = if name.starts_with(b"(") { b"unknown" } else { name };
    Peer { name, address: split(rest, b"]").map_or(rest, |(address, _)| address) }
}

fn is_known_remark(text: &[u8]) -> bool {
    let known: [&[u8]; 61] = [
        b"Start '",
        b"End '",
        b"remote host address is the local host",
        b"unable to set gid=",
        b"exim user lost privilege ",
        b"SIGHUP received",
        b"SIGTERM received",
        b"Exim terminated by ",
        b"daemon restarted",
        b"rejected ",
        b"VRFY failed ",
        b"EXPN ",
        b"ETRN ",
        b"exec of ",
        b"timed out while ",
        b"invalid ",
        b"ignoring AUTH=",
        b"ACL for ",
        b"Connections=",
        b"Start queue run: pid=",
        b"End queue run: pid=",
        b"cwd=",
        b"SMTP connection from ",
        b"SMTP connection ",
        b"SMTP command timeout",
        b"SMTP data timeout",
        b"SMTP call from ",
        b"SMTP protocol ",
        b"SMTP syntax error",
        b"TLS ",
        b"unexpected disconnection",
        b"H=",
        b"U=",
        b"F=",
        b"pid ",
        b"Warning: ",
        b"Message ",
        b"sender verify ",
        b"Authentication ",
        b"Sender ",
        b"Connection from ",
        b"connection from ",
        b"Too many ",
        b"Spool file ",
        b"Spool format ",
        b"retry ",
        b"DNS list ",
        b"DNSSEC ",
        b"host ",
        b"lookup of ",
        b"dropped: ",
        b"no MAIL in SMTP",
        b"ident connection",
        b"login authenticator",
        b"PRDR ",
        b"malware ",
        b"refused connection from ",
        b"list matching forced",
        b"DKIM: ",
        b"Connection refused:",
        b"too many ",
    ];
    starts_with_any(text, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_of_ids() {
        assert!(is_message_id(b"1jmFYj-00039V-QX"));
        assert!(is_message_id(b"1rZJgh-00000004tXe-0jvL"));
        assert!(!is_message_id(b"1jmFYj-00039V-Q"));
        assert!(!is_message_id(b"1jmFYj_00039V_QX"));
    }

    #[test]
    fn a_delivery_and_its_confirmation() {
        let line = b"1jmFYj-00039V-QX => nick@dummy.example <alias@dummy.example> R=dnslookup T=remote_smtp H=smarthost.example [192.0.2.5] X=TLS1.2:ECDHE CV=yes DN=\"C=XX,L=Here\" C=\"250 2.0.0 Ok: queued as 4F2A1C0042\" QT=1m2s";
        let Some(Event::Attempt { attempt, .. }) = read(line) else { panic!("no attempt") };
        assert_eq!((attempt.to, attempt.original_to), (&b"nick@dummy.example"[..], &b"alias@dummy.example"[..]));
        assert_eq!((attempt.relay.name, attempt.relay.address), (&b"smarthost.example"[..], &b"192.0.2.5"[..]));
        assert_eq!(attempt.next_id, Some(&b"4F2A1C0042"[..]));
        assert_eq!(attempt.delay, Some(62_000_000));
    }

    #[test]
    fn reasons_of_failures() {
        let text = |line: &'static [u8]| match read(line) {
            Some(Event::Attempt { attempt, .. }) => String::from_utf8_lossy(attempt.text).into_owned(),
            other => panic!("{other:?}"),
        };
        let timed_out =
            b"1jmFYj-00039V-QX == bob@null.example R=dnslookup T=remote_smtp defer (110): Connection timed out";
        assert_eq!(text(timed_out), "Connection timed out");
        let said = b"1jmFYj-00039V-QX ** a@b.example R=r T=t H=mx.b.example [192.0.2.1]: SMTP error from remote mail server after RCPT TO:<a@b.example>: 550 5.1.1 no";
        assert!(text(said).starts_with("SMTP error from remote mail server"));
        assert_eq!(text(b"1jmFYj-00039V-QX ** bob@null.example: retry timeout exceeded"), "retry timeout exceeded");
    }

    #[test]
    fn claimed_names_are_not_believed() {
        let line = b"H=([198.51.100.9]) [192.0.2.7]:25 F=<a@b> rejected RCPT <c@d>: no";
        let Some(Event::Refusal { refusal, .. }) = read(line) else { panic!("no refusal") };
        assert_eq!((refusal.client.name, refusal.client.address), (&b"unknown"[..], &b"192.0.2.7"[..]));
        assert_eq!((refusal.to, refusal.reply), (&b"c@d"[..], &b"no"[..]));
        let login = b"dovecot_login authenticator failed for ([192.0.2.5]) [192.0.2.4]:55379: 535 Incorrect authentication data (set_id=info@example.org)";
        let Some(Event::Login { account, client, granted: false }) = read(login) else { panic!("no login") };
        assert_eq!((account, client.address), (&b"info@example.org"[..], &b"192.0.2.4"[..]));
    }
}
