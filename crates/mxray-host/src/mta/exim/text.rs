//! Exim's configuration as text: includes, conditions, macros and continued lines, resolved to logical lines. Pure.
//!
//! The order is Exim's own (specification, chapter 6): a physical line is skipped or kept by the conditions around it,
//! macros are replaced in it, and only then it is joined with the line before. What the lines mean is `sections`' matter.

use mxray_model::evidence::FileLine;
use mxray_model::{Seen, text::untrusted};

/// Files included by files. Exim has no limit but its memory.
const DEPTH_MAX: usize = 16;
/// Files in all; a split configuration that includes one file for each domain stays below.
const FILES_MAX: usize = 2000;
/// A configuration with all its files. Debian's is 20 KB, the largest of hosting panels some hundred.
const BYTES_MAX: usize = 8 << 20;
/// Macros defined; Debian's own configuration has 40.
const MACROS_MAX: usize = 2000;
/// What replacing macros may cost in all, in bytes looked through: lines times macros.
const REPLACING_MAX: usize = 64 << 20;
/// The longest logical line, with its macros replaced.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// Troubles that are kept; the first ones say what is wrong.
const TROUBLES_MAX: usize = 100;

/// A logical line and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub at: FileLine,
    pub text: String,
}

/// A line that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub at: FileLine,
    pub text: String,
}

/// A configuration without includes, conditions and macros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    pub lines: Vec<Line>,
    pub macros: Vec<Macro>,
    pub troubles: Vec<Trouble>,
}

/// `NAME = value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Macro {
    pub name: String,
    pub value: String,
    pub at: FileLine,
}

/// Gives the content of a file.
pub(crate) type Load<'a> = &'a dyn Fn(&str) -> Seen<Vec<u8>>;

/// Reads the configuration that begins with this content of `file`.
pub(crate) fn read(file: &str, content: &[u8], load: Load<'_>) -> Text {
    let mut reader =
        Reader { load, out: Text::default(), open: None, conditions: Vec::new(), files: 1, bytes: 0, work: 0 };
    reader.file(file, content, 0);
    let end = FileLine { file: file.to_owned(), line: 1 };
    if let Some(line) = reader.open.take() {
        reader.complete(line);
    }
    if !reader.conditions.is_empty() {
        reader.trouble(&end, "an .ifdef or .ifndef has no .endif".to_owned());
    }
    reader.out
}

/// One `.ifdef` that is open.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// The lines here are read.
    holds: bool,
    /// One of its branches was read already, or all of it stands in a branch that is not.
    done: bool,
}

struct Reader<'a> {
    load: Load<'a>,
    out: Text,
    /// A logical line that goes on.
    open: Option<Line>,
    conditions: Vec<Condition>,
    files: usize,
    bytes: usize,
    work: usize,
}

