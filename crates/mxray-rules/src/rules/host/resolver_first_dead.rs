//! HOST105: the name server that is asked first is dead, and another one answers.

use crate::place;
use crate::resolvers::{self, Asked, Health, Need};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{DnsTrouble, ResolverCheck};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "HOST105",
    name: "resolver-first-dead",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the first name server is dead: every lookup is seconds late",
    page: include_str!("resolver_first_dead.md"),
    check,
};

/// What the library waits for the first server (resolv.conf(5), `timeout`).
const TIMEOUT_S: u32 = 5;

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut groups: BTreeMap<String, (Asked<'_>, Vec<&str>, Need)> = BTreeMap::new();
    for (name, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        let need = resolvers::need(evidence, server);
        if need == Need::Nothing {
            judgement.well(format!("{name} needs no names"));
            continue;
        }
        match resolvers::asked(evidence, server) {
            Ok(asked) => {
                let group = groups.entry(asked.file.clone()).or_insert_with(|| (asked, Vec::new(), need));
                group.1.push(name);
                group.2 = group.2.max(need);
            }
            Err(blind) => judgement.blind(&RULE, &blind),
        }
    }
    for (asked, names, need) in groups.values() {
        one(evidence, asked, names, *need, &mut judgement);
    }
    Ok(judgement)
}

fn one(evidence: &Evidence, asked: &Asked<'_>, names: &[&str], need: Need, judgement: &mut Judgement) {
    let mut dead: Vec<(IpAddr, &ResolverCheck)> = Vec::new();
    let mut answering: Option<IpAddr> = None;
    let mut unknown: Option<Blind> = None;
    for address in asked.servers.iter().copied() {
        match resolvers::health(evidence, address) {
            Health::Answers(_) => _ = answering.get_or_insert(address),
            // Servers behind the one that answers are hardly ever asked, unless they take turns.
            Health::Dead(check) if answering.is_none() || rotates(asked) => dead.push((address, check)),
            Health::Dead(_) => {}
            Health::Unknown(blind) => {
                if answering.is_none() {
                    unknown = Some(blind);
                }
            }
        }
    }
    match (answering, dead.first(), unknown) {
        (_, _, Some(blind)) => judgement.blind(&RULE, &blind),
        (Some(_), None, None) => judgement.well(format!("the first name server of {} answers", asked.file)),
        (Some(second), Some(_), None) => judgement.find(finding(asked, names, need, &dead, second)),
        // None answers: that is HOST104's.
        (None, _, None) => {}
    }
}

fn rotates(asked: &Asked<'_>) -> bool {
    asked.options.iter().any(|option| option == "rotate")
}

/// The last one of several counts (resolv.conf(5)).
fn timeout_s(asked: &Asked<'_>) -> u32 {
    let given = asked.options.iter().rev().find_map(|option| option.strip_prefix("timeout:")?.parse().ok());
    given.unwrap_or(TIMEOUT_S).clamp(1, 30)
}

fn finding(
    asked: &Asked<'_>,
    names: &[&str],
    need: Need,
    dead: &[(IpAddr, &ResolverCheck)],
    second: IpAddr,
) -> Finding {
    let silent = dead.iter().any(|(_, check)| resolvers::trouble(check) == DnsTrouble::Silent);
    let wait_s = timeout_s(asked);
    let (severity, effect) = match (silent, need) {
        (true, Need::Destinations) if !rotates(asked) => {
            (Severity::Error, format!("each lookup waits {wait_s} s for it before {second} is asked"))
        }
        (true, _) => {
            (Severity::Warning, format!("a lookup that begins there waits {wait_s} s before {second} is asked"))
        }
        (false, _) => (Severity::Warning, format!("{second} is asked at once and nothing is left in reserve")),
    };
    let how: Vec<String> =
        dead.iter().map(|(address, check)| format!("{address} {}", resolvers::trouble(check).as_str())).collect();
    let summary = format!("Of the name servers that {} asks, {}; {effect}.", names.join(" and "), how.join(" and "));
    let addresses: Vec<IpAddr> = dead.iter().map(|(address, _)| *address).collect();
    let first = addresses.first().copied().unwrap_or(second);
    let mut finding = RULE.finding_as(severity, resolvers::subject(first), summary).confidence(0.9);
    for name in names {
        finding = finding.touches(Subject::service(*name));
    }
    for address in &addresses {
        finding = finding.touches(resolvers::subject(*address));
    }
    let order = format!("It asks {}, in this order.", resolvers::texts(&asked.servers));
    finding = finding.because(order, asked.file.clone(), asked.pointer.clone());
    for (address, check) in dead {
        finding = finding.because(
            format!("{address} {}.", resolvers::trouble(check).as_str()),
            check.server.to_string(),
            resolvers::pointer(check),
        );
    }
    let line = asked.lines.iter().find(|line| line.address == first).map(|line| line.line);
    finding
        .data("dead", resolvers::strings(&addresses))
        .data("answers", second.to_string())
        .data("waits_s", if silent { wait_s } else { 0 })
        .fix(
            Fix::here("Find out why it does not answer, and have it repaired.")
                .command(format!("dig @{first} . NS +tries=1 +time=2"))
                .verify("mxray doctor"),
        )
        .fix(
            Fix::here(
                "Or put the one that answers first. Where another program writes the file (systemd-resolved, NetworkManager, \
                 resolvconf, a DHCP client), it has to be told there.",
            )
            .config(asked.file.clone(), line, format!("nameserver {second}"))
            .verify("mxray doctor"),
        )
        .reference("resolv.conf(5)")
}
