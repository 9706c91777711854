//! Bytes as they were on the wire, in a form that a person can read and that loses nothing.

use crate::text::is_steering;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bytes of a conversation.
///
/// Written, and serialised, as text: printable characters stand for themselves, `\r`, `\n`, `\t` and `\\` are spelled so,
/// everything else (control characters, what could steer a terminal, invalid UTF-8) is `\xNN`, byte by byte.
/// `parse(print(x)) == x` for all bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Without the line ending, if there is one.
    pub fn line(&self) -> &[u8] {
        let line = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl From<&[u8]> for Raw {
    fn from(bytes: &[u8]) -> Self {
        Raw(bytes.to_vec())
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Raw(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\r' => f.write_str("\\r")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\\' => f.write_str("\\\\")?,
                    c if is_steering(c) => hex(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// An escape that is none of those above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEscape {
    /// Where it stands, in bytes of the text.
    pub at: usize,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such escape at byte {}: \\r \\n \\t \\\\ \\xNN are known", self.at)
    }
}

impl std::error::Error for BadEscape {}

impl FromStr for Raw {
    type Err = BadEscape;

    fn from_str(text: &str) -> Result<Self, BadEscape> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            let (plain, escape) = rest.split_at(at);
            bytes.extend_from_slice(plain.as_bytes());
            let (byte, length) = unescaped(escape).ok_or(BadEscape { at: text.len() - escape.len() })?;
            bytes.push(byte);
            rest = escape.get(length..).unwrap_or_default();
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(Raw(bytes))
    }
}

/// The byte that an escape at the beginning of the text stands for, and the escape's length.
fn unescaped(text: &str) -> Option<(u8, usize)> {
    match text.as_bytes().get(1)? {
        b'r' => Some((b'\r', 2)),
        b'n' => Some((b'\n', 2)),
        b't' => Some((b'\t', 2)),
        b'\\' => Some((b'\\', 2)),
        b'x' => {
            let digits = text.get(2..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, 4))
        }
        _ => None,
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Raw {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Raw".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Bytes of a conversation: \\r, \\n, \\t, \\\\ and \\xNN are escapes, everything else stands for itself."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_a_terminal_is_spelled() {
        let shown = Raw(b"220 a\x1b[2J\\ gr\xc3\xb6\xc3\x9fe \xff\r\n".to_vec()).to_string();
        assert_eq!(shown, "220 a\\x1b[2J\\\\ größe \\xff\\r\\n");
        assert_eq!(Raw::from("x\u{202e}y").to_string(), "x\\xe2\\x80\\xaey");
    }

    #[test]
    fn a_bad_escape_is_told_with_its_place() {
        for (text, at) in [("ab\\q", 2), ("\\", 0), ("é\\x0", 2), ("\\xg0", 0), ("\\x+1", 0)] {
            assert_eq!(text.parse::<Raw>(), Err(BadEscape { at }), "{text}");
        }
    }

    #[test]
    fn a_line_has_no_ending() {
        assert_eq!(Raw::from("a\r\n").line(), b"a");
        assert_eq!(Raw::from("a\n").line(), b"a");
        assert_eq!(Raw::from("a\r").line(), b"a");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let raw = Raw(bytes);
            prop_assert_eq!(raw.to_string().parse::<Raw>(), Ok(raw.clone()));
            let json = serde_json::to_string(&raw).unwrap();
            prop_assert_eq!(serde_json::from_str::<Raw>(&json).unwrap(), raw);
        }
    }
}
