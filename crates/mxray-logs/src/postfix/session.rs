//! What Postfix says of its clients: sessions, logins, refusals.

use super::delivery::peer;
use super::queue_id;
use crate::cut::{bare, find, has, split, starts_with_any, value};
use crate::event::{Arrival, Event, Peer, Refusal};

pub(super) fn read(text: &[u8]) -> Option<Event<'_>> {
    if let Some(rest) = text.strip_prefix(b"connect from ") {
        return Some(Event::Connect { client: peer(rest) });
    }
    if let Some(rest) = text.strip_prefix(b"disconnect from ") {
        return Some(Event::Disconnect { client: peer(rest) });
    }
    if let Some(rest) = text.strip_prefix(b"SSL_accept error from ") {
        let reason = split(rest, b"]: ").map_or(&b""[..], |(_, reason)| reason);
        return Some(Event::TlsFailed { peer: peer(rest), towards: false, reason });
    }
    // smtpd as a proxy in front of a filter.
    if starts_with_any(text, &[b"proxy-accept: ", b"proxy-reject: "]) {
        return proxied(text);
    }
    ended(text)
}

/// How a session ended early. Understood, and nothing to judge by itself: most of it is the noise of strangers.
pub(super) fn ended(text: &[u8]) -> Option<Event<'_>> {
    let known: [&[u8]; 9] = [
        // smtpd in front of a filter keeps no file: `NOQUEUE: client=`.
        b"client=",
        b"lost connection after ",
        b"timeout after ",
        b"too many errors after ",
        b"improper command pipelining after ",
        b"abort: TLS from ",
        b"SSL_accept:",
        b"setting up TLS connection ",
        b"client ",
    ];
    starts_with_any(text, &known).then_some(Event::Remark)
}

fn proxied(text: &[u8]) -> Option<Event<'_>> {
    if text.starts_with(b"proxy-accept: ") {
        return Some(Event::Remark);
    }
    let (stage, rest) = split(&text[b"proxy-reject: ".len()..], b": ")?;
    let (stage, client) = split(stage, b" from ").map_or((stage, Peer::default()), |(stage, who)| (stage, peer(who)));
    let refusal = behind_peer(stage, client, rest, true);
    Some(Event::Refusal { id: None, refusal })
}

/// `client=name[ip][, sasl_method=][, sasl_username=][, orig_queue_id=][, orig_client=]`
pub(super) fn client<'a>(id: &'a [u8], rest: &'a [u8]) -> Event<'a> {
    let body = &rest[b"client=".len()..];
    let (who, fields) = split(body, b", ").unwrap_or((body, b""));
    let arrival = Arrival {
        client: peer(who),
        account: value(fields, b"sasl_username=", b", "),
        earlier_id: value(fields, b"orig_queue_id=", b", ").filter(|id| super::is_queue_id(id)),
        ..Arrival::default()
    };
    Event::Arrival { id, arrival, begins: true }
}

/// What an access rule or a milter did: `reject: RCPT from name[ip]: 554 5.7.1 …; from=<> to=<> proto= helo=`.
///
/// The text in the middle is a stranger's: the last `; from=<` ends it.
pub(super) fn refused<'a>(id: Option<&'a [u8]>, rest: &'a [u8]) -> Option<Event<'a>> {
    let (action, body) = split(rest, b": ")?;
    if action == b"proxy-accept" || action == b"proxy-reject" {
        return proxied(rest);
    }
    match action {
        b"reject" | b"milter-reject" => {}
        b"hold" | b"milter-hold" => return Some(id.map_or(Event::Remark, |id| Event::Held { id })),
        b"discard" | b"milter-discard" => return Some(id.map_or(Event::Remark, |id| Event::Discarded { id })),
        b"reject_warning" | b"filter" | b"redirect" | b"warn" | b"info" | b"prepend" | b"bcc" | b"permit"
        | b"defer" | b"warning" | b"replace" | b"strip" | b"delay" | b"milter-quarantine" | b"quarantine"
        | b"defer_if_permit" | b"defer_if_reject" | b"dunno" | b"pass" | b"header" => {
            // `QID: warning: …` without a stage is a warning of the program itself, which the caller reads.
            let staged =
                has(body, b" from ") || starts_with_any(body, &[b"header ", b"body ", b"milter ", b"envfrom "]);
            let told = id.map_or(Event::Remark, |id| Event::Filtered { id, text: rest });
            return (staged || action != b"warning").then_some(told);
        }
        _ => return None,
    }
    // cleanup's header checks: `reject: header Subject: … from name[ip]; from=<…> …: text`.
    if starts_with_any(body, &[b"header ", b"body ", b"mime-header ", b"nested-header ", b"mime-error "]) {
        return Some(header_check(id, body));
    }
    let (stage, behind) = split(body, b" from ").unwrap_or((body, b""));
    let (client, text) = split(behind, b"]: ").unwrap_or((behind, b""));
    // postscreen names a port: `[192.0.2.1]:4984: 550 …`.
    let (client, text) = if text.is_empty() || client.contains(&b' ') {
        let (client, text) = split(behind, b": ").unwrap_or((behind, b""));
        (client, text)
    } else {
        (client, text)
    };
    let text = postscreen_port(text);
    let whole = [&b"END-OF-MESSAGE"[..], b"DATA", b"BDAT"].contains(&stage);
    // postscreen's remarks on whom it turns away at once, always with a 421: `all screening ports busy`.
    let class = (stage == b"CONNECT" && !text.first().is_some_and(u8::is_ascii_digit)).then_some(4);
    Some(Event::Refusal { id, refusal: Refusal { class, ..behind_peer(stage, peer(client), text, whole) } })
}

