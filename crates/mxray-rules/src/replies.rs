//! What servers say with a refusal: about whoever asks, about how often, about "later". Words of the world, as data.
//!
//! The texts behind a code are free (RFC 5321 section 4.2), so these are words that are in use; a rule that goes by them says
//! so with its confidence.

use crate::outside::Contact;
use mxray_model::evidence::{TlsMode, standard_service};
use mxray_model::session::{Answer, Raw, Reply, SmtpSession, Stage, Transcript, What};
use mxray_model::{Blind, Seen};
use std::net::IpAddr;

/// Longest text of a server that a finding repeats, in characters.
const SAID_CHARS_MAX: usize = 300;

/// Words that speak of whoever connects: lists of addresses, and what their operators say.
const OF_CLIENT: &[&str] = &[
    "blocklist",
    "block list",
    "block-list",
    "blacklist",
    "black list",
    "blocked using",
    "blocked by",
    "dnsbl",
    " rbl",
    "reputation",
    "spamhaus",
    "spamcop",
    "barracudacentral",
    "sorbs",
    "uceprotect",
    "abusix",
    "invaluement",
    "your ip",
    "your host",
    "your address",
    "your network",
    "client host",
    "client address",
    "ip address",
    "sending ip",
    "dynamic ip",
    "residential",
    "dialup",
    "dial-up",
    "reverse dns",
    "rdns",
    "ptr record",
    "not authorized to connect",
    "not allowed to connect",
    "banned",
];
/// Words that speak of how much or how often.
const OF_RATE: &[&str] = &[
    "rate limit",
    "rate-limit",
    "ratelimit",
    "rate exceeded",
    "too many",
    "too much",
    "throttl",
    "too fast",
    "too often",
    "concurrent",
    "concurrency",
    "connection limit",
    "connections from",
    "limit exceeded",
    "exceeded the",
    "slow down",
    "max connections",
    "maximum number of connections",
];
/// RFC 6647, and what the programs call it.
const OF_GREYLISTING: &[&str] = &[
    "greylist",
    "graylist",
    "grey list",
    "gray list",
    "grey-list",
    "gray-list",
    "greyed",
    "postgrey",
    "sqlgrey",
    "first time seen",
    "unknown triplet",
];
/// Words by which a server asks to come again.
const OF_LATER: &[&str] = &[
    "try again",
    "try later",
    "retry",
    "come back",
    "again later",
    "please wait",
    "resend",
    "temporarily rejected",
    "temporarily deferred",
];

/// Words of a server that is about to end.
const OF_END: &[&str] = &["shutting down", "shut down", "shutdown", "restarting", "maintenance", "temporar"];

fn has(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// The text of a reply as one line, escaped, without its code.
pub fn text(reply: &Reply) -> String {
    lines(&reply.lines)
}

fn lines(lines: &[Raw]) -> String {
    let whole = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ");
    short(&whole)
}

pub fn short(text: &str) -> String {
    let mut short: String = text.chars().take(SAID_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `421 4.7.0 too many connections`
pub fn said(reply: &Reply) -> String {
    format!("{} {}", reply.code, text(reply)).trim_end().to_owned()
}

/// `NO [AUTHENTICATIONFAILED] Authentication failed.`
pub fn answered(answer: &Answer) -> String {
    let code = answer.code.as_ref().map(|code| format!("[{code}] ")).unwrap_or_default();
    short(&format!("{} {code}{}", answer.status, answer.text)).trim_end().to_owned()
}

/// A refusal that speaks of the client: it names our address, or a list of addresses, and says nothing of what the server
/// does for others.
pub fn names_us(reply: &Reply, contact: Contact<'_>) -> bool {
    if reply.code < 400 {
        return false;
    }
    let text = text(reply);
    contact.our_address().is_some_and(|ours| mentions(&text, ours)) || has(&text, OF_CLIENT) && !of_recipient(reply)
}

/// The subject of RFC 3463 that speaks of addresses and mailboxes (X.1.*, X.2.*), and no sender's.
fn of_recipient(reply: &Reply) -> bool {
    reply.enhanced.is_some_and(|code| code.subject == 2 || (code.subject == 1 && code.detail < 7))
}

/// The code by which a mailbox server says that it is not for good (RFC 3206, RFC 5530, RFC 2449, RFC 5804), or words for it.
pub fn puts_off(answer: &Answer) -> bool {
    const CODES: [&str; 7] = ["SYS/TEMP", "IN-USE", "LOGIN-DELAY", "UNAVAILABLE", "INUSE", "TRYLATER", "LIMIT"];
    let code = answer.code.as_deref().unwrap_or_default().to_ascii_uppercase();
    let by_code = code.split_whitespace().next().is_some_and(|word| CODES.contains(&word));
    let text = short(&answer.text.to_string());
    by_code || has(&text, OF_RATE) || has(&text, OF_LATER) || has(&text, OF_END)
}

/// The server sends its clients to another one (RFC 2221, RFC 5804 section 1.3): that is no refusal.
pub fn refers(answer: &Answer) -> bool {
    let code = answer.code.as_deref().unwrap_or_default();
    code.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("REFERRAL"))
}

/// An answer that speaks of whoever connects.
pub fn turns_us_away(answer: &Answer, contact: Contact<'_>) -> bool {
    let text = short(&answer.text.to_string());
    contact.our_address().is_some_and(|ours| mentions(&text, ours)) || has(&text, OF_CLIENT)
}

/// SMTP begins as FTP does.
pub const SMTP: &str = "SMTP or FTP";

/// Protocols that are known by what they say first.
pub fn protocol(line: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 14] = [
        ("* OK", "IMAP"),
        ("* PREAUTH", "IMAP"),
        ("* BYE", "IMAP"),
        ("+OK", "POP3"),
        ("-ERR", "POP3"),
        ("SSH-", "SSH"),
        ("HTTP/", "HTTP"),
        ("<!DOCTYPE", "HTTP"),
        ("<html", "HTTP"),
        ("\"IMPLEMENTATION\"", "ManageSieve"),
        ("RFB ", "VNC"),
        ("220 ", SMTP),
        ("220-", SMTP),
        ("554 ", SMTP),
    ];
    let upper = line.to_uppercase();
    KNOWN.into_iter().find(|(start, _)| upper.starts_with(&start.to_uppercase())).map(|(_, name)| name)
}

/// No greeting came where the client was awaited, and a hello of TLS is taken instead.
pub fn takes_tls_at_once(contact: Contact<'_>) -> bool {
    contact.seen.hellos.iter().any(|hello| hello.takes_offer() == Seen::Value(true))
}

/// TLS from the first byte is what the port is for: we asked in the wrong way.
pub fn asked_in_clear(contact: Contact<'_>) -> Option<Blind> {
    let (protocol, tls, _) = standard_service(contact.endpoint.port)?;
    let wrong = tls == TlsMode::Implicit && protocol == contact.endpoint.protocol;
    wrong.then(|| Blind::Elsewhere {
        why: format!("on {} TLS begins with the first byte, as is usual at this port", contact.name()),
        look: format!("mxray probe {}", crate::outside::name(contact.endpoint)),
    })
}

/// The first thing that came, without its ending.
pub fn first_line(transcript: &Transcript) -> Option<String> {
    received_from(transcript, 0)
}

/// The first thing that came at this place of the transcript or behind it, without its ending.
pub fn received_from(transcript: &Transcript, entry: u32) -> Option<String> {
    let first = usize::try_from(entry).unwrap_or(usize::MAX);
    transcript.entries.iter().skip(first).find_map(|entry| match &entry.what {
        What::Received(raw) => Some(short(&Raw::from(raw.line()).to_string())),
        What::Sent(_) | What::Mark(_) => None,
    })
}

/// The address as a word of the text: `192.0.2.1` is not in `192.0.2.10`.
fn mentions(text: &str, address: IpAddr) -> bool {
    let foreign = |c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':');
    text.split(foreign).any(|word| {
        let word = word.trim_matches(['.', ':']);
        word.parse() == Ok(address)
    })
}

