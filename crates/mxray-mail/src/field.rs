//! One header field: checked when it is made, encoded and folded when it is written.

use crate::words::{self, Folded};
use crate::{LINE_BYTES_MAX, Trouble};

/// Fields with mailboxes in them, where only names in front of addresses can be encoded (RFC 2047 section 5).
const MAILBOXES: [&str; 10] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-to",
    "resent-sender",
    "disposition-notification-to",
];

/// Fields with a grammar of their own, in which an encoded word means nothing.
const STRUCTURED: [&str; 14] = [
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "received",
    "return-path",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "content-id",
    "dkim-signature",
    "list-id",
    "auto-submitted",
];

/// A field. Neither its name nor its value can begin another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    value: String,
}

impl Field {
    /// # Errors
    /// The name is none (RFC 5322 section 2.2), or the value has a control character in it.
    pub fn new(name: &str, value: &str) -> Result<Self, Trouble> {
        if !is_name(name.as_bytes()) {
            return Err(Trouble::NotAField { text: name.chars().take(80).collect() });
        }
        // U+2028 and U+2029 end lines for some, U+0085 for others.
        let ends = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
        if value.contains(ends) {
            return Err(Trouble::ControlInField { name: name.to_owned() });
        }
        Ok(Field { name: name.to_owned(), value: value.trim_matches([' ', '\t']).to_owned() })
    }

    /// `Name: value`.
    ///
    /// # Errors
    /// As `new`; or there is no colon.
    pub fn parse(text: &str) -> Result<Self, Trouble> {
        let (name, value) =
            text.split_once(':').ok_or_else(|| Trouble::NotAField { text: text.chars().take(80).collect() })?;
        Field::new(name.trim_end_matches([' ', '\t']), value)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn value(&self) -> &str {
        &self.value
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The field with its line ending, folded; encoded unless `utf8` lets it be as it is (RFC 6532).
    pub(crate) fn write(&self, utf8: bool) -> Result<String, Trouble> {
        let lower = self.name.to_ascii_lowercase();
        let mut out = Folded::begin(&self.name);
        if utf8 || self.value.is_ascii() {
            // Text that looks encoded stays as it is: whoever writes it means it.
            out.plain(&self.value);
        } else if MAILBOXES.contains(&lower.as_str()) {
            words::mailboxes(&self.value, &mut out).ok_or_else(|| Trouble::NeedsUtf8 { name: self.name.clone() })?;
        } else if STRUCTURED.contains(&lower.as_str()) {
            return Err(Trouble::NeedsUtf8 { name: self.name.clone() });
        } else {
            words::unstructured(&self.value, &mut out);
        }
        let text = out.end();
        if text.split("\r\n").any(|line| line.len() > LINE_BYTES_MAX) {
            return Err(Trouble::WordTooLong { name: self.name.clone() });
        }
        Ok(text)
    }
}

/// RFC 5322 section 3.6.8: printable ASCII without a colon.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() < 256 && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_begins_another_one() {
        for bad in ["X: a\r\nBcc: b", "X: a\nb", "X: a\rb", "X: a\0", "X\r\nY: a", ": a", "X Y: a", "X", "X: \u{85}"] {
            assert!(Field::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Field::parse("Subject : a: b ").unwrap().value(), "a: b");
        assert_eq!(Field::parse("X:").unwrap().write(false).unwrap(), "X: \r\n");
    }

    #[test]
    fn a_grammar_is_not_encoded() {
        assert!(Field::parse("Message-ID: <ä@b>").unwrap().write(false).is_err());
        assert!(Field::parse("To: jörg@example.org").unwrap().write(false).is_err());
        assert!(Field::parse("To: jörg@example.org").unwrap().write(true).is_ok());
        assert!(Field::parse(&format!("X: {}", "a".repeat(1000))).unwrap().write(false).is_err());
    }
}
