//! Exim's string expansion (specification, chapter 11), as far as options about logging in need it. Files are read through the
//! caller; otherwise pure.
//!
//! What is not understood here, and what depends on a message, stops the expansion and says so: nothing is guessed. A forced
//! failure (`fail`) is a result of its own; most options then count as not set.

use super::search;
use mxray_model::{Blind, Seen};
use regex_lite::Regex;

/// Expansions within expansions; Debian's own have six.
const DEPTH_MAX: u32 = 64;
/// The longest result on the way; what logs in is some dozen characters.
const RESULT_CHARS_MAX: usize = 256 * 1024;
/// Characters looked at in all: branches and arguments are looked at once each, files by their lines.
const WORK_MAX: usize = 4 << 20;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// `fail` was reached.
    Failed,
    Unknown(Blind),
}

/// What the text may ask for.
pub(super) struct Around<'a> {
    /// `$name`, for the names that are known.
    pub variables: &'a [(&'a str, &'a str)],
    /// The bytes of a file.
    pub load: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
    pub exists: &'a dyn Fn(&str) -> Seen<bool>,
    /// A value that stands for something which is not known: looking it up says nothing.
    pub marker: Option<&'a str>,
}

/// The expanded text.
pub(super) fn expand(text: &str, around: &Around<'_>) -> Result<String, Stop> {
    let mut one = Expansion { chars: text.chars().collect(), at: 0, around, values: Vec::new(), depth: 0, work: 0 };
    one.text(false)
}

pub(super) fn unclear(what: &str) -> Stop {
    Stop::Unknown(Blind::NotUnderstood {
        what: "an expansion of Exim's configuration".to_owned(),
        text: what.to_owned(),
    })
}

struct Expansion<'a> {
    chars: Vec<char>,
    at: usize,
    around: &'a Around<'a>,
    /// `$value`, from the outermost to the innermost.
    values: Vec<String>,
    depth: u32,
    work: usize,
}

