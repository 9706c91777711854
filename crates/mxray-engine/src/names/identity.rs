//! Fills what names say of an address that mail leaves from: PTR and its confirmation, HELO, SPF for each domain.

use super::Context;
use mxray_model::evidence::published::SenderAddress;
use std::net::IpAddr;

/// `domains`: those that this host writes mail for.
pub(super) fn look(_address: IpAddr, _sender: &mut SenderAddress, _domains: &[String], _context: &Context<'_>) {}
