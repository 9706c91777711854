//! The hosts that take a domain's mail.

pub mod family_broken;
pub mod unreachable;
