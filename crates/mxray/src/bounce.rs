//! `mxray bounce`: what came back about sent mail, one row for each recipient.
//!
//! What must not live here: the reading (`mxray-mail`).

use crate::cli::{ListFormat, ListFormatArgs};
use crate::config::Config;
use crate::exit::{self, Failure};
use crate::mailbox;
use crate::output::Output;
use crate::replies::Replies;
use mxray_mail::bounce::{self, Kind, Reading, Recipient, SaidBy};
use mxray_mail::causes::Cause;
use mxray_model::Unseen;
use mxray_model::text::untrusted;
use mxray_render::{Options, Piece, Screen, Style};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// Schema of this command's JSON.
const SCHEMA: &str = "mxray/bounce/1";

/// Characters of a reply that are shown to a person without -v.
const REPLY_SHOWN: usize = 300;

const EXAMPLES: &str = "\
Examples:
  mxray bounce returned.eml
      who did not get the message, why, and who said so
  mxray bounce ~/Maildir/.Bounces /var/mail/bounces
      a maildir and a mailbox file; directories are gone through
  mxray bounce - <returned.eml
  mxray bounce --json ~/Maildir/.Bounces | jq -r '.rows[] | select(.hard) | .recipient'
      addresses that are gone: writing again only hurts

Exit code 2: no mail could be read.
";

/// Read bounces, complaints and automatic answers: recipient, status, reply, cause, whether the address is gone, who said it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BounceArgs {
    /// Mails, mailbox files, maildirs and other directories; `-` reads standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Rules of your own for what replies mean, before those of `[replies] rules` and the built-in ones; may be repeated
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,

    #[command(flatten)]
    pub output: ListFormatArgs,
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    mails: u64,
    hard: u64,
    kinds: BTreeMap<Kind, u64>,
    causes: BTreeMap<&'static str, u64>,
}

/// Reads and prints. 0: something was read; 2: nothing could be.
pub fn run(args: &BounceArgs, format: ListFormat, config: &Config, output: &mut Output) -> Result<u8, Failure> {
    let replies = Replies::read(&args.rules, config)?;
    replies.tell();
    let options = output.options();
    let mut counts = Counts::default();
    if format == ListFormat::Json {
        output.write_all(format!("{{\"schema\":\"{SCHEMA}\",\"rows\":[").as_bytes())?;
    }
    let mut first = true;
    let went = mailbox::each(&args.files, |file, mail| {
        let reading = bounce::read(mail, replies.rules());
        counts.add(&reading);
        match format {
            ListFormat::Json => json_rows(file, &reading, &mut first, output)?,
            ListFormat::Text => text_rows(file, &reading, &options, output)?,
        }
        Ok(())
    })?;
    let unread = |(what, why): (String, String)| Unseen {
        what: untrusted(what.as_bytes()),
        why: untrusted(why.as_bytes()),
        needs: "a file that this user may read".to_owned(),
    };
    let unseen: Vec<Unseen> = went.unread.into_iter().map(unread).chain(replies.unseen()).collect();
    match format {
        ListFormat::Json => {
            let rest = json!({"mails": counts.mails, "kinds": counts.kinds(), "hard": counts.hard, "causes": counts.causes, "unseen": unseen});
            let rest = rest.to_string();
            output.emit(|out| {
                out.write_all(b"],")?;
                out.write_all(rest.get(1..).unwrap_or("}").as_bytes())?;
                out.write_all(b"\n")
            })?;
        }
        ListFormat::Text => output.emit(|out| summary(&counts, &unseen, &options, out))?,
    }
    Ok(if counts.mails == 0 { exit::UNANSWERED } else { exit::OK })
}

impl Counts {
    fn add(&mut self, reading: &Reading) {
        self.mails += 1;
        *self.kinds.entry(reading.kind).or_default() += 1;
        for recipient in &reading.recipients {
            self.hard += u64::from(recipient.hard == Some(true));
            *self.causes.entry(recipient.cause.name()).or_default() += 1;
        }
    }

    fn kinds(&self) -> BTreeMap<String, u64> {
        self.kinds.iter().map(|(kind, count)| (kind_name(*kind), *count)).collect()
    }
}

fn kind_name(kind: Kind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn json_rows(file: &str, reading: &Reading, first: &mut bool, out: &mut Output) -> Result<(), Failure> {
    let about_mail = json!({
        "file": file,
        "kind": reading.kind,
        "form": reading.form,
        "message_id": clean(reading.message_id.as_ref()),
        "date": clean(reading.date.as_ref()),
        "reporting_mta": clean(reading.reporting_mta.as_ref()),
        "original": {
            "message_id": clean(reading.original.message_id.as_ref()),
            "from": clean(reading.original.from.as_ref()),
            "subject": clean(reading.original.subject.as_ref()),
            "date": clean(reading.original.date.as_ref()),
        },
        "complaint": cleaned(json!(reading.complaint)),
        "cut": reading.cut,
    });
    let none = [None];
    let some: Vec<Option<&Recipient>> = reading.recipients.iter().map(Some).collect();
    for recipient in if some.is_empty() { &none[..] } else { &some } {
        let mut row = about_mail.clone();
        if let (Value::Object(row), Some(recipient)) = (&mut row, recipient)
            && let Value::Object(more) = of_recipient(recipient)
        {
            row.extend(more);
        }
        if !std::mem::take(first) {
            out.write_all(b",")?;
        }
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut *out, &row).map_err(io::Error::from)?;
    }
    Ok(())
}

