//! The line that is being typed: editing, history and completion by rustyline, on a thread of its own, so that the server
//! can be heard meanwhile.
//!
//! The history lives as long as the session, and holds no line with a secret. The terminal is put back as it was, however
//! the session ends.

use super::words::Known;
use mxray_render::{columns_of, printable};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Helper};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Lines of history.
const HISTORY_LINES: usize = 500;

/// What came from the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyed {
    Line(String),
    /// Ctrl-C: what was typed is gone.
    Interrupted,
    /// Ctrl-D, or the terminal is gone.
    Ended,
}

#[derive(Debug)]
struct Ask {
    prompt: String,
    remember: Option<String>,
}

type Lines = rustyline::Editor<Words, MemHistory>;

/// The line editor.
#[derive(Debug)]
pub struct Editor {
    asks: mpsc::Sender<Ask>,
    keyed: mpsc::Receiver<Keyed>,
    woken: PipeReader,
    known: Arc<Mutex<Option<Known>>>,
    typing: Typing,
    /// Ended from outside: SIGTERM, SIGHUP.
    signals: Option<SignalFd>,
    before: Termios,
}

impl Editor {
    /// On standard input and output, where these are terminals that can be edited on.
    pub fn new() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let known = Arc::new(Mutex::new(None));
        let config = Config::builder()
            .auto_add_history(false)
            // Pasted lines are lines, as ever: each goes out by itself.
            .bracketed_paste(false)
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_LINES)
            .ok()?
            .build();
        let mut lines = Lines::with_history(config.clone(), MemHistory::with_config(&config)).ok()?;
        let typing = Typing::default();
        lines.set_helper(Some(Words(Arc::clone(&known), typing.clone())));
        // Before any thread begins, so that all have them blocked, too.
        let signals = block_signals();
        let (asks, asked) = mpsc::channel();
        let (typed, keyed) = mpsc::channel();
        let (woken, wake) = std::io::pipe().ok()?;
        std::thread::spawn(move || edit(lines, &asked, &typed, wake));
        Some(Editor { asks, keyed, woken, known, typing, signals, before })
    }

    pub fn typing(&self) -> Typing {
        self.typing.clone()
    }

    /// Asks for a line. `remember`: the last one, for the history.
    pub fn ask(&self, prompt: &str, remember: Option<String>, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        self.typing.begins(prompt);
        // Without the thread there is no answer but the end.
        let _ = self.asks.send(Ask { prompt: prompt.to_owned(), remember });
    }

    /// Readable when something was typed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// What was typed; to be called when `as_fd` is readable.
    pub fn typed(&mut self) -> Option<Keyed> {
        let mut byte = [0];
        match self.woken.read(&mut byte) {
            Ok(1) => self.keyed.try_recv().ok(),
            _ => Some(Keyed::Ended),
        }
    }

    /// Readable when somebody ends us from outside.
    pub fn signals(&self) -> Option<BorrowedFd<'_>> {
        self.signals.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// SIGTERM and SIGHUP are read instead of ending us on the spot, with the terminal in disorder.
fn block_signals() -> Option<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGHUP);
    set.thread_block().ok()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).ok()
}

fn edit(mut lines: Lines, asked: &mpsc::Receiver<Ask>, typed: &mpsc::Sender<Keyed>, mut wake: PipeWriter) {
    while let Ok(ask) = asked.recv() {
        if let Some(line) = ask.remember {
            // A history that takes no more is no reason to stop.
            let _ = lines.add_history_entry(line);
        }
        let keyed = match lines.readline(&ask.prompt) {
            Ok(line) => Keyed::Line(line),
            Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Keyed::Interrupted,
            Err(_) => Keyed::Ended,
        };
        if typed.send(keyed).is_err() || wake.write_all(&[0]).is_err() {
            return;
        }
    }
}

/// What stands on the screen while a line is edited.
///
/// rustyline's own way to print meanwhile does not see keys that came in one piece, so a paste would hang; we print ourselves,
/// and put the line back as rustyline has it.
#[derive(Debug, Clone, Default)]
pub struct Typing(Arc<Mutex<Stand>>);

#[derive(Debug, Default)]
struct Stand {
    prompt: String,
    line: String,
    /// In bytes.
    cursor: usize,
}

impl Typing {
    fn begins(&self, prompt: &str) {
        let stand = Stand { prompt: prompt.to_owned(), ..Stand::default() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stand;
    }

    fn changes(&self, line: &str, cursor: usize) {
        let mut stand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone_into(&mut stand.line);
        stand.cursor = cursor;
    }

    /// Text to be printed above the line, with what takes the line away and puts it back.
    pub fn above(&self, text: &str, columns: usize) -> String {
        let stand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let width = |text: &str| columns_of(text);
        let left = width(&stand.prompt) + width(stand.line.get(..stand.cursor).unwrap_or(&stand.line));
        let right = width(stand.line.get(stand.cursor..).unwrap_or_default());
        let columns = columns.max(1);
        let up = |rows: usize| if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
        let away = format!("{}\r\x1b[J", up(left / columns));
        let end = left + right;
        let mut back = format!("{}{}", stand.prompt, printable(&stand.line));
        if right > 0 {
            back.push_str(&up(end / columns - left / columns));
            back.push_str(&format!("\r\x1b[{}C", (left % columns).max(1)));
        }
        format!("{away}{text}{back}")
    }
}

/// Completion for rustyline, and an eye on the line.
#[derive(Debug)]
struct Words(Arc<Mutex<Option<Known>>>, Typing);

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.get(..pos).unwrap_or(line);
        Ok(known.as_ref().map_or((pos, Vec::new()), |known| known.complete(line)))
    }
}

impl Hinter for Words {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<String> {
        self.1.changes(line, pos);
        None
    }
}

impl Highlighter for Words {
    fn highlight_char(&self, line: &str, pos: usize, _: CmdKind) -> bool {
        self.1.changes(line, pos);
        false
    }
}

impl Validator for Words {}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_taken_away_and_put_back() {
        let typing = Typing::default();
        typing.begins("smtp> ");
        assert_eq!(typing.above("x\n", 80), "\r\x1b[Jx\nsmtp> ");
        typing.changes("RSET", 4);
        assert_eq!(typing.above("x\n", 80), "\r\x1b[Jx\nsmtp> RSET");
        typing.changes("RSET", 1);
        assert_eq!(typing.above("x\n", 80), "\r\x1b[Jx\nsmtp> RSET\r\x1b[7C");
        typing.changes("0123456789", 10);
        assert_eq!(typing.above("x\n", 8), "\x1b[2A\r\x1b[Jx\nsmtp> 0123456789");
    }
}
