//! Lines of all servers, each with what it means: `lines.txt` and `situations.txt`, written after the daemons' sources and manuals.
//!
//! A line, and below it what is to be read from it, in the words of [`told`].

use super::*;
use crate::event::{Attempt, Peer, Refusal, Status};
use mxray_mail::causes::{Rules, Said, Speaker};
use std::fmt::Write as _;

const LINES: [&str; 2] = [include_str!("lines.txt"), include_str!("situations.txt")];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn named(peer: Peer<'_>) -> String {
    format!("{}[{}]", text(peer.name), text(peer.address))
}

/// What the other side said, or we, and what it is taken for.
fn cause(rules: &Rules, host: &[u8], words: &[u8], speaker: Speaker) -> String {
    let verdict = rules.judge(&Said { host, text: words, speaker });
    let who = if speaker == Speaker::Ours { "ours" } else { "theirs" };
    format!("{who} {}", verdict.cause.name())
}

fn attempt(rules: &Rules, id: &[u8], of: &Attempt<'_>) -> String {
    let mut told = match of.status {
        Status::Sent => "sent",
        Status::Deferred => "deferred",
        Status::Bounced => "bounced",
        Status::Probed => return format!("probed {} {}", text(id), text(of.to)),
    }
    .to_owned();
    let _ = write!(told, " {} {}", text(id), text(of.to));
    if !of.more.is_empty() {
        let _ = write!(told, " and {}", text(of.more));
    }
    if !of.original_to.is_empty() {
        let _ = write!(told, " ({})", text(of.original_to));
    }
    let _ = write!(told, " via {}", named(of.relay));
    if let Some(next) = of.next_id {
        let _ = write!(told, " next {}", text(next));
    }
    if of.status != Status::Sent {
        let _ = write!(told, " {}", cause(rules, of.relay.name, of.text, of.speaker));
    }
    told
}

fn refusal(id: Option<&[u8]>, of: &Refusal<'_>) -> String {
    let id = id.map_or_else(|| "-".to_owned(), text);
    let whole = if of.ends_message { " whole" } else { "" };
    let account = of.account.map_or_else(String::new, |account| format!(" account {}", text(account)));
    let (from, to, reply) = (text(of.from), text(of.to), text(of.reply));
    let reply = of.class.map_or(reply.clone(), |class| format!("{class}xx {reply}"));
    format!("refused {id} {}{whole} {}{account} {from}->{to}: {reply}", text(of.stage), named(of.client))
}

fn told(rules: &Rules, meaning: &Meaning<'_>) -> String {
    let event = match meaning {
        Meaning::Understood(event) => event,
        other => return format!("{other:?}"),
    };
    let side = |towards: bool| if towards { "to" } else { "from" };
    match *event {
        Event::Connect { client } => format!("connect {}", named(client)),
        Event::Disconnect { client } => format!("disconnect {}", named(client)),
        Event::Arrival { id, arrival, begins } => {
            let mut told =
                format!("{} {} from {}", if begins { "arrival" } else { "more" }, text(id), named(arrival.client));
            for (name, value) in [
                ("sender", arrival.sender),
                ("account", arrival.account),
                ("message-id", arrival.message_id),
                ("was", arrival.earlier_id),
                ("notice-of", arrival.notice_of),
            ] {
                if let Some(value) = value {
                    let _ = write!(told, " {name} {}", text(value));
                }
            }
            told
        }
        Event::MessageId { id, message_id, resent } => {
            format!("message-id {} {}{}", text(id), text(message_id), if resent { " resent" } else { "" })
        }
        Event::Queued { id, sender, .. } => format!("queued {} {}", text(id), text(sender)),
        Event::Attempt { id, attempt: of } => attempt(rules, id, &of),
        Event::Split { id, from } => format!("split {} of {}", text(id), text(from)),
        Event::Expired { id } => format!("expired {}", text(id)),
        Event::Removed { id } => format!("removed {}", text(id)),
        Event::Canceled { id } => format!("canceled {}", text(id)),
        Event::Held { id } => format!("held {}", text(id)),
        Event::Discarded { id } => format!("discarded {}", text(id)),
        Event::Notice { id, notice_id, kind } => format!("notice {} {} {kind:?}", text(id), text(notice_id)),
        Event::Refusal { id, refusal: of } => refusal(id, &of),
        Event::Login { account, client, granted } => {
            format!("login {} {} {}", if granted { "granted" } else { "refused" }, text(account), named(client))
        }
        Event::Tls { peer, towards } => format!("tls {} {}", side(towards), named(peer)),
        Event::SessionTls { session } => format!("tls session {}", text(session)),
        Event::TlsFailed { peer, towards, .. } => format!("tls-failed {} {}", side(towards), named(peer)),
        Event::Skipped { id, host, text: words } => {
            let id = id.map_or_else(|| "-".to_owned(), text);
            format!("skipped {id} {} {}", named(host), cause(rules, host.name, words, Speaker::Ours))
        }
        Event::Stored { message_id, mailbox, kept } => {
            format!("{} {} {}", if kept { "stored" } else { "gone" }, text(message_id), text(mailbox))
        }
        Event::Filtered { id, .. } => format!("filtered {}", text(id)),
        Event::Started => "started".to_owned(),
        Event::Stopped => "stopped".to_owned(),
        Event::ProcessEnded { .. } => "process-ended".to_owned(),
        Event::Trouble { severity, .. } => format!("trouble {severity:?}"),
        Event::Remark => "remark".to_owned(),
    }
}

#[test]
fn each_line_means_what_it_says() {
    let rules = Rules::built_in();
    let mut wrong = String::new();
    let mut count = 0;
    let mut lines =
        LINES.iter().flat_map(|file| file.lines()).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        count += 1;
        let expected = lines.next_if(|next| next.starts_with("    ")).unwrap_or_default().trim();
        let (tag, said) = line.split_once(": ").unwrap();
        let line_of =
            Line { stamp: None, host: b"mx", tag: tag.as_bytes(), pid: None, text: said.as_bytes(), repeats: 1 };
        let found = told(&rules, &Grammars::default().read(&line_of).1);
        if found.trim() != expected {
            let _ = writeln!(wrong, "{line}\n    {found}\n  instead of\n    {expected}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 900, "{count}");
}
