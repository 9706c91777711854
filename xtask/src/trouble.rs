//! What can go wrong in xtask, with what was attempted and on what.
//!
//! A [`Trouble::Found`] is the result of a check that works: the tree is not as it should be. The others mean that
//! the check itself could not be made.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{attempted} {}: {source}", path.display())]
    File { attempted: &'static str, path: PathBuf, source: io::Error },
    #[error("start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} ended with {status}{}{stderr}", if stderr.is_empty() { "" } else { ":\n" })]
    Ended { program: String, status: ExitStatus, stderr: String },
    #[error("{what}: {source}")]
    Json { what: String, source: serde_json::Error },
    /// What a check found, one sentence each.
    #[error("{}", .0.join("\n"))]
    Found(Vec<String>),
}

impl Trouble {
    /// For `map_err` on a file operation.
    pub fn file(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Trouble {
        let path = path.to_owned();
        move |source| Trouble::File { attempted, path, source }
    }

    /// One problem.
    pub fn found(problem: impl Into<String>) -> Trouble {
        Trouble::Found(vec![problem.into()])
    }
}

/// The check's verdict on what it collected.
pub fn none_of(problems: Vec<String>) -> Result<(), Trouble> {
    if problems.is_empty() { Ok(()) } else { Err(Trouble::Found(problems)) }
}
