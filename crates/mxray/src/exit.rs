//! Exit codes, which are part of the interface, and what ends a command before it has an answer.

use crate::output::is_closed_pipe;
use std::io;

/// The question was answered and no finding reached `--fail-on`.
pub const OK: u8 = 0;
/// A finding reached `--fail-on`; `config check` found an invalid file.
pub const FINDING: u8 = 1;
/// The main question could not be answered.
pub const UNANSWERED: u8 = 2;
/// EX_USAGE of sysexits.h. Also for a configuration that cannot be used: nothing was examined.
pub const USAGE: u8 = 64;

/// Why a command ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense.
    #[error("mxray: {0}")]
    Usage(String),
    /// The configuration cannot be used; the text is complete, with file and line.
    #[error("{0}")]
    Config(String),
    /// Nothing can be examined: a step that everything else needs failed.
    #[error("mxray: {0}")]
    Unanswered(String),
    /// The answer could not be written.
    #[error("mxray: write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Config(_) => USAGE,
            Failure::Unanswered(_) => UNANSWERED,
            // Whoever closed the pipe has read what they wanted.
            Failure::Output(error) if is_closed_pipe(error) => OK,
            Failure::Output(_) => UNANSWERED,
        }
    }

    /// What to say about it; nothing about a closed pipe.
    pub fn message(&self) -> Option<String> {
        match self {
            Failure::Output(error) if is_closed_pipe(error) => None,
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        let closed = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((closed.code(), closed.message()), (OK, None));
        let full = Failure::Output(io::ErrorKind::StorageFull.into());
        assert_eq!(full.code(), UNANSWERED);
        assert!(full.message().is_some());
    }
}
