//! This machine, read and never changed but for the one state file of `baseline`: sockets, routes, processes, cgroups,
//! kernel settings, mail servers' configuration,
//! file systems.
//!
//! Every collector returns [`mxray_model::Seen`] with the true reason where it could not look. Text from outside is
//! escaped here, once. What must not live here: any judgement (`mxray-rules`), any connection to another machine.

pub mod baseline;
pub mod bystanders;
pub mod certificates;
mod cgroup;
pub mod clock;
pub mod files;
pub mod filter_managers;
pub mod firewall;
mod interfaces;
pub mod kernel;
pub mod maillog;
pub mod memory;
mod mounts;
pub mod mta;
pub mod names;
pub mod namespaces;
pub mod ownership;
pub mod processes;
pub mod programs;
pub mod queue;
mod read;
pub mod resolver;
pub mod routes;
pub mod runs;
mod secrets;
pub mod security;
pub mod signers;
pub mod sockets;
pub mod sockstat;
pub mod software;
pub mod tls_library;
pub mod units;
pub mod vantage;

pub use cgroup::Units;
