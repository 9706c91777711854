//! Port assignments and conflicts.

pub mod held_by_other;
pub mod needs_privilege;
pub mod shadowed;
