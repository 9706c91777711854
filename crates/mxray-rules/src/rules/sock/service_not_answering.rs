//! SOCK111: the port accepts, nobody greets: the process is stopped or stuck.

use crate::rule::{Judgement, Rule, Said};
use crate::rules::conf::relay_open_by_config;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Children, Listener, Master, Process, Processes, Server, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};
use std::collections::BTreeSet;

mod dovecot;
mod from_outside;
mod frozen;

pub const RULE: Rule = Rule {
    code: "SOCK111",
    name: "service-not-answering",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the port accepts, nobody greets: the process is stopped or stuck",
    page: include_str!("service_not_answering.md"),
    check,
};

/// A mail server accepts within milliseconds, and starts a process for it within a second. Who waits this long, with
/// nobody of the queue served meanwhile, waits for a program that does nothing.
const STUCK_MS: u64 = 10_000;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    let mut stopped_ports = Vec::new();
    match &evidence.servers {
        Seen::Unknown(reason) => judgement.blind(&RULE, reason),
        Seen::Absent => {}
        Seen::Value(servers) => {
            for (instance, server) in view::enabled(servers) {
                match &server.master {
                    Seen::Unknown(reason) => judgement.blind(&RULE, reason),
                    Seen::Value(master) if server.frozen.value().is_some() => {
                        stopped_ports.extend(server.wanted.values().map(|wanted| wanted.port));
                        judgement.find(frozen::finding(evidence, instance, server, master));
                    }
                    Seen::Value(master) if master.is_stopped() => {
                        stopped_ports.extend(server.wanted.values().map(|wanted| wanted.port));
                        judgement.find(master_stopped(evidence, instance, server, master));
                    }
                    Seen::Value(_) | Seen::Absent => {
                        if let Seen::Unknown(reason) = &server.children {
                            judgement.blind(&RULE, reason);
                        }
                        workers_stopped(evidence, instance, server, &mut judgement, &mut stopped_ports);
                        for finding in dovecot::helpers_stopped(instance, server) {
                            // Nobody greets before the helper goes on: the same trouble.
                            if finding.severity == Severity::Critical {
                                stopped_ports.extend(server.wanted.values().map(|wanted| wanted.port));
                            }
                            judgement.find(finding);
                        }
                        if !view::is_dovecot(server) {
                            parts_stopped(evidence, instance, server, &mut judgement, &mut stopped_ports);
                        }
                        for finding in ends_at_once(evidence, instance, server) {
                            stopped_ports.extend(
                                server
                                    .wanted
                                    .values()
                                    .map(|w| w.port)
                                    .filter(|port| finding.scope.contains(&view::port_scope(*port))),
                            );
                            judgement.find(finding);
                        }
                    }
                }
            }
        }
    }
    listeners(evidence, &mut judgement, &mut stopped_ports);
    from_outside::silent(evidence, &stopped_ports, &mut judgement);
    Ok(judgement)
}

fn master_stopped(evidence: &Evidence, instance: &str, server: &Server, master: &Master) -> Finding {
    let words = Words::new(evidence, server);
    let mut finding = RULE
        .finding(
            Subject::service(instance),
            format!(
                "{instance} is stopped (process {}, state {}): it holds its ports and does nothing.",
                master.pid, master.state
            ),
        )
        .confidence(0.98)
        .because(
            format!("Process {} is in state {}: stopped by a signal or a debugger.", master.pid, master.state),
            format!("/proc/{}/stat", master.pid),
            view::server_pointer(instance, &["master"]),
        )
        .data("pid", master.pid)
        .data("state", master.state.to_string())
        .fix(
            Fix::here("Let it go on; then find out who stopped it.")
                .command(format!("kill -CONT {}", master.pid))
                .verify(format!("ps -o stat= -p {}", master.pid)),
        )
        .fix(Fix::here("If it stops again, or a debugger holds it, restart it.").command(words.restart()))
        .reference("signal(7), SIGSTOP");
    for wanted in server.wanted.values() {
        finding = finding.touches(view::port_scope(wanted.port));
    }
    finding
}

