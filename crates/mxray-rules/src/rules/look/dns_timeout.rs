//! LOOK001: a question to DNS had no answer from any server, in all tries.

use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{DnsOutcome, EndpointWhy, Lookup, ResolverCheck};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

pub const RULE: Rule = Rule {
    code: "LOOK001",
    name: "dns-timeout",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "a name was asked for and no server answered; what it says is unknown",
    page: include_str!("dns_timeout.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    if evidence.lookups.is_empty() {
        let why = "no name was asked for".to_owned();
        judgement.blind(&RULE, &Blind::Elsewhere { why, look: "mxray doctor DOMAIN".to_owned() });
        return Ok(judgement);
    }
    // All types of one name fail together, and have one cause.
    let mut names: BTreeMap<String, Vec<(&String, &Lookup)>> = BTreeMap::new();
    for (key, lookup) in &evidence.lookups {
        match lookup.outcome {
            // Of names that nobody has there is nothing to know.
            DnsOutcome::NoAnswer { .. } if crate::zones::is_made_up(&lookup.name) => {}
            DnsOutcome::NoAnswer { .. } => {
                names.entry(lookup.name.to_ascii_lowercase()).or_default().push((key, lookup));
            }
            DnsOutcome::NotAsked(ref blind) => judgement.blind(&RULE, blind),
            DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName | DnsOutcome::Refused { .. } => {}
        }
    }
    // Where a domain's own name is not answered for either, and nothing depends on this one alone, it is the same silence.
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, unanswered) in &names {
        let kinds: Vec<&str> = unanswered.iter().map(|(_, lookup)| lookup.kind.as_str()).collect();
        if let Some(domain) = crate::zones::fails_with(evidence, &names, name)
            && matches!(way(evidence, name, &kinds), Way::None)
        {
            below.entry(domain).or_default().insert(name);
        }
    }
    let stands_alone = |name: &str| !below.values().any(|names| names.contains(name));
    for (name, unanswered) in names.iter().filter(|(name, _)| stands_alone(name)) {
        judgement.find(finding(evidence, name, unanswered, below.get(name.as_str()).unwrap_or(&BTreeSet::new())));
    }
    let answered = evidence.lookups.values().filter(|lookup| was_answered(lookup)).count();
    if names.is_empty() && answered > 0 {
        judgement.well(format!("{answered} questions to DNS were answered"));
    }
    Ok(judgement)
}

/// By whatever a server said.
fn was_answered(lookup: &Lookup) -> bool {
    !matches!(lookup.outcome, DnsOutcome::NoAnswer { .. } | DnsOutcome::NotAsked(_))
}

/// What a name is to mail that leaves here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Nothing that is known.
    None,
    /// Another host of the same domain, or of the same name's other family, can take it.
    OneOfSeveral,
    /// Mail goes there, and only there.
    Only { servers: Vec<String>, domains: Vec<String> },
}

