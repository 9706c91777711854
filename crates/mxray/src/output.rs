//! The one writer to standard output, and the one way to talk on standard error.
//!
//! Data goes to the first, talk to the second. Whether there are colours and how wide the terminal is, is decided here.

use crate::environment::Environment;
use clap::ValueEnum;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Width that text is wrapped to where no terminal says otherwise.
const COLUMNS_DEFAULT: u16 = 80;

/// What the user wants of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColourWish {
    /// On a terminal that can, and where nothing in the environment speaks against it
    Auto,
    Always,
    Never,
}

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    pub columns: u16,
    pub rows: u16,
}

/// Standard output, locked and buffered.
#[derive(Debug)]
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    colour: bool,
    terminal: Option<Terminal>,
    columns: u16,
    verbose: bool,
}

impl Output {
    pub fn stdout(wish: ColourWish, environment: &Environment, verbose: bool) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let terminal = if is_terminal { size(&stdout) } else { None };
        let columns = terminal.map(|terminal| terminal.columns).or(environment.columns).unwrap_or(COLUMNS_DEFAULT);
        Output {
            colour: decide(wish, is_terminal, environment),
            terminal,
            columns,
            verbose,
            out: BufWriter::with_capacity(64 * 1024, stdout.lock()),
        }
    }

    pub fn colour(&self) -> bool {
        self.colour
    }

    /// The terminal that standard output is, if it is one.
    pub fn terminal(&self) -> Option<Terminal> {
        self.terminal
    }

    /// How to render for it.
    pub fn options(&self) -> mxray_render::Options {
        mxray_render::Options { colour: self.colour, columns: self.columns, verbose: self.verbose }
    }

    /// Writes an answer. A reader that has gone is no error, so the command still ends with the code of its answer.
    pub fn emit(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        quietly(write(&mut self.out).and_then(|()| self.out.flush()))
    }

    /// Writes a part of an answer. A reader that has gone is told, so that nothing more is done for it.
    pub fn emit_or_stop(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        write(&mut self.out).and_then(|()| self.out.flush())
    }

    /// Hands over what is buffered. A full disk shows here at the latest.
    pub fn finish(self) -> io::Result<()> {
        // `into_parts` drops what a failed flush left behind, where `drop` would try once more.
        let (mut out, rest) = self.out.into_parts();
        quietly(rest.map_or(Ok(()), |rest| out.write_all(&rest)).and_then(|()| out.flush()))
    }
}

/// For commands that go on writing and must notice that nobody reads any more.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Nobody reading any more is not a failure to write.
fn quietly(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Says something to whoever runs the command. Nobody listening is nobody's fault.
pub fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is no third place to complain to.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.write_all(b"\n"));
}

/// Whether talk is coloured.
pub fn colour_on_stderr(wish: ColourWish, environment: &Environment) -> bool {
    decide(wish, io::stderr().is_terminal(), environment)
}

/// Width of standard error's terminal.
pub fn columns_on_stderr() -> Option<u16> {
    let stderr = io::stderr();
    if stderr.is_terminal() { size(&stderr).map(|terminal| terminal.columns) } else { None }
}

fn decide(wish: ColourWish, is_terminal: bool, environment: &Environment) -> bool {
    match wish {
        ColourWish::Always => true,
        ColourWish::Never => false,
        ColourWish::Auto if environment.no_color => false,
        ColourWish::Auto if environment.clicolor_force => true,
        ColourWish::Auto => is_terminal && !environment.dumb_terminal && !environment.clicolor_off,
    }
}

/// A terminal that does not know its size (a serial console) says 0: it is taken for as large as they all once were.
fn size(terminal: &impl std::os::fd::AsFd) -> Option<Terminal> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    let known = |said: u16, usual: u16| if said > 0 { said } else { usual };
    Some(Terminal { columns: known(size.ws_col, 80), rows: known(size.ws_row, 24) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_does_not_know_its_size_is_a_usual_one() {
        use rustix::pty::{OpenptFlags, openpt};
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert_eq!(size(&terminal).map(|terminal| (terminal.columns, terminal.rows)), Some((80, 24)));
        let wide = rustix::termios::Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, wide).unwrap();
        assert_eq!(size(&terminal).map(|terminal| (terminal.columns, terminal.rows)), Some((132, 50)));
        assert!(size(&std::fs::File::open("/dev/null").unwrap()).is_none());
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(quietly(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(quietly(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn colour_by_wish_then_environment_then_terminal() {
        let plain = Environment::default();
        let refused = Environment { no_color: true, clicolor_force: true, ..Environment::default() };
        let forced = Environment { clicolor_force: true, ..Environment::default() };
        let dumb = Environment { dumb_terminal: true, ..Environment::default() };
        assert!(decide(ColourWish::Auto, true, &plain));
        assert!(!decide(ColourWish::Auto, false, &plain));
        assert!(!decide(ColourWish::Auto, true, &refused));
        assert!(decide(ColourWish::Auto, false, &forced));
        assert!(!decide(ColourWish::Auto, true, &dumb));
        assert!(decide(ColourWish::Always, false, &refused));
        assert!(!decide(ColourWish::Never, true, &forced));
    }
}
