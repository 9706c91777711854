//! The message: from options, a file or standard input, and what it asks of a server.

use super::address::Mailbox;
use super::args::{MessageArgs, SendArgs};
use mxray_mail::{Attachment, Draft, Field, Head, Stamp, complete, guessed_type, is_message};
use mxray_wire::smtp::Message;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Larger than any server takes; small enough to be held in memory a few times over.
const INPUT_BYTES_MAX: u64 = 128 << 20;

/// The message, ready to go.
#[derive(Debug, Clone)]
pub struct Letter {
    pub message: Message,
    /// It has bytes beyond ASCII.
    pub eight_bit: bool,
    /// Its header, or an address, has characters beyond ASCII as they are.
    pub utf8: bool,
    /// What the user should know: a field that was kept.
    pub notes: Vec<String>,
}

/// Who and when: what a message is stamped with, and who it is from and to where it does not say so.
#[derive(Debug)]
pub struct Frame<'a> {
    pub stamp: Stamp,
    pub sender: &'a Mailbox,
    pub to: &'a [Mailbox],
    pub cc: &'a [Mailbox],
    /// The name that EHLO says.
    pub host: &'a str,
}

/// Makes the message.
///
/// # Errors
/// A sentence: a file cannot be read, or something cannot be part of a message.
pub fn write(args: &SendArgs, frame: &Frame<'_>) -> Result<Letter, String> {
    let wish = &args.message;
    let given = wish.file.as_deref().map(read).transpose()?;
    let addresses = frame.to.iter().chain(frame.cc).chain([frame.sender]);
    let utf8 = wish.smtputf8 || addresses.into_iter().any(|mailbox| !mailbox.address.is_ascii());
    let mut notes = Vec::new();
    let bytes = match given {
        Some(bytes) if wish.raw => bytes,
        Some(bytes) if is_message(&bytes) => {
            if wish.html.is_some() || !wish.attach.is_empty() {
                return Err(format!(
                    "{} is a message already, and nothing in it is changed: --html and --attach need a text (--text-file)",
                    shown(wish.file.as_deref())
                ));
            }
            let absent = fields(wish, frame, false)?;
            let always = parsed(&wish.add_header)?;
            let done = complete(&bytes, &always, &absent, &frame.stamp, utf8).map_err(|error| error.to_string())?;
            // What nobody asked for need not be told.
            let asked = |name: &String| {
                let given = parsed(&wish.header).unwrap_or_default();
                given.iter().any(|field| field.is_named(name))
                    || (name.eq_ignore_ascii_case("subject") && wish.subject.is_some())
            };
            let kept = done.kept.iter().filter(|name| asked(name));
            notes.extend(kept.map(|name| format!("{name}: the message has this field, which was kept")));
            done.bytes
        }
        given => compose(wish, frame, given, utf8)?,
    };
    let message = if wish.exact { Message::exact(bytes) } else { Message::new(&bytes) };
    if message.has_bare_line_ends() && !wish.bare_line_ends {
        return Err("--exact: CR or LF stand alone in it, which servers read in different ways (SMTP smuggling); \
                    --bare-line-ends sends it all the same, to this host itself"
            .to_owned());
    }
    let head = Head::read(message.bytes());
    let header_utf8 = !message.bytes().get(..head.body_at).unwrap_or_default().is_ascii();
    let eight_bit = !message.bytes().is_ascii();
    Ok(Letter { message, eight_bit, utf8: utf8 || header_utf8, notes })
}

fn compose(wish: &MessageArgs, frame: &Frame<'_>, given: Option<Vec<u8>>, utf8: bool) -> Result<Vec<u8>, String> {
    let mut text = given.or_else(|| wish.text.clone().map(String::into_bytes));
    if let Some(path) = &wish.text_file {
        text = Some(read(path)?);
    }
    let html = wish.html.as_deref().map(read).transpose()?;
    if text.is_none() && html.is_none() && wish.attach.is_empty() {
        text = Some(format!("A test message, sent with mxray on {}.\n", frame.stamp.date).into_bytes());
    }
    let draft = Draft {
        always: parsed(&wish.add_header)?,
        absent: fields(wish, frame, true)?,
        text,
        html,
        attachments: wish.attach.iter().map(|word| attachment(word)).collect::<Result<_, _>>()?,
        utf8,
        eight_bit: wish.eight_bit,
    };
    draft.compose(&frame.stamp).map_err(|error| error.to_string())
}

/// What is added where it is missing; what was typed comes before what follows from it.
fn fields(wish: &MessageArgs, frame: &Frame<'_>, composed: bool) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    let list = |mailboxes: &[Mailbox]| mailboxes.iter().map(|one| one.shown.clone()).collect::<Vec<_>>().join(", ");
    let from = if frame.sender.address.is_empty() {
        // RFC 3464 section 2: what has the null sender comes from the mail system itself.
        format!("MAILER-DAEMON@{}", frame.host)
    } else {
        frame.sender.shown.clone()
    };
    let mut add = |name: &str, value: &str| -> Result<(), String> {
        fields.push(Field::new(name, value).map_err(|error| error.to_string())?);
        Ok(())
    };
    add("From", &from)?;
    if composed && !frame.to.is_empty() {
        add("To", &list(frame.to))?;
    }
    if !frame.cc.is_empty() {
        add("Cc", &list(frame.cc))?;
    }
    match &wish.subject {
        Some(subject) => add("Subject", subject)?,
        None if composed => add("Subject", &format!("mxray test {}", frame.stamp.date))?,
        None => {}
    }
    let typed = parsed(&wish.header)?;
    fields.retain(|field| !typed.iter().any(|known| known.is_named(field.name())));
    fields.extend(typed);
    Ok(fields)
}

fn parsed(texts: &[String]) -> Result<Vec<Field>, String> {
    texts.iter().map(|text| Field::parse(text).map_err(|error| error.to_string())).collect()
}

/// `FILE`, or `FILE:TYPE`. A file whose name has a colon in it is taken for what it is.
fn attachment(word: &str) -> Result<Attachment, String> {
    let whole = Path::new(word);
    let (path, content_type) = match word.rsplit_once(':') {
        Some((path, kind)) if !whole.exists() && kind.contains('/') => (PathBuf::from(path), Some(kind.to_owned())),
        _ => (whole.to_owned(), None),
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    let content_type = content_type.unwrap_or_else(|| guessed_type(&plain).to_owned());
    Ok(Attachment { name: plain, content_type, bytes: read(&path)? })
}

/// A file, or standard input.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = shown(Some(path));
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(format!("{name}: larger than {} MiB", INPUT_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn shown(path: Option<&Path>) -> String {
    match path {
        Some(path) if path == Path::new("-") => "standard input".to_owned(),
        Some(path) => mxray_model::text::untrusted(path.as_os_str().as_encoded_bytes()),
        None => String::new(),
    }
}
