//! SPF111: the mechanism ptr.

use crate::authentication::spf::{self, Picked};
use crate::authentication::{Of, change, publish};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "SPF111",
    name: "spf-ptr-used",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "an SPF record uses ptr, which is slow, unreliable and not to be published",
    page: include_str!("ptr_used.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    spf::flawed(evidence, &RULE, "no SPF record uses ptr", pick, finding)
}

fn pick(flaw: &SpfFlaw) -> Option<String> {
    match &flaw.problem {
        SpfProblem::PtrUsed { term } => Some(format!("\"{term}\" in the record of {}", flaw.domain)),
        _ => None,
    }
}

fn finding(of: &Of<'_>, survey: &SpfSurvey, picked: &[Picked<'_>]) -> Finding {
    let whose = picked.first().map_or_else(String::new, |one| spf::whose(of, one.flaw));
    let summary =
        format!("{whose} uses ptr, which some receivers skip and others are slow at: its hosts may not pass.");
    let is_ptr = |term: &str| {
        let bare = term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
        bare == "ptr" || bare.starts_with("ptr:")
    };
    let record = survey.record.as_deref().unwrap_or_default();
    let step = if record.split(' ').any(is_ptr) {
        let left = spf::without(record, is_ptr);
        let text = "Name the hosts that it stands for as ip4: and ip6:, then take it out. Without it the record reads:";
        publish(text, of.name, &left)
    } else {
        change("It stands in a record of somebody else: tell them, or name their addresses instead of the include.")
    };
    spf::finding(&RULE, of, summary).fix(spf::verified(step, of)).reference("RFC 7208 section 5.5")
}
