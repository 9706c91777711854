//! This machine, read and never changed: sockets, processes, cgroups, kernel settings, mail servers' configuration,
//! file systems.
//!
//! Every collector returns [`mxray_model::Seen`] with the true reason where it could not look. Text from outside is
//! escaped here, once. What must not live here: any judgement (`mxray-rules`), any connection to another machine.

mod cgroup;
pub mod files;
mod interfaces;
pub mod kernel;
mod mounts;
pub mod mta;
pub mod names;
pub mod processes;
pub mod programs;
mod read;
mod secrets;
pub mod sockets;
pub mod units;
pub mod vantage;

pub use cgroup::Units;
