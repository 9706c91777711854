//! Wrapped prose, unbroken commands and colour, on any writer. What stands in the text is `text.rs`'s business.
//!
//! Every string that goes through here is escaped ([`printable`]); colour codes are the only escapes written.

use crate::Options;
use crate::safe::{columns_of, printable};
use std::io;

/// Longer lines are hard to read, however wide the terminal.
const PROSE_COLUMNS_MAX: usize = 100;
/// Narrower, and every line is a word.
const PROSE_COLUMNS_MIN: usize = 40;

/// How a piece of text looks where colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    Faint,
    /// Broken, critical, error.
    Alarm,
    /// Degraded, warning, unknown.
    Caution,
    /// Healthy.
    Calm,
    /// Commands and configuration to copy.
    Code,
}

impl Style {
    /// The parameters of SGR (ECMA-48), from the 16 colours that every terminal has.
    fn sgr(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Faint => "2",
            Style::Alarm => "1;31",
            Style::Caution => "1;33",
            Style::Calm => "1;32",
            Style::Code => "36",
        }
    }

    /// The text in this style, where colours are wanted; the text itself has to be safe.
    pub fn paint(self, safe: &str, colour: bool) -> String {
        if colour && self != Style::Plain && !safe.is_empty() {
            format!("\x1b[{}m{safe}\x1b[0m", self.sgr())
        } else {
            safe.to_owned()
        }
    }
}

/// Some words in one style.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    pub style: Style,
    pub text: &'a str,
}

impl<'a> Piece<'a> {
    pub fn new(style: Style, text: &'a str) -> Self {
        Piece { style, text }
    }

    pub fn plain(text: &'a str) -> Self {
        Piece { style: Style::Plain, text }
    }
}

/// A place to write text on.
pub struct Screen<'a> {
    out: &'a mut dyn io::Write,
    colour: bool,
    columns: usize,
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("colour", &self.colour).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    pub fn new(out: &'a mut dyn io::Write, options: &Options) -> Self {
        let columns = usize::from(options.columns).clamp(PROSE_COLUMNS_MIN, PROSE_COLUMNS_MAX);
        Screen { out, colour: options.colour, columns }
    }

    pub fn blank(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// One line that is never broken: a command, a path, a configuration line.
    pub fn verbatim(&mut self, indent: usize, style: Style, text: &str) -> io::Result<()> {
        write!(self.out, "{:indent$}", "")?;
        self.paint(style, &printable(text))?;
        self.blank()
    }

    /// One line of pieces in their styles, never broken.
    pub fn line(&mut self, indent: usize, pieces: &[(Style, String)]) -> io::Result<()> {
        write!(self.out, "{:indent$}", "")?;
        for (at, (style, text)) in pieces.iter().enumerate() {
            if at == 1 || at + 1 == pieces.len() {
                self.out.write_all(b" ")?;
            }
            self.paint(*style, &printable(text))?;
        }
        self.blank()
    }

    /// Prose: `first` stands before the first line, as many blanks before the others.
    ///
    /// Words are never broken, and what stands between backticks is one word.
    pub fn prose(&mut self, first: &str, pieces: &[Piece<'_>]) -> io::Result<()> {
        let first = printable(first);
        let hang = columns_of(&first);
        write!(self.out, "{first}")?;
        let mut column = hang;
        let mut fresh = true;
        for piece in pieces {
            let text = printable(piece.text);
            // The words of this piece on the current line, painted in one go.
            let mut run = String::new();
            for word in words(&text) {
                let width = columns_of(word);
                if !fresh && column + 1 + width > self.columns {
                    self.paint(piece.style, &run)?;
                    run.clear();
                    write!(self.out, "\n{:hang$}", "")?;
                    column = hang;
                    fresh = true;
                }
                if !fresh {
                    if run.is_empty() {
                        self.out.write_all(b" ")?;
                    } else {
                        run.push(' ');
                    }
                    column += 1;
                }
                run.push_str(word);
                column += width;
                fresh = false;
            }
            self.paint(piece.style, &run)?;
        }
        self.blank()
    }

    fn paint(&mut self, style: Style, safe: &str) -> io::Result<()> {
        write!(self.out, "{}", style.paint(safe, self.colour))
    }
}

/// Splits at blanks, but not between backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start_matches(' ');
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut quoted = false;
        let end = rest.find(|c| {
            if c == '`' {
                quoted = !quoted;
            }
            c == ' ' && !quoted
        });
        // A backtick that is never closed quotes nothing.
        let end = if quoted { rest.find(' ') } else { end }.unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail.trim_start_matches(' ');
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(columns: u16, first: &str, text: &str) -> String {
        let mut out = Vec::new();
        let options = Options { columns, ..Options::default() };
        Screen::new(&mut out, &options).prose(first, &[Piece::plain(text)]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prose_is_wrapped_under_its_first_word() {
        let text = "one two three four five six seven eight nine ten eleven";
        assert_eq!(prose(40, "  - ", text), "  - one two three four five six seven\n    eight nine ten eleven\n");
    }

    #[test]
    fn commands_between_backticks_stay_whole() {
        let text = "run now the command `systemctl restart postfix@-.service` and wait";
        assert_eq!(prose(40, "", text), "run now the command\n`systemctl restart postfix@-.service`\nand wait\n");
        let open = "a ` that nobody closes does not keep the rest of the line together";
        assert!(prose(40, "", open).lines().all(|line| line.len() <= 40));
    }

    #[test]
    fn a_long_path_is_not_broken() {
        let path = format!("/{}", "x".repeat(70));
        assert_eq!(prose(40, "", &format!("see {path} there")), format!("see\n{path}\nthere\n"));
    }
}
