//! The statements of an smtpd.conf: words, signs and macros, as smtpd's own scanner splits them. Pure.
//!
//! Macros are replaced in the text, not in the words: `$net.example` is one word. That is why a statement is only split
//! when it is asked for: a macro holds from the line behind its own.

use mxray_model::text::untrusted;
use std::collections::BTreeMap;

/// smtpd refuses a longer word ("string too long").
const WORD_BYTES_MAX: usize = 8096;
/// What macros may add to one configuration. Real ones add some hundred bytes; a thousand long macros named a thousand
/// times would fill the memory.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// In quotes a word is never a keyword.
    Word { text: String, quoted: bool },
    /// `{`, `}`, `<`, `>`, `!`, `=`, `,` and whatever else stands alone.
    Sign(char),
}

/// What stands on one line and its continuations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Where it begins; 1 is the first line.
    pub line: u32,
    pub tokens: Vec<Token>,
    /// Why it could not be split to its end.
    pub trouble: Option<String>,
}

/// Macros by name, as they are defined so far, and how much they may still add.
#[derive(Debug)]
pub(crate) struct Macros {
    values: BTreeMap<String, String>,
    left: usize,
}

impl Default for Macros {
    fn default() -> Self {
        Macros { values: BTreeMap::new(), left: EXPANDED_BYTES_MAX }
    }
}

impl Macros {
    pub fn set(&mut self, name: String, value: String) {
        self.values.insert(name, value);
    }
}

/// Reads one file.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    /// What a macro stands for, last byte first.
    expanded: Vec<u8>,
    line: u32,
}

/// A byte, and whether a backslash took its meaning away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Byte {
    value: u8,
    plain: bool,
    /// From a macro: `$` has no meaning in it.
    expanded: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Lexer { rest: bytes, expanded: Vec::new(), line: 1 }
    }

    /// The next statement that is not empty. A list in braces goes on over the end of a line.
    pub fn statement(&mut self, macros: &mut Macros) -> Option<Statement> {
        let mut statement = Statement::default();
        let mut depth = 0u32;
        loop {
            let Some(byte) = self.next_byte() else {
                if depth > 0 {
                    statement.trouble = Some("a { that is never closed".to_owned());
                }
                return (!statement.tokens.is_empty() || statement.trouble.is_some()).then_some(statement);
            };
            if statement.tokens.is_empty() {
                statement.line = if byte.is(b'\n') { self.line.saturating_sub(1) } else { self.line };
            }
            match byte.value {
                b'\n' if depth == 0 => {
                    if !statement.tokens.is_empty() {
                        return Some(statement);
                    }
                }
                b' ' | b'\t' | b'\n' if byte.plain => {}
                b'#' if byte.plain => self.skip_line(),
                _ => match self.token(byte, macros) {
                    Ok(Some(token)) => {
                        match token {
                            Token::Sign('{') => depth += 1,
                            Token::Sign('}') => depth = depth.saturating_sub(1),
                            _ => {}
                        }
                        statement.tokens.push(token);
                    }
                    Ok(None) => {}
                    Err(trouble) => {
                        self.expanded.clear();
                        self.skip_line();
                        statement.trouble = Some(trouble);
                        return Some(statement);
                    }
                },
            }
        }
    }

    /// `Ok(None)`: a macro, whose text comes next.
    fn token(&mut self, first: Byte, macros: &mut Macros) -> Result<Option<Token>, String> {
        match first.value {
            b'$' if first.plain && !first.expanded => self.expand(macros).map(|()| None),
            quote @ (b'"' | b'\'') if first.plain => self.quoted(quote).map(Some),
            value if value.is_ascii_alphanumeric() || matches!(value, b':' | b'_') => self.word(value).map(Some),
            // A negative number; a sign of its own otherwise.
            b'-' if self.peek().is_some_and(|next| next.is_ascii_digit()) => self.word(b'-').map(Some),
            b'=' if self.peek() == Some(b'>') => {
                let _ = self.next_byte();
                Ok(Some(Token::Sign('=')))
            }
            value => Ok(Some(Token::Sign(if value.is_ascii_graphic() { char::from(value) } else { '?' }))),
        }
    }

    fn word(&mut self, first: u8) -> Result<Token, String> {
        let mut bytes = vec![first];
        while let Some(next) = self.peek_byte().filter(|byte| is_word(byte.value)) {
            let _ = self.next_byte();
            bytes.push(next.value);
            if bytes.len() >= WORD_BYTES_MAX {
                return Err("a word is too long".to_owned());
            }
        }
        Ok(Token::Word { text: untrusted(&bytes), quoted: false })
    }

    fn quoted(&mut self, quote: u8) -> Result<Token, String> {
        let mut bytes = Vec::new();
        let begun = self.line;
        loop {
            let Some(mut value) = self.raw() else {
                return Err(format!("the quote of line {begun} is never closed"));
            };
            if value == quote {
                return Ok(Token::Word { text: untrusted(&bytes), quoted: true });
            }
            if value == b'\n' {
                continue;
            }
            if value == b'\\'
                && let Some(next) = self.raw_peek()
            {
                if next == b'\n' {
                    let _ = self.raw();
                    continue;
                }
                if next == quote || matches!(next, b' ' | b'\t') {
                    let _ = self.raw();
                    value = next;
                }
            }
            bytes.push(value);
            if bytes.len() >= WORD_BYTES_MAX {
                return Err("a quoted string is too long".to_owned());
            }
        }
    }

    fn expand(&mut self, macros: &mut Macros) -> Result<(), String> {
        let mut name = Vec::new();
        while let Some(next) = self.peek_byte().filter(|byte| byte.value.is_ascii_alphanumeric() || byte.value == b'_')
        {
            let _ = self.next_byte();
            name.push(next.value);
            if name.len() >= WORD_BYTES_MAX {
                return Err("a macro's name is too long".to_owned());
            }
        }
        let name = untrusted(&name);
        let value = macros.values.get(&name).ok_or_else(|| format!("the macro {name} is not defined"))?;
        macros.left = macros
            .left
            .checked_sub(value.len())
            .ok_or_else(|| format!("macros add more than {EXPANDED_BYTES_MAX} bytes"))?;
        self.expanded.extend(value.bytes().rev());
        Ok(())
    }

    fn skip_line(&mut self) {
        while let Some(byte) = self.peek_byte() {
            if byte.is(b'\n') {
                return;
            }
            let _ = self.next_byte();
        }
    }

    fn raw(&mut self) -> Option<u8> {
        if let Some(byte) = self.expanded.pop() {
            return Some(byte);
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *first == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(*first)
    }

    fn raw_peek(&self) -> Option<u8> {
        self.expanded.last().or(self.rest.first()).copied()
    }

    /// Without the lines' ends that a backslash takes away.
    fn next_byte(&mut self) -> Option<Byte> {
        loop {
            let expanded = !self.expanded.is_empty();
            let value = self.raw()?;
            if value != b'\\' {
                return Some(Byte { value, plain: true, expanded });
            }
            match self.raw() {
                Some(b'\n') => {}
                Some(value) => return Some(Byte { value, plain: false, expanded }),
                None => return None,
            }
        }
    }

    fn peek_byte(&self) -> Option<Byte> {
        let mut ahead = Lexer { rest: self.rest, expanded: Vec::new(), line: self.line };
        // Two bytes decide: a backslash and what it changes. A continuation may follow a continuation.
        if self.expanded.is_empty() {
            return ahead.next_byte();
        }
        let last = self.expanded.len().saturating_sub(2);
        ahead.expanded.extend_from_slice(self.expanded.get(last..).unwrap_or_default());
        ahead.next_byte()
    }

    fn peek(&self) -> Option<u8> {
        self.peek_byte().map(|byte| byte.value)
    }
}

