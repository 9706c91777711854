//! What a message consists of: its parts, however damaged it is.
//!
//! The walk over the parts is ours: parsers that build a tree of messages within messages recurse when it is taken down, and a mail
//! of ten megabytes may be nested 300,000 deep. Here the walk ends at [`DEPTH_MAX`] and says so. Transfer encodings, character
//! sets and HTML are mail-parser's. What must not live here: what a part means (`crate::bounce`, `crate::report`).

mod fields;

pub use fields::{Fields, parameter, unfolded};

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use memchr::memmem;

/// Messages within messages, and parts within parts. Real mail has seldom more than four.
pub const DEPTH_MAX: usize = 16;
/// Parts of one message.
pub const PARTS_MAX: usize = 512;
/// Longest message that is read: beyond what servers accept by default (Gmail 25 MiB, Exchange Online 150 MiB at most).
pub const MESSAGE_BYTES_MAX: usize = 160 << 20;

/// One part, in the order of the message. Part 0 is the message itself.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The multipart or message that it stands in.
    pub parent: Option<usize>,
    pub fields: Fields<'a>,
    /// `text/plain`, in lower case; what has none is text (RFC 2045 section 5.2).
    pub kind: String,
    /// The field, for its parameters.
    pub content_type: String,
    /// As it stands in the message.
    pub raw: &'a [u8],
    /// It lies within a message that is a part of this one.
    pub foreign: bool,
}

impl<'a> Part<'a> {
    /// The body out of its transfer encoding.
    pub fn body(&self) -> Cow<'a, [u8]> {
        let encoding = self.fields.get("content-transfer-encoding").unwrap_or_default();
        let decoded = match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => base64_decode(self.raw),
            "quoted-printable" => quoted_printable_decode(self.raw),
            _ => None,
        };
        decoded.map_or(Cow::Borrowed(self.raw), Cow::Owned)
    }

    /// The body as text: out of its character set, and out of HTML.
    pub fn text(&self) -> String {
        let body = self.body();
        let charset = parameter(&self.content_type, "charset");
        let decoder = charset.as_deref().and_then(|charset| {
            let plain = ["utf-8", "us-ascii", "utf8"].iter().any(|plain| charset.eq_ignore_ascii_case(plain));
            if plain || body.is_ascii() && !charset.to_ascii_lowercase().contains("utf-") {
                return None;
            }
            charset_decoder(charset.as_bytes())
        });
        let text = match decoder {
            Some(decoder) => decoder(&body),
            None => String::from_utf8_lossy(&body).into_owned(),
        };
        if self.kind == "text/html" { html_to_text(&text) } else { text }
    }

    pub fn is_multipart(&self) -> bool {
        self.kind.starts_with("multipart/")
    }

    /// The name that its sender gave it.
    pub fn file_name(&self) -> Option<String> {
        let disposition = self.fields.get("content-disposition");
        disposition.and_then(|value| parameter(&value, "filename")).or_else(|| parameter(&self.content_type, "name"))
    }
}

/// The parts of a message.
#[derive(Debug, Clone, Default)]
pub struct Parts<'a> {
    pub parts: Vec<Part<'a>>,
    /// A limit was reached: there is more than stands here.
    pub cut: bool,
}

impl<'a> Parts<'a> {
    /// Takes a message apart. A line of a mailbox file (`From …`) in front of it is left out.
    pub fn of(message: &'a [u8]) -> Self {
        let mut parts = Parts::default();
        let message = &message[..message.len().min(MESSAGE_BYTES_MAX)];
        parts.walk(without_mailbox_line(message), None, 0, false, "text/plain");
        parts
    }

