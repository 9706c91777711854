//! Reports out of their wrapping: gzip, zip, parts of mail, mail in mail; each with its limit.
//!
//! What a thing is, its first bytes say: names and content types are wrong too often. What must not live here: what a report says.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;

use crate::read::Parts;

/// Longest report, unpacked: some 300,000 rows. Domains ask for 10 MB packed at most (`rua=mailto:a@b!10m`, RFC 7489 section 6.2).
pub const DOCUMENT_BYTES_MAX: usize = 128 << 20;
/// All that one file may unpack to.
pub const TOTAL_BYTES_MAX: usize = 512 << 20;
/// Reports in one file.
pub const DOCUMENTS_MAX: usize = 10_000;
/// Mail in zip in mail in mail: nobody packs deeper.
const DEPTH_MAX: usize = 6;
/// Unpacked to packed. DMARC reports reach 60; deflate's most is 1032.
const RATIO_MAX: usize = 400;
/// Below this, no ratio is looked at.
const SMALL_BYTES: usize = 4 << 20;

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Xml,
    Json,
    /// A mail with a report of feedback.
    Feedback,
}

#[derive(Debug)]
pub struct Document {
    pub name: String,
    pub form: Form,
    pub bytes: Vec<u8>,
}

/// What was unwrapped.
#[derive(Debug, Default)]
pub struct Opened {
    pub documents: Vec<Document>,
    /// What, and why not.
    pub troubles: Vec<(String, String)>,
    unpacked: usize,
}

impl Opened {
    pub fn open(&mut self, bytes: &[u8], name: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.trouble(name, "packed deeper than anybody packs");
        }
        if self.documents.len() >= DOCUMENTS_MAX {
            return self.trouble(name, "more reports than one file may have");
        }
        if let Some(text) = from_utf16(bytes) {
            return self.open(text.as_bytes(), name, depth + 1);
        }
        match bytes {
            [0x1f, 0x8b, ..] => match self.gunzip(bytes) {
                Ok(inner) => self.open(&inner, name, depth + 1),
                Err(why) => self.trouble(name, &why),
            },
            [b'P', b'K', 3, 4, ..] => self.unzip(bytes, name, depth),
            _ => match document(bytes) {
                Some(form) => self.document(form, bytes, name),
                None => self.mail(bytes, name, depth),
            },
        }
    }

    fn document(&mut self, form: Form, bytes: &[u8], name: &str) {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return self.trouble(name, "longer than a report may be");
        }
        self.documents.push(Document { name: name.to_owned(), form, bytes: bytes.to_vec() });
    }

    fn trouble(&mut self, name: &str, why: &str) {
        // As many as reports: a file may be nothing but damage.
        if self.troubles.len() < DOCUMENTS_MAX {
            self.troubles.push((name.to_owned(), why.to_owned()));
        }
    }

    fn gunzip(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.unpacked(bytes.len(), MultiGzDecoder::new(bytes)).map_err(|why| format!("gzip: {why}"))
    }

    /// Reads to the end or to a limit. What came before damage is kept where it is worth reading.
    fn unpacked(&mut self, packed: usize, from: impl Read) -> Result<Vec<u8>, String> {
        let left = TOTAL_BYTES_MAX.saturating_sub(self.unpacked).min(DOCUMENT_BYTES_MAX);
        let most = left.min(packed.saturating_mul(RATIO_MAX).max(SMALL_BYTES));
        let mut inner = Vec::new();
        let read = from.take(most as u64 + 1).read_to_end(&mut inner);
        self.unpacked += inner.len();
        if inner.len() > most {
            return Err(format!("unpacks to more than {most} bytes"));
        }
        match read {
            Err(error) if inner.is_empty() => Err(error.to_string()),
            // A checksum that is wrong at the end of a whole document, or a cut one: the reader of the document says which.
            _ => Ok(inner),
        }
    }

    fn unzip(&mut self, bytes: &[u8], name: &str, depth: usize) {
        let mut archive = match zip::ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => archive,
            Err(error) => return self.trouble(name, &format!("zip: {error}")),
        };
        for index in 0..archive.len().min(DOCUMENTS_MAX) {
            let member = match archive.by_index(index) {
                Ok(member) => member,
                Err(error) => {
                    self.trouble(name, &format!("zip, member {index}: {error}"));
                    continue;
                }
            };
            let member_name = member.name().map(Cow::into_owned).unwrap_or_default();
            if member.is_dir() || member_name.starts_with("__MACOSX/") {
                continue;
            }
            let inner_name = joined(name, &member_name);
            let packed = usize::try_from(member.compressed_size()).unwrap_or(usize::MAX).min(bytes.len());
            match self.unpacked(packed, member) {
                Ok(inner) => self.open(&inner, &inner_name, depth + 1),
                Err(why) => self.trouble(&inner_name, &format!("zip: {why}")),
            }
            if self.unpacked >= TOTAL_BYTES_MAX {
                return self.trouble(name, "unpacks to more than one file may");
            }
        }
    }

    /// Reports among the parts of a mail.
    fn mail(&mut self, bytes: &[u8], name: &str, depth: usize) {
        let parts = Parts::of(bytes);
        let before = self.documents.len() + self.troubles.len();
        for (index, part) in parts.parts.iter().enumerate() {
            // What a multipart or a message consists of comes by itself.
            if part.is_multipart() || parts.parts.get(index + 1).is_some_and(|next| next.parent == Some(index)) {
                continue;
            }
            let body = part.body();
            let inner_name = joined(name, &part.file_name().unwrap_or_default());
            let packed = body.starts_with(&[0x1f, 0x8b]) || body.starts_with(b"PK\x03\x04");
            let encoded_mail =
                matches!(part.kind.as_str(), "message/rfc822" | "message/global") && body.len() < bytes.len();
            let is_text =
                part.kind == "text/html" || index == 0 && part.kind == "text/plain" && document(&body).is_none();
            let signed = matches!(part.kind.as_str(), "application/pkcs7-mime" | "application/x-pkcs7-mime");
            if let Some(inner) = signed_within(&body).filter(|_| signed) {
                self.open(&inner, &inner_name, depth + 1);
            } else if packed || encoded_mail || from_utf16(&body).is_some() {
                self.open(&body, &inner_name, depth + 1);
            } else if let Some(form) = document(&body).filter(|_| !is_text) {
                self.document(form, &body, &inner_name);
            } else if part.kind == "message/feedback-report" {
                self.document(Form::Feedback, bytes, name);
            }
        }
        if self.documents.len() + self.troubles.len() == before {
            self.trouble(name, "no report in it");
        }
        if parts.cut {
            self.trouble(name, "not all parts were looked at: there are too many, or too deep");
        }
    }
}

