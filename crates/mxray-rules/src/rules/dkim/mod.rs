//! DKIM (RFC 6376, 8301, 8463): the published keys of selectors that somebody named.

pub mod key_1024;
pub mod key_invalid;
pub mod key_mismatch;
pub mod key_missing;
pub mod key_revoked;
pub mod key_too_short;
pub mod selector_unknown;
pub mod test_mode;
