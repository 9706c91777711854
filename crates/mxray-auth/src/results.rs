//! Authentication-Results (RFC 8601 section 2.2) and ARC-Authentication-Results (RFC 8617 section 4.1.1), read.
//!
//! Values are taken as senders write them: `/`, `@` and `:` stand unquoted in many. What must not live here: whether the one
//! who says so is believed.

use mxray_model::evidence::published::{StatedResult, StatedResults};
use mxray_model::text::untrusted;

/// Most results, and properties of one.
const RESULTS_MAX: usize = 100;
const PROPERTIES_MAX: usize = 50;

/// Why a field cannot be read, and where in its value, in bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsError {
    pub at: usize,
    pub why: String,
}

/// Reads the value of an Authentication-Results field.
///
/// # Errors
/// It is none.
pub fn results(value: &[u8]) -> Result<StatedResults, ResultsError> {
    let text = String::from_utf8_lossy(value);
    let mut reader = Reader { text: &text, at: 0 };
    reader.blanks()?;
    let server = reader.value()?;
    reader.blanks()?;
    // A version may stand behind the name (section 2.2).
    if reader.peek().is_some_and(|c| c.is_ascii_digit()) {
        reader.take(|c| c.is_ascii_digit());
        reader.blanks()?;
    }
    let mut stated = StatedResults { server: untrusted(server.as_bytes()), results: Vec::new() };
    while reader.peek().is_some() {
        reader.expect(';')?;
        reader.blanks()?;
        if reader.peek().is_none() {
            break;
        }
        if stated.results.len() == RESULTS_MAX {
            return Err(reader.wrong(&format!("more than {RESULTS_MAX} results")));
        }
        if let Some(result) = reader.result()? {
            stated.results.push(result);
        }
    }
    Ok(stated)
}

