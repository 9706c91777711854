//! The command line with which a service is started next: its unit's, with the variables of the files that the unit names, or
//! the variables alone where an init script puts the line together.

use super::found::number;
use super::place::Place;
use super::shell::{self, Variables};
use crate::units::boot::{Boot, Command, Environment};
use mxray_model::Seen;
use mxray_model::evidence::FileLine;

/// Most words of a command line.
const WORDS_MAX: usize = 1_000;

/// One word, and the line that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub at: FileLine,
}

/// A command line and the variables around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub words: Vec<Word>,
    pub variables: Variables,
    /// Where the line stands; the variables' own file where there is no unit.
    pub at: Option<FileLine>,
    /// A variable that it uses is set in a way that is not understood.
    pub puzzling: Vec<(String, FileLine)>,
}

/// The command line of the first of `services` that has a unit; without one, `usual`, with the variables of `files`.
pub(super) fn line(place: &Place, boot: &Boot, services: &[&str], usual: &str, files: &[&str]) -> CommandLine {
    let command = match boot.command(services) {
        Seen::Value(command) => command,
        // A unit that cannot be read is told by its start.
        Seen::Absent | Seen::Unknown(_) => {
            let environment = files.iter().map(|file| Environment::File((*file).to_owned())).collect();
            Command { text: usual.to_owned(), at: None, environment }
        }
    };
    let mut found = CommandLine { at: command.at.clone(), ..CommandLine::default() };
    for environment in &command.environment {
        match environment {
            Environment::Assigned(text, at) => {
                for word in shell::words(text) {
                    if let Some((name, value)) = word.split_once('=') {
                        let set = (Some(value.to_owned()), at.file.clone(), at.line);
                        found.variables.insert(name.to_owned(), set);
                    }
                }
            }
            Environment::File(path) => {
                if let Seen::Value(text) = place.text(path) {
                    shell::read(&text, path, &mut found.variables);
                }
            }
        }
    }
    let at = command.at.unwrap_or_else(|| FileLine { file: first(files), line: 0 });
    for word in command.text.split_whitespace().take(WORDS_MAX) {
        found.expand(word, &at);
    }
    found
}

fn first(files: &[&str]) -> String {
    files.first().map(|file| (*file).to_owned()).unwrap_or_default()
}

impl CommandLine {
    /// `$NAME` alone becomes words, `${NAME}` within a word text (systemd.service(5), Command lines).
    fn expand(&mut self, word: &str, at: &FileLine) {
        let plain = word.trim_matches(['"', '\'']);
        let alone = plain.strip_prefix('$').filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        if let Some(name) = alone.filter(|name| !name.is_empty()) {
            match self.variables.get(name).cloned() {
                Some((Some(value), file, line)) => {
                    let at = FileLine { file, line };
                    self.words.extend(shell::words(&value).into_iter().map(|text| Word { text, at: at.clone() }));
                }
                Some((None, file, line)) => self.puzzling.push((name.to_owned(), FileLine { file, line })),
                None => {}
            }
            return;
        }
        let mut text = plain.to_owned();
        let mut place = at.clone();
        while let Some((before, rest)) = text.split_once("${") {
            let Some((name, behind)) = rest.split_once('}') else { break };
            let value = match self.variables.get(name) {
                Some((Some(value), file, line)) => {
                    place = FileLine { file: file.clone(), line: *line };
                    value.replace("${", "$ {")
                }
                Some((None, file, line)) => {
                    self.puzzling.push((name.to_owned(), FileLine { file: file.clone(), line: *line }));
                    return;
                }
                None => String::new(),
            };
            text = format!("{before}{value}{behind}");
        }
        self.words.push(Word { text, at: place });
    }

    /// The values of a long option (`--port=25`, `--port 25`) or of a short one (`-p25`, `-p 25`); empty where none is given.
    pub fn values(&self, long: &[&str], short: Option<char>) -> Vec<Word> {
        let mut found = Vec::new();
        let mut words = self.words.iter().skip(1).peekable();
        while let Some(word) = words.next() {
            let bare = word
                .text
                .strip_prefix("--")
                .map(|rest| rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v))));
            let value = match bare {
                Some((name, value)) if long.contains(&name) => Some(value.map(str::to_owned)),
                Some(_) => None,
                None => short.and_then(|short| {
                    let rest = word.text.strip_prefix('-')?.strip_prefix(short)?;
                    Some((!rest.is_empty()).then(|| rest.trim_start_matches('=').to_owned()))
                }),
            };
            match value {
                Some(Some(text)) => found.push(Word { text, at: word.at.clone() }),
                Some(None) => {
                    let next = words.next_if(|next| !next.text.starts_with('-'));
                    let empty = || Word { text: String::new(), at: word.at.clone() };
                    found.push(next.cloned().unwrap_or_else(empty));
                }
                None => {}
            }
        }
        found
    }

    pub fn has(&self, option: &str) -> bool {
        self.words.iter().any(|word| word.text == option)
    }
}

/// The lines of a `Name value` or `Name: value` file without comments: name, value, number.
pub(super) fn settings<'a>(text: &'a str, separators: &'a [char]) -> impl Iterator<Item = (&'a str, &'a str, u32)> {
    const LINES_MAX: usize = 100_000;
    text.lines().take(LINES_MAX).enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return None;
        }
        let (name, value) = line.split_once(separators)?;
        let value = value.trim().trim_matches(['"', '\'']);
        Some((name.trim(), value, number(index)))
    })
}
