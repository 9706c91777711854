//! Logs of mail servers as bytes: where they are, what they are packed with, how they go on.
//!
//! Files are read, never mapped: one that is cut while it is read ends early and kills nobody. [`find`] turns words into files,
//! [`LogFile`] reads one of them from any place, [`Follow`] goes on where it ended, [`Watch`] waits for more,
//! [`Journal`] reads systemd's. What must not live here: what a
//! line says and which file comes first (`mxray-logs`, and the engine, which joins both).

mod file;
mod find;
mod follow;
mod journal;
mod packing;
#[cfg(test)]
mod tests;
mod watch;

pub use file::LogFile;
pub use find::{Found, find, found_here, fresh};
pub use follow::{Follow, News};
pub use journal::{Journal, JournalWindow};
pub use packing::{Packing, RATIO_MAX, UNPACKED_BYTES_MAX, unpacked, unpacked_stream};
pub use watch::{Bell, Watch};
