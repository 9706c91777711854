//! MTA-STS (RFC 8461) and TLS-RPT (RFC 8460): records, policies, and whether the servers keep what the policy promises.

pub mod absent;
pub mod mx_cert_fails;
pub mod mx_uncovered;
pub mod policy_invalid;
pub mod policy_unreachable;
pub mod record_invalid;
pub mod tlsrpt_absent;
pub mod tlsrpt_invalid;
