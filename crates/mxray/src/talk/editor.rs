//! The line that is being typed: editing, history and completion by rustyline, on a thread of its own, so that the server
//! can be heard meanwhile.
//!
//! The history lives as long as the session, and holds no line with a secret. The terminal is put back as it was, however
//! the session ends.

use super::words::Known;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, ExternalPrinter, Helper};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Lines of history.
const HISTORY_LINES: usize = 500;
/// Output that waits for the terminal, in bytes, beyond which nothing more is read from the server.
const BEHIND_BYTES: usize = 256 * 1024;
/// Before a prompt, what was printed should stand; a terminal that was stopped by hand is not waited for.
const SETTLE: Duration = Duration::from_millis(100);

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
    printer: Printer,
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
        lines.set_helper(Some(Words(Arc::clone(&known))));
        let printer = Printer::new(lines.create_external_printer().ok()?);
        // Before the thread begins, so that it has them blocked, too.
        let signals = block_signals();
        let (asks, asked) = mpsc::channel();
        let (typed, keyed) = mpsc::channel();
        let (woken, wake) = std::io::pipe().ok()?;
        std::thread::spawn(move || edit(lines, &asked, &typed, wake));
        Some(Editor { asks, keyed, woken, known, printer, signals, before })
    }

    pub fn printer(&self) -> Printer {
        self.printer.clone()
    }

    /// Asks for a line. `remember`: the last one, for the history.
    pub fn ask(&self, prompt: &str, remember: Option<String>, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        self.printer.settle();
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
        self.printer.settle();
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

/// Prints above the line that is being edited, from a thread of its own: rustyline may keep a printer waiting until the
/// next line is asked for.
#[derive(Debug, Clone)]
pub struct Printer {
    texts: mpsc::Sender<String>,
    waiting: Arc<AtomicUsize>,
}

impl Printer {
    fn new(mut printer: impl ExternalPrinter + Send + 'static) -> Self {
        let (texts, given) = mpsc::channel::<String>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for text in given {
                let bytes = text.len();
                // A terminal that is gone ends the line editor, too.
                let _ = printer.print(text);
                counted.fetch_sub(bytes, Ordering::SeqCst);
            }
        });
        Printer { texts, waiting }
    }

    pub fn print(&self, text: String) {
        self.waiting.fetch_add(text.len(), Ordering::SeqCst);
        let _ = self.texts.send(text);
    }

    pub fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > BEHIND_BYTES
    }

    /// Waits a moment for what was printed.
    pub fn settle(&self) {
        let until = Instant::now() + SETTLE;
        while self.waiting.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Completion for rustyline.
#[derive(Debug)]
struct Words(Arc<Mutex<Option<Known>>>);

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
}

impl Highlighter for Words {}

impl Validator for Words {}

impl Helper for Words {}
