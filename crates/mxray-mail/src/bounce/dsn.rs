//! Reports of the standard form (RFC 3464, RFC 6522), as the field writes them: without their type, with empty lines where none
//! belong, in the text.
//!
//! What must not live here: what a reply means.

use crate::causes::unwrap;
use crate::read::{Fields, Parts};

use super::prose::Prose;
use super::{Action, Kind, RECIPIENTS_MAX, Reading, Recipient, SAID_BYTES_MAX, SaidBy, clipped, judge};
use crate::causes::{Cause, Rules};

/// A diagnostic that is no longer than this is a number or the name of a type.
const TELLING_BYTES_MIN: usize = 13;

/// What a report says of one recipient.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub address: String,
    original_address: Option<String>,
    action: Option<Action>,
    status: Option<String>,
    diagnostic: String,
    diagnostic_type: String,
    remote_mta: Option<String>,
}

/// The recipients of a report; none: there is no report.
pub fn read(parts: &Parts<'_>, reading: &mut Reading) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let is_report = |kind: &str| matches!(kind, "message/delivery-status" | "message/global-delivery-status");
    for part in parts.own().filter(|part| is_report(&part.kind)) {
        let body = part.body();
        // A report may itself carry fields in its part's header, where the empty line was lost.
        blocks(&body, &mut entries, reading);
        if entries.is_empty() && part.fields.has("final-recipient") {
            block(part.fields, &mut entries, reading);
        }
    }
    if entries.is_empty() {
        for part in
            parts.own().filter(|part| part.kind.starts_with("text/plain") || part.kind == "message/xdelivery-status")
        {
            let body = part.body();
            if memchr::memmem::find(&body, b"inal-Recipient:").is_some()
                || memchr::memmem::find(&body, b"inal-recipient:").is_some()
            {
                blocks(&body, &mut entries, reading);
            }
        }
    }
    entries
}

/// Blocks of fields with empty lines between.
fn blocks(body: &[u8], entries: &mut Vec<Entry>, reading: &mut Reading) {
    let mut start = 0;
    let mut at = 0;
    while at < body.len() {
        let end = memchr::memchr(b'\n', &body[at..]).map_or(body.len(), |end| at + end + 1);
        if body[at..end].trim_ascii().is_empty() {
            block(Fields::new(&body[start..at]), entries, reading);
            start = end;
        }
        at = end;
    }
    block(Fields::new(&body[start..]), entries, reading);
}

fn block(fields: Fields<'_>, entries: &mut Vec<Entry>, reading: &mut Reading) {
    let mut entry = Entry::default();
    let mut about_recipient = false;
    let mut names_one = false;
    let mut comment = String::new();
    for (name, value) in fields.each() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value = crate::read::unfolded(value);
        match name.as_str() {
            "reporting-mta" => reading.reporting_mta = reading.reporting_mta.take().or_else(|| host(&value)),
            // Courier and others write several recipients without empty lines between them.
            "final-recipient" if names_one => {
                push(std::mem::take(&mut entry), entries);
                entry.address = address(&value);
                names_one = true;
            }
            "final-recipient" => (entry.address, names_one) = (address(&value), true),
            "original-recipient" => entry.original_address = Some(address(&value)).filter(|own| own.contains('@')),
            "x-actual-recipient" if entry.address.is_empty() => entry.address = address(&value),
            "action" => (entry.action, about_recipient) = (action(&value), true),
            "status" => (entry.status, comment) = (status(&value), in_brackets(&value)),
            "remote-mta" => entry.remote_mta = host(&value),
            // Some send two: what they say themselves, and what was said to them.
            "diagnostic-code" if entry.diagnostic.len() < TELLING_BYTES_MIN => {
                let (kind, text) = value.split_once(';').unwrap_or(("", &value));
                let plain = kind.len() <= 12 && !kind.contains(' ');
                let (kind, text) = if plain { (kind, text) } else { ("", value.as_ref()) };
                entry.diagnostic_type = kind.trim().to_ascii_lowercase();
                entry.diagnostic = text.trim().to_owned();
                about_recipient = true;
            }
            _ => {}
        }
    }
    // Who says no more may still have said why in a comment.
    if entry.diagnostic.is_empty() {
        entry.diagnostic = comment;
    }
    // A name that only means something there: who sent the message knows the other.
    let inner = entry.address.split_once('@').is_none_or(|(local, domain)| local.is_empty() || !domain.contains('.'));
    if inner && let Some(original) = entry.original_address.take() {
        entry.address = original;
    }
    if entry.address.is_empty() {
        entry.address = entry.original_address.clone().unwrap_or_default();
        names_one |= !entry.address.is_empty();
    }
    if names_one {
        push(entry, entries);
    } else if about_recipient {
        // An empty line got between a recipient and what happened to it.
        match entries.last_mut().filter(|last| last.action.is_none() && last.diagnostic.is_empty()) {
            Some(last) => {
                last.action = last.action.or(entry.action);
                last.status = last.status.take().or(entry.status);
                last.remote_mta = last.remote_mta.take().or(entry.remote_mta);
                (last.diagnostic, last.diagnostic_type) = (entry.diagnostic, entry.diagnostic_type);
            }
            None => push(entry, entries),
        }
    }
}

