//! A message as bytes: composed from parts, or completed where something is missing; and what others report of messages.
//!
//! What a user gives is never repaired. Fields that are there stay as they are, byte for byte; what is missing is added in
//! front of them. A message that is composed here can be sent through any server: lines of at most 998 bytes, 7 bits unless
//! asked for more (RFC 5321 section 4.5.3.1.6, RFC 2045). Start reading at [`Draft`], then [`complete`]; what a reply to a
//! message means is in [`causes`], what others report of one in [`bounce`].
//!
//! What must not live here: I/O, clocks and randomness (dates and identifiers come in with a [`Stamp`]), sessions
//! (`mxray-wire`).
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

pub mod bounce;
pub mod causes;
mod complete;
mod draft;
mod field;
mod head;
mod mime;
pub mod read;
pub mod report;
mod transfer;
mod words;

pub use complete::{Completed, complete};
pub use draft::{Attachment, Draft, Stamp};
pub use field::Field;
pub use head::{Head, is_message};
pub use mime::guessed_type;

/// Longest line of a message without its ending (RFC 5322 section 2.1.1).
pub const LINE_BYTES_MAX: usize = 998;

/// Why something cannot be part of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("no header field, which is `Name: value`: {text:?}")]
    NotAField { text: String },
    #[error("a line break or a control character in the field {name}: it would become another field")]
    ControlInField { name: String },
    #[error("the field {name} cannot hold characters beyond ASCII without SMTPUTF8")]
    NeedsUtf8 { name: String },
    #[error("the field {name} has a word of more than {LINE_BYTES_MAX} bytes, which cannot be folded")]
    WordTooLong { name: String },
    #[error("the field Content-Type is given, and several parts need their own")]
    TypeOfParts,
    #[error("{text:?} is no content type, which is `type/subtype`")]
    NotAType { text: String },
    #[error("a message within a message may not be encoded (RFC 2046 section 5.2.1), and {name} has more than 7 bits")]
    EightBitMessage { name: String },
    #[error(
        "the text is to be sent as it is (Content-Transfer-Encoding is given), and has a line of more than {LINE_BYTES_MAX} bytes"
    )]
    LineTooLong,
}
