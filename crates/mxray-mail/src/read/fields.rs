//! Fields of a header, and of the blocks in reports that have the form of one (RFC 5322 section 2.2, RFC 3464 section 2.1).
//!
//! Nothing is refused: a line that is no field is left out. What must not live here: what a field means.

use std::borrow::Cow;

/// Longest value that is unfolded; what is longer is cut. No field that is read here needs more.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// A block of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Fields { bytes }
    }

    /// Each field's name and its value as it stands, folded.
    pub fn each(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let field = take_folded(&mut rest);
                let Some(colon) = memchr::memchr(b':', field) else { continue };
                let name = field.get(..colon)?.trim_ascii();
                if name.is_empty() || name.iter().any(|byte| *byte <= b' ' || *byte >= 0x7f) {
                    continue;
                }
                return Some((name, field.get(colon + 1..).unwrap_or_default()));
            }
        })
    }

    /// The first value of a name, unfolded.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unfolded)
    }

    /// The first value of a name that is not empty, unfolded.
    pub fn filled(self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).map(Cow::into_owned)
    }

    /// All values of a name, unfolded.
    pub fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.each().filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| unfolded(value))
    }

    pub fn has(self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    fn raw(self, name: &str) -> Option<&'a [u8]> {
        self.each().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    pub fn is_empty(self) -> bool {
        self.each().next().is_none()
    }
}

/// Takes a line and those that go on with it.
fn take_folded<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let mut end = 0;
    loop {
        end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |at| at + 1);
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (field, after) = rest.split_at(end);
    *rest = after;
    field
}

/// A value without its line breaks; bytes that are no UTF-8 are replaced.
pub fn unfolded(value: &[u8]) -> Cow<'_, str> {
    let value = value.trim_ascii();
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    if !value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return String::from_utf8_lossy(value);
    }
    let mut one = Vec::with_capacity(value.len());
    for (number, line) in value.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            one.push(b' ');
        }
        one.extend_from_slice(line.trim_ascii());
    }
    Cow::Owned(String::from_utf8_lossy(&one).into_owned())
}

/// A parameter of a structured value: `boundary` of `multipart/mixed; boundary="x"` (RFC 2045 section 5.1). Comments are not
/// understood; nobody writes them there.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut plain = String::new();
                let mut characters = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, character)) = characters.next() {
                    match character {
                        '\\' => plain.extend(characters.next().map(|(_, character)| character)),
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        other => plain.push(other),
                    }
                }
                (plain, &quoted[end..])
            }
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_what_is_none_is_left_out() {
        let fields = Fields::new(b"From x y\nSubject: a\r\n  b\nno field\nX:\nSubject: c\n");
        assert_eq!(fields.get("subject").as_deref(), Some("a b"));
        assert_eq!(fields.all("SUBJECT").count(), 2);
        assert_eq!(fields.get("x").as_deref(), Some(""));
        assert_eq!(fields.filled("x"), None);
        assert!(!fields.has("From"));
    }

    #[test]
    fn parameters_of_every_spelling() {
        let value = "Multipart/Report; report-type=delivery-status ;\tboundary=\"a;\\\"b\"; x = y";
        assert_eq!(parameter(value, "boundary").as_deref(), Some("a;\"b"));
        assert_eq!(parameter(value, "Report-Type").as_deref(), Some("delivery-status"));
        assert_eq!(parameter(value, "x").as_deref(), Some("y"));
        for none in ["text/plain", "text/plain;", "text/plain; =", "text/plain; a=\"", ";;;"] {
            assert_eq!(parameter(none, "boundary"), None, "{none}");
        }
    }
}
