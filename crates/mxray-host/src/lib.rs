//! This machine, read: sockets, processes, kernel settings, mail servers' configuration, file systems.
//!
//! What lives here is the rim that touches `/proc`, netlink, files and the mail servers' own programs, and the pure
//! parsers behind it. What must not: any judgement (`mxray-rules`), any outgoing network connection (`mxray-net`).

pub mod files;
pub mod mta;
pub mod processes;
mod reading;
pub mod sockets;
pub mod units;
