//! The words of `forms.toml`, made searchable, and what addresses look like in prose.
//!
//! What must not live here: what is done with what is found.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use crate::read::{Fields, words};

/// The data that is built in.
const BUILT_IN: &str = include_str!("forms.toml");

/// Longest address (RFC 5321 section 4.5.3.1: 64 and 255, and the sign between).
const ADDRESS_BYTES_MAX: usize = 320;
/// Addresses that are taken from one text.
const ADDRESSES_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "checked")]
    _checked: String,
    daemon: Vec<String>,
    failure: Vec<String>,
    delay: Vec<String>,
    automatic: Vec<String>,
    challenge: Vec<String>,
    original: Vec<String>,
    recipient: Vec<String>,
    #[serde(default)]
    local: Vec<LocalForm>,
}

/// A system that names its users without their domain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalForm {
    /// It is this system's report.
    pub sign: String,
    /// What stands behind a user's name. Empty: the name stands alone on the line below the sign.
    #[serde(default)]
    pub before: String,
    /// Empty: the domain of who reports.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// How a line names a recipient.
#[derive(Debug, Clone)]
pub struct Template {
    before: String,
    after: String,
    ends: bool,
    /// So exact that even the address of who gets the report is believed: one may write to oneself.
    pub exact: bool,
}

/// The data, ready to search with.
#[derive(Debug)]
pub struct Forms {
    daemon: AhoCorasick,
    failure: AhoCorasick,
    delay: AhoCorasick,
    automatic: AhoCorasick,
    challenge: AhoCorasick,
    original: AhoCorasick,
    pub recipient: Vec<Template>,
    pub local: Vec<LocalForm>,
}

impl Forms {
    pub fn built_in() -> &'static Forms {
        static FORMS: LazyLock<Forms> = LazyLock::new(Forms::compiled);
        &FORMS
    }

    #[expect(clippy::expect_used, reason = "the data is built in, and a test reads it")]
    fn compiled() -> Forms {
        let file: File = toml::from_str(BUILT_IN).expect("forms.toml");
        let search = |words: &[String]| AhoCorasick::new(words).expect("few words");
        Forms {
            daemon: search(&file.daemon),
            failure: search(&file.failure),
            delay: search(&file.delay),
            automatic: search(&file.automatic),
            challenge: search(&file.challenge),
            original: search(&file.original),
            recipient: file.recipient.iter().map(|text| Template::of(text)).collect(),
            local: file.local,
        }
    }

    /// A mail system speaks, not a person.
    pub fn is_daemon(&self, head: Fields<'_>) -> bool {
        let names = ["from", "return-path", "sender", "x-original-from", "old-from"];
        names.iter().filter_map(|name| head.get(name)).any(|value| self.is_daemon_name(&value))
    }

    pub fn is_daemon_name(&self, name: &str) -> bool {
        self.daemon.is_match(words(name).to_lowercase().trim())
    }

    pub fn says_failure(&self, lower: &str) -> bool {
        self.failure.is_match(lower)
    }

    pub fn says_delay(&self, lower: &str) -> bool {
        self.delay.is_match(lower)
    }

    /// A program answered in a person's place (RFC 3834, and what stood there before).
    pub fn is_automatic(&self, head: Fields<'_>) -> bool {
        let value = |name: &str| head.get(name).map(|value| value.to_lowercase());
        let says = |name: &str, words: &[&str]| {
            value(name).is_some_and(|value| words.iter().any(|word| value.starts_with(word)))
        };
        says("auto-submitted", &["auto-replied"])
            || ["x-autoreply", "x-autorespond", "x-auto-reply-from"].iter().any(|name| head.has(name))
            || says("precedence", &["auto_reply", "auto-reply", "autoreply"])
            || says("x-precedence", &["auto_reply", "auto-reply"])
            || head.get("subject").is_some_and(|subject| self.automatic.is_match(&words(&subject).to_lowercase()))
    }

    /// A subject, in small letters, that begins as those of automatic answers do.
    pub fn begins_automatic(&self, subject: &str) -> bool {
        self.automatic.find(subject.trim_start()).is_some_and(|found| found.start() == 0)
    }

    pub fn is_challenge(&self, head: Fields<'_>, text: &str) -> bool {
        let from = head.get("from").map(|value| value.to_lowercase()).unwrap_or_default();
        self.challenge.is_match(&from) || self.challenge.is_match(&text.to_lowercase())
    }

    /// A line, in small letters, that begins what is returned.
    pub fn begins_original(&self, lower: &str) -> bool {
        self.original.is_match(lower)
    }
}

impl Template {
    fn of(text: &str) -> Template {
        let (before, after) = text.split_once("{}").unwrap_or((text, ""));
        let (after, ends) = after.strip_suffix('$').map_or((after, false), |after| (after, true));
        let exact = before == "<" && after.len() > 1;
        Template { before: before.to_owned(), after: after.to_owned(), ends, exact }
    }

