//! How a server treats whoever comes, read from what it said and how long it took.

use super::facts::said;
use mxray_model::Seen;
use mxray_model::evidence::{Conduct, ExaminedAddress, Session};
use mxray_model::session::{MailboxSession, Reply, SmtpSession, StarttlsOutcome, What};
use mxray_model::text::untrusted;
use std::net::{IpAddr, SocketAddr};

/// Later than any network explains; postscreen's pause of 6 s is beyond it.
const LATE_GREETING_MS: u64 = 5000;
/// A reply that takes as long as this without a reason is held back.
const SLOW_REPLY_MS: u64 = 2000;
/// One slow reply may be a lookup; two are a habit.
const SLOW_REPLIES: usize = 2;

/// Words of refusals that are about where the connection comes from.
const ABOUT_THE_CLIENT: [&str; 13] = [
    "blocked using",
    "blacklist",
    "blocklist",
    "block list",
    "dnsbl",
    "spamhaus",
    "reputation",
    "your ip",
    "client host",
    "reverse dns",
    "ptr record",
    "rdns",
    "sending ip",
];

pub(super) fn of(examined: &ExaminedAddress) -> Vec<Conduct> {
    let own = examined.dial.local.value().map(SocketAddr::ip);
    match examined.session.value() {
        Some(Session::Smtp(session)) => smtp(session, own, examined),
        Some(Session::Mailbox(session)) => mailbox(session),
        None => Vec::new(),
    }
}

fn smtp(session: &SmtpSession, own: Option<IpAddr>, examined: &ExaminedAddress) -> Vec<Conduct> {
    let mut seen = Vec::new();
    let mut judge = |step: &str, reply: &Reply| {
        let (step, code, text) = (step.to_owned(), reply.code, said(reply));
        if turns_away(reply, own) {
            seen.push(Conduct::TurnsUsAway { step, code, text });
        } else if reply.is_transient() {
            seen.push(Conduct::PutsOff { step, code, text });
        }
    };
    let mut paced: Vec<u64> = Vec::new();
    if let Some(greeting) = session.greeting.value() {
        judge("greeting", greeting);
    }
    for hello in &session.hellos {
        judge(&hello.verb, &hello.reply);
        paced.push(hello.reply.after_ms);
    }
    if let Some(reply) = session.mail_in_clear.value() {
        paced.push(reply.after_ms);
    }
    if let Some(StarttlsOutcome::Refused(reply)) = session.starttls.value() {
        judge("STARTTLS", reply);
    }
    for transaction in session.transactions() {
        let replies = transaction.recipients.iter().filter_map(|recipient| recipient.reply.value());
        paced.extend(transaction.mail.value().into_iter().chain(replies).map(|reply| reply.after_ms));
        if let Some(mail) = transaction.mail.value() {
            judge("MAIL", mail);
        }
        for recipient in &transaction.recipients {
            match recipient.reply.value() {
                Some(reply) if !is_greylisting(reply) || turns_away(reply, own) => judge("RCPT", reply),
                _ => {}
            }
        }
    }
    seen.extend(greylisted(session, own, examined));
    seen.extend(late(session.greeting.value().map(|greeting| greeting.after_ms)));
    seen.extend(tarpit(&paced));
    seen.extend(drip(session));
    seen
}

fn mailbox(session: &MailboxSession) -> Vec<Conduct> {
    let mut seen = Vec::new();
    if let Some(greeting) = session.greeting.value() {
        let busy = greeting.code.as_deref().is_some_and(|code| code.starts_with("UNAVAILABLE") || code == "SYS/TEMP");
        if !greeting.ok && busy {
            let text = untrusted(&greeting.text.0);
            seen.push(Conduct::PutsOff { step: "greeting".to_owned(), code: 0, text });
        }
        seen.extend(late(Some(greeting.after_ms)));
    }
    seen
}

fn late(after_ms: Option<u64>) -> Option<Conduct> {
    after_ms.filter(|after_ms| *after_ms >= LATE_GREETING_MS).map(|after_ms| Conduct::GreetsLate { after_ms })
}

fn tarpit(replies_ms: &[u64]) -> Option<Conduct> {
    let least_ms = *replies_ms.iter().min()?;
    let replies = u32::try_from(replies_ms.len()).unwrap_or(u32::MAX);
    let habit = replies_ms.len() >= SLOW_REPLIES && least_ms >= SLOW_REPLY_MS;
    habit.then_some(Conduct::Tarpits { least_ms, replies })
}

