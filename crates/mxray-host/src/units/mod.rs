//! systemd's units, as their files stand: what the next start would do, and which sockets systemd opens for a service.
//!
//! Files are read, systemd is not asked: its bus needs a running manager, and the question is mostly the next start.
//! `files` finds and reads them, `limits`, `network` and `describe` are what is made of them. What must not live here: judgement.

pub(crate) mod boot;
mod describe;
mod files;
mod limits;
pub mod network;

pub use describe::{look, one as describe_one};
pub(crate) use files::assignments;
pub use limits::limits;

use std::path::Path;

/// Is there a file for this unit (`postfix@-.service` also by its template)? Where that cannot be seen, [`limits`] says
/// why.
pub fn exists(unit: &str) -> bool {
    !files::fragment(Path::new("/"), unit).is_absent()
}

/// What pulls a unit in at the next start. `Absent`: nothing does.
pub(crate) fn pulled_in(unit: &str) -> mxray_model::Seen<String> {
    files::Links::read(Path::new("/")).of(unit)
}
