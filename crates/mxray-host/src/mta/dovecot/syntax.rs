//! The lines of Dovecot's configuration, as `config-parser.c` takes them apart. Pure; 2.3 and 2.4 share this grammar.

/// What one line says. Continued lines have been joined before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// `key = value`; `from_file` where the value stands in the file that is named (`<`).
    Set {
        key: String,
        value: String,
        from_file: bool,
    },
    /// `kind name {`
    Open {
        kind: String,
        name: String,
    },
    Close,
    /// `!include PATTERN`; not `required`: `!include_try`.
    Include {
        pattern: String,
        required: bool,
    },
}

/// A line, joined from its continuations: the number of the first one, and its text without comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logical {
    pub number: u32,
    pub text: String,
}

/// Lines without comments; a backslash at a line's end joins it with the next one.
///
/// Lines that are longer than any setting are cut, which the parser of the value then sees as it would see any text.
pub(crate) fn logical(bytes: &[u8]) -> Vec<Logical> {
    let mut found = Vec::new();
    let mut joined = String::new();
    let mut first = 0;
    for (index, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        let line = String::from_utf8_lossy(raw);
        let line = line.trim_matches(is_white);
        // A comment within a continued line is left out, and the line goes on behind it.
        if line.starts_with('#') || (line.is_empty() && joined.is_empty()) {
            continue;
        }
        let line = without_comment(line).trim_end_matches(is_white);
        if joined.is_empty() {
            first = number;
        }
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part.trim_end_matches(is_white));
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        found.push(Logical { number: first, text: std::mem::take(&mut joined) });
    }
    if !joined.trim().is_empty() {
        found.push(Logical { number: first, text: joined });
    }
    found.retain(|line| !line.text.trim_matches(is_white).is_empty());
    found
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// Everything from a `#` on that stands in no quotes.
fn without_comment(line: &str) -> &str {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '#' => return line.get(..at).unwrap_or_default(),
            None => {}
        }
    }
    line
}

/// Takes one line apart.
///
/// # Errors
/// What Dovecot would stop at, in its own words.
pub(crate) fn parse(text: &str) -> Result<Line, &'static str> {
    let text = text.trim_matches(is_white);
    let end = text.find(|c| is_white(c) || c == '=').unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(is_white);
    match key {
        "!include" | "!include_try" => {
            return Ok(Line::Include { pattern: unquoted(rest), required: key == "!include" });
        }
        "}" if rest.is_empty() => return Ok(Line::Close),
        _ => {}
    }
    if let Some(value) = rest.strip_prefix('=') {
        if key.is_empty() {
            return Err("a value without a name");
        }
        let value = value.trim_start_matches(is_white);
        return Ok(match value.strip_prefix('<') {
            Some(path) => {
                Line::Set { key: key.to_owned(), value: path.trim_matches(is_white).to_owned(), from_file: true }
            }
            None => Line::Set { key: key.to_owned(), value: unquoted(value), from_file: false },
        });
    }
    section(text)
}

/// `kind {`, `kind name {`, `kind "a name" {`.
fn section(text: &str) -> Result<Line, &'static str> {
    let Some(head) = text.strip_suffix('{') else {
        return Err(if text.contains('{') { "garbage after '{'" } else { "expecting '='" });
    };
    // Within quotes a brace is a letter; outside it ends the line.
    if head.contains('{') && !head.contains('"') {
        return Err("garbage after '{'");
    }
    let head = head.trim_matches(is_white);
    let (kind, name) = head.split_once(is_white).unwrap_or((head, ""));
    if kind.is_empty() {
        return Err("a section without a name");
    }
    Ok(Line::Open { kind: kind.to_owned(), name: unquoted(name.trim_matches(is_white)) })
}

/// A value in double or single quotes without these and the escapes; any other as it is.
fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            let mut out = String::with_capacity(inner.len());
            let mut escaped = false;
            for c in inner.chars() {
                if c == '\\' && !escaped {
                    escaped = true;
                    continue;
                }
                escaped = false;
                out.push(c);
            }
            return out;
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(key: &str, value: &str, from_file: bool) -> Result<Line, &'static str> {
        Ok(Line::Set { key: key.into(), value: value.into(), from_file })
    }

    fn open(kind: &str, name: &str) -> Result<Line, &'static str> {
        Ok(Line::Open { kind: kind.into(), name: name.into() })
    }

    #[test]
    fn lines_are_settings_sections_and_includes() {
        assert_eq!(parse("protocols = imap pop3"), set("protocols", "imap pop3", false));
        assert_eq!(parse("port=143"), set("port", "143", false));
        assert_eq!(parse("listen ="), set("listen", "", false));
        assert_eq!(parse("ssl_key = </etc/ssl/key.pem"), set("ssl_key", "/etc/ssl/key.pem", true));
        assert_eq!(parse("ssl_cert =< /etc/a b.pem"), set("ssl_cert", "/etc/a b.pem", true));
        assert_eq!(parse(r#"protocols = " imap \"lmtp""#), set("protocols", " imap \"lmtp", false));
        assert_eq!(parse("service imap-login {"), open("service", "imap-login"));
        assert_eq!(parse("unix_listener \"/var/run/a b\" {"), open("unix_listener", "/var/run/a b"));
        assert_eq!(parse("inet_listener {"), open("inet_listener", ""));
        assert_eq!(parse("remote 192.0.2.0/24 {"), open("remote", "192.0.2.0/24"));
        assert_eq!(parse("}"), Ok(Line::Close));
        assert_eq!(
            parse("!include conf.d/*.conf"),
            Ok(Line::Include { pattern: "conf.d/*.conf".into(), required: true })
        );
        assert_eq!(
            parse("!include_try local.conf"),
            Ok(Line::Include { pattern: "local.conf".into(), required: false })
        );
        for broken in ["protocols imap", "service imap { process_limit = 3 }x", "= x", "{", "service imap { }"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn comments_end_lines_but_not_quoted_values_and_backslashes_join() {
        let read = |text: &str| logical(text.as_bytes()).into_iter().map(|l| (l.number, l.text)).collect::<Vec<_>>();
        let text = "# head\n\na = 1 # one\nb = \"x # y\" # z\nc = 1 \\\n  # between\n  2 \\\n\t3\n  \nd = 4";
        let wanted = [(3, "a = 1"), (4, "b = \"x # y\""), (5, "c = 1 2 3"), (10, "d = 4")];
        assert_eq!(read(text), wanted.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(read("a = 1 \\"), [(1, "a = 1 ".to_owned())]);
        assert_eq!(read("x = 1\r\ny = 2\r\n").len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for line in logical(&bytes) {
                let _ = parse(&line.text);
            }
        }

        #[test]
        fn what_is_written_is_read(key in "[a-z_]{1,20}", value in "[ -~&&[^\"\\\\']]{0,60}") {
            let text = format!("{key} = \"{value}\"\n");
            let lines = logical(text.as_bytes());
            prop_assert_eq!(parse(&lines[0].text), set(&key, &value, false));
        }
    }
}
