//! DMARC104: the policy asks for nothing.

use crate::authentication::dmarc::{records, with_tag};
use crate::authentication::publish;
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcPolicy;
use mxray_model::{Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC104",
    name: "dmarc-none",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "the DMARC policy asks for nothing (p=none)",
    page: include_str!("policy_none.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    records(evidence, &RULE, |applied, judgement| {
        let record = applied.record;
        if record.policy != DmarcPolicy::None {
            return judgement.well(format!(
                "the DMARC record of {} asks for {}",
                applied.owner,
                record.policy.as_str()
            ));
        }
        let next = if applied.of.is_parked() { "reject" } else { "quarantine" };
        let text = "When reports show that all of the domain's mail is aligned, ask for more:";
        let step = publish(text, &applied.name(), &with_tag(&record.text, "p", next));
        judgement.find(
            applied
                .finding(
                    &RULE,
                    RULE.severity,
                    format!(
                        "The DMARC record of {} asks receivers for nothing: forged mail is only reported.",
                        applied.owner
                    ),
                )
                .because("p=none", applied.source(), applied.pointer(&["policy"]))
                .fix(applied.verified(step))
                .reference("RFC 9989 section 4.7"),
        );
    })
}
