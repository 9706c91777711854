//! SOCK115: connections that their peers have ended stay open, or nothing that a service sends is acknowledged.

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Load, Owner, Stale};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "SOCK115",
    name: "sockets-leaking",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "CLOSE-WAIT piles up, or send queues stay full",
    page: include_str!("sockets_leaking.md"),
    check,
};

/// Fewer than this are single programs in trouble, not a leak: each costs one descriptor and a few kilobytes.
const PILE_MIN: u32 = 20;
/// Readers on the road vanish without a word all day long; only where a quarter of all is stuck is something wrong.
const STUCK_PERCENT_MIN: u32 = 25;

fn check(evidence: &Evidence) -> Said {
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut most = 0;
    let mut looked = false;
    for (port, load) in sockets.services.iter().filter(|(port, _)| view::is_mail_port(evidence, **port)) {
        let stale = match &load.stale {
            Seen::Value(stale) => stale,
            Seen::Absent => continue,
            // Nothing piles up: how old it is does not matter.
            Seen::Unknown(_) if load.close_wait < PILE_MIN => {
                looked = true;
                continue;
            }
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        looked = true;
        most = most.max(stale.close_wait).max(stale.send_stuck);
        if stale.close_wait >= PILE_MIN {
            judgement.find(leak(evidence, *port, load, stale));
        }
        if is_stuck(load, stale) {
            judgement.find(stuck(evidence, *port, load, stale));
        }
    }
    if looked && judgement.findings.is_empty() && judgement.unseen.is_empty() {
        judgement.well(format!("no service keeps connections that have ended (most: {most})"));
    }
    Ok(judgement)
}

fn is_stuck(load: &Load, stale: &Stale) -> bool {
    let all = load.established.saturating_add(load.close_wait);
    stale.send_stuck >= PILE_MIN && stale.send_stuck.saturating_mul(100) >= all.saturating_mul(STUCK_PERCENT_MIN)
}

fn leak(evidence: &Evidence, port: u16, load: &Load, stale: &Stale) -> Finding {
    let owners: &[Owner] = stale.owners.value().map_or(&[], Vec::as_slice);
    let names: Vec<String> = owners.iter().map(|owner| format!("{} ({})", owner.name, owner.pid)).collect();
    let held = match names.is_empty() {
        true => String::new(),
        false => format!(", held by {}", names.join(", ")),
    };
    let mut finding = RULE
        .finding(
            view::port_scope(port),
            format!(
                "{} connections to port {port} were ended by their peers at least {} s ago and are still open{held}.",
                stale.close_wait,
                Stale::CLOSE_WAIT_AGED_MS / 1000
            ),
        )
        .confidence(0.85)
        .because(
            format!(
                "{} of {} connections in CLOSE-WAIT are older than a minute, the oldest by {} s",
                stale.close_wait,
                load.close_wait.max(stale.close_wait),
                stale.close_wait_oldest_ms / 1000
            ),
            "sock_diag, tcp_info",
            view::pointer(["sockets", "value", "services", &port.to_string(), "stale"]),
        )
        .data("port", port)
        .data("close_wait", stale.close_wait)
        .data("oldest_ms", stale.close_wait_oldest_ms)
        .data("send_stuck", stale.send_stuck)
        .data("processes", owners.iter().map(|owner| owner.pid).collect::<Vec<_>>())
        .reference("RFC 9293 section 3.3.2, CLOSE-WAIT");
    if let Some((name, _, _)) = view::service_on(evidence, port) {
        finding = finding.touches(mxray_model::Subject::service(name));
    }
    finding.fix(end_them(evidence, port, owners)).fix(Fix::here(
        "If it comes back, the program is at fault: report it to its makers with what it was doing, and the time.",
    ))
}

/// Only the end of the holder frees them: the kernel waits for it without limit.
fn end_them(evidence: &Evidence, port: u16, owners: &[Owner]) -> Fix {
    let mut fix =
        Fix::here("See what the holder is doing, then restart its service: nothing else frees the connections.")
            .command(format!("mxray sockets --port {port} --state close-wait --pids"));
    if let Some(owner) = owners.first() {
        fix = fix.command(format!("cat /proc/{}/stack /proc/{}/wchan", owner.pid, owner.pid));
    }
    if let Some((_, server, _)) = view::service_on(evidence, port) {
        fix = fix.command(Words::new(evidence, server).restart());
    }
    fix.verify(format!("mxray sockets --port {port} --by state"))
}

fn stuck(evidence: &Evidence, port: u16, load: &Load, stale: &Stale) -> Finding {
    let finding = RULE
        .finding(
            view::port_scope(port),
            format!(
                "{} of {} connections to port {port} have sent data that nobody acknowledges.",
                stale.send_stuck,
                load.established.saturating_add(load.close_wait)
            ),
        )
        .confidence(0.7)
        .because(
            format!(
                "Their send queues did not move between two looks, and the kernel had asked again {} times or more",
                Stale::UNANSWERED_MIN
            ),
            "sock_diag, tcp_info",
            view::pointer(["sockets", "value", "services", &port.to_string(), "stale"]),
        )
        .data("port", port)
        .data("close_wait", stale.close_wait)
        .data("oldest_ms", stale.close_wait_oldest_ms)
        .data("send_stuck", stale.send_stuck)
        .data("processes", Vec::<u32>::new())
        .reference("RFC 6298");
    let finding = match view::service_on(evidence, port) {
        Some((name, _, _)) => finding.touches(mxray_model::Subject::service(name)),
        None => finding,
    };
    finding.fix(
        Fix::here(
            "Look where these peers are: one network means its path, many mean this host's own line or firewall.",
        )
        .command(format!("mxray sockets --port {port} --by network"))
        .command(format!("mxray sockets --port {port} --info --sort send-q --limit 20"))
        .verify(format!("mxray sockets --port {port} --info --sort send-q --limit 20")),
    )
}
