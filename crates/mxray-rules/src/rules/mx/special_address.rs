//! MX110: a host that takes mail is published with an address that nobody outside reaches.

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::MailRouteProblem;
use mxray_model::evidence::{RouteOutcome, RoutePurpose, Routing};
use mxray_model::{Blind, Evidence, Finding, Prefix, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "MX110",
    name: "mx-special-address",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a host in the MX records has an address that nobody outside reaches",
    page: include_str!("special_address.md"),
    check,
};

/// What this host's resolver says inside a network is no proof of what others are told.
const FROM_INSIDE: f32 = 0.85;
const CERTAIN: f32 = 0.95;

/// Networks that hosts really have, only not on the Internet (RFC 1918, RFC 6598, RFC 4193).
const INNER: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

fn is_inner(address: IpAddr) -> bool {
    INNER.iter().filter_map(|text| text.parse::<Prefix>().ok()).any(|prefix| prefix.contains(address.to_canonical()))
}

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        let special = |problem: &MailRouteProblem| match problem {
            MailRouteProblem::SpecialAddress { name, address } => Some((name.clone(), *address)),
            _ => None,
        };
        // An IPv4 address in the form of IPv6 is for programs, and never for the wire (RFC 4291 section 2.5.5.2).
        let is_mapped = |address: IpAddr| address.to_canonical() != address;
        let of = routed
            .problems()
            .filter_map(special)
            .filter(|(_, address)| is_mapped(*address) || !evidence.declared.is_public(*address));
        let all: Vec<(String, IpAddr)> = of.collect();
        if all.is_empty() {
            if routed.routing.route.hosts().iter().any(|host| host.addresses.value().is_some()) {
                judgement.well(format!("the hosts that take mail for {} have public addresses", routed.name));
            }
            continue;
        }
        match seen_from_inside(evidence, &routed, &all) {
            Some(why) => {
                let look = format!("mxray domain {} --resolver ADDRESS-OF-A-PUBLIC-RESOLVER", routed.name);
                judgement.blind(&RULE, &Blind::Elsewhere { why, look });
            }
            None if all.iter().any(|(_, address)| published::was_reached(evidence, *address)) => {
                let name = routed.name;
                judgement.well(format!("an address of the hosts that take mail for {name} is reached from here"));
            }
            None => judgement.find(finding(&routed, &all)),
        }
    }
    Ok(judgement)
}

/// Why what was seen may be the inner half of a split DNS, in which own domains lead to inner addresses by intent. `None`:
/// nothing says so.
fn seen_from_inside(evidence: &Evidence, routed: &Routed<'_>, special: &[(String, IpAddr)]) -> Option<String> {
    let name = routed.name;
    if !special.iter().all(|(_, address)| is_inner(*address)) {
        return None;
    }
    let routing = evidence.routing.value();
    let own = |address: &IpAddr| {
        let keys = routing.into_iter().flat_map(|routing| routing.addresses.keys());
        keys.filter_map(|text| text.parse::<IpAddr>().ok()).any(|one| one == *address)
            || evidence.addresses.value().is_some_and(|all| all.contains(address))
    };
    if let Some((_, address)) = special.iter().find(|(_, address)| own(address)) {
        return Some(format!(
            "{name} leads to {address}, which is this host's own: what names say outside is not known here"
        ));
    }
    let leaves_from = sources(routing);
    let inside = !leaves_from.is_empty() && leaves_from.iter().all(|address| !evidence.declared.is_public(*address));
    inside.then(|| {
        format!(
            "this host stands in a private network, and its name servers may know {name} otherwise than those outside"
        )
    })
}

/// The addresses that mail to the Internet would leave from.
fn sources(routing: Option<&Routing>) -> Vec<IpAddr> {
    let answers = routing.into_iter().flat_map(|routing| routing.answers.values());
    let outward = answers.filter(|answer| matches!(answer.purpose, RoutePurpose::Sample | RoutePurpose::Mentioned));
    outward
        .filter_map(|answer| match answer.outcome.value() {
            Some(RouteOutcome::Sent(taken)) => taken.source,
            _ => None,
        })
        .collect()
}

fn finding(routed: &Routed<'_>, special: &[(String, IpAddr)]) -> Finding {
    let name = routed.name;
    let is_special = |address: &IpAddr| special.iter().any(|(_, one)| one == address);
    let known = routed.routing.route.hosts().iter().flat_map(|host| host.addresses.value().into_iter().flatten());
    let all = known.clone().count() > 0 && known.clone().all(is_special);
    let shown: Vec<String> = special.iter().map(|(host, address)| format!("{host} ({address})")).collect();
    let summary = if all {
        format!("Mail for {name} leads to {}, which nobody outside reaches: no mail arrives.", shown.join(", "))
    } else {
        format!(
            "Mail for {name} leads to {}, which nobody outside reaches, besides hosts that can be.",
            shown.join(", ")
        )
    };
    let confidence = if special.iter().all(|(_, address)| is_inner(*address)) { FROM_INSIDE } else { CERTAIN };
    let text = "Give the host its public address, or take it out of the MX records. Where DNS is split, publish the inner \
                address inside only.";
    routed
        .finding(&RULE, RULE.severity, all, summary)
        .confidence(confidence)
        .data("addresses", special.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>())
        .data("all", all)
        .reference("RFC 5321 section 5.1")
        .reference("RFC 6890")
        .fix(routed.step(text))
}
