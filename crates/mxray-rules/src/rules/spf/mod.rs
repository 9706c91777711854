//! SPF (RFC 7208): the records of our domains, and whether this host's mail passes them.

pub mod include_no_record;
pub mod includes_itself;
pub mod lookups_exceeded;
pub mod macros;
pub mod missing;
pub mod multiple;
pub mod mx_over_ten;
pub mod no_default;
pub mod own_host_fails;
pub mod pass_all;
pub mod ptr_used;
pub mod syntax;
pub mod voids_exceeded;
