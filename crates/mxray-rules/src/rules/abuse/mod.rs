//! Doors that let in what nobody sent for.

pub mod starttls_injection;