    fn walk(&mut self, bytes: &'a [u8], parent: Option<usize>, depth: usize, foreign: bool, otherwise: &str) {
        if depth > DEPTH_MAX || self.parts.len() >= PARTS_MAX {
            self.cut = true;
            return;
        }
        let (head, body) = split(bytes);
        let fields = Fields::new(head);
        let content_type = fields.filled("content-type").unwrap_or_else(|| otherwise.to_owned());
        let kind = content_type.split([';', ' ', '\t']).next().unwrap_or_default().to_ascii_lowercase();
        let this = self.parts.len();
        let boundary = kind
            .starts_with("multipart/")
            .then(|| parameter(&content_type, "boundary").or_else(|| first_mark(body)))
            .flatten()
            .filter(|boundary| !boundary.is_empty());
        let is_message = matches!(kind.as_str(), "message/rfc822" | "message/global");
        let inner = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        self.parts.push(Part { parent, fields, kind, content_type, raw: body, foreign });
        if let Some(boundary) = boundary {
            for piece in pieces(body, boundary.as_bytes()) {
                self.walk(piece, Some(this), depth + 1, foreign, inner);
            }
        } else if is_message && !fields.get("content-transfer-encoding").is_some_and(|value| is_encoding(&value)) {
            self.walk(without_mailbox_line(body), Some(this), depth + 1, true, "text/plain");
        }
    }

    /// Parts that are the reporter's own words: none that lies within a message which is enclosed.
    pub fn own(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter().filter(|part| !part.foreign)
    }

    /// The fields of the message itself.
    pub fn head(&self) -> Fields<'a> {
        self.parts.first().map(|part| part.fields).unwrap_or_default()
    }
}

/// The boundary by the line that the body begins with, where the field lost it: some break it without a blank on the next line.
fn first_mark(body: &[u8]) -> Option<String> {
    let line = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    let mark = line
        .strip_prefix(b"--")
        .filter(|mark| (1..=70).contains(&mark.len()) && mark.iter().all(u8::is_ascii_graphic))?;
    String::from_utf8(mark.to_vec()).ok()
}

fn is_encoding(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "base64" | "quoted-printable")
}

/// Header and body.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    loop {
        match bytes.get(at..) {
            Some([b'\n', ..]) => return (&bytes[..at], &bytes[at + 1..]),
            Some([b'\r', b'\n', ..]) => return (&bytes[..at], &bytes[at + 2..]),
            _ => {}
        }
        match memchr::memchr(b'\n', &bytes[at..]) {
            Some(end) => at += end + 1,
            None => return (bytes, &[]),
        }
    }
}

/// What stands between the boundary's lines (RFC 2046 section 5.1.1). A last one that is not ended goes to the end.
fn pieces<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mark: Vec<u8> = [b"--", boundary].concat();
    let mut start = None;
    for at in memmem::find_iter(body, &mark) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let after = &body[at + mark.len()..];
        let ends = after.starts_with(b"--");
        let line = memchr::memchr(b'\n', after).unwrap_or(after.len());
        // A longer boundary may begin with this one.
        if !ends && !after[..line].trim_ascii().is_empty() {
            continue;
        }
        if let Some(start) = start {
            let piece = &body[start..at.max(start)];
            let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
            pieces.push(piece.strip_suffix(b"\r").unwrap_or(piece));
        }
        start = (!ends).then_some((at + mark.len() + line + 1).min(body.len()));
        if ends || pieces.len() >= PARTS_MAX {
            break;
        }
    }
    if let Some(start) = start.filter(|start| *start < body.len()) {
        pieces.push(&body[start..]);
    }
    pieces
}

fn without_mailbox_line(bytes: &[u8]) -> &[u8] {
    let bytes = match bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
        // Empty lines in front of a header are damage; there may be no header at all.
        Some(start) if start > 0 && looks_like_field(&bytes[start..]) => &bytes[start..],
        _ => bytes,
    };
    if bytes.starts_with(b"From ") || bytes.starts_with(b">From ") {
        return memchr::memchr(b'\n', bytes).map_or(bytes, |end| &bytes[end + 1..]);
    }
    bytes
}

