//! ROUTE103: the next hop does not answer on the link.

use super::{Asked, End, SOURCE, Sender, ask_again, asked_as, family, is_dead, place_text, senders};
use crate::rule::{Rule, Said};
use mxray_model::evidence::{RoutePurpose, RouteTaken};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Severity, Subject, SubjectKind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "ROUTE103",
    name: "gateway-dead",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the next hop towards what mail needs does not answer on the link",
    page: include_str!("gateway_dead.md"),
    check,
};

/// The kernel asks anew each time the next hop is used. A failure that is older than this was not tried again since;
/// mail that waits is tried at least every `queue_run_delay`, 5 minutes by default.
const STILL_TRUE_MS: u64 = 600_000;

struct Dead<'a> {
    severity: Severity,
    first: Asked<'a>,
    taken: &'a RouteTaken,
    what: BTreeSet<String>,
    servers: BTreeSet<&'a String>,
}

type Hops<'a> = BTreeMap<(IpAddr, &'a str), Dead<'a>>;

fn check(evidence: &Evidence) -> Said {
    let (_, senders, mut judgement) = senders(evidence, &RULE)?;
    let mut dead = Hops::new();
    let mut alive: BTreeMap<(IpAddr, &str), &RouteTaken> = BTreeMap::new();
    for sender in &senders {
        for asked in sender.answers.iter().copied() {
            match asked.end() {
                End::Sent(taken) => {
                    if let Some(blind) = taken.neighbour.blind() {
                        judgement.blind(&RULE, blind);
                    } else if let Some(hop) = taken.next_hop.filter(|_| !is_dead(taken)) {
                        alive.insert((hop, &taken.interface), taken);
                    }
                }
                End::Unknown(blind) => judgement.blind(&RULE, blind),
                End::Refused(_) => {}
            }
        }
        places(sender, &mut dead);
        internet(sender, &mut dead);
    }
    for ((hop, interface), taken) in alive.iter().filter(|(_, taken)| taken.is_gateway) {
        let state = taken.neighbour.value().map_or("not in use", |neighbour| neighbour.state.as_str());
        judgement.well(format!("gateway {hop} on {interface}: {state}"));
    }
    for ((hop, interface), dead) in &dead {
        judgement.find(finding(*hop, interface, dead));
    }
    Ok(judgement)
}

fn add<'a>(dead: &mut Hops<'a>, sender: &Sender<'a>, asked: Asked<'a>, severity: Severity, what: String) {
    let End::Sent(taken) = asked.end() else { return };
    let Some(hop) = taken.next_hop.filter(|_| is_dead(taken)) else { return };
    let changed = taken.neighbour.value().and_then(|neighbour| neighbour.changed_ms).unwrap_or(0);
    let severity = if changed > STILL_TRUE_MS && taken.carrier { Severity::Notice } else { severity };
    let entry = dead.entry((hop, &taken.interface)).or_insert_with(|| Dead {
        severity,
        first: asked,
        taken,
        what: BTreeSet::new(),
        servers: BTreeSet::new(),
    });
    entry.severity = entry.severity.max(severity);
    entry.what.insert(what);
    entry.servers.insert(sender.name);
}

fn places<'a>(sender: &Sender<'a>, dead: &mut Hops<'a>) {
    for ((purpose, name), all) in sender.places() {
        let other = all.iter().any(|asked| asked.gets_away());
        let usual = if purpose == RoutePurpose::Connected { Severity::Error } else { Severity::Critical };
        let severity = if other { Severity::Warning } else { usual };
        for asked in all {
            add(dead, sender, asked, severity, place_text(purpose, &name));
        }
    }
}

fn internet<'a>(sender: &Sender<'a>, dead: &mut Hops<'a>) {
    for ipv4 in [true, false] {
        let some = sender.gets_out(ipv4);
        let severity = match (some, !ipv4 && sender.gets_out(true)) {
            // Several ways, of which one is dead: mail goes out now and then.
            (true, _) => Severity::Error,
            // Each delivery to a host that has this family waits for the kernel to give up, then takes the other.
            (false, true) => Severity::Warning,
            (false, false) => Severity::Critical,
        };
        let part = if some { "a part of " } else { "" };
        for asked in sender.samples(ipv4) {
            add(dead, sender, asked, severity, format!("{part}the Internet over {}", family(ipv4)));
        }
    }
}

fn finding(hop: IpAddr, interface: &str, dead: &Dead<'_>) -> Finding {
    let (asked, taken) = (dead.first, dead.taken);
    let what: Vec<&str> = dead.what.iter().map(|what| what.trim_end_matches(',')).collect();
    let what = what.join(", ");
    let role = if taken.is_gateway { "The gateway" } else { "The host" };
    let state = taken.neighbour.value().map_or("", |n| n.state_later.as_deref().unwrap_or(&n.state));
    let (fault, why) = if taken.carrier {
        let text = format!("{role} {hop} does not answer on {interface}");
        (text, format!("Its hardware address was asked for in vain: its entry on {interface} is {state}."))
    } else {
        let text = format!("The interface {interface} has no carrier");
        (text, format!("{interface} has no link partner; {hop} is behind it."))
    };
    let severity = dead.severity;
    let when = if severity == Severity::Notice { " (when it was used last)" } else { "" };
    let device = shell_word(interface);
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::new(SubjectKind::Address, hop.to_string()),
            format!("{fault}{when}: {what} is behind it."),
        )
        .confidence(if severity == Severity::Notice { 0.5 } else { 0.93 })
        .because(why, SOURCE, asked.pointer())
        .because(
            format!(
                "{} goes by \"{}\" of table {} to {hop}.",
                asked_as(asked),
                taken.matched.as_deref().unwrap_or("its route"),
                taken.table
            ),
            SOURCE,
            asked.pointer(),
        )
        .data("next_hop", hop.to_string())
        .data("interface", interface)
        .data("state", state)
        .data("carrier", taken.carrier)
        .data("what", dead.what.iter().cloned().collect::<Vec<_>>());
    if let Some(changed) = taken.neighbour.value().and_then(|neighbour| neighbour.changed_ms) {
        finding = finding.data("changed_ms", changed);
    }
    for server in &dead.servers {
        finding = finding.touches(Subject::service(*server));
    }
    finding
        .fix(
            Fix::here("See whether the link is up, and whether the address is the router's (or that host's) at all.")
                .command(format!("ip -s link show {device}; ip neighbour show dev {device}"))
                .command(format!("ping -c 3 -I {device} {hop}")),
        )
        .fix(
            Fix::here(
                "Bring it back (power, cable, VLAN, the provider's router), or set the route to the gateway that \
                 holds, where the network is configured.",
            )
            .verify(ask_again(asked)),
        )
        .reference("ip-neighbour(8)")
        .reference(if hop.is_ipv4() { "arp(7)" } else { "RFC 4861 section 7.3" })
}
