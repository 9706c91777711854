//! SMTP and LMTP from the client's side (RFC 5321, RFC 2033), one session to the depth that the plan says.

mod client;
mod extensions;
mod handover;
mod plan;
mod reply;
#[cfg(test)]
mod tests;

pub use client::Smtp;
pub use handover::{Handover, Stop, StopHow, xtext};
pub use plan::{BadAddress, Dialect, Envelope, Message, Patience, Plan};
pub(crate) use reply::{Separator, enhanced, parse as parse_reply};