/// A refusal for being asked too often.
pub fn speaks_of_rate(reply: &Reply) -> bool {
    reply.is_transient() && has(&text(reply), OF_RATE)
}

/// A refusal that calls itself greylisting.
pub fn speaks_of_greylisting(reply: &Reply) -> bool {
    reply.is_transient() && has(&text(reply), OF_GREYLISTING)
}

pub fn asks_to_come_again(reply: &Reply) -> bool {
    reply.is_transient() && has(&text(reply), OF_LATER)
}

/// The reply with which a session in SMTP was refused before a transaction, and where it stands.
pub fn refusal(session: &SmtpSession) -> Option<(Stage, &Reply)> {
    if let Some(greeting) = session.greeting.value().filter(|greeting| greeting.code >= 400) {
        return Some((Stage::Greeting, greeting));
    }
    // HELO is asked where EHLO was refused: the last word counts.
    session.hellos.last().filter(|hello| hello.reply.code >= 400).map(|hello| (Stage::Ehlo, &hello.reply))
}

/// A session that is no answer: why, with the rule that speaks of it.
pub fn cut_short(contact: Contact<'_>, session: &SmtpSession) -> Blind {
    let said = refusal(session).map(|(_, reply)| {
        let code = if names_us(reply, contact) {
            " (LOOK006)"
        } else if speaks_of_rate(reply) {
            " (LOOK007)"
        } else {
            ""
        };
        format!("{}{code}", said(reply))
    });
    contact.cut_short(&session.ending, said)
}

/// A greeting of which a box in the middle left only asterisks (Cisco's "fixup": `220 ****2**0*`).
pub fn is_masked(greeting: &Reply) -> bool {
    let text = text(greeting);
    let stars = text.bytes().filter(|byte| *byte == b'*').count();
    stars >= 4 && stars * 2 >= text.len()
}

/// A stage in words.
pub fn stage_text(stage: Stage) -> &'static str {
    match stage {
        Stage::Greeting => "greeting",
        Stage::Ehlo | Stage::Helo => "ehlo",
        Stage::Starttls | Stage::Handshake => "starttls",
        Stage::Xclient => "xclient",
        Stage::Auth => "auth",
        Stage::Mail => "mail",
        Stage::Rcpt => "rcpt",
        Stage::Data | Stage::Message => "message",
        Stage::Rset | Stage::Quit => "quit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, enhanced: None, lines: vec![Raw::from(text)], after_ms: 1, entry: 1 }
    }

    #[test]
    fn an_address_is_a_word() {
        let ours: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(mentions("Client host [192.0.2.1] blocked", ours));
        assert!(mentions("Host 192.0.2.1.", ours));
        assert!(mentions("192.0.2.1: no", ours));
        assert!(!mentions("see 192.0.2.10", ours));
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(mentions("Client host [2001:DB8:0::1] blocked", six));
    }

    #[test]
    fn words_are_of_their_own_kind() {
        assert!(speaks_of_rate(&reply(421, "4.7.0 Too many connections from you")));
        assert!(!speaks_of_rate(&reply(554, "Too many connections")));
        assert!(speaks_of_greylisting(&reply(450, "4.2.0 <a@b>: Recipient address rejected: Greylisted")));
        assert!(!speaks_of_greylisting(&reply(250, "greylisted before")));
    }
}
