//! DNS106: a name of a domain's mail is an alias of one that does not exist.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::zones;
use mxray_model::evidence::{DnsOutcome, Lookup, RecordData};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Severity};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "DNS106",
    name: "dangling-alias",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a name of the domain's mail is an alias of a name that does not exist",
    page: include_str!("dangling_alias.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let own = evidence.lookups.iter().filter(|(_, lookup)| {
            zones::domain_of(evidence, &lookup.name).is_some_and(|(of, _)| of == name)
                && !zones::is_made_up(&lookup.name)
        });
        let (mut dangling, mut answered): (BTreeMap<&str, (&String, &str)>, usize) = (BTreeMap::new(), 0);
        for (key, lookup) in own {
            match &lookup.outcome {
                DnsOutcome::NoSuchName => {
                    if let Some(target) = target(lookup) {
                        dangling.entry(lookup.name.as_str()).or_insert((key, target));
                    }
                    answered += 1;
                }
                DnsOutcome::Found | DnsOutcome::NoData => answered += 1,
                DnsOutcome::Refused { .. } | DnsOutcome::NoAnswer { .. } | DnsOutcome::NotAsked(_) => {
                    if let Some(blind) = lookup.found().blind() {
                        judgement.blind(&RULE, blind);
                    }
                }
            }
        }
        if dangling.is_empty() && answered > 0 {
            judgement.well(format!("no name of {name}'s mail is an alias that leads nowhere"));
        }
        for (alias, (key, target)) in dangling {
            let summary = format!("{alias} is an alias of {target}, and that name does not exist.");
            let fix = published::zone_step(
                name,
                published::is_ours(domain),
                "Let the alias name what exists now, as the provider says; if the service is no longer used, remove the CNAME record: whoever registers the target takes the name over.",
            );
            let finding = zones::finding(&RULE, RULE.severity, zones::name_subject(alias), domain, false, summary)
                .confidence(0.95)
                .because(
                    format!("{alias} CNAME {target}; the name servers say NXDOMAIN."),
                    key.clone(),
                    view::pointer(["lookups", key]),
                )
                .data("alias", alias)
                .data("target", target)
                .reference("RFC 1034 section 3.6.2")
                .fix(
                    fix.command(format!("dig {} CNAME", shell_word(alias)))
                        .verify(format!("mxray domain {}", shell_word(name))),
                );
            // A key is one of several; a policy is the domain's.
            let whole = !alias.contains("._domainkey.");
            judgement.find(if whole { finding.touches(published::subject(name)) } else { finding });
        }
    }
    Ok(judgement)
}

/// The last name that an alias led to.
fn target(lookup: &Lookup) -> Option<&str> {
    lookup.records.iter().rev().find_map(|record| match &record.data {
        RecordData::Cname { target } => Some(target.as_str()),
        _ => None,
    })
}
