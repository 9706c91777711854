//! What could not be looked at, grouped: eight codes with one reason are one entry, and root is asked for once.

use mxray_model::Report;
use std::collections::BTreeSet;

/// Reasons that the same step would remove.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// What would make it visible, as a sentence; empty where nothing is known to.
    pub remedy: String,
    pub reasons: Vec<Reason<'a>>,
}

/// One reason and everything that it hides.
#[derive(Debug)]
pub(crate) struct Reason<'a> {
    pub why: &'a str,
    pub what: Vec<&'a str>,
}

/// The unseen, by remedy and reason, in the report's order.
pub(crate) fn grouped(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<(Key<'_>, BTreeSet<&str>, Vec<Reason<'_>>)> = Vec::new();
    let mut group_of = std::collections::BTreeMap::new();
    let mut reason_of = std::collections::BTreeMap::new();
    for unseen in &report.unseen {
        let key = Key::of(&unseen.needs);
        let group = *group_of.entry(key).or_insert_with(|| {
            groups.push((key, BTreeSet::new(), Vec::new()));
            groups.len() - 1
        });
        let Some((_, needs, reasons)) = groups.get_mut(group) else { continue };
        needs.insert(unseen.needs.as_str());
        let reason = *reason_of.entry((group, unseen.why.as_str())).or_insert_with(|| {
            reasons.push(Reason { why: &unseen.why, what: Vec::new() });
            reasons.len() - 1
        });
        if let Some(reason) = reasons.get_mut(reason)
            && reason.what.last() != Some(&unseen.what.as_str())
        {
            reason.what.push(&unseen.what);
        }
    }
    groups.into_iter().map(|(key, needs, reasons)| Group { remedy: key.remedy(&needs), reasons }).collect()
}

/// What separates groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// Root has every capability, so one run as root answers all of them.
    Privilege,
    Other(&'a str),
    Nothing,
}

impl<'a> Key<'a> {
    fn of(needs: &'a str) -> Self {
        let word = needs.trim();
        if word.is_empty() {
            Key::Nothing
        } else if word.eq_ignore_ascii_case("root") || is_capability(word) {
            Key::Privilege
        } else {
            Key::Other(needs)
        }
    }

    fn remedy(self, needs: &BTreeSet<&str>) -> String {
        match self {
            Key::Nothing => String::new(),
            Key::Other(needs) => format!("To see it: {needs}."),
            Key::Privilege if needs.iter().all(|need| is_capability(need.trim())) => {
                let names: Vec<_> = needs.iter().map(|need| need.trim().to_ascii_uppercase()).collect();
                format!("To see it: run as root, or with {}.", names.join(", "))
            }
            Key::Privilege => "To see it: run as root.".to_owned(),
        }
    }
}

fn is_capability(word: &str) -> bool {
    let head = word.as_bytes().get(..4).unwrap_or_default();
    head.eq_ignore_ascii_case(b"cap_") && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}