fn finding(evidence: &Evidence, name: &str, unanswered: &[(&String, &Lookup)], below: &BTreeSet<&str>) -> Finding {
    let kinds: Vec<&str> = unanswered.iter().map(|(_, lookup)| lookup.kind.as_str()).collect();
    let asked: BTreeSet<SocketAddr> =
        unanswered.iter().flat_map(|(_, lookup)| &lookup.tries).map(|one| one.server).collect();
    let tries: usize = unanswered.iter().map(|(_, lookup)| lookup.tries.len()).sum();
    let others = answers_others(evidence, &asked);
    let way = way(evidence, name, &kinds);
    let (severity, effect) = match &way {
        Way::Only { .. } => (Severity::Error, "mail that goes there waits in the queue"),
        Way::OneOfSeveral => (Severity::Notice, "mail goes another way meanwhile"),
        Way::None => (RULE.severity, "what it says is unknown"),
    };
    let count = asked.len();
    let who = if count == 1 { "the name server".to_owned() } else { format!("{count} name servers") };
    let also = if others { ", which answers other questions" } else { "" };
    let more = if below.is_empty() { String::new() } else { format!(", and {} names below it", below.len()) };
    let summary = format!("{} {name}{more}: no answer from {who}{also} in {tries} tries; {effect}.", kinds.join(", "));
    let mut finding = RULE.finding_as(severity, Subject::new(SubjectKind::Name, name), summary).confidence(if others {
        0.9
    } else {
        0.6
    });
    if let Way::Only { servers, domains } = way {
        finding = servers.iter().fold(finding, |finding, server| finding.touches(Subject::service(server)));
        finding =
            domains.iter().fold(finding, |finding, domain| finding.touches(Subject::new(SubjectKind::Domain, domain)));
    }
    for server in &asked {
        finding = finding.touches(resolvers::subject(server.ip()));
    }
    for (key, lookup) in unanswered {
        let servers = lookup.tries.iter().map(|one| one.server).collect::<BTreeSet<_>>();
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let text = format!("{} {name} was asked {} times.", lookup.kind, lookup.tries.len());
        finding = finding.because(text, servers.join(", "), view::pointer(["lookups", key]));
    }
    let addresses: BTreeSet<IpAddr> = asked.iter().map(SocketAddr::ip).collect();
    let first = addresses.iter().next().map_or(String::new(), |address| format!("@{address} "));
    finding
        .data("kinds", kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>())
        .data("below", below.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .data("servers", addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
        .fix(
            Fix::here(
                "Ask once more, and then the domain's own name servers: if these do not answer, it is their operator's move; if \
                 they do, the resolver or the way between is at fault.",
            )
            .command(format!("dig {first}{} {}", shell_word(name), kinds.first().copied().unwrap_or("A")))
            .command(format!("dig +trace {} {}", shell_word(name), kinds.first().copied().unwrap_or("A")))
            .verify("mxray doctor"),
        )
        .reference("RFC 1035 section 7.2")
        .reference("RFC 5321 section 5.1")
}

/// Those who were silent here answered elsewhere: they are not simply dead.
fn answers_others(evidence: &Evidence, asked: &BTreeSet<SocketAddr>) -> bool {
    let alive = |check: &ResolverCheck| asked.contains(&check.server) && check.answers == Seen::Value(true);
    let answered =
        |lookup: &Lookup| lookup.tries.iter().any(|one| asked.contains(&one.server) && one.trouble.is_none());
    evidence.resolver_checks.values().any(alive) || evidence.lookups.values().any(answered)
}

fn way(evidence: &Evidence, name: &str, kinds: &[&str]) -> Way {
    let is_host = |host: &str| host.trim_end_matches('.').eq_ignore_ascii_case(name);
    let (mut servers, mut domains) = (BTreeSet::new(), BTreeSet::new());
    for endpoint in evidence.endpoints.values().filter(|endpoint| is_host(&endpoint.host)) {
        for why in &endpoint.why {
            match why {
                EndpointWhy::Smarthost { server } => _ = servers.insert(server.clone()),
                EndpointWhy::Exchanger { domain, .. } => _ = domains.insert(domain.clone()),
                EndpointWhy::Asked | EndpointWhy::Surveyed | EndpointWhy::Own { .. } => {}
            }
        }
    }
    if servers.is_empty() && domains.is_empty() {
        return Way::None;
    }
    // One family is enough to get there; a domain's MX is not.
    let family = |kind: &&str| ["A", "AAAA"].contains(kind);
    let other = |kind: &str| evidence.lookups.get(&Lookup::key(kind, name)).map(|lookup| &lookup.outcome);
    let found = ["A", "AAAA"].iter().any(|kind| other(kind) == Some(&DnsOutcome::Found));
    if kinds.iter().all(family) && found {
        return Way::OneOfSeveral;
    }
    let has_another = |domain: &String| {
        evidence.endpoints.values().any(|endpoint| {
            let takes = |why: &EndpointWhy| matches!(why, EndpointWhy::Exchanger { domain: own, .. } if own == domain);
            !is_host(&endpoint.host) && endpoint.why.iter().any(takes) && endpoint.resolved.value().is_some()
        })
    };
    let stranded: Vec<String> = domains.into_iter().filter(|domain| !has_another(domain)).collect();
    if servers.is_empty() && stranded.is_empty() {
        return Way::OneOfSeveral;
    }
    Way::Only { servers: servers.into_iter().collect(), domains: stranded }
}
