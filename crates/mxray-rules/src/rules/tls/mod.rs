//! TLS and certificates, on all ports.

pub mod cert_expired;
pub mod cert_expiring;
pub mod cert_name_mismatch;
pub mod cert_untrusted;
pub mod handshake_fails;
pub mod not_offered;
pub mod old_versions;
pub mod weak_ciphers;
