//! The validity of the examination itself.

pub mod collector_failed;
pub mod probe_refused;
pub mod rate_limited;
pub mod tarpit;
pub mod vantage_differs;
