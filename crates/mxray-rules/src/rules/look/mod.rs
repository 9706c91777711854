//! The validity of the examination itself.

pub mod collector_failed;
pub mod dns_servfail;
pub mod dns_timeout;
pub mod egress_25_blocked;
pub mod probe_refused;
pub mod rate_limited;
pub mod resolver_not_validating;
pub mod resolver_rewrites;
pub mod tarpit;
pub mod vantage_differs;
