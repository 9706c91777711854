//! What xtask takes from the product's command line.

pub use mxray_cli::command;

/// Name and meaning.
pub fn variables() -> &'static [(&'static str, &'static str)] {
    mxray_cli::VARIABLES
}
