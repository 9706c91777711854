//! This host's packet filters: the rulesets that run, and what becomes of the packets that mail needs.
//!
//! [`read`] lists the rulesets of both frameworks (`dump`, `legacy`). [`examine`] asks them what mail asks: `plan` says for whom,
//! `ask` makes the packets, with the interface and source address that routing gives, and joins those that end alike;
//! `mentioned` finds the networks that rules speak of, `around` what rules ask of the host. `persisted` compares with what was
//! written down for the next start. What a rule means is `mxray-firewall`'s, whether it is a fault `mxray-rules`'.

mod around;
mod ask;
mod dump;
mod legacy;
mod mentioned;
mod persisted;
mod plan;
#[cfg(test)]
mod tests;

pub use around::cgroup_of;
pub use ask::{Way, examine, explain, words};
pub use plan::{Interest, Smarthost};

use crate::programs::Programs;
use mxray_firewall::{Family, Ruleset};
use mxray_model::evidence::FilterTable;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::time::Instant;

/// All rules that act on this network namespace's packets.
#[derive(Debug, Clone, Default)]
pub struct Rulesets {
    pub(crate) rulesets: Vec<Ruleset>,
    /// Those that are there and could not be read.
    pub unread: BTreeMap<String, Blind>,
}

impl Rulesets {
    /// What a report keeps of the tables.
    pub fn tables(&self) -> BTreeMap<String, FilterTable> {
        self.rulesets.iter().flat_map(|set| &set.tables).map(|table| (table.key(), table.facts())).collect()
    }

    pub(crate) fn rules(&self) -> usize {
        let chains = self.rulesets.iter().flat_map(|set| &set.tables).flat_map(|table| &table.chains);
        chains.map(|chain| chain.rules.len()).sum()
    }

    /// Does any rule look at who sends?
    pub(crate) fn looks_at_senders(&self) -> bool {
        let chains = self.rulesets.iter().flat_map(|set| &set.tables).flat_map(|table| &table.chains);
        chains.flat_map(|chain| &chain.rules).any(mxray_firewall::Rule::by_sender)
    }
}

/// Lists the rules of both frameworks. `Absent`: there is none at all.
///
/// The legacy framework is read by a program, and only where the kernel says that it has tables.
pub fn read(programs: &Programs, until: Instant) -> Seen<Rulesets> {
    let mut found = Rulesets::default();
    match dump::nf_tables(until) {
        Seen::Value(ruleset) if ruleset.tables.is_empty() && ruleset.left_out.is_empty() => {}
        Seen::Value(ruleset) => found.rulesets.push(ruleset),
        Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    for family in legacy::FAMILIES {
        let (key, of) = if family.ipv4 { ("legacy ip", Family::Ip) } else { ("legacy ip6", Family::Ip6) };
        match legacy::rules(family, programs) {
            Seen::Value(text) => {
                let ruleset = mxray_firewall::legacy::parse(of, &mut text.as_slice());
                found.rulesets.push(ruleset);
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                found.unread.insert(key.to_owned(), blind);
            }
        }
    }
    if found.rulesets.is_empty() && found.unread.is_empty() { Seen::Absent } else { Seen::Value(found) }
}
