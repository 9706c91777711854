//! The validity of the examination itself.

pub mod collector_failed;
pub mod dns_timeout;
