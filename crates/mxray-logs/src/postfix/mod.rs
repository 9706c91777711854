//! Postfix 3.4 to 3.11.
//!
//! A service may have any label (`relay`, `policyd`, `sender-cleanup/cleanup`) and an instance any name, so a line is read by
//! the shape of its text; the tag only says that it is Postfix. Start reading at [`read`]. What must not live here: what
//! several lines mean together (the join).

mod delivery;
mod postscreen;
mod session;

use crate::cut::{bare, find, has, is_digits, split, starts_with_any, value, word};
use crate::envelope::number;
use crate::event::{Arrival, Event, Notice, Severity};

pub(crate) use delivery::next_id;

/// Programs of Postfix itself: any of them names its instance as one of Postfix's.
const PROGRAMS: [&[u8]; 38] = [
    b"smtpd",
    b"smtp",
    b"qmgr",
    b"cleanup",
    b"pickup",
    b"local",
    b"lmtp",
    b"pipe",
    b"virtual",
    b"error",
    b"retry",
    b"discard",
    b"bounce",
    b"defer",
    b"trace",
    b"postscreen",
    b"dnsblog",
    b"tlsproxy",
    b"tlsmgr",
    b"anvil",
    b"scache",
    b"verify",
    b"proxymap",
    b"proxywrite",
    b"trivial-rewrite",
    b"master",
    b"postfix-script",
    b"postsuper",
    b"postqueue",
    b"postdrop",
    b"sendmail",
    b"postmap",
    b"postalias",
    b"postlogd",
    b"showq",
    b"flush",
    b"oqmgr",
    b"spawn",
];

/// The program that a tag ends in is one of Postfix's.
pub fn is_program(program: &[u8]) -> bool {
    PROGRAMS.contains(&program)
}

/// Instance and program of a tag: `postfix/submission/smtpd` is `postfix` and `smtpd`.
pub fn instance_and_program(tag: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = memchr::memchr(b'/', tag)?;
    let last = memchr::memrchr(b'/', tag)?;
    Some((&tag[..first], &tag[last + 1..]))
}

/// Whether a text begins with a queue id and a colon.
///
/// Short: five hexadecimal digits of microseconds and the inode, upper case. Long (`enable_long_queue_ids`): base 52 without
/// vowels, at least ten characters of time, then `z`, then the inode.
pub fn queue_id(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', text.get(..text.len().min(LONGEST_ID + 1))?)?;
    let id = &text[..colon];
    if !is_queue_id(id) || text.get(colon + 1) != Some(&b' ') {
        return None;
    }
    Some((id, &text[colon + 2..]))
}

const LONGEST_ID: usize = 24;

pub fn is_queue_id(id: &[u8]) -> bool {
    let short = || (6..=20).contains(&id.len()) && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    let long = || {
        let vowel = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u');
        (12..=LONGEST_ID).contains(&id.len())
            && id[10..].contains(&b'z')
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() && !vowel(byte))
    };
    short() || long()
}

/// One line of Postfix. `None`: not understood.
pub fn read<'a>(program: &[u8], text: &'a [u8]) -> Option<Event<'a>> {
    if let Some((id, rest)) = queue_id(text) {
        return with_id(id, rest)
            .or_else(|| severity_of(rest).map(|(severity, text)| Event::Trouble { severity, text }));
    }
    if let Some(rest) = text.strip_prefix(b"NOQUEUE: ") {
        return session::refused(None, rest).or_else(|| session::ended(rest));
    }
    if let Some((severity, rest)) = severity_of(text) {
        return Some(trouble(program, severity, rest));
    }
    session::read(text)
        .or_else(|| postscreen::read(text))
        .or_else(|| delivery::without_id(text))
        .or_else(|| housekeeping(text))
}

fn severity_of(text: &[u8]) -> Option<(Severity, &[u8])> {
    let (head, rest) = split(text.get(..10.min(text.len()))?, b": ")?;
    let severity = match head {
        b"warning" => Severity::Warning,
        b"error" => Severity::Error,
        b"fatal" => Severity::Fatal,
        b"panic" => Severity::Panic,
        _ => return None,
    };
    let used = head.len() + 2;
    debug_assert!(used + rest.len() <= text.len());
    Some((severity, &text[used..]))
}

/// A warning is free text by design; the ones that carry facts are read further.
fn trouble<'a>(program: &[u8], severity: Severity, text: &'a [u8]) -> Event<'a> {
    // Some versions put the queue id behind the severity.
    let inner = queue_id(text).map_or(text, |(_, rest)| rest);
    if severity == Severity::Warning {
        if let Some(event) = session::failed_login(inner) {
            return event;
        }
        // Whoever ends a process by SIGTERM asks it to: an admin, or the end of the server. Other lines of the master's
        // are about its files (`…/main.cf, line 55: overriding earlier entry`).
        if program == b"master" && inner.starts_with(b"process ") && !inner.ends_with(b" killed by signal 15") {
            return Event::ProcessEnded { text: inner };
        }
        if has(inner, b"bad command startup") {
            return Event::ProcessEnded { text: inner };
        }
    }
    Event::Trouble { severity, text: inner }
}

