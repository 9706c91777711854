//! Sendmail 8.

use mxray_mail::causes::Speaker;

use crate::cut::{bare, has, split, starts_with_any, word};
use crate::envelope::number;
use crate::event::{Arrival, Attempt, Event, Notice, Peer, Refusal, Severity, Status};

/// Twelve to fourteen characters that encode the date: `s1P819mk027713`.
fn queue_id(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (id, rest) = split(text, b": ")?;
    let shape =
        (12..=16).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric) && id.iter().any(u8::is_ascii_digit);
    shape.then_some((id, rest))
}

/// One line. `None`: not understood.
pub fn read(text: &[u8]) -> Option<Event<'_>> {
    if let Some((id, rest)) = queue_id(text) {
        return with_id(id, rest);
    }
    if text.starts_with(b"ruleset=") {
        return refusal(None, text);
    }
    if text.starts_with(b"starting daemon") {
        return Some(Event::Started);
    }
    if starts_with_any(text, &[b"stopping daemon", b"NOQUEUE: stopping daemon"]) {
        return Some(Event::Stopped);
    }
    if starts_with_any(text, &[b"SYSERR", b"NOQUEUE: SYSERR", b"daemon ", b"error: ", b"unable to write "]) {
        return Some(Event::Trouble { severity: Severity::Error, text });
    }
    if starts_with_any(text, &[b"My unqualified host name", b"unable to qualify my own domain name"]) {
        return Some(Event::Trouble { severity: Severity::Warning, text });
    }
    if text.starts_with(b"AUTH") {
        return Some(login(text));
    }
    if text.starts_with(b"STARTTLS=") {
        return Some(starttls(text));
    }
    // `/etc/aliases: 40 aliases, longest 20 bytes, 500 bytes total`
    let aliases = text.starts_with(b"/") && has(text, b" aliases, longest ");
    let known: [&[u8]; 22] = [
        b"STARTTLS: ",
        b"rejecting new messages",
        b"fill_fd: ",
        b"File descriptors missing on startup",
        b"Milter: ",
        b"hash map ",
        b"DIGEST-MD5 ",
        // Of Cyrus' SASL library, which logs under its caller's name.
        b"sql_select option missing",
        b"auxpropfunc error",
        b"unable to open Berkeley db",
        b"sasl",
        b"runqueue: ",
        b"grew WorkList",
        b"dropped privileges",
        b"NOQUEUE: ",
        b"alias database ",
        b"started as",
        b"rejecting connections",
        b"accepting connections",
        b"restarting ",
        b"Millisecond ",
        b"gethostbyaddr",
    ];
    (aliases || starts_with_any(text, &known)).then_some(Event::Remark)
}

fn with_id<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    if rest.starts_with(b"from=") {
        let arrival = Arrival {
            client: field(rest, b"relay").map(peer).unwrap_or_default(),
            sender: field(rest, b"from").map(bare),
            size: field(rest, b"size").and_then(number).map(u64::from),
            recipients: field(rest, b"nrcpts").and_then(number),
            message_id: field(rest, b"msgid").map(bare),
            ..Arrival::default()
        };
        return Some(Event::Arrival { id, arrival, begins: true });
    }
    if rest.starts_with(b"to=") {
        return attempt(id, rest);
    }
    if rest.starts_with(b"ruleset=") {
        return refusal(Some(id), rest);
    }
    if starts_with_any(rest, &[b"SYSERR", b"Losing "]) {
        return Some(Event::Trouble { severity: Severity::Error, text: rest });
    }
    // Since 8.15: the last line of a message.
    if rest.starts_with(b"done; delay=") {
        return Some(Event::Removed { id });
    }
    if rest.starts_with(b"AUTH") {
        return Some(login(rest));
    }
    if let Some(event) = set_aside(id, rest).or_else(|| split_off(id, rest)) {
        return Some(event);
    }
    if let Some(event) = told_off(id, rest) {
        return Some(event);
    }
    // `ID: NEWID: DSN: User unknown`
    if let Some((notice_id, words)) = queue_id(rest) {
        let kind = if has(words, b": Warning: could not send message") { Notice::Delay } else { Notice::NonDelivery };
        return Some(Event::Notice { id, notice_id, kind });
    }
    let known: [&[u8]; 24] = [
        b"Authentication-Warning: ",
        b"makeconnection ",
        b"locked",
        b"removed",
        b"split: ",
        b"message size (",
        b"Too many recipients",
        b"too many hops",
        b"low on space ",
        b"alias ",
        b"return to sender: ",
        b"sender notify: ",
        b"postmaster notify: ",
        b"possible SMTP attack",
        b"clone",
        b"owner=",
        b"<",
        b"lost input channel",
        b"Milter",
        b"milter",
        b"STARTTLS",
        b"timeout waiting",
        b"collect: ",
        b"[",
    ];
    let session = has(rest, b" did not issue ")
        || has(rest, b": possible SMTP attack")
        || rest.ends_with(b"[rejected]")
        || starts_with_any(rest, &[b"rejecting commands from"]);
    (starts_with_any(rest, &known) || session).then_some(Event::Filtered { id, text: rest })
}