    /// The address, if the line is of this form. `lower` is the line in small letters.
    pub fn read<'l>(&self, line: &'l str, lower: &str) -> Option<&'l str> {
        let marks = line.len() - without_marks(line).len();
        self.read_plain(line.get(marks..)?, lower.get(marks..)?)
    }

    fn read_plain<'l>(&self, line: &'l str, lower: &str) -> Option<&'l str> {
        // A short beginning has to stand at the line's; a longer one may stand within it.
        let start = if self.before.len() < 3 {
            lower.starts_with(&self.before).then_some(0)?
        } else {
            let found = lower.find(&self.before)?;
            let free = lower[..found].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
            free.then_some(found)?
        };
        let rest = line.get(start + self.before.len()..)?.trim_start();
        let bracketed = self.before.ends_with('<');
        let rest = if bracketed { rest } else { rest.trim_start_matches(['<', '"', '\'', '(', '[']) };
        let address = leading_address(rest)?;
        let after = &rest[address.len()..];
        let after = if bracketed { after } else { after.trim_start_matches(['>', '"', '\'', ')', ']']) };
        let tail = after
            .get(..self.after.len())
            .filter(|tail| tail.eq_ignore_ascii_case(&self.after))
            .map(|_| &after[self.after.len()..]);
        // Blanks at the end of a line are gone: `a@b  ` is `a@b`.
        let tail = tail.or_else(|| (self.after.trim().is_empty() && after.is_empty()).then_some(""))?;
        (!self.ends || tail.trim().is_empty()).then_some(address)
    }
}

/// Without what lists and old sendmails put in front: `> `, `* `, `554 `.
fn without_marks(line: &str) -> &str {
    let line = line.trim_start_matches(['>', '*', '-', '+', ' ', '\t']);
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match line.get(digits..) {
        Some(rest) if digits == 3 && rest.starts_with(" <") => rest.trim_start(),
        _ => line,
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&*+-/=?^_{|}~.".contains(&byte) || byte >= 0x80
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'#') || byte >= 0x80
}

/// A character of the scripts that put no blanks between words, or of their punctuation.
fn is_wide(c: char) -> bool {
    c >= '\u{2e80}'
}

/// The address that a text begins with.
fn leading_address(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let local = bytes.iter().take(ADDRESS_BYTES_MAX).take_while(|byte| is_local(**byte)).count();
    if local == 0 || bytes.get(local) != Some(&b'@') {
        return None;
    }
    let domain = bytes[local + 1..].iter().take(ADDRESS_BYTES_MAX).take_while(|byte| is_domain(**byte)).count();
    let end = local + 1 + domain;
    // `r@example.net退信`: scripts that write no blanks go on behind a name of ASCII. A name in them begins with them.
    let written = text.get(local + 1..end)?;
    let glued = written.find(is_wide).filter(|at| written[..*at].contains('.') && !written[..*at].ends_with('.'));
    let end = glued.map_or(end, |at| local + 1 + at);
    let address = text.get(..end)?.trim_end_matches(['.', '-', '_']);
    (address.len() > local + 1).then_some(address)
}

/// Every address in a text, in its order, each once.
pub fn addresses_in(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut found: Vec<String> = Vec::new();
    for at in memchr::memchr_iter(b'@', bytes) {
        let window = at.saturating_sub(ADDRESS_BYTES_MAX);
        let local = bytes[window..at].iter().rev().take_while(|byte| is_local(**byte)).count();
        let start = (at - local..=at).find(|start| text.is_char_boundary(*start)).unwrap_or(at);
        let glued = text.get(start..at).and_then(|local| local.char_indices().rfind(|(_, c)| is_wide(*c)));
        let start = glued.map(|(last, c)| start + last + c.len_utf8()).filter(|behind| *behind < at).unwrap_or(start);
        let Some(address) = text.get(start..).and_then(leading_address) else { continue };
        let address = address.trim_start_matches(['.', '=', '/', '*', '-']);
        if !address.starts_with('@') && !found.iter().any(|known| known.eq_ignore_ascii_case(address)) {
            found.push(address.to_owned());
            if found.len() == ADDRESSES_MAX {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_prose() {
        let text = "a <one@example.org>, \"two\"@x three@example.net. four@[192.0.2.1] @ größe@example.com mailto:five@b.example;";
        let found = addresses_in(text);
        assert_eq!(found, ["one@example.org", "three@example.net", "größe@example.com", "five@b.example"]);
        assert!(addresses_in("@@@@ a@ @b").is_empty());
        let glued = addresses_in("无法发送到r@example.net退信原因 用户@例子.中国 用户@例子.example");
        assert_eq!(glued, ["r@example.net", "用户@例子.中国", "用户@例子.example"]);
    }

    #[test]
    fn templates_read_lines() {
        let read = |template: &str, line: &str| {
            Template::of(template).read(line, &line.to_ascii_lowercase()).map(str::to_owned)
        };
        let address = Some("U@example.org".to_owned());
        assert_eq!(read("<{}>:", "<U@example.org>: host mx said: 550"), address);
        assert_eq!(read("<{}>:", "<U@example.org> (expanded from <x>): host"), None);
        assert_eq!(read("{}$", "U@example.org"), address);
        assert_eq!(read("{}$", "U@example.org is gone"), None);
        assert_eq!(read("user unknown: {}", "  sorry, User Unknown: <U@example.org>"), address);
        assert_eq!(read("to {}", "forgotten to U@example.org."), address);
        assert_eq!(read("to {}", "auto U@example.org"), None);
        assert_eq!(read("{}  ", "U@example.org"), address);
    }

    #[test]
    fn the_data_is_whole() {
        let forms = Forms::built_in();
        assert!(
            forms.recipient.len() > 20 && forms.says_failure("x user unknown y") && forms.says_delay("will be retried")
        );
    }
}