/// What follows `QID: `.
fn with_id<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    match rest.first()? {
        b't' if rest.starts_with(b"to=") => delivery::attempt(id, rest),
        b'f' if rest.starts_with(b"from=") => taken_up(id, rest),
        b'c' if rest.starts_with(b"client=") => Some(session::client(id, rest)),
        b'm' if rest.starts_with(b"message-id=") => {
            let message_id = bare(&rest[b"message-id=".len()..]);
            Some(Event::MessageId { id, message_id, resent: false })
        }
        b'r' if rest == b"removed" => Some(Event::Removed { id }),
        b'r' if rest.starts_with(b"resent-message-id=") => {
            let message_id = bare(&rest[b"resent-message-id=".len()..]);
            Some(Event::MessageId { id, message_id, resent: true })
        }
        b'u' if rest.starts_with(b"uid=") => Some(picked_up(id, rest)),
        b'c' if rest == b"canceled" => Some(Event::Canceled { id }),
        _ => notice(id, rest)
            .or_else(|| session::refused(Some(id), rest))
            .or_else(|| delivery::with_host(id, rest))
            .or_else(|| session::ended(rest))
            .or_else(|| by_hand(id, rest)),
    }
}

/// `from=<…>, size=N, nrcpt=N (queue active)` and `from=<…>, status=expired, returned to sender`.
fn taken_up<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    let body = &rest[b"from=".len()..];
    let (sender, fields) = if body.first() == Some(&b'<') {
        split(body, b">, ").map(|(sender, fields)| (&sender[1..], fields))?
    } else {
        split(body, b", ")?
    };
    if fields.starts_with(b"status=") {
        let expired = starts_with_any(&fields[b"status=".len()..], &[b"expired", b"force-expired"]);
        return expired.then_some(Event::Expired { id });
    }
    let size = value(fields, b"size=", b",").and_then(number).map(u64::from);
    let recipients = value(fields, b"nrcpt=", b" ").and_then(number);
    size.or(recipients.map(u64::from))?;
    Some(Event::Queued { id, sender, size, recipients })
}

/// `uid=N from=<user>[ orig_id=QID]`
fn picked_up<'a>(id: &'a [u8], rest: &'a [u8]) -> Event<'a> {
    let sender = value(rest, b" from=", b" ").map(bare);
    let earlier_id = value(rest, b" orig_id=", b" ");
    Event::Arrival { id, arrival: Arrival { sender, earlier_id, ..Arrival::default() }, begins: true }
}

/// `sender non-delivery notification: NEWID` and its like.
fn notice<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    if !starts_with_any(rest, &[b"sender ", b"postmaster "]) {
        return None;
    }
    let (words, tail) = split(rest, b" notification").unwrap_or((rest, b""));
    if tail.starts_with(b" failed") {
        return Some(Event::Filtered { id, text: rest });
    }
    let notice_id = tail.strip_prefix(b": ")?;
    let kind = match words.split(|byte| *byte == b' ').nth(1)? {
        b"non-delivery" => Notice::NonDelivery,
        b"delay" | b"delayed" => Notice::Delay,
        _ => Notice::Status,
    };
    is_queue_id(notice_id).then_some(Event::Notice { id, notice_id, kind })
}

/// What postsuper and qmgr say of one message.
fn by_hand<'a>(id: &'a [u8], rest: &'a [u8]) -> Option<Event<'a>> {
    match rest {
        b"placed on hold" => Some(Event::Held { id }),
        b"requeued" | b"released from hold" | b"expired" | b"force-expired" => Some(Event::Filtered { id, text: rest }),
        _ if starts_with_any(
            rest,
            &[
                b"skipped, still being delivered",
                b"passing <",
                b"enabling PIX workarounds",
                b"breaking line > ",
                b"TLS is required",
                b"Cannot start TLS",
                b"table ",
                b"milter ",
                b"flush ",
                b"sent ",
                b"filter ",
                b"unable to ",
                b"SASL authentication failed",
                b"undeliverable postmaster notification discarded",
            ],
        ) =>
        {
            Some(Event::Filtered { id, text: rest })
        }
        _ => None,
    }
}

/// What has no queue id and no session: statistics, start and stop, caches.
fn housekeeping(text: &[u8]) -> Option<Event<'_>> {
    // postfix-script says that it will start the daemon, then the daemon that it did: one start.
    if text.starts_with(b"daemon started") {
        return Some(Event::Started);
    }
    if text.starts_with(b"terminating on signal") {
        return Some(Event::Stopped);
    }
    let known: [&[u8]; 27] = [
        b"starting the Postfix mail system",
        b"stopping the Postfix mail system",
        b"waiting for the Postfix mail system",
        b"statistics: ",
        b"reload -- version",
        b"refreshing the Postfix mail system",
        b"the Postfix mail system is ",
        b"cache ",
        b"close database ",
        b"table ",
        b"discarding EHLO keywords",
        b"Postfix is ",
        b"mynetworks",
        b"open database ",
        b"using backwards-compatible",
        b"To disable backwards compatibility",
        b"See http",
        b"rewriting ",
        b"compatibility ",
        b"queue file ",
        b"fingerprint=",
        b"initializing the ",
        b"setting up TLS",
        b"save session ",
        b"delete ",
        b"reloading ",
        b"request ",
    ];
    if starts_with_any(text, &known) {
        return Some(Event::Remark);
    }
    // postsuper's sums: `Deleted: 3 messages`.
    let (head, tail) = split(text, b": ")?;
    let (count, unit) = word(tail);
    let sum = is_digits(count) && starts_with_any(unit, &[b"message"]);
    let kind: [&[u8]; 7] = [
        b"Renamed to match inode number",
        b"Deleted",
        b"Requeued",
        b"Placed on hold",
        b"Released from hold",
        b"Force-expired",
        b"Expired",
    ];
    if sum && kind.contains(&head) {
        return Some(Event::Remark);
    }
    // With `-v`, and with `debug_peer_list`: what was said, `> name[address]: 250 ok`.
    let dialogue = starts_with_any(text, &[b"> ", b"< "]) && find(text, b"]").is_some();
    dialogue.then_some(Event::Remark)
}

#[cfg(test)]
mod tests;
