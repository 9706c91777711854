//! DNSSEC and TLSA records.

pub mod dnssec_bogus;
pub mod dnssec_unsigned;
pub mod tlsa_lookup_fails;
