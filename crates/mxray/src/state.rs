//! Where mxray keeps what it learned, by who runs it.

use crate::cli::Cli;
use crate::environment::Environment;
use mxray_host::baseline::Place;
use std::path::PathBuf;

/// Of root, where no unit says otherwise (FHS 3.0 section 5.8).
const OF_ROOT: &str = "/var/lib/mxray";
/// Below the directory for a user's state.
const OF_USER: &str = "mxray";

/// `learn`: the configuration's word. Another network namespace has no state here.
pub fn place(cli: &Cli, environment: &Environment, learn: bool) -> Place {
    let own = || match rustix::process::geteuid().is_root() {
        true => Some(PathBuf::from(OF_ROOT)),
        false => environment.state_home.as_ref().map(|home| home.join(OF_USER)),
    };
    Place { directory: environment.state_directory.clone().or_else(own), learn, elsewhere: cli.global.netns.is_some() }
}
