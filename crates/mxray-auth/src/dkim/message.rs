//! A message as DKIM sees it: fields byte for byte, and a body.
//!
//! What must not live here: what fields mean. Line ends may be CRLF or, in files, LF alone; the hashes are those of CRLF.

/// Most fields of one message that are looked at.
const FIELDS_MAX: usize = 10_000;

/// A message, cut into fields and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    fields: Vec<Field<'a>>,
    body: &'a [u8],
    bare_line_feeds: bool,
}

/// One field with its folds and without its last line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub raw: &'a [u8],
    colon: usize,
}

impl<'a> Field<'a> {
    /// From one field's text. `None`: it has no colon, or no name before it.
    pub fn new(raw: &'a [u8]) -> Option<Field<'a>> {
        let colon = raw.iter().position(|byte| *byte == b':')?;
        let field = Field { raw, colon };
        let name = field.name();
        (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(field)
    }

    /// RFC 5322 section 4.5 has old messages with blanks before the colon.
    pub fn name(&self) -> &'a [u8] {
        self.raw.get(..self.colon).unwrap_or_default().trim_ascii_end()
    }

    pub fn value(&self) -> &'a [u8] {
        self.raw.get(self.colon + 1..).unwrap_or_default()
    }

    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Message<'a> {
    /// Cuts a message. A first line `From …`, as mailbox files have it, is no part of it; a line that is no field goes with
    /// nothing.
    pub fn read(bytes: &'a [u8]) -> Message<'a> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut body: &[u8] = &[];
        // Where the field that is being read begins.
        let mut open: Option<usize> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            let line = rest.get(..length).unwrap_or_default();
            let goes_on = matches!(line.first(), Some(b' ' | b'\t'));
            let empty = matches!(line, b"\r\n" | b"\n");
            if !goes_on || empty {
                let raw = open.take().and_then(|start| bytes.get(start..at)).map(without_end);
                if fields.len() < FIELDS_MAX {
                    fields.extend(raw.and_then(Field::new));
                }
                if empty {
                    body = rest.get(length..).unwrap_or_default();
                    break;
                }
                open = (at > 0 || !line.starts_with(b"From ")).then_some(at);
            }
            at += length;
        }
        if let Some(raw) = open.and_then(|start| bytes.get(start..)) {
            fields.extend(Field::new(without_end(raw)));
        }
        Message { fields, body, bare_line_feeds: has_bare_line_feed(bytes) }
    }

    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Lines end with LF alone somewhere.
    pub fn has_bare_line_feeds(&self) -> bool {
        self.bare_line_feeds
    }

    /// The values of the fields of this name, from the top, as they stand there.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.named(name).map(Field::value)
    }

    pub(crate) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    pub(crate) fn named<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s Field<'a>> {
        self.fields.iter().filter(move |field| field.is(name))
    }
}

fn without_end(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    raw.strip_suffix(b"\r").unwrap_or(raw)
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.into_iter().any(|(at, _)| at == 0 || bytes.get(at - 1) != Some(&b'\r'))
}