/// `key=value, `; a value ends where `, key=` follows, for recipients are a list with commas.
fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        let (name, behind) = split(rest, b"=")?;
        // `stat` and `reject` are free text to the end.
        if name == key && (key == b"stat" || key == b"reject") {
            return Some(behind);
        }
        let end = value_end(behind);
        if name == key {
            return Some(&behind[..end]);
        }
        rest = behind.get(end + 2..)?;
    }
}

fn value_end(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(at) = crate::cut::find(&text[from..], b", ") {
        let at = from + at;
        let name = text[at + 2..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if name > 0 && text.get(at + 2 + name) == Some(&b'=') {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

fn peer(text: &[u8]) -> Peer<'_> {
    let Some((name, rest)) = split(text, b"[") else {
        return Peer { name: rootless(text), address: b"" };
    };
    let name = name.trim_ascii_end();
    let name = rootless(name);
    let address = split(rest, b"]").map_or(rest, |(address, _)| address);
    // The tag of address literals (RFC 5321 section 4.1.3).
    Peer { name, address: address.strip_prefix(b"IPv6:").unwrap_or(address) }
}

fn attempt<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    let stat = field(rest, b"stat")?;
    // Nothing was tried: the message waits for a queue run.
    if stat == b"queued" {
        return Some(Event::Remark);
    }
    // A filter has set it aside; nothing was tried and nothing came back.
    if stat == b"quarantined" {
        return Some(Event::Held { id });
    }
    let (first, tail) = word(stat);
    let status = match first {
        b"Sent" => Status::Sent,
        b"Deferred" | b"Deferred:" => Status::Deferred,
        _ => Status::Bounced,
    };
    // Since 8.16 the other server's own words stand there, too; `stat` has the name of the exit status that they became.
    let reply = field(rest, b"reply").filter(|reply| matches!(reply.first(), Some(b'4' | b'5')));
    let text = match status {
        _ if let (Some(reply), Status::Bounced) = (reply, status) => reply,
        Status::Sent => tail.strip_prefix(b"(").unwrap_or(tail),
        Status::Deferred => tail,
        // The name of an exit status, which every refusal without a better one is given: of the reply, the line keeps the code alone.
        _ if stat == b"Service unavailable" => with_code(rest),
        _ => stat,
    };
    let text = text.strip_suffix(b")").unwrap_or(text);
    let (to, more) = crate::cut::first_of_list(field(rest, b"to")?);
    let attempt = Attempt {
        to: bare(to),
        more,
        original_to: b"",
        relay: field(rest, b"relay").map(peer).or_else(|| local(rest)).unwrap_or_default(),
        delay: field(rest, b"delay").and_then(clock),
        delays: None,
        tls: b"",
        session: b"",
        dsn: field(rest, b"dsn").unwrap_or_default(),
        status,
        text,
        next_id: if status == Status::Sent { crate::postfix::next_id(text) } else { None },
        speaker: if has(text, b"reply: ") || text.first().is_some_and(u8::is_ascii_digit) && !has(text, b", stat=") {
            Speaker::Theirs
        } else {
            Speaker::Ours
        },
    };
    Some(Event::Attempt { id, attempt })
}

/// `5.7.1, stat=Service unavailable`: from the code on.
fn with_code(rest: &[u8]) -> &[u8] {
    let stat = memchr::memmem::rfind(rest, b", stat=");
    let code = stat.and_then(|stat| memchr::memmem::rfind(&rest[..stat], b"dsn=")).map_or(0, |at| at + 4);
    &rest[code..]
}

/// A mailer that leaves no relay has none, where it does not speak SMTP: `local`, `prog`, `*file*`, `cyrus`.
fn local(rest: &[u8]) -> Option<Peer<'_>> {
    let mailer = field(rest, b"mailer")?;
    let remote = has(mailer, b"smtp") || starts_with_any(mailer, &[b"relay", b"uucp", b"ddn"]);
    (!remote && !mailer.contains(&b'.')).then_some(Peer { name: mailer, address: b"" })
}

/// Without the root's dot.
fn rootless(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

/// `AUTH=server, relay=…, authid=…`, `AUTH failure (LOGIN): …, user=bob, relay=…`; as a client it is no login here.
fn login(text: &[u8]) -> Event<'_> {
    let client = || field(text, b"relay").map(peer).unwrap_or_default();
    if let Some(rest) = text.strip_prefix(b"AUTH failure (") {
        // SASL(-8), -1, -12: the library or the server behind it, nobody's password.
        let faults = [&b"generic failure"[..], b"transient failure", b"cannot connect to", b"service unavailable"];
        if faults.iter().any(|fault| has(rest, fault)) {
            return Event::Trouble { severity: Severity::Warning, text };
        }
        let account = crate::cut::value(rest, b", user=", b",").unwrap_or_default();
        let client = crate::cut::value(rest, b", relay=", b",").map(peer).unwrap_or_default();
        return Event::Login { account, client, granted: false };
    }
    match field(text, b"authid") {
        Some(account) if text.starts_with(b"AUTH=server") => Event::Login { account, client: client(), granted: true },
        _ => Event::Remark,
    }
}

/// A recipient or a whole message was refused: `<bob@b.example>... User unknown`, `Milter: data, reject=554 5.7.1 Spam`.
fn told_off<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    let (stage, to, reply): (&[u8], &[u8], &[u8]) = if rest.starts_with(b"<") {
        let (to, reply) = split(rest, b">... ")?;
        (b"RCPT", bare(to), reply)
    } else {
        let head = rest.strip_prefix(b"Milter: ").or_else(|| rest.strip_prefix(b"milter="))?;
        let (stage, reply) = split(head, b", reject=")?;
        let stage = crate::cut::value(stage, b"action=", b",").unwrap_or(stage);
        (split(stage, b"=").map_or(stage, |(name, _)| name), b"", reply)
    };
    let ends_message = matches!(stage, b"data" | b"eom" | b"eoh" | b"body" | b"header");
    let client = Peer::default();
    let refusal = Refusal { stage, client, reply, from: b"", to, account: None, class: None, ends_message };
    Some(Event::Refusal { id: Some(id), refusal })
}

