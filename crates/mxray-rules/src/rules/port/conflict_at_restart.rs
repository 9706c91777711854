//! PORT102: two services that will be started ask for one port.

use crate::claims::{self, Claim, Claimant, Start, place_text};
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::binding::{Together, together};
use mxray_model::evidence::{Listener, Server};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, Unseen};
use std::collections::BTreeMap;

pub const RULE: Rule = Rule {
    code: "PORT102",
    name: "port-conflict-at-restart",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "two configured services ask for one port, and one of them will not get it",
    page: include_str!("conflict_at_restart.md"),
    check,
};

/// Most claimants of one port that are told.
const CLAIMANTS_MAX: usize = 6;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    let none = BTreeMap::new();
    let servers = match &evidence.servers {
        Seen::Value(servers) => servers,
        Seen::Absent => &none,
        Seen::Unknown(blind) => return Err(Judgement::cannot_tell(&RULE, blind)),
    };
    let here: Vec<(&String, &Server)> = place::here(evidence, servers, &RULE, &mut judgement);
    for blind in [evidence.bystanders.blind(), evidence.units.blind()].into_iter().flatten() {
        judgement.blind(&RULE, blind);
    }
    judgement.unseen.extend(unread(evidence));
    let claims = claims::all(evidence, &here);
    let mut by_port: BTreeMap<u16, Vec<&Claim<'_>>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.binding.protocol == "tcp") {
        by_port.entry(claim.binding.port).or_default().push(claim);
    }
    for (port, claims) in by_port {
        let (sure, open) = conflicts(&claims);
        if let Some(first) = sure.first() {
            judgement.find(conflict(evidence, port, *first, &sure));
        } else if let Some(blind) = open {
            judgement.blind(&RULE, blind);
        } else if claims.iter().any(|claim| claim.bears_on_mail() && matches!(claim.start, Start::Yes(_))) {
            judgement.well(format!("nobody else asks for port {port} at the next start"));
        }
    }
    Ok(judgement)
}

/// Pairs that the kernel does not let stand side by side, both of which will be started; else why one cannot tell.
fn conflicts<'a, 'b>(claims: &[&'b Claim<'a>]) -> (Vec<(&'b Claim<'a>, &'b Claim<'a>)>, Option<&'b Blind>) {
    let (mut sure, mut open) = (Vec::new(), None);
    for (index, one) in claims.iter().enumerate() {
        for other in claims.iter().skip(index + 1) {
            // Divided sockets each have addresses of their own: a front end on the public one is meant so.
            let meet = matches!(together(&one.binding, &other.binding), Together::Refused | Together::Shared);
            if !meet || one.is_one_with(other) || !(one.bears_on_mail() || other.bears_on_mail()) {
                continue;
            }
            match (&one.start, &other.start) {
                (Start::No, _) | (_, Start::No) => {}
                (Start::Yes(_), Start::Yes(_)) => sure.push((*one, *other)),
                (Start::Unknown(blind), _) | (_, Start::Unknown(blind)) => open = open.or(Some(blind)),
            }
        }
    }
    (sure, open)
}

/// Lines that were not understood may ask for anything.
fn unread(evidence: &Evidence) -> Vec<Unseen> {
    let problems = evidence.bystanders.value().into_iter().flat_map(|bystanders| &bystanders.unread);
    let note = |(software, problem): (&String, &mxray_model::evidence::Problem)| Unseen {
        what: RULE.code.to_owned(),
        why: format!("{software}: {}: {}", place_text(&problem.at), problem.text),
        needs: "the value written in a form that can be read, or access to it".to_owned(),
    };
    problems.map(note).collect()
}

/// The listener that one of them has now.
fn held_by<'a>(evidence: &'a Evidence, claim: &Claim<'_>) -> Option<(&'a String, &'a Listener)> {
    let listeners = &evidence.sockets.value()?.listeners;
    listeners.iter().find(|(_, listener)| listener.protocol == "tcp" && claim.holds(evidence, listener))
}

