//! SOCK110: a service has as many processes as it may have, and all are busy.

mod exim;

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Purpose, Server, Sockets, WantedListener};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

mod dovecot;

pub const RULE: Rule = Rule {
    code: "SOCK110",
    name: "service-process-limit",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the service's process limit is reached",
    page: include_str!("service_process_limit.md"),
    check,
};

/// With fewer processes than this, "all busy" is everyday life of a service that is meant to be small; only a client
/// that waits shows that the limit hurts.
const BUSY_LIMIT_MIN: u32 = 10;
/// In a small service somebody waits for a moment all the time; this long is more than a hand-over.
const SLOW_MS: u64 = 1000;
/// Programs of this host that hand mail over wait their turn: a filter with one process works through one message after
/// the other, and takes its time for each.
const SLOW_INTERNAL_MS: u64 = 60_000;

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers) {
        if server.software == "exim" {
            exim::saturated(evidence, instance, server, sockets, &mut judgement);
            continue;
        }
        if let Seen::Unknown(reason) = &server.children {
            judgement.blind(&RULE, reason);
            continue;
        }
        let found: Vec<Finding> = if view::is_dovecot(server) {
            dovecot::saturated(evidence, instance, server, sockets)
        } else {
            let services = server.wanted.values();
            services.filter_map(|wanted| saturated(evidence, instance, server, wanted, sockets)).collect()
        };
        if found.is_empty() && server.master.value().is_some() {
            judgement.well(format!("{instance}: no listening service is at its process limit"));
        }
        found.into_iter().for_each(|finding| judgement.find(finding));
    }
    Ok(judgement)
}

fn saturated(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    wanted: &WantedListener,
    sockets: &Sockets,
) -> Option<Finding> {
    let children = view::children_of(server, wanted)?;
    let limit = children.limit.filter(|limit| children.count >= *limit)?;
    let load = sockets.services.get(&wanted.port)?;
    // Idle workers stay for a while: as many processes as allowed is no fault before all of them are taken.
    let waiting = if wanted.multiplexed { 0 } else { load.waiting };
    let all_busy = load.established >= limit;
    let severity = match (all_busy, waiting) {
        (true, 1..) if limit >= BUSY_LIMIT_MIN || waits_long(sockets, wanted) => Severity::Critical,
        (true, 0) if limit >= BUSY_LIMIT_MIN => Severity::Warning,
        _ => return None,
    };
    let name = view::workers_of(server, wanted);
    let then = if waiting > 0 { format!("{waiting} clients wait") } else { "the next client will wait".to_owned() };
    let finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {name}")),
            format!("All {limit} processes of {} are busy: {then}.", view::service_text(wanted)),
        )
        .confidence(0.95)
        .touches(Subject::service(instance))
        .touches(view::port_scope(wanted.port))
        .because(
            format!("{} processes of {name} run, the limit is {limit}.", children.count),
            wanted.at.to_string(),
            view::server_pointer(instance, &["children", "value", &name]),
        )
        .because(
            format!("Port {}: {} connections accepted, {} waiting.", wanted.port, load.established, load.waiting),
            "sock_diag",
            view::pointer(["sockets", "value", "services", &wanted.port.to_string()]),
        )
        .data("service", name.clone())
        .data("processes", children.count)
        .data("limit", limit)
        .data("waiting", waiting)
        .reference("master(5), maxproc")
        .reference("postconf(5), default_process_limit");
    Some(fixes(&Words::new(evidence, server), finding, wanted, &name, limit))
}

/// Does the first in the queue wait for longer than a hand-over takes? Where its time is not known: whoever is seen
/// waiting at a public port is taken to wait.
fn waits_long(sockets: &Sockets, wanted: &WantedListener) -> bool {
    let internal = wanted.purpose == Purpose::Internal;
    let slow = if internal { SLOW_INTERNAL_MS } else { SLOW_MS };
    let listeners = view::listeners_on(sockets, wanted.port);
    listeners
        .iter()
        .filter_map(|(_, listener)| listener.queue.value())
        .any(|queue| queue.waiting > 0 && queue.oldest_ms.value().map_or(!internal, |oldest| *oldest >= slow))
}

fn fixes(words: &Words<'_>, finding: Finding, wanted: &WantedListener, name: &str, limit: u32) -> Finding {
    let more = limit.saturating_mul(2).max(20);
    // Behind postscreen the processes are those of another line than the listener's, whose maxproc must stay 1.
    let (text, line) = if wanted.multiplexed {
        (format!("smtpd pass …: the maxproc column: {more}"), None)
    } else {
        (format!("the maxproc column: {more}"), Some(wanted.at.line))
    };
    finding
        .fix(
            Fix::here(
                "See who holds the connections; a few addresses that hold most are a flood, not a limit too low.",
            )
            .command(format!("mxray sockets --port {} --by remote", wanted.port)),
        )
        .fix(
            Fix::here("Allow more processes; RECV-Q of the listener, the number of those who wait, then falls to 0.")
                .command(words.set_service(name, "process_limit", &more.to_string()))
                .command(words.reload())
                .config(wanted.at.file.clone(), line, text)
                .undo(words.set_service(name, "process_limit", &limit.to_string()))
                .verify(view::look_again(wanted.port)),
        )
}
