//! ROUTE102: a route or a rule refuses what mail needs, or none leads there.

use super::{Asked, End, Own, SOURCE, Sender, ask_again, asked_as, family, has_default, own, place_text, senders};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Refusal, Refuser, RoutePurpose, RouteRefused, Routing};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "ROUTE102",
    name: "no-route",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a route or a routing rule refuses what mail needs, or none leads there",
    page: include_str!("no_route.md"),
    check,
};

/// A network of at least this size (/8; of IPv6 a registry's block) is no ban of a few disturbers.
const LARGE_BITS4: u8 = 8;
const LARGE_BITS6: u8 = 12;

/// What one route or rule refuses.
struct Refused<'a> {
    severity: Severity,
    first: Asked<'a>,
    refused: &'a RouteRefused,
    /// What cannot be reached.
    what: Vec<String>,
    servers: Vec<&'a String>,
}

fn check(evidence: &Evidence) -> Said {
    let (routing, senders, mut judgement) = senders(evidence, &RULE)?;
    let mut groups: BTreeMap<String, Refused<'_>> = BTreeMap::new();
    for sender in &senders {
        for asked in &sender.answers {
            if let End::Unknown(blind) = asked.end() {
                judgement.blind(&RULE, blind);
            }
        }
        unknown_user(routing, sender, &mut judgement);
        places(routing, sender, &mut groups);
        internet(evidence, routing, sender, &mut groups);
        let asked = sender.answers.iter().filter(|asked| asked.gets_away()).count();
        if asked > 0 && !groups.values().any(|group| group.servers.contains(&sender.name)) {
            judgement.well(format!("{}: no route or rule refuses {asked} destinations asked about", sender.name));
        }
    }
    if routing.loopback_down || routing.loopback_bare {
        judgement.find(loopback(evidence, routing, &senders));
    }
    let (notices, faults): (Vec<_>, Vec<_>) =
        groups.into_values().partition(|group| group.severity == Severity::Notice);
    for group in faults {
        judgement.find(refused(&group));
    }
    judgement.findings.extend(banned(&notices));
    Ok(judgement)
}

/// Where rules go by user and the server's is not known, the kernel was asked for another.
fn unknown_user(routing: &Routing, sender: &Sender<'_>, judgement: &mut Judgement) {
    let by_user = routing.rules.iter().any(|rule| rule.contains(" uidrange "));
    if by_user && sender.answers.iter().any(|asked| asked.answer.uid.is_none()) {
        let why = format!("routing rules go by user, and the user of {} is not known", sender.name);
        judgement.blind(&RULE, &Blind::NotAttempted { why });
    }
}

/// Nothing leads there although a default route exists somewhere; without one it is ROUTE101's.
fn is_ours(routing: &Routing, asked: Asked<'_>) -> bool {
    !asked.finds_nothing() || has_default(routing, asked.is_ipv4())
}

/// What decides, as one key: findings are about that.
fn key(asked: Asked<'_>, refused: &RouteRefused) -> String {
    match &refused.by {
        Seen::Value(refuser) => refuser.delete.clone(),
        _ => format!("{} {}", refused.errno, family(asked.is_ipv4())),
    }
}

fn add<'a>(
    groups: &mut BTreeMap<String, Refused<'a>>,
    (sender, asked): (&Sender<'a>, Asked<'a>),
    severity: Severity,
    what: String,
) {
    let End::Refused(refused) = asked.end() else { return };
    let group = groups.entry(key(asked, refused)).or_insert_with(|| Refused {
        severity,
        first: asked,
        refused,
        what: Vec::new(),
        servers: Vec::new(),
    });
    if severity > group.severity {
        (group.severity, group.first) = (severity, asked);
        group.what.clear();
    }
    if severity == group.severity && !group.what.contains(&what) {
        group.what.push(what);
    }
    if !group.servers.contains(&sender.name) {
        group.servers.push(sender.name);
    }
}

/// Places that none of their addresses reaches.
fn places<'a>(routing: &Routing, sender: &Sender<'a>, groups: &mut BTreeMap<String, Refused<'a>>) {
    for ((purpose, name), all) in sender.places() {
        let away = all.iter().any(|asked| matches!(asked.end(), End::Sent(_) | End::Unknown(_)));
        // A connection of a program that routes otherwise may be open still.
        let usual = if purpose == RoutePurpose::Connected { Severity::Error } else { Severity::Critical };
        let severity = if away { Severity::Notice } else { usual };
        for asked in all.iter().copied().filter(|asked| is_ours(routing, *asked)) {
            add(groups, (sender, asked), severity, place_text(purpose, &name));
        }
    }
}

