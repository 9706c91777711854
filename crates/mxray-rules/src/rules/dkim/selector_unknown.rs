//! DKIM101: nobody has named a selector, so nothing is known of the domain's keys.

use crate::authentication::{change, each};
use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DKIM101",
    name: "dkim-selector-unknown",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "no selector of a domain is known: whether it publishes keys cannot be found out",
    page: include_str!("selector_unknown.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    each(evidence, &RULE, |of, judgement| {
        let count = of.domain.selectors.len();
        if count > 0 {
            return judgement.well(format!("{}: {count} of its selectors are known", of.name));
        }
        if of.is_parked()
            || !(of.sends() || of.domain.why.contains(&mxray_model::evidence::published::DomainWhy::Asked))
        {
            return judgement.well(format!("{}: nothing is known to be signed in its name", of.name));
        }
        let step = change("Name a selector, or give a mail that the domain has signed.")
            .verify(format!("mxray domain {} --selector SELECTOR", of.name));
        judgement.find(
            RULE.finding(
                of.subject(),
                format!(
                    "No selector of {} is known: its DKIM keys were not looked at, and may well be there.",
                    of.name
                ),
            )
            .because(
                "neither the command line, nor a mail, nor a signer of this host names one; DNS cannot list them",
                "selectors",
                of.pointer(&["selectors"]),
            )
            .data("domain", of.name)
            .fix(step)
            .reference("RFC 6376 section 3.1"),
        );
    })
}