fn conflict<'a, 'b>(
    evidence: &'a Evidence,
    port: u16,
    (one, other): (&'b Claim<'a>, &'b Claim<'a>),
    pairs: &[(&'b Claim<'a>, &'b Claim<'a>)],
) -> Finding {
    let (held_one, held_other) = (held_by(evidence, one), held_by(evidence, other));
    // Where both have a socket, the one that runs on another address than it asks for is as good as any to come first.
    let (holder, loser, held) = match (held_one, held_other) {
        (Some(held), None) => (one, other, Some(held)),
        (None, Some(held)) => (other, one, Some(held)),
        _ if one.runs == Seen::Value(false) && other.runs == Seen::Value(true) => (other, one, None),
        _ => (one, other, None),
    };
    let known = held.is_some() || (holder.runs == Seen::Value(true) && loser.runs == Seen::Value(false));
    let (first, second) = (holder.who(), loser.who());
    let since = held.and_then(|(_, listener)| claims::since(evidence, listener));
    let shared = pairs.iter().all(|(one, other)| together(&one.binding, &other.binding) == Together::Shared);
    let since_text = since.as_ref().map(|(_, text)| text.as_str());
    let summary = summary(port, (holder, loser), (known, shared), since_text);
    let unsure = holder.is_unsure() || loser.is_unsure();
    let mut finding = RULE
        .finding(view::port_scope(port), summary)
        .confidence(if unsure { 0.7 } else { 0.95 })
        .data("port", port)
        .data("holder", if known { first.clone() } else { String::new() })
        .data("holder_at", place_text(holder.at))
        .data("loser", if known { second.clone() } else { String::new() })
        .data("loser_at", place_text(loser.at))
        .data("shared", shared)
        .data("log", if shared { String::new() } else { loser.complaint() })
        .reference("bind(2), EADDRINUSE");
    // It cannot be started while the other one has the port.
    if let (Claimant::Server { instance, .. }, true, Seen::Value(false)) = (loser.by, held.is_some(), &loser.runs) {
        finding = finding.touches(Subject::service(instance));
    }
    if let Some((started, _)) = since {
        finding = finding.data("holder_since_s", started);
    }
    finding = told(finding, pairs);
    if let Some((key, listener)) = held {
        let socket = std::net::SocketAddr::new(listener.address, listener.port);
        finding = finding.because(format!("{first} listens on {socket}."), "sock_diag", view::listener_pointer(key));
    }
    let verify = if shared {
        view::look_again(port)
    } else {
        format!("{}; the log of {second} no longer says: {}", view::look_again(port), loser.complaint())
    };
    finding.fix(loser.withdraw().verify(verify)).fix(holder.withdraw()).fix(
        Fix::here("Only one of the two is to be done: the other service keeps the port.")
            .verify(view::look_again(port)),
    )
}

/// Who asks, who has it where that is known, and what comes of it.
fn summary(
    port: u16,
    (holder, loser): (&Claim<'_>, &Claim<'_>),
    (known, shared): (bool, bool),
    since: Option<&str>,
) -> String {
    let (first, second) = (holder.who(), loser.who());
    let (at, loser_at) = (place_text(holder.at), place_text(loser.at));
    if shared {
        return format!(
            "{first} ({at}) and {second} ({loser_at}) both ask for port {port} with SO_REUSEPORT: neither fails, and once both run \
             each gets a part of the connections."
        );
    }
    if !known {
        return format!(
            "{first} ({at}) and {second} ({loser_at}) both ask for port {port}: the one that is started second fails."
        );
    }
    let since = since.map_or_else(String::new, |text| format!(" since {text}"));
    format!(
        "{second} ({loser_at}) and {first} ({at}) both ask for port {port}. {first} has it{since}: {second} fails when it is started, \
         and at the next start of the machine the one that is started second does."
    )
}

/// Everybody who asks, each once.
fn told(finding: Finding, pairs: &[(&Claim<'_>, &Claim<'_>)]) -> Finding {
    let mut finding = finding;
    let mut known: Vec<&Claim<'_>> = Vec::new();
    for claim in pairs.iter().flat_map(|(one, other)| [*one, *other]) {
        let is_new = !known.iter().any(|other| other.pointer == claim.pointer);
        if is_new && known.len() < CLAIMANTS_MAX {
            known.push(claim);
            finding = finding.because(asks(claim), place_text(claim.at), claim.pointer.clone());
        }
    }
    finding
}

/// `haproxy asks for 0.0.0.0:25 (frontend smtp); it runs.`
fn asks(claim: &Claim<'_>) -> String {
    let start = match &claim.start {
        Start::Yes(why) => format!("; {why}"),
        Start::No | Start::Unknown(_) => String::new(),
    };
    let unsure = if claim.is_unsure() { " Its files were read by its documentation alone." } else { "" };
    format!("{} asks for {} ({}){start}.{unsure}", claim.who(), claim.socket(), claim.service())
}
