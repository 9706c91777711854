//! What others report about a message: that it failed or is late (RFC 3464 and what came before), that somebody complained
//! (RFC 5965), or nothing at all: a machine answered.
//!
//! Start reading at [`read`]. `dsn.rs` reads the standard form, `prose.rs` all others by the words in `forms.toml`, `complaint.rs`
//! complaints; `passed_on.rs` finds those that a person sends on. What a reply means is `crate::causes`'. What must not live here: files and mailboxes.

mod complaint;
mod dsn;
mod forms;
mod passed_on;
mod prose;

pub use complaint::{AuthFailure, Complaint};

use serde::Serialize;

use crate::causes::{Cause, Codes, Finality, Retry, Rules, Said, Speaker};
use crate::read::{Fields, Part, Parts, with_newlines, words};
use forms::Forms;

/// Recipients of one report. A server that failed for more reports in several.
pub const RECIPIENTS_MAX: usize = 1000;
/// Reports that were passed on are looked for so deep.
const WITHIN_MAX: usize = 2;
/// Longest text of a reply that is kept.
pub const SAID_BYTES_MAX: usize = 2000;

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// At least one recipient will not get the message.
    Failure,
    /// It is late, and still tried.
    Delay,
    /// It arrived.
    Delivered,
    /// It was handed to a system that does not report.
    Relayed,
    /// It was handed to a list.
    Expanded,
    Complaint,
    /// Somebody took it out of the junk folder: the opposite of a complaint (RFC 5965's `not-spam`).
    NotSpam,
    /// A message that failed authentication (RFC 6591).
    AuthFailure,
    /// A machine's answer: vacation and the like (RFC 3834).
    AutomaticReply,
    /// A machine asks whether a person wrote.
    Challenge,
    /// What the reader's program did with it (RFC 8098).
    Disposition,
    /// None of these.
    Other,
}

/// What happened, as the report's `Action` says (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

/// Whose words the reply is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "who", content = "host")]
pub enum SaidBy {
    /// The server that was spoken to, with its name where the report tells it.
    Remote(String),
    /// The server that reports: it reached nobody, gave up, or decided itself.
    Reporter(String),
    Unknown,
}

/// One recipient of whom a report speaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipient {
    /// Empty: the report does not tell.
    pub address: String,
    /// The one that the message was sent to, where it is another (RFC 3464 section 2.3.1).
    pub original_address: Option<String>,
    pub action: Option<Action>,
    /// `5.1.1` (RFC 3463), from the report or else from the reply.
    pub status: Option<String>,
    /// `550`.
    pub reply_code: Option<u16>,
    /// The reply, or what the report says instead.
    pub reply: String,
    pub said_by: SaidBy,
    pub cause: Cause,
    pub finality: Finality,
    /// The rule that named the cause.
    pub rule: Option<String>,
    pub receiver: Option<String>,
    /// The address itself is gone: writing again is no use. `None`: nothing failed.
    pub hard: Option<bool>,
}

/// The message that a report is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Original {
    pub message_id: Option<String>,
    pub from: Option<String>,
    pub to: Vec<String>,
    pub subject: Option<String>,
    pub date: Option<String>,
}

/// A mail, read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    pub kind: Kind,
    /// The form that it was read by: `rfc3464`, `arf`, `prose`, …
    pub form: &'static str,
    pub message_id: Option<String>,
    pub date: Option<String>,
    pub from: Option<String>,
    pub subject: Option<String>,
    pub reporting_mta: Option<String>,
    pub recipients: Vec<Recipient>,
    pub original: Original,
    pub complaint: Option<Complaint>,
    /// A limit was reached: there may be more.
    pub cut: bool,
}

/// Reads one mail.
pub fn read(message: &[u8], rules: &Rules) -> Reading {
    let message = with_newlines(message);
    read_at(&message, rules, WITHIN_MAX)
}

