//! How a session looks: what was said with its direction and time, what a code means, and notes of our own.
//!
//! Everything of the server is escaped. While a line is being edited, output goes above it.

use super::editor::Typing;
use crate::output::Output;
use mxray_model::evidence::SessionProtocol;
use mxray_model::session::Raw;
use mxray_render::{Style, codes, printable};
use mxray_wire::dialogue::{Answered, Cut, Heard, Meaning, challenge_text};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

/// Columns of a time, so that what was said stands below each other.
const TIME_COLUMNS: usize = 9;

/// Where a session is shown.
#[derive(Debug)]
pub struct Screen<'a> {
    out: &'a mut Output,
    typing: Option<Typing>,
    /// A line is being edited.
    pub editing: bool,
    pub times: bool,
    /// What we send is shown, because nobody sees it otherwise.
    pub echo: bool,
    explained: BTreeSet<String>,
    failed: Option<io::Error>,
}

impl<'a> Screen<'a> {
    pub fn new(out: &'a mut Output, typing: Option<Typing>) -> Self {
        let echo = typing.is_none();
        Screen { out, typing, editing: false, times: true, echo, explained: BTreeSet::new(), failed: None }
    }

    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Output failed: nobody reads any more, or a disk is full.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// A line of the server, and what it means.
    pub fn heard(&mut self, heard: &Heard, protocol: SessionProtocol) {
        if let (true, Cut::Rest(more)) = (heard.text.is_empty(), heard.cut) {
            self.note(Style::Caution, &format!("that line had {more} more bytes"));
        } else {
            let text = Raw(heard.text.clone()).to_string();
            let style = match &heard.meaning {
                Meaning::Answer(answered) if !answered.good => Style::Caution,
                _ => Style::Plain,
            };
            let remark = match heard.cut {
                Cut::CrLf => String::new(),
                Cut::Lf => " (ends with LF alone)".to_owned(),
                Cut::Long => " … (the line goes on)".to_owned(),
                Cut::Rest(more) => format!(" … ({more} more bytes)"),
                Cut::Open => " (without a line ending)".to_owned(),
            };
            let time = self.time(heard.after);
            self.put(&[(Style::Faint, "< "), (Style::Faint, &time), (style, &text), (Style::Faint, &remark)]);
        }
        match &heard.meaning {
            Meaning::Answer(answered) => self.explain(answered, protocol),
            Meaning::Asks(challenge) => {
                if let Some(asked) = challenge_text(challenge) {
                    self.put_below(&format!("it asks: {asked}"));
                }
            }
            Meaning::Foreign => self.put_below("no reply of this protocol"),
            Meaning::Part => {}
        }
    }

    /// What came without a line ending, and may be all that comes.
    pub fn partial(&mut self, text: &[u8]) {
        let text = Raw(text.to_vec()).to_string();
        let blank = self.time(Duration::ZERO).replace(|c: char| c != ' ', " ");
        self.put(&[
            (Style::Faint, "< "),
            (Style::Faint, &blank),
            (Style::Plain, &text),
            (Style::Faint, " (no line ending so far)"),
        ]);
    }

    /// What goes out, secrets masked.
    pub fn said(&mut self, masked: &[u8]) {
        for line in masked.split_inclusive(|byte| *byte == b'\n') {
            let (text, odd) = match line.strip_suffix(b"\r\n") {
                Some(plain) => (plain, false),
                None => (line, true),
            };
            let blank = self.time(Duration::ZERO).replace(|c: char| c != ' ', " ");
            let text = Raw::from(text).to_string();
            let remark = if odd { " (these bytes alone)" } else { "" };
            self.put(&[(Style::Faint, "> "), (Style::Faint, &blank), (Style::Code, &text), (Style::Faint, remark)]);
        }
    }

    /// Something that mxray has to say.
    pub fn note(&mut self, style: Style, text: &str) {
        self.put(&[(Style::Faint, "* "), (style, &printable(text))]);
    }

    /// Text that is complete as it is, line by line.
    pub fn page(&mut self, text: &str) {
        for line in text.lines() {
            self.put(&[(Style::Plain, &printable(line))]);
        }
    }

    /// A code that says yes is explained once, one that says no each time.
    fn explain(&mut self, answered: &Answered, protocol: SessionProtocol) {
        let mut parts = Vec::new();
        if let Some(code) = answered.code {
            parts.extend(codes::reply_code(code).map(|meaning| (code.to_string(), meaning)));
        } else {
            parts.extend(
                codes::status_word(protocol, &answered.status).map(|meaning| (answered.status.clone(), meaning)),
            );
        }
        if let Some(enhanced) = answered.enhanced.filter(|enhanced| (enhanced.subject, enhanced.detail) != (0, 0)) {
            parts.extend(codes::enhanced_code(enhanced).map(|meaning| (enhanced.to_string(), meaning)));
        }
        let word = answered.response_code.split(' ').next().unwrap_or_default();
        parts.extend(codes::response_code(protocol, word).map(|meaning| (word.to_owned(), meaning)));
        if answered.good {
            parts.retain(|(code, _)| self.explained.insert(code.clone()));
        }
        if !parts.is_empty() {
            let parts: Vec<String> = parts.into_iter().map(|(code, meaning)| format!("{code}: {meaning}")).collect();
            self.put_below(&parts.join(" · "));
        }
        if answered.verb.is_none() {
            self.put_below("nothing had asked for it");
        }
    }

    fn put_below(&mut self, text: &str) {
        let blank = self.time(Duration::ZERO).replace(|c: char| c != ' ', " ");
        self.put(&[(Style::Faint, "  "), (Style::Faint, &blank), (Style::Faint, text)]);
    }

    fn time(&self, after: Duration) -> String {
        if !self.times {
            return String::new();
        }
        let millis = after.as_millis();
        let text = if millis < 10_000 { format!("+{millis} ms") } else { format!("+{:.1} s", after.as_secs_f64()) };
        format!("{text:>TIME_COLUMNS$} ")
    }

    fn put(&mut self, pieces: &[(Style, &str)]) {
        let colour = self.out.colour();
        let mut line: String =
            pieces.iter().filter(|(_, text)| !text.is_empty()).map(|(style, text)| style.paint(text, colour)).collect();
        line.truncate(line.trim_end().len());
        line.push('\n');
        if let (true, Some(typing)) = (self.editing, &self.typing) {
            let columns = self.out.terminal().map_or(80, |terminal| terminal.columns);
            line = typing.above(&line, columns.into());
        }
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }
}
