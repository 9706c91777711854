//! Dovecot 2.3 and 2.4: logins, local delivery, sieve; from syslog and from its own file.

use crate::cut::{bare, find, has, split, starts_with_any, value};
use crate::event::{Event, Peer, Severity};

/// Services that log under their own name. A user's session is `imap(user)<pid><session>`.
const SERVICES: [&[u8]; 34] = [
    b"imap-login",
    b"pop3-login",
    b"submission-login",
    b"managesieve-login",
    b"imap",
    b"pop3",
    b"lmtp",
    b"lda",
    b"submission",
    b"managesieve",
    b"auth",
    b"auth-worker",
    b"master",
    b"anvil",
    b"config",
    b"log",
    b"indexer",
    b"indexer-worker",
    b"stats",
    b"director",
    b"doveadm",
    b"dict",
    b"replicator",
    b"aggregator",
    b"imap-hibernate",
    b"imap-urlauth",
    b"imap-urlauth-login",
    b"imap-urlauth-worker",
    b"old-stats",
    b"quota-status",
    b"script",
    b"script-login",
    b"ssl-params",
    b"welcome",
];

/// Whether a tag of a file without host names a service of Dovecot.
pub fn is_service(tag: &[u8]) -> bool {
    let end = tag.iter().position(|byte| matches!(byte, b'(' | b'<')).unwrap_or(tag.len());
    SERVICES.contains(&&tag[..end]) && tag != b"log" && tag != b"config" && tag != b"stats"
}

/// A line of Dovecot's own file behind its stamp: `imap-login: Info: …`, `lmtp(user)<1><x>: Error: …`.
pub fn own_file(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = split(text, b": ")?;
    (is_service(head) && has_level(rest)).then_some((head, rest))
}

/// Whether a text begins with the weight that Dovecot gives it.
pub fn has_level(text: &[u8]) -> bool {
    starts_with_any(text, &[b"Info: ", b"Warning: ", b"Error: ", b"Fatal: ", b"Panic: ", b"Debug: "])
}

/// One line. `None`: not understood.
pub fn read<'a>(tag: &[u8], text: &'a [u8]) -> Option<Event<'a>> {
    // Under syslog the tag is `dovecot` and the service stands in the text.
    let (service, rest) = if tag.starts_with(b"dovecot") { service_and_rest(text)? } else { (tag, text) };
    let (severity, rest) = level(rest);
    let grave = |severity| Some(Event::Trouble { severity, text: rest });
    // Said as a warning since 2.0: an operator or systemd stops it.
    let end = service.iter().position(|byte| matches!(byte, b'(' | b'<')).unwrap_or(service.len());
    if &service[..end] == b"master" {
        if starts_with_any(rest, &[b"Killed with signal", b"Shutting down"]) {
            return Some(Event::Stopped);
        }
        if rest.starts_with(b"service(") && has(rest, b"command startup failed, throttling") {
            return Some(Event::ProcessEnded { text: rest });
        }
    }
    match severity {
        Some(severity @ (Severity::Fatal | Severity::Panic)) => return grave(severity),
        Some(severity) if !has_login(rest) && !has(rest, b"msgid=") => return grave(severity),
        _ => {}
    }
    match &service[..end] {
        b"imap-login" | b"pop3-login" | b"submission-login" | b"managesieve-login" | b"imap-urlauth-login" => {
            login(rest).or(Some(Event::Remark))
        }
        b"lmtp" | b"lda" => Some(delivery(rest)),
        b"auth" | b"auth-worker" => Some(auth(rest)),
        b"master" if rest.starts_with(b"Dovecot v") && has(rest, b"starting up") => Some(Event::Started),
        name if SERVICES.contains(&name) || severity.is_some() => Some(Event::Remark),
        // A name that Dovecot's services have with parentheses: `script-login(user)`, a plugin's.
        _ => (end < service.len()).then_some(Event::Remark),
    }
}

/// The service ends at the first `: ` outside of parentheses and angle brackets: a user may be an IPv6 literal or hold colons.
fn service_and_rest(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut depth = 0u32;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' | b'<' => depth += 1,
            b')' | b'>' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && text.get(at + 1) == Some(&b' ') => return Some((&text[..at], &text[at + 2..])),
            b' ' if depth == 0 => {
                // `Panic: …` of a service whose name the line lacks.
                return None;
            }
            _ => {}
        }
    }
    None
}

fn level(text: &[u8]) -> (Option<Severity>, &[u8]) {
    let Some((head, rest)) = split(text, b": ") else { return (None, text) };
    match head {
        b"Info" | b"Debug" => (None, rest),
        b"Warning" => (Some(Severity::Warning), rest),
        b"Error" => (Some(Severity::Error), rest),
        b"Fatal" => (Some(Severity::Fatal), rest),
        b"Panic" => (Some(Severity::Panic), rest),
        _ => (None, text),
    }
}

fn has_login(text: &[u8]) -> bool {
    has(text, b"rip=")
}