/// `within`: so many messages within messages are still looked into.
fn read_at(message: &[u8], rules: &Rules, within: usize) -> Reading {
    let parts = Parts::of(message);
    let head = parts.head();
    let mut reading = Reading {
        kind: Kind::Other,
        form: "none",
        message_id: head.filled("message-id").map(|id| message_id(&id)),
        date: head.filled("date"),
        from: head.filled("from"),
        subject: head.filled("subject").map(|subject| words(&subject)),
        reporting_mta: None,
        recipients: Vec::new(),
        original: original(&parts),
        complaint: None,
        cut: parts.cut,
    };
    if complaint::read(&parts, &mut reading) {
        return reading;
    }
    let forms = Forms::built_in();
    let prose = prose::Prose::of(&parts, forms);
    if disposition(&parts, &prose, forms, &mut reading, rules) {
        return reading;
    }
    if reading.original.message_id.is_none() {
        prose.original(&mut reading.original);
    }
    let report = dsn::read(&parts, &mut reading);
    if report.is_empty() {
        // Who passes a report on encloses it.
        if let Some(enclosed) = passed_on::report(&parts, forms).filter(|_| within > 0) {
            let inner = read_at(&enclosed, rules, within - 1);
            if inner.form != "none" {
                return inner;
            }
        }
        prose.read(&parts, head, forms, &mut reading, rules);
    } else {
        standard(report, &prose, forms, head, &mut reading, rules);
    }
    reading
}

/// A report of the standard form: what its fields leave open stands in the text beside them.
fn standard(
    report: Vec<dsn::Entry>,
    prose: &prose::Prose,
    forms: &Forms,
    head: Fields<'_>,
    reading: &mut Reading,
    rules: &Rules,
) {
    reading.form = "rfc3464";
    reading.kind = report.iter().map(dsn::Entry::kind).min().unwrap_or(Kind::Failure);
    // Boxbe and others dress their question up as a report.
    if forms.is_challenge(head, &prose.text) {
        reading.kind = Kind::Challenge;
    }
    let mut report = report;
    // Addresses of another network, programs, files: the text may name whom the sender wrote to.
    if let [entry] = &mut report[..]
        && !entry.has_address()
    {
        let failed = head.get("x-failed-recipients").map(|value| forms::addresses_in(&value)).unwrap_or_default();
        let named = forms::addresses_in(&entry.address);
        let named = if named.is_empty() { failed } else { named };
        let named = if named.is_empty() { prose.addresses(forms, &reading.original, head) } else { named };
        entry.address = named.into_iter().next().unwrap_or_else(|| std::mem::take(&mut entry.address));
    }
    let all: Vec<String> = report.iter().map(|entry| entry.address.clone()).collect();
    for entry in report {
        let recipient = entry.judged(prose, &all, reading, rules);
        reading.recipients.push(recipient);
    }
    if reading.kind == Kind::Challenge {
        for recipient in &mut reading.recipients {
            (recipient.cause, recipient.finality, recipient.hard) = (Cause::NotABounce, Finality::NoFailure, None);
        }
    }
}

/// What a text means for a recipient.
fn judge(text: &str, host: &str, rules: &Rules, recipient: &mut Recipient) {
    let verdict = rules.judge(&Said { host: host.as_bytes(), text: text.as_bytes(), speaker: Speaker::Ours });
    recipient.cause = verdict.cause;
    recipient.finality = verdict.finality;
    recipient.rule = verdict.rule.map(str::to_owned);
    recipient.receiver = verdict.receiver.map(str::to_owned);
    let Codes { reply, enhanced } = verdict.codes;
    recipient.reply_code = recipient.reply_code.or(reply);
    // `5.0.0` says no more than that it failed.
    let says_nothing = |status: &str| status.get(1..).is_some_and(|rest| rest == ".0.0");
    if recipient.status.as_deref().is_none_or(says_nothing)
        && let Some((class, subject, detail)) = enhanced
    {
        recipient.status = Some(format!("{class}.{subject}.{detail}"));
    }
    recipient.hard = Some(recipient.cause.is_recipient_side() && verdict.retry != Retry::Yes);
}

impl Recipient {
    fn new(address: String) -> Self {
        Recipient {
            address,
            original_address: None,
            action: None,
            status: None,
            reply_code: None,
            reply: String::new(),
            said_by: SaidBy::Unknown,
            cause: Cause::Unknown,
            finality: Cause::Unknown.finality(),
            rule: None,
            receiver: None,
            hard: None,
        }
    }