/// What the first bytes say: XML with a root that DMARC knows, or JSON.
fn document(bytes: &[u8]) -> Option<Form> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let xml = bytes.starts_with(b"<?xml")
        || bytes.starts_with(b"<!--")
        || tag_is(bytes, b"feedback")
        || tag_is(bytes, b"xs:schema");
    if xml {
        return Some(Form::Xml);
    }
    let list = bytes.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{"));
    (list || bytes.starts_with(b"{")).then_some(Form::Json)
}

/// A document in UTF-16, by its mark or by the zeros beside its first character.
fn from_utf16(bytes: &[u8]) -> Option<String> {
    let (read, from): (fn([u8; 2]) -> u16, usize) = match bytes {
        [0xff, 0xfe, ..] => (u16::from_le_bytes, 2),
        [0xfe, 0xff, ..] => (u16::from_be_bytes, 2),
        [b'<' | b'{', 0, ..] => (u16::from_le_bytes, 0),
        [0, b'<' | b'{', ..] => (u16::from_be_bytes, 0),
        _ => return None,
    };
    let bytes = bytes.get(from..bytes.len().min(DOCUMENT_BYTES_MAX))?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
    let text = String::from_utf16_lossy(&units);
    document(text.as_bytes()).is_some().then_some(text)
}

/// The message within a signature of one piece (RFC 8551 section 3.5.2). Who signs while they send writes it in pieces
/// (X.690 section 8.7.3: a constructed OCTET STRING, its length not known at its beginning).
fn signed_within(signed: &[u8]) -> Option<Cow<'_, [u8]>> {
    let at =
        memchr::memmem::find(signed, b"Content-Type:").or_else(|| memchr::memmem::find(signed, b"MIME-Version:"))?;
    // The head that ends where the message begins.
    let head = |length: usize| octets(signed.get(at.checked_sub(length)?..)?).filter(|(own, ..)| *own == length);
    let Some((_, first, mut rest)) = (2..=6).find_map(head) else { return signed.get(at..).map(Cow::Borrowed) };
    let mut whole = Cow::Borrowed(first);
    while let Some((_, next, behind)) = octets(rest) {
        whole.to_mut().extend_from_slice(next);
        rest = behind;
    }
    Some(whole)
}

/// A primitive OCTET STRING: how long its head is, its octets, and what stands behind it.
fn octets(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let [4, first, ..] = bytes else { return None };
    let (head, length) = match *first {
        short @ 0..=0x7f => (2, usize::from(short)),
        long @ 0x81..=0x84 => {
            let digits = bytes.get(2..2 + usize::from(long - 0x80))?;
            (2 + digits.len(), digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
        }
        _ => return None,
    };
    let octets = bytes.get(head..head.checked_add(length)?)?;
    Some((head, octets, &bytes[head + length..]))
}

fn tag_is(bytes: &[u8], name: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"<") else { return false };
    let local = rest.iter().position(|byte| matches!(byte, b' ' | b'>' | b'\n' | b'\r' | b'\t')).unwrap_or(rest.len());
    let tag = &rest[..local];
    tag.eq_ignore_ascii_case(name)
        || tag.len() > name.len() && tag.ends_with(name) && tag[tag.len() - name.len() - 1] == b':'
}

fn joined(outer: &str, inner: &str) -> String {
    match (outer.is_empty(), inner.is_empty()) {
        (true, _) => inner.to_owned(),
        (false, true) => outer.to_owned(),
        (false, false) => format!("{outer}: {inner}"),
    }
}
