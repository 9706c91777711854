//! DNS103: a server of a zone does not answer for it.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::evidence::published::{Domain, Zone, ZoneServer};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Seen, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "DNS103",
    name: "ns-lame",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a name server of the domain does not answer for it",
    page: include_str!("ns_lame.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let zone = match &domain.zone {
            Seen::Value(zone) => zone,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        // Several names may lie in one zone.
        if !seen.insert(&zone.apex) {
            continue;
        }
        match &zone.servers {
            Seen::Value(servers) => one(name, domain, zone, servers, &mut judgement),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

/// What is wrong with one server, in words behind its name.
fn fault(key: &str, server: &ZoneServer, answering: &BTreeSet<bool>) -> Option<String> {
    match &server.authoritative {
        Seen::Value(true) => None,
        Seen::Value(false) => Some(match server.code.as_deref() {
            Some("NOERROR") | None => "answers, and not for this zone".to_owned(),
            Some(code) => format!("says {code}"),
        }),
        Seen::Absent => Some("has no address".to_owned()),
        // Where no server of a family answers, it may be this host that does not get there.
        Seen::Unknown(blind) if answering.contains(&is_ipv6(key)?) => match blind {
            Blind::TimedOut { .. } => Some("does not answer".to_owned()),
            Blind::Failed { error, .. } if error.contains("nobody listens") => {
                Some("refuses: nobody listens".to_owned())
            }
            _ => None,
        },
        Seen::Unknown(_) => None,
    }
}

fn is_ipv6(key: &str) -> Option<bool> {
    key.rsplit_once(' ').and_then(|(_, address)| address.parse::<IpAddr>().ok()).map(|address| address.is_ipv6())
}

fn one(name: &str, domain: &Domain, zone: &Zone, servers: &BTreeMap<String, ZoneServer>, judgement: &mut Judgement) {
    let good = |server: &ZoneServer| server.authoritative == Seen::Value(true);
    let answering: BTreeSet<bool> =
        servers.iter().filter(|(_, server)| good(server)).filter_map(|(key, _)| is_ipv6(key)).collect();
    let apex = &zone.apex;
    if answering.is_empty() {
        // All of them at once: it is the network that keeps us from them, or somebody answers in their place.
        if !servers.is_empty() {
            let intercepted = servers.values().any(|server| server.recursive);
            let why = if intercepted {
                format!(
                    "a resolver answers in the place of {apex}'s name servers: questions are intercepted on the way"
                )
            } else {
                format!("none of {apex}'s name servers answers to this host, and its resolver knows the domain")
            };
            judgement.blind(&RULE, &Blind::Elsewhere { why, look: "a host in another network".to_owned() });
        }
        return;
    }
    let faults: BTreeMap<&str, String> =
        servers.iter().filter_map(|(key, server)| Some((key.as_str(), fault(key, server, &answering)?))).collect();
    let Some((first, fault)) = faults.first_key_value() else {
        judgement.well(format!("all {} name servers of {apex} answer for it", servers.len()));
        return;
    };
    let count = faults.len();
    let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
    let summary = format!(
        "{first}, a name server of {apex}, {fault}{more}: some questions about its mail are answered late or not at all."
    );
    let mut finding = zones::finding(&RULE, RULE.severity, published::subject(name), domain, false, summary)
        .confidence(0.85)
        .data("servers", faults.keys().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        .reference("RFC 1034 section 4.2.2")
        .reference("RFC 1912 section 2.8");
    for (key, fault) in &faults {
        let pointer = published::pointer(name, &["zone", "value", "servers", "value", key]);
        finding = finding.because(format!("{key} {fault}."), format!("SOA {apex}"), pointer);
    }
    let address = first.rsplit_once(' ').map_or(*first, |(_, address)| address);
    let fix = published::zone_step(
        name,
        published::is_ours(domain),
        "Have the zone loaded by that server, or take the server out of the delegation and out of the NS records of the zone.",
    );
    judgement.find(
        finding.fix(
            fix.command(format!("dig +norecurse @{} {} SOA", shell_word(address), shell_word(apex)))
                .verify(format!("mxray domain {}", shell_word(name))),
        ),
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_tell_the_family() {
        assert_eq!(super::is_ipv6("ns1.example.net 192.0.2.1"), Some(false));
        assert_eq!(super::is_ipv6("ns1.example.net 2001:db8::1"), Some(true));
        assert_eq!(super::is_ipv6("ns1.example.net"), None);
    }
}
