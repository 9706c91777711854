//! What is wrong with a configuration, in words and with the line it stands on.
//!
//! The line is shown only as far as no secret can stand on it: a password in the wrong place, under a mistyped key or
//! behind a missing quote is still a password.

use super::keys::KEYS;
use super::read::line_of;
use mxray_model::text::{is_steering, untrusted};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// How much of a line may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All of it, if its key is one that holds no secret and nothing on it looks like one.
    IfHarmless,
    /// What stands before the equals sign.
    KeyOnly,
    /// All of it, if nothing on it looks like a secret: of a file whose form has no place for one.
    Whole,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Complaint {
    message: String,
    help: Option<String>,
    line: usize,
    shown: Option<Place>,
}

/// The part of one line that may be shown.
#[derive(Debug)]
struct Place {
    line: usize,
    visible: String,
    /// In bytes of `visible`.
    at: Range<usize>,
}

impl Complaint {
    /// About a file as a whole.
    pub fn of_file(file: &Path, why: &str) -> Self {
        let message = format!("{}: {}", printable_path(file), untrusted(why.as_bytes()));
        Complaint { message, help: None, line: 0, shown: None }
    }

    /// About a place in it.
    pub fn new(file: &Path, text: &str, at: Range<usize>, what: &str, help: Option<String>, shown: Shown) -> Self {
        let line = line_of(text, at.start);
        let begin = text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |feed| feed + 1);
        let whole = text.get(begin..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = 1 + text.get(begin..at.start).unwrap_or_default().chars().count();
        let path = printable_path(file);
        let visible = visible(text, begin, whole, shown);
        let start = at.start.saturating_sub(begin).min(visible.len());
        let end = at.end.saturating_sub(begin).clamp(start, visible.len());
        Complaint {
            message: format!("{path}:{line}:{column}: {}", untrusted(what.as_bytes())),
            help: help.map(|help| untrusted(help.as_bytes())),
            line,
            shown: Some(Place { line, visible, at: start..end }),
        }
    }

    /// For the order of complaints about one file.
    pub fn place(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Place {
    /// The line with its number, and marks below what is meant; one mark where the place is empty.
    fn drawn(&self, colour: bool) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let chars = |range: Range<usize>| self.visible.get(range).unwrap_or_default().chars().count();
        let before = " ".repeat(chars(0..self.at.start));
        let marks = "^".repeat(chars(self.at.clone()).max(1));
        let (on, off) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        format!("{number} | {}\n{margin} | {before}{on}{marks}{off}\n", self.visible)
    }
}

/// All complaints, ready to be said.
pub fn worded(complaints: &[Complaint], colour: bool) -> String {
    let mut out = String::new();
    for complaint in complaints {
        let place = complaint.shown.as_ref().map(|place| place.drawn(colour)).unwrap_or_default();
        let help = complaint.help.as_ref().map(|help| format!("  help: {help}\n")).unwrap_or_default();
        out.push_str(&format!("mxray: {complaint}\n{place}{help}"));
    }
    out.trim_end().to_owned()
}

fn printable_path(file: &Path) -> String {
    untrusted(std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str()))
}

