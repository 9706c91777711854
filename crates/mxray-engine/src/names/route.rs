//! Fills where a domain's mail goes: MX records and the hosts that they name.

use super::Context;
use mxray_model::evidence::published::Domain;

pub(super) fn look(_name: &str, _domain: &mut Domain, _context: &Context<'_>) {}
