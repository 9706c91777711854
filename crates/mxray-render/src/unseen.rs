//! What could not be looked at, grouped: eight codes with one reason are one entry, and root is asked for once.

use mxray_model::Report;
use std::collections::{BTreeMap, BTreeSet};

/// Up to so many codes are named each; of more, the families are counted.
const CODES_NAMED: usize = 6;
/// Up to so many other things are named.
const OTHERS_NAMED: usize = 24;

/// Reasons that the same step would remove.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// What would make it visible, as a sentence; empty where nothing is known to.
    pub remedy: String,
    pub reasons: Vec<Reason<'a>>,
}

impl Group<'_> {
    /// Each reason with what it hides; unless `every`: of those that hide the same, the first, and how many there are.
    pub fn lines(&self, every: bool) -> Vec<String> {
        let mut folded: Vec<(String, &str, usize)> = Vec::new();
        for reason in &self.reasons {
            let hidden = reason.hidden(every);
            match folded.iter_mut().find(|(same, _, _)| !every && *same == hidden) {
                Some((_, _, more)) => *more += 1,
                None => folded.push((hidden, reason.why, 0)),
            }
        }
        let line = |(hidden, why, more): &(String, &str, usize)| match more {
            0 => format!("{hidden}: {why}"),
            more => format!("{hidden}: {why} (and {more} more like it)"),
        };
        folded.iter().map(line).collect()
    }
}

/// One reason and everything that it hides.
#[derive(Debug)]
pub(crate) struct Reason<'a> {
    pub why: &'a str,
    pub what: Vec<&'a str>,
}

impl Reason<'_> {
    /// What it hides, in short; `every`: all of it.
    pub fn hidden(&self, every: bool) -> String {
        let (codes, others): (Vec<&str>, Vec<&str>) = self.what.iter().partition(|what| family(what).is_some());
        let mut named: Vec<String> = Vec::new();
        if every || codes.len() <= CODES_NAMED {
            named.extend(codes.iter().map(|code| (*code).to_owned()));
        } else {
            named.push(format!("{} checks ({})", codes.len(), by_family(&codes)));
        }
        let shown = if every { others.len() } else { OTHERS_NAMED };
        named.extend(others.iter().take(shown).map(|what| (*what).to_owned()));
        let more = if others.len() > shown { format!(" and {} more", others.len() - shown) } else { String::new() };
        format!("{}{more}", named.join(", "))
    }
}

/// `SMTP` of `SMTP101`; `None`: this is no code.
pub(crate) fn family(what: &str) -> Option<&str> {
    let end = what.find(|c: char| !c.is_ascii_uppercase())?;
    let (family, number) = what.split_at(end);
    (!family.is_empty() && number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit())).then_some(family)
}

/// `9 SMTP, 6 AUTH, FW106`: the largest families first.
fn by_family(codes: &[&str]) -> String {
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for code in codes {
        families.entry(family(code).unwrap_or_default()).or_default().push(code);
    }
    let mut families: Vec<_> = families.into_iter().collect();
    families.sort_by_key(|(_, codes)| std::cmp::Reverse(codes.len()));
    let words = families.iter().map(|(family, codes)| match codes.as_slice() {
        [code] => (*code).to_owned(),
        codes => format!("{} {family}", codes.len()),
    });
    words.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::{Group, Reason};

    fn hidden(what: &[&str], every: bool) -> String {
        Reason { why: "", what: what.to_vec() }.hidden(every)
    }

    #[test]
    fn few_codes_are_named_and_many_are_counted_by_family() {
        assert_eq!(hidden(&["SPF117"], false), "SPF117");
        let many = ["AUTH101", "AUTH103", "FW106", "SMTP101", "SMTP102", "SMTP103", "TLS101"];
        assert_eq!(hidden(&many, false), "7 checks (3 SMTP, 2 AUTH, FW106, TLS101)");
        assert_eq!(hidden(&many, true), many.join(", "));
    }

    #[test]
    fn reasons_that_hide_the_same_are_said_once() {
        let reason = |why, what: &[&'static str]| Reason { why, what: what.to_vec() };
        let reasons = vec![
            reason("one port says no", &["TLS102"]),
            reason("no name server", &["DNS101"]),
            reason("another port says no", &["TLS102"]),
        ];
        let group = Group { remedy: String::new(), reasons };
        assert_eq!(group.lines(false), ["TLS102: one port says no (and 1 more like it)", "DNS101: no name server"]);
        assert_eq!(group.lines(true).len(), 3);
    }

    #[test]
    fn what_is_no_code_is_named() {
        assert_eq!(hidden(&["the queue of postfix", "SOCK1", "101"], false), "the queue of postfix, SOCK1, 101");
        let files: Vec<String> = (0..30).map(|n| format!("/etc/map{n}")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert!(hidden(&files, false).ends_with("/etc/map23 and 6 more"));
        assert!(hidden(&files, true).ends_with("/etc/map29"));
    }
}
