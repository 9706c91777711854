//! Packet filters, what they stop, and what they keep in mind of connections.

pub mod applies_to_mail_user;
pub mod conntrack_full;
pub mod destination_not_listening;
pub mod dns_blocked_here;
pub mod drift;
pub mod egress_blocked_here;
pub mod ingress_blocked_here;
