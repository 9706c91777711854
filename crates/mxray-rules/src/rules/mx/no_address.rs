//! MX109: an MX record that names a host without an address.

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::MailHost;
use mxray_model::{Evidence, Finding, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "MX109",
    name: "mx-no-address",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a host in the MX records has no address",
    page: include_str!("no_address.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        let hosts = routed.routing.route.hosts();
        if !routed.by_mx() {
            continue;
        }
        for blind in hosts.iter().filter_map(|host| host.addresses.blind()) {
            judgement.blind(&RULE, blind);
        }
        // An address in place of a name has no address record either; MX108 says what it is.
        let is_address = |host: &&MailHost| host.name.parse::<IpAddr>().is_ok();
        let bare: Vec<&MailHost> =
            hosts.iter().filter(|host| host.addresses.is_absent() && !is_address(host)).collect();
        if bare.is_empty() {
            if hosts.iter().all(|host| host.addresses.value().is_some()) {
                judgement.well(format!("each host in the MX records of {} has an address", routed.name));
            }
            continue;
        }
        judgement.find(finding(&routed, &bare));
    }
    Ok(judgement)
}

fn finding(routed: &Routed<'_>, bare: &[&MailHost]) -> Finding {
    let (name, hosts) = (routed.name, routed.routing.route.hosts());
    let all = hosts.iter().all(|host| host.addresses.is_absent());
    let names: Vec<&str> = bare.iter().map(|host| host.name.as_str()).collect();
    let (severity, summary) = if all {
        let summary = match names.as_slice() {
            [one] if hosts.len() == 1 => {
                format!("The MX record of {name} names {one}, which has no address: mail for it goes nowhere.")
            }
            _ => format!(
                "None of the {} hosts in the MX records of {name} has an address: mail for it goes nowhere.",
                hosts.len()
            ),
        };
        (Severity::Critical, summary)
    } else {
        let named = names.join(", ");
        (RULE.severity, format!("Of the hosts in the MX records of {name}, {named} has no address; others have to do."))
    };
    let text = "Give the host its address records, or take it out of the MX records. Address records of the domain itself do \
                not count where there are MX records.";
    let mut step = routed.step(text);
    if !all {
        step = routed.records(step, |host| (!host.addresses.is_absent()).then(|| host.name.clone()));
    }
    routed
        .finding(&RULE, severity, all, summary)
        .data("hosts", names)
        .data("all", all)
        .reference("RFC 5321 section 5.1")
        .fix(step)
}
