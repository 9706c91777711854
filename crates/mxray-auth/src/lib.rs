//! What mail's authentication rests on: private keys and certificates, read and compared.
//!
//! Bytes come in, values of `mxray-model` go out. No file is opened here, no clock is read, and private material does not
//! leave: only what a key's public half says. Start reading at [`pair`].
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod certificate;
mod der;
mod key;
mod pair;
mod pem;
mod public;

#[cfg(test)]
mod tests;

pub use pair::{chain_file, key_file, pair};
pub use pem::FILE_BYTES_MAX;
