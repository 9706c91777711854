//! DANE102: DNSSEC of a domain's mail does not hold; whoever validates has no answer.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::evidence::published::{Domain, SecurityChain, SecurityReason};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "DANE102",
    name: "dnssec-bogus",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "DNSSEC of the domain's mail does not hold: resolvers that validate say SERVFAIL",
    page: include_str!("dnssec_bogus.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let bogus: Vec<&SecurityChain> = zones::chains(domain).filter(zones::is_bogus).collect();
        if bogus.is_empty() {
            match domain.security.blind() {
                Some(blind) => judgement.blind(&RULE, blind),
                None => unbroken(name, domain, &mut judgement),
            }
            continue;
        }
        let certain = |chain: &&&SecurityChain| certain(evidence, chain) == Certain::Yes;
        let Some(chain) = bogus.iter().find(certain) else {
            for chain in &bogus {
                judgement.blind(&RULE, &doubt(evidence, chain));
            }
            continue;
        };
        if let Some(reason) = &chain.reason {
            let affected: Vec<&str> = bogus.iter().map(|chain| chain.question.as_str()).collect();
            judgement.find(finding(evidence, (name, domain), chain, reason, &affected));
        }
    }
    Ok(judgement)
}

fn unbroken(name: &str, domain: &Domain, judgement: &mut Judgement) {
    let undecided = zones::chains(domain).find_map(|chain| chain.secure().blind().cloned());
    match undecided {
        Some(blind) => judgement.blind(&RULE, &blind),
        None if domain.security.value().is_some() => {
            judgement.well(format!("{name}: nothing that DNSSEC vouches for is broken"));
        }
        None => {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certain {
    Yes,
    /// A resolver that validates vouches for the answer.
    Contradicted,
    /// Signatures do not come, and nobody else says that they are missing: they may get lost on the way to us, or the names of
    /// this network are others than those of the world.
    Missing,
}

fn certain(evidence: &Evidence, chain: &SecurityChain) -> Certain {
    let positive = chain.reason.as_ref().is_some_and(zones::is_positive);
    match zones::resolver_agrees(evidence, chain) {
        Some(true) => Certain::Yes,
        Some(false) => Certain::Contradicted,
        None if positive => Certain::Yes,
        None => Certain::Missing,
    }
}

fn doubt(evidence: &Evidence, chain: &SecurityChain) -> Blind {
    let reason = chain.reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let why = match certain(evidence, chain) {
        Certain::Contradicted => format!("{reason}; the resolver validates, and vouches for {}", chain.question),
        _ => format!("{reason}, as far as the resolver of this host passes it on"),
    };
    Blind::Elsewhere { why, look: "a resolver that validates: delv, or a host in another network".to_owned() }
}

fn finding(
    evidence: &Evidence,
    (name, domain): (&str, &Domain),
    chain: &SecurityChain,
    reason: &SecurityReason,
    affected: &[&str],
) -> mxray_model::Finding {
    let agrees = zones::resolver_agrees(evidence, chain) == Some(true);
    let effect = if published::is_ours(domain) {
        "whoever validates cannot send mail to it, nor check mail from it"
    } else {
        "whoever validates cannot send mail to it"
    };
    let summary = format!("{name}: {reason}; {effect}.");
    let place = domain.security.value().filter(|own| own.question == chain.question);
    let pointer = match place {
        Some(_) => published::pointer(name, &["security", "value"]),
        None => published::pointer(name, &["secured", &chain.question]),
    };
    let mut finding = zones::finding(&RULE, RULE.severity, published::subject(name), domain, true, summary)
        .confidence(if agrees { 0.97 } else { 0.9 })
        .because(format!("{reason}."), chain.question.clone(), pointer)
        .data("questions", affected.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        .reference("RFC 4035 section 5")
        .reference("RFC 4033 section 5");
    if agrees {
        finding = finding.because(
            "The resolver of this host validates and says SERVFAIL; without validation it has an answer.",
            chain.question.clone(),
            crate::view::pointer(["lookups", &chain.question]),
        );
    }
    for question in affected {
        if let Some((_, asked)) = question.split_once(' ') {
            finding = finding.touches(zones::name_subject(asked));
        }
    }
    let mut fix = Fix::here(step(reason));
    fix.who = format!("operator of the DNS zone of {name}");
    finding.fix(
        fix.command(format!("delv {} {}", shell_word(zones::asked(chain)), kind(chain)))
            .verify(format!("mxray domain --trace {}", shell_word(name))),
    )
}

fn kind(chain: &SecurityChain) -> &str {
    chain.question.split_once(' ').map_or("A", |(kind, _)| kind)
}

fn step(reason: &SecurityReason) -> &'static str {
    match reason {
        SecurityReason::Expired { .. } => {
            "Have the zone signed anew, and see why it was not: the signer does not run, cannot write the zone, or the servers did not load it."
        }
        SecurityReason::NotYetValid { .. } => {
            "Set the clock of the machine that signs; then have the zone signed anew."
        }
        SecurityReason::NoMatchingKey { .. } | SecurityReason::NoKeys { .. } => {
            "Have the registrar publish the DS record of the key that the zone has, or remove all DS records, which makes the zone unsigned. After a move to another DNS provider, the DS records of the old one are still there."
        }
        SecurityReason::UnknownKey { .. }
        | SecurityReason::WrongSigner { .. }
        | SecurityReason::BadSignature { .. } => {
            "Have the whole zone signed anew with the keys that stand in it; servers of the zone may have different versions of it."
        }
        _ => {
            "Have all servers of the zone serve the signed version; something between strips the signatures, or a server serves the zone as it was before it was signed."
        }
    }
}
