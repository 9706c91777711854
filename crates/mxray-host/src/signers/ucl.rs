//! UCL, the language of rspamd's configuration: sections, values with their lines, and how files are put together by
//! `.include` with its priorities.
//!
//! The rules are libucl's (`ucl_parser.c`): of equal keys with equal priority all are kept, one of higher priority takes the
//! place of the others, one of lower priority is dropped; with `duplicate=merge` a section goes on in the one that is there.
//! What must not live here: what any key means. Whatever is not understood blinds the section that it stands in, never more.

use mxray_model::evidence::{FileLine, Problem};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// Sections within sections; libucl's own limit is far above what anybody writes.
const NESTED_MAX: u32 = 64;
/// libucl refuses deeper ones (`UCL_MAX_NESTED_CHUNKS` allows 16).
const INCLUDES_DEPTH_MAX: usize = 16;
/// The package's own configuration is 90 files.
const FILES_MAX: usize = 2_000;
/// The package's own configuration is 150 KB; lists of addresses are maps, and not included.
const BYTES_MAX: usize = 8 << 20;
const VALUES_MAX: usize = 200_000;
const PROBLEMS_MAX: usize = 20;

/// How files are read: the machine's, or a test's.
pub(super) trait Files {
    fn read(&self, path: &str) -> Seen<Vec<u8>>;
    /// The names in a directory, in order.
    fn list(&self, directory: &str) -> Seen<Vec<String>>;
}

/// One text, and nothing beside it.
impl<F: Fn(&str) -> Seen<Vec<u8>>> Files for F {
    fn read(&self, path: &str) -> Seen<Vec<u8>> {
        self(path)
    }

    fn list(&self, _: &str) -> Seen<Vec<String>> {
        Seen::Absent
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A string, number or truth value, as written.
    Text(String),
    List(Vec<Entry>),
    Section(Section),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub value: Value,
    pub at: FileLine,
    priority: u8,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Section {
    /// Several of one key, where it was given several times with one priority.
    pub entries: BTreeMap<String, Vec<Entry>>,
    /// A part of it could not be read or understood.
    pub blind: Option<Blind>,
}

impl Section {
    /// All that was given for a key, lists laid open.
    pub fn all(&self, key: &str) -> Vec<&Entry> {
        fn open<'a>(entry: &'a Entry, found: &mut Vec<&'a Entry>) {
            match &entry.value {
                Value::List(entries) => entries.iter().for_each(|entry| open(entry, found)),
                Value::Text(_) | Value::Section(_) => found.push(entry),
            }
        }
        let mut found = Vec::new();
        self.entries.get(key).into_iter().flatten().for_each(|entry| open(entry, &mut found));
        found
    }

    /// The last text that was given for a key.
    pub fn text(&self, key: &str) -> Option<(&str, &FileLine)> {
        self.all(key).into_iter().rev().find_map(|entry| match &entry.value {
            Value::Text(text) => Some((text.as_str(), &entry.at)),
            Value::List(_) | Value::Section(_) => None,
        })
    }

    pub fn sections(&self, key: &str) -> Vec<&Section> {
        let section = |entry: &'_ &Entry| matches!(entry.value, Value::Section(_));
        self.all(key).into_iter().filter(section).filter_map(Entry::section).collect()
    }

    fn blinded(&mut self, blind: Blind) {
        self.blind.get_or_insert(blind);
    }
}

impl Entry {
    pub fn section(&self) -> Option<&Section> {
        match &self.value {
            Value::Section(section) => Some(section),
            Value::Text(_) | Value::List(_) => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Section(_) => None,
        }
    }
}

/// One file on its way through the parser.
struct Chunk<'t> {
    text: &'t [u8],
    position: usize,
    line: u32,
    file: &'t str,
    priority: u8,
    merge: bool,
}

/// What an `.include` says besides its path.
#[derive(Debug, Default)]
struct Options {
    try_only: bool,
    glob: bool,
    priority: u8,
    merge: bool,
    other: Option<String>,
}

pub(super) struct Parser<'a> {
    pub files: &'a dyn Files,
    /// `CONFDIR` and the like.
    pub variables: BTreeMap<&'static str, String>,
    pub problems: Vec<Problem>,
    /// The files that are open, one including the next.
    open: Vec<String>,
    files_read: usize,
    bytes_read: usize,
    values: usize,
    /// Sections and lists around what is read, over all open files.
    nested: u32,
}

