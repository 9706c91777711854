//! The catalogue of findings, and which of them explain which.
//!
//! One rule is one file with one page beside it (`rules/sock/listener_missing.rs` and `.md`) and one line in the list
//! in `rules/mod.rs`; nothing else. A rule is a pure function of [`Evidence`]: it cannot learn the time, the host's
//! name or whether a socket exists except from there. Start reading at [`Rule`], then [`examine`], then `causes.rs`.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod assigned;
mod authentication;
mod causes;
mod claims;
mod exim;
mod filters;
mod leaving;
mod logged;
mod logins;
mod others_dates;
mod outside;
mod place;
mod policies;
mod precedence;
mod prepared;
mod published;
mod reach;
mod replies;
mod resolvers;
mod rule;
mod rules;
mod service_units;
mod support;
mod transport;
mod unprivileged;
mod view;
mod words;
mod zones;

#[cfg(test)]
mod pages;
#[cfg(test)]
mod played;
#[cfg(test)]
mod traps;

pub use causes::fold;
pub use filters::{decided_by, fixes as filter_fixes};
pub use precedence::{LINKS, Link, NEAREST_FIRST, explains};
pub use published::listing_severity;
pub use rule::{Judgement, Rule, Said};
pub use service_units::in_charge;

use mxray_model::{Evidence, Finding, Row, RuledOut, Unseen};

/// A moment before which this program cannot have been made, in seconds since 1970: when its dated table was last checked.
/// A clock that is before it is behind.
pub fn made_after_s() -> Option<i64> {
    support::begins_s(support::READ_ON)
}

/// Every rule, in the order of codes.
pub fn catalogue() -> &'static [Rule] {
    rules::CATALOGUE
}

/// The rule with this code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    catalogue().iter().find(|rule| rule.code == code)
}

/// What all rules together say of one piece of evidence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// All findings, ordered, each with the ids of those that it explains.
    pub findings: Vec<Finding>,
    /// The findings that no other explains and that are bad enough to be causes, most damaging first.
    pub causes: Vec<Finding>,
    pub ruled_out: Vec<RuledOut>,
    pub healthy: Vec<Row>,
    pub unseen: Vec<Unseen>,
}

/// Runs every rule, folds consequences under their causes, and ranks the causes.
pub fn examine(evidence: &Evidence) -> Judged {
    examine_by(evidence, |_| true)
}

/// The same with some of the rules.
pub fn examine_by(evidence: &Evidence, asked: impl Fn(&Rule) -> bool) -> Judged {
    let judged = in_charge(evidence);
    let rules = catalogue().iter().filter(|rule| asked(rule));
    let judgements: Vec<(&Rule, Judgement)> = rules.map(|rule| (rule, rule.judge(&judged))).collect();
    let findings = judgements.iter().flat_map(|(_, judgement)| judgement.findings.clone()).collect();
    let (findings, causes) = fold(findings);

    // A rule that holds and could have explained what was found is a rival that the facts cleared.
    let rivals = precedence::may_explain(&findings);
    let mut judged = Judged { findings, causes, unseen: service_units::notes(evidence), ..Judged::default() };
    for (rule, judgement) in judgements {
        judged.unseen.extend(judgement.unseen);
        if !judgement.findings.is_empty() {
            continue;
        }
        let rival = rivals.contains(rule.code);
        for text in judgement.well {
            if rival {
                let (code, name) = (rule.code.to_owned(), rule.name.to_owned());
                judged.ruled_out.push(RuledOut { code, name, because: text });
            } else {
                judged.healthy.push(Row { code: rule.code.to_owned(), text });
            }
        }
    }
    judged.unseen.sort();
    judged.unseen.dedup();
    judged
}
