//! SPF (RFC 7208): a record read, evaluated as a receiver does it, and surveyed without a sender.
//!
//! Start reading at [`Spf`] for a client and a sender, at [`SpfSurveyor`] for a record as such. Names are asked for through
//! [`crate::ask`]. What must not live here: whose record it is and whether it matters (rules).

mod cover;
mod eval;
mod macros;
mod names;
mod record;
mod survey;
#[cfg(test)]
mod tests;

pub use eval::Spf;
pub(crate) use eval::text;
pub(crate) use names::{askable, is_within};
pub use survey::SpfSurveyor;

/// RFC 7208 section 4.6.4: terms that ask.
pub const LOOKUPS_MAX: u32 = 10;
/// The same: questions without an answer.
pub const VOIDS_MAX: u32 = 2;
/// The same: names of one `mx`, and of a client.
pub const NAMES_MAX: usize = 10;
