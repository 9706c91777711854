//! ROUTE106: this host has IPv6, prefers it, and it leads nowhere.

use crate::outside;
use crate::reach::{self, Reached, addresses, dead_family, family_scope, in_words, others};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::Server;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "ROUTE106",
    name: "ipv6-path-broken",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "IPv6 to hosts that have nothing to do with each other is dead, while IPv4 to the same hosts works",
    page: include_str!("ipv6_path_broken.md"),
    check,
};

/// Two hosts may be broken in one family at a time.
const TWO: f32 = 0.8;
const MORE: f32 = 0.95;
const MANY: usize = 3;

fn check(evidence: &Evidence) -> Said {
    outside::endpoints(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let tried: Vec<_> = others(evidence)
        .flat_map(|(key, endpoint)| addresses(key, endpoint))
        .filter(|(contact, _)| contact.seen.dial.peer.is_ipv6() && !contact.from_same_host())
        .collect();
    if let Some((contact, reached)) =
        tried.iter().find(|(_, reached)| matches!(reached, Reached::Yes | Reached::Closed | Reached::Unwanted))
    {
        judgement.well(format!("IPv6 leads out: {}: {}", contact.name(), in_words(contact, reached)));
        return Ok(judgement);
    }
    let Some((first, reached)) = tried.first() else {
        // Nothing was tried where nobody is published with it; then nothing is lost, either.
        judgement.well("no host that mail is handed to is published with IPv6");
        return Ok(judgement);
    };
    if tried.iter().all(|(_, reached)| *reached == Reached::NoFamily) {
        // Nothing is preferred that is not there: connect(2) says so at once, and IPv4 is used.
        judgement.well("this host has no IPv6, and nobody waits for it");
        return Ok(judgement);
    }
    let dead = dead_family(evidence, false);
    if dead.len() < 2 {
        let why = format!(
            "{}: {}; one host alone may be at fault itself, or IPv4 does not work there, either",
            first.name(),
            in_words(first, reached)
        );
        let look = "connections to more hosts: mxray doctor DOMAIN DOMAIN".to_owned();
        judgement.blind(&RULE, &Blind::Elsewhere { why, look });
        return Ok(judgement);
    }
    match severity(evidence) {
        Some(severity) => judgement.find(finding(evidence, severity, &dead)),
        None => judgement.well("the mail servers of this host do not use IPv6"),
    }
    Ok(judgement)
}

/// Those that send mail.
fn senders(evidence: &Evidence) -> impl Iterator<Item = (&String, &Server)> {
    evidence.servers.value().into_iter().flat_map(view::enabled).filter(|(_, server)| server.egress.sends)
}

/// By what the mail servers do with IPv6. `None`: none of them uses it.
fn severity(evidence: &Evidence) -> Option<Severity> {
    let of = |server: &Server| match server.software.as_str() {
        "postfix" => {
            let protocols = view::list(server.setting("inet_protocols"));
            let uses = protocols.is_empty() || protocols.iter().any(|one| matches!(*one, "all" | "ipv6"));
            let last = server.setting("smtp_address_preference") == "ipv4";
            uses.then_some(if last { Severity::Warning } else { RULE.severity })
        }
        // RFC 6724 section 2.1: a host with a public address of IPv6 prefers it.
        _ => Some(RULE.severity),
    };
    let all: Vec<Option<Severity>> = senders(evidence).map(|(_, server)| of(server)).collect();
    if all.is_empty() { Some(RULE.severity) } else { all.into_iter().max().flatten() }
}

fn finding(evidence: &Evidence, severity: Severity, dead: &[outside::Contact<'_>]) -> Finding {
    let names: Vec<String> = dead.iter().map(outside::Contact::name).collect();
    let summary = format!(
        "IPv6 does not lead out of here: {} hosts that have nothing to do with each other cannot be reached over it, and all of them over IPv4.",
        dead.len()
    );
    let mut finding = RULE
        .finding_as(severity, Subject::new(mxray_model::SubjectKind::Network, "::/0"), summary)
        .confidence(if dead.len() >= MANY { MORE } else { TWO })
        .data("hosts", names)
        .touches(family_scope(false))
        .reference("RFC 6724 section 2.1")
        .reference("RFC 8305");
    for contact in dead.iter().take(MANY) {
        let text = format!("{}: {}.", contact.name(), in_words(contact, &reach::reached(&contact.seen.dial)));
        finding = finding.because(text, "connect(2)", contact.pointer(&["dial", "outcome"]));
    }
    let Some(first) = dead.first() else { return finding };
    let verify = outside::probe_command(first.endpoint, "");
    let look = Fix::here(
        "See where packets go and where they end: the default route, its gateway, a tunnel, the provider's router. Repair that, or have the provider do it.",
    )
    .command(format!("mxray routes {}", first.seen.dial.peer.ip()))
    .verify(verify.clone());
    finding = finding.fix(look);
    for (instance, server) in senders(evidence) {
        finding = finding.touches(Subject::service(instance));
        let words = Words::new(evidence, server);
        if words.is_postfix() {
            let text = "Until then have Postfix try IPv4 first.";
            let fix = words.setting_fix(text, "smtp_address_preference", "ipv4").verify(verify.clone());
            finding = finding.fix(fix.command(words.reload()));
        }
    }
    if matches!(evidence.servers, Seen::Unknown(_)) {
        finding = finding
            .fix(Fix::here("Until then have the mail server try IPv4 first; how, its own manual says.").verify(verify));
    }
    finding
}
