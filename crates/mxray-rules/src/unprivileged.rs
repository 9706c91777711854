//! What a host's packet filters do, as far as it shows without the right to read them: in the errors that connections end with,
//! in the kernel's counters, and in the way that packets did not go.

use crate::outside::{self, Contact};
use crate::reach::{Loss, Reached, addresses, egress_scope, family, in_words, loss, others, sender_scopes};
use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{DnsTrouble, ExaminedEndpoint, IcmpError, RouteOutcome};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

/// An ICMP error of this very host, which its packet filter sends; a route has others.
const REJECTED: f32 = 0.85;
/// Packets were asked for and not sent; of which connection the counters do not say.
const LOST: f32 = 0.7;
/// The port's packets do not even reach the first hop, besides.
const LOST_AND_NEAR: f32 = 0.85;

/// A connection that this host's own filter seems to stop.
struct Sign<'a> {
    contact: Contact<'a>,
    endpoint: &'a ExaminedEndpoint,
    reached: Reached,
    /// What shows it, and where that stands.
    text: String,
    pointer: String,
    confidence: f32,
}

/// What FW101 says where the ruleset may not be read.
pub fn egress(evidence: &Evidence, rule: &Rule, blind: &Blind) -> Said {
    let mut judgement = Judgement::cannot_tell(rule, blind);
    for ipv4 in [true, false] {
        let signs = signs(evidence, ipv4);
        let mut ports: Vec<u16> = signs.iter().map(|sign| sign.endpoint.port).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let of: Vec<&Sign<'_>> = signs.iter().filter(|sign| sign.endpoint.port == port).collect();
            if let Some(finding) = finding(evidence, rule, (port, ipv4), &of) {
                judgement.find(finding);
            }
        }
    }
    Ok(judgement)
}

fn signs(evidence: &Evidence, ipv4: bool) -> Vec<Sign<'_>> {
    let all = || {
        others(evidence)
            .flat_map(|(key, endpoint)| addresses(key, endpoint).map(move |(contact, reached)| (endpoint, contact, reached)))
            .filter(|(_, contact, _)| contact.seen.dial.peer.is_ipv4() == ipv4 && !contact.from_same_host())
            .collect::<Vec<_>>()
    };
    let silent: Vec<_> = all().into_iter().filter(|(.., reached)| *reached == Reached::Silent).collect();
    let lost = lost(evidence, ipv4).filter(|lost| *lost >= silent.len() as u64);
    let mut signs = Vec::new();
    for (endpoint, contact, reached) in all() {
        let own = |icmp: &&IcmpError| reached == Reached::Here && is_filters(icmp);
        if let Some(icmp) = contact.seen.dial.icmp.value().filter(own) {
            let text = format!("This host itself answers with ICMP \"{}\".", icmp.name);
            let pointer = contact.pointer(&["dial", "icmp"]);
            signs.push(Sign { contact, endpoint, reached, text, pointer, confidence: REJECTED });
        } else if let (Reached::Silent, Some(lost)) = (&reached, lost) {
            let near = stays_here(&contact);
            let text = format!(
                "While connections were made, {lost} packets that were to be sent over {} were not ({}OutRequests against OutTransmits){}.",
                family(ipv4),
                table(ipv4),
                if near { "; and no hop answers packets to this port, while the first one does for another port" } else { "" }
            );
            let pointer = view::pointer(["kernel", "while_connecting", "value", &format!("{}OutRequests", table(ipv4))]);
            let confidence = if near { LOST_AND_NEAR } else { LOST };
            signs.push(Sign { contact, endpoint, reached, text, pointer, confidence });
        }
    }
    signs
}

fn table(ipv4: bool) -> &'static str {
    if ipv4 { "Ip." } else { "Ip6." }
}

/// Packets that the IP layer was asked to send and did not, while connections were made. `None`: none, or the kernel does not
/// count them (before Linux 6.8). What is forwarded counts as sent, so the number can only be too small.
fn lost(evidence: &Evidence, ipv4: bool) -> Option<u64> {
    let counters = evidence.kernel.while_connecting.value()?;
    let rise = |name: &str| Some(counters.get(&format!("{}{name}", table(ipv4)))?.rise());
    let lost = rise("OutRequests")?.checked_sub(rise("OutTransmits")?)?;
    (lost > 0).then_some(lost)
}

/// Errors that a packet filter sends; "host unreachable" comes from a neighbour that does not answer, "network unreachable" from
/// a route.
fn is_filters(icmp: &IcmpError) -> bool {
    match (icmp.from.is_ipv4(), icmp.kind) {
        (true, 3) => matches!(icmp.code, 2 | 3 | 9 | 10 | 13),
        (false, 1) => matches!(icmp.code, 1 | 4 | 5 | 6),
        _ => false,
    }
}

