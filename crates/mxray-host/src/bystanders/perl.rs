//! Simple assignments in configuration that is Perl: a number, a text, a list of these. Perl is never run, and whatever else
//! touches one of the wanted variables leaves it unknown with its line.

use super::found::number;
use std::collections::BTreeMap;

/// Most lines of one file.
const LINES_MAX: usize = 50_000;
/// Most lines of one statement.
const STATEMENT_LINES_MAX: usize = 200;
/// Most items of a list.
const ITEMS_MAX: usize = 512;

/// A variable's value after the files that were read, and the line that set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// `None`: touched in a way that is not understood. Empty: `undef` or an empty list.
    pub items: Option<Vec<String>>,
    /// It was a list, not a single value.
    pub is_list: bool,
    pub file: String,
    pub line: u32,
}

/// Reads what one file does with the wanted variables (`$name`, `@name`) into what earlier files did.
pub(super) fn read(text: &str, file: &str, wanted: &[&str], found: &mut BTreeMap<String, Set>) {
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let mut depth = 0i32;
    let mut pod = false;
    let mut at = 0;
    while let Some(raw) = lines.get(at) {
        let index = at;
        at += 1;
        // Plain old documentation lasts until `=cut` (perlpod(1)).
        if raw.starts_with('=') && raw.get(1..2).is_some_and(|c| c.chars().all(char::is_alphabetic)) {
            pod = !raw.starts_with("=cut");
            continue;
        }
        if matches!(raw.trim_end(), "__END__" | "__DATA__") {
            return;
        }
        if pod {
            continue;
        }
        let line = without_comment(raw);
        let head = line.trim_start();
        if let Some(name) = wanted.iter().find(|name| begins_assignment(head, name)) {
            let mut statement = line.clone();
            while !ends(&statement) && at - index < STATEMENT_LINES_MAX {
                let Some(next) = lines.get(at) else { break };
                statement.push(' ');
                statement.push_str(&without_comment(next));
                at += 1;
            }
            // What is indented may belong to a condition; what stands at the margin is taken for the file's own.
            let top = !raw.starts_with(char::is_whitespace) || depth == 0;
            let value = top.then(|| value_of(&statement, name)).flatten();
            let is_list = value.as_ref().is_some_and(|(_, list)| *list);
            let items = value.map(|(items, _)| items);
            found.insert((*name).to_owned(), Set { items, is_list, file: file.to_owned(), line: number(index) });
        } else {
            for name in wanted.iter().filter(|name| mentions(&line, name)) {
                let set = Set { items: None, is_list: false, file: file.to_owned(), line: number(index) };
                found.insert((*name).to_owned(), set);
            }
            depth += balance(&line);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$name = …`, `our $name = …`
fn begins_assignment(head: &str, name: &str) -> bool {
    let head = ["our ", "local ", "my "].iter().find_map(|word| head.strip_prefix(word)).unwrap_or(head).trim_start();
    head.strip_prefix(name).is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.starts_with('=') && !rest.starts_with("==") && !rest.starts_with("=~") && !rest.starts_with("=>")
    })
}

/// The variable itself, not one whose name goes on.
fn mentions(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, name)| !line.get(at + name.len()..).is_some_and(|rest| rest.starts_with(is_word)))
}

/// A line up to a `#` that stands outside quotes and behind a blank or at the beginning.
fn without_comment(line: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut escaped = false;
    let mut before = ' ';
    for c in line.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (None, '#') if before.is_whitespace() || before == ';' => break,
            // An apostrophe within a word is the old way to write `::`.
            (None, '\'' | '"') if !is_word(before) || c == '"' => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
        out.push(c);
    }
    out
}

/// How many blocks a line opens more than it closes, by its braces outside quotes.
fn balance(line: &str) -> i32 {
    let mut quote = None;
    let mut sum = 0;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '{') => sum += 1,
            (None, '}') => sum -= 1,
            _ => {}
        }
    }
    sum
}

fn ends(statement: &str) -> bool {
    outside_quotes(statement).any(|(_, c)| c == ';')
}

fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut quote = None;
    text.char_indices().filter(move |(_, c)| match (quote, *c) {
        (None, '\'' | '"') => {
            quote = Some(*c);
            false
        }
        (Some(open), c) if c == open => {
            quote = None;
            false
        }
        (quote, _) => quote.is_none(),
    })
}

/// What stands between `=` and `;`: one item or a list of them.
fn value_of(statement: &str, name: &str) -> Option<(Vec<String>, bool)> {
    let (_, right) = statement.split_once(name)?;
    let right = right.trim_start().strip_prefix('=')?;
    let (end, _) = outside_quotes(right).find(|(_, c)| *c == ';')?;
    let value = right.get(..end)?.trim();
    if !right.get(end + 1..)?.trim().is_empty() {
        return None;
    }
    if let Some(inner) = value.strip_prefix("qw").map(str::trim_start) {
        let inner = inner.get(1..inner.len().checked_sub(1)?)?;
        return Some((inner.split_whitespace().take(ITEMS_MAX).map(str::to_owned).collect(), true));
    }
    let inner = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .or_else(|| value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')));
    let Some(inner) = inner else {
        return item(value).map(|item| (item.into_iter().collect(), false));
    };
    let mut items = Vec::new();
    for part in split_list(inner).into_iter().take(ITEMS_MAX) {
        let part = part.trim();
        if !part.is_empty() {
            items.extend(item(part)?);
        }
    }
    Some((items, true))
}

fn split_list(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in outside_quotes(text).filter(|(_, c)| *c == ',') {
        parts.push(text.get(from..at).unwrap_or_default());
        from = at + 1;
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

/// A number, a text without anything to put in, or `undef` (no item).
fn item(text: &str) -> Option<Option<String>> {
    if text == "undef" {
        return Some(None);
    }
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return Some(Some(text.to_owned()));
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return (!inner.contains('\'') && !inner.contains('\\')).then(|| Some(inner.to_owned()));
    }
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))?;
    (!inner.contains(['$', '@', '\\', '"'])).then(|| Some(inner.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> BTreeMap<String, Set> {
        let mut found = BTreeMap::new();
        read(text, "/etc/x", &["$port", "$bind", "@listen"], &mut found);
        found
    }

    fn items(text: &str, name: &str) -> Option<Vec<String>> {
        of(text)[name].items.clone()
    }

    #[test]
    fn numbers_texts_and_lists() {
        assert_eq!(items("$port = 10024;   # default\n", "$port").unwrap(), ["10024"]);
        assert_eq!(
            items("# $port = 1;\n$port = [10024,\n  10026, # second\n];\n", "$port").unwrap(),
            ["10024", "10026"]
        );
        assert_eq!(items("@listen = ('inet:a#b:1', \"c\");", "@listen").unwrap(), ["inet:a#b:1", "c"]);
        assert_eq!(items("@listen = qw( a b );", "@listen").unwrap(), ["a", "b"]);
        assert_eq!(items("$port = undef;", "$port").unwrap(), [""; 0]);
        assert_eq!(items("our $bind = '*';", "$bind").unwrap(), ["*"]);
    }

    #[test]
    fn the_last_one_holds_and_documentation_says_nothing() {
        let text = "$port = 1;\n=pod\n$port = 2;\n=cut\n$port = 3;\n__END__\n$port = 4;\n";
        let set = of(text)["$port"].clone();
        assert_eq!((set.items.unwrap(), set.line), (vec!["3".to_owned()], 5));
    }

    #[test]
    fn what_is_more_than_an_assignment_is_unknown_with_its_line() {
        for text in [
            "$port = 10024 + 1;",
            "$port = $other;",
            "$port = \"$a\";",
            "push(@x, $port);",
            "if ($a) {\n  $port = 5;\n}",
            "$port = 5 if $a;",
            "$port .= 5;",
        ] {
            assert_eq!(items(text, "$port"), None, "{text}");
        }
        assert!(!of("$portable = 5;\n$p = 'x';").contains_key("$port"));
        assert_eq!(of("$a = qr'\\{';\n$x;\n$port += 1;")["$port"].line, 3);
    }
}
