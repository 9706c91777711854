//! ROUTE105: outgoing connections, or a listener, are to be bound to an address that this host does not have.

mod listeners;

use super::SOURCE;
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{AddressState, BoundSource, Configured, Routing, Server};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "ROUTE105",
    name: "bind-address-missing",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "mail is to leave from, or be taken on, an address that this host does not have",
    page: include_str!("bind_address_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let routing = view::known(&evidence.routing, &RULE)?;
    let mut judgement = Judgement::nothing();
    let here = place::here(evidence, servers, &RULE, &mut judgement);
    for (name, server) in here.into_iter().filter(|(_, server)| server.egress.sends) {
        if server.egress.sources.is_empty() {
            judgement.well(format!("{name}: outgoing connections are bound to no address"));
        }
        let mut said = Vec::new();
        for source in server.egress.sources.iter().filter(|source| is_used(server, source.value)) {
            if said.contains(&source.value) {
                continue;
            }
            said.push(source.value);
            one(evidence, routing, (name, server), source, &mut judgement);
        }
    }
    listeners::missing(evidence, servers, routing, &mut judgement);
    Ok(judgement)
}

/// A server that is told to use one family only never binds to the other.
fn is_used(server: &Server, address: IpAddr) -> bool {
    let families = server.setting("inet_protocols").to_ascii_lowercase();
    let all = families.trim().is_empty() || families.contains("all") || server.software != "postfix";
    !address.is_unspecified() && (all || families.contains(if address.is_ipv4() { "ipv4" } else { "ipv6" }))
}

fn one(
    evidence: &Evidence,
    routing: &Routing,
    (name, server): (&String, &Server),
    source: &Configured<IpAddr>,
    judgement: &mut Judgement,
) {
    let text = source.value.to_string();
    if source.value.is_loopback() {
        return loopback(evidence, routing, (name, server), source, judgement);
    }
    let address = routing.addresses.get(&text);
    let Some(bound) = routing.sources.get(&text) else {
        return judgement.blind(&RULE, &Blind::NotAttempted { why: format!("{text} was not asked about") });
    };
    if let Some(vrf) = address.and_then(|address| address.vrf.as_ref()) {
        let why = format!("{text} belongs to the VRF {vrf}, and whether {name} runs in it is not known");
        return judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
    match address.map(|address| address.state) {
        Some(AddressState::Duplicate) => {
            let why = format!("{text} is on this host, but another host on the link has it too (dadfailed).");
            return judgement.find(finding(evidence, (name, server), source, why));
        }
        Some(AddressState::Tentative) => {
            let why = format!("{text} is tentative: whether another host has it has not been settled.");
            return judgement.find(finding(evidence, (name, server), source, why));
        }
        Some(AddressState::Usable) => return judgement.well(format!("{name} sends from {text}, which is this host's")),
        None => {}
    }
    match may_bind(bound) {
        Seen::Value(why) => judgement.well(format!("{name} sends from {text}: {why}")),
        Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
        Seen::Absent => {
            let why = format!("{text} is on no interface, and no route makes it local.");
            judgement.find(finding(evidence, (name, server), source, why));
        }
    }
}

/// Nothing beyond this host is reached from a loopback address. A single service may well be for this host alone (a content
/// filter's); the setting of all services is not.
fn loopback(
    evidence: &Evidence,
    routing: &Routing,
    (name, server): (&String, &Server),
    source: &Configured<IpAddr>,
    judgement: &mut Judgement,
) {
    let is_for_all = source.at.as_ref().is_some_and(|at| !at.file.ends_with("/master.cf"));
    let leaves = routing.answers.values().any(|answer| answer.server == *name);
    if is_for_all && leaves {
        let why = format!("{} is a loopback address: nothing beyond this host is reached from it.", source.value);
        let mut found = finding(evidence, (name, server), source, why);
        // The address can be bound to, so nothing goes on without it.
        found.severity = Severity::Critical;
        found.summary =
            format!("{name} is to send from {}, which reaches only this host: no mail leaves.", source.value);
        found.data.insert("sends_anyway".to_owned(), false.into());
        return judgement.find(found);
    }
    judgement.well(format!("{name} sends from {} to services of this host", source.value));
}

/// What permits it although no interface has the address. `Absent`: nothing does.
fn may_bind(bound: &BoundSource) -> Seen<&'static str> {
    match (&bound.local, &bound.non_local_bind) {
        (Seen::Value(true), _) => Seen::Value("a route makes it local"),
        (_, Seen::Value(true)) => Seen::Value("ip_nonlocal_bind lets programs bind to any address"),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        _ => Seen::Absent,
    }
}

fn finding(
    evidence: &Evidence,
    (name, server): (&String, &Server),
    source: &Configured<IpAddr>,
    why: String,
) -> Finding {
    let text = source.value.to_string();
    // Without this setting Postfix logs a warning and sends from whatever address the kernel takes (postconf(5)).
    let sends_anyway = server.software == "postfix" && server.setting("smtp_bind_address_enforce") != "yes";
    let (severity, effect) = if sends_anyway {
        (Severity::Error, "mail leaves from another one, which SPF and PTR may know nothing of")
    } else {
        (Severity::Critical, "no mail leaves")
    };
    let at = source.at.as_ref().map_or(String::new(), |at| format!(" ({at})"));
    let words = Words::new(evidence, server);
    let place = source.at.as_ref();
    let mut fix = Fix::here(format!(
        "Put the address on the interface that it belongs to, where the network is configured; or set {} to an address \
         of this host.",
        source.setting
    ))
    .command("ip -br address")
    .verify(format!("mxray routes 8.97.33.1 --from {text}"));
    if let Some(place) = place {
        fix = fix.config(place.file.clone(), Some(place.line), format!("{} =", source.setting));
    }
    RULE.finding_as(
        severity,
        Subject::new(SubjectKind::Address, text.as_str()),
        format!("{name} is to send from {text}{at}, which this host cannot use: {effect}."),
    )
    .confidence(0.96)
    .because(why, SOURCE, view::pointer(["routing", "value", "addresses"]))
    .because(
        format!("{} = {text}{at}", source.setting),
        server.configured_by.as_str(),
        view::server_pointer(name, &["egress", "sources"]),
    )
    .data("address", text.as_str())
    .data("setting", source.setting.as_str())
    .data("sends_anyway", sends_anyway)
    .touches(Subject::service(format!("{name} egress")))
    .fix(fix)
    .fix(Fix::here("After a change of the configuration, have it read.").command(words.reload()))
    .reference("bind(2), EADDRNOTAVAIL")
    .reference("postconf(5), smtp_bind_address")
}
