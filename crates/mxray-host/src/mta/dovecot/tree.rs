//! The settings and sections of a whole configuration: files with their includes, or `doveconf`'s dump. Pure; files come
//! through the function that the caller brings.
//!
//! Sections of one kind and name are one section, and the last value of a setting holds, as in Dovecot. What the
//! settings mean is not this module's business.

use super::syntax::{self, Line};
use mxray_model::evidence::{FileLine, Problem};
use mxray_model::text::untrusted;
use std::collections::{BTreeMap, BTreeSet};

/// Deepest nesting of sections. Dovecot's own go four deep (`local { protocol { service { listener`).
const DEPTH_MAX: usize = 16;
/// Files that include files: Debian's go two deep.
const INCLUDE_DEPTH_MAX: usize = 12;
/// Files that are read at most; sites with one file a domain have some thousand.
const FILES_MAX: usize = 4096;
/// Bytes of all files together.
const BYTES_MAX: usize = 16 << 20;
/// Sections at most: one `local_name` for each domain of a large site.
const SECTIONS_MAX: usize = 50_000;
/// Problems that are told; a binary file in place of a configuration has one on every line.
const PROBLEMS_MAX: usize = 20;
/// A setting may name itself (`$protocols imap`), again and again; no list of protocols is longer.
const EXPANDED_BYTES_MAX: usize = 64 * 1024;

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Value {
    pub text: String,
    /// The text is the path of the file that holds the value.
    pub from_file: bool,
    /// `None`: a default, or its place is not known.
    pub at: Option<FileLine>,
}

/// Settings and sections of one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub settings: BTreeMap<String, Value>,
    pub sections: Vec<Section>,
    /// Where a named section stands in `sections`.
    index: BTreeMap<(String, String), usize>,
}

/// `service imap-login { … }`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub kind: String,
    pub name: String,
    /// Where it begins, at its last occurrence.
    pub at: Option<FileLine>,
    pub body: Tree,
}

impl Tree {
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.settings.get(key)
    }

    /// A setting's text; empty where it is not set.
    pub fn text(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", |value| value.text.as_str())
    }

    pub fn section(&self, kind: &str, name: &str) -> Option<&Section> {
        self.index.get(&(kind.to_owned(), name.to_owned())).and_then(|at| self.sections.get(*at))
    }

    pub fn sections_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Section> {
        self.sections.iter().filter(move |section| section.kind == kind)
    }

    /// The index of a section, made if it is not there. Databases and listeners without a name are one each.
    fn enter(&mut self, kind: &str, name: &str, at: Option<FileLine>) -> usize {
        let alone = name.is_empty() && matches!(kind, "passdb" | "userdb" | "inet_listener");
        let key = (kind.to_owned(), name.to_owned());
        if !alone && let Some(known) = self.index.get(&key) {
            if let Some(section) = self.sections.get_mut(*known)
                && at.is_some()
            {
                section.at = at;
            }
            return *known;
        }
        let section = Section { kind: kind.to_owned(), name: name.to_owned(), at, body: Tree::default() };
        self.sections.push(section);
        let new = self.sections.len() - 1;
        if !alone {
            self.index.insert(key, new);
        }
        new
    }

    /// The level at the end of a path of indexes.
    fn at_mut(&mut self, path: &[usize]) -> &mut Tree {
        let Some((first, rest)) = path.split_first() else { return self };
        if self.sections.get(*first).is_none() {
            return self;
        }
        self.sections
            .get_mut(*first)
            .map_or_else(|| unreachable!("it was looked at"), |section| section.body.at_mut(rest))
    }

    /// Takes over from the files where each of these values was set. A value that differs from the file's keeps no place:
    /// then the dump holds, and what made it so is not known.
    pub fn locate(&mut self, files: &Tree) {
        for (key, value) in &mut self.settings {
            let own = files.settings.get(key);
            match own {
                // doveconf hides keys, and with them the names of their files.
                Some(own) if own.from_file && is_hidden(key, value) => *value = own.clone(),
                _ => value.at = own.filter(|own| alike(own, value)).and_then(|own| own.at.clone()),
            }
        }
        let mut unnamed: BTreeMap<&str, usize> = BTreeMap::new();
        for section in &mut self.sections {
            let own = if section.name.is_empty() {
                let nth = unnamed.entry(section.kind.as_str()).or_default();
                *nth += 1;
                files.sections_of(&section.kind).filter(|own| own.name.is_empty()).nth(*nth - 1)
            } else {
                files.section(&section.kind, &section.name)
            };
            section.at = own.and_then(|own| own.at.clone());
            match own {
                Some(own) => section.body.locate(&own.body),
                None => section.body.locate(&Tree::default()),
            }
        }
    }
}

