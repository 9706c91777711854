//! MX105: a null MX whose preference is not 0.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{MailRoute, MailRouteProblem};
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "MX105",
    name: "null-mx-bad-preference",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a null MX has another preference than 0",
    page: include_str!("null_mx_bad_preference.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        let name = routed.name;
        let preference = routed.problems().find_map(|problem| match problem {
            MailRouteProblem::NullPreference { preference } => Some(*preference),
            _ => None,
        });
        let Some(preference) = preference else {
            if matches!(routed.routing.route, MailRoute::Null) {
                judgement.well(format!("the null MX of {name} has the preference 0"));
            }
            continue;
        };
        // Beside others its preference is the smaller fault (MX104).
        if !matches!(routed.routing.route, MailRoute::Null) {
            continue;
        }
        let summary = format!(
            "The null MX of {name} has the preference {preference}: strict senders take it for a host, and try for days."
        );
        let fix = routed.step("Publish it with the preference 0.").record(name, "MX", "0 .");
        let finding = routed
            .finding(&RULE, RULE.severity, false, summary)
            .data("preference", preference)
            .reference("RFC 7505 section 3")
            .fix(fix);
        judgement.find(finding);
    }
    Ok(judgement)
}
