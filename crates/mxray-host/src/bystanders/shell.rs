//! Files of shell assignments: `/etc/default/*`, `/etc/sysconfig/*`, the head of a launcher. Never run: what is more than an
//! assignment is not understood.

use std::collections::BTreeMap;

/// Most lines of such a file.
const LINES_MAX: usize = 5_000;
/// Most characters that a value may grow to by what it refers to.
const VALUE_MAX: usize = 4_096;

/// A variable with the line that set it last. `None`: it is set in a way that is not understood.
pub(super) type Variables = BTreeMap<String, (Option<String>, String, u32)>;

/// Reads the assignments of one file into those that were there before.
pub(super) fn read(text: &str, file: &str, variables: &mut Variables) {
    let mut depth = 0usize;
    let mut joined = String::new();
    let mut first = 0;
    for (index, raw) in text.lines().take(LINES_MAX).enumerate() {
        if joined.is_empty() {
            first = super::found::number(index);
        }
        if let Some(part) = raw.strip_suffix('\\').filter(|_| !raw.trim_start().starts_with('#')) {
            joined.push_str(part);
            continue;
        }
        joined.push_str(raw);
        let line = std::mem::take(&mut joined);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let word = line.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default();
        match word {
            "if" | "case" | "for" | "while" | "until" => depth += 1,
            "fi" | "esac" | "done" => depth = depth.saturating_sub(1),
            _ => {}
        }
        match assignment(line, variables) {
            Some((name, value)) => {
                // Whether a branch is taken is known at its run alone.
                let value = value.filter(|_| depth == 0);
                variables.insert(name, (value, file.to_owned(), first));
            }
            None => mentions(line, file, first, variables),
        }
    }
}

/// `[export ]NAME=VALUE`; the value is `None` where it is more than text.
fn assignment(line: &str, variables: &Variables) -> Option<(String, Option<String>)> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((name.to_owned(), value_of(value, variables)))
}

/// A word of shell: quotes taken away, references to known variables put in. What follows it has to be a comment.
fn value_of(text: &str, variables: &Variables) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut quote = None;
    while let Some(c) = chars.next() {
        if out.len() > VALUE_MAX {
            return None;
        }
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => out.push(c),
            (_, '\\') => out.push(chars.next()?),
            (_, '`') => return None,
            (_, '$') => out.push_str(&reference(&mut chars, variables)?),
            (None, c) if c.is_whitespace() || c == ';' => {
                let rest: String = chars.collect();
                let rest = rest.trim();
                return (rest.is_empty() || rest.starts_with('#')).then_some(out);
            }
            (None, '|' | '&' | '(' | ')' | '<' | '>') => return None,
            (_, c) => out.push(c),
        }
    }
    quote.is_none().then_some(out)
}

/// `NAME` or `{NAME}` behind a dollar sign; `{NAME:-text}` and the like are the shell's own.
fn reference(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, variables: &Variables) -> Option<String> {
    let braced = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if name.is_empty() || (braced && chars.next() != Some('}')) {
        return None;
    }
    match variables.get(&name) {
        Some((value, ..)) => value.clone(),
        // The shell takes what is not set for empty.
        None => Some(String::new()),
    }
}

/// A line that is no assignment may still hold one (`[ -x /a ] && PORT=25`).
fn mentions(line: &str, file: &str, number: u32, variables: &mut Variables) {
    let inside = line.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | '{'));
    let names: Vec<String> =
        inside.filter_map(|word| assignment(word, &BTreeMap::new())).map(|(name, _)| name).collect();
    for name in names {
        variables.insert(name, (None, file.to_owned(), number));
    }
}

/// Words of a command line, quotes taken away (systemd.service(5) and the shell agree on these).
pub(super) fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Variables {
        let mut variables = Variables::new();
        read(text, "/etc/default/x", &mut variables);
        variables
    }

    #[test]
    fn assignments_as_packages_write_them() {
        let found = of("# OPTIONS=\"-x\"\nOPTIONS=\"--max-children 5 -i\"\nOPTIONS=\"${OPTIONS} -p 784\" # more\n\
             export PORT=25;\nSRS_SEPARATOR==\nA='$b'\nLONG=\"a \\\n b\"\n");
        let value = |name: &str| found.get(name).and_then(|(value, ..)| value.clone());
        assert_eq!(value("OPTIONS").as_deref(), Some("--max-children 5 -i -p 784"));
        assert_eq!(found["OPTIONS"].2, 3);
        assert_eq!(value("PORT").as_deref(), Some("25"));
        assert_eq!(value("SRS_SEPARATOR").as_deref(), Some("="));
        assert_eq!(value("A").as_deref(), Some("$b"));
        assert_eq!((value("LONG").as_deref(), found["LONG"].2), (Some("a  b"), 7));
    }

    #[test]
    fn what_only_a_shell_knows_is_not_guessed() {
        let found =
            of("PORT=25\nif [ -x /a ]; then\n PORT=26\nfi\nHOST=`hostname`\nADDR=$(ip a)\n[ -n x ] && LATE=1\n");
        for name in ["PORT", "HOST", "ADDR", "LATE"] {
            assert_eq!(found[name].0, None, "{name}");
        }
        assert_eq!(found["PORT"].2, 3);
    }

    #[test]
    fn command_lines_are_split_at_blanks_outside_quotes() {
        assert_eq!(words("a  'b c' d\"e f\" g\\ h"), ["a", "b c", "de f", "g h"]);
        assert!(words("  ").is_empty());
    }
}
