//! Exim's lookups in text files (specification, 9.3): `lsearch` and its kinds. Pure.

use super::expand::{Stop, unclear};
use mxray_model::{Blind, Seen};
use regex_lite::RegexBuilder;

/// The content of a file as text; Exim takes bytes, and a password that is not UTF-8 would be another one.
pub(super) fn text(content: Seen<Vec<u8>>, file: &str) -> Result<String, Stop> {
    match content {
        Seen::Value(bytes) => String::from_utf8(bytes).map_err(|_| {
            Stop::Unknown(Blind::NotUnderstood { what: file.to_owned(), text: "it is not UTF-8".to_owned() })
        }),
        // Exim defers what needs the file.
        Seen::Absent => Err(unclear(&format!("{file} does not exist"))),
        Seen::Unknown(blind) => Err(Stop::Unknown(blind)),
    }
}

/// How keys are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As they stand.
    Exact,
    /// As they stand, then the key `*`.
    ExactOrAny,
    /// `*end`, `^expression`, or as it stands.
    Wild,
    /// The same, and each key is expanded first.
    WildExpanded,
}

/// The value of the first line whose key matches. `None`: there is none.
pub(super) fn find(kind: &str, content: Seen<Vec<u8>>, file: &str, key: &str) -> Result<Option<String>, Stop> {
    let kind = match kind {
        "lsearch" => Kind::Exact,
        "lsearch*" => Kind::ExactOrAny,
        "nwildlsearch" => Kind::Wild,
        "wildlsearch" => Kind::WildExpanded,
        other => return Err(unclear(&format!("a lookup of the type {other}"))),
    };
    let content = text(content, file)?;
    let mut any = None;
    let mut lines = content.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('#') || line.starts_with(char::is_whitespace) || line.is_empty() {
            continue;
        }
        let (name, rest) = entry(line);
        let mut value = rest.trim_end().to_owned();
        // A line that begins with white space goes on with the one before; comments may stand between.
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t', '#'])) {
            if !more.starts_with('#') {
                value.push(' ');
                value.push_str(more.trim());
            }
        }
        if matches(kind, &name, key)? {
            return Ok(Some(value));
        }
        if kind == Kind::ExactOrAny && name == "*" && any.is_none() {
            any = Some(value);
        }
    }
    Ok(any)
}

/// The key, which may stand in quotes, and what is behind it and its colon.
fn entry(line: &str) -> (String, &str) {
    let (name, rest) = match line.strip_prefix('"') {
        Some(quoted) => {
            let mut name = String::new();
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => name.extend(chars.next().map(|(_, c)| c)),
                    c => name.push(c),
                }
            }
            (name, quoted.get(end..).unwrap_or_default())
        }
        None => {
            let end = line.find(|c: char| c == ':' || c.is_whitespace()).unwrap_or(line.len());
            (line.get(..end).unwrap_or_default().to_owned(), line.get(end..).unwrap_or_default())
        }
    };
    let rest = rest.trim_start();
    (name, rest.strip_prefix(':').unwrap_or(rest).trim_start())
}

fn matches(kind: Kind, name: &str, key: &str) -> Result<bool, Stop> {
    if matches!(kind, Kind::Exact | Kind::ExactOrAny) {
        return Ok(name.eq_ignore_ascii_case(key));
    }
    if kind == Kind::WildExpanded && name.contains(['$', '\\']) {
        return Err(unclear("a key that is expanded"));
    }
    if let Some(end) = name.strip_prefix('*') {
        return Ok(key.to_ascii_lowercase().ends_with(&end.to_ascii_lowercase()));
    }
    if name.starts_with('^') {
        let regex = RegexBuilder::new(name).case_insensitive(true).build();
        return regex.map(|regex| regex.is_match(key)).map_err(|_| unclear("a key that is an expression"));
    }
    Ok(name.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, text: &str, key: &str) -> Result<Option<String>, Stop> {
        find(kind, Seen::Value(text.as_bytes().to_vec()), "/f", key)
    }

    #[test]
    fn keys_as_exim_reads_them() {
        let text = "a.example: u:p \n\"2001:db8::1\" v:q\nlong w\n  x\n# no\n y\n*.b.example:b\n^c[0-9]+\\.example$ c\n*:any\n";
        let some = |value: &str| Ok(Some(value.to_owned()));
        assert_eq!(of("lsearch", text, "A.example"), some("u:p"));
        assert_eq!(of("nwildlsearch", text, "2001:db8::1"), some("v:q"));
        assert_eq!(of("lsearch", text, "long"), some("w x y"));
        assert_eq!(of("nwildlsearch", text, "mx.B.example"), some("b"));
        assert_eq!(of("lsearch", text, "mx.b.example"), Ok(None));
        assert_eq!(of("nwildlsearch", text, "c12.example"), some("c"));
        assert_eq!(of("lsearch*", text, "else"), some("any"));
        assert_eq!(of("wildlsearch", "b c\n", "b"), some("c"));
        assert!(of("wildlsearch", text, "nowhere").is_err() && of("dbm", text, "a").is_err());
        assert!(find("lsearch", Seen::Value(b"\xff".to_vec()), "/f", "a").is_err());
    }
}
