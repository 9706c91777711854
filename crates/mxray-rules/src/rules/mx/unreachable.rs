//! MX113: no connection to a host that takes the mail.

use crate::outside::{self, Contact};
use crate::reach::{
    Access, Reached, addresses, egress_scope, exchangers, family_scope, in_words, is_others, others, sender_scopes,
};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{EndpointWhy, ExaminedEndpoint, Purpose};
use mxray_model::{Blind, Evidence, Finding, Fix, Mover, Seen, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "MX113",
    name: "mx-unreachable",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "no connection to a host that takes the mail comes to stand",
    page: include_str!("unreachable.md"),
    check,
};

/// One look from one place.
const CONFIDENCE: f32 = 0.85;

/// One host that takes mail.
struct Host<'a> {
    key: &'a String,
    endpoint: &'a ExaminedEndpoint,
    preference: u16,
    access: Access<'a>,
}

fn check(evidence: &Evidence) -> Said {
    outside::endpoints(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (domain, all) in exchangers(evidence) {
        let hosts = all.into_iter().map(|(preference, key, endpoint)| Host {
            key,
            endpoint,
            preference,
            access: Access::of(key, endpoint),
        });
        let subject = Subject::new(SubjectKind::Domain, domain);
        judge(evidence, &subject, &format!("the mail of {domain}"), &hosts.collect::<Vec<_>>(), &mut judgement);
    }
    for (key, endpoint) in others(evidence).filter(|(_, endpoint)| stands_alone(endpoint)) {
        let host = Host { key, endpoint, preference: 0, access: Access::of(key, endpoint) };
        // That a smarthost refuses is CONF102's.
        let is_refusal = |reached: &Reached| matches!(reached, Reached::Closed | Reached::Reset);
        if outside::is_smarthost(endpoint) && host.access.reached.iter().any(|(_, reached)| is_refusal(reached)) {
            continue;
        }
        let what = if outside::is_smarthost(endpoint) { "the mail of this host" } else { "mail" };
        judge(evidence, &outside::subject(key), what, &[host], &mut judgement);
    }
    Ok(judgement)
}

/// A smarthost, or what was asked about on the port of mail exchange, that no domain leads to.
fn stands_alone(endpoint: &ExaminedEndpoint) -> bool {
    let asked = endpoint.purpose == Purpose::Relay && endpoint.why.contains(&EndpointWhy::Asked);
    is_others(endpoint) && outside::domains(endpoint).next().is_none() && (asked || outside::is_smarthost(endpoint))
}

fn judge(evidence: &Evidence, subject: &Subject, what: &str, hosts: &[Host<'_>], judgement: &mut Judgement) {
    for host in hosts {
        if let Seen::Unknown(blind) = &host.endpoint.resolved {
            judgement.blind(&RULE, blind);
        }
        for (contact, _) in addresses(host.key, host.endpoint).filter(|(_, reached)| *reached == Reached::Unknown) {
            let (step, error) = (format!("connecting to {}", contact.name()), contact.seen.dial.outcome.as_str());
            judgement.blind(&RULE, &Blind::Failed { step, error: error.to_owned() });
        }
    }
    let dead: Vec<&Host<'_>> = hosts.iter().filter(|host| host.access.is_dead()).collect();
    let open: Vec<&Host<'_>> = hosts.iter().filter(|host| host.access.is_open()).collect();
    if dead.is_empty() {
        if !open.is_empty() {
            judgement.well(format!("{what}: {} of {} hosts that take it accept connections", open.len(), hosts.len()));
        }
        return;
    }
    judgement.find(finding(evidence, subject, what, hosts, &dead, &open));
}

fn finding(
    evidence: &Evidence,
    subject: &Subject,
    what: &str,
    hosts: &[Host<'_>],
    dead: &[&Host<'_>],
    open: &[&Host<'_>],
) -> Finding {
    let best_open = open.iter().map(|host| host.preference).min();
    // A backup that is down costs nothing as long as what is preferred works.
    let only_spare = best_open.is_some_and(|best| dead.iter().all(|host| host.preference >= best));
    let severity = match (dead.len() == hosts.len(), only_spare) {
        (true, _) => Severity::Critical,
        (false, true) => Severity::Warning,
        (false, false) => RULE.severity,
    };
    let names: Vec<String> = dead.iter().map(|host| outside::name(host.endpoint)).collect();
    let summary = match (hosts.len(), severity) {
        (1, _) => format!("{} takes {what} and cannot be reached.", names.join(", ")),
        (all, Severity::Critical) => format!("None of the {all} hosts that take {what} can be reached."),
        (all, Severity::Warning) => {
            format!(
                "Of the {all} hosts that take {what}, {} cannot be reached; those that are preferred work.",
                names.join(", ")
            )
        }
        (all, _) => {
            format!("Of the {all} hosts that take {what}, {} cannot be reached; others have to do.", names.join(", "))
        }
    };
    let all: Vec<(Contact<'_>, Reached)> = dead.iter().flat_map(|host| addresses(host.key, host.endpoint)).collect();
    let mut finding = RULE
        .finding_as(severity, subject.clone(), summary)
        .confidence(CONFIDENCE)
        .data("hosts", names)
        .data("reachable", open.iter().map(|host| outside::name(host.endpoint)).collect::<Vec<_>>())
        .reference("RFC 5321 section 5.1");
    for (contact, reached) in all.iter().take(8) {
        let text = format!("{}: {}.", contact.name(), in_words(contact, reached));
        finding = finding.because(text, "connect(2)", contact.pointer(&["dial", "outcome"]));
    }
    let here = all.iter().all(|(_, reached)| matches!(reached, Reached::Here | Reached::NoFamily));
    finding.whose_move = if here { Mover::Us } else { Mover::Receiver };
    for scope in scopes(evidence, dead, &all) {
        finding = finding.touches(scope);
    }
    let Some(first) = dead.first() else { return finding };
    finding.fix(fix(first.endpoint, here))
}

/// Another finding explains this one only where it explains each of the connections that failed.
fn scopes(evidence: &Evidence, dead: &[&Host<'_>], all: &[(Contact<'_>, Reached)]) -> Vec<Subject> {
    let mut scopes = Vec::new();
    let each = |is: fn(&Reached) -> bool| all.iter().all(|(_, reached)| is(reached) || *reached == Reached::NoFamily);
    if each(|reached| matches!(reached, Reached::Closed | Reached::Reset)) {
        scopes.extend(dead.iter().map(|host| outside::subject(host.key)));
    }
    if each(Reached::is_lost) {
        // Where IPv4 was tried, what stops IPv6 alone is no explanation.
        let ipv4 = all.iter().any(|(contact, reached)| contact.seen.dial.peer.is_ipv4() && reached.is_lost());
        scopes.extend(dead.iter().map(|host| egress_scope(host.endpoint.port, ipv4)));
    }
    if each(|reached| *reached == Reached::Here) {
        scopes.extend(sender_scopes(evidence));
    }
    let ipv4 = |wanted: bool| all.iter().all(|(contact, _)| contact.seen.dial.peer.is_ipv4() == wanted);
    scopes.extend([true, false].into_iter().filter(|family| ipv4(*family)).map(family_scope));
    scopes
}

fn fix(endpoint: &ExaminedEndpoint, here: bool) -> Fix {
    let verify = outside::probe_command(endpoint, "");
    if here {
        return Fix::here("See what this host does with a packet to there; its own routes or filter stop it.")
            .command(format!("mxray routes {}", endpoint.addresses.keys().next().unwrap_or(&endpoint.host)))
            .verify(verify);
    }
    outside::step(endpoint, "Make the host reachable on this port, or take it out of the MX records until it is.")
        .verify(verify)
}
