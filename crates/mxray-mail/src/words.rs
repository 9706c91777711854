//! Encoded words (RFC 2047) and folding (RFC 5322 section 2.2.3).

use data_encoding::BASE64;

/// Lines are folded here where they can be (RFC 5322 section 2.1.1; RFC 2047 section 2 asks for 76 with encoded words).
const COLUMNS: usize = 76;
/// `=?UTF-8?Q?` and `?=`.
const FRAME: usize = 12;
/// Below this, a new line is begun rather than an encoded word.
const PAYLOAD_MIN: usize = 12;

/// A field that is being written.
#[derive(Debug)]
pub(crate) struct Folded {
    text: String,
    column: usize,
    /// Nothing was written behind the name yet, so there is nothing to fold.
    fresh: bool,
}

impl Folded {
    pub fn begin(name: &str) -> Self {
        Folded { text: format!("{name}:"), column: name.len() + 1, fresh: true }
    }

    /// Text as it is, folded at its blanks: unfolding gives the same text again.
    pub fn plain(&mut self, text: &str) {
        let mut rest = text;
        if rest.is_empty() && self.fresh {
            self.text.push(' ');
        }
        if self.fresh && !rest.is_empty() {
            self.text.push(' ');
            self.column += 1;
        }
        while !rest.is_empty() {
            // Blanks, and the word behind them, stay together: a fold stands in front of blanks.
            let word_at = rest.find(|c| c != ' ' && c != '\t').unwrap_or(rest.len());
            let behind = rest.get(word_at..).unwrap_or_default();
            let length = word_at + behind.find([' ', '\t']).unwrap_or(behind.len());
            let (piece, more) = rest.split_at(length);
            let blank_only = word_at == piece.len();
            if word_at > 0 && !self.fresh && !blank_only && self.column + piece.len() > COLUMNS {
                self.text.push_str("\r\n");
                self.column = 0;
            }
            self.text.push_str(piece);
            self.column += piece.len();
            self.fresh = false;
            rest = more;
        }
    }

    /// Text in encoded words, one after the other; in a phrase, with the few characters that are allowed there.
    fn encoded(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let mut room = COLUMNS.saturating_sub(self.column + 1 + FRAME);
            if room < PAYLOAD_MIN {
                self.text.push_str("\r\n");
                self.column = 0;
                room = COLUMNS - 1 - FRAME;
            }
            let (word, length) = encoded_word(rest, room);
            self.text.push(' ');
            self.text.push_str(&word);
            self.column += 1 + word.len();
            self.fresh = false;
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    pub fn end(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

/// The longest beginning of the text whose encoded word has at most `room` bytes of payload, in the shorter encoding; at
/// least one character.
fn encoded_word(text: &str, room: usize) -> (String, usize) {
    let (mut quoted, mut length) = (String::new(), 0);
    for c in text.chars() {
        let piece = quoted_char(c);
        if length > 0 && quoted.len() + piece.len() > room {
            break;
        }
        quoted.push_str(&piece);
        length += c.len_utf8();
    }
    let mut length64 = 0;
    for c in text.chars() {
        if length64 > 0 && (length64 + c.len_utf8()).div_ceil(3) * 4 > room {
            break;
        }
        length64 += c.len_utf8();
    }
    if length >= length64 {
        (format!("=?UTF-8?Q?{quoted}?="), length)
    } else {
        let bytes = text.as_bytes().get(..length64).unwrap_or_default();
        (format!("=?UTF-8?B?{}?=", BASE64.encode(bytes)), length64)
    }
}

/// RFC 2047 section 5 (3): what may stand for itself even in a phrase.
fn quoted_char(c: char) -> String {
    if c == ' ' {
        "_".to_owned()
    } else if c.is_ascii_alphanumeric() || matches!(c, '!' | '*' | '+' | '-' | '/') {
        c.to_string()
    } else {
        c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("={byte:02X}")).collect()
    }
}

/// Free text: from the first word that needs it to the last one.
pub(crate) fn unstructured(text: &str, out: &mut Folded) {
    let needs = |word: &str| !word.is_ascii() || word.contains("=?");
    let mut spans = text.split_inclusive(' ').scan(0, |at, piece| {
        let start = *at;
        *at += piece.len();
        Some((start, start + piece.trim_end_matches(' ').len(), piece))
    });
    let Some((start, mut end)) = spans.find(|(.., piece)| needs(piece)).map(|(start, end, _)| (start, end)) else {
        return out.plain(text);
    };
    if let Some((_, last, _)) = spans.filter(|(.., piece)| needs(piece)).last() {
        end = last;
    }
    // One blank on each side separates words; more belong to the text, and are encoded with it.
    let before = text.get(..start).unwrap_or_default();
    let plain_before = before.trim_end_matches(' ');
    if !plain_before.is_empty() {
        out.plain(plain_before);
    }
    let start = if plain_before.is_empty() { 0 } else { (plain_before.len() + 1).min(start) };
    let behind = text.get(end..).unwrap_or_default();
    let plain_behind = behind.trim_start_matches(' ');
    let blanks = behind.len() - plain_behind.len();
    out.encoded(text.get(start..end + blanks.saturating_sub(1)).unwrap_or_default());
    if !plain_behind.is_empty() {
        out.plain(&format!(" {plain_behind}"));
    }
}

/// A list of mailboxes whose names are encoded. `None`: there is more than ASCII where only ASCII can be.
pub(crate) fn mailboxes(text: &str, out: &mut Folded) -> Option<()> {
    let list: Vec<&str> = split_list(text);
    for (place, mailbox) in (1..).zip(&list) {
        let comma = if place < list.len() { "," } else { "" };
        let mailbox = mailbox.trim();
        if mailbox.is_ascii() {
            let lead = if out.fresh { "" } else { " " };
            out.plain(&format!("{lead}{mailbox}{comma}"));
            continue;
        }
        let at = mailbox.rfind('<')?;
        let (name, address) = mailbox.split_at(at);
        if !address.is_ascii() || !address.ends_with('>') {
            return None;
        }
        out.encoded(&unquoted(name.trim()));
        out.plain(&format!(" {address}{comma}"));
    }
    Some(())
}

/// At the commas outside of quotes and angle brackets.
fn split_list(text: &str) -> Vec<&str> {
    let (mut list, mut begin, mut quoted, mut escaped, mut depth) = (Vec::new(), 0, false, false, 0u32);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' | '(' if !quoted => depth += 1,
            '>' | ')' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                list.push(text.get(begin..at).unwrap_or_default());
                begin = at + 1;
            }
            _ => {}
        }
    }
    list.push(text.get(begin..).unwrap_or_default());
    list
}

