//! `--watch`: look, draw, wait, again. The terminal is as it was whenever this ends.

use super::look::View;
use super::plan::Plan;
use super::{Format, Terminal};
use crate::exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Ends on Ctrl-C, Ctrl-D or q, when `out` closes, and when the sockets cannot be listed.
///
/// # Errors
/// `out` cannot be written.
pub fn run(plan: &Plan, every: Duration, out: &mut dyn Write) -> io::Result<u8> {
    let keys = if plan.terminal.is_some() { Keys::take() } else { None };
    let screen = keys.is_some();
    if screen {
        // The other screen, without a cursor.
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
    }
    let outcome = frames(plan, every, keys.as_ref(), out);
    if screen {
        out.write_all(b"\x1b[?25h\x1b[?1049l")?;
        out.flush()?;
    }
    drop(keys);
    match outcome? {
        Some(blind) => {
            writeln!(io::stderr(), "mxray sockets: {}", blind.why())?;
            Ok(exit::UNANSWERED)
        }
        None => Ok(0),
    }
}

fn frames(
    plan: &Plan,
    every: Duration,
    keys: Option<&Keys>,
    out: &mut dyn Write,
) -> io::Result<Option<mxray_model::Blind>> {
    let mut buffer = Vec::new();
    loop {
        let start = Instant::now();
        let view = match View::look(plan) {
            Ok(view) => view,
            Err(blind) => return Ok(Some(blind)),
        };
        buffer.clear();
        match plan.terminal {
            Some(terminal) if keys.is_some() => {
                let terminal = size().unwrap_or(terminal);
                frame(&view, plan, terminal, every, &mut buffer)?;
            }
            _ => {
                super::write_view(&view, plan, &mut buffer)?;
                if plan.format == Format::Text {
                    buffer.push(b'\n');
                }
            }
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
fn frame(view: &View, plan: &Plan, terminal: Terminal, every: Duration, out: &mut Vec<u8>) -> io::Result<()> {
    let mut text = Vec::new();
    super::write_view(view, plan, &mut text)?;
    for remark in &view.unseen {
        text.extend_from_slice(remark.sentence().as_bytes());
        text.push(b'\n');
    }
    out.extend_from_slice(b"\x1b[H");
    let rows = usize::from(terminal.rows).max(2);
    let head = format!("every {} s, q ends", every.as_secs_f64());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"\x1b[K");
    for line in text.split(|byte| *byte == b'\n').take(rows - 1) {
        // Output is not translated while keys are read one by one, so the carriage returns are ours.
        out.extend_from_slice(b"\r\n");
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
