//! Reports that somebody passed on: enclosed, in a transfer encoding or not, or in the text behind the fields that a mail program
//! puts in front of what it forwards.
//!
//! What must not live here: what a report says.

use std::borrow::Cow;

use super::forms::Forms;
use crate::read::{Fields, Part, Parts};

/// Fields that programs put in front of what they forward: subject, date, sender, recipient.
const FIELDS_MIN: usize = 3;
/// What is forwarded as text is as short as its reader's patience.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// The report within a message that is none itself.
pub fn report<'a>(parts: &Parts<'a>, forms: &Forms) -> Option<Cow<'a, [u8]>> {
    standard(parts)
        .map(Cow::Borrowed)
        .or_else(|| encoded(parts, forms).map(Cow::Owned))
        .or_else(|| plain(parts, forms).map(Cow::Borrowed))
        .or_else(|| in_text(parts, forms).map(Cow::Owned))
}

/// An enclosed message that is a report of the standard form.
fn standard<'a>(parts: &Parts<'a>) -> Option<&'a [u8]> {
    let is_report = |part: &Part<'_>| part.kind == "multipart/report" && part.foreign;
    let report = parts.parts.iter().find(|part| is_report(part))?;
    let enclosing = parts.parts.get(report.parent?)?;
    (!enclosing.is_multipart() && !enclosing.foreign).then_some(enclosing.raw)
}

/// The same in a transfer encoding, which RFC 2046 section 5.2.1 forbids and programs write.
fn encoded(parts: &Parts<'_>, forms: &Forms) -> Option<Vec<u8>> {
    parts.own().filter(|part| part.kind == "message/rfc822").find_map(|part| match part.body() {
        Cow::Owned(body) if speaks_for_system(&body, forms) => Some(body),
        _ => None,
    })
}

/// An enclosed message of a mail system. One that a mail system encloses is what it returns.
fn plain<'a>(parts: &Parts<'a>, forms: &Forms) -> Option<&'a [u8]> {
    if forms.is_daemon(parts.head()) {
        return None;
    }
    let mut enclosed = parts.own().filter(|part| part.kind == "message/rfc822");
    enclosed.find(|part| speaks_for_system(part.raw, forms)).map(|part| part.raw)
}

fn speaks_for_system(message: &[u8], forms: &Forms) -> bool {
    let message = Parts::of(message);
    let head = message.head();
    forms.is_daemon(head)
        || head.get("content-type").is_some_and(|kind| kind.to_lowercase().starts_with("multipart/report"))
}

/// What stands in the text behind `From: Mail Delivery System <…>` and the fields around it, in whatever language their names are.
fn in_text(parts: &Parts<'_>, forms: &Forms) -> Option<Vec<u8>> {
    if forms.is_daemon(parts.head()) {
        return None;
    }
    let text = parts.own().find(|part| part.kind == "text/plain")?.text();
    let text = super::clipped(&text, TEXT_BYTES_MAX);
    let lines: Vec<&str> = text.lines().map(|line| line.trim_start_matches(['>', '|', ' ']).trim_end()).collect();
    let from = lines.iter().position(|line| {
        value(line).is_some_and(|value| value.contains('@') && forms.is_daemon_name(value) && !value.ends_with(':'))
    })?;
    let is_field = |line: &&&str| value(line).is_some();
    let before = lines[..from].iter().rev().take_while(is_field).count();
    let behind = lines[from..].iter().take_while(is_field).count();
    if before + behind < FIELDS_MIN {
        return None;
    }
    let mut report = format!("From: {}\n\n", value(lines[from])?);
    for line in &lines[from + behind..] {
        report.push_str(line);
        report.push('\n');
    }
    // Without a boundary, what follows the fields is the text.
    let fields = Fields::new(report.as_bytes());
    forms.is_daemon(fields).then_some(report.into_bytes())
}

/// `Name: value`, with a name of one word or two.
fn value(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_matches(['*', ' ']);
    let plain = !name.is_empty() && name.chars().count() <= 20 && name.split(' ').count() <= 2;
    (plain && name.chars().all(|c| c.is_alphabetic() || c == '-' || c == ' ')).then(|| value.trim_matches(['*', ' ']))
}