/// `…, quarantine=reason`, `…, discard`, `discarded`: what a filter or a ruleset did instead of refusing.
fn set_aside<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    if rest.starts_with(b"quarantine=") || has(rest, b", quarantine=") {
        return Some(Event::Held { id });
    }
    (rest == b"discarded" || rest.ends_with(b", discard")).then_some(Event::Discarded { id })
}

/// `clone ID, owner=list-owner`: the recipients of a list, whose notices go to its owner.
fn split_off<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    let from = split(rest.strip_prefix(b"clone ")?, b",")?.0;
    let shape = (12..=16).contains(&from.len()) && from.iter().all(u8::is_ascii_alphanumeric);
    shape.then_some(Event::Split { id, from })
}

/// `dd+hh:mm:ss`
fn clock(text: &[u8]) -> Option<i64> {
    let (days, time) = split(text, b"+").map_or((0, text), |(days, time)| (number(days).unwrap_or(0), time));
    let mut total = i64::from(days) * 86_400;
    let mut unit = 3600;
    for part in time.split(|byte| *byte == b':') {
        total += i64::from(number(part)?) * unit;
        unit /= 60;
    }
    Some(total * crate::stamp::SECOND)
}

fn refusal<'a>(id: Option<&'a [u8]>, text: &'a [u8]) -> Option<Event<'a>> {
    let Some(reply) = field(text, b"reject") else {
        return Some(id.and_then(|id| set_aside(id, text)).unwrap_or(Event::Remark));
    };
    let stage = field(text, b"ruleset").unwrap_or_default();
    let client = field(text, b"relay").map(peer).unwrap_or_default();
    // Asked about servers that we speak to: nobody was refused.
    if starts_with_any(stage, &[b"tls_server", b"tls_rcpt"]) {
        return Some(Event::TlsFailed { peer: client, towards: true, reason: reply });
    }
    if stage == b"try_tls" {
        return Some(Event::Remark);
    }
    // The first argument is what the rules were asked about: the sender of MAIL, the recipient of RCPT.
    let subject = |of: &[u8]| if stage == of { field(text, b"arg1").map(bare).unwrap_or_default() } else { b"" };
    let refusal = Refusal {
        stage,
        client,
        reply,
        from: subject(b"check_mail"),
        to: subject(b"check_rcpt"),
        account: None,
        class: None,
        ends_message: false,
    };
    Some(Event::Refusal { id, refusal })
}

