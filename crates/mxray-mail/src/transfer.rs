//! Content transfer encodings (RFC 2045 section 6).

use crate::LINE_BYTES_MAX;
use data_encoding::BASE64;

/// Longest line of quoted-printable and base64 (RFC 2045 sections 6.7 and 6.8).
const COLUMNS: usize = 76;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    SevenBit,
    EightBit,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7bit",
            Encoding::EightBit => "8bit",
            Encoding::QuotedPrintable => "quoted-printable",
            Encoding::Base64 => "base64",
        }
    }

    /// What text with CRLF needs, and no more.
    pub fn of_text(text: &[u8], eight_bit: bool) -> Self {
        let plain = lines_fit(text) && !text.contains(&0);
        if plain && text.is_ascii() {
            Encoding::SevenBit
        } else if plain && eight_bit {
            Encoding::EightBit
        } else {
            let spelled = text.iter().filter(|byte| !is_plain(**byte) && !b"\r\n \t".contains(byte)).count();
            if spelled * 6 <= text.len() { Encoding::QuotedPrintable } else { Encoding::Base64 }
        }
    }

    /// Encoded, with CRLF behind the last line unless there is none.
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Encoding::SevenBit | Encoding::EightBit => bytes.to_vec(),
            Encoding::QuotedPrintable => quoted_printable(bytes),
            Encoding::Base64 => base64(bytes),
        }
    }
}

/// No line is longer than a message may have.
pub(crate) fn lines_fit(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').all(|line| line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE_BYTES_MAX)
}

/// CRLF, LF and CR all become CRLF.
pub(crate) fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' => {
                rest.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            byte => out.push(byte),
        }
    }
    out
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'='
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 57 * 78 + 80);
    for piece in bytes.chunks(COLUMNS / 4 * 3) {
        out.extend_from_slice(BASE64.encode(piece).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Text with CRLF. Blanks at the end of a line are spelled, since some servers cut them off.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    for whole in text.split_inclusive(|byte| *byte == b'\n') {
        let (line, ending) = match whole.strip_suffix(b"\r\n") {
            Some(line) => (line, &b"\r\n"[..]),
            None => (whole, &b""[..]),
        };
        let mut column = 0;
        for (place, byte) in line.iter().enumerate() {
            let last = place + 1 == line.len();
            let plain = is_plain(*byte) || (matches!(byte, b' ' | b'\t') && !last);
            let width = if plain { 1 } else { 3 };
            // One column is kept for the `=` of a soft line break.
            if column + width > COLUMNS - usize::from(!last) {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                out.push(*byte);
            } else {
                out.extend_from_slice(format!("={byte:02X}").as_bytes());
            }
            column += width;
        }
        out.extend_from_slice(ending);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_needed() {
        assert_eq!(Encoding::of_text(b"plain\r\n", false), Encoding::SevenBit);
        assert_eq!(Encoding::of_text("größere Mengen von plain text\r\n".as_bytes(), false), Encoding::QuotedPrintable);
        assert_eq!(Encoding::of_text("größe\r\n".as_bytes(), true), Encoding::EightBit);
        assert_eq!(Encoding::of_text("日本語\r\n".as_bytes(), false), Encoding::Base64);
        assert_eq!(Encoding::of_text(&[b'a'; 999], true), Encoding::QuotedPrintable);
        assert_eq!(Encoding::of_text(&[b'a'; 998], false), Encoding::SevenBit);
    }

    #[test]
    fn quoted_lines_are_short_and_end_with_no_blank() {
        assert_eq!(quoted_printable(b"a = b \r\n\t\r\nc"), b"a =3D b=20\r\n=09\r\nc");
        let long = quoted_printable(&"ö".repeat(100).into_bytes());
        assert!(long.split(|byte| *byte == b'\n').all(|line| line.len() <= 77), "{long:?}");
        let exact = quoted_printable(&[b'a'; 76]);
        assert_eq!(exact, [b'a'; 76]);
    }
}