/// Shown as `# hidden, use -P to show it`, which is a comment behind an empty value.
fn is_hidden(key: &str, shown: &Value) -> bool {
    shown.text.is_empty() && key.starts_with("ssl_")
}

/// One value, written in a file and shown by doveconf, which writes blanks in its own way.
fn alike(own: &Value, shown: &Value) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    own.from_file == shown.from_file && words(&own.text) == words(&shown.text)
}

/// What reading gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed {
    pub tree: Tree,
    pub problems: Vec<Problem>,
    /// A file that must be there could not be read: settings are missing.
    pub incomplete: bool,
}

/// Why an included file gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    NotThere,
    /// It is there, and this is why it cannot be read.
    Unreadable(String),
}

/// Finds and reads files for the parser.
pub(crate) trait Files {
    /// The paths that an include names, in the order in which they are read. `from`: the file with the include.
    fn matching(&self, from: &str, pattern: &str) -> Result<Vec<String>, Missing>;
    fn read(&self, path: &str) -> Result<Vec<u8>, Missing>;
}

/// The configuration that begins with this file, on top of `defaults`.
pub(crate) fn read(file: &str, defaults: Tree, files: &dyn Files) -> Parsed {
    let mut builder = Builder { parsed: Parsed { tree: defaults, ..Parsed::default() }, ..Builder::new(Some(files)) };
    builder.file(file, None);
    builder.parsed
}

/// One text: a dump, or our table of defaults. Nothing in it has a place.
pub(crate) fn text(bytes: &[u8]) -> Parsed {
    let mut builder = Builder::new(None);
    builder.lines("", bytes);
    builder.parsed
}

struct Builder<'a> {
    parsed: Parsed,
    files: Option<&'a dyn Files>,
    /// Open sections, as indexes.
    path: Vec<usize>,
    /// Sections too deep to be kept, open.
    too_deep: usize,
    /// Files that are being read: one that includes itself would never end.
    open: Vec<String>,
    files_read: usize,
    bytes_read: usize,
    sections: usize,
    told: BTreeSet<(String, u32)>,
}

impl<'a> Builder<'a> {
    fn new(files: Option<&'a dyn Files>) -> Self {
        Builder {
            parsed: Parsed::default(),
            files,
            path: Vec::new(),
            too_deep: 0,
            open: Vec::new(),
            files_read: 0,
            bytes_read: 0,
            sections: 0,
            told: BTreeSet::new(),
        }
    }

    fn trouble(&mut self, file: &str, line: u32, text: String) {
        let at = FileLine { file: untrusted(file.as_bytes()), line };
        if self.parsed.problems.len() < PROBLEMS_MAX && self.told.insert((at.file.clone(), line)) {
            self.parsed.problems.push(Problem { at, text });
        }
    }

    /// Reads a file; `by`: the place of the include that names it.
    fn file(&mut self, path: &str, by: Option<(&str, u32, bool)>) {
        let Some(files) = self.files else { return };
        let (from, line) = by.map_or((path, 1), |(from, line, _)| (from, line));
        let refused = if self.open.iter().any(|open| open == path) {
            Some(format!("{path} includes itself"))
        } else if self.open.len() >= INCLUDE_DEPTH_MAX {
            Some(format!("includes are more than {INCLUDE_DEPTH_MAX} deep; {path} is not read"))
        } else if self.files_read >= FILES_MAX || self.bytes_read >= BYTES_MAX {
            Some(format!("more than {FILES_MAX} files or {BYTES_MAX} bytes; {path} is not read"))
        } else {
            None
        };
        if let Some(text) = refused {
            self.parsed.incomplete = true;
            return self.trouble(from, line, untrusted(text.as_bytes()));
        }
        match files.read(path) {
            Ok(bytes) => {
                self.files_read += 1;
                self.bytes_read += bytes.len();
                self.open.push(path.to_owned());
                self.lines(path, &bytes);
                self.open.pop();
            }
            Err(missing) => self.missing(path, missing, from, line, by.is_none_or(|(_, _, required)| required)),
        }
    }

    /// `!include_try` passes over what is not there or forbidden to Dovecot; what is forbidden to us may hold settings.
    fn missing(&mut self, path: &str, missing: Missing, from: &str, line: u32, required: bool) {
        let path = untrusted(path.as_bytes());
        match missing {
            Missing::NotThere if !required => {}
            Missing::NotThere => {
                self.trouble(from, line, format!("{path} does not exist: Dovecot cannot start"));
            }
            Missing::Unreadable(why) => {
                self.parsed.incomplete = true;
                self.trouble(from, line, format!("{path} could not be read: {why}"));
            }
        }
    }