/// Services whose smtpd ends before it greets, because nothing in its two lists would stop a stranger. The master starts
/// it again and again, later each time; the log says "bad command startup -- throttling".
fn ends_at_once(evidence: &Evidence, instance: &str, server: &Server) -> Vec<Finding> {
    let classes = view::list(server.setting("smtpd_restriction_classes"));
    // What a class of the admin's own does is not known.
    let told = |list: &str| !view::list(list).iter().any(|word| classes.contains(word));
    let words = Words::new(evidence, server);
    let mut found = Vec::new();
    for (key, wanted) in &server.wanted {
        let values = relay_open_by_config::LISTS.map(|name| server.setting_of(wanted, name));
        let is_set = relay_open_by_config::LISTS
            .iter()
            .any(|name| wanted.overrides.contains_key(*name) || server.set_at(name).is_some());
        let starts = values.iter().any(|value| !told(value) || relay_open_by_config::works(value));
        if wanted.command == "smtpd" && server.software == "postfix" && is_set && !starts {
            found.push(without_stop(instance, server, key, wanted, &words));
        }
    }
    found
}

fn without_stop(instance: &str, server: &Server, key: &str, wanted: &WantedListener, words: &Words<'_>) -> Finding {
    // The list that was set for this service alone, else the one for relaying.
    let [relay, recipient] = relay_open_by_config::LISTS;
    let list = if wanted.overrides.contains_key(recipient) && !wanted.overrides.contains_key(relay) {
        recipient
    } else {
        relay
    };
    let value = server.setting_of(wanted, list);
    let (source, overridden) = relay_open_by_config::place(server, wanted, list, words);
    let closed = relay_open_by_config::without(value);
    let text = "Let one of the lists stop strangers.";
    let step = if overridden {
        words.override_fix(text, wanted, list, &closed)
    } else {
        words.setting_fix(text, list, &closed)
    };
    RULE.finding(
        Subject::service(format!("{instance} {key}")),
        format!(
            "smtpd ends as soon as a client of {} connects: neither {relay} nor {recipient} stops strangers.",
            view::service_text(wanted)
        ),
    )
    .confidence(0.9)
    .touches(view::port_scope(wanted.port))
    .because(format!("{list} = {value}"), source, relay_open_by_config::pointer_of(instance, key, wanted, list))
    .data("service", wanted.service.clone())
    .data("list", list)
    .fix(step)
    .fix(
        Fix::here(
            "Let the running server read it; its smtpd then starts with the next client, at the latest a minute later.",
        )
        .command(words.reload())
        .verify(view::look_again(wanted.port)),
    )
    .reference("postconf(5), smtpd_relay_restrictions")
}

/// Workers that are stopped still count as workers: the master starts no others for them. Behind postscreen both it and
/// the processes that it hands clients to can be stopped.
fn workers_stopped(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    judgement: &mut Judgement,
    stopped_ports: &mut Vec<u16>,
) {
    let mut said: BTreeSet<String> = BTreeSet::new();
    for (key, wanted) in &server.wanted {
        for name in BTreeSet::from([key.clone(), view::workers_of(server, wanted)]) {
            // Two listeners of one service have the same processes.
            if !said.insert(name.clone()) {
                continue;
            }
            let children = server.children.value().and_then(|children| children.get(&name));
            if let Some(children) = children.filter(|children| children.stopped > 0) {
                let of_service = server.wanted.values().filter(|other| view::workers_of(server, other) == name);
                stopped_ports.extend(of_service.map(|other| other.port).chain([wanted.port]));
                judgement.find(stopped_workers(evidence, instance, server, wanted, &name, children));
            }
        }
    }
}

