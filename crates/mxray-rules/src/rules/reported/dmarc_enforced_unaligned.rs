//! DMARC114: a policy is enforced, and one of our own servers sends what does not align: as receivers report, or as the
//! configuration of this host's signers says.

use super::{domain, percent, reports};
use crate::authentication::alignment::{self, Foreign};
use crate::authentication::{self, Of};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::reports::{DmarcReports, OwnBy, ReportedSource, Unaligned};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeSet;

pub const RULE: Rule = Rule {
    code: "DMARC114",
    name: "dmarc-enforced-unaligned",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the domain's DMARC policy is enforced, and one of our own servers sends mail that does not align, by receivers' reports or by the configuration of a signer here",
    page: include_str!("dmarc_enforced_unaligned.md"),
    check,
};

/// Fewer messages may be a forwarder that nobody recognised.
const MESSAGES_MIN: u64 = 5;
/// A server that aligns otherwise: this much has to go wrong. Forwarders break signatures of a few.
const SHARE_OF_KNOWN: f64 = 2.0;
/// The same of an address that SPF alone makes ours: a provider's address may send for strangers as well.
const SHARE_OF_SPF: f64 = 10.0;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = match by_reports(evidence) {
        Ok(judgement) | Err(judgement) => judgement,
    };
    by_configuration(evidence, &mut judgement);
    Ok(judgement)
}

/// What this host's own signers write, held against the policies of the domains that it writes for. Where SPF vouches for all that
/// leaves here, mail is refused once somebody forwards it; without that, at the first receiver.
fn by_configuration(evidence: &Evidence, judgement: &mut Judgement) {
    for of in authentication::ours(evidence).filter(Of::sends) {
        let found = match &of.domain.dmarc {
            Seen::Value(found) => found,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        let Some(policy) = authentication::enforced(of.domain) else { continue };
        let foreign = match alignment::foreign(evidence, &of, found) {
            Seen::Value(foreign) => foreign,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, &blind);
                continue;
            }
        };
        match alignment::by_spf(evidence, &of) {
            Seen::Value(passes) => judgement.find(misconfigured(&of, policy.as_str(), &foreign, passes)),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
        }
    }
}

