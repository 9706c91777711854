//! The last escaping before bytes leave: nothing that a renderer prints can steer a terminal. And how wide it is.

use mxray_model::text::is_steering;
use std::borrow::Cow;

/// The text with everything escaped that could steer a terminal, break a line or hide something.
///
/// Text that a collector has escaped already comes back unchanged. Unlike there, nothing is clipped: half a command is
/// worse than a long line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            c if is_steering(c) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// How many terminal columns the text takes.
///
/// The ranges are those of Unicode's East Asian Width W and F and of combining marks, by block: exact enough to wrap
/// prose, and worth no table of a thousand lines.
pub fn columns_of(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars()
        .map(|c| match u32::from(c) {
            0x0300..=0x036f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::text::untrusted;

    #[test]
    fn what_was_escaped_before_stays_as_it_is() {
        let once = untrusted(b"ma\x1b[2Jster\nx");
        assert_eq!(printable(&once), once);
        assert!(matches!(printable(&once), Cow::Borrowed(_)));
    }

    #[test]
    fn what_was_not_escaped_is_escaped_here() {
        assert_eq!(printable("a\x1b[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
    }

    #[test]
    fn width_is_in_columns_not_in_bytes() {
        assert_eq!(columns_of("größe"), 5);
        assert_eq!(columns_of("日本"), 4);
        assert_eq!(columns_of("e\u{301}"), 1);
    }
}
