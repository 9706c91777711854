//! HOST104: none of the name servers that a mail server asks answers.

use crate::place;
use crate::resolvers::{self, Asked, Health, Need};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{DnsOutcome, DnsTrouble, ResolverCheck, Server};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "HOST104",
    name: "resolver-dead",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "no name server that the mail server asks answers",
    page: include_str!("resolver_dead.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    // Mail servers that read the same file share one finding.
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for (name, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        let need = resolvers::need(evidence, server);
        if need == Need::Nothing {
            judgement.well(format!("{name} needs no names"));
            continue;
        }
        match resolvers::asked(evidence, server) {
            Ok(asked) => groups.entry(asked.file.clone()).or_insert_with(|| Group::new(asked)).add(name, server, need),
            Err(blind) => judgement.blind(&RULE, &blind),
        }
    }
    for group in groups.values() {
        group.judge(evidence, &mut judgement);
    }
    Ok(judgement)
}

struct Group<'a> {
    asked: Asked<'a>,
    names: Vec<&'a str>,
    need: Need,
    /// Some domains have a way of their own, which may be an address.
    has_transports: bool,
}

impl<'a> Group<'a> {
    fn new(asked: Asked<'a>) -> Self {
        Group { asked, names: Vec::new(), need: Need::Nothing, has_transports: true }
    }

    fn add(&mut self, name: &'a str, server: &Server, need: Need) {
        self.names.push(name);
        self.need = self.need.max(need);
        self.has_transports &= !server.setting("transport_maps").is_empty();
    }

    fn judge(&self, evidence: &Evidence, judgement: &mut Judgement) {
        let mut dead: Vec<(IpAddr, &ResolverCheck)> = Vec::new();
        let mut unknown: Option<Blind> = None;
        for address in self.asked.servers.iter().copied() {
            match resolvers::health(evidence, address) {
                Health::Answers(check) => match behind(evidence, address, check) {
                    Some(beyond) => dead.extend(beyond),
                    None => return judgement.well(format!("{address} answers questions ({})", self.asked.file)),
                },
                Health::Dead(check) => dead.push((address, check)),
                Health::Unknown(blind) => unknown = Some(blind),
            }
        }
        match unknown {
            Some(blind) => judgement.blind(&RULE, &blind),
            None if dead.iter().all(|(address, check)| has_no_way(evidence, *address, check)) => {
                let why = "no route leads to any of the name servers";
                judgement.blind(&RULE, &Blind::NotAttempted { why: why.to_owned() });
            }
            None => judgement.find(self.finding(&dead)),
        }
    }

    fn severity(&self) -> (Severity, f32, &'static str) {
        match self.need {
            Need::Destinations if self.has_transports => {
                (Severity::Error, 0.8, "mail waits in the queue, save for domains whose way is set by address")
            }
            Need::Destinations => {
                (Severity::Critical, 0.95, "nobody says where mail is to go, and it waits in the queue")
            }
            _ => (Severity::Warning, 0.8, "clients have no names, and block lists and policies cannot be asked for"),
        }
    }

    fn finding(&self, dead: &[(IpAddr, &ResolverCheck)]) -> Finding {
        let (severity, confidence, effect) = self.severity();
        let names = self.names.join(" and ");
        let how: Vec<String> =
            dead.iter().map(|(address, check)| format!("{address} {}", resolvers::trouble(check).as_str())).collect();
        let addresses: Vec<IpAddr> = dead.iter().map(|(address, _)| *address).collect();
        let subject = Subject::new(SubjectKind::Resolver, resolvers::texts(&self.asked.servers));
        let summary = format!("{names} gets no answer from any name server: {}; {effect}.", how.join(", "));
        let mut finding = RULE.finding_as(severity, subject, summary).confidence(confidence);
        for name in &self.names {
            finding = finding.touches(Subject::service(*name));
        }
        for address in self.asked.servers.iter().chain(&addresses) {
            finding = finding.touches(resolvers::subject(*address));
        }
        let asks = format!("It asks {}.", resolvers::texts(&self.asked.servers));
        finding = finding.because(asks, self.asked.file.clone(), self.asked.pointer.clone());
        for (address, check) in dead {
            let tries = check.asked.iter().map(|lookup| lookup.tries.len()).sum::<usize>();
            finding = finding.because(
                format!("{address} {} ({tries} questions over UDP and TCP).", resolvers::trouble(check).as_str()),
                check.server.to_string(),
                resolvers::pointer(check),
            );
        }
        let troubles: Vec<&str> = dead.iter().map(|(_, check)| word(resolvers::trouble(check))).collect();
        let finding = finding.data("servers", resolvers::strings(&addresses)).data("troubles", troubles);
        let finding = finding.data("file", self.asked.file.clone());
        self.fixes(dead)
            .into_iter()
            .fold(finding, Finding::fix)
            .reference("resolv.conf(5)")
            .reference("RFC 1035 section 4.2")
    }

