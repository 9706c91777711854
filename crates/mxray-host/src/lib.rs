//! This machine, read and never changed: sockets, processes, cgroups, kernel settings, MTA configuration, file systems.
//!
//! Every collector returns [`mxray_model::Seen`] with the true reason where it could not look. Text from outside is
//! escaped here, once. What must not live here: judgement, and any connection to another machine.

mod cgroup;
pub mod kernel;
pub mod names;
pub mod processes;
mod read;
pub mod sockets;
pub mod vantage;

pub use cgroup::Units;
