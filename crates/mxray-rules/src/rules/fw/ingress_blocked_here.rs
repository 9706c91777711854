//! FW102: this host's own packet filters keep strangers from a port that they have to reach.
//!
//! What is closed is no fault by itself. It is one for port 25 of a host that receives mail, and for the ports of users only
//! where something says that users come from outside.

use crate::filters::{self, Outcome};
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{
    Exposure, FilterAbout, FilterAnswer, FilterQuestion, Firewall, Purpose, Server, WantedListener,
};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "FW102",
    name: "ingress-blocked-here",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "this host's own packet filters keep strangers from a port of mail that they have to reach",
    page: include_str!("ingress_blocked_here.md"),
    check,
};

const CONFIDENCE: f32 = 0.95;

/// What strangers find at one port of one server, in one family: at all addresses together.
struct Door<'a> {
    port: u16,
    ipv4: bool,
    /// The first question that is stopped.
    key: &'a String,
    question: &'a FilterQuestion,
    state: State<'a>,
}

enum State<'a> {
    /// At one address at least.
    Open,
    Closed(&'a FilterAnswer),
    /// Some are let in on purpose.
    Chosen,
    Unknown(Blind),
}

fn check(evidence: &Evidence) -> Said {
    let firewall = filters::firewall(evidence, &RULE)?;
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        for (wanted, doors) in services(firewall, instance, server) {
            if wanted.purpose == Purpose::Relay {
                exchange(evidence, firewall, (instance, server, wanted), &doors, &mut judgement);
            }
        }
    }
    users(evidence, firewall, &mut judgement);
    Ok(judgement)
}

/// The listeners of a server with the doors to each, IPv4 first.
fn services<'a>(
    firewall: &'a Firewall,
    instance: &str,
    server: &'a Server,
) -> Vec<(&'a WantedListener, Vec<Door<'a>>)> {
    let of = |(key, wanted): (&'a String, &'a WantedListener)| {
        let doors: Vec<Door<'a>> =
            [true, false].into_iter().filter_map(|ipv4| door(firewall, instance, key, wanted.port, ipv4)).collect();
        (!doors.is_empty()).then_some((wanted, doors))
    };
    server.wanted.iter().filter_map(of).collect()
}

fn door<'a>(firewall: &'a Firewall, instance: &str, wanted: &str, port: u16, ipv4: bool) -> Option<Door<'a>> {
    let of = |question: &FilterQuestion| {
        matches!(question.about, FilterAbout::Enter { .. })
            && question.port == port
            && question.ipv4 == ipv4
            && question.protocol == "tcp"
            // Two services on one port and address are asked about once.
            && (question.server.as_deref() != Some(instance) || question.configured == wanted || question.port == port)
    };
    let asked: Vec<(&String, &FilterQuestion, Outcome<'a>)> = filters::questions(firewall)
        .filter(|(_, question)| of(question))
        .map(|(key, question)| (key, question, filters::outcome(firewall, &question.ends)))
        .collect();
    let (first_key, first, _) = asked.first()?;
    let open = asked.iter().any(|(.., outcome)| outcome.lets_some_through());
    let chosen = asked.iter().any(|(_, question, _)| !question.admitted.is_empty());
    let unknown = asked.iter().find_map(|(.., outcome)| match outcome {
        Outcome::Unknown(blind) => Some(blind.clone()),
        _ => None,
    });
    let closed = asked.iter().find_map(|(key, question, outcome)| match outcome {
        Outcome::Stopped(answer) => Some((*key, *question, *answer)),
        _ => None,
    });
    let (key, question, state) = match (open, chosen, unknown, closed) {
        (true, ..) => (*first_key, *first, State::Open),
        (_, true, ..) => (*first_key, *first, State::Chosen),
        (_, _, Some(blind), _) => (*first_key, *first, State::Unknown(blind)),
        (_, _, None, Some((key, question, answer))) => (key, question, State::Closed(answer)),
        (_, _, None, None) => return None,
    };
    Some(Door { port, ipv4, key, question, state })
}

