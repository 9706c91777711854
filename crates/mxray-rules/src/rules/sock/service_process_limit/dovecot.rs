//! Dovecot's limits. A login service takes a connection, and a process of the user's own serves it after the login:
//! either of the two can be out of processes.
//!
//! Measured with 2.3.19: with all `imap` processes taken, a login ends with "Internal login failure" in the log and a
//! closed connection; with all `imap-login` processes taken, the oldest client that has not logged in is sent away
//! with `BYE Connection queue full`, and one that has (TLS) keeps its process.

use super::{BUSY_LIMIT_MIN, RULE};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Server, Sockets};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Of a login service and the service of the user's own behind it.
const BEHIND: [(&str, &str); 4] = [
    ("imap-login", "imap"),
    ("pop3-login", "pop3"),
    ("managesieve-login", "managesieve"),
    ("submission-login", "submission"),
];

/// What runs of one service, and what it may take.
struct Service<'a> {
    name: &'a str,
    /// Where its clients connect.
    ports: BTreeSet<u16>,
    /// Established connections to these ports, and those that wait to be accepted.
    established: u32,
    waiting: u32,
    /// Serves logged-in users behind a login service.
    behind_login: bool,
}

/// Every service of this server that is out of processes.
pub fn saturated(evidence: &Evidence, instance: &str, server: &Server, sockets: &Sockets) -> Vec<Finding> {
    let mut ports: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for wanted in server.wanted.values() {
        ports.entry(wanted.command.as_str()).or_default().insert(wanted.port);
        for (_, user) in BEHIND.iter().filter(|(login, _)| *login == wanted.command) {
            ports.entry(user).or_default().insert(wanted.port);
        }
    }
    let services = ports.into_iter().map(|(name, ports)| {
        let loads = || ports.iter().filter_map(|port| sockets.services.get(port));
        Service {
            name,
            established: loads().map(|load| load.established).sum(),
            waiting: loads().map(|load| load.waiting).sum(),
            behind_login: BEHIND.iter().any(|(_, user)| *user == name),
            ports,
        }
    });
    services.filter_map(|service| full(evidence, instance, server, &service, sockets)).collect()
}

fn waits_long(server: &Server, name: &str, sockets: &Sockets) -> bool {
    server.wanted.values().filter(|wanted| wanted.command == name).any(|wanted| super::waits_long(sockets, wanted))
}

fn number(server: &Server, service: &str, setting: &str) -> Option<u32> {
    server.setting(&format!("service/{service}/{setting}")).parse().ok()
}

/// As many processes as allowed, and every one of them has a client.
fn full(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    service: &Service<'_>,
    sockets: &Sockets,
) -> Option<Finding> {
    let children = server.children.value()?.get(service.name)?;
    let limit = children.limit.filter(|limit| children.count >= *limit)?;
    let ends_after_one = number(server, service.name, "service_count") == Some(1);
    let clients = view::dovecot_clients(server, service.name);
    let spare = number(server, service.name, "process_min_avail").unwrap_or(0);
    // Every client is an established connection, here or behind the login service; so fewer connections than clients that
    // fit mean that somebody is idle. With TLS the login process stays: then both numbers count the same connections.
    if service.established < limit.saturating_mul(clients) {
        return None;
    }
    // Processes that live on wait for the next client, and connections that were handed on still count at the port.
    let proven = ends_after_one && spare == 0;
    // A moment's wait is everyday life of processes that may have room.
    let waits = service.waiting > 0 && (proven || waits_long(server, service.name, sockets));
    // Whoever is connected beyond what the users' processes hold has no process to be served by.
    let without = service.established.saturating_sub(limit.saturating_mul(clients)).saturating_add(service.waiting);
    let severity = match (proven, service.behind_login, without, waits) {
        // A small login service is full for a moment all the time; one user's process more is refused for as long as
        // the others read.
        _ if limit < BUSY_LIMIT_MIN && !waits && !service.behind_login => return None,
        (true, true, 1.., _) => Severity::Critical,
        (_, false, _, true) => Severity::Critical,
        // Nobody waits visibly: who cannot log in is sent away at once.
        (true, true, _, _) if limit >= BUSY_LIMIT_MIN => Severity::Error,
        (true, _, _, _) => Severity::Warning,
        (false, _, _, _) => return None,
    };
    Some(finding(evidence, instance, server, service, severity, limit, without))
}

fn finding(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    service: &Service<'_>,
    severity: Severity,
    limit: u32,
    without: u32,
) -> Finding {
    let name = service.name;
    let then = match (service.behind_login, without, service.waiting) {
        (true, 0, _) => "the next login fails".to_owned(),
        (true, more, _) => format!("logins fail, {more} connected clients have no process"),
        (false, _, 0) => "the next client is sent away or takes another's place".to_owned(),
        (false, _, waiting) => format!("{waiting} clients wait"),
    };
    let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
    let path = format!("service/{name}/process_limit");
    let place = server.set_at(&path).or_else(|| server.set_at("default_process_limit"));
    let words = Words::new(evidence, server);
    let mut finding = RULE
        .finding_as(
            severity,
            Subject::service(format!("{instance} {name}")),
            format!("All {limit} {name} processes of {instance} are busy: {then}."),
        )
        .confidence(0.9)
        .touches(Subject::service(instance))
        .because(
            format!("As many processes of {name} run as process_limit allows: {limit}."),
            place.map_or_else(|| server.configured_by.clone(), ToString::to_string),
            view::server_pointer(instance, &["settings", &path]),
        )
        .because(
            format!("Port {}: {} connections, {} waiting.", ports.join(", "), service.established, service.waiting),
            "sock_diag",
            view::pointer(["sockets", "value", "services"]),
        )
        .data("service", name)
        .data("processes", limit)
        .data("limit", limit)
        .data("waiting", service.waiting)
        .reference("doveconf(1)")
        .reference("doc.dovecot.org, Service configuration, process_limit");
    for port in &service.ports {
        finding = finding.touches(view::port_scope(*port));
    }
    let more = limit.saturating_mul(2).max(100);
    finding
        .fix(
            Fix::here(
                "See who holds the connections; a few users or addresses that hold most are not a limit too low.",
            )
            .command("doveadm who")
            .command(format!("mxray sockets --port {} --by remote", ports.first().map_or("143", String::as_str))),
        )
        .fix(
            words
                .nested_fix(
                    "Allow more processes; look that memory and default_vsz_limit have room for them.",
                    &format!("service/{name}"),
                    &[("process_limit", more.to_string())],
                )
                .verify(format!("pgrep -c -x {name}")),
        )
}