impl<'a> Parser<'a> {
    pub fn new(files: &'a dyn Files, variables: BTreeMap<&'static str, String>) -> Parser<'a> {
        Parser {
            files,
            variables,
            problems: Vec::new(),
            open: Vec::new(),
            files_read: 0,
            bytes_read: 0,
            values: 0,
            nested: 0,
        }
    }

    /// A file and all that it includes. `Absent`: there is no such file.
    pub fn file(&mut self, path: &str) -> Seen<Section> {
        self.files.read(path).map(|bytes| {
            let mut root = Section::default();
            self.chunk(path, &bytes, 0, false, &mut root);
            root
        })
    }

    fn chunk(&mut self, path: &str, bytes: &[u8], priority: u8, merge: bool, into: &mut Section) {
        let at = FileLine { file: path.to_owned(), line: 1 };
        self.files_read += 1;
        self.bytes_read += bytes.len();
        let refused = if self.open.iter().any(|open| open == path) {
            Some("includes itself")
        } else if self.open.len() > INCLUDES_DEPTH_MAX {
            Some("included too deep")
        } else if self.files_read > FILES_MAX || self.bytes_read > BYTES_MAX {
            Some("more configuration than is read")
        } else if is_template(bytes) {
            Some("a template (Jinja), which only rspamd can fill in")
        } else {
            None
        };
        if let Some(why) = refused {
            self.blind(&at, why, into);
            return;
        }
        self.open.push(path.to_owned());
        let mut chunk = Chunk { text: bytes, position: 0, line: 1, file: path, priority, merge };
        self.section(&mut chunk, into, false);
        self.open.pop();
    }

    fn problem(&mut self, at: &FileLine, text: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { at: at.clone(), text: text.to_owned() });
        }
    }

    fn blind(&mut self, at: &FileLine, why: &str, into: &mut Section) {
        self.problem(at, why);
        into.blinded(Blind::NotUnderstood { what: format!("the configuration at {at}"), text: why.to_owned() });
    }

    /// The inside of a section, to its brace or to the end of the file.
    fn section(&mut self, chunk: &mut Chunk<'_>, into: &mut Section, braced: bool) {
        let from = chunk.at();
        loop {
            chunk.skip(b" \t\r\n;,");
            match chunk.peek() {
                None => {
                    if braced {
                        self.blind(&from, "a section that is not closed", into);
                    }
                    return;
                }
                Some(b'}') => {
                    chunk.next();
                    if braced {
                        return;
                    }
                }
                // A whole file in braces, as JSON has it.
                Some(b'{') if !braced => {
                    chunk.next();
                    self.section(chunk, into, true);
                }
                Some(b'.') => self.directive(chunk, into),
                Some(_) => {
                    self.nested += 1;
                    let understood = self.pair(chunk, into);
                    self.nested -= 1;
                    if !understood {
                        chunk.rest_of_line();
                    }
                }
            }
        }
    }

    /// `key = value`, `key value`, `key {…}`, `key "name" {…}`. False: not understood.
    fn pair(&mut self, chunk: &mut Chunk<'_>, into: &mut Section) -> bool {
        let at = chunk.at();
        self.values += 1;
        if self.nested > NESTED_MAX || self.values > VALUES_MAX {
            self.blind(&at, "nested too deep, or too much of it", into);
            chunk.position = chunk.text.len();
            return true;
        }
        let Some(key) = chunk.word() else {
            self.blind(&at, "neither a key nor a section", into);
            chunk.next();
            return false;
        };
        chunk.skip(b" \t");
        match chunk.peek() {
            Some(b'=' | b':') => {
                chunk.next();
                chunk.skip(b" \t\r\n");
            }
            Some(b'{' | b'[') => {}
            None | Some(b'\n' | b'\r' | b';' | b',' | b'}') => {
                // A brace may stand on the next line.
                let before = (chunk.position, chunk.line);
                chunk.skip(b" \t\r\n");
                if chunk.peek() != Some(b'{') {
                    (chunk.position, chunk.line) = before;
                    self.blind(&at, "a key without a value", into);
                    return true;
                }
            }
            Some(_) if chunk.is_named_section() => {
                self.held(into, &key, at, chunk, |parser, chunk, inner| {
                    parser.nested += 1;
                    parser.pair(chunk, inner);
                    parser.nested -= 1;
                });
                return true;
            }
            Some(_) => {}
        }
        self.value(chunk, into, &key, at);
        true
    }

    fn value(&mut self, chunk: &mut Chunk<'_>, into: &mut Section, key: &str, at: FileLine) {
        if chunk.peek() == Some(b'{') {
            chunk.next();
            self.held(into, key, at, chunk, |parser, chunk, inner| parser.section(chunk, inner, true));
            return;
        }
        let priority = chunk.priority;
        let value = if chunk.peek() == Some(b'[') {
            chunk.next();
            self.nested += 1;
            let items = self.list(chunk, into);
            self.nested -= 1;
            Value::List(items)
        } else {
            match chunk.scalar() {
                Some((bytes, expand)) => Value::Text(untrusted(&if expand { self.expanded(&bytes) } else { bytes })),
                None => {
                    self.blind(&at, "a value that is not closed", into);
                    return;
                }
            }
        };
        put(into, key, Entry { value, at, priority }, chunk.merge);
    }

    /// A new section below `key`, or the one that is there, where this file is merged into the others.
    fn held(
        &mut self,
        into: &mut Section,
        key: &str,
        at: FileLine,
        chunk: &mut Chunk<'_>,
        fill: impl FnOnce(&mut Self, &mut Chunk<'_>, &mut Section),
    ) {
        if chunk.merge
            && let Some(Entry { value: Value::Section(inner), .. }) =
                into.entries.get_mut(key).and_then(|old| old.last_mut())
        {
            fill(self, chunk, inner);
            return;
        }
        let mut inner = Section::default();
        fill(self, chunk, &mut inner);
        put(into, key, Entry { value: Value::Section(inner), at, priority: chunk.priority }, chunk.merge);
    }

    fn list(&mut self, chunk: &mut Chunk<'_>, around: &mut Section) -> Vec<Entry> {
        let from = chunk.at();
        let mut items = Section::default();
        loop {
            chunk.skip(b" \t\r\n;,");
            match chunk.peek() {
                None => {
                    self.blind(&from, "a list that is not closed", around);
                    break;
                }
                Some(b']') => {
                    chunk.next();
                    break;
                }
                Some(_) => {
                    self.values += 1;
                    if self.nested > NESTED_MAX || self.values > VALUES_MAX {
                        self.blind(&from, "nested too deep, or too much of it", around);
                        chunk.position = chunk.text.len();
                        break;
                    }
                    let (before, merge) = (chunk.position, chunk.merge);
                    let at = chunk.at();
                    // Items never merge into each other.
                    chunk.merge = false;
                    self.value(chunk, &mut items, "", at);
                    chunk.merge = merge;
                    if chunk.position == before {
                        chunk.next();
                    }
                }
            }
        }
        if let Some(blind) = items.blind {
            around.blinded(blind);
        }
        items.entries.remove("").unwrap_or_default()
    }

    /// `.include(…) "path"` and its relatives.
    fn directive(&mut self, chunk: &mut Chunk<'_>, into: &mut Section) {
        let at = chunk.at();
        chunk.next();
        let name = chunk.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        chunk.skip(b" \t");
        let mut options = Options { priority: chunk.priority, ..Options::default() };
        if chunk.peek() == Some(b'(') {
            chunk.next();
            options.read(&chunk.take_while(|byte| byte != b')'));
            chunk.next();
            chunk.skip(b" \t");
        }
        options.try_only |= name == b"try_include";
        let path = chunk.scalar();
        match name.as_slice() {
            b"include" | b"try_include" | b"includes" => {}
            name => {
                self.blind(&at, &format!(".{} is not understood", untrusted(name)), into);
                return;
            }
        }
        let Some((path, expand)) = path.filter(|_| options.other.is_none()) else {
            let what = options.other.map_or("an .include without a path".to_owned(), |other| {
                format!("an .include with {other} is not understood")
            });
            self.blind(&at, &what, into);
            return;
        };
        let path = if expand { self.expanded(&path) } else { path };
        match std::str::from_utf8(&path) {
            Ok(path) if path.starts_with('/') => self.include(path, &at, &options, into),
            Ok(_) | Err(_) => self.blind(&at, "an .include whose path is not understood", into),
        }
    }

    fn include(&mut self, path: &str, at: &FileLine, options: &Options, into: &mut Section) {
        let mut paths = vec![path.to_owned()];
        if let Some((directory, pattern)) = path.rsplit_once('/').filter(|_| options.glob) {
            paths = match self.files.list(directory) {
                Seen::Value(names) => {
                    let fits = names.into_iter().filter(|name| matches(pattern.as_bytes(), name.as_bytes()));
                    fits.take(FILES_MAX).map(|name| format!("{directory}/{name}")).collect()
                }
                Seen::Absent => Vec::new(),
                Seen::Unknown(blind) => {
                    self.problem(at, &blind.why());
                    into.blinded(blind);
                    return;
                }
            };
        }
        for path in paths {
            match self.files.read(&path) {
                Seen::Value(bytes) => self.chunk(&path, &bytes, options.priority, options.merge, into),
                Seen::Absent if options.try_only || options.glob => {}
                Seen::Absent => self.problem(at, &format!("{} does not exist", untrusted(path.as_bytes()))),
                Seen::Unknown(blind) => {
                    self.problem(at, &blind.why());
                    into.blinded(blind);
                }
            }
        }
    }

    /// With `$NAME` and `${NAME}` replaced, where the name is one of rspamd's own; any other `$` stays.
    fn expanded(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if *byte != b'$' {
                out.push(*byte);
                continue;
            }
            let braced = after.first() == Some(&b'{');
            let name = after.get(usize::from(braced)..).unwrap_or_default();
            let known = self.variables.iter().filter(|(known, _)| {
                name.starts_with(known.as_bytes()) && (!braced || name.get(known.len()) == Some(&b'}'))
            });
            match known.max_by_key(|(known, _)| known.len()) {
                Some((known, value)) => {
                    out.extend_from_slice(value.as_bytes());
                    rest = after.get(known.len() + 2 * usize::from(braced)..).unwrap_or_default();
                }
                None => out.push(b'$'),
            }
        }
        out
    }
}