fn of_recipient(recipient: &Recipient) -> Value {
    json!({
        "recipient": untrusted(recipient.address.as_bytes()),
        "original_recipient": clean(recipient.original_address.as_ref()),
        "action": recipient.action,
        "status": recipient.status,
        "reply_code": recipient.reply_code,
        "reply": untrusted(recipient.reply.as_bytes()),
        "said_by": cleaned(json!(recipient.said_by)),
        "cause": recipient.cause,
        "about": recipient.cause.about(),
        "whose_move": recipient.cause.whose_move(),
        "finality": recipient.finality,
        "hard": recipient.hard,
        "rule": recipient.rule,
        "receiver": recipient.receiver,
    })
}

fn clean(text: Option<&String>) -> Option<String> {
    text.map(|text| untrusted(text.as_bytes()))
}

/// Every text of a value, safe to print.
fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(untrusted(text.as_bytes())),
        Value::Array(values) => values.into_iter().map(cleaned).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, cleaned(value))).collect(),
        other => other,
    }
}

fn text_rows(file: &str, reading: &Reading, options: &Options, output: &mut Output) -> Result<(), Failure> {
    // What is no report is counted, and told with -v.
    if reading.kind == Kind::Other && !options.verbose {
        return Ok(());
    }
    output.emit_or_stop(|out| {
        let mut screen = Screen::new(out, options);
        if reading.recipients.is_empty() {
            screen
                .prose("", &[Piece::new(Style::Bold, &format!("{file}:")), Piece::plain(&kind_name(reading.kind))])?;
        }
        for recipient in &reading.recipients {
            of_person(recipient, reading, options, &mut screen)?;
        }
        let original = reading.original.message_id.as_deref().unwrap_or("not told");
        let text = format!("original {}; {file}", untrusted(original.as_bytes()));
        screen.prose("    ", &[Piece::new(Style::Faint, &text)])
    })?;
    Ok(())
}

fn of_person(recipient: &Recipient, reading: &Reading, options: &Options, screen: &mut Screen<'_>) -> io::Result<()> {
    let name = if recipient.address.is_empty() { "a recipient who is not named" } else { &recipient.address };
    let (style, weight) = match (reading.kind, recipient.hard) {
        (Kind::Failure, Some(true)) => (Style::Alarm, "failed, the address is gone"),
        (Kind::Failure, _) => (Style::Caution, "failed"),
        (Kind::Delay, _) => (Style::Caution, "late, still tried"),
        (Kind::Complaint, _) => (Style::Alarm, "complaint"),
        (Kind::NotSpam, _) => (Style::Calm, "not spam"),
        (Kind::AuthFailure, _) => (Style::Caution, "authentication failed"),
        (Kind::Delivered, _) => (Style::Calm, "delivered"),
        (Kind::Relayed, _) => (Style::Calm, "handed on"),
        (Kind::Expanded, _) => (Style::Calm, "handed to a list"),
        (Kind::AutomaticReply | Kind::Challenge | Kind::Disposition | Kind::Other, _) => (Style::Faint, "no bounce"),
    };
    let cause = if matches!(reading.kind, Kind::Failure | Kind::Delay) {
        format!("{}: {}", recipient.cause.name(), recipient.cause.about())
    } else {
        String::new()
    };
    let name = format!("{}:", untrusted(name.as_bytes()));
    screen.prose("", &[Piece::new(Style::Bold, &name), Piece::new(style, weight), Piece::plain(&cause)])?;
    if recipient.cause == Cause::Feedback || recipient.reply.is_empty() {
        return Ok(());
    }
    let who = match &recipient.said_by {
        SaidBy::Remote(host) if host.is_empty() => "the other server says".to_owned(),
        SaidBy::Remote(host) => format!("{host} says"),
        SaidBy::Reporter(host) => format!("{host} itself says"),
        SaidBy::Unknown => "the report says".to_owned(),
    };
    let status = recipient.status.as_deref().unwrap_or("no status");
    let words = recipient.reply.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = if options.verbose { words } else { words.chars().take(REPLY_SHOWN).collect() };
    let text = format!("{status}; {}: {}", untrusted(who.as_bytes()), untrusted(shown.as_bytes()));
    screen.prose("    ", &[Piece::plain(&text)])
}

fn summary(counts: &Counts, unseen: &[Unseen], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let mut screen = Screen::new(out, options);
    let kinds: Vec<String> = counts.kinds().into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mails = if counts.mails == 1 { "1 mail".to_owned() } else { format!("{} mails", counts.mails) };
    let gone = if counts.hard == 1 { "1 recipient is".to_owned() } else { format!("{} recipients are", counts.hard) };
    let text = format!("{mails}: {}; {gone} gone for good.", kinds.join(", "));
    screen.blank()?;
    screen.prose("", &[Piece::new(Style::Bold, &text)])?;
    let mut causes: Vec<(&&str, &u64)> = counts.causes.iter().collect();
    causes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    for (name, count) in causes {
        let about = Cause::named(name).map_or("", Cause::about);
        screen.prose(&format!("  {count:>7}  "), &[Piece::plain(name), Piece::new(Style::Faint, about)])?;
    }
    for unseen in unseen {
        let text = format!("{}: {}", unseen.what, unseen.why);
        screen.prose("  not read: ", &[Piece::new(Style::Caution, &text)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_mail::causes::Rules;

    #[test]
    fn every_text_of_a_row_is_safe() {
        let rules = Rules::built_in();
        let mail = "From: mailer-daemon@x\nSubject: failure notice\n\nunable to deliver\n<a\u{1b}[2J@b.example>: 550 no \u{1b}[2J user unknown\n";
        let reading = bounce::read(mail.as_bytes(), &rules);
        let row = of_recipient(&reading.recipients[0]).to_string();
        assert!(!row.contains("\\u001b") && !row.contains('\u{1b}'), "{row}");
        assert_eq!(reading.kind, Kind::Failure);
    }
}