impl Reader<'_> {
    fn trouble(&mut self, at: &FileLine, text: String) {
        if self.out.troubles.len() < TROUBLES_MAX {
            self.out.troubles.push(Trouble { at: at.clone(), text });
        }
    }

    fn file(&mut self, file: &str, content: &[u8], depth: usize) {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        for (index, bytes) in content.split(|byte| *byte == b'\n').enumerate() {
            let at = FileLine { file: file.to_owned(), line: u32::try_from(index + 1).unwrap_or(u32::MAX) };
            self.bytes += bytes.len();
            if self.bytes > BYTES_MAX {
                return self
                    .trouble(&at, format!("the configuration is longer than {BYTES_MAX} bytes; the rest is not read"));
            }
            self.physical(&at, &shown(bytes), depth);
        }
    }

    fn physical(&mut self, at: &FileLine, line: &str, depth: usize) {
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || self.condition(at, trimmed) {
            return;
        }
        if self.conditions.iter().any(|condition| !condition.holds) {
            return;
        }
        let defined = if self.open.is_none() {
            name_of_macro(trimmed).map_or(0, |name| line.len() - trimmed.len() + name.len())
        } else {
            0
        };
        let Some(text) = self.replaced(line, defined) else {
            return self.trouble(
                at,
                format!("macros make this line longer than {LINE_BYTES_MAX} bytes, or all of them take too long"),
            );
        };
        let trimmed = text.trim_start();
        if let Some(path) = directive(trimmed, ".include_if_exists") {
            return self.include(at, path, depth, true);
        }
        if let Some(path) = directive(trimmed, ".include") {
            return self.include(at, path, depth, false);
        }
        let text = text.trim_end();
        let (part, goes_on) = text.strip_suffix('\\').map_or((text, false), |part| (part, true));
        let mut whole = match self.open.take() {
            Some(mut open) => {
                open.text.push_str(part.trim_start());
                open
            }
            None if part.trim().is_empty() && !goes_on => return,
            None => Line { at: at.clone(), text: part.to_owned() },
        };
        if whole.text.len() > LINE_BYTES_MAX {
            self.trouble(at, format!("a line longer than {LINE_BYTES_MAX} bytes; the rest of it is not read"));
            whole.text = String::new();
        } else if goes_on {
            self.open = Some(whole);
            return;
        }
        self.complete(whole);
    }

    /// A line that decides which lines are read.
    fn condition(&mut self, at: &FileLine, line: &str) -> bool {
        let reads = |conditions: &[Condition]| conditions.iter().all(|condition| condition.holds);
        let asked = |word: &str| directive(line, word);
        if let Some((names, wanted)) =
            asked(".ifdef").map(|names| (names, true)).or(asked(".ifndef").map(|names| (names, false)))
        {
            let outside = reads(&self.conditions);
            let holds = outside && self.names_one(names) == wanted;
            self.conditions.push(Condition { holds, done: holds || !outside });
            return true;
        }
        let next =
            asked(".elifdef").map(|names| Some((names, true))).or(asked(".elifndef").map(|names| Some((names, false))));
        let next = next.or(asked(".else").map(|_| None));
        if let Some(next) = next {
            let names_one = next.is_none_or(|(names, wanted)| self.names_one(names) == wanted);
            match self.conditions.last_mut() {
                Some(last) => {
                    last.holds = !last.done && names_one;
                    last.done |= last.holds;
                }
                None => self.trouble(at, ".else without .ifdef".to_owned()),
            }
            return true;
        }
        if asked(".endif").is_some() {
            if self.conditions.pop().is_none() {
                self.trouble(at, ".endif without .ifdef".to_owned());
            }
            return true;
        }
        false
    }

    /// Does any macro stand in these words? Exim asks whether replacing macros changes the line.
    fn names_one(&self, names: &str) -> bool {
        self.out.macros.iter().any(|known| names.contains(&known.name)) || names.split_whitespace().any(is_built_in)
    }

    fn include(&mut self, at: &FileLine, path: &str, depth: usize, optional: bool) {
        let path = path.trim().trim_matches('"');
        if depth == DEPTH_MAX || self.files == FILES_MAX {
            return self.trouble(at, format!("{path} is not read: more than {DEPTH_MAX} files include each other, or more than {FILES_MAX} in all"));
        }
        self.files += 1;
        match (self.load)(path) {
            Seen::Value(content) => self.file(path, &content, depth + 1),
            Seen::Absent if optional => {}
            Seen::Absent => self.trouble(at, format!("{path} does not exist: Exim cannot start")),
            Seen::Unknown(blind) => self.trouble(at, format!("{path} could not be read: {}", blind.why())),
        }
    }

    /// The line with its macros replaced, in the order of their definitions; what one puts in, later ones replace again.
    fn replaced(&mut self, line: &str, from: usize) -> Option<String> {
        let (kept, mut text) = (line.get(..from).unwrap_or_default(), line.get(from..).unwrap_or_default().to_owned());
        for known in &self.out.macros {
            self.work += text.len() + 1;
            if self.work > REPLACING_MAX {
                return None;
            }
            let count = text.matches(&known.name).count();
            if count == 0 {
                continue;
            }
            if text.len() + count * known.value.len() > LINE_BYTES_MAX {
                return None;
            }
            text = text.replace(&known.name, &known.value);
        }
        Some(format!("{kept}{text}"))
    }

    fn complete(&mut self, line: Line) {
        let trimmed = line.text.trim();
        let Some(name) = name_of_macro(trimmed) else {
            return self.out.lines.push(Line { text: trimmed.to_owned(), at: line.at });
        };
        let value = trimmed.get(name.len()..).unwrap_or_default().trim_start().trim_start_matches('=').trim();
        let again = trimmed.get(name.len()..).is_some_and(|rest| rest.trim_start().starts_with("=="));
        let (name, value) = (name.to_owned(), value.to_owned());
        let room = self.out.macros.len() < MACROS_MAX;
        match self.out.macros.iter_mut().find(|known| known.name == name) {
            Some(known) if again => known.value = value,
            Some(_) => self.trouble(&line.at, format!("the macro {name} is defined already: Exim cannot start")),
            None if !room => {
                self.trouble(&line.at, format!("more than {MACROS_MAX} macros; {name} is not defined"));
            }
            None => self.out.macros.push(Macro { name, value, at: line.at }),
        }
    }
}

/// Names that Exim defines itself (specification, 6.9): of what a current build has. Which TLS library it has is not
/// known, nor its optional lookups.
fn is_built_in(name: &str) -> bool {
    const NOT_IN_EACH: &[&str] = &["_HAVE_SPF", "_HAVE_DMARC", "_HAVE_ARC", "_HAVE_OPENSSL", "_HAVE_PERL"];
    let is_its = ["_HAVE_", "_OPT_", "_DRIVER_", "_EXP_", "_LOG_"].iter().any(|prefix| name.starts_with(prefix));
    is_its && !NOT_IN_EACH.contains(&name)
}

/// What follows a directive, where the line is one.
fn directive<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// `NAME` of `NAME = value`: a name with a capital in front, and an equals sign.
fn name_of_macro(line: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let name = line.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))?;
    line.get(end..)?.trim_start().starts_with('=').then_some(name)
}

/// Foreign bytes as safe text, tabs as the white space that they are.
fn shown(bytes: &[u8]) -> String {
    let plain: Vec<u8> =
        bytes.iter().map(|byte| if matches!(byte, b'\t' | b'\r' | 0x0b | 0x0c) { b' ' } else { *byte }).collect();
    // `untrusted` clips what is longer than anything to be shown: in pieces, nothing is lost.
    let text = String::from_utf8_lossy(&plain);
    let mut out = String::with_capacity(text.len());
    let mut piece = String::new();
    for (index, c) in text.chars().enumerate() {
        piece.push(c);
        if (index + 1) % 1000 == 0 {
            out.push_str(&untrusted(piece.as_bytes()));
            piece.clear();
        }
    }
    out.push_str(&untrusted(piece.as_bytes()));
    out
}
