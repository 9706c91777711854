//! DMARC102: more than one DMARC record.

use crate::authentication::dmarc::{discoveries, verified};
use crate::authentication::{change, subject};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::DmarcFound;
use mxray_model::{Blind, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: "DMARC102",
    name: "dmarc-multiple",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "more than one DMARC record under one name: all are ignored",
    page: include_str!("multiple.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    discoveries(evidence, &RULE, |of, found, judgement| {
        let several = found.walk.iter().enumerate().find_map(|(at, step)| match step.found {
            DmarcFound::Several { count } => Some((at, step.domain.as_str(), count)),
            _ => None,
        });
        let Some((at, domain, count)) = several else {
            return match &found.current.unknown {
                Some(why) => judgement.blind(&RULE, &Blind::NotAttempted { why: why.clone() }),
                None => judgement.well(format!("{}: no name of its walk has more than one DMARC record", of.name)),
            };
        };
        let effect = match &found.current.record_of {
            Some(owner) => format!("the record of {owner} applies instead"),
            None => "no policy applies".to_owned(),
        };
        let step = change("Keep one record, with all that is meant, and take the others away.");
        judgement.find(
            RULE.finding(
                subject(domain),
                format!("_dmarc.{domain} has {count} DMARC records, so receivers ignore all of them: {effect}."),
            )
            .because(
                format!("{count} TXT records begin with v=DMARC1"),
                format!("TXT _dmarc.{domain}"),
                of.pointer(&["dmarc", "value", "walk", &at.to_string()]),
            )
            .data("domain", of.name)
            .data("count", count)
            .touches(of.subject())
            .fix(verified(step, of.name))
            .reference("RFC 9989 section 4.10"),
        );
    })
}