/// libucl's rule for a key that is there already.
fn put(into: &mut Section, key: &str, new: Entry, merge: bool) {
    let old = into.entries.entry(key.to_owned()).or_default();
    match old.last_mut() {
        Some(Entry { value: Value::List(items), .. }) if merge => match new.value {
            Value::List(more) => items.extend(more),
            Value::Text(_) | Value::Section(_) => items.push(new),
        },
        Some(last) if last.priority > new.priority => {}
        Some(last) if last.priority < new.priority => *old = vec![new],
        Some(_) | None => old.push(new),
    }
}

/// Rspamd fills in `{= name =}` and `{% … %}` before it reads a file.
fn is_template(bytes: &[u8]) -> bool {
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    (has(b"{=") && has(b"=}")) || (has(b"{%") && has(b"%}"))
}

/// `*` and `?` of glob(7), within one name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Behind the last star, and where in the name it was tried.
    let mut star = None;
    while let Some(byte) = name.get(in_name) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_name));
            }
            Some(b'?') => (at, in_name) = (at + 1, in_name + 1),
            Some(other) if other == byte => (at, in_name) = (at + 1, in_name + 1),
            _ => {
                let Some((behind, tried)) = star else { return false };
                star = Some((behind, tried + 1));
                (at, in_name) = (behind, tried + 1);
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

impl Options {
    fn read(&mut self, text: &[u8]) {
        for part in text.split(|byte| matches!(byte, b';' | b',')) {
            let part = untrusted(part.trim_ascii());
            if part.is_empty() {
                continue;
            }
            let (name, value) = part.split_once(['=', ':']).unwrap_or((&part, "true"));
            let value = value.trim().trim_matches(['"', '\'']);
            match (name.trim(), value) {
                ("try", _) => self.try_only = is_true(value),
                ("glob", _) => self.glob = is_true(value),
                // A number of more than four bits does not fit (`UCL_PRIORITY_BITS`).
                ("priority", _) => self.priority = value.parse::<u8>().unwrap_or(15).min(15),
                ("duplicate", "merge") => self.merge = true,
                ("duplicate", "append") | ("sign" | "url", _) => {}
                (name, _) => self.other = Some(name.to_owned()),
            }
        }
    }
}

/// UCL's words for a truth value.
pub(super) fn is_true(text: &str) -> bool {
    ["true", "yes", "on", "1"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

impl Chunk<'_> {
    fn at(&self) -> FileLine {
        FileLine { file: untrusted(self.file.as_bytes()), line: self.line }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.position += 1;
        self.line += u32::from(byte == b'\n');
        Some(byte)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn rest_of_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.next();
        }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(byte) = self.peek().filter(|byte| belongs(*byte)) {
            taken.push(byte);
            self.next();
        }
        taken
    }

    /// Blanks of this kind, and comments: `# …` to the end of the line, `/* … */` that may hold others.
    fn skip(&mut self, blanks: &[u8]) {
        loop {
            match self.rest() {
                [b'#', ..] => self.rest_of_line(),
                [b'/', b'*', ..] => self.long_comment(),
                [byte, ..] if blanks.contains(byte) => {
                    self.next();
                }
                _ => return,
            }
        }
    }

    fn long_comment(&mut self) {
        let mut open = 0_u32;
        loop {
            let step = match self.rest() {
                [b'/', b'*', ..] => {
                    open += 1;
                    2
                }
                [b'*', b'/', ..] => {
                    open -= 1;
                    2
                }
                [] => return,
                _ => 1,
            };
            for _ in 0..step {
                self.next();
            }
            if open == 0 {
                return;
            }
        }
    }

    /// A key or a section's name.
    fn word(&mut self) -> Option<String> {
        if let Some(quote @ (b'"' | b'\'')) = self.peek() {
            self.next();
            return self.quoted(quote).map(|bytes| untrusted(&bytes));
        }
        let bare = self.take_while(|byte| !byte.is_ascii_whitespace() && !b"=:{}[];,#\"'".contains(&byte));
        (!bare.is_empty()).then(|| untrusted(&bare))
    }

    /// Is what follows a name (or several) and then a brace?
    fn is_named_section(&self) -> bool {
        let line = self.rest().split(|byte| matches!(byte, b'\n' | b';' | b'#' | b'=')).next().unwrap_or_default();
        let mut ahead = Chunk { text: line, position: 0, line: 0, file: "", priority: 0, merge: false };
        while ahead.word().is_some() {
            ahead.skip(b" \t");
        }
        // `${NAME}` is a value.
        ahead.peek() == Some(b'{') && !line.get(..ahead.position).is_some_and(|before| before.ends_with(b"$"))
    }

    /// Behind its opening quote.
    fn quoted(&mut self, quote: u8) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            match self.next()? {
                byte if byte == quote => return Some(text),
                b'\\' if quote == b'"' => match self.next()? {
                    b'n' => text.push(b'\n'),
                    b't' => text.push(b'\t'),
                    b'r' => text.push(b'\r'),
                    other => text.push(other),
                },
                b'\\' if self.peek() == Some(b'\'') => text.extend(self.next()),
                byte => text.push(byte),
            }
        }
    }

    /// A value, and whether variables are replaced in it. `None`: it does not end.
    fn scalar(&mut self) -> Option<(Vec<u8>, bool)> {
        match self.rest() {
            [quote @ (b'"' | b'\''), ..] => {
                let quote = *quote;
                self.next();
                self.quoted(quote).map(|text| (text, quote == b'"'))
            }
            [b'<', b'<', first, ..] if first.is_ascii_uppercase() => self.heredoc().map(|text| (text, true)),
            _ => {
                let mut braces = 0_u32;
                let mut text = Vec::new();
                while let Some(byte) = self.peek() {
                    match byte {
                        b'{' | b'[' => braces += 1,
                        b'}' | b']' if braces > 0 => braces -= 1,
                        b'\n' | b'\r' | b';' | b',' | b'#' | b'}' | b']' => break,
                        _ => {}
                    }
                    text.push(byte);
                    self.next();
                }
                Some((text.trim_ascii().to_vec(), true))
            }
        }
    }

    /// `<<EOD`, lines, and a line `EOD`.
    fn heredoc(&mut self) -> Option<Vec<u8>> {
        self.next();
        self.next();
        let mark = self.take_while(|byte| byte.is_ascii_uppercase());
        self.rest_of_line();
        self.next();
        let mut text: Vec<u8> = Vec::new();
        loop {
            self.peek()?;
            let line = self.take_while(|byte| byte != b'\n');
            if line.strip_suffix(b";").unwrap_or(&line).trim_ascii_end() == mark {
                return Some(text);
            }
            self.next();
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend(line);
        }
    }
}

#[cfg(test)]
#[path = "ucl_tests.rs"]
mod tests;
