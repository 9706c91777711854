//! Zones and chains of trust, as rules look at them: which domains were looked at, what was asked of them, and what validation
//! came to.
//!
//! What must not live here: which of it is a fault (rules), and whose a domain is (`published`).

use crate::policies::no_domain;
use crate::published;
use crate::rule::{Judgement, Rule};
use mxray_model::evidence::published::{Domain, SecurityChain, SecurityReason, SecurityState};
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::{Evidence, Finding, Mover, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;

/// All domains that were looked at; where there is none, the rule cannot tell.
pub fn domains<'a>(
    evidence: &'a Evidence,
    rule: &Rule,
    judgement: &mut Judgement,
) -> impl Iterator<Item = (&'a str, &'a Domain)> + use<'a> {
    if evidence.names.domains.is_empty() {
        judgement.blind(rule, &no_domain());
    }
    evidence.names.domains.iter().map(|(name, domain)| (name.as_str(), domain))
}

/// A finding about a domain. What is wrong with somebody else's is their move, and a notice where it stops no mail of ours.
pub fn finding(
    rule: &Rule,
    severity: Severity,
    subject: Subject,
    domain: &Domain,
    stops: bool,
    summary: String,
) -> Finding {
    let ours = published::is_ours(domain);
    let severity = if ours || stops { severity } else { severity.min(Severity::Notice) };
    let mut finding = rule.finding_as(severity, subject, summary);
    if !ours {
        finding.whose_move = Mover::Receiver;
    }
    finding
}

/// A name as it was asked for.
pub fn name_subject(name: &str) -> Subject {
    Subject::new(SubjectKind::Name, name.to_ascii_lowercase())
}

/// This name, or one below it.
pub fn is_in(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    name == domain || name.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

/// A name that was made up, to see what is said of names that nobody has.
pub fn is_made_up(name: &str) -> bool {
    const DIGITS: usize = 36;
    let made = |label: &str| label.len() == DIGITS && label.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split('.').any(made)
}

/// The longest of the domains that were looked at which has this name.
pub fn domain_of<'a>(evidence: &'a Evidence, name: &str) -> Option<(&'a str, &'a Domain)> {
    let all = evidence.names.domains.iter().filter(|(domain, _)| is_in(name, domain));
    all.max_by_key(|(domain, _)| domain.len()).map(|(name, domain)| (name.as_str(), domain))
}

/// The domain whose own name failed in every question, as this name below it did: one cause, and one thing to mend. `failed` has
/// the questions that failed, by name. `None`: the name stands for itself.
pub fn fails_with<'a>(
    evidence: &'a Evidence,
    failed: &BTreeMap<String, Vec<(&String, &Lookup)>>,
    name: &str,
) -> Option<&'a str> {
    let (domain, _) = domain_of(evidence, name).filter(|(domain, _)| *domain != name)?;
    let own = failed.get(domain)?;
    let others = evidence.lookups.iter().filter(|(_, lookup)| lookup.name.eq_ignore_ascii_case(domain));
    let all = others.filter(|(_, lookup)| !matches!(lookup.outcome, DnsOutcome::NotAsked(_)));
    let alike = |one: &[(&String, &Lookup)]| one.iter().find_map(|(_, lookup)| lookup.fails_validation());
    let whole = all.count() == own.len() && alike(own) == alike(failed.get(name)?);
    whole.then_some(domain)
}

/// TLSA records of a host whose addresses are not signed: senders do not ask for them, since so many servers fail at it (RFC 7672
/// section 2.2.2).
pub fn nobody_asks(evidence: &Evidence, lookup: &Lookup) -> bool {
    let host = lookup.name.split_once("._tcp.").filter(|_| lookup.kind == "TLSA");
    let Some((_, host)) = host else { return false };
    let host = host.to_ascii_lowercase();
    let keys = ["A", "AAAA"].map(|kind| Lookup::key(kind, &host));
    let domains = evidence.names.domains.values();
    let mut states = domains.flat_map(|domain| keys.iter().filter_map(|key| domain.secured.get(key))).peekable();
    states.peek().is_some() && states.all(|chain| chain.state == SecurityState::Insecure)
}

/// All chains of trust of a domain, its MX records first.
pub fn chains(domain: &Domain) -> impl Iterator<Item = &SecurityChain> {
    domain.security.value().into_iter().chain(domain.secured.values())
}

/// What a resolver that validates says of the same question agrees with: `Some(true)` it fails there, too; `Some(false)` it
/// vouches for the answer. `None`: nothing is known of its validation.
pub fn resolver_agrees(evidence: &Evidence, chain: &SecurityChain) -> Option<bool> {
    let (kind, name) = chain.question.split_once(' ')?;
    let lookup = evidence.lookups.get(&Lookup::key(kind, name))?;
    if lookup.fails_validation() == Some(true) {
        return Some(true);
    }
    let vouched = lookup.tries.last().is_some_and(|one| one.authentic);
    (vouched && matches!(lookup.outcome, DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName))
        .then_some(false)
}

/// Something that was signed does not hold; and not: something does not come, which may get lost on the way to us.
pub fn is_positive(reason: &SecurityReason) -> bool {
    matches!(
        reason,
        SecurityReason::Expired { .. }
            | SecurityReason::NotYetValid { .. }
            | SecurityReason::NoMatchingKey { .. }
            | SecurityReason::BadSignature { .. }
            | SecurityReason::UnknownKey { .. }
    )
}

/// The name of a question, without its type.
pub fn asked(chain: &SecurityChain) -> &str {
    chain.question.split_once(' ').map_or(chain.question.as_str(), |(_, name)| name)
}

pub fn is_bogus(chain: &&SecurityChain) -> bool {
    chain.state == SecurityState::Bogus
}
