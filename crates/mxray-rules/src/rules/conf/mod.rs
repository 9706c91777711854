//! The mail server's own configuration.

pub mod certificate_key_mismatch;
pub mod delivery_switched_off;
pub mod mail_loop;
pub mod policy_without_effect;
pub mod relay_open_by_config;
pub mod rewrite_after_signing;
pub mod service_not_enabled;
pub mod signer_not_wired;
pub mod size_limit_local;
pub mod smarthost_wrong;
