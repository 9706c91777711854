//! Port assignments and conflicts.

pub mod conflict_at_restart;
pub mod declared_missing;
pub mod ephemeral_range;
pub mod exposure_differs;
pub mod held_by_other;
pub mod must_not_listen;
pub mod needs_privilege;
pub mod owner_differs;
pub mod shadowed;
pub mod shared_silently;
pub mod tls_differs;
pub mod undeclared;
