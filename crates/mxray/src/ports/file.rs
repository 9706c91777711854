//! The assignments file (`mxray-ports.toml`): where it is, how its text becomes [`Assignments`], and what can be wrong with it.
//!
//! Every mistake is one complaint, with file, line and what would be right; all of them are made at once. What two entries do to
//! each other is in `clash.rs`. Nothing is guessed: a file with a mistake is not used at all.

mod clash;
mod entry;
#[cfg(test)]
mod tests;
pub mod words;

use crate::config::Config;
use crate::config::complaint::{Complaint, Shown, worded};
use crate::config::keys::{self, Wrong};
use crate::config::read::{self, Refused, line_of};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::output::{ColourWish, colour_on_stderr};
use mxray_model::evidence::{Assignments, FileLine};
use mxray_model::nearest::nearest;
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Its name, wherever it lies.
pub const NAME: &str = "mxray-ports.toml";
/// Where it lies on a host.
pub const SYSTEM_FILE: &str = "/etc/mxray/mxray-ports.toml";
/// The form that this version reads and writes.
pub const VERSION: i64 = 1;
/// A port has 65,535 numbers; a file with more entries was made by a program that went wrong.
const ENTRIES_MAX: usize = 4096;

const TOP_KEYS: [&str; 3] = ["version", "service", "forbidden"];

/// What was found of it.
#[derive(Debug)]
pub enum Found {
    Read(Assignments),
    /// None was named, and none lies at a usual place.
    None,
    /// It is there, and this user may not read it.
    NotPermitted(Blind),
    /// It is named and not there, or something is wrong with it.
    Wrong(Vec<Complaint>),
}

/// Which file is meant, and whether somebody named it.
fn places(named: Option<&Path>, config: &Config, here_too: bool) -> (Vec<PathBuf>, bool) {
    match named.map(Path::to_owned).or_else(|| config.settings.ports.assignments.clone()) {
        Some(file) => (vec![file], true),
        None if here_too => (vec![PathBuf::from(SYSTEM_FILE), PathBuf::from(NAME)], false),
        None => (vec![PathBuf::from(SYSTEM_FILE)], false),
    }
}

/// Looks for the file: `named` by `--file`, else by the configuration, else at the usual places. `here_too`: the working directory
/// is one of them; not for `doctor`, which must not believe whatever lies where somebody happens to stand.
pub fn find(named: Option<&Path>, config: &Config, here_too: bool) -> Found {
    let (files, is_named) = places(named, config, here_too);
    for file in files {
        let text = if is_named { read::text_of_named(&file) } else { read::text_of_usual(&file) };
        match text {
            Ok(text) => {
                let (assignments, complaints) = parse(&file, &text);
                return if complaints.is_empty() { Found::Read(assignments) } else { Found::Wrong(complaints) };
            }
            Err(Refused::NotThere) if !is_named => {}
            Err(Refused::NotPermitted(why)) => {
                let what = format!("read the assignments file {} ({})", printable(&file), untrusted(why.as_bytes()));
                let needs = "root, or a file that this user may read".to_owned();
                return Found::NotPermitted(Blind::NotPermitted { what, needs });
            }
            Err(refused) => return Found::Wrong(vec![refused.into_complaint(&file)]),
        }
    }
    Found::None
}

/// For commands that are about the file: what is wrong with it ends them.
///
/// # Errors
/// `Config` with everything that is wrong; `Unanswered` where it may not be read.
pub fn wanted(
    named: Option<&Path>,
    config: &Config,
    environment: &Environment,
) -> Result<Option<Assignments>, Failure> {
    match find(named, config, true) {
        Found::Read(assignments) => Ok(Some(assignments)),
        Found::None => Ok(None),
        Found::NotPermitted(blind) => Err(Failure::Unanswered(blind.why())),
        Found::Wrong(complaints) => {
            Err(Failure::Config(worded(&complaints, colour_on_stderr(ColourWish::Auto, environment))))
        }
    }
}

/// For an examination, which goes on without it and says so.
pub fn evidence(config: &Config) -> Seen<Assignments> {
    match find(None, config, false) {
        Found::Read(assignments) => Seen::Value(assignments),
        Found::None => Seen::Absent,
        Found::NotPermitted(blind) => Seen::Unknown(blind),
        Found::Wrong(complaints) => {
            let first = complaints.first().map(ToString::to_string).unwrap_or_default();
            let more = match complaints.len() {
                0 | 1 => String::new(),
                more => format!(" (and {} more)", more - 1),
            };
            Seen::Unknown(Blind::NotUnderstood {
                what: "the assignments file".to_owned(),
                text: format!("{first}{more}"),
            })
        }
    }
}

