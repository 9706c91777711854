//! LIST105: lists that refuse the question.

use crate::rule::{Rule, Said};
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "LIST105",
    name: "list-refused",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "lists refuse to answer: nothing is known of what they have",
    page: include_str!("refused.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    Ok(super::about_lists(
        evidence,
        &RULE,
        |listing| listing.refused,
        "no list refuses to answer",
        |bad, all, first| {
            let summary = if bad == 1 {
                format!("{first} refuses to answer: whether it lists anything of this host is not known.")
            } else {
                format!(
                    "{bad} of {all} lists refuse to answer, {first} among them: whether they list anything of this host is not known."
                )
            };
            let text = "Lists refuse public resolvers, resolvers that ask too much, and names that are mistyped. Ask by a resolver of \
                    your own that asks the lists itself; mail servers that use lists need one, too.";
            (summary, Fix::here(text).verify("mxray lists ADDRESS --resolver ADDRESS-OF-AN-OWN-RESOLVER"))
        },
    ))
}