/// The part of a line that may be shown, byte for byte in its place.
fn visible(text: &str, begin: usize, line: &str, shown: Shown) -> String {
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (Some(key), value),
        None => (None, line),
    };
    let header = key.is_none() && line.trim_start().starts_with('[');
    let harmless_key = key.is_some_and(|key| {
        let name = key.rsplit('.').next().unwrap_or(key).trim();
        KEYS.iter().any(|known| known.name == name && !known.secret)
    });
    let looks_secret = |text: &str| {
        let lower = text.to_lowercase();
        ["pass", "secret", "token", "pwd"].iter().any(|word| lower.contains(word))
    };
    // A line inside a long string may be anything, so may one in a list under a key that nobody knows.
    let before = text.get(..begin).unwrap_or_default();
    let in_long_string = before.contains("\"\"\"") || before.contains("'''");
    let harmless = match shown {
        Shown::Whole => true,
        Shown::IfHarmless => header || harmless_key,
        Shown::KeyOnly => false,
    };
    let kept = match (harmless && !looks_secret(line) && !in_long_string, key) {
        (true, _) => line.to_owned(),
        (false, _) if in_long_string => "...".to_owned(),
        (false, Some(key)) if !value.trim().is_empty() => format!("{key}= ..."),
        (false, Some(_)) => line.to_owned(),
        (false, None) if header => line.to_owned(),
        (false, None) => "...".to_owned(),
    };
    // Steering characters give way to as many bytes, so that the span still fits.
    kept.chars().map(|c| if is_steering(c) { "?".repeat(c.len_utf8()) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    fn complaints(text: &str) -> String {
        let found = super::super::read::merge(&mut Config::default(), Path::new("/etc/mxray/mxray.toml"), text);
        super::worded(&found, false)
    }

    #[test]
    fn an_unknown_key_names_file_line_column_and_the_nearest() {
        let said = complaints("[doctor]\nsince = \"1h\"\ntragets = [\"example.org\"]\n");
        assert!(said.contains("/etc/mxray/mxray.toml:3:1: unknown key `tragets` in [doctor]"), "{said}");
        assert!(said.contains("did you mean `targets`?"), "{said}");
        assert!(said.contains("3 | tragets = ..."), "{said}");
    }

    #[test]
    fn a_wrong_value_is_pointed_at() {
        let said = complaints("[network]\npublic_prefixes = [\"10.0.0.0/8\", \"10.1.2.3/16\"]\n");
        assert!(said.contains(":2:34: public_prefixes in [network]: bits are set behind"), "{said}");
        assert!(said.contains("write 10.1.0.0/16"), "{said}");
        let (line, marks) = ("public_prefixes = [\"10.0.0.0/8\", \"10.1.2.3/16\"]", "^".repeat(13));
        assert!(said.contains(&format!("2 | {line}\n  | {}{marks}", " ".repeat(33))), "{said}");
    }

    #[test]
    fn all_complaints_are_made_at_once_in_order() {
        let said = complaints("[zebra]\nx = 1\n[dns]\nserver = []\n[doctor]\ndeadline_s = \"5\"\nsince = 5\n");
        let places: Vec<_> = [":1:2:", ":4:1:", ":6:14:", ":7:9:"].iter().map(|place| said.find(place)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said}");
    }

    #[test]
    fn no_secret_is_ever_repeated() {
        for text in [
            "[submission]\npassword = \"hunter2\"\n",
            "[submission]\npasword = \"hunter2\"\n",
            "[submission]\nuser = \"u\"\npassword = \"hunter2\n",
            "[submission]\npassword = hunter2\n",
            "submission = { user = 5, password = \"hunter2\" }\n",
            "submission = \"hunter2\"\n",
            "password = \"hunter2\"\n",
            "[submission]\npassword = [\n  \"hunter2\",\n]\n",
            "[submission]\npassword = [\n  \"hunter2\n]\n",
            "[submission]\npassword = \"\"\"\nhunter2\n\"\" \"\n",
            "[submission]\npassword = \"\"\"\nx = hunter2\nuser = hunter2\n",
            "[submission]\nuser.password = \"hunter2\"\n",
            "[submission]\npassword.user = \"hunter2\n",
            "[submission]\npassword = \"\\qhunter2\"\n",
            "[submission]\npassword = \"x\"\npassword = \"hunter2\"\n",
            "[doctor]\nsince = \"1h\" password = \"hunter2\"\n",
        ] {
            let said = complaints(text);
            assert!(!said.is_empty(), "accepted: {text}");
            assert!(!said.contains("hunter2"), "{text}\n{said}");
        }
    }

    #[test]
    fn escapes_in_a_file_do_not_reach_the_terminal() {
        let said = complaints("[doctor]\n\"\\u001b[2Jx\" = 1\nsince = \"\u{9b}31m\"\n");
        assert!(!said.contains(|c: char| c != '\n' && mxray_model::text::is_steering(c)), "{said:?}");
    }

    #[test]
    fn a_list_of_zones() {
        let mut config = Config::default();
        let text = "[lists]\nzones = [{ zone = \"bl.example.org\", kind = \"ipv4\", codes = { \"127.0.0.2\" = \"spam\" }, \
                    tier = 1 }]\n";
        assert!(super::super::read::merge(&mut config, Path::new("f"), text).is_empty());
        assert_eq!(config.settings.lists.zones[0].codes.len(), 1);
        let said = complaints("[lists]\nzones = [{ zone = \"bl.example.org\", kinds = \"ipv4\" }]\n");
        assert!(said.contains("did you mean `kind`?"), "{said}");
    }

    #[test]
    fn a_key_below_the_wrong_header_is_sent_home() {
        assert!(complaints("[dns]\ntargets = []\n").contains("`targets` belongs below [doctor]"));
        assert!(complaints("targets = []\n").contains("`targets` belongs below [doctor]"));
    }
}
