//! What mail's authentication rests on: private keys and certificates, read and compared.
//!
//! Bytes come in, values of `mxray-model` go out. No file is opened here, no clock is read, and private material does not
//! leave: only what a key's public half says. Start reading at [`pair`] for files, and at [`chain`] for what a server presents.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

pub mod ask;
mod certificate;
mod chain;
mod der;
pub mod dkim;
pub mod dmarc;
mod key;
mod pair;
mod pem;
mod public;
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
