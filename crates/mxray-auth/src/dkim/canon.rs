//! Canonicalisation (RFC 6376 section 3.4): what is hashed of a field and of a body. Bodies stream through; how they are cut
//! does not show.
//!
//! What must not live here: hashing. LF alone is taken for CRLF everywhere, as in a message that was stored in a file.

use super::message::Message;
use mxray_model::text::untrusted;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonicalization {
    Simple,
    Relaxed,
}

impl Canonicalization {
    pub(crate) fn named(name: &str) -> Option<Canonicalization> {
        match name.to_ascii_lowercase().as_str() {
            "simple" => Some(Canonicalization::Simple),
            "relaxed" => Some(Canonicalization::Relaxed),
            _ => None,
        }
    }
}

impl fmt::Display for Canonicalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Canonicalization::Simple => "simple",
            Canonicalization::Relaxed => "relaxed",
        })
    }
}

/// One field as it is hashed, without its line end: name, colon and value.
pub fn canonical_field(raw: &[u8], kind: Canonicalization) -> Vec<u8> {
    match kind {
        Canonicalization::Simple => crlf(raw),
        Canonicalization::Relaxed => {
            let (name, value) = match raw.iter().position(|byte| *byte == b':') {
                Some(colon) => (raw.get(..colon).unwrap_or_default(), raw.get(colon + 1..).unwrap_or_default()),
                None => (raw, &[] as &[u8]),
            };
            let mut out = name.trim_ascii_end().to_ascii_lowercase();
            out.push(b':');
            let begin = out.len();
            let mut blank = false;
            for (at, byte) in value.iter().enumerate() {
                match byte {
                    b' ' | b'\t' => blank = true,
                    // Unfolding: the line end goes, the white space behind it stays. A CR alone is no line end.
                    b'\n' => {}
                    b'\r' if value.get(at + 1) == Some(&b'\n') => {}
                    byte => {
                        if blank && out.len() > begin {
                            out.push(b' ');
                        }
                        blank = false;
                        out.push(*byte);
                    }
                }
            }
            out
        }
    }
}

fn crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for (at, byte) in raw.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || raw.get(at - 1) != Some(&b'\r')) {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// A body on its way to a hash.
#[derive(Debug, Clone)]
pub struct BodyCanonicalizer {
    kind: Canonicalization,
    /// A CR that may be half of a line end.
    cr: bool,
    /// White space that is written as one blank if something follows on the line.
    blank: bool,
    /// Line ends that are written if something follows at all.
    ends: u64,
    /// Something was written.
    any: bool,
}

impl BodyCanonicalizer {
    pub fn new(kind: Canonicalization) -> Self {
        BodyCanonicalizer { kind, cr: false, blank: false, ends: 0, any: false }
    }

    /// The next piece of the body; what is to be hashed goes to `sink`.
    pub fn update(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8])) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            if self.cr {
                self.cr = false;
                if byte == b'\n' {
                    self.line_end();
                    rest = after;
                    continue;
                }
                // A CR alone is a character like others.
                self.content(b"\r", sink);
            }
            match byte {
                b'\r' => self.cr = true,
                b'\n' => self.line_end(),
                b' ' | b'\t' if self.kind == Canonicalization::Relaxed => self.blank = true,
                _ => {
                    let relaxed = self.kind == Canonicalization::Relaxed;
                    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n') || (relaxed && matches!(byte, b' ' | b'\t'));
                    let length = rest.iter().position(ends).unwrap_or(rest.len()).max(1);
                    let (run, after) = rest.split_at(length);
                    self.content(run, sink);
                    rest = after;
                    continue;
                }
            }
            rest = after;
        }
    }

    /// The body is over.
    pub fn finish(mut self, sink: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.content(b"\r", sink);
        }
        // Section 3.4.3: an empty body is one line end; section 3.4.4: or nothing.
        if self.any || self.kind == Canonicalization::Simple {
            sink(b"\r\n");
        }
    }

    fn line_end(&mut self) {
        self.blank = false;
        self.ends += 1;
    }

    fn content(&mut self, run: &[u8], sink: &mut impl FnMut(&[u8])) {
        for _ in 0..std::mem::take(&mut self.ends) {
            sink(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            sink(b" ");
        }
        sink(run);
        self.any = true;
    }
}

/// A whole body at once.
pub fn canonical_body(body: &[u8], kind: Canonicalization) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut sink = |piece: &[u8]| out.extend_from_slice(piece);
    let mut canonicalizer = BodyCanonicalizer::new(kind);
    canonicalizer.update(body, &mut sink);
    canonicalizer.finish(&mut sink);
    out
}

/// The first line by which two forms of a message differ, in the form that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name of the field. `None`: it is a line of the body.
    pub field: Option<String>,
    /// From 1, in the body.
    pub line: Option<u32>,
    /// `None`: there is none.
    pub original: Option<String>,
    pub received: Option<String>,
}

/// What became another on the way: of the signed fields first, then of the body. `None`: nothing that these see.
pub fn first_difference(
    original: &Message<'_>,
    received: &Message<'_>,
    fields: &[String],
    (head, body): (Canonicalization, Canonicalization),
) -> Option<Difference> {
    let mut names: Vec<String> = fields.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    let shown = |line: Option<&Vec<u8>>| line.map(|line| untrusted(line));
    for name in names {
        let of = |message: &Message<'_>| -> Vec<Vec<u8>> {
            message.named(&name).map(|field| canonical_field(field.raw, head)).collect()
        };
        let (before, after) = (of(original), of(received));
        for at in 0..before.len().max(after.len()) {
            let (original, received) = (before.get(at), after.get(at));
            if original != received {
                let (original, received) = (shown(original), shown(received));
                return Some(Difference { field: Some(name), line: None, original, received });
            }
        }
    }
    let lines = |message: &Message<'_>| -> Vec<Vec<u8>> {
        let canonical = canonical_body(message.body(), body);
        canonical.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (before, after) = (lines(original), lines(received));
    let at = (0..before.len().max(after.len())).find(|at| before.get(*at) != after.get(*at))?;
    let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
    Some(Difference { field: None, line: Some(line), original: shown(before.get(at)), received: shown(after.get(at)) })
}