/// The value of an ARC-Authentication-Results field: its number, and the rest.
///
/// # Errors
/// It is none.
pub fn arc_results(value: &[u8]) -> Result<(u32, StatedResults), ResultsError> {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let first = String::from_utf8_lossy(value.get(..end).unwrap_or_default());
    let number =
        first.split_once('=').filter(|(name, _)| name.trim() == "i").and_then(|(_, number)| number.trim().parse().ok());
    match number {
        Some(number) => {
            let rest = value.get(end + 1..).unwrap_or_default();
            let read = results(rest).map_err(|error| ResultsError { at: error.at + end + 1, ..error })?;
            Ok((number, read))
        }
        None => Err(ResultsError { at: 0, why: "it does not begin with i= and a number".to_owned() }),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn wrong(&self, why: &str) -> ResultsError {
        ResultsError { at: self.at, why: why.to_owned() }
    }

    fn take(&mut self, of: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = rest.split(|c| !of(c)).next().unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn expect(&mut self, wanted: char) -> Result<(), ResultsError> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.at += wanted.len_utf8();
                Ok(())
            }
            _ => Err(self.wrong(&format!("{wanted:?} is missing"))),
        }
    }

    /// White space and comments, which nest (RFC 5322 section 3.2.2).
    fn blanks(&mut self) -> Result<(), ResultsError> {
        let mut depth = 0_usize;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            let blank = matches!(c, ' ' | '\t' | '\r' | '\n');
            match c {
                _ if escaped => escaped = false,
                '\\' if depth > 0 => escaped = true,
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                _ if depth > 0 || blank => {}
                _ => {
                    self.at += offset;
                    return Ok(());
                }
            }
        }
        self.at = self.text.len();
        match depth {
            0 => Ok(()),
            _ => Err(self.wrong("a comment is not closed")),
        }
    }

    fn keyword(&mut self) -> Result<String, ResultsError> {
        let word = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        match word.is_empty() {
            true => Err(self.wrong("a word is missing")),
            false => Ok(word.to_ascii_lowercase()),
        }
    }

    /// A word, or a string in quotation marks.
    fn value(&mut self) -> Result<String, ResultsError> {
        if self.peek() != Some('"') {
            let word = self.take(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, ';' | '(' | ')' | '"'));
            return if word.is_empty() { Err(self.wrong("a value is missing")) } else { Ok(word.to_owned()) };
        }
        let mut out = String::new();
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    escaped = false;
                    out.push(c);
                }
                '\\' => escaped = true,
                '"' => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                c => out.push(c),
            }
        }
        Err(self.wrong("a quotation mark is not closed"))
    }

    /// `method[/version]=result [reason=…] [ptype.property=value …]`; `None`: the word `none` alone.
    fn result(&mut self) -> Result<Option<StatedResult>, ResultsError> {
        let method = self.keyword()?;
        self.blanks()?;
        if method == "none" && matches!(self.peek(), None | Some(';')) {
            return Ok(None);
        }
        if self.peek() == Some('/') {
            self.expect('/')?;
            self.blanks()?;
            self.take(|c| c.is_ascii_digit());
            self.blanks()?;
        }
        self.expect('=')?;
        self.blanks()?;
        let result = self.keyword()?;
        self.blanks()?;
        let mut stated = StatedResult { method, result, reason: None, properties: Vec::new() };
        while !matches!(self.peek(), None | Some(';')) {
            let first = self.keyword()?;
            self.blanks()?;
            if first == "reason" && self.peek() == Some('=') {
                self.expect('=')?;
                self.blanks()?;
                stated.reason = Some(untrusted(self.value()?.as_bytes()));
            } else {
                // Some leave the kind of property out; it is kept as it is.
                let mut name = first;
                if self.peek() == Some('.') {
                    self.expect('.')?;
                    self.blanks()?;
                    name = format!("{name}.{}", self.keyword()?);
                    self.blanks()?;
                }
                self.expect('=')?;
                self.blanks()?;
                let value = untrusted(self.value()?.as_bytes());
                if stated.properties.len() < PROPERTIES_MAX {
                    stated.properties.push((name, value));
                }
            }
            self.blanks()?;
        }
        Ok(Some(stated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_as_servers_write_them() {
        let read = results(b" mx.example.org 1 (a (nested\\) one)); spf = pass\r\n smtp.mailfrom=a@b.example reason=\"a \\\"b\\\"; c\";\r\n\tDKIM/1=Pass header . d = \"x;y\" header.b=a/b+c ; iprev=pass policy.iprev=2001:db8::1 ;").unwrap();
        assert_eq!((read.server.as_str(), read.results.len()), ("mx.example.org", 3));
        assert_eq!(read.results[0].reason.as_deref(), Some("a \"b\"; c"));
        assert_eq!((read.results[1].method.as_str(), read.results[1].result.as_str()), ("dkim", "pass"));
        assert_eq!(read.results[1].properties[0], ("header.d".to_owned(), "x;y".to_owned()));
        assert_eq!(read.results[2].properties[0].1, "2001:db8::1");
        assert_eq!(results(b"mx.example.org; none").unwrap().results, []);
        let (number, read) = arc_results(b" i=2; mx.example.org; arc=pass (i=1) header.oldest-pass=0").unwrap();
        assert_eq!((number, read.results[0].properties[0].0.as_str()), (2, "header.oldest-pass"));
    }

    #[test]
    fn what_is_none_says_where() {
        for bad in [
            "",
            "mx; spf",
            "mx; spf=",
            "mx; spf=pass x",
            "mx; spf=pass a.b",
            "mx (",
            "mx; dkim=pass reason=\"x",
            "mx spf=pass",
        ] {
            assert!(results(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(results(b"mx; spf=pass header.d;").unwrap_err().at, 21);
        assert_eq!(results(b"mx; x-tls=pass version=TLSv1.2").unwrap().results[0].properties[0].0, "version");
        assert!(arc_results(b"mx; spf=pass").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-z=;.()\"\\\\ /]{0,80}") {
            let _ = results(&value);
            let _ = results(text.as_bytes());
            let _ = arc_results(text.as_bytes());
        }
    }
}
