//! Parts and how they are put together (RFC 2045, RFC 2046, RFC 2183, RFC 2231).

use crate::Trouble;
use crate::draft::Attachment;
use crate::transfer::{Encoding, lines_fit, with_crlf};
use std::fmt::Write as _;

/// Longest piece of a parameter on a line of its own.
const PARAMETER_PIECE: usize = 50;

/// Types by the ending of a file's name: those that are attached to test messages. Everything else is bytes.
const TYPES: [(&str, &str); 20] = [
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("eml", "message/rfc822"),
    ("pdf", "application/pdf"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("mp3", "audio/mpeg"),
];

/// The content type that a file's name speaks for.
pub fn guessed_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(ending))
        .map_or("application/octet-stream", |(_, content)| *content)
}

/// One entity: its fields, and its bytes as they go over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Part {
    pub content_type: String,
    /// `None`: 7 bits, which need not be said (RFC 2045 section 6.1).
    pub encoding: Option<Encoding>,
    pub disposition: Option<String>,
    pub body: Vec<u8>,
}

impl Part {
    pub fn text(subtype: &str, text: &[u8], eight_bit: bool) -> Self {
        let text = with_crlf(text);
        let charset = if text.is_ascii() {
            "us-ascii"
        } else if std::str::from_utf8(&text).is_ok() {
            "utf-8"
        } else {
            // Nobody said which one it is.
            "unknown-8bit"
        };
        let encoding = Encoding::of_text(&text, eight_bit);
        Part {
            content_type: format!("text/{subtype}; charset={charset}"),
            encoding: (encoding != Encoding::SevenBit).then_some(encoding),
            disposition: None,
            body: encoding.encode(&text),
        }
    }

    /// A file keeps its bytes: base64, whatever it is, but for messages, which may not be encoded.
    pub fn attachment(attachment: &Attachment, eight_bit: bool) -> Result<Self, Trouble> {
        let content = attachment.content_type.trim();
        if !is_type(content) {
            return Err(Trouble::NotAType { text: content.chars().take(80).collect() });
        }
        let name = &attachment.name;
        let disposition = Some(format!("attachment{}", parameter("filename", name)));
        if content.to_ascii_lowercase().starts_with("message/rfc822") {
            let body = with_crlf(&attachment.bytes);
            let plain = lines_fit(&body) && !body.contains(&0);
            if !plain || !(body.is_ascii() || eight_bit) {
                return Err(Trouble::EightBitMessage { name: name.clone() });
            }
            let encoding = (!body.is_ascii()).then_some(Encoding::EightBit);
            return Ok(Part { content_type: content.to_owned(), encoding, disposition, body });
        }
        Ok(Part {
            content_type: content.to_owned(),
            encoding: Some(Encoding::Base64),
            disposition,
            body: Encoding::Base64.encode(&attachment.bytes),
        })
    }

    /// Several parts as one.
    pub fn multipart(subtype: &str, parts: &[Part]) -> Self {
        let written: Vec<Vec<u8>> = parts.iter().map(Part::write).collect();
        let boundary = boundary(subtype, &written);
        let mut body = Vec::new();
        for part in &written {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            body.extend_from_slice(part);
            // This line ending belongs to the boundary behind it (RFC 2046 section 5.1.1).
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let eight_bit = parts.iter().any(|part| part.encoding == Some(Encoding::EightBit));
        Part {
            content_type: format!("multipart/{subtype};\r\n boundary=\"{boundary}\""),
            // RFC 2045 section 6.4: a multipart is never encoded, and says how many bits are within.
            encoding: eight_bit.then_some(Encoding::EightBit),
            disposition: None,
            body,
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = format!("Content-Type: {}\r\n", self.content_type);
        if let Some(encoding) = self.encoding {
            let _ = write!(out, "Content-Transfer-Encoding: {}\r\n", encoding.as_str());
        }
        if let Some(disposition) = &self.disposition {
            let _ = write!(out, "Content-Disposition: {disposition}\r\n");
        }
        out.push_str("\r\n");
        let mut bytes = out.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A line that stands in none of the parts. `=_` stands in no quoted-printable and in no base64 (RFC 2045 section 6.7).
fn boundary(subtype: &str, parts: &[Vec<u8>]) -> String {
    let mut number = 0u32;
    loop {
        let candidate = format!("=_{subtype}_{number}");
        let line = format!("--{candidate}");
        if !parts.iter().any(|part| part.windows(line.len()).any(|window| window == line.as_bytes())) {
            return candidate;
        }
        number = number.wrapping_add(1);
    }
}

/// `type/subtype` with parameters, in printable ASCII.
fn is_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let (content, parameters) = text.split_once(';').unwrap_or((text, ""));
    let printable = parameters.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let (kind, subtype) = content.trim().split_once('/').unwrap_or_default();
    // A part that is attached cannot be a multipart: its bytes would be taken for its boundaries.
    token(kind) && token(subtype) && printable && text.len() < 200 && !kind.eq_ignore_ascii_case("multipart")
}

/// `; name="value"`, each on a line of its own; what is long, or more than ASCII, as RFC 2231 has it.
fn parameter(name: &str, value: &str) -> String {
    let simple = value.len() <= PARAMETER_PIECE && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if simple {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        return format!(";\r\n {name}=\"{escaped}\"");
    }
    let mut pieces = vec![String::new()];
    for c in value.chars() {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        // A character stays in one piece: some readers decode piece by piece.
        let code = if plain {
            c.to_string()
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
        };
        match pieces.last_mut() {
            Some(last) if last.len() + code.len() <= PARAMETER_PIECE => last.push_str(&code),
            _ => pieces.push(code),
        }
    }
    if let [only] = pieces.as_slice() {
        return format!(";\r\n {name}*=utf-8''{only}");
    }
    let mut out = String::new();
    for (number, piece) in pieces.iter().enumerate() {
        let charset = if number == 0 { "utf-8''" } else { "" };
        let _ = write!(out, ";\r\n {name}*{number}*={charset}{piece}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_as_rfc_2231_has_them() {
        assert_eq!(parameter("filename", "a \"b\".txt"), ";\r\n filename=\"a \\\"b\\\".txt\"");
        assert_eq!(parameter("filename", "ä.txt"), ";\r\n filename*=utf-8''%C3%A4.txt");
        let long = parameter("filename", &"x".repeat(120));
        assert!(long.contains("filename*0*=utf-8''xxx") && long.contains("filename*2*=xxx"), "{long}");
    }

    #[test]
    fn a_boundary_stands_in_no_part() {
        let parts = vec![b"--=_mixed_0\r\n--=_mixed_1".to_vec()];
        assert_eq!(boundary("mixed", &parts), "=_mixed_2");
    }

    #[test]
    fn types_are_checked() {
        for bad in ["text", "text/", "a/b\r\nX: y", "multipart/mixed", "", "a b/c", "text/plain; x=\u{e4}"] {
            assert!(!is_type(bad), "{bad}");
        }
        assert!(is_type("text/plain; charset=utf-8") && is_type("image/svg+xml"));
        assert_eq!(guessed_type("a.b.PDF"), "application/pdf");
        assert_eq!(guessed_type("noending"), "application/octet-stream");
    }
}