fn push(entry: Entry, entries: &mut Vec<Entry>) {
    let known = entries.iter().any(|known| {
        !known.address.is_empty()
            && known.address.eq_ignore_ascii_case(&entry.address)
            && known.diagnostic == entry.diagnostic
    });
    if !known && entries.len() < RECIPIENTS_MAX {
        entries.push(entry);
    }
}

/// `rfc822; <a@b>` without its type and its brackets.
pub fn address(value: &str) -> String {
    let value = value.split_once(';').map_or(value, |(_, address)| address).trim();
    let value = match (value.find('<'), value.rfind('>')) {
        (Some(start), Some(end)) if start < end => &value[start + 1..end],
        _ => value,
    };
    let value = value.trim().trim_matches(['"', '\'']);
    value.strip_prefix("SMTP:").or_else(|| value.strip_prefix("smtp:")).unwrap_or(value).to_owned()
}

/// `dns; mx.example.org (192.0.2.1, the server for the domain.)` to the name.
fn host(value: &str) -> Option<String> {
    let value = value.split_once(';').map_or(value, |(_, host)| host).trim();
    let value = value.split([' ', '(', '\t']).next().unwrap_or_default().trim_end_matches('.');
    (!value.is_empty()).then(|| value.to_owned())
}

/// More than a number or the name of a type.
fn is_telling(diagnostic: &str) -> bool {
    diagnostic.len() >= TELLING_BYTES_MIN
        || diagnostic.contains(' ') && !diagnostic.contains(|c: char| c.is_ascii_digit())
}

/// `5.0.0 (recipient reached disk quota)`.
fn in_brackets(value: &str) -> String {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inner, _)| inner);
    inner.unwrap_or_default().to_owned()
}

fn action(value: &str) -> Option<Action> {
    let word = value.trim().split([' ', '(', ';']).next().unwrap_or_default().to_ascii_lowercase();
    Some(match word.as_str() {
        "failed" | "failure" | "fail" | "error" => Action::Failed,
        "delayed" | "deferred" | "delay" => Action::Delayed,
        "delivered" | "deliverable" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    })
}

fn status(value: &str) -> Option<String> {
    let word = value.trim().split([' ', '(', '\t']).next().unwrap_or_default();
    let digits =
        word.split('.').filter(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
    (digits.count() == 3 && word.split('.').count() == 3).then(|| word.to_owned())
}

impl Entry {
    /// The action decides; where it is missing, the status's class (RFC 3464 section 2.3.4).
    pub fn kind(&self) -> Kind {
        match (self.action, self.status.as_deref().and_then(|status| status.bytes().next())) {
            (Some(Action::Failed), _) | (None, Some(b'5')) => Kind::Failure,
            (Some(Action::Delayed), _) | (None, Some(b'4')) => Kind::Delay,
            (Some(Action::Delivered), _) | (None, Some(b'2')) => Kind::Delivered,
            (Some(Action::Relayed), _) => Kind::Relayed,
            (Some(Action::Expanded), _) => Kind::Expanded,
            (None, _) => Kind::Failure,
        }
    }

    /// It is something that could be written to.
    pub fn has_address(&self) -> bool {
        self.address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
            && !self.address.starts_with(['|', '/'])
            && !self.address.contains(' ')
    }

    /// `all`: the recipients of the whole report.
    pub fn judged(self, prose: &Prose, all: &[String], reading: &Reading, rules: &Rules) -> Recipient {
        let kind = self.kind();
        let mut recipient = Recipient::new(self.address);
        recipient.original_address = self.original_address.filter(|own| !own.eq_ignore_ascii_case(&recipient.address));
        recipient.action = self.action;
        recipient.status = self.status;
        let host = self.remote_mta.as_deref().unwrap_or_default();
        let beside = if all.len() == 1 { prose.text.as_str() } else { prose.about(&recipient.address, all) };
        let telling = is_telling(&self.diagnostic);
        // In a report, what stands behind is the only evidence there is.
        let diagnostic = self.diagnostic.strip_prefix("delivery temporarily suspended: ").unwrap_or(&self.diagnostic);
        judge(if telling { diagnostic } else { beside }, host, rules, &mut recipient);
        // What the fields leave open, the words beside them may tell.
        if telling && recipient.cause == Cause::Unknown && !beside.is_empty() {
            judge(beside, host, rules, &mut recipient);
        }
        let words = if self.diagnostic.is_empty() { beside } else { &self.diagnostic };
        recipient.reply = clipped(words.trim(), SAID_BYTES_MAX);
        // `smtp` is the type of what was said in a session (RFC 3464 section 2.3.6); Postfix names its own words X-Postfix, and
        // keeps what was said within them.
        let said = unwrap(self.diagnostic.as_bytes());
        let remote = self.remote_mta.or_else(|| said.host.map(|host| String::from_utf8_lossy(host).into_owned()));
        let theirs =
            said.words.len() < self.diagnostic.len() || self.diagnostic_type == "smtp" && said.codes.reply.is_some();
        recipient.said_by = match (remote, &reading.reporting_mta) {
            (Some(remote), _) if theirs => SaidBy::Remote(remote),
            (None, _) if theirs => SaidBy::Remote(String::new()),
            (_, Some(reporter)) => SaidBy::Reporter(reporter.clone()),
            (_, None) => SaidBy::Unknown,
        };
        recipient.settled(kind);
        recipient
    }
}
