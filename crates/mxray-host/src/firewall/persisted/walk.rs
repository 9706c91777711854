//! What mail asks, asked of the ruleset that the next start would make of a file in iptables-save's form.

use super::super::ask::Way;
use super::is_makers;
use mxray_firewall::{Family, Framework, Rule, Ruleset, Table};
use mxray_model::evidence::{FileLine, FilterAnswer, FilterVerdict, Firewall, Persisted, PersistedAnswer};

/// The file's tables in the place of those of the same family and name that iptables keeps.
pub(super) fn whole_tables(
    way: &mut Way<'_>,
    running: &Firewall,
    (file, text, ipv4): (&str, &[u8], bool),
    persisted: &mut Persisted,
) {
    let family = if ipv4 { Family::Ip } else { Family::Ip6 };
    let written = mxray_firewall::legacy::parse(family, &mut &*text);
    let mut rulesets: Vec<Ruleset> = way.rulesets().to_vec();
    for ruleset in &mut rulesets {
        ruleset.tables.retain(|table| {
            let same = table.family == family && written.tables.iter().any(|other| other.name == table.name);
            // A table of nft's own that happens to have the name is loaded by something else.
            !(same && is_kept_by_iptables(table))
        });
    }
    rulesets.push(written);
    differences(way, running, &rulesets, (Some(file), Some(ipv4)), persisted);
}

fn is_kept_by_iptables(table: &Table) -> bool {
    let capital = |name: &str| name.chars().all(|c| c.is_ascii_uppercase());
    table.framework == Framework::Legacy
        || table.chains.iter().filter(|chain| chain.base.is_some()).all(|chain| capital(&chain.name))
}

/// The file's chains in the place of those of the same name.
pub(super) fn chains(
    way: &mut Way<'_>,
    running: &Firewall,
    (file, text, ipv4): (&str, &[u8], bool),
    persisted: &mut Persisted,
) {
    let family = if ipv4 { Family::Ip } else { Family::Ip6 };
    let written = mxray_firewall::legacy::parse(family, &mut &*text);
    let mut rulesets: Vec<Ruleset> = way.rulesets().to_vec();
    let mut met = false;
    for table in &written.tables {
        for chain in table.chains.iter().filter(|chain| chain.base.is_none()) {
            let places = rulesets.iter_mut().flat_map(|ruleset| &mut ruleset.tables);
            for running in places.filter(|running| running.family == family && running.name == table.name) {
                if let Some(place) = running.chains.iter_mut().find(|other| other.name == chain.name) {
                    place.rules.clone_from(&chain.rules);
                    met = true;
                }
            }
        }
    }
    if met {
        differences(way, running, &rulesets, (Some(file), Some(ipv4)), persisted);
        return;
    }
    // It is switched on, and none of its chains runs.
    let rules = written.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    for rule in rules.take(super::TOLD_MAX) {
        tell(file, rule, persisted);
    }
}

fn tell(file: &str, rule: &Rule, persisted: &mut Persisted) {
    persisted.only_in_file.push(FileLine { file: file.to_owned(), line: rule.line.unwrap_or(1) });
    persisted.only_in_file_texts.push(rule.written.clone().unwrap_or_default());
}

/// Notes the questions that `rulesets` answer otherwise than what runs: of one family, or of both.
pub(super) fn differences(
    way: &mut Way<'_>,
    running: &Firewall,
    rulesets: &[Ruleset],
    (file, ipv4): (Option<&str>, Option<bool>),
    persisted: &mut Persisted,
) {
    for (key, question) in &running.questions {
        // What most of its packets come to stands for it.
        let now = question.ends.first().and_then(|end| running.answers.get(&end.answer));
        let Some(now) = now.filter(|_| ipv4.is_none_or(|ipv4| question.ipv4 == ipv4)) else { continue };
        let then = way.walk_in(rulesets, &now.packet);
        let Some(passes_now) = passes(now) else { continue };
        let Some(passes_then) = passes(&then) else {
            persisted.untold.insert(key.clone(), why(&then));
            continue;
        };
        let made = now.by.as_ref().is_some_and(|rule| is_makers(rule.manager.as_deref()));
        if passes_now == passes_then || made {
            continue;
        }
        let decides = if passes_then { now } else { &then };
        let by = decides.by.as_ref().map_or_else(|| "policy".to_owned(), |rule| rule.text.clone());
        let at = then.by.as_ref().filter(|_| !passes_then).and_then(|rule| line_of(file?, rulesets, rule));
        persisted.differs.insert(key.clone(), PersistedAnswer { passes_now, passes_then, by, at });
    }
}

fn passes(answer: &FilterAnswer) -> Option<bool> {
    match answer.verdict {
        FilterVerdict::Pass => Some(true),
        FilterVerdict::Drop | FilterVerdict::Reject { .. } => Some(false),
        FilterVerdict::Queue | FilterVerdict::Unknown { .. } => None,
    }
}

fn why(answer: &FilterAnswer) -> String {
    match &answer.verdict {
        FilterVerdict::Unknown { why } => why.why(),
        _ => "a program behind NFQUEUE decides".to_owned(),
    }
}

fn line_of(file: &str, rulesets: &[Ruleset], rule: &mxray_model::evidence::FilterRule) -> Option<FileLine> {
    let tables = rulesets.iter().flat_map(|ruleset| &ruleset.tables).filter(|table| table.key() == rule.table);
    let found = tables
        .filter_map(|table| table.chain(&rule.chain))
        .find_map(|chain| chain.rules.iter().find(|other| other.position == rule.position && other.line.is_some()))?;
    Some(FileLine { file: file.to_owned(), line: found.line? })
}
