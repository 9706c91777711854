//! LIST106: lists whose answers cannot be believed.

use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "LIST106",
    name: "list-unhealthy",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "lists that cannot be believed: dead, empty, or a resolver answers in their place",
    page: include_str!("unhealthy.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let rewritten = evidence.names.rewrites.value() == Some(&true);
    Ok(super::about_lists(
        evidence,
        &RULE,
        |listing| listing.unhealthy,
        "lists know their own test entries",
        |bad, all, first| {
            let (summary, text) = match (rewritten, bad) {
                (true, _) => (
                    format!("The resolver makes up addresses: none of {all} lists can be believed."),
                    "Use a resolver that says so when a name does not exist. With this one, a mail server that asks lists takes every \
                 sender for listed.",
                ),
                (false, 1) => (
                    format!("{first} cannot be believed: it does not know its own test entries."),
                    "Take it out of the mail server's lists, and out of [lists] zones, if it stands there: a dead list says no to \
                 everything, or yes to everything.",
                ),
                (false, _) => (
                    format!(
                        "{bad} of {all} lists cannot be believed, {first} among them: they do not know their own test entries."
                    ),
                    "Take them out of the mail server's lists, and out of [lists] zones: a dead list says no to everything, or yes to \
                 everything. Where it is nearly all of them, the resolver is at fault.",
                ),
            };
            (summary, Fix::here(text).verify("mxray lists ADDRESS"))
        },
    ))
}