/// What the text says, and everything that is wrong with it.
pub fn parse(file: &Path, text: &str) -> (Assignments, Vec<Complaint>) {
    let mut reading = Reading { file, text, complaints: Vec::new() };
    let mut found = Assignments { file: printable(file), ..Assignments::default() };
    match DeTable::parse(text) {
        Ok(root) => reading.root(root.get_ref(), &mut found),
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            reading.complain(at, error.message().lines().next().unwrap_or("not TOML"), None);
        }
    }
    reading.complaints.sort_by_key(Complaint::place);
    (found, reading.complaints)
}

fn printable(file: &Path) -> String {
    untrusted(file.as_os_str().as_bytes())
}

/// One text, and what was found wrong so far.
struct Reading<'a> {
    file: &'a Path,
    text: &'a str,
    complaints: Vec<Complaint>,
}

impl Reading<'_> {
    fn complain(&mut self, at: Range<usize>, what: &str, help: Option<String>) {
        self.complaints.push(Complaint::new(self.file, self.text, at, what, help, Shown::Whole));
    }

    /// The value, or a complaint.
    fn take<T>(&mut self, result: Result<T, Wrong>) -> Option<T> {
        result.map_err(|wrong| self.complain(wrong.at, &wrong.what, wrong.help)).ok()
    }

    fn line(&self, at: &Range<usize>) -> FileLine {
        FileLine { file: printable(self.file), line: u32::try_from(line_of(self.text, at.start)).unwrap_or(u32::MAX) }
    }

    fn root(&mut self, root: &DeTable<'_>, found: &mut Assignments) {
        match root.get("version") {
            None => self.complain(0..0, "no `version`", Some(format!("begin the file with: version = {VERSION}"))),
            Some(version) => {
                let number = keys::integer(version);
                match self.take(number) {
                    None | Some(VERSION) => {}
                    Some(other) => {
                        let help = format!("this mxray reads version {VERSION}");
                        self.complain(version.span(), &format!("version {other} is not known"), Some(help));
                        // Its keys may mean something else: nothing more is said of them.
                        return;
                    }
                }
            }
        }
        self.unknown_keys(root, &TOP_KEYS, "this file");
        let services = self.tables(root, "service");
        for table in services {
            if let Some((name, assignment)) = self.service(table) {
                match found.services.get(&name) {
                    Some(first) => {
                        let what = format!("a second service of the name `{name}`");
                        let help = format!("the first one stands at line {}; names are unique", first.at.line);
                        self.complain(table.span(), &what, Some(help));
                    }
                    None => {
                        found.services.insert(name, assignment);
                    }
                }
            }
        }
        let forbidden = self.tables(root, "forbidden");
        for table in forbidden {
            if let Some(entry) = self.forbidden(table) {
                let key = format!("{} {}", entry.protocol, entry.port);
                match found.forbidden.get(&key) {
                    Some(first) => {
                        let help = format!("the first time at line {}", first.at.line);
                        self.complain(table.span(), &format!("{key} is forbidden twice"), Some(help));
                    }
                    None => {
                        found.forbidden.insert(key, entry);
                    }
                }
            }
        }
        for clash in clash::all(found) {
            let at = self.start_of(clash.line);
            self.complain(at, &clash.what, Some(clash.help));
        }
    }

    /// The `[[name]]` tables.
    fn tables<'t, 'i>(&mut self, root: &'t DeTable<'i>, name: &str) -> Vec<&'t Spanned<DeValue<'i>>> {
        let Some(value) = root.get(name) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let what = format!("`{name}` is a list of tables, not {}", value.get_ref().type_str());
            self.complain(value.span(), &what, Some(format!("write [[{name}]] above each entry")));
            return Vec::new();
        };
        if items.len() > ENTRIES_MAX {
            self.complain(value.span(), &format!("more than {ENTRIES_MAX} entries of [[{name}]]"), None);
            return Vec::new();
        }
        let (tables, others): (Vec<_>, Vec<_>) = items.iter().partition(|item| item.get_ref().as_table().is_some());
        for other in others {
            let what = format!("an entry of `{name}` is a table, not {}", other.get_ref().type_str());
            self.complain(other.span(), &what, Some(format!("write [[{name}]] above each entry")));
        }
        tables
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], place: &str) {
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys of {place} are {}", known.join(", ")),
            };
            self.complain(key.span(), &format!("unknown key `{name}` in {place}"), Some(help));
        }
    }

    /// An empty place at the beginning of a line.
    fn start_of(&self, line: u32) -> Range<usize> {
        let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let start = self.text.split_inclusive('\n').take(before).map(str::len).sum();
        let length = self.text.get(start..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
        start..start + length
    }
}