/// `4984: 550 …` is a port and a reply.
fn postscreen_port(text: &[u8]) -> &[u8] {
    match split(text, b": ") {
        Some((port, reply)) if port.len() > 3 && port.iter().all(u8::is_ascii_digit) => reply,
        _ => text,
    }
}

fn header_check<'a>(id: Option<&'a [u8]>, body: &'a [u8]) -> Event<'a> {
    let at = memchr::memmem::rfind(body, b"; from=<").unwrap_or(body.len());
    let (head, fields) = body.split_at(at);
    let client = memchr::memmem::rfind(head, b" from ").map_or(Peer::default(), |at| peer(&head[at + 6..]));
    let reply = memchr::memmem::rfind(fields, b">: ").map_or(&b""[..], |at| &fields[at + 3..]);
    let (from, to) = from_and_to(fields);
    let refusal = Refusal { stage: b"header", client, reply, from, to, account: None, class: None, ends_message: true };
    Event::Refusal { id, refusal }
}

fn behind_peer<'a>(stage: &'a [u8], client: Peer<'a>, text: &'a [u8], ends_message: bool) -> Refusal<'a> {
    // Before MAIL there is no sender.
    let end = memchr::memmem::rfind(text, b"; from=<").or_else(|| memchr::memmem::rfind(text, b"; proto="));
    let (reply, fields) = text.split_at(end.unwrap_or(text.len()));
    let (from, to) = from_and_to(fields);
    let account = value(fields, b"sasl_username=", b" ").map(|account| account.strip_suffix(b",").unwrap_or(account));
    Refusal { stage, client, reply, from, to, account: account.map(bare), class: None, ends_message }
}

/// Blanks between them in smtpd's lines, commas in postscreen's.
fn from_and_to(fields: &[u8]) -> (&[u8], &[u8]) {
    let one = |key: &[u8]| {
        let (_, behind) = split(fields, key)?;
        let end = find(behind, b"> ").or_else(|| find(behind, b">,")).or_else(|| find(behind, b">"))?;
        Some(&behind[..end])
    };
    (one(b"from=<").unwrap_or_default(), one(b" to=<").unwrap_or_default())
}

/// Reasons for a failed login that are no judgement of a password (`xsasl_dovecot_server.c`, `xsasl_cyrus_server.c`).
const FAULTS_OF_LOGIN: [&[u8]; 5] = [
    b"Connection lost to authentication server",
    b"emporary authentication failure",
    b"authentication server",
    b"generic failure",
    b"cannot connect to",
];

/// `name[ip]: SASL MECH authentication failed: reason[, sasl_username=]`
pub(super) fn failed_login(text: &[u8]) -> Option<Event<'_>> {
    let (who, rest) = split(text, b": SASL ")?;
    let (_, reason) = split(rest, b" authentication failed")?;
    // The server behind the login does not answer: nobody's password was wrong. The login's own trouble is told by the caller.
    if FAULTS_OF_LOGIN.iter().any(|fault| has(reason, fault)) {
        return None;
    }
    let account = value(reason, b"sasl_username=", b",").unwrap_or_default();
    let client = queue_id(who).map_or(who, |(_, rest)| rest);
    Some(Event::Login { account, client: peer(client), granted: false })
}
