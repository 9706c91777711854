//! Where lines come from: the line editor of a terminal, or a pipe, a file, a terminal that cannot be edited on.

use super::editor::{Editor, Keyed};
use super::words::Known;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

/// Longest line of a script. A line of a message has at most 1,000 bytes; what is longer is passed to the server by `/raw`.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Without its ending.
    Line(Vec<u8>),
    /// Ctrl-C
    Interrupted,
    Ended,
    /// A line that is longer than any line.
    TooLong,
}

/// The source of lines.
#[derive(Debug)]
pub enum Input {
    Typed { editor: Editor, asking: bool, given: VecDeque<Given> },
    Script(Script),
}

impl Input {
    /// The editor of a terminal, where there is one and it is wanted.
    pub fn new(wanted: bool) -> Self {
        match wanted.then(Editor::new).flatten() {
            Some(editor) => Input::Typed { editor, asking: false, given: VecDeque::new() },
            None => Input::Script(Script::default()),
        }
    }

    pub fn is_script(&self) -> bool {
        matches!(self, Input::Script(_))
    }

    /// A line is being edited.
    pub fn is_editing(&self) -> bool {
        matches!(self, Input::Typed { asking: true, .. })
    }

    /// Begins to ask for a line, where nothing is asked yet.
    pub fn ask(&mut self, prompt: &str, remember: &mut Option<String>, known: impl FnOnce() -> Known) {
        if let Input::Typed { editor, asking, .. } = self
            && !*asking
        {
            editor.ask(prompt, remember.take(), known());
            *asking = true;
        }
    }

    /// The next line, as far as one is there.
    pub fn next(&mut self) -> Option<Given> {
        match self {
            Input::Typed { given, .. } => given.pop_front(),
            Input::Script(script) => script.next(),
        }
    }

    /// Nothing more will come: of a person nobody can say.
    pub fn is_exhausted(&mut self) -> bool {
        match self {
            Input::Typed { given, .. } => given.is_empty(),
            Input::Script(script) => matches!(script.next(), None | Some(Given::Ended)),
        }
    }

    /// Something can be read from here.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Input::Typed { editor, asking, .. } => asking.then(|| editor.as_fd()),
            Input::Script(script) => (!script.ended).then(rustix::stdio::stdin),
        }
    }

    /// Somebody ends us from outside.
    pub fn signals(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Input::Typed { editor, .. } => editor.signals(),
            Input::Script(_) => None,
        }
    }

    /// Reads what is there; to be called when `as_fd` is readable.
    pub fn read(&mut self) {
        match self {
            Input::Typed { editor, asking, given } => {
                let Some(keyed) = editor.typed() else { return };
                *asking = false;
                match keyed {
                    // A paste can hold several lines in one.
                    Keyed::Line(text) => {
                        given.extend(text.split('\n').map(|line| Given::Line(line.as_bytes().to_vec())));
                    }
                    Keyed::Interrupted => given.push_back(Given::Interrupted),
                    Keyed::Ended => given.push_back(Given::Ended),
                }
            }
            Input::Script(script) => script.read(rustix::stdio::stdin()),
        }
    }
}

/// Lines of a pipe.
#[derive(Debug, Default)]
pub struct Script {
    pending: Vec<u8>,
    /// Of `pending`, known to hold no LF.
    scanned: usize,
    ended: bool,
}

impl Script {
    fn read(&mut self, from: impl AsFd) {
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(from, &mut buffer) {
            Ok(count @ 1..) => self.pending.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => self.ended = true,
        }
    }

    fn next(&mut self) -> Option<Given> {
        let unscanned = self.pending.get(self.scanned..).unwrap_or_default();
        let Some(at) = unscanned.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.pending.len();
            if self.pending.len() > LINE_BYTES_MAX {
                return Some(Given::TooLong);
            }
            // The last line may lack its ending.
            return self.ended.then(|| match std::mem::take(&mut self.pending) {
                line if line.is_empty() => Given::Ended,
                line => Given::Line(line),
            });
        };
        let rest = self.pending.split_off(self.scanned + at + 1);
        let mut line = std::mem::replace(&mut self.pending, rest);
        self.scanned = 0;
        line.pop();
        // Scripts are written on all kinds of machines; CRLF is what we send anyway.
        if line.ends_with(b"\r") {
            line.pop();
        }
        Some(Given::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_of_a_script() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut script = Script::default();
        writer.write_all(b"EHLO x\r\n\nQU").unwrap();
        script.read(&reader);
        let line = |text: &[u8]| Some(Given::Line(text.to_vec()));
        assert_eq!((script.next(), script.next(), script.next()), (line(b"EHLO x"), line(b""), None));
        writer.write_all(b"IT").unwrap();
        drop(writer);
        script.read(&reader);
        assert_eq!(script.next(), None);
        script.read(&reader);
        assert_eq!((script.next(), script.next()), (line(b"QUIT"), Some(Given::Ended)));
    }

    #[test]
    fn a_line_without_end_is_not_kept_for_ever() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut script = Script::default();
        let mut given = None;
        while given.is_none() {
            writer.write_all(&[b'x'; 4096]).unwrap();
            script.read(&reader);
            given = script.next();
        }
        assert_eq!(given, Some(Given::TooLong));
    }
}
