//! What was written down for the next start, beside what runs.

use super::Rulesets;
use super::ask::Way;
use mxray_model::Seen;
use mxray_model::evidence::{Firewall, Persisted};
use std::collections::BTreeMap;

pub(super) fn compare(_rulesets: &Rulesets, _way: &mut Way<'_>, _running: &Firewall) -> BTreeMap<String, Seen<Persisted>> {
    BTreeMap::new()
}
