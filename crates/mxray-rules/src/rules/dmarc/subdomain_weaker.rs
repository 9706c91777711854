//! DMARC108: names below the domain are protected less than itself.

use crate::authentication::dmarc::{records, without_tag};
use crate::authentication::publish;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcProblem;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC108",
    name: "dmarc-subdomain-weaker",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the DMARC policy for names below the domain is weaker than its own",
    page: include_str!("subdomain_weaker.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    records(evidence, &RULE, |applied, judgement| {
        let weaker: Vec<(usize, &str, &str)> = applied
            .record
            .problems
            .iter()
            .enumerate()
            .filter_map(|(at, problem)| match problem {
                DmarcProblem::Weaker { tag, policy } => Some((at, tag.as_str(), policy.as_str())),
                _ => None,
            })
            .collect();
        let Some((_, tag, policy)) = weaker.first() else {
            return judgement.well(format!("names below {} are protected as it is itself", applied.owner));
        };
        let text = "If mail of names below the domain is aligned too, take the tag out: they have the domain's own policy then.";
        let record = weaker.iter().fold(applied.record.text.clone(), |record, (_, tag, _)| without_tag(&record, tag));
        let mut finding = applied
            .finding(
                &RULE,
                RULE.severity,
                format!(
                    "The DMARC record of {} asks for {}, and for {} of names below it ({tag}={policy}): those can be forged instead.",
                    applied.owner,
                    applied.record.policy.as_str(),
                    if *policy == "none" { "nothing" } else { policy },
                ),
            )
            .data("tags", weaker.iter().map(|(_, tag, _)| *tag).collect::<Vec<_>>());
        for (at, tag, policy) in &weaker {
            let pointer = applied.pointer(&["problems", &at.to_string()]);
            finding = finding.because(format!("{tag}={policy}"), applied.source(), pointer);
        }
        judgement.find(
            finding.fix(applied.verified(publish(text, &applied.name(), &record))).reference("RFC 9989 section 4.7"),
        );
    })
}
