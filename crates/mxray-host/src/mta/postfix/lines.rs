//! Logical lines, as main.cf and master.cf share them (postconf(5), master(5)). Pure: bytes in, lines out.
//!
//! This is the one place where bytes of these files become text; everything behind it works on escaped strings.

use mxray_model::text;

/// Longest logical line that is kept, in bytes. Real ones (`mynetworks` of a large site) reach some ten thousand.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One logical line: leading text and its continuations, joined by one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logical {
    /// Where it begins; 1 is the first line of the file.
    pub line: u32,
    pub text: String,
}

/// Something at a line that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub line: u32,
    pub text: String,
    /// Postfix's programs end at it; else it is what we could not read.
    pub fatal: bool,
}

impl Trouble {
    pub fn new(line: u32, text: impl Into<String>) -> Self {
        Trouble { line, text: text.into(), fatal: false }
    }

    /// One at which Postfix's programs end.
    pub fn fatal(line: u32, text: impl Into<String>) -> Self {
        Trouble { fatal: true, ..Trouble::new(line, text) }
    }
}

/// Splits a file into logical lines.
///
/// Empty lines and comments are skipped, also between a line and its continuation, which is Postfix's way. A
/// continuation with nothing in front of it is an error there and a trouble here.
pub(crate) fn logical(bytes: &[u8]) -> (Vec<Logical>, Vec<Trouble>) {
    let mut lines: Vec<Logical> = Vec::new();
    let mut troubles = Vec::new();
    let mut joined: Vec<u8> = Vec::new();
    let mut first = 0;
    let mut clipped = false;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let body = trim(raw);
        if body.is_empty() || body.starts_with(b"#") {
            continue;
        }
        if !raw.first().copied().is_some_and(is_space) {
            flush(&mut joined, first, &mut lines);
            first = number;
            clipped = false;
        } else if first == 0 {
            troubles.push(Trouble::new(number, "a continuation line with no line in front of it"));
            continue;
        }
        if body.contains(&0) {
            troubles.push(Trouble::new(number, "contains a NUL byte, where Postfix stops reading the line"));
        }
        if joined.len() + body.len() > LINE_BYTES_MAX {
            if !clipped {
                troubles
                    .push(Trouble::new(number, format!("longer than {LINE_BYTES_MAX} bytes; the rest is not read")));
            }
            clipped = true;
        }
        if !joined.is_empty() {
            joined.push(b' ');
        }
        let room = LINE_BYTES_MAX.saturating_sub(joined.len());
        joined.extend_from_slice(body.get(..room).unwrap_or(body));
    }
    flush(&mut joined, first, &mut lines);
    (lines, troubles)
}

fn flush(joined: &mut Vec<u8>, line: u32, lines: &mut Vec<Logical>) {
    if !joined.is_empty() {
        lines.push(Logical { line, text: escaped(joined) });
        joined.clear();
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Foreign bytes as safe text, whole: `untrusted` clips what is shown, and a clipped value would be judged wrongly.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    // White space of every kind separates and nothing else: as spaces it is not escaped.
    let plain: Vec<u8> = bytes.iter().map(|byte| if is_space(*byte) { b' ' } else { *byte }).collect();
    let mut rest = plain.as_slice();
    let mut out = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let mut end = rest.len().min(text::UNTRUSTED_CHARS_MAX);
        // Never cut inside a UTF-8 sequence, which has at most three continuation bytes.
        for _ in 0..3 {
            if end < rest.len() && rest.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
                end -= 1;
            }
        }
        let (head, tail) = rest.split_at(end);
        out.push_str(&text::untrusted(head));
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<(u32, String)> {
        logical(bytes).0.into_iter().map(|line| (line.line, line.text)).collect()
    }

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_do_not_end_it() {
        let file =
            b"# head\nmynetworks = 127.0.0.0/8,\n# inside\n\n  \t10.0.0.0/8\n   # indented\n\t192.0.2.0/24 \nnext = 1";
        assert_eq!(
            texts(file),
            [(2, "mynetworks = 127.0.0.0/8, 10.0.0.0/8 192.0.2.0/24".to_owned()), (8, "next = 1".to_owned())]
        );
    }

    #[test]
    fn carriage_returns_are_white_space() {
        assert_eq!(texts(b"a = 1\r\n\r\nb = 2\r\n"), [(1, "a = 1".to_owned()), (3, "b = 2".to_owned())]);
    }

    #[test]
    fn a_stray_continuation_a_nul_and_a_megabyte_are_troubles() {
        let mut file = b"   stray\na = x\0y\nb = ".to_vec();
        file.extend(std::iter::repeat_n(b'b', 3 << 20));
        file.extend(b"\nc = 1\n");
        let (lines, troubles) = logical(&file);
        assert_eq!(troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].text, "a = x\\u{0}y");
        assert_eq!(lines[1].text.len(), LINE_BYTES_MAX);
        assert_eq!(lines[2].text, "c = 1");
    }

    #[test]
    fn long_text_is_escaped_whole_and_never_split_inside_a_character() {
        let long = "ä".repeat(5000);
        assert_eq!(escaped(long.as_bytes()), long);
        let odd = format!("x{long}");
        assert_eq!(escaped(odd.as_bytes()), odd);
        assert_eq!(escaped(b"a\xff\x1b"), "a\\xff\\u{1b}");
        assert!(escaped(&vec![0x80; 10_000]).ends_with("\\x80"));
    }
}
