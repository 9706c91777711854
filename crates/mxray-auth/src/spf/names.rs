//! Names that come out of records and macros: which can be asked for, and how they are written.

/// Longest name in characters, without its final dot (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// A name that can be asked for, escaped as in a zone file. `None`: it has an empty label or one that is too long.
///
/// Section 7.3: of a name that is too long, labels are taken off the left.
pub(crate) fn askable(name: &str) -> Option<String> {
    let mut name = name.strip_suffix('.').unwrap_or(name);
    while name.len() > NAME_MAX {
        name = name.split_once('.')?.1;
    }
    let fits = |label: &str| !label.is_empty() && label.len() <= LABEL_MAX;
    if !name.split('.').all(fits) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'!'..=b'~' => out.push(char::from(byte.to_ascii_lowercase())),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    Some(out)
}

/// Section 4.3: what is evaluated has at least two labels, and is no address.
pub(crate) fn evaluable(domain: &str) -> Option<String> {
    let name = domain.strip_suffix('.').unwrap_or(domain);
    let whole = name.contains('.') && !name.starts_with('[') && name.len() <= NAME_MAX;
    whole.then(|| askable(name)).flatten()
}

/// `name` is `domain` or stands below it.
pub(crate) fn is_within(name: &str, domain: &str) -> bool {
    let (name, domain) =
        (name.trim_end_matches('.').to_ascii_lowercase(), domain.trim_end_matches('.').to_ascii_lowercase());
    name == domain || name.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}