/// The Internet, or parts of it.
fn internet<'a>(
    evidence: &Evidence,
    routing: &Routing,
    sender: &Sender<'a>,
    groups: &mut BTreeMap<String, Refused<'a>>,
) {
    for ipv4 in [true, false] {
        let samples = sender.samples(ipv4);
        let other = sender.gets_out(!ipv4);
        let whole = !samples.is_empty() && samples.iter().all(|asked| matches!(asked.end(), End::Refused(_)));
        // Who reaches the Internet over IPv4 reaches every receiver; over IPv6 alone, few. Private addresses without any
        // way out may be there for the management alone.
        let is_unused =
            || own(evidence, routing, true) != Own::Public && samples.iter().all(|asked| asked.finds_nothing());
        let is_spare = other && (!ipv4 || is_unused());
        if own(evidence, routing, ipv4) == Own::None && !samples.iter().any(|asked| asked.gets_away()) {
            continue;
        }
        let of_family = sender.answers.iter().copied().filter(|asked| asked.of_the_internet());
        for asked in of_family.filter(|asked| asked.is_ipv4() == ipv4 && is_ours(routing, *asked)) {
            let End::Refused(refused) = asked.end() else { continue };
            let length = network(refused).and_then(|network| network.split_once('/')?.1.parse::<u8>().ok());
            let large = if ipv4 { LARGE_BITS4 } else { LARGE_BITS6 };
            let is_large = length.is_none_or(|length| length <= large);
            let severity = if !is_spare && (whole || is_large) { Severity::Critical } else { Severity::Notice };
            let what = match network(refused).filter(|_| !whole) {
                Some(network) => network.to_owned(),
                None => format!("the Internet over {}", family(ipv4)),
            };
            add(groups, (sender, asked), severity, what);
        }
    }
}

fn network(refused: &RouteRefused) -> Option<&str> {
    refused.by.value()?.network.as_deref()
}