    fn fixes(&self, dead: &[(IpAddr, &ResolverCheck)]) -> Vec<Fix> {
        let mut fixes = Vec::new();
        let verify = "mxray doctor";
        if dead.iter().any(|(address, check)| address.is_loopback() && check.refused) {
            fixes.push(
                Fix::here(
                    "Start the resolver of this machine (unbound, named, systemd-resolved); its log says why it ended.",
                )
                .command("ss -lnup 'sport = :53'")
                .verify(verify),
            );
        }
        if let Some((address, _)) = dead.iter().find(|(address, _)| !address.is_loopback()) {
            fixes.push(
                Fix::here(
                    "Ask the name server's operator, and look whether a firewall on the way drops port 53 (UDP and TCP).",
                )
                .command(format!("dig @{address} . NS +tries=1 +time=2"))
                .verify(verify),
            );
        }
        let file = shell_word(&self.asked.file);
        let line = self.asked.lines.first().map(|line| line.line);
        fixes.push(
            Fix::here(format!(
                "Or name a server that answers. Where {file} is written by another program (systemd-resolved, NetworkManager, \
                 resolvconf, a DHCP client), it has to be told there; a copy for a chroot follows with the mail server's restart."
            ))
            .config(self.asked.file.clone(), line, "nameserver ADDRESS-THAT-ANSWERS")
            .verify(verify),
        );
        fixes
    }
}

fn word(trouble: DnsTrouble) -> &'static str {
    match trouble {
        DnsTrouble::Silent => "silent",
        DnsTrouble::PortClosed => "port_closed",
        DnsTrouble::Unreachable => "unreachable",
        DnsTrouble::Prohibited => "prohibited",
        DnsTrouble::Unreadable => "unreadable",
        DnsTrouble::Broken => "broken",
        DnsTrouble::Failed => "failed",
    }
}

/// systemd-resolved lives, and everybody whom it asks is dead: it answers what it knows by itself, and nothing else.
fn behind<'a>(
    evidence: &'a Evidence,
    address: IpAddr,
    check: &ResolverCheck,
) -> Option<Vec<(IpAddr, &'a ResolverCheck)>> {
    const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];
    if !STUBS.contains(&address.to_string().as_str()) {
        return None;
    }
    let upstream = evidence.resolver.upstream.value().filter(|upstream| !upstream.is_empty())?;
    let resolves =
        |outcome: &DnsOutcome| matches!(outcome, DnsOutcome::Found | DnsOutcome::NoData | DnsOutcome::NoSuchName);
    let asks_outside = check.asked.iter().filter(|lookup| lookup.name == ".");
    if asks_outside.clone().any(|lookup| resolves(&lookup.outcome)) || asks_outside.count() == 0 {
        return None;
    }
    let dead = |address: &IpAddr| match resolvers::health(evidence, *address) {
        Health::Dead(check) => Some((*address, check)),
        Health::Answers(_) | Health::Unknown(_) => None,
    };
    upstream.iter().map(dead).collect()
}

/// The kernel has no way to it, and none to most others: what is wrong is not the name server.
fn has_no_way(evidence: &Evidence, address: IpAddr, check: &ResolverCheck) -> bool {
    let unreachable = resolvers::trouble(check) == DnsTrouble::Unreachable;
    let has_default = |ipv4: bool| match &evidence.routing {
        Seen::Value(routing) => routing.defaults.iter().any(|route| route.ipv4 == ipv4 && route.kind == "unicast"),
        Seen::Absent | Seen::Unknown(_) => false,
    };
    unreachable && !address.is_loopback() && !has_default(address.is_ipv4())
}