fn misconfigured(of: &Of<'_>, policy: &str, foreign: &[Foreign<'_>], by_spf: bool) -> Finding {
    let name = of.name;
    let names: BTreeSet<&str> = foreign.iter().flat_map(|one| one.names.iter().copied()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let who: Vec<&str> = foreign.iter().map(|one| one.software).collect();
    let (severity, effect) = if by_spf {
        (Severity::Warning, "only SPF vouches for it, and what is forwarded is refused")
    } else {
        (RULE.severity, "SPF does not vouch for it either, and receivers refuse it")
    };
    let summary = format!(
        "{name} publishes p={policy}, and {} here signs its mail in the name of {}, which is not aligned: {effect}.",
        authentication::listed(&who),
        authentication::listed(&names)
    );
    let mut finding = RULE
        .finding_as(severity, domain(name), summary)
        .confidence(0.9)
        .data("policy", policy)
        .data("signers", who.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        .data("signed_as", names.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        .data("spf_passes", by_spf)
        .reference("RFC 9989 section 4.4.1");
    for one in foreign {
        finding = finding.touches(Subject::service(one.software));
        for at in &one.at {
            let text =
                format!("{} signs mail of {name} with a key of {} ({at}).", one.software, listed_set(&one.names));
            finding = finding.because(text, "configuration", view::pointer(["signers", "value", one.software]));
        }
    }
    let text = format!(
        "Make a key for {name}, publish it below _domainkey.{name}, and have the signer choose it for mail of {name}. A second \
         signature in the other name does no harm. Until then, p=none keeps receivers from refusing the mail."
    );
    finding.fix(Fix::here(text).verify("mxray doctor"))
}

fn listed_set(names: &BTreeSet<&str>) -> String {
    authentication::listed(&names.iter().copied().collect::<Vec<_>>())
}

fn by_reports(evidence: &Evidence) -> Said {
    let reports = reports(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (name, sum) in &reports.dmarc {
        let enforced = sum.policy.value().is_some_and(|policy| matches!(policy.as_str(), "quarantine" | "reject"));
        if !enforced || sum.testing || sum.percent == "0" || sum.messages == 0 {
            continue;
        }
        let own: Vec<(&String, &ReportedSource)> =
            sum.sources.iter().filter(|(_, source)| source.own.is_some()).collect();
        let broken: Vec<(&String, &ReportedSource)> =
            own.iter().copied().filter(|(_, source)| is_broken(source)).collect();
        if !broken.is_empty() {
            judgement.find(finding(name, sum, &broken));
        } else if own.is_empty() {
            let why = format!("no source that receivers report for {name} is known as our own");
            judgement.blind(&RULE, &Blind::Elsewhere { why, look: "mxray reports --own IP-OR-PREFIX".to_owned() });
        } else {
            judgement.well(format!("{} own sources of {name} align, as receivers report", own.len()));
        }
    }
    Ok(judgement)
}

fn open(source: &ReportedSource) -> u64 {
    source.messages.saturating_sub(source.aligned).saturating_sub(source.forwarded)
}

fn is_broken(source: &ReportedSource) -> bool {
    let least = if matches!(source.own, Some(OwnBy::Declared { .. })) { SHARE_OF_KNOWN } else { SHARE_OF_SPF };
    open(source) >= MESSAGES_MIN && percent(open(source), source.messages) >= least
}

fn finding(name: &str, sum: &DmarcReports, broken: &[(&String, &ReportedSource)]) -> Finding {
    let policy = sum.policy.value().map_or("", String::as_str);
    let lost: u64 = broken.iter().map(|(_, source)| open(source)).sum();
    let addresses: Vec<&str> = broken.iter().map(|(address, _)| address.as_str()).collect();
    let declared = broken.iter().any(|(_, source)| matches!(source.own, Some(OwnBy::Declared { .. })));
    let mut finding = RULE
        .finding(
            domain(name),
            format!(
                "{name} publishes p={policy}, and {lost} messages of our own ({}) did not align.",
                addresses.join(", ")
            ),
        )
        .confidence(if declared { 0.95 } else { 0.8 })
        .data("policy", policy)
        .data("messages", lost)
        .data("sources", addresses.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>())
        .reference("RFC 7489 section 3.1")
        .reference("RFC 7489 section 6.3");
    for (address, source) in broken {
        let text =
            format!("{address}: {} of {} messages did not align; {}.", open(source), source.messages, why(source));
        finding = finding.because(text, "DMARC reports", format!("/reports/value/dmarc/{name}/sources/{address}"));
    }
    finding.fix(fix(name, broken))
}

/// What most of them show.
fn why(source: &ReportedSource) -> String {
    let Some(kind) = source.unaligned.first() else { return "the reports do not say what was checked".to_owned() };
    let one = |checks: &[mxray_model::evidence::reports::CheckedDomain], none: &str| {
        if checks.is_empty() {
            return none.to_owned();
        }
        checks.iter().map(|check| format!("{} for {}", check.result, check.domain)).collect::<Vec<_>>().join(", ")
    };
    format!("DKIM: {}; SPF: {}", one(&kind.dkim, "no signature"), one(&kind.spf, "not told"))
}

fn fix(name: &str, broken: &[(&String, &ReportedSource)]) -> Fix {
    let (address, first) = match broken.first() {
        Some((address, source)) => (address.as_str(), source.unaligned.first()),
        None => ("", None),
    };
    let passes =
        |checks: &[mxray_model::evidence::reports::CheckedDomain]| checks.iter().any(|check| check.result == "pass");
    let text = match first {
        // Signed well, by somebody else.
        Some(Unaligned { dkim, .. }) if passes(dkim) => {
            format!("Have {address} sign with a key of {name}: its signature verifies, but in another domain's name.")
        }
        Some(Unaligned { dkim, .. }) if !dkim.is_empty() => format!(
            "Look why the signatures of {address} do not verify: the key in DNS under their selector, and changes to the mail after signing."
        ),
        Some(Unaligned { spf, .. }) if passes(spf) => format!(
            "Have {address} sign with DKIM in the name of {name}: SPF passes for another domain, which does not count for {name}."
        ),
        _ => format!("Have {address} sign with DKIM in the name of {name}, and add it to the SPF record of {name}."),
    };
    Fix::here(format!("{text} Until then, p=none keeps receivers from refusing it."))
        .verify("the next day's reports: mxray reports PATH")
}
