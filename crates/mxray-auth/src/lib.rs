//! What mail's authentication rests on: keys and certificates, read and compared; what domains publish, read and evaluated.
//!
//! Bytes come in, values of `mxray-model` go out. No file is opened here, no clock is read, and private material does not
//! leave: only what a key's public half says. Evaluators ask for names through wants and explain every step; no library's
//! verdict stands for theirs. Start reading at [`pair`] for files, at [`chain`] for what a server presents, at [`ask`] and
//! [`spf`] for what a domain publishes.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

pub mod ask;
mod certificate;
mod chain;
mod der;
pub mod dkim;
pub mod dmarc;
pub mod dnssec;
pub mod identity;
mod key;
mod pair;
mod pem;
#[cfg(test)]
mod played;
mod public;
pub mod results;
pub mod route;
mod signature;
pub mod spf;
mod tags;
pub mod transport;
mod trust;

#[cfg(test)]
mod tests;

pub use chain::{Examined, Stores, chain};
pub use pair::{chain_file, key_file, pair};
pub use pem::FILE_BYTES_MAX;
pub use signature::{Signature, handshake_signature};
pub use trust::Anchors;