/// The port by which other servers come.
fn exchange(
    evidence: &Evidence,
    firewall: &Firewall,
    (instance, server, wanted): (&String, &Server, &WantedListener),
    doors: &[Door<'_>],
    judgement: &mut Judgement,
) {
    let declared = declared(evidence, wanted.port);
    for one in doors {
        match &one.state {
            State::Open => judgement.well(format!(
                "{instance}: the packet filters let strangers in to port {} over {}",
                one.port,
                crate::reach::family(one.ipv4)
            )),
            State::Chosen => judgement.well(format!(
                "{instance}: port {} is open to chosen networks alone ({})",
                one.port,
                one.question.admitted.join(", ")
            )),
            State::Unknown(blind) => judgement.blind(&RULE, blind),
            State::Closed(answer) => {
                if matches!(declared, Some(Exposure::Loopback | Exposure::Private | Exposure::Prefixes(_))) {
                    judgement.well(format!("port {} is closed to strangers, as the assignments file has it", one.port));
                    continue;
                }
                let why = if declared == Some(&Exposure::Public) {
                    Some("the assignments file declares it public".to_owned())
                } else {
                    view::receives_mail(evidence, server)
                };
                let other_open = doors.iter().any(|other| other.ipv4 != one.ipv4 && matches!(other.state, State::Open));
                match (why, view::names_domain(server)) {
                    (Some(why), _) => {
                        judgement.find(closed(evidence, firewall, instance, one, answer, (&why, other_open)));
                    }
                    (None, Some(domain)) => judgement.blind(&RULE, &undecided(instance, one.port, &domain)),
                    (None, None) => judgement.well(format!(
                        "{instance}: port {} is closed to strangers, and nothing says that it should receive mail",
                        one.port
                    )),
                }
            }
        }
    }
}

fn undecided(instance: &str, port: u16, domain: &str) -> Blind {
    Blind::NotAttempted {
        why: format!(
            "the packet filters keep strangers from port {port} of {instance}, and {domain}: whether mail from outside should come here stands in the domain's MX records, which are not looked up"
        ),
    }
}

/// What the operator's assignments file says of a port.
fn declared(evidence: &Evidence, port: u16) -> Option<&Exposure> {
    let services = &evidence.assignments.value()?.services;
    let is_it = |one: &&mxray_model::evidence::Assignment| {
        one.protocol == "tcp" && (one.ports.0..=one.ports.1).contains(&port)
    };
    services.values().find(is_it).map(|one| &one.exposure)
}

fn closed(
    evidence: &Evidence,
    firewall: &Firewall,
    instance: &str,
    one: &Door<'_>,
    answer: &FilterAnswer,
    (why, other_open): (&str, bool),
) -> Finding {
    let family = crate::reach::family(one.ipv4);
    let (severity, effect) = match (one.ipv4, other_open) {
        (true, _) | (false, false) => (RULE.severity, "no mail from outside comes in".to_owned()),
        // Who comes over IPv6 at all comes because an AAAA record says so; others try IPv4 when it fails.
        (false, true) => (Severity::Notice, "who comes over IPv6 has to try again over IPv4".to_owned()),
    };
    finding(evidence, firewall, instance, one, answer, (severity, &format!("strangers cannot reach port {} over {family}", one.port), &effect))
        .because(
            format!("Mail is meant to come here: {why}."),
            "configuration",
            view::server_pointer(instance, &[]),
        )
}

fn finding(
    evidence: &Evidence,
    firewall: &Firewall,
    instance: &str,
    one: &Door<'_>,
    answer: &FilterAnswer,
    (severity, what, effect): (Severity, &str, &str),
) -> Finding {
    let how = filters::stopped_how(answer);
    let who = if answer.by.is_some() { "a rule" } else { "the policy" };
    let part = if answer.packet.state == "new" { "their connections are" } else { "its answers to them are" };
    let listens = evidence.sockets.value().is_some_and(|sockets| !view::listeners_on(sockets, one.port).is_empty());
    let also = if listens { "" } else { " Besides, nothing listens there." };
    let subject = if one.ipv4 {
        view::port_scope(one.port)
    } else {
        Subject::endpoint(format!("[::]:{}/tcp", one.port))
    };
    let summary = format!("{instance}: {what}: {part} {how} by {who} of this host's own packet filter; {effect}.{also}");
    let finding = RULE
        .finding_as(severity, subject, summary)
        .confidence(CONFIDENCE)
        .touches(view::port_scope(one.port))
        .touches(view::service_at(instance, one.port))
        .data("server", instance)
        .data("port", one.port)
        .data("ipv4", one.ipv4)
        .data("listening", listens)
        .reference("nft(8)")
        .reference("iptables(8)");
    let finding = filters::because(finding, firewall, one.key, answer);
    let verify = filters::explain_in(one.port, "tcp", one.ipv4);
    let finding = filters::fixes(firewall, answer, &verify).into_iter().fold(finding, Finding::fix);
    if severity == Severity::Notice {
        return finding;
    }
    finding.fix(
        Fix::here("Then try it from elsewhere: a filter before this host is not seen from here.")
            .verify(format!("from another network: mxray probe HOST:{}", one.port)),
    )
}

/// A port of users: what it serves, who serves it, and IPv4's door (IPv6's where there is no other).
struct UserPort<'a> {
    instance: &'a String,
    wanted: &'a WantedListener,
    door: Door<'a>,
}

