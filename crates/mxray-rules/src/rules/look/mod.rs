//! The validity of the examination itself.

pub mod collector_failed;
pub mod dns_timeout;
pub mod egress_25_blocked;
pub mod probe_refused;
pub mod rate_limited;
pub mod tarpit;
pub mod vantage_differs;
