//! Fills what a domain publishes for the authentication of its mail: SPF, the keys of known selectors, DMARC, BIMI.

use super::Context;
use mxray_model::evidence::published::Domain;

pub(super) fn look(_name: &str, _domain: &mut Domain, _context: &Context<'_>) {}
