//! DKIM (RFC 6376, 8301, 8463) and ARC (RFC 8617): keys judged, signatures verified and made.
//!
//! Start reading at [`DkimVerifier`]; [`canon`] has what is hashed, [`key`] the records. Keys are asked for through
//! [`crate::ask`]. What must not live here: whether a signature's domain is the right one (DMARC).

mod arc;
mod canon;
mod field;
mod key;
mod line_ends;
mod message;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use arc::ArcVerifier;
pub use canon::{BodyCanonicalizer, Canonicalization, Difference, canonical_body, canonical_field, first_difference};
pub use field::signed_by;
pub use key::judge as judge_key;
pub use line_ends::hashed_with_line_feeds;
pub use message::Message;
pub use sign::{Signer, SignerError, Signing};
pub use verify::DkimVerifier;
