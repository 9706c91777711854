//! Where a domain's mail goes (RFC 5321 section 5.1, RFC 7505).
//!
//! What must not live here: whether the hosts answer, and who is to be blamed (rules).

use crate::ask::{Asker, Evaluator, Kind, Pending};
use crate::spf::askable;
use mxray_model::evidence::published::{MailHost, MailRoute, MailRouteProblem, MailRouting};
use mxray_model::evidence::{DnsOutcome, Lookup, RecordData};
use mxray_model::special::is_special;
use mxray_model::{Seen, text::untrusted};
use std::net::IpAddr;

/// Most hosts whose addresses are looked up.
const HOSTS_MAX: usize = 50;

/// Finds where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRouter {
    pub domain: String,
}

impl Evaluator for MailRouter {
    type Outcome = MailRouting;

    fn evaluate(&self, ask: &mut Asker<'_>) -> Result<MailRouting, Pending> {
        let domain = untrusted(self.domain.as_bytes());
        let Some(name) = askable(&self.domain) else {
            let why = format!("{domain} is no domain name");
            return Ok(MailRouting { domain, route: MailRoute::Unknown { why }, problems: Vec::new() });
        };
        let mut problems = Vec::new();
        let lookup = ask.dns(&name, Kind::Mx)?;
        let route = match lookup.found() {
            Seen::Value(records) => {
                let exchange = |record: &&mxray_model::evidence::DnsRecord| match &record.data {
                    RecordData::Mx { preference, exchange } => {
                        Some((*preference, exchange.trim_end_matches('.').to_owned()))
                    }
                    _ => None,
                };
                let mut found: Vec<(u16, String)> = records.iter().filter_map(exchange).collect();
                found.sort();
                servers(found, &mut problems, ask)?
            }
            Seen::Absent if lookup.outcome == DnsOutcome::NoSuchName => MailRoute::NoSuchDomain,
            Seen::Absent => implicit(&name, ask)?,
            Seen::Unknown(blind) => MailRoute::Unknown { why: blind.why() },
        };
        for host in route.hosts() {
            about(host, matches!(route, MailRoute::Servers { .. }), &mut problems);
        }
        Ok(MailRouting { domain, route, problems })
    }
}

fn servers(
    found: Vec<(u16, String)>,
    problems: &mut Vec<MailRouteProblem>,
    ask: &mut Asker<'_>,
) -> Result<MailRoute, Pending> {
    let (null, mut real): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, name)| name.is_empty());
    if let Some((preference, _)) = null.iter().find(|(preference, _)| *preference != 0) {
        problems.push(MailRouteProblem::NullPreference { preference: *preference });
    }
    if real.is_empty() {
        return Ok(MailRoute::Null);
    }
    if !null.is_empty() {
        problems.push(MailRouteProblem::NullBesideOthers);
    }
    let mut seen: Vec<String> = Vec::new();
    real.retain(|(_, name)| {
        let again = seen.iter().any(|known| known.eq_ignore_ascii_case(name));
        if again {
            problems.push(MailRouteProblem::Duplicate { name: untrusted(name.as_bytes()) });
        }
        seen.push(name.clone());
        !again
    });
    real.truncate(HOSTS_MAX);
    let mut hosts = Vec::new();
    let mut pending = false;
    for (preference, name) in real {
        match host(preference, &name, ask) {
            Ok(host) => hosts.push(host),
            Err(Pending) => pending = true,
        }
    }
    if pending { Err(Pending) } else { Ok(MailRoute::Servers { hosts }) }
}

fn implicit(name: &str, ask: &mut Asker<'_>) -> Result<MailRoute, Pending> {
    let host = host(0, name, ask)?;
    Ok(match host.addresses {
        Seen::Absent => MailRoute::Nowhere,
        Seen::Value(_) | Seen::Unknown(_) => MailRoute::Implicit { host },
    })
}

fn host(preference: u16, name: &str, ask: &mut Asker<'_>) -> Result<MailHost, Pending> {
    ask.ahead(name, Kind::Aaaa);
    let (v4, v6) = (ask.dns(name, Kind::A)?, ask.dns(name, Kind::Aaaa)?);
    let addresses = of_both(v4, v6);
    let alias = alias(v4).or_else(|| alias(v6));
    Ok(MailHost { preference, name: untrusted(name.as_bytes()), addresses, alias })
}

/// The addresses of both families. What is known of one counts though the other is not.
pub(crate) fn of_both(v4: &Lookup, v6: &Lookup) -> Seen<Vec<IpAddr>> {
    match (v4.addresses(), v6.addresses()) {
        (Seen::Value(mut v4), Seen::Value(v6)) => {
            v4.extend(v6);
            Seen::Value(v4)
        }
        (Seen::Value(found), _) | (_, Seen::Value(found)) => Seen::Value(found),
        (Seen::Unknown(blind), _) | (_, Seen::Unknown(blind)) => Seen::Unknown(blind),
        (Seen::Absent, Seen::Absent) => Seen::Absent,
    }
}

fn alias(lookup: &Lookup) -> Option<String> {
    lookup.records.iter().find_map(|record| match &record.data {
        RecordData::Cname { target } => Some(untrusted(target.as_bytes())),
        _ => None,
    })
}

