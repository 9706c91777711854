//! Mail servers: what their configuration asks for, what runs of them, and what they depend on.
//!
//! A [`Reader`] reads one software's configuration. What does not depend on the software (processes of a server,
//! other software, helpers joined with sockets) stands in the modules beside it.

mod attach;
mod helpers;
mod machine;
mod others;
mod postfix;

pub use attach::attach;
pub use helpers::join_helpers;
pub use others::{others, software_of};

use crate::programs::Programs;
use mxray_model::Seen;
use mxray_model::evidence::Server;
use std::collections::BTreeMap;

/// Reads the configuration of one mail server software.
pub trait Reader {
    /// `postfix`, `exim`, …
    fn software(&self) -> &'static str;

    /// Its instances by name. `Absent`: it is not installed here, or it was installed and never configured nor run (then
    /// it stands among [`others`]).
    fn servers(&self, programs: &Programs) -> Seen<BTreeMap<String, Server>>;
}

/// All readers.
pub fn readers() -> Vec<Box<dyn Reader + Send + Sync>> {
    vec![Box::new(postfix::Postfix)]
}