impl Expansion<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += 1;
        Some(found)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn sign(&mut self, sign: char) -> bool {
        self.blanks();
        let stands = self.peek() == Some(sign);
        self.at += usize::from(stands);
        stands
    }

    fn expect(&mut self, sign: char) -> Result<(), Stop> {
        if self.sign(sign) { Ok(()) } else { Err(unclear(&format!("a {sign} is missing"))) }
    }

    fn word(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '*' | '@' | '-')) {
            out.push(c);
            self.at += 1;
        }
        out
    }

    fn spend(&mut self, work: usize) -> Result<(), Stop> {
        self.work += work;
        if self.work > WORK_MAX { Err(unclear("it takes too long")) } else { Ok(()) }
    }

    /// Up to the end, or to the brace that closes the argument; outside of one it is a character like others.
    fn text(&mut self, inner: bool) -> Result<String, Stop> {
        if self.depth >= DEPTH_MAX {
            return Err(unclear("too many braces within each other"));
        }
        self.depth += 1;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if inner && c == '}' {
                break;
            }
            self.at += 1;
            self.spend(1)?;
            match c {
                '\\' => self.escaped(&mut out),
                '$' => out.push_str(&self.dollar()?),
                c => out.push(c),
            }
            if out.len() > RESULT_CHARS_MAX {
                return Err(unclear("it becomes too long"));
            }
        }
        self.depth -= 1;
        Ok(out)
    }

    /// Behind a backslash: `\N` guards what stands up to the next one (11.1).
    fn escaped(&mut self, out: &mut String) {
        match self.next() {
            Some('N') => {
                while let Some(c) = self.next() {
                    if c == '\\' && self.peek() == Some('N') {
                        self.at += 1;
                        return;
                    }
                    out.push(c);
                }
            }
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(c) if c.is_digit(8) => out.push(self.number(c, 8, 3)),
            Some('x') => match self.next().filter(char::is_ascii_hexdigit) {
                Some(c) => out.push(self.number(c, 16, 2)),
                None => out.push('\0'),
            },
            Some(c) => out.push(c),
            None => out.push('\\'),
        }
    }

    fn number(&mut self, first: char, radix: u32, most: usize) -> char {
        let mut value = first.to_digit(radix).unwrap_or(0);
        for _ in 1..most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value * radix + digit;
            self.at += 1;
        }
        u8::try_from(value & 0xff).map_or('\0', char::from)
    }

    fn dollar(&mut self) -> Result<String, Stop> {
        if self.peek() != Some('{') {
            let name = self.word();
            return self.variable(&name);
        }
        self.at += 1;
        self.blanks();
        let name = self.word();
        match self.peek() {
            Some('}') => {
                self.at += 1;
                self.variable(&name)
            }
            Some(':') => {
                self.at += 1;
                let text = self.text(true)?;
                self.expect('}')?;
                match name.as_str() {
                    "lc" => Ok(text.to_ascii_lowercase()),
                    "uc" => Ok(text.to_ascii_uppercase()),
                    _ => Err(unclear(&format!("the operator {name}"))),
                }
            }
            _ => {
                let out = self.item(&name)?;
                self.expect('}')?;
                Ok(out)
            }
        }
    }

    fn variable(&self, name: &str) -> Result<String, Stop> {
        if name == "value"
            && let Some(value) = self.values.last()
        {
            return Ok(value.clone());
        }
        let known = self.around.variables.iter().find(|(known, _)| *known == name);
        known.map(|(_, value)| (*value).to_owned()).ok_or_else(|| unclear(&format!("the variable ${name}")))
    }

    fn argument(&mut self) -> Result<String, Stop> {
        self.expect('{')?;
        let out = self.text(true)?;
        self.expect('}')?;
        Ok(out)
    }

    /// Passes over an argument that is not asked for.
    fn skip(&mut self) -> Result<(), Stop> {
        self.expect('{')?;
        let mut open = 1u32;
        let mut passed = String::new();
        while open > 0 {
            self.spend(1)?;
            match self.next() {
                Some('\\') => self.escaped(&mut passed),
                Some('{') => open += 1,
                Some('}') => open -= 1,
                Some(_) => {}
                None => return Err(unclear("a } is missing")),
            }
        }
        Ok(())
    }

    fn item(&mut self, name: &str) -> Result<String, Stop> {
        match name {
            "if" => {
                let holds = self.condition()?;
                self.branches(holds.then(|| "true".to_owned()), false)
            }
            "lookup" => self.lookup(),
            "extract" => self.extract(),
            "readfile" => {
                let file = self.argument()?;
                let ends = if self.sign('{') {
                    self.at -= 1;
                    Some(self.argument()?)
                } else {
                    None
                };
                let text = search::text((self.around.load)(&file), &file)?;
                Ok(ends.map_or(text.clone(), |ends| text.replace('\n', &ends)))
            }
            "sg" => self.substituted(),
            _ => Err(unclear(&format!("the item ${{{name} …}}"))),
        }
    }

    /// `{yes}{no}`, or `fail` in place of the second; without both the value itself (11.5, "lookup").
    fn branches(&mut self, value: Option<String>, binds: bool) -> Result<String, Stop> {
        self.blanks();
        if self.peek() == Some('}') {
            return Ok(value.unwrap_or_default());
        }
        let out = match value {
            Some(value) => {
                if binds {
                    self.values.push(value);
                }
                let out = self.argument()?;
                if binds {
                    self.values.pop();
                }
                self.blanks();
                match self.peek() {
                    Some('{') => self.skip()?,
                    Some('f') if self.word() == "fail" => {}
                    _ => {}
                }
                out
            }
            None => {
                self.skip()?;
                self.blanks();
                match self.peek() {
                    Some('{') => self.argument()?,
                    Some('f') if self.word() == "fail" => return Err(Stop::Failed),
                    _ => String::new(),
                }
            }
        };
        Ok(out)
    }

    /// `${lookup{key} type {file} …}`; a query has no key of its own, and asks a database.
    fn lookup(&mut self) -> Result<String, Stop> {
        self.blanks();
        if self.peek() != Some('{') {
            return Err(unclear("a lookup that asks a database"));
        }
        let key = self.argument()?;
        self.blanks();
        let kind = self.word();
        let file = self.argument()?;
        if self.around.marker.is_some_and(|marker| key.contains(marker)) {
            return Err(unclear("a lookup by the address of the host"));
        }
        let found = search::find(&kind, (self.around.load)(file.trim()), file.trim(), &key)?;
        self.branches(found, true)
    }

    /// A field by its number and the characters that separate, or by its name.
    fn extract(&mut self) -> Result<String, Stop> {
        let which = self.argument()?;
        let second = self.argument()?;
        let found = match which.trim().parse::<i32>() {
            Ok(number) => {
                let text = self.argument()?;
                self.spend(text.len())?;
                field(&text, number, &second)
            }
            Err(_) => named(&second, which.trim()),
        };
        self.branches(found, true)
    }

    /// `${sg{subject}{expression}{replacement}}`
    fn substituted(&mut self) -> Result<String, Stop> {
        let (subject, pattern, replacement) = (self.argument()?, self.argument()?, self.argument()?);
        self.spend(subject.len())?;
        let regex = Regex::new(&pattern).map_err(|_| unclear("an expression of sg that is not understood"))?;
        let mut out = String::new();
        let mut end = 0;
        for found in regex.captures_iter(&subject) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(subject.get(end..whole.start()).unwrap_or_default());
            let mut rest = replacement.chars().peekable();
            while let Some(c) = rest.next() {
                match (c, rest.peek().and_then(|digit| digit.to_digit(10))) {
                    ('$', Some(group)) => {
                        rest.next();
                        let group = usize::try_from(group).unwrap_or_default();
                        out.push_str(found.get(group).map_or("", |group| group.as_str()));
                    }
                    ('$', None) => return Err(unclear("a replacement of sg that is not understood")),
                    (c, _) => out.push(c),
                }
            }
            end = whole.end();
            if out.len() > RESULT_CHARS_MAX {
                return Err(unclear("it becomes too long"));
            }
        }
        out.push_str(subject.get(end..).unwrap_or_default());
        Ok(out)
    }

    fn condition(&mut self) -> Result<bool, Stop> {
        if self.depth >= DEPTH_MAX {
            return Err(unclear("too many braces within each other"));
        }
        self.depth += 1;
        let holds = self.condition_itself();
        self.depth -= 1;
        holds
    }

    fn condition_itself(&mut self) -> Result<bool, Stop> {
        if self.sign('!') {
            return Ok(!self.condition()?);
        }
        let name = self.word();
        match name.as_str() {
            "eq" => Ok(self.argument()? == self.argument()?),
            "eqi" => Ok(self.argument()?.eq_ignore_ascii_case(&self.argument()?)),
            "exists" => {
                let file = self.argument()?;
                match (self.around.exists)(&file) {
                    Seen::Value(exists) => Ok(exists),
                    Seen::Absent => Ok(false),
                    Seen::Unknown(blind) => Err(Stop::Unknown(blind)),
                }
            }
            "def" if self.sign(':') => {
                let name = self.word();
                Ok(!self.variable(&name)?.is_empty())
            }
            "and" | "or" => self.all_of(name == "and"),
            _ => Err(unclear(&format!("the condition {name}"))),
        }
    }

    /// `and{{c}{c}}` stops at the first that does not hold, `or` at the first that does (11.8).
    fn all_of(&mut self, all: bool) -> Result<bool, Stop> {
        self.expect('{')?;
        let mut decided = None;
        while !self.sign('}') {
            if decided.is_some() {
                self.skip()?;
                continue;
            }
            self.expect('{')?;
            let holds = self.condition()?;
            self.expect('}')?;
            if holds != all {
                decided = Some(holds);
            }
        }
        Ok(decided.unwrap_or(all))
    }
}

