//! Asks the lists of the catalogue about sending addresses, and about domains that mail is written for.

use super::Context;
use mxray_model::evidence::published::Names;

pub(super) fn look(_names: &mut Names, _context: &Context<'_>) {}