fn about(host: &MailHost, by_mx: bool, problems: &mut Vec<MailRouteProblem>) {
    let name = host.name.clone();
    if by_mx {
        let label = |label: &str| {
            let fits = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            fits && !label.is_empty() && !label.starts_with('-')
        };
        if name.parse::<IpAddr>().is_ok() {
            problems.push(MailRouteProblem::AddressAsName { name: name.clone() });
        } else if !name.split('.').all(label) {
            problems.push(MailRouteProblem::NotAHostName { name: name.clone() });
        }
        if let Some(target) = &host.alias {
            problems.push(MailRouteProblem::Alias { name: name.clone(), target: target.clone() });
        }
    }
    match &host.addresses {
        Seen::Absent => problems.push(MailRouteProblem::NoAddress { name }),
        Seen::Value(addresses) => {
            let special = addresses.iter().filter(|address| is_special(**address));
            problems.extend(
                special.map(|address| MailRouteProblem::SpecialAddress { name: name.clone(), address: *address }),
            );
        }
        Seen::Unknown(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::Zone;

    fn routed(zone: &Zone) -> MailRouting {
        zone.outcome(MailRouter { domain: "example.org".into() })
    }

    #[test]
    fn t10_null_none_and_implicit_are_three_outcomes() {
        let null = Zone::default().with("example.org", RecordData::Mx { preference: 0, exchange: String::new() });
        assert_eq!((routed(&null).route, routed(&null).problems), (MailRoute::Null, vec![]));
        let implicit = routed(&Zone::default().a("example.org", "1.1.1.1"));
        assert!(matches!(implicit.route, MailRoute::Implicit { .. }) && implicit.problems.is_empty());
        assert_eq!(routed(&Zone::default().txt("example.org", "x")).route, MailRoute::Nowhere);
        assert_eq!(routed(&Zone::default()).route, MailRoute::NoSuchDomain);
        assert!(matches!(routed(&Zone::default().fails("example.org", Kind::Mx)).route, MailRoute::Unknown { .. }));
    }

    #[test]
    fn t10_a_null_mx_stands_alone_with_preference_0() {
        let beside =
            Zone::default().mx("example.org", "").mx("example.org", "m.example.org").a("m.example.org", "1.1.1.1");
        let problems = routed(&beside).problems;
        assert_eq!(problems, [MailRouteProblem::NullPreference { preference: 10 }, MailRouteProblem::NullBesideOthers]);
    }

    #[test]
    fn t13_an_mx_without_a_usable_host_is_not_an_implicit_one() {
        let zone = Zone::default().mx("example.org", "gone.example.org").a("example.org", "1.1.1.1");
        let (seen, asked) = zone.play(MailRouter { domain: "example.org".into() });
        assert!(matches!(seen.route, MailRoute::Servers { .. }));
        assert_eq!(seen.problems, [MailRouteProblem::NoAddress { name: "gone.example.org".into() }]);
        assert!(!asked.contains(&"A example.org".to_owned()));
        let late = Zone::default()
            .mx("example.org", "m.example.org")
            .fails("m.example.org", Kind::A)
            .fails("m.example.org", Kind::Aaaa);
        assert_eq!(routed(&late).problems, []);
    }

    #[test]
    fn t14_an_alias_is_told_and_followed() {
        let zone = Zone::default()
            .mx("example.org", "m.example.org")
            .with("m.example.org", RecordData::Cname { target: "host.example.net".into() })
            .a("m.example.org", "1.1.1.1");
        let mut machine = crate::ask::Machine::new(MailRouter { domain: "example.org".into() });
        machine.dns("example.org", Kind::Mx, zone.lookup("example.org", Kind::Mx));
        let mut lookup = zone.lookup("m.example.org", Kind::A);
        let target = RecordData::Cname { target: "host.example.net".into() };
        lookup
            .records
            .insert(0, mxray_model::evidence::DnsRecord { name: "m.example.org".into(), ttl_s: 1, data: target });
        machine.dns("m.example.org", Kind::A, lookup);
        machine.dns("m.example.org", Kind::Aaaa, zone.lookup("m.example.org", Kind::Aaaa));
        let crate::ask::Step::Done(seen) = machine.step() else { panic!("it is done") };
        let alias = MailRouteProblem::Alias { name: "m.example.org".into(), target: "host.example.net".into() };
        assert_eq!(seen.problems, [alias]);
        assert!(seen.route.hosts()[0].addresses.value().is_some());
    }

    #[test]
    fn hosts_that_nobody_reaches() {
        let zone = Zone::default()
            .mx("example.org", "192.0.2.1")
            .mx("example.org", "in.example.org")
            .mx("example.org", "IN.example.org")
            .mx("example.org", "ma il.example.org")
            .a("in.example.org", "10.0.0.1");
        let problems = routed(&zone).problems;
        let has = |wanted: fn(&MailRouteProblem) -> bool| problems.iter().any(wanted);
        assert!(has(|one| matches!(one, MailRouteProblem::AddressAsName { .. })), "{problems:?}");
        assert!(has(|one| matches!(one, MailRouteProblem::NotAHostName { .. })), "{problems:?}");
        assert!(has(|one| matches!(one, MailRouteProblem::Duplicate { .. })), "{problems:?}");
        assert!(has(|one| matches!(one, MailRouteProblem::SpecialAddress { .. })), "{problems:?}");
    }
}
