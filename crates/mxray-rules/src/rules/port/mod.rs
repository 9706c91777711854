//! Port assignments and conflicts.

pub mod conflict_at_restart;
pub mod held_by_other;
pub mod needs_privilege;
pub mod shadowed;
