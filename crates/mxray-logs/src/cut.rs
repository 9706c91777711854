//! Small cuts of bytes, for the grammars.

/// What stands before `stop`, and what behind it.
pub fn split<'a>(text: &'a [u8], stop: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, stop)?;
    Some((&text[..at], &text[at + stop.len()..]))
}

pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    match what {
        [one] => memchr::memchr(*one, text),
        // Short texts: a search for the first byte is faster than building a searcher.
        [first, rest @ ..] => {
            let mut from = 0;
            loop {
                let at = from + memchr::memchr(*first, text.get(from..)?)?;
                if text[at + 1..].starts_with(rest) {
                    return Some(at);
                }
                from = at + 1;
            }
        }
        [] => Some(0),
    }
}

pub fn has(text: &[u8], what: &[u8]) -> bool {
    find(text, what).is_some()
}

/// The value behind `key`, up to `stop` or the end.
pub fn value<'a>(text: &'a [u8], key: &[u8], stop: &[u8]) -> Option<&'a [u8]> {
    let (_, behind) = split(text, key)?;
    Some(split(behind, stop).map_or(behind, |(value, _)| value))
}

/// Without `<` and `>`, where they stand.
pub fn bare(address: &[u8]) -> &[u8] {
    let inner = address.strip_prefix(b"<").unwrap_or(address);
    inner.strip_suffix(b">").unwrap_or(inner)
}

/// Longest name that is kept: of an account, a host, an address (RFC 5321 section 4.5.3.1.3 permits 256 octets), a message.
/// What is longer is known by its beginning, so that strangers cannot fill the memory with a few lines.
pub const NAME_BYTES_MAX: usize = 320;

/// So much of a name as is kept.
pub fn kept(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME_BYTES_MAX)]
}

/// The last `<…>`-less word's worth: what stands before the first blank.
pub fn word(text: &[u8]) -> (&[u8], &[u8]) {
    split(text, b" ").unwrap_or((text, b""))
}

/// The first of a list with commas, and the others. A quoted local part may hold a comma.
pub fn first_of_list(list: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at + 1..]),
            _ => {}
        }
    }
    (list, b"")
}

pub fn starts_with_any(text: &[u8], heads: &[&[u8]]) -> bool {
    heads.iter().any(|head| text.starts_with(head))
}

pub fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}