/// A server that is made of processes with one job each (queue, lookup, sessions) stands still when all of one kind do.
fn parts_stopped(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    judgement: &mut Judgement,
    stopped_ports: &mut Vec<u16>,
) {
    let told: BTreeSet<String> =
        server.wanted.iter().flat_map(|(key, wanted)| [key.clone(), view::workers_of(server, wanted)]).collect();
    for (name, children) in server.children.value().into_iter().flatten() {
        if children.stopped == 0 || children.stopped < children.count || told.contains(name) {
            continue;
        }
        stopped_ports.extend(server.wanted.values().map(|wanted| wanted.port));
        judgement.find(stopped_part(evidence, instance, server, name, *children));
    }
}

fn stopped_part(evidence: &Evidence, instance: &str, server: &Server, name: &str, children: Children) -> Finding {
    let words = Words::new(evidence, server);
    let pids: Vec<String> = match (evidence.processes.value(), server.master.value()) {
        (Some(processes), Some(master)) => processes
            .mail
            .iter()
            .filter(|(_, process)| process.parent == master.pid && process.is_stopped())
            .filter(|(_, process)| is_part(server, &process.command, name))
            .map(|(pid, _)| pid.to_string())
            .collect(),
        _ => Vec::new(),
    };
    let resume = if pids.is_empty() {
        "ps -eo pid=,ppid=,stat=,args= | awk '$3 ~ /^[Tt]/'".to_owned()
    } else {
        format!("kill -CONT {}", pids.join(" "))
    };
    let finding = RULE
        .finding(
            Subject::service(format!("{instance} {name}")),
            format!("{instance}: all processes of the kind \"{name}\" are stopped, so the rest waits for them."),
        )
        .confidence(0.95)
        .because(
            format!("{} of {} processes of {name} are in state T.", children.stopped, children.count),
            "/proc",
            view::server_pointer(instance, &["children", "value", name]),
        )
        .data("service", name)
        .data("stopped", children.stopped)
        .data("processes", children.count)
        .fix(
            Fix::here("Let each stopped process go on (kill -CONT); then find out who stopped it.")
                .command(resume)
                .verify(words.check()),
        )
        .fix(
            Fix::here("If they stop again, restart the server, once none of them is stopped.").command(words.restart()),
        )
        .reference("signal(7), SIGSTOP");
    let finding = finding.touches(Subject::service(format!("{instance} delivery")));
    server.wanted.values().fold(finding, |finding, wanted| finding.touches(view::port_scope(wanted.port)))
}

/// Postfix's `rewrite/unix` runs as `trivial-rewrite -n rewrite -t unix …`; one whose program has the same name has no `-n`.
fn is_part(server: &Server, command: &str, name: &str) -> bool {
    if server.software != "postfix" {
        return command.contains(name);
    }
    let service = name.split('/').next().unwrap_or(name);
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let named = words.skip_while(|word| *word != "-n").nth(1);
    named.unwrap_or(program.rsplit('/').next().unwrap_or(program)) == service
}

/// The stopped children of the master that serve this service: Postfix tells each its service by `-n`.
fn stopped_pids(evidence: &Evidence, server: &Server, wanted: &WantedListener, name: &str) -> Vec<String> {
    let (Some(processes), Some(master)) = (evidence.processes.value(), server.master.value()) else {
        return Vec::new();
    };
    // Exim's children keep the daemon's command line and serve any port.
    if server.software == "exim" {
        let stopped = processes.mail.iter().filter(|(_, process)| process.parent == master.pid && process.is_stopped());
        return stopped.map(|(pid, _)| pid.to_string()).collect();
    }
    let service = format!(" -n {} ", name.split('/').next().unwrap_or(&wanted.service));
    let is_it = |process: &Process| {
        let serves = if view::is_dovecot(server) {
            process.name == name
        } else {
            format!("{} ", process.command).contains(&service)
        };
        process.parent == master.pid && process.is_stopped() && serves
    };
    processes.mail.iter().filter(|(_, process)| is_it(process)).map(|(pid, _)| pid.to_string()).collect()
}

