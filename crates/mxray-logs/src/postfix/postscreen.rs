//! What postscreen, dnsblog and tlsproxy say.

use super::delivery::peer;
use crate::cut::{has, split, starts_with_any};
use crate::event::Event;

/// First words of postscreen's remarks, under the names before 3.6 and after.
const REMARKS: [&[u8]; 27] = [
    b"CONNECT from [",
    // tlsproxy as a client, since 3.4.
    b"CONNECT to [",
    b"entering STRESS mode",
    b"leaving STRESS mode",
    b"PASS NEW [",
    b"PASS OLD [",
    b"PREGREET ",
    b"HANGUP after ",
    b"DISCONNECT [",
    b"DNSBL rank ",
    b"DNSWL rank ",
    b"ALLOWLISTED [",
    b"DENYLISTED [",
    b"WHITELISTED [",
    b"BLACKLISTED [",
    b"ALLOWLIST VETO [",
    b"WHITELIST VETO [",
    b"COMMAND PIPELINING from [",
    b"COMMAND TIME LIMIT from [",
    b"COMMAND COUNT LIMIT from [",
    b"COMMAND LENGTH LIMIT from [",
    b"BARE NEWLINE from [",
    b"NON-SMTP COMMAND from [",
    b"DATA without valid RCPT from [",
    b"BDAT without valid RCPT from [",
    b"NOQUEUE: ",
    b"reading private/",
];

pub(super) fn read(text: &[u8]) -> Option<Event<'_>> {
    if starts_with_any(text, &REMARKS) {
        return Some(Event::Remark);
    }
    if text.starts_with(b"addr ") && has(text, b" listed by domain ") {
        return Some(Event::Remark);
    }
    // tlsproxy: `TLS handshake failed for service=smtpd peer=[192.0.2.1]:1234`.
    if let Some(rest) = text.strip_prefix(b"TLS handshake failed for ") {
        let (_, who) = split(rest, b"peer=")?;
        return Some(Event::TlsFailed { peer: peer(who), towards: false, reason: rest });
    }
    None
}