/// Lines that come byte by byte.
fn drip(session: &SmtpSession) -> Option<Conduct> {
    let received = session.transcript.entries.iter().filter(|entry| matches!(entry.what, What::Received(_)));
    let slow: Vec<u64> = received.map(|entry| entry.took_ms).filter(|took_ms| *took_ms >= SLOW_REPLY_MS).collect();
    (slow.len() >= SLOW_REPLIES).then(|| tarpit(&slow)).flatten()
}

/// 450 and 451 are what greylisting says (RFC 6647 section 5.2); 452 is about room.
fn is_greylisting(reply: &Reply) -> bool {
    matches!(reply.code, 450 | 451)
}

fn greylisted(session: &SmtpSession, own: Option<IpAddr>, examined: &ExaminedAddress) -> Vec<Conduct> {
    let recipients = session.transactions().flat_map(|transaction| &transaction.recipients);
    let put_off = recipients.filter_map(|recipient| {
        let reply = recipient.reply.value().filter(|reply| is_greylisting(reply) && !turns_away(reply, own))?;
        let accepted_later = later(examined, &recipient.address);
        let recipient = untrusted(recipient.address.as_bytes());
        Some(Conduct::Greylists { recipient, text: said(reply), accepted_later })
    });
    put_off.collect()
}

/// What became of it in the sessions that were held later.
fn later(examined: &ExaminedAddress, address: &str) -> Seen<bool> {
    let replies = examined.retried.iter().filter_map(|retried| match retried.session.value() {
        Some(Session::Smtp(session)) => {
            let mut recipients = session.transactions().flat_map(|transaction| &transaction.recipients);
            recipients.find(|recipient| recipient.address == address)?.reply.value()
        }
        _ => None,
    });
    let mut answered = replies.peekable();
    match answered.peek() {
        None => Seen::not_attempted("not asked again"),
        Some(_) => Seen::Value(answered.any(Reply::is_positive)),
    }
}

/// A refusal that is about us: it names our address, or a list that we are said to stand on.
fn turns_away(reply: &Reply, own: Option<IpAddr>) -> bool {
    if !reply.is_transient() && !reply.is_permanent() {
        return false;
    }
    let text = said(reply).to_ascii_lowercase();
    let names_us = own.is_some_and(|own| words(&text).any(|word| word.parse() == Ok(own)));
    // Behind a translated address we do not know our own; a policy refusal that names any is about it.
    let policy = reply.enhanced.is_some_and(|enhanced| enhanced.subject == 7);
    let names_any = policy && words(&text).any(|word| word.parse::<IpAddr>().is_ok());
    names_us || names_any || ABOUT_THE_CLIENT.iter().any(|phrase| text.contains(phrase))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != ':').map(|word| word.trim_matches(['.', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::session::{Enhanced, Raw};

    fn reply(code: u16, text: &str) -> Reply {
        let enhanced = text.starts_with("5.7.").then_some(Enhanced { class: 5, subject: 7, detail: 1 });
        Reply { code, enhanced, lines: vec![Raw::from(text)], after_ms: 1, entry: 0 }
    }

    #[test]
    fn a_refusal_about_the_asker_is_told_from_one_about_the_mail() {
        let own = Some("192.0.2.7".parse().unwrap());
        for (code, text) in [
            (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example"),
            (550, "5.7.1 [198.51.100.9] is not welcome"),
            (554, "192.0.2.7 go away"),
            (421, "too many connections from your IP"),
        ] {
            assert!(turns_away(&reply(code, text), own), "{text}");
        }
        for (code, text) in [
            (550, "5.1.1 no such user"),
            (554, "5.7.1 relay access denied"),
            (250, "192.0.2.7 hello"),
            (450, "4.2.0 greylisted, come back in 300 seconds"),
            (554, "no SMTP service here"),
            (550, "version 1.2.3.4.5 of this"),
        ] {
            assert!(!turns_away(&reply(code, text), own), "{text}");
        }
    }

    #[test]
    fn one_slow_reply_is_no_tarpit() {
        assert_eq!(tarpit(&[9000]), None);
        assert_eq!(tarpit(&[9000, 20]), None);
        assert_eq!(tarpit(&[9000, 2500, 3000]), Some(Conduct::Tarpits { least_ms: 2500, replies: 3 }));
        assert_eq!(tarpit(&[]), None);
    }
}
