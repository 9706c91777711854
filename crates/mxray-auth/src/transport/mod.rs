//! Policies for the way to a domain's servers: MTA-STS (RFC 8461), TLS-RPT (RFC 8460), DANE (RFC 7671, 7672); and BIMI's
//! record.
//!
//! What must not live here: fetching, TLS, DNSSEC; what they came to comes in.

mod bimi;
mod dane;
mod reports;
mod sts;
#[cfg(test)]
mod tests;

pub use bimi::read as bimi_record;
pub use dane::{Dane, dane};
pub use reports::{TlsReports, read as tls_report_record};
pub use sts::{POLICY_BYTES_MAX, Sts, matches as sts_matches, policy as sts_policy, record as sts_record};
