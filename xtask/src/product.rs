//! What xtask takes from the product: its rules and its command line, in the shape that the generators read.

use mxray_model::Severity;

/// One rule as its page needs it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub code: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    /// The version that first had it.
    pub since: &'static str,
    pub summary: &'static str,
    /// Markdown.
    pub page: &'static str,
}

pub fn rules() -> Vec<Rule> {
    Vec::new()
}

pub fn command() -> clap::Command {
    clap::Command::new("mxray")
}
