//! A message from its parts.

use crate::mime::Part;
use crate::transfer::{lines_fit, with_crlf};
use crate::{Field, Trouble};

/// What a message cannot know of itself: when and by which name it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// RFC 5322 section 3.3: `Sat, 1 Jan 2000 00:00:00 +0000`.
    pub date: String,
    /// Without angle brackets.
    pub message_id: String,
}

impl Stamp {
    pub(crate) fn fields(&self) -> Result<[Field; 2], Trouble> {
        Ok([Field::new("Date", &self.date)?, Field::new("Message-ID", &format!("<{}>", self.message_id))?])
    }
}

/// A file that goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    pub content_type: String,
    pub bytes: Vec<u8>,
}

/// What a message is to be made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Fields in any case.
    pub always: Vec<Field>,
    /// Fields where `always` has none of their name.
    pub absent: Vec<Field>,
    pub text: Option<Vec<u8>>,
    pub html: Option<Vec<u8>>,
    pub attachments: Vec<Attachment>,
    /// Fields may be UTF-8 as it is (RFC 6532); the session then has to have SMTPUTF8.
    pub utf8: bool,
    /// Text may have 8 bits as it is; the session then has to have 8BITMIME.
    pub eight_bit: bool,
}

impl Draft {
    /// The message with CRLF.
    ///
    /// # Errors
    /// What cannot be part of it.
    pub fn compose(&self, stamp: &Stamp) -> Result<Vec<u8>, Trouble> {
        let mut fields: Vec<Field> = self.always.clone();
        for field in self.absent.iter().chain(&stamp.fields()?) {
            if !fields.iter().any(|known| known.is_named(field.name())) {
                fields.push(field.clone());
            }
        }
        let has = |name: &str| fields.iter().any(|field| field.is_named(name));
        let mut head = String::new();
        for field in &fields {
            head.push_str(&field.write(self.utf8)?);
        }
        let body = self.body()?;
        if has("Content-Type") && body.content_type.starts_with("multipart/") {
            return Err(Trouble::TypeOfParts);
        }
        if !has("MIME-Version") {
            head.push_str("MIME-Version: 1.0\r\n");
        }
        if !has("Content-Type") {
            head.push_str(&format!("Content-Type: {}\r\n", body.content_type));
        }
        let mut bytes = body.body;
        if has("Content-Transfer-Encoding") {
            // It is encoded already, says whoever gives it.
            bytes = with_crlf(self.text.as_deref().or(self.html.as_deref()).unwrap_or_default());
            if !lines_fit(&bytes) {
                return Err(Trouble::LineTooLong);
            }
        } else if let Some(encoding) = body.encoding {
            head.push_str(&format!("Content-Transfer-Encoding: {}\r\n", encoding.as_str()));
        }
        head.push_str("\r\n");
        Ok([head.into_bytes(), bytes].concat())
    }

    fn body(&self) -> Result<Part, Trouble> {
        let text = self.text.as_ref().map(|text| Part::text("plain", text, self.eight_bit));
        let html = self.html.as_ref().map(|html| Part::text("html", html, self.eight_bit));
        // RFC 2046 section 5.1.4: the plainest first.
        let main = match (text, html) {
            (Some(text), Some(html)) => Part::multipart("alternative", &[text, html]),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => Part::text("plain", b"", false),
        };
        if self.attachments.is_empty() {
            return Ok(main);
        }
        let mut parts = vec![main];
        for attachment in &self.attachments {
            parts.push(Part::attachment(attachment, self.eight_bit)?);
        }
        Ok(Part::multipart("mixed", &parts))
    }
}

#[cfg(test)]
mod tests;
