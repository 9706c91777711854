//! Who this host says that it is, and what names say of the address that its mail leaves from.

pub mod egress_unexpected;
pub mod helo_not_fqdn;
pub mod helo_unresolvable;
pub mod ptr_missing;
pub mod ptr_not_confirmed;