impl Byte {
    fn is(self, value: u8) -> bool {
        self.plain && self.value == value
    }
}

/// What may follow in a word that has begun.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || (byte.is_ascii_punctuation()
            && !matches!(byte, b'(' | b')' | b'{' | b'}' | b'<' | b'>' | b'!' | b'=' | b'#' | b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str, macros: &mut Macros) -> Vec<Statement> {
        let mut lexer = Lexer::new(text.as_bytes());
        std::iter::from_fn(|| lexer.statement(macros)).collect()
    }

    fn shown(statement: &Statement) -> String {
        let word = |token: &Token| match token {
            Token::Word { text, quoted: false } => text.clone(),
            Token::Word { text, quoted: true } => format!("\"{text}\""),
            Token::Sign(sign) => sign.to_string(),
        };
        format!("{}: {}", statement.line, statement.tokens.iter().map(word).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn statements_are_split_as_smtpd_splits_them() {
        let text = "# a comment\n\nlisten on \"eth0\" \\\n  port 587 # behind\ntable d { \"a.example\",\n\n b.example }\n\
                    match !from local for domain <d> action \"x y\"\nkey => 'it\\'s'\n";
        let found: Vec<String> = all(text, &mut Macros::default()).iter().map(shown).collect();
        assert_eq!(
            found,
            [
                "3: listen on \"eth0\" port 587",
                "5: table d { \"a.example\" , b.example }",
                "8: match ! from local for domain < d > action \"x y\"",
                "9: key = \"it's\"",
            ]
        );
    }

    #[test]
    fn a_macro_is_text_and_holds_from_its_line_on() {
        let mut macros = Macros::default();
        macros.set("net".into(), "192.0.2.1 port 25".into());
        macros.set("d".into(), "mail".into());
        let found: Vec<String> = all("listen on $net\nx $d.example \"$d\"\n", &mut macros).iter().map(shown).collect();
        assert_eq!(found, ["1: listen on 192.0.2.1 port 25", "2: x mail.example \"$d\""]);
        let undefined = all("listen on $none port 25\nnext\n", &mut macros);
        assert!(undefined[0].trouble.as_deref().is_some_and(|why| why.contains("none")));
        assert_eq!(shown(&undefined[1]), "2: next");
    }

    #[test]
    fn macros_cannot_fill_the_memory() {
        let mut macros = Macros::default();
        macros.set("a".into(), "x".repeat(8000));
        let text = "y $a\n".repeat(10_000);
        let found = all(&text, &mut macros);
        let bytes: usize = found.iter().map(|statement| shown(statement).len()).sum();
        assert!(bytes < 2 << 20, "{bytes}");
        assert!(found.last().unwrap().trouble.is_some());
    }

    #[test]
    fn what_is_never_closed_is_told() {
        for text in ["table x { a,\nb\n", "listen on \"eth0\n"] {
            let found = all(text, &mut Macros::default());
            assert!(found.last().unwrap().trouble.is_some(), "{text}");
        }
        let long = format!("listen on {}\nnext\n", "a".repeat(9000));
        let found = all(&long, &mut Macros::default());
        assert!(found[0].trouble.is_some());
        assert_eq!(shown(found.last().unwrap()), "2: next");
    }

    proptest! {
        #[test]
        fn never_panics_and_ends(text in "[a-z\"'\\\\${}#=!<>, \n\t0-9-]{0,200}", value in "[a-z$\\\\\"' \n]{0,20}") {
            let mut macros = Macros::default();
            macros.set("a".into(), value);
            let found = all(&text, &mut macros);
            prop_assert!(found.len() <= text.len() + 1);
        }
    }
}