/// The ports by which users come. Users of a webmail on this host never do, so closed is no fault without a sign.
fn users(evidence: &Evidence, firewall: &Firewall, judgement: &mut Judgement) {
    let Some(servers) = evidence.servers.value() else { return };
    let mut kinds: BTreeMap<&str, Vec<UserPort<'_>>> = BTreeMap::new();
    for (instance, server) in view::enabled(servers) {
        if place::elsewhere(evidence, instance, server).is_some() {
            continue;
        }
        for (wanted, doors) in services(firewall, instance, server) {
            let kind = match wanted.purpose {
                Purpose::Submission | Purpose::Submissions => "submission",
                Purpose::Mailbox => "mailboxes",
                Purpose::Relay | Purpose::Internal | Purpose::Other => continue,
            };
            if let Some(door) = doors.into_iter().next() {
                kinds.entry(kind).or_default().push(UserPort { instance, wanted, door });
            }
        }
    }
    let is_open = |kind: &str| {
        let mut ports = kinds.get(kind).into_iter().flatten();
        ports.any(|port| matches!(port.door.state, State::Open | State::Chosen))
    };
    for (kind, ports) in &kinds {
        for port in ports {
            match &port.door.state {
                State::Unknown(blind) if !is_open(kind) => judgement.blind(&RULE, blind),
                State::Closed(answer) => {
                    let sign = sign(evidence, port.wanted.port, (kind, is_open(kind)), is_open("mailboxes"));
                    judge_user_port(evidence, firewall, port, answer, sign, judgement);
                }
                State::Open | State::Chosen | State::Unknown(_) => {}
            }
        }
    }
}

fn judge_user_port(
    evidence: &Evidence,
    firewall: &Firewall,
    port: &UserPort<'_>,
    answer: &FilterAnswer,
    sign: Option<String>,
    judgement: &mut Judgement,
) {
    let number = port.wanted.port;
    let service = view::service_text(port.wanted);
    if matches!(declared(evidence, number), Some(Exposure::Loopback | Exposure::Private | Exposure::Prefixes(_))) {
        judgement.well(format!("{service} is closed to strangers, as the assignments file has it"));
        return;
    }
    let what = format!("{service} cannot be reached by strangers");
    let found = match sign {
        Some(sign) => finding(evidence, firewall, port.instance, &port.door, answer, (Severity::Error, &what, &sign)),
        None => {
            let effect = "that is right where nobody but this host and its own networks uses it";
            finding(evidence, firewall, port.instance, &port.door, answer, (Severity::Notice, &what, effect))
        }
    };
    judgement.find(found);
}

/// What says that users come to this port from outside.
fn sign(evidence: &Evidence, port: u16, (kind, other_open): (&str, bool), mailboxes_open: bool) -> Option<String> {
    if declared(evidence, port) == Some(&Exposure::Public) {
        return Some("the assignments file declares it public".to_owned());
    }
    if let Some(peer) = stranger_connected(evidence, port) {
        return Some(format!("yet {peer} is connected there: who comes from now on is not let in"));
    }
    if kind != "submission" || other_open {
        return None;
    }
    if mailboxes_open {
        return Some("users can fetch their mail from outside, and not send any".to_owned());
    }
    evidence
        .declared
        .submission_user
        .then(|| "users log in here to send, as mxray's own configuration says".to_owned())
}

/// Somebody who is not this host and not of a private network has a connection to this port.
fn stranger_connected(evidence: &Evidence, port: u16) -> Option<IpAddr> {
    let load = evidence.sockets.value()?.services.get(&port)?;
    let own = match &evidence.addresses {
        Seen::Value(own) => own,
        Seen::Absent | Seen::Unknown(_) => return None,
    };
    let peers = load.peers.iter().filter_map(|count| view::address_of(&count.who));
    peers.map(|peer| peer.to_canonical()).find(|peer| {
        !own.contains(peer) && !peer.is_loopback() && !mxray_model::special::is_special(*peer)
    })
}
