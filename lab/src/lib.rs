//! The test lab: real mail servers in namespaces, faults put into them, and what `mxray doctor` says of it.
//!
//! Start at [`host::Host`] (a mail host and its peer), then [`fault::Fault`] (one file, one fault),
//! [`verdicts::Table`] (one file, many small cases), then [`runner`].
//! Everything about mail stands in `hosts/*.toml`, `faults/*.toml`, `tables/*.toml` and `lib/`; the Rust here starts machines, keeps
//! time, judges and prints. Nothing of the product depends on this crate, and it depends on nothing of the product:
//! it sees what a user sees, the binary and its JSON.

pub mod changed;
pub mod coverage;
pub mod doctor;
pub mod fault;
pub mod foreign;
pub mod host;
pub mod machine;
pub mod preflight;
pub mod runner;
pub mod table;
pub mod verdicts;