/// The text within a quoted string; anything else as it is.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let mut out = String::new();
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(text: &str) -> String {
        let mut out = Folded::begin("Subject");
        unstructured(text, &mut out);
        out.end()
    }

    fn list(text: &str) -> Option<String> {
        let mut out = Folded::begin("To");
        mailboxes(text, &mut out).map(|()| out.end())
    }

    #[test]
    fn only_what_needs_it_is_encoded() {
        assert_eq!(free("plain text"), "Subject: plain text\r\n");
        assert_eq!(free("eine größere Sache"), "Subject: eine =?UTF-8?Q?gr=C3=B6=C3=9Fere?= Sache\r\n");
        assert_eq!(free("äa bc äd"), "Subject: =?UTF-8?Q?=C3=A4a_bc_=C3=A4d?=\r\n");
        // What looks encoded is text, too.
        assert_eq!(free("=?x? ä"), "Subject: =?UTF-8?Q?=3D=3Fx=3F_=C3=A4?=\r\n");
        assert_eq!(free("日本語テキスト"), "Subject: =?UTF-8?B?5pel5pys6Kqe44OG44Kt44K544OI?=\r\n");
    }

    #[test]
    fn names_are_encoded_and_addresses_are_not() {
        let both = list("\"Grün, Ä\" <a@b.example>, plain@c.example, Bär <d@e.example>").unwrap();
        assert_eq!(
            both,
            "To: =?UTF-8?Q?Gr=C3=BCn=2C_=C3=84?= <a@b.example>, plain@c.example,\r\n =?UTF-8?Q?B=C3=A4r?= <d@e.example>\r\n"
        );
        assert_eq!(list("ä@b.example"), None);
        assert_eq!(list("A <ä@b.example>"), None);
    }

    #[test]
    fn lines_stay_short() {
        let long = free(&"größer und ".repeat(40));
        assert!(long.split("\r\n").all(|line| line.len() <= 76), "{long}");
        let plain = free(&"word ".repeat(60));
        assert!(plain.split("\r\n").all(|line| line.len() <= 76 && !line.is_empty() || line.is_empty()), "{plain}");
    }
}
