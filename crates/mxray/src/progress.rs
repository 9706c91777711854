//! One line on standard error that says what is still being waited for. Nothing where nobody watches.

use crate::output::columns_on_stderr;
use mxray_model::text::untrusted;
use std::io::Write;
use std::time::{Duration, Instant};

/// A run that is over sooner needs no line.
const QUIET: Duration = Duration::from_secs(1);

/// Shown while an examination runs; gone when dropped.
///
/// It has no thread: whoever waits calls [`Progress::pending`] when a part ends, and a few times a second besides.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    /// `None`: standard error is no terminal.
    columns: Option<u16>,
    shown: String,
}

impl Progress {
    pub fn start() -> Self {
        Progress { started: Instant::now(), columns: columns_on_stderr(), shown: String::new() }
    }

    /// Says which parts have not come back yet.
    pub fn pending<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) {
        let Some(columns) = self.columns else { return };
        let elapsed = self.started.elapsed();
        if elapsed < QUIET {
            return;
        }
        let line = line(elapsed, parts, usize::from(columns));
        if line != self.shown {
            draw(&line);
            self.shown = line;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            draw("");
        }
    }
}

fn line<'a>(elapsed: Duration, parts: impl IntoIterator<Item = &'a str>, columns: usize) -> String {
    let names: Vec<_> = parts.into_iter().map(|part| untrusted(part.as_bytes())).collect();
    let line = format!("{} s, waiting for {}", elapsed.as_secs(), names.join(", "));
    // One column stays free: a cursor beyond the last one would wrap, and the line could not be erased.
    line.chars().take(columns.saturating_sub(1)).collect()
}

/// Carriage return and "erase to the end of the line" (ECMA-48, EL).
pub fn draw(line: &str) {
    let mut stderr = std::io::stderr().lock();
    // A terminal that has gone takes no progress; the run goes on.
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_and_is_clean() {
        let text = line(Duration::from_millis(2300), ["sockets", "a\x1bb"], 80);
        assert_eq!(text, "2 s, waiting for sockets, a\\u{1b}b");
        assert_eq!(line(Duration::from_secs(2), ["sockets"], 11).chars().count(), 10);
    }
}