    fn lines(&mut self, file: &str, bytes: &[u8]) {
        let depth = self.path.len();
        for logical in syntax::logical(bytes) {
            let line = logical.number;
            match syntax::parse(&logical.text) {
                Ok(Line::Set { key, value, from_file }) if self.too_deep == 0 => {
                    self.set(file, line, &key, &value, from_file);
                }
                Ok(Line::Open { kind, name }) => self.enter(file, line, &kind, &name),
                Ok(Line::Close) if self.too_deep > 0 => self.too_deep -= 1,
                // A file closes its own sections only; Dovecot stops at any other brace.
                Ok(Line::Close) if self.path.len() > depth => _ = self.path.pop(),
                Ok(Line::Close) => self.trouble(file, line, "unexpected '}'".to_owned()),
                Ok(Line::Include { pattern, required }) => self.include(file, line, &pattern, required),
                Ok(Line::Set { .. }) => {}
                Err(why) => self.trouble(file, line, format!("not understood: {why}")),
            }
        }
        if self.path.len() > depth && !file.is_empty() {
            let last = u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX).max(1);
            self.trouble(file, last, "missing '}' at the end of the file".to_owned());
        }
        self.path.truncate(depth);
        self.too_deep = 0;
    }

    fn place(file: &str, line: u32) -> Option<FileLine> {
        (!file.is_empty()).then(|| FileLine { file: untrusted(file.as_bytes()), line })
    }

    fn set(&mut self, file: &str, line: u32, key: &str, value: &str, from_file: bool) {
        let text = if from_file { value.to_owned() } else { self.expanded(value) };
        let value = Value { text: untrusted(text.as_bytes()), from_file, at: Self::place(file, line) };
        // `service/imap-login/process_limit = 3` is a long way to write a nested setting.
        let mut steps: Vec<&str> = key.split('/').collect();
        let own = steps.pop().unwrap_or(key);
        let depth = self.path.len();
        for pair in steps.chunks(2) {
            if let [kind, name] = pair {
                self.enter(file, line, kind, name);
            }
        }
        self.parsed.tree.at_mut(&self.path).settings.insert(untrusted(own.as_bytes()), value);
        self.path.truncate(depth);
        self.too_deep = 0;
    }

    fn enter(&mut self, file: &str, line: u32, kind: &str, name: &str) {
        if self.too_deep > 0 || self.path.len() >= DEPTH_MAX || self.sections >= SECTIONS_MAX {
            self.too_deep += 1;
            self.parsed.incomplete = true;
            let text =
                format!("sections more than {DEPTH_MAX} deep, or more than {SECTIONS_MAX} of them, are not read");
            return self.trouble(file, line, text);
        }
        self.sections += 1;
        let (kind, name) = (untrusted(kind.as_bytes()), untrusted(name.as_bytes()));
        let index = self.parsed.tree.at_mut(&self.path).enter(&kind, &name, Self::place(file, line));
        self.path.push(index);
    }

    fn include(&mut self, file: &str, line: u32, pattern: &str, required: bool) {
        let Some(files) = self.files else { return };
        match files.matching(file, pattern) {
            Ok(paths) => {
                for path in paths {
                    self.file(&path, Some((file, line, required)));
                }
            }
            Err(missing) => self.missing(pattern, missing, file, line, required),
        }
    }

    /// `$name` (2.3) and `$SET:name` (2.4) stand for what was set before, here or further out. Anything else behind a
    /// dollar, and every `%{…}`, stays as it is written.
    fn expanded(&self, value: &str) -> String {
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            let (before, behind) = rest.split_at(at);
            out.push_str(before);
            let named = behind.strip_prefix("$SET:").or_else(|| behind.strip_prefix('$')).unwrap_or_default();
            let length = named.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(named.len());
            let (name, after) = named.split_at(length);
            match self.set_before(name) {
                Some(text) if out.len() + text.len() <= EXPANDED_BYTES_MAX => {
                    out.push_str(text);
                    rest = after;
                }
                _ => {
                    out.push('$');
                    rest = behind.get(1..).unwrap_or_default();
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn set_before(&self, name: &str) -> Option<&str> {
        let mut level = &self.parsed.tree;
        let mut found = level.settings.get(name);
        for index in &self.path {
            level = &level.sections.get(*index)?.body;
            found = level.settings.get(name).or(found);
        }
        found.filter(|value| !value.from_file).map(|value| value.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Files in memory; a pattern is a list of names.
    struct Memory(BTreeMap<&'static str, &'static str>);

    impl Files for Memory {
        fn matching(&self, _: &str, pattern: &str) -> Result<Vec<String>, Missing> {
            Ok(pattern.split(',').map(str::to_owned).collect())
        }

        fn read(&self, path: &str) -> Result<Vec<u8>, Missing> {
            match self.0.get(path) {
                Some(&"forbidden") => Err(Missing::Unreadable("permission denied".into())),
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(Missing::NotThere),
            }
        }
    }

    fn parsed(files: &[(&'static str, &'static str)]) -> Parsed {
        read("main", Tree::default(), &Memory(files.iter().copied().collect()))
    }

    #[test]
    fn sections_of_one_name_are_one_and_the_last_value_holds() {
        let found = parsed(&[
            ("main", "a = 1\nservice x {\n  n = 1\n  inet_listener i {\n    port = 1\n  }\n}\n!include more\na = 3\n"),
            ("more", "a = 2\nservice x {\n  m = $a$n%{user}$none\n  inet_listener i {\n    port = 0\n  }\n}\n"),
        ]);
        assert!(found.problems.is_empty() && !found.incomplete, "{:?}", found.problems);
        let service = &found.tree.section("service", "x").unwrap();
        assert_eq!(service.body.text("m"), "21%{user}$none");
        assert_eq!(service.at, Some(FileLine { file: "more".into(), line: 2 }));
        assert_eq!(service.body.section("inet_listener", "i").unwrap().body.text("port"), "0");
        assert_eq!(found.tree.value("a").unwrap().at, Some(FileLine { file: "main".into(), line: 9 }));
    }

    #[test]
    fn what_cannot_be_read_or_understood_is_told_with_its_line() {
        let found = parsed(&[
            ("main", "!include main\n!include gone\n!include_try gone\n!include_try secret\nprotocols imap\n}\nx {\n"),
            ("secret", "forbidden"),
        ]);
        let lines: Vec<(u32, &str)> =
            found.problems.iter().map(|problem| (problem.at.line, problem.text.as_str())).collect();
        assert_eq!(lines[0], (1, "main includes itself"));
        assert_eq!(lines[1], (2, "gone does not exist: Dovecot cannot start"));
        assert_eq!(lines[2], (4, "secret could not be read: permission denied"));
        assert_eq!(lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4, 5, 6, 7]);
        assert!(found.incomplete);
    }

    #[test]
    fn a_place_is_taken_over_only_where_both_agree() {
        let files = parsed(&[("main", "a = x  y\nb = 1\nservice s {\n  c = 1\n}\nssl_key = <k\n")]);
        let mut dump = text(b"a = x y\nb = 2\nd = 1\nssl_key = # hidden, use -P to show it\nservice s {\n  c = 1\n}\n");
        dump.tree.locate(&files.tree);
        let line = |key: &str| dump.tree.value(key).unwrap().at.as_ref().map(|at| at.line);
        assert_eq!((line("a"), line("b"), line("d"), line("ssl_key")), (Some(1), None, None, Some(6)));
        let section = dump.tree.section("service", "s").unwrap();
        assert_eq!(section.at.as_ref().unwrap().line, 3);
        assert_eq!(section.body.value("c").unwrap().at.as_ref().unwrap().line, 4);
    }

    #[test]
    fn hostile_sizes_are_bounded() {
        let deep = "a {\n".repeat(100_000);
        assert!(text(deep.as_bytes()).incomplete);
        let doubling: String = std::iter::once("a = xxxxxxxxxxxxxxxx\n".to_owned())
            .chain(std::iter::repeat_n("a = $a$a$a$a\n".to_owned(), 200))
            .collect();
        assert!(text(doubling.as_bytes()).tree.text("a").len() <= 2 * EXPANDED_BYTES_MAX);
        let many: String = (0..60_000).map(|n| format!("local_name h{n} {{\n}}\n")).collect();
        let found = text(many.as_bytes());
        assert!(found.incomplete && found.tree.sections.len() == SECTIONS_MAX);
        let garbage = "x\n".repeat(10_000);
        assert_eq!(text(garbage.as_bytes()).problems.len(), PROBLEMS_MAX);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_tree(bytes in "([a-z]{1,3} ?[={}]? ?[\"<$a-z/]{0,6}\n?){0,80}") {
            let _ = text(bytes.as_bytes());
        }
    }
}