    /// Nothing failed for this one.
    fn settled(&mut self, kind: Kind) {
        match kind {
            Kind::Delivered | Kind::Relayed | Kind::Expanded => {
                (self.cause, self.finality, self.hard) = (Cause::DeliveredReport, Finality::NoFailure, None);
            }
            Kind::Delay => {
                self.hard = None;
                if matches!(self.finality, Finality::MessageDead | Finality::AddressGone) {
                    self.finality = Finality::Wait;
                }
            }
            _ => {}
        }
    }
}

/// The message that was returned, or its header.
fn original(parts: &Parts<'_>) -> Original {
    let enclosed = parts.parts.iter().enumerate().find(|(at, part)| {
        *at > 0
            && !part.foreign
            && matches!(
                part.kind.as_str(),
                "message/rfc822"
                    | "message/global"
                    | "text/rfc822-headers"
                    | "message/rfc822-headers"
                    | "message/global-headers"
                    | "text/rfc822"
                    | "message/partial"
            )
    });
    let Some((at, part)) = enclosed else { return Original::default() };
    // Of an enclosed message, the part behind it is its own header; one in a transfer encoding has none.
    match parts.parts.get(at + 1).filter(|inner| inner.parent == Some(at)) {
        Some(inner) => original_of(inner.fields),
        None => original_of(Fields::new(header_of(&part.body()))),
    }
}

/// Up to the first empty line. One that begins with an empty line was broken by who returned it.
fn header_of(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let end = memchr::memmem::find(text, b"\n\n").or_else(|| memchr::memmem::find(text, b"\r\n\r\n"));
    &text[..end.unwrap_or(text.len())]
}

fn original_of(fields: Fields<'_>) -> Original {
    // Whoever sends through a gateway finds two: the last is the sender's own (seen in complaints of Amazon SES).
    let own = fields.all("message-id").filter(|id| !id.is_empty()).last();
    Original {
        message_id: own.map(|id| message_id(&id)),
        from: fields.filled("from"),
        to: fields.all("to").flat_map(|value| forms::addresses_in(&value)).take(RECIPIENTS_MAX).collect(),
        subject: fields.filled("subject"),
        date: fields.filled("date"),
    }
}

/// `<x@y>` of a field that may hold more.
fn message_id(value: &str) -> String {
    let start = value.find('<').unwrap_or(0);
    let end = value[start..].find('>').map_or(value.len(), |end| start + end + 1);
    value[start..end].trim().to_owned()
}

/// RFC 8098.
fn disposition(parts: &Parts<'_>, prose: &prose::Prose, forms: &Forms, reading: &mut Reading, rules: &Rules) -> bool {
    let is_one = |part: &&Part<'_>| part.kind == "message/disposition-notification";
    let Some(part) = parts.own().find(is_one) else { return false };
    let body = part.body();
    let fields = Fields::new(&body);
    reading.kind = Kind::Disposition;
    reading.form = "rfc8098";
    reading.original.message_id =
        fields.filled("original-message-id").map(|id| message_id(&id)).or_else(|| reading.original.message_id.take());
    if let Some(address) = fields.filled("final-recipient").map(|value| dsn::address(&value)) {
        let mut recipient = Recipient::new(address);
        recipient.reply = fields.filled("disposition").unwrap_or_default();
        (recipient.cause, recipient.finality) = (Cause::NotABounce, Finality::NoFailure);
        // Dovecot's delivery agent refuses a message with such a notification: it was deleted, and nobody read it.
        let deleted = recipient.reply.contains("automatic-action") && recipient.reply.contains("deleted");
        if deleted && forms.is_daemon(parts.head()) && forms.says_failure(&prose.text.to_lowercase()) {
            reading.kind = Kind::Failure;
            recipient.action = Some(Action::Failed);
            recipient.reply = clipped(prose.text.trim(), SAID_BYTES_MAX);
            judge(&prose.text, "", rules, &mut recipient);
        }
        reading.recipients.push(recipient);
    }
    true
}

/// At most so many bytes, cut between characters.
fn clipped(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod others;
#[cfg(test)]
mod tests;
