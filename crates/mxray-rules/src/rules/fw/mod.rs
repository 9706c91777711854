//! Filters, and what they keep in mind of connections.

pub mod conntrack_full;
pub mod destination_not_listening;
