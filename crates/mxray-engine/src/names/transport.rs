//! Fills what a domain publishes for the way to its servers: MTA-STS, TLS-RPT, SRV and autoconfig; and DANE, once the servers
//! have shown their certificates.

use super::Context;
use mxray_model::evidence::Evidence;
use mxray_model::evidence::published::Domain;

pub(super) fn look(_name: &str, _domain: &mut Domain, _context: &Context<'_>) {}

/// After the sessions: holds TLSA records against what each server presents. `evidence` has the endpoints.
pub(super) fn dane(_name: &str, _domain: &mut Domain, _evidence: &Evidence, _context: &Context<'_>) {}
