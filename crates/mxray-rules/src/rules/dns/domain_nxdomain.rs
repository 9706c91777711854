//! DNS101: a domain does not exist.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "DNS101",
    name: "domain-nxdomain",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a domain of mail does not exist in DNS",
    page: include_str!("domain_nxdomain.md"),
    check,
};

/// Any of them tells it (RFC 8020).
const KINDS: [&str; 6] = ["MX", "SOA", "NS", "TXT", "A", "AAAA"];

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let lookups = KINDS.iter().filter_map(|kind| evidence.lookups.get_key_value(&Lookup::key(kind, name)));
        let lookups: Vec<(&String, &Lookup)> = lookups.collect();
        let exists = |lookup: &Lookup| matches!(lookup.outcome, DnsOutcome::Found | DnsOutcome::NoData);
        // Behind an alias, it is the target that does not exist: that is DNS106's.
        let is_gone = |lookup: &Lookup| lookup.outcome == DnsOutcome::NoSuchName && lookup.records.is_empty();
        if lookups.iter().any(|(_, lookup)| exists(lookup)) {
            judgement.well(format!("{name} exists"));
            continue;
        }
        let Some((key, _)) = lookups.iter().find(|(_, lookup)| is_gone(lookup)) else {
            if let Some(blind) = lookups.iter().find_map(|(_, lookup)| lookup.found().blind().cloned()) {
                judgement.blind(&RULE, &blind);
            }
            continue;
        };
        let ours = published::is_ours(domain);
        let effect = if ours { "mail for it bounces, and mail in its name is refused" } else { "mail for it bounces" };
        let summary = format!("{name} does not exist in DNS (NXDOMAIN): {effect}.");
        let mut finding = zones::finding(&RULE, RULE.severity, published::subject(name), domain, true, summary)
            .confidence(0.95)
            .because(
                format!("The name servers say that there is no {name}."),
                "DNS",
                crate::view::pointer(["lookups", key]),
            )
            .touches(zones::name_subject(name))
            .reference("RFC 8020")
            .reference("RFC 5321 section 5.1");
        let step = if ours {
            "Look whether the name is spelled right. If it is, look at the registrar whether the registration has ended or is on hold, and have the domain delegated again."
        } else {
            "Look whether the name is spelled right; if it is, its owner has to see to the registration."
        };
        finding = finding.fix(
            Fix::here(step)
                .command(format!("dig {} SOA", shell_word(name)))
                .verify(format!("mxray domain {}", shell_word(name))),
        );
        judgement.find(finding);
    }
    Ok(judgement)
}
