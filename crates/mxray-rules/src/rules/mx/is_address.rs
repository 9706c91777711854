//! MX108: an MX record with an address in place of a name.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{MailHost, MailRouteProblem};
use mxray_model::{Evidence, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "MX108",
    name: "mx-is-address",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an MX record has an address where a name belongs",
    page: include_str!("is_address.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        if !routed.by_mx() {
            continue;
        }
        let named: Vec<&str> = routed.problems().filter_map(address).collect();
        let Some(first) = named.first() else {
            judgement.well(format!("the MX records of {} name hosts", routed.name));
            continue;
        };
        let (name, all) = (routed.name, routed.routing.route.hosts().len());
        let effect = if named.len() == all { "no mail arrives by them" } else { "nobody finds that host" };
        let summary = format!("An MX record of {name} has the address {first} where a name belongs: {effect}.");
        let host = routed.own_host(evidence).map_or_else(|| format!("mail.{name}"), str::to_owned);
        let rename =
            |one: &MailHost| Some(if named.contains(&one.name.as_str()) { host.clone() } else { one.name.clone() });
        let mut step =
            routed.records(routed.step("Name a host that has this address, and give it an address record."), rename);
        if let Ok(address) = first.parse::<IpAddr>() {
            step = step.record(host.as_str(), published::address_kind(address), *first);
        }
        let finding = routed
            .finding(&RULE, RULE.severity, named.len() == all, summary)
            .data("named", named)
            .reference("RFC 1035 section 3.3.9")
            .reference("RFC 5321 section 5.1")
            .fix(step);
        judgement.find(finding);
    }
    Ok(judgement)
}

fn address(problem: &MailRouteProblem) -> Option<&str> {
    match problem {
        MailRouteProblem::AddressAsName { name } => Some(name),
        _ => None,
    }
}
