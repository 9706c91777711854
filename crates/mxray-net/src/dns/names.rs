//! Names as text and as labels. Pure.
//!
//! What is written is escaped as in a zone file (RFC 1035 section 5.1), without the final dot; the root is `.`.

use hickory_proto::rr::Name;

/// A name in escaped form is at most four times as long as on the wire; more is no name.
const TEXT_BYTES_MAX: usize = 4 * 255;

/// Why a text is no name that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("it is longer than a name can be (255 bytes, RFC 1035 section 2.3.4)")]
    TooLong,
    #[error("one of its labels is empty or longer than 63 bytes (RFC 1035 section 2.3.4)")]
    Label,
    #[error("a backslash is followed by what is no escape (RFC 1035 section 5.1)")]
    Escape,
    #[error("it has letters that cannot be part of an internationalised name (RFC 5891)")]
    International,
}

/// Reads a name; letters beyond ASCII become A-labels (UTS 46).
pub(super) fn read(text: &str) -> Result<Name, BadName> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(BadName::TooLong);
    }
    if text.is_empty() || text == "." {
        return Ok(Name::root());
    }
    let ascii = if text.is_ascii() { text.to_owned() } else { to_ascii(text)? };
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = ascii.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => escaped(&mut rest)?,
            byte => byte,
        };
        if let Some(label) = labels.last_mut() {
            label.push(byte);
        }
    }
    // The final dot of an absolute name.
    if labels.len() > 1 && labels.last().is_some_and(Vec::is_empty) {
        labels.pop();
    }
    if labels.iter().any(|label| label.is_empty() || label.len() > 63) {
        return Err(BadName::Label);
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).map_err(|_| BadName::TooLong)?;
    name.set_fqdn(true);
    Ok(name)
}

/// A host's name as it goes over the wire: letters beyond ASCII become A-labels (UTS 46), and only those stand in SNI and in
/// certificates (RFC 6066 section 3, RFC 9525 section 2).
///
/// # Errors
/// No name on the wire stands for it.
pub fn wire_name(text: &str) -> Result<String, BadName> {
    if text.is_ascii() { Ok(text.to_owned()) } else { to_ascii(text) }
}

/// How a name of A-labels is read by people. `None`: it has none, or they stand for nothing that may be shown (RFC 5891 section 5).
pub fn unicode_name(text: &str) -> Option<String> {
    let (unicode, valid) = idna::domain_to_unicode(text);
    (valid.is_ok() && !unicode.eq_ignore_ascii_case(text)).then_some(unicode)
}

fn to_ascii(text: &str) -> Result<String, BadName> {
    // Underscores stand in front of service names; what is no host name is the server's business.
    let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY);
    ascii.map(std::borrow::Cow::into_owned).map_err(|_| BadName::International)
}

fn escaped(rest: &mut std::str::Bytes<'_>) -> Result<u8, BadName> {
    let first = rest.next().ok_or(BadName::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let digits = [Some(first), rest.next(), rest.next()];
    let value = digits.into_iter().try_fold(0u32, |sum, digit| {
        let digit = digit.filter(u8::is_ascii_digit)?;
        Some(sum * 10 + u32::from(digit - b'0'))
    });
    value.and_then(|value| u8::try_from(value).ok()).ok_or(BadName::Escape)
}

/// Writes a name.
pub(super) fn shown(name: &Name) -> String {
    let labels: Vec<String> = name.iter().map(label).collect();
    if labels.is_empty() { ".".to_owned() } else { labels.join(".") }
}

fn label(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x21..=0x7e => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> Result<String, BadName> {
        read(text).map(|name| shown(&name))
    }

    #[test]
    fn names_are_read_and_written() {
        for (text, expected) in [
            ("example.org", "example.org"),
            ("example.org.", "example.org"),
            (".", "."),
            ("", "."),
            ("_25._tcp.mx.example.org", "_25._tcp.mx.example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_25._tcp.bücher.example", "_25._tcp.xn--bcher-kva.example"),
            ("B\u{fc}cher.Example", "xn--bcher-kva.example"),
            ("a\\.b.example", "a\\.b.example"),
            ("a\\065\\000.example", "aA\\000.example"),
            ("a b.example", "a\\032b.example"),
        ] {
            assert_eq!(again(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_host_s_name_goes_over_the_wire_in_ascii() {
        assert_eq!(wire_name("mail.B\u{fc}cher.example").as_deref(), Ok("mail.xn--bcher-kva.example"));
        assert_eq!(wire_name("MAIL_1.example").as_deref(), Ok("MAIL_1.example"));
        assert_eq!(wire_name("\u{202e}x.example"), Err(BadName::International));
    }

    #[test]
    fn a_labels_are_shown_as_what_they_stand_for() {
        assert_eq!(unicode_name("mail.xn--bcher-kva.example").as_deref(), Some("mail.b\u{fc}cher.example"));
        assert_eq!(unicode_name("Mail.example.org"), None);
        assert_eq!(unicode_name("xn--\u{202e}.example"), None);
        assert_eq!(unicode_name("xn--zzzzzzzzzz-.example"), None);
    }

    #[test]
    fn what_is_no_name_says_why() {
        assert_eq!(again("a..b"), Err(BadName::Label));
        assert_eq!(again("a.."), Err(BadName::Label));
        assert_eq!(again(".."), Err(BadName::Label));
        assert_eq!(again(".a"), Err(BadName::Label));
        assert_eq!(again(&"a".repeat(64)), Err(BadName::Label));
        assert_eq!(again(&"a.".repeat(128)), Err(BadName::TooLong));
        assert_eq!(again(&"a".repeat(5000)), Err(BadName::TooLong));
        assert_eq!(again("a\\"), Err(BadName::Escape));
        assert_eq!(again("a\\256"), Err(BadName::Escape));
        assert_eq!(again("a\\1x"), Err(BadName::Escape));
        assert_eq!(again("\u{202e}x.example"), Err(BadName::International));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_written_is_read_back(text in "\\PC{0,80}") {
            if let Ok(name) = read(&text) {
                prop_assert_eq!(read(&shown(&name)).unwrap(), name);
            }
        }

        #[test]
        fn any_label_is_written_in_plain_letters(bytes in proptest::collection::vec(any::<u8>(), 1..=63)) {
            let name = Name::from_labels([bytes.as_slice()]).unwrap();
            let text = shown(&name);
            prop_assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
            let again = read(&text).unwrap();
            prop_assert_eq!(again.iter().next().unwrap(), bytes.as_slice());
        }
    }
}
