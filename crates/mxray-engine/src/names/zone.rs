//! Fills who serves a domain's zone, what DNSSEC makes of it, what wildcards answer for, and whether the resolver rewrites.

use super::Context;
use mxray_model::Seen;
use mxray_model::evidence::published::Domain;

pub(super) fn look(_name: &str, _domain: &mut Domain, _context: &Context<'_>) {}

/// A name that cannot exist has an address: the resolver makes it up.
pub(super) fn rewrites(_context: &Context<'_>) -> Seen<bool> {
    Seen::not_attempted("not asked")
}
