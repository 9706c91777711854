//! LOOK002: the name servers say SERVFAIL, or another code that is no answer; asked without validation, they tell whether it is
//! DNSSEC.

use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::zones;
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Fix, Severity};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    code: "LOOK002",
    name: "dns-servfail",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a name cannot be looked up: the name servers say SERVFAIL, or another code that is no answer",
    page: include_str!("dns_servfail.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    if evidence.lookups.is_empty() {
        let why = "no name was asked for".to_owned();
        judgement.blind(&RULE, &Blind::Elsewhere { why, look: "mxray doctor DOMAIN".to_owned() });
        return Ok(judgement);
    }
    // Lists have rules of their own.
    let of_list = |name: &str| evidence.names.listings.values().any(|listing| zones::is_in(name, &listing.zone));
    let answers =
        |lookup: &&Lookup| matches!(lookup.outcome, DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName);
    let answered = evidence.lookups.values().filter(answers).count();
    let serves = answered > 0;
    let mut failed: BTreeMap<String, Vec<(&String, &Lookup)>> = BTreeMap::new();
    for (key, lookup) in &evidence.lookups {
        let fails = match &lookup.outcome {
            // A server that refuses everything does not serve us; one that refuses a name of a domain does not serve that.
            DnsOutcome::Refused { rcode } if rcode == "REFUSED" => {
                serves && zones::domain_of(evidence, &lookup.name).is_some()
            }
            DnsOutcome::Refused { .. } => true,
            DnsOutcome::Found
            | DnsOutcome::NoData
            | DnsOutcome::NoSuchName
            | DnsOutcome::NoAnswer { .. }
            | DnsOutcome::NotAsked(_) => false,
        };
        let counts =
            !of_list(&lookup.name) && !zones::is_made_up(&lookup.name) && !zones::nobody_asks(evidence, lookup);
        if fails && counts {
            failed.entry(lookup.name.to_ascii_lowercase()).or_default().push((key, lookup));
        }
    }
    if failed.is_empty() && answered > 0 {
        judgement.well(format!("{answered} questions to DNS did not fail"));
    }
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in failed.keys() {
        if let Some(domain) = zones::fails_with(evidence, &failed, name) {
            below.entry(domain).or_default().insert(name);
        }
    }
    let stands_alone = |name: &str| !below.values().any(|names| names.contains(name));
    for names in together(evidence, failed.iter().filter(|(name, _)| stands_alone(name))) {
        let Some((name, lookups)) = names.first() else { continue };
        let beside: Vec<&str> = names.iter().skip(1).map(|(name, _)| name.as_str()).collect();
        let mut finding = finding(name, lookups, below.get(name.as_str()).unwrap_or(&BTreeSet::new()), &beside);
        if let Some((domain, _)) = zones::domain_of(evidence, name) {
            finding = finding.touches(crate::published::subject(domain));
        }
        for other in beside {
            finding = finding.touches(zones::name_subject(other));
        }
        judgement.find(finding);
    }
    Ok(judgement)
}

type Failed<'a> = (&'a String, &'a Vec<(&'a String, &'a Lookup)>);

/// Names of one domain that fail in the same way are one thing to mend: its servers answer some questions and not others.
fn together<'a>(evidence: &Evidence, failed: impl Iterator<Item = Failed<'a>>) -> Vec<Vec<Failed<'a>>> {
    let mut groups: BTreeMap<(String, Option<bool>), Vec<Failed<'a>>> = BTreeMap::new();
    for (name, lookups) in failed {
        let domain = zones::domain_of(evidence, name).map_or(name.as_str(), |(domain, _)| domain);
        let why = lookups.iter().find_map(|(_, lookup)| lookup.fails_validation());
        groups.entry((domain.to_owned(), why)).or_default().push((name, lookups));
    }
    groups.into_values().collect()
}

fn code(lookup: &Lookup) -> Option<&str> {
    match &lookup.outcome {
        DnsOutcome::Refused { rcode } => Some(rcode),
        _ => None,
    }
}

fn finding(
    name: &str,
    lookups: &[(&String, &Lookup)],
    below: &BTreeSet<&str>,
    beside: &[&str],
) -> mxray_model::Finding {
    let kinds: Vec<&str> = lookups.iter().map(|(_, lookup)| lookup.kind.as_str()).collect();
    let again: Vec<bool> = lookups.iter().filter_map(|(_, lookup)| lookup.fails_validation()).collect();
    let codes: BTreeSet<&str> = lookups.iter().filter_map(|(_, lookup)| code(lookup)).collect();
    let codes = codes.into_iter().collect::<Vec<_>>().join(" and ");
    let (why, step) = if codes != "SERVFAIL" {
        (
            "which is no answer: whoever asks on behalf of mail learns nothing there, either",
            "Ask the domain's own name servers one by one, for this type; whoever runs the one that says so has to mend it, or the list of those whom it serves.",
        )
    } else if again.contains(&true) {
        (
            "the resolver's validation (DNSSEC) fails, and without it there is an answer",
            "Look at the domain's DNSSEC: signatures that have expired, or a DS record that names a key that is gone.",
        )
    } else if again.contains(&false) {
        (
            "also without validation: the domain's own name servers do not answer, or do not answer for it",
            "Ask the domain's own name servers one by one; whoever runs them has to mend what does not answer.",
        )
    } else {
        ("why is not known", "Ask the domain's own name servers one by one.")
    };
    let kinds_text = kinds.join(", ");
    let what = match below.len() {
        0 => format!("{kinds_text} {name}"),
        more => format!("{kinds_text} {name}, and {more} names below it"),
    };
    let what = match beside {
        [] => what,
        [one] => format!("{what}, and {one}"),
        many => format!("{what}, and {} other names of the domain", many.len()),
    };
    let summary = format!("{what}: the name servers say {codes} ({why}).");
    let mut finding =
        RULE.finding(zones::name_subject(name), summary).confidence(if again.is_empty() { 0.7 } else { 0.9 });
    for (key, lookup) in lookups {
        let more: Vec<String> = lookup.tries.iter().flat_map(|one| one.extended.iter().cloned()).take(2).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
        finding = finding.because(
            format!("{} {name}: {}{more}.", lookup.kind, code(lookup).unwrap_or_default()),
            format!("{} tries", lookup.tries.len()),
            view::pointer(["lookups", key]),
        );
        for one in &lookup.tries {
            finding = finding.touches(resolvers::subject(one.server.ip()));
        }
    }
    let kind = kinds.first().copied().unwrap_or("A");
    finding
        .data("codes", codes)
        .data("kinds", kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>())
        .data("validation", again.contains(&true))
        .data("below", below.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .data("beside", beside.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .reference("RFC 4035 section 5.5")
        .reference("RFC 2308 section 7.1")
        .fix(
            Fix::here(step)
                .command(format!("dig +cd {} {kind}", shell_word(name)))
                .command(format!("dig +trace {} {kind}", shell_word(name)))
                .verify(format!("mxray domain {}", shell_word(name))),
        )
}