fn looks_like_field(bytes: &[u8]) -> bool {
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// A field's text out of its encoded words (RFC 2047).
pub fn words(value: &str) -> String {
    if !value.contains("=?") {
        return value.to_owned();
    }
    let line = format!("{value}\n");
    let decoded = mail_parser::parsers::MessageStream::new(line.as_bytes()).parse_unstructured();
    decoded.as_text().map_or_else(|| value.to_owned(), str::to_owned)
}

/// With lines ended by `\n`: files of old systems end them with `\r` alone.
pub fn with_newlines(message: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', message).is_some() || memchr::memchr(b'\r', message).is_none() {
        return Cow::Borrowed(message);
    }
    Cow::Owned(message.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(message: &str) -> Vec<String> {
        Parts::of(message.as_bytes()).parts.into_iter().map(|part| part.kind).collect()
    }

    #[test]
    fn a_message_is_taken_apart_in_its_order() {
        let message = "From x Mon\nContent-Type: multipart/report; boundary=a\n\npreamble\n--a\n\nplain\n--a\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n--a\nContent-Type: message/rfc822\n\nSubject: s\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\ninner\n--ab--\n--a--\nafter";
        let parts = Parts::of(message.as_bytes());
        let kinds: Vec<_> = parts.parts.iter().map(|part| part.kind.as_str()).collect();
        assert_eq!(
            kinds,
            [
                "multipart/report",
                "text/plain",
                "message/delivery-status",
                "message/rfc822",
                "multipart/mixed",
                "text/plain"
            ]
        );
        assert_eq!(parts.own().count(), 4);
        assert_eq!(parts.parts[1].raw, b"plain");
        assert_eq!(parts.parts[5].raw, b"inner");
    }

    #[test]
    fn damage_is_no_end() {
        assert_eq!(
            kinds("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nonly"),
            ["multipart/mixed", "text/plain"]
        );
        assert_eq!(kinds("Content-Type: multipart/mixed; boundary=a\n\nno part"), ["multipart/mixed"]);
        assert_eq!(
            kinds("Content-Type: multipart/mixed;\nboundary=a\n\n--a\n\nonly\n--a--"),
            ["multipart/mixed", "text/plain"]
        );
        assert_eq!(kinds(""), ["text/plain"]);
        assert_eq!(kinds("\n\n"), ["text/plain"]);
        assert_eq!(kinds("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--\n--"), ["multipart/mixed"]);
        assert_eq!(with_newlines(b"a: b\r\rc").as_ref(), b"a: b\n\nc");
    }

    #[test]
    fn nesting_ends_at_its_limit_and_is_told() {
        let message = "Content-Type: message/rfc822\n\n".repeat(300_000);
        let parts = Parts::of(message.as_bytes());
        assert!(parts.cut);
        assert_eq!(parts.parts.len(), DEPTH_MAX + 1);
        let nested: String =
            (0..1000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        let parts = Parts::of(nested.as_bytes());
        assert!(parts.cut);
        let many = format!("Content-Type: multipart/mixed; boundary=a\n\n{}", "--a\n\nx\n".repeat(PARTS_MAX * 2));
        let parts = Parts::of(many.as_bytes());
        assert!(parts.cut && parts.parts.len() <= PARTS_MAX);
    }

    #[test]
    fn bodies_come_out_of_their_encoding() {
        let part = |head: &str, body: &str| {
            let message = format!("{head}\n\n{body}");
            Parts::of(message.as_bytes()).parts.first().map(Part::text)
        };
        assert_eq!(part("Content-Transfer-Encoding: base64", "aGFs\nbG8=").as_deref(), Some("hallo"));
        assert_eq!(part("Content-Transfer-Encoding: Quoted-Printable", "a=3Db=\nc").as_deref(), Some("a=bc"));
        let latin = "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable";
        assert_eq!(part(latin, "gr=F6=DFe").as_deref(), Some("größe"));
        assert_eq!(words("=?utf-8?B?RGVsaXZlcnk=?= =?iso-8859-1?Q?_f=E4ilure?="), "Delivery fäilure");
        assert_eq!(words("=?nonsense"), "=?nonsense");
        assert!(part("Content-Type: text/html", "<p>a &lt;b@c&gt;</p>").unwrap_or_default().contains("a <b@c>"));
    }
}