/// `Login: user=<>, method=, rip=, …`, `Disconnected (auth failed, …): user=<>, …`, 2.4's `Login aborted: …`.
///
/// Which elements stand there is configurable (`login_log_format_elements`): each is looked for by its name.
fn login(text: &[u8]) -> Option<Event<'_>> {
    let address = value(text, b"rip=", b",").map(<[u8]>::trim_ascii_end);
    let client = Peer { name: b"", address: address.unwrap_or_default() };
    let account = value(text, b"user=<", b">").unwrap_or_default();
    if text.starts_with(b"Login: ") || text.starts_with(b"Logged in") {
        return Some(Event::Login { account, client, granted: true });
    }
    let failed =
        has(text, b"auth failed") || has(text, b"Authentication failed") || has(text, b"authentication failed");
    // The server behind the login does not answer: nobody's password was wrong.
    let fault =
        has(text, b"Auth process broken") || has(text, b"temp_fail") || has(text, b"emporary authentication failure");
    if failed && fault {
        return Some(Event::Trouble { severity: Severity::Error, text });
    }
    if failed && address.is_some() {
        return Some(Event::Login { account, client, granted: false });
    }
    if has(text, b"SSL_accept() failed") || has(text, b"TLS handshaking: ") {
        return Some(Event::TlsFailed { peer: client, towards: false, reason: text });
    }
    None
}

/// Words of a mail that is kept. 2.4 says first which action kept it: `fileinto action: stored mail into mailbox 'Junk'`.
const SAVED: [&[u8]; 4] = [b"saved mail", b"stored mail", b"Saved mail", b"copied mail"];

/// `[sieve: ]msgid=<…>: saved mail to X`. 2.3 puts `sieve:` in front, 2.4 too where it runs.
fn delivery(text: &[u8]) -> Event<'_> {
    let Some((_, behind)) = split(text, b"msgid=") else { return Event::Remark };
    let (message_id, action) = split(behind, b": ").unwrap_or((behind, b""));
    let stored = |key: &[u8]| find(action, key).map(|at| &action[at + key.len()..]);
    let quotes = |text: &'static [u8]| text;
    let mailbox = stored(quotes(b"mail to ")).or_else(|| stored(quotes(b"into mailbox ")));
    if let Some(mailbox) = mailbox
        && SAVED.iter().any(|saved| has(action, saved))
    {
        let mailbox = mailbox.strip_prefix(b"'").unwrap_or(mailbox);
        return Event::Stored {
            message_id: bare(message_id),
            mailbox: mailbox.strip_suffix(b"'").unwrap_or(mailbox),
            kept: true,
        };
    }
    if has(action, b"discard") {
        return Event::Stored { message_id: bare(message_id), mailbox: b"", kept: false };
    }
    if starts_with_any(action, &[b"save failed", b"failed to store", b"saving failed"])
        || has(action, b"failed to store")
    {
        return Event::Trouble { severity: Severity::Error, text: action };
    }
    Event::Remark
}

/// A failure here is told again by the login service, with the client: one attempt, counted there.
fn auth(_text: &[u8]) -> Event<'_> {
    Event::Remark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &'static str) -> Event<'static> {
        read(b"dovecot", text.as_bytes()).expect(text)
    }

    #[test]
    fn logins_of_both_versions() {
        let granted = said(
            "imap-login: Login: user=<a@b.example>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, mpid=18, TLS, session=<x>",
        );
        assert_eq!(
            granted,
            Event::Login { account: b"a@b.example", client: Peer { name: b"", address: b"192.0.2.1" }, granted: true }
        );
        for text in [
            "pop3-login: Info: Disconnected: Connection closed (auth failed, 2 attempts in 30 secs): user=<a@b.example>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.2, TLS: Connection closed, session=<x>",
            "imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<a@b.example>, rip=192.0.2.1, lip=192.0.2.2",
        ] {
            let Event::Login { account, client, granted: false } = said(text) else { panic!("{text}") };
            assert_eq!((account, client.address), (&b"a@b.example"[..], &b"192.0.2.1"[..]), "{text}");
        }
        assert_eq!(
            said("imap-login: Disconnected (no auth attempts in 0 secs): user=<>, rip=192.0.2.1, lip=192.0.2.2"),
            Event::Remark
        );
    }

    #[test]
    fn what_sieve_did() {
        let stored = said("lmtp(a@b.example)<12><x>: sieve: msgid=<m@x>: stored mail into mailbox 'INBOX'");
        assert_eq!(stored, Event::Stored { message_id: b"m@x", mailbox: b"INBOX", kept: true });
        let saved = said("lda(a)<1><y>: msgid=<m@x>: saved mail to Junk");
        assert_eq!(saved, Event::Stored { message_id: b"m@x", mailbox: b"Junk", kept: true });
        let gone = said("lmtp(a)<1><y>: sieve: msgid=<m@x>: discarded duplicate forward");
        assert_eq!(gone, Event::Stored { message_id: b"m@x", mailbox: b"", kept: false });
    }

    #[test]
    fn trouble_has_its_weight() {
        assert!(matches!(
            said("lmtp(a)<1><y>: Error: open() failed"),
            Event::Trouble { severity: Severity::Error, .. }
        ));
        assert!(matches!(said("imap: Panic: file x.c: line 1"), Event::Trouble { severity: Severity::Panic, .. }));
        assert_eq!(read(b"dovecot", b"free text that is none"), None);
        assert_eq!(own_file(b"imap-login: Info: x"), Some((&b"imap-login"[..], &b"Info: x"[..])));
        assert_eq!(own_file(b"H=x [192.0.2.1]: y"), None);
    }
}
