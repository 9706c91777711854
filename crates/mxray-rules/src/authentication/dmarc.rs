//! What the rules on DMARC share: what was found for each domain, and the record that applies to it.

use super::{Of, each, subject};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DmarcDiscovery, DmarcRecord};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity};

/// Every domain's discovery.
pub fn discoveries(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Of<'_>, &DmarcDiscovery, &mut Judgement)) -> Said {
    each(evidence, rule, |of, judgement| match &of.domain.dmarc {
        Seen::Value(found) => judge(of, found, judgement),
        Seen::Absent => judgement.well(format!("{}: no DMARC record applies", of.name)),
        Seen::Unknown(blind) => judgement.blind(rule, blind),
    })
}

/// The record that applies, and whose it is. That there is none is DMARC101's.
pub struct Applied<'a> {
    pub of: Of<'a>,
    pub owner: &'a str,
    pub record: &'a DmarcRecord,
}

impl Applied<'_> {
    /// A finding about the record: a parent's is told once, for all names below it.
    pub fn finding(&self, rule: &Rule, severity: Severity, summary: String) -> Finding {
        rule.finding_as(severity, subject(self.owner), summary)
            .data("domain", self.of.name)
            .data("record", self.record.text.as_str())
            .touches(self.of.subject())
    }

    pub fn name(&self) -> String {
        format!("_dmarc.{}", self.owner)
    }

    pub fn source(&self) -> String {
        format!("TXT {}", self.name())
    }

    /// A pointer below the record.
    pub fn pointer(&self, rest: &[&str]) -> String {
        self.of.pointer(&[&["dmarc", "value", "record"], rest].concat())
    }

    pub fn verified(&self, fix: Fix) -> Fix {
        verified(fix, self.of.name)
    }
}

pub fn verified(fix: Fix, name: &str) -> Fix {
    fix.verify(format!("mxray domain {name} --trace --no-connect"))
}

pub fn records(evidence: &Evidence, rule: &Rule, judge: impl Fn(&Applied<'_>, &mut Judgement)) -> Said {
    discoveries(evidence, rule, |of, found, judgement| {
        match (&found.record, &found.current.record_of, &found.current.unknown) {
            (Some(record), Some(owner), _) => judge(&Applied { of: *of, owner, record }, judgement),
            (_, _, Some(why)) => judgement.blind(rule, &Blind::NotAttempted { why: why.clone() }),
            _ => judgement.well(format!("{}: there is no DMARC record that this could be said of", of.name)),
        }
    })
}

/// The record with one tag set, at its place or at the end. Tags are taken as text: what follows stays as it is.
pub fn with_tag(record: &str, tag: &str, value: &str) -> String {
    let mut parts: Vec<String> =
        record.split(';').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect();
    let is_it = |part: &String| part.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(tag));
    let text = format!("{tag}={value}");
    match parts.iter().position(is_it) {
        Some(at) => {
            if let Some(part) = parts.get_mut(at) {
                *part = text;
            }
        }
        // `p=` stands second, for receivers of RFC 7489.
        None if tag == "p" => parts.insert(1.min(parts.len()), text),
        None => parts.push(text),
    }
    parts.join("; ")
}

/// The record without one tag.
pub fn without_tag(record: &str, tag: &str) -> String {
    let is_it = |part: &&str| part.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(tag));
    record.split(';').map(str::trim).filter(|p| !p.is_empty() && !is_it(p)).collect::<Vec<_>>().join("; ")
}
