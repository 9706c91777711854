//! One mail that was given: what a receiver makes of its SPF, DKIM and DMARC.

pub mod body_hash;
pub mod dkim_unaligned;
pub mod dmarc_fail;
pub mod dmarc_one_leg;
pub mod sig_weak;
pub mod signature_bad;
pub mod unsigned;