fn stopped_workers(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    wanted: &WantedListener,
    name: &str,
    children: &Children,
) -> Finding {
    let words = Words::new(evidence, server);
    let severity = if children.stopped == children.count { Severity::Critical } else { Severity::Error };
    let pids = stopped_pids(evidence, server, wanted, name);
    let resume = if pids.is_empty() && view::is_dovecot(server) {
        format!("pkill -CONT -x {name}")
    } else if pids.is_empty() {
        // Whoever ends at SIGTERM must run to do so: a restart alone would leave them holding the port.
        let service = name.split('/').next().unwrap_or(name);
        format!("ps -o pid=,stat=,args= -C smtpd,postscreen | awk '$2 ~ /^[Tt]/ && / -n {service} /'")
    } else {
        format!("kill -CONT {}", pids.join(" "))
    };
    RULE.finding_as(
        severity,
        Subject::service(format!("{instance} {name}")),
        format!(
            "{} of {} processes of {} are stopped: their clients get no answer.",
            children.stopped,
            children.count,
            view::service_text(wanted)
        ),
    )
    .confidence(0.95)
    .touches(view::port_scope(wanted.port))
    .because(
        format!("{} processes of {name} are in state T.", children.stopped),
        "/proc",
        view::server_pointer(instance, &["children", "value"]),
    )
    .data("service", name)
    .data("stopped", children.stopped)
    .data("processes", children.count)
    .fix(
        Fix::here("Let each stopped process go on (kill -CONT); then find out who stopped it.")
            .command(resume)
            .verify(view::look_again(wanted.port)),
    )
    .fix(Fix::here("If they stop again, restart the server, once none of them is stopped.").command(words.restart()))
    .reference("signal(7), SIGSTOP")
}

/// Listeners of any mail software: all owners stopped, or a queue that nobody drains.
fn listeners(evidence: &Evidence, judgement: &mut Judgement, stopped_ports: &mut Vec<u16>) {
    let Some(sockets) = evidence.sockets.value() else {
        if let Some(blind) = evidence.sockets.blind() {
            judgement.blind(&RULE, blind);
        }
        return;
    };
    let (mut answering, mut blind) = (0, None);
    for (key, listener) in &sockets.listeners {
        let port = listener.port;
        if listener.protocol != "tcp" || !view::is_mail_port(evidence, port) || stopped_ports.contains(&port) {
            continue;
        }
        let finding =
            owners_stopped(evidence.processes.value(), key, listener).or_else(|| stuck(evidence, key, listener));
        match (finding, unseen(evidence, listener)) {
            (Some(finding), _) => {
                stopped_ports.push(port);
                judgement.find(finding);
            }
            (None, Some(reason)) => blind = Some(reason),
            (None, None) => answering += 1,
        }
    }
    match blind {
        Some(reason) => judgement.blind(&RULE, reason),
        None if answering > 0 => {
            judgement.well(format!("{answering} mail listeners: no owner is stopped, nobody waits for long"));
        }
        None => {}
    }
}

/// What would have to be known of a listener before it can be said to answer.
fn unseen<'a>(evidence: &'a Evidence, listener: &'a Listener) -> Option<&'a Blind> {
    if let Some(blind) = listener.queue.blind() {
        return Some(blind);
    }
    let waited = listener.queue.value().filter(|queue| queue.waiting > 0);
    if let Some(blind) = waited.and_then(|queue| queue.oldest_ms.blind().or(queue.drained.blind())) {
        return Some(blind);
    }
    // Of a server whose master was seen the owner is known anyway.
    let master_seen = view::service_on(evidence, listener.port).is_some_and(|(_, s, _)| s.master.value().is_some());
    let owner = listener.owners.blind().or(evidence.processes.blind());
    owner.filter(|_| !master_seen)
}

