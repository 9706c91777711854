//! Submission and logins.

pub mod auth_fails;
pub mod auth_in_clear;
pub mod auth_not_offered;
pub mod submission_missing;
pub mod tls_optional;