/// Nothing was heard of packets to this port, and of those to another port of the same host the first hop was.
fn stays_here(contact: &Contact<'_>) -> bool {
    contact.seen.dial.distance.value().is_some_and(|way| {
        way.own_hops == Some(0)
            && way.hops.first().is_some_and(|hop| hop.ttl == 1)
            && way.host_at.value().is_some_and(|host| *host > 1)
    })
}

fn finding(evidence: &Evidence, rule: &Rule, (port, ipv4): (u16, bool), signs: &[&Sign<'_>]) -> Option<Finding> {
    let first = signs.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence))?;
    let severity = match signs.iter().map(|sign| loss(evidence, sign.endpoint)).max() {
        Some(Loss::Whole) => Severity::Critical,
        Some(Loss::Partial) => Severity::Error,
        _ => Severity::Warning,
    };
    let names: Vec<String> = signs.iter().map(|sign| sign.contact.name()).collect();
    let how = if first.reached == Reached::Silent { "seem to be dropped" } else { "are rejected" };
    let summary = format!(
        "Connections to port {port} over {} {how} by this host's own packet filter, which may not be read without privilege: {}.",
        family(ipv4),
        names.join(", ")
    );
    let mut finding = rule
        .finding_as(severity, egress_scope(port, ipv4), summary)
        .confidence(first.confidence)
        .data("port", port)
        .data("hosts", names)
        .data("inferred", true);
    for sign in signs.iter().take(4) {
        finding = finding
            .because(
                format!("{}: {}.", sign.contact.name(), in_words(&sign.contact, &sign.reached)),
                "connect(2)",
                sign.contact.pointer(&["dial", "outcome"]),
            )
            .touches(outside::subject(sign.contact.key));
    }
    finding = finding.because(first.text.clone(), "kernel", first.pointer.clone());
    for scope in sender_scopes(evidence) {
        finding = finding.touches(scope);
    }
    let to = first.contact.seen.dial.peer.ip();
    Some(finding.fix(
        Fix::here("Look as root: the ruleset names the rule, and mxray the command that changes it.")
            .command(format!("mxray ports explain {port} --out --to {to}"))
            .verify(outside::probe_command(first.endpoint, "")),
    ))
}

/// What FW113 says where the ruleset may not be read: sendto(2) gives EPERM for what the output hook drops.
pub fn dns(evidence: &Evidence, rule: &Rule, blind: &Blind) -> Said {
    let mut judgement = Judgement::cannot_tell(rule, blind);
    // A `prohibit` route gives EACCES, which looks alike.
    let routes = evidence.routing.value().into_iter().flat_map(|routing| routing.answers.values());
    let by_route = routes
        .filter_map(|answer| answer.outcome.value())
        .any(|outcome| matches!(outcome, RouteOutcome::Refused(refused) if refused.errno == "EACCES"));
    let mut dead = Vec::new();
    let mut alive = false;
    for (key, check) in &evidence.resolver_checks {
        let prohibited = check.troubles().any(|trouble| trouble == DnsTrouble::Prohibited);
        match &check.answers {
            Seen::Value(true) => alive = true,
            Seen::Value(false) if prohibited && !by_route => dead.push((key, check)),
            _ => {}
        }
    }
    for (key, check) in dead {
        let address = check.server.ip();
        let severity = if alive { Severity::Warning } else { Severity::Critical };
        let summary = format!(
            "Questions to the name server {address} are not let out by this host itself (EPERM): its own packet filter, which may not be read without privilege, or a security module."
        );
        let subject = Subject::new(SubjectKind::Resolver, address.to_string());
        let finding = rule
            .finding_as(severity, subject, summary)
            .confidence(LOST_AND_NEAR)
            .data("server", address.to_string())
            .data("inferred", true)
            .touches(resolvers::subject(address))
            .because(
                format!("{address} {}.", DnsTrouble::Prohibited.as_str()),
                check.server.to_string(),
                view::pointer(["resolver_checks", key]),
            )
            .fix(
                Fix::here("Look as root: the ruleset names the rule, and mxray the command that changes it.")
                    .command(format!("mxray ports explain 53 --out --udp --to {address}"))
                    .verify("mxray doctor"),
            );
        judgement.find(finding);
    }
    Ok(judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_filters_errors_count() {
        let of = |from: &str, kind, code| is_filters(&IcmpError::new(from.parse().unwrap(), kind, code));
        for code in [3, 9, 10, 13] {
            assert!(of("192.0.2.1", 3, code), "{code}");
        }
        // A neighbour that does not resolve, an unreachable route.
        assert!(!of("192.0.2.1", 3, 1) && !of("192.0.2.1", 3, 0));
        assert!(of("2001:db8::1", 1, 4) && of("2001:db8::1", 1, 1) && !of("2001:db8::1", 1, 3));
    }
}
