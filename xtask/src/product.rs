//! What xtask takes from the product's command line.

pub fn command() -> clap::Command {
    clap::Command::new("mxray")
}

/// Name and meaning.
pub fn variables() -> &'static [(&'static str, &'static str)] {
    &[]
}
