//! `--watch`: look, draw, wait, again. The terminal is as it was whenever this ends. What is drawn is the command's
//! business.

use crate::exit;
use crate::output::Terminal;
use mxray_model::Blind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Redrawing faster than this shows nothing more to a person, and burns the machine that is examined.
pub const SECONDS_MIN: f64 = 0.1;
pub const SECONDS_MAX: f64 = 86_400.0;

/// What is drawn again and again.
pub trait Picture {
    /// For messages.
    const COMMAND: &'static str;

    /// Looks once more.
    ///
    /// # Errors
    /// Nothing can be seen at all.
    fn look(&mut self) -> Result<(), Blind>;

    /// Writes what was seen; `screen`: with everything that otherwise goes to standard error.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn draw(&self, screen: bool, out: &mut Vec<u8>) -> io::Result<()>;
}

/// Ends on Ctrl-C, Ctrl-D or q, when `out` closes, and when nothing can be seen.
///
/// # Errors
/// `out` cannot be written.
pub fn run<P: Picture>(
    mut picture: P,
    every: Duration,
    terminal: Option<Terminal>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let keys = if terminal.is_some() { Keys::take() } else { None };
    let screen = keys.is_some();
    if screen {
        // The other screen, without a cursor.
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
    }
    let outcome = frames(&mut picture, every, terminal, keys.as_ref(), out);
    if screen {
        out.write_all(b"\x1b[?25h\x1b[?1049l")?;
        out.flush()?;
    }
    drop(keys);
    match outcome? {
        Some(blind) => {
            writeln!(io::stderr(), "mxray {}: {}", P::COMMAND, blind.why())?;
            Ok(exit::UNANSWERED)
        }
        None => Ok(0),
    }
}

fn frames<P: Picture>(
    picture: &mut P,
    every: Duration,
    terminal: Option<Terminal>,
    keys: Option<&Keys>,
    out: &mut dyn Write,
) -> io::Result<Option<Blind>> {
    let mut buffer = Vec::new();
    loop {
        let start = Instant::now();
        if let Err(blind) = picture.look() {
            return Ok(Some(blind));
        }
        buffer.clear();
        match terminal {
            Some(terminal) if keys.is_some() => {
                let terminal = size().unwrap_or(terminal);
                frame(picture, terminal, every, &mut buffer)?;
            }
            _ => picture.draw(false, &mut buffer)?,
        }
        out.write_all(&buffer)?;
        out.flush()?;
        let wait = every.saturating_sub(start.elapsed());
        match keys {
            Some(keys) => {
                if keys.asks_to_stop_within(wait)? {
                    return Ok(None);
                }
            }
            None => std::thread::sleep(wait),
        }
    }
}

/// One screen: what does not fit is cut, so that nothing scrolls.
fn frame<P: Picture>(picture: &P, terminal: Terminal, every: Duration, out: &mut Vec<u8>) -> io::Result<()> {
    let mut text = Vec::new();
    picture.draw(true, &mut text)?;
    out.extend_from_slice(b"\x1b[H");
    let rows = usize::from(terminal.rows).max(2);
    let head = format!("every {} s, q ends", every.as_secs_f64());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"\x1b[K");
    for line in text.split(|byte| *byte == b'\n').take(rows - 1) {
        out.push(b'\n');
        out.extend_from_slice(line);
        out.extend_from_slice(b"\x1b[K");
    }
    out.extend_from_slice(b"\x1b[J");
    Ok(())
}

fn size() -> Option<Terminal> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Terminal { columns: size.ws_col, rows: size.ws_row })
}

/// The keyboard, key by key. Ctrl-C is a key here and not a signal, so that we can clean up; dropping this gives the
/// terminal its old modes back, also when a panic unwinds.
struct Keys {
    before: Termios,
}

impl Keys {
    /// `None`: standard input is no terminal; then Ctrl-C stays a signal and nothing needs to be put back.
    fn take() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut modes = before.clone();
        modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 0;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Flush, &modes).ok()?;
        Some(Keys { before })
    }

    fn asks_to_stop_within(&self, wait: Duration) -> io::Result<bool> {
        const CTRL_C: u8 = 3;
        const CTRL_D: u8 = 4;
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut waiting = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
            match poll(&mut waiting, Some(&timeout)) {
                Ok(0) => return Ok(false),
                // A resized window: draw it at once.
                Err(Errno::INTR) => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut pressed = [0; 16];
            let count = rustix::io::read(stdin(), &mut pressed)?;
            let pressed = pressed.get(..count).unwrap_or_default();
            // Nothing to read although it is ready: the terminal has gone.
            if pressed.is_empty() || pressed.iter().any(|key| matches!(*key, CTRL_C | CTRL_D | b'q' | b'Q')) {
                return Ok(true);
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // The terminal may have gone; there is nothing to put back then.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}
