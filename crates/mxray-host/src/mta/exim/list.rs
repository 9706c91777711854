//! Exim's lists: colons between the items, or what `<;` in front says instead; a doubled separator is the character
//! itself (specification, 6.21). Pure.

/// Most items of one list that are looked at.
const ITEMS_MAX: usize = 100_000;

/// The items, without the white space around them. An empty item at the end is none, as Exim has it.
pub(crate) fn items(list: &str) -> Vec<String> {
    let list = list.trim();
    let changed = list.strip_prefix('<').and_then(|rest| {
        let separator = rest.chars().next().filter(char::is_ascii_punctuation)?;
        Some((separator, rest.get(separator.len_utf8()..)?))
    });
    let (separator, rest) = changed.unwrap_or((':', list));
    let mut out = Vec::new();
    let mut item = String::new();
    let mut chars = rest.trim_start().chars().peekable();
    while let Some(c) = chars.next() {
        if c != separator {
            item.push(c);
        } else if chars.peek() == Some(&separator) {
            chars.next();
            item.push(separator);
        } else {
            out.push(item.trim().to_owned());
            item.clear();
            if out.len() == ITEMS_MAX {
                return out;
            }
        }
    }
    if !item.trim().is_empty() {
        out.push(item.trim().to_owned());
    }
    out
}

/// Its meaning is only known once Exim has expanded it for a message or a connection.
pub(crate) fn is_expansion(value: &str) -> bool {
    value.contains('$')
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn separators_double_and_change() {
        assert_eq!(items("25 : 587:smtp"), ["25", "587", "smtp"]);
        assert_eq!(items("<; 127.0.0.1 ; ::1"), ["127.0.0.1", "::1"]);
        assert_eq!(items("127.0.0.1 : ::::1"), ["127.0.0.1", "::1"]);
        assert_eq!(items(": 127.0.0.1 : ::::1"), ["", "127.0.0.1", "::1"]);
        assert_eq!(items("<, a,b,,c, "), ["a", "b,c"]);
        assert!(items("").is_empty());
        assert_eq!(items(":"), [""]);
    }
}