/// Any of the separators ends a field; 0 is all of it, and negative numbers count from the end.
fn field(text: &str, number: i32, separators: &str) -> Option<String> {
    let fields: Vec<&str> = text.split(|c| separators.contains(c)).collect();
    let count = usize::try_from(number.unsigned_abs()).ok()?;
    let index = match number {
        0 => return Some(text.to_owned()),
        1.. => count - 1,
        _ => fields.len().checked_sub(count)?,
    };
    fields.get(index).map(|field| (*field).to_owned())
}

/// `pass` of `user=x pass="a b"`.
fn named(text: &str, name: &str) -> Option<String> {
    let mut rest = text.trim_start();
    while let Some((key, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_once(char::is_whitespace).unwrap_or((behind, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after.trim_start();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWORDS: &str = "# a comment\nsmtp.relay.example:relay@harbour.example:pa^ss:w ord\n*.wild.example: w:p\nf: user=me pass=\"two words\" x=1\n";

    fn of(text: &str, host: &str) -> Result<String, Stop> {
        let load = |path: &str| match path {
            "/p" => Seen::Value(PASSWORDS.as_bytes().to_vec()),
            "/closed" => Seen::Unknown(Blind::NotPermitted { what: "read /closed".into(), needs: "root".into() }),
            _ => Seen::Absent,
        };
        let exists = |path: &str| Seen::Value(path == "/p");
        expand(
            text,
            &Around {
                variables: &[("host", host), ("tls_out_cipher", "TLS")],
                load: &load,
                exists: &exists,
                marker: None,
            },
        )
    }

    #[test]
    fn what_debian_writes() {
        let line = "${sg{${lookup{$host}nwildlsearch{/p}{$value}fail}}{\\N[\\^]\\N}{^^}}";
        let plain = format!(
            "${{if !eq{{$tls_out_cipher}}{{}}{{^${{extract{{1}}{{:}}{{{line}}}}}^${{sg{{{line}}}{{\\N([^:]+:)(.*)\\N}}{{\\$2}}}}}}fail}}"
        );
        assert_eq!(of(&plain, "smtp.relay.example").unwrap(), "^relay@harbour.example^pa^^ss:w ord");
        assert_eq!(of(&plain, "a.wild.example").unwrap(), "^w^p");
        assert_eq!(of(&plain, "other.example"), Err(Stop::Failed));
        let login = format!("${{if and{{{{!eq{{$tls_out_cipher}}{{}}}}{{!eq{{{line}}}{{}}}}}}{{}}fail}}");
        assert_eq!(of(&login, "SMTP.relay.example").unwrap(), "");
        let hosts = "<; ${if exists{/p} {${lookup{$host}nwildlsearch{/p}{it}}} {} }";
        assert_eq!(of(hosts, "smtp.relay.example").unwrap(), "<; it");
        assert_eq!(of(hosts, "other.example").unwrap(), "<; ");
        assert_eq!(of("<; ${if exists{/q} {${lookup{$host}nwildlsearch{/q}{it}}} {} }", "x").unwrap(), "<; ");
    }

    #[test]
    fn fields_and_files() {
        assert_eq!(of("${extract{pass}{${lookup{f}lsearch{/p}}}}", "h").unwrap(), "two words");
        assert_eq!(
            of("${extract{-1}{:}{a:b:c}}${extract{0}{:}{a:b}}${extract{9}{:}{a}{x}{no}}", "h").unwrap(),
            "ca:bno"
        );
        assert_eq!(of("${lc:ABC}${uc:d}\\$\\x41\\101", "h").unwrap(), "abcD$AA");
        assert_eq!(
            of("${lookup{none}lsearch{/p}{$value}}|${lookup{none}lsearch{/p}{$value}{no}}", "h").unwrap(),
            "|no"
        );
        assert!(of("${readfile{/p}{;}}", "h").unwrap().contains(";*.wild.example"));
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in [
            "$sender_address",
            "${lookup mysql{SELECT 1}}",
            "${lookup{x}cdb{/p}}",
            "${lookup{x}lsearch{/closed}}",
            "${run{/bin/true}}",
            "${if match{a}{b}{c}{d}}",
            "${if eq{a}{b}",
            "${md5:x}",
        ] {
            assert!(matches!(of(text, "h"), Err(Stop::Unknown(_))), "{text}: {:?}", of(text, "h"));
        }
        // What is not reached need not be understood.
        assert_eq!(
            of("${if eq{a}{b}{$nonesuch}{ok}}${if or{{eq{a}{a}}{match{a}{b}}}{y}{${run{x}}}}", "h").unwrap(),
            "oky"
        );
    }

    #[test]
    fn hostile_depth_ends() {
        let deep = "${lc:".repeat(5_000);
        assert!(matches!(of(&deep, "h"), Err(Stop::Unknown(_))));
        let conditions = format!("${{if {}eq{{a}}{{b}}}}", "!".repeat(5_000));
        assert!(matches!(of(&conditions, "h"), Err(Stop::Unknown(_))));
        let growing = (0..40).fold("x".repeat(100), |text, _| format!("${{sg{{{text}}}{{x}}{{xx}}}}"));
        assert!(matches!(of(&growing, "h"), Err(Stop::Unknown(_))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\$\\{|\\}|\\{|if |eq|and|lookup|lsearch|extract|sg|\\$host|\\$value|\\\\N|\\\\|fail|/p|1|:|[a-z ]){0,40}") {
            let _ = of(&text, "h");
        }
    }
}
