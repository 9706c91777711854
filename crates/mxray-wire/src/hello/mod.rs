//! One TLS ClientHello and what a server answers to it: which versions, suites, groups and certificates it takes.
//!
//! Libraries of today cannot ask for what should not be there (SSLv3, RC4, export keys), and cannot show a refusal. This asks
//! for one combination, reads the server's first flight as far as it is not encrypted, says goodbye and closes. No
//! handshake is ever finished: there is no key, no random number of weight and no cryptography in here.
//!
//! Start reading at [`Plan`] (the question), then `machine` (the steps); `encode` and `parse` are the bytes, `suites` and
//! `names` the registries. What must not live here: what an answer means (rules), certificates' insides (`mxray-auth`).

mod encode;
mod machine;
pub mod names;
mod parse;
mod plan;
mod suites;
#[cfg(test)]
mod tests;

pub use machine::Prober;
pub use plan::{BadOffer, Entropy, Plan};