/// What a host sends to any of its own addresses goes over the loopback interface.
fn loopback(evidence: &Evidence, routing: &Routing, senders: &[Sender<'_>]) -> Finding {
    let (field, summary, seen, fix, undo) = if routing.loopback_down {
        (
            "loopback_down",
            "The loopback interface is down: nothing on this host reaches a service of this host, whether by 127.0.0.1, ::1 or its \
             own addresses.",
            "The kernel lists the loopback interface without the flag UP.",
            "ip link set lo up",
            "ip link set lo down",
        )
    } else {
        (
            "loopback_bare",
            "The loopback interface has no IPv4 address: nothing on this host reaches 127.0.0.1, where its own services are asked.",
            "The kernel lists no address of 127.0.0.0/8 on the loopback interface.",
            "ip address add 127.0.0.1/8 dev lo",
            "ip address del 127.0.0.1/8 dev lo",
        )
    };
    let text = "Set it right, and see what changed it: the network's configuration (`auto lo`, `iface lo inet loopback`), a script, \
                the namespace's maker.";
    let mut finding = RULE
        .finding(Subject::new(SubjectKind::Network, "127.0.0.0/8"), summary)
        .confidence(0.97)
        .because(seen, SOURCE, view::pointer(["routing", "value", field]))
        .data("what", vec!["this host itself"])
        .data("destination", "127.0.0.1")
        .fix(Fix::here(text).command(fix).undo(undo).verify("ip -br address show dev lo"))
        .reference("ip-link(8)");
    for address in evidence.resolver_checks.values().map(|check| check.server.ip()).filter(IpAddr::is_loopback) {
        finding = finding.touches(crate::resolvers::subject(address));
    }
    for server in senders {
        finding = finding.touches(Subject::service(server.name));
    }
    for wanted in evidence
        .servers
        .value()
        .into_iter()
        .flat_map(std::collections::BTreeMap::values)
        .flat_map(|server| server.wanted.values())
    {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}

/// What connect(2) gives, in a person's words.
fn meaning(refused: &RouteRefused) -> String {
    let words = match refused.refusal {
        Refusal::Blackhole => "invalid argument",
        Refusal::Prohibit => "permission denied",
        Refusal::Unreachable => "no route to host",
        Refusal::NoRoute => "network is unreachable",
        Refusal::Other => return refused.errno.clone(),
    };
    format!("{words} ({})", refused.errno)
}

fn refused(group: &Refused<'_>) -> Finding {
    let (first, refused) = (group.first, group.refused);
    let all = if first.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let subject = Subject::new(SubjectKind::Network, network(refused).unwrap_or(all));
    let what = group.what.join(", ");
    let who = match &refused.by {
        Seen::Value(refuser) if refuser.is_rule => format!("The routing rule \"{}\"", refuser.text),
        Seen::Value(refuser) => format!("The route \"{}\"", refuser.text),
        Seen::Absent => "No routing rule leads to a route".to_owned(),
        Seen::Unknown(_) => "The kernel".to_owned(),
    };
    let what = what.trim_end_matches(',');
    let summary = match &refused.by {
        Seen::Absent => format!("{who} for {what}, though there is a default route."),
        _ => format!("{who} refuses what is sent to {what}."),
    };
    let mut finding = RULE
        .finding_as(group.severity, subject, summary)
        .confidence(if refused.by.blind().is_some() { 0.9 } else { 0.97 })
        .because(
            format!("Asked about {}, the kernel says: {}.", asked_as(first), meaning(refused)),
            SOURCE,
            first.pointer(),
        )
        .data("destination", first.answer.destination.to_string())
        .data("errno", refused.errno.as_str())
        .data("what", group.what.clone())
        .reference("ip-route(8)")
        .reference("ip-rule(8)");
    if let Some(refuser) = refused.by.value() {
        finding = finding.data("by", refuser.text.as_str()).data("is_rule", refuser.is_rule);
    }
    for server in &group.servers {
        finding = finding.touches(Subject::service(*server));
    }
    finding.fix(fix(first, refused))
}

fn fix(first: Asked<'_>, refused: &RouteRefused) -> Fix {
    let verify = ask_again(first);
    match &refused.by {
        Seen::Value(refuser) => {
            Fix::here(origin(refuser)).command(refuser.delete.clone()).undo(refuser.add.clone()).verify(verify)
        }
        Seen::Absent => Fix::here(
            "See which table each rule leads to, which tables have a default route, and whether a throw route takes the \
             destination out of one; add the rule or the route, or take the throw route out, where the network is configured.",
        )
        .command("ip rule show; ip route show table all default; ip route show table all type throw")
        .verify(verify),
        Seen::Unknown(_) => Fix::here("See which route or rule refuses, and remove it where it is configured.")
            .command("ip rule show; ip route show table all type blackhole; ip route show table all type prohibit")
            .verify(verify),
    }
}

/// Where it comes from is where it has to be taken out.
fn origin(refuser: &Refuser) -> String {
    let thing = if refuser.is_rule { "rule" } else { "route" };
    let from = match refuser.protocol.as_str() {
        "zebra" | "bird" | "bgp" | "ospf" | "babel" => {
            return format!(
                "The routing daemon ({}) put the route there, and will again: change it in the daemon's configuration.",
                refuser.protocol
            );
        }
        "dhcp" => "the DHCP server's options",
        "ra" => "the router that announces it",
        _ => "whatever set it: the network's configuration, a firewall or ban script, a VPN",
    };
    format!("Remove the {thing}, and take it out of {from}, or it comes back.")
}

/// Networks that are refused without touching what mail is known to need: bans. One notice for all of them.
fn banned(groups: &[Refused<'_>]) -> Option<Finding> {
    let first = groups.first()?;
    let mut networks: Vec<String> = groups.iter().flat_map(|group| group.what.iter().cloned()).collect();
    networks.sort();
    networks.dedup();
    let some: Vec<&str> = networks.iter().take(5).map(String::as_str).collect();
    let more =
        if networks.len() > some.len() { format!(" and {} more", networks.len() - some.len()) } else { String::new() };
    Some(
        RULE.finding_as(
            Severity::Notice,
            Subject::host(),
            format!("Routing refuses {}{more}; mail to there is not sent.", some.join(", ")),
        )
        .because(
            format!("Asked about {}, the kernel says: {}.", asked_as(first.first), meaning(first.refused)),
            SOURCE,
            first.first.pointer(),
        )
        .data("what", networks)
        .data("destination", first.first.answer.destination.to_string())
        .data("errno", first.refused.errno.as_str())
        .fix(
            Fix::here("Nothing, if that is meant. Otherwise remove the route or rule where it is configured.")
                .command("mxray routes")
                .verify(ask_again(first.first)),
        ),
    )
}