fn starttls(text: &[u8]) -> Event<'_> {
    let towards = text.starts_with(b"STARTTLS=client");
    let peer = field(text, b"relay").map(peer).unwrap_or_default();
    if field(text, b"cipher").is_some() {
        Event::Tls { peer, towards }
    } else if (has(text, b"failed") || has(text, b"error")) && !text.starts_with(b"STARTTLS=read") {
        Event::TlsFailed { peer, towards, reason: text }
    } else {
        Event::Remark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_with_a_list_of_recipients() {
        let line = b"s1P819mk027713: to=<a@b.example>,<c@b.example>, ctladdr=<x@y.example> (0/0), delay=1+02:03:04, xdelay=00:00:02, mailer=esmtp, pri=121030, relay=mx.b.example. [192.0.2.1], dsn=5.1.1, stat=User unknown";
        let Some(Event::Attempt { attempt, .. }) = read(line) else { panic!("no attempt") };
        assert_eq!(attempt.status, Status::Bounced);
        assert_eq!((attempt.relay.name, attempt.relay.address), (&b"mx.b.example"[..], &b"192.0.2.1"[..]));
        assert_eq!(attempt.delay, Some((86_400 + 7_384) * 1_000_000));
        let sent = b"s1P819mk027713: to=<a@b.example>, delay=00:00:01, relay=mx [192.0.2.1], dsn=2.0.0, stat=Sent (ok 12345 queued as 4F2A1C0042)";
        let Some(Event::Attempt { attempt, .. }) = read(sent) else { panic!("no attempt") };
        assert_eq!((attempt.status, attempt.next_id), (Status::Sent, Some(&b"4F2A1C0042"[..])));
    }

    #[test]
    fn a_refusal_and_a_notice() {
        let line = b"ruleset=check_relay, arg1=[192.0.2.3], arg2=192.0.2.3, relay=[192.0.2.3], reject=421 4.3.2 Connection rate limit exceeded.";
        let Some(Event::Refusal { refusal, .. }) = read(line) else { panic!("no refusal") };
        assert_eq!(refusal.reply, b"421 4.3.2 Connection rate limit exceeded.");
        let notice = b"s1P819mk027713: s1P819mk027799: DSN: User unknown";
        assert!(matches!(read(notice), Some(Event::Notice { kind: Notice::NonDelivery, .. })));
    }
}