fn owners_stopped(processes: Option<&Processes>, key: &str, listener: &Listener) -> Option<Finding> {
    let owners = listener.owners.value().filter(|owners| !owners.is_empty())?;
    let processes = processes?;
    // A process whose child holds the socket, too, leaves the clients to it.
    let parents: BTreeSet<u32> =
        owners.iter().filter_map(|owner| processes.mail.get(&owner.pid)).map(|process| process.parent).collect();
    let is_stopped = |pid: &u32| processes.mail.get(pid).is_some_and(Process::is_stopped);
    let serving: Vec<_> = owners.iter().filter(|owner| !parents.contains(&owner.pid)).collect();
    let first = *serving.first().filter(|_| serving.iter().all(|owner| is_stopped(&owner.pid)))?;
    let pids: Vec<String> =
        owners.iter().filter(|owner| is_stopped(&owner.pid)).map(|owner| owner.pid.to_string()).collect();
    Some(
        RULE.finding(
            view::endpoint(&[listener.address], listener.port),
            format!(
                "Port {} accepts connections, but {} (process {}) is stopped.",
                listener.port, first.name, first.pid
            ),
        )
        .confidence(0.98)
        .touches(view::port_scope(listener.port))
        .because(
            format!("Every process that accepts on the socket is in state T: {}.", pids.join(", ")),
            "/proc",
            format!("{}/owners", view::listener_pointer(key)),
        )
        .data("pid", first.pid)
        .data("process", first.name.clone())
        .fix(
            Fix::here("Let it go on; then find out who stopped it.")
                .command(format!("kill -CONT {}", pids.join(" ")))
                .verify(view::look_again(listener.port)),
        )
        .reference("signal(7), SIGSTOP"),
    )
}

fn stuck(evidence: &Evidence, key: &str, listener: &Listener) -> Option<Finding> {
    let queue = listener.queue.value()?;
    let oldest_ms = queue.oldest_ms.value().copied().filter(|ms| *ms >= STUCK_MS)?;
    if queue.waiting == 0 || queue.drained != Seen::Value(false) || at_process_limit(evidence, listener.port) {
        return None;
    }
    let service = view::service_on(evidence, listener.port);
    // Whether the server is at its process limit, and so busy rather than stuck, is only known with its processes.
    let limit_known = service.is_none_or(|(_, server, _)| server.children.blind().is_none());
    let restart = match service {
        Some((_, server, _)) => Words::new(evidence, server).restart(),
        None => format!("mxray sockets --listening --port {} --pids", listener.port),
    };
    let mut finding = RULE
        .finding(
            view::endpoint(&[listener.address], listener.port),
            format!(
                "Port {} accepts connections, but nobody greets: {} wait, the first one for {} s.",
                listener.port,
                queue.waiting,
                oldest_ms / 1000
            ),
        )
        .confidence(if limit_known { 0.85 } else { 0.6 })
        .touches(view::port_scope(listener.port))
        .because(
            format!(
                "{} connections wait for accept and none was taken while we looked; the oldest waits {oldest_ms} ms.",
                queue.waiting
            ),
            "sock_diag",
            format!("{}/queue", view::listener_pointer(key)),
        )
        .data("waiting", queue.waiting)
        .data("oldest_ms", oldest_ms)
        .fix(
            Fix::here(
                "Look into its log for what it waits for (a lookup, a lock, a throttled start), then restart it.",
            )
            .command(restart)
            .verify(view::look_again(listener.port)),
        )
        .reference("listen(2)");
    if let Some((instance, _, wanted)) = service {
        finding = finding.touches(Subject::service(instance)).data("service", wanted.service.clone());
    }
    Some(finding)
}

/// At its process limit the server is busy, not stuck: another rule's finding.
fn at_process_limit(evidence: &Evidence, port: u16) -> bool {
    view::service_on(evidence, port)
        .and_then(|(_, server, wanted)| view::children_of(server, wanted))
        .is_some_and(|children| children.limit.is_some_and(|limit| children.count >= limit))
}
