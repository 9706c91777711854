//! PORT109: a port that is reserved for privileged processes, and a mail server without the privilege.

use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Server, UnitLimits};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "PORT109",
    name: "port-needs-privilege",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a port below ip_unprivileged_port_start, and no capability to bind it",
    page: include_str!("needs_privilege.md"),
    check,
};

const CAPABILITY: &str = "cap_net_bind_service";

/// What keeps the capability away.
struct Lack {
    text: String,
    source: String,
    pointer: String,
    fix: Fix,
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let start = *view::known(&evidence.kernel.unprivileged_port_start, &RULE)?;
    let Some(sockets) = evidence.sockets.value() else {
        return Ok(evidence
            .sockets
            .blind()
            .map_or_else(Judgement::nothing, |blind| Judgement::cannot_tell(&RULE, blind)));
    };
    let mut judgement = Judgement::nothing();
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        // What is bound needs no privilege any more.
        let unbound: Vec<u16> = server
            .wanted
            .values()
            .filter(|wanted| u32::from(wanted.port) < start && view::listeners_of(sockets, wanted).is_empty())
            .map(|wanted| wanted.port)
            .collect();
        if unbound.is_empty() {
            judgement.well(format!("{instance} has every privileged port that it asks for"));
            continue;
        }
        match lack(evidence, instance, server) {
            Seen::Value(lack) => {
                judgement.find(finding(instance, server, &unbound, start, lack, &Words::new(evidence, server)));
            }
            Seen::Absent => judgement.well(format!("{instance} may bind ports below {start}")),
            Seen::Unknown(blind) => judgement.blind(&RULE, &blind),
        }
    }
    Ok(judgement)
}

/// A running server shows what it has; of one that does not run, what the next start would get is what counts.
fn lack(evidence: &Evidence, instance: &str, server: &Server) -> Seen<Lack> {
    if let Some(master) = server.master.value() {
        let process = evidence.processes.value().and_then(|processes| processes.mail.get(&master.pid));
        return match process.map(|process| &process.capabilities) {
            Some(Seen::Value(has)) if !has.contains(CAPABILITY) => Seen::Value(Lack {
                text: format!("Process {} runs without {CAPABILITY}.", master.pid),
                source: format!("/proc/{}/status", master.pid),
                pointer: view::pointer(["processes", "value", "mail", &master.pid.to_string(), "capabilities"]),
                fix: Fix::here(
                    "Start it with the capability: as root, or with AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit.",
                ),
            }),
            Some(Seen::Value(_) | Seen::Absent) => Seen::Absent,
            Some(Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
            None => Seen::not_attempted("the master process is not among the processes that were read"),
        };
    }
    if let Seen::Unknown(blind) = &server.master {
        return Seen::Unknown(blind.clone());
    }
    if let Some(lack) = server.unit.value().and_then(|unit| lack_by_unit(instance, unit)) {
        return Seen::Value(lack);
    }
    match &evidence.vantage.bounding {
        Seen::Value(bounding) if !bounding.contains(CAPABILITY) => Seen::Value(Lack {
            text: format!("No process started here can have {CAPABILITY}: it is not in the bounding set."),
            source: "/proc/1/status, CapBnd".to_owned(),
            pointer: view::pointer(["vantage", "bounding"]),
            fix: Fix::here("Give the container or namespace the capability, or lower the first port that needs it.")
                .command("docker run --cap-add NET_BIND_SERVICE …")
                .command("sysctl -w net.ipv4.ip_unprivileged_port_start=0")
                .undo("sysctl -w net.ipv4.ip_unprivileged_port_start=1024"),
        }),
        Seen::Value(_) | Seen::Absent => match &server.unit {
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
            Seen::Absent if evidence.vantage.service_manager != Seen::Value("systemd".to_owned()) => {
                Seen::not_attempted("it does not run, and with which privileges it is started is not known")
            }
            Seen::Value(_) | Seen::Absent => Seen::Absent,
        },
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
    }
}

fn lack_by_unit(instance: &str, unit: &UnitLimits) -> Option<Lack> {
    let bounded = unit.bounding.as_ref().is_some_and(|set| !set.contains(CAPABILITY));
    let unprivileged = !matches!(unit.user.as_str(), "" | "root" | "0") && !unit.ambient.contains(CAPABILITY);
    if !bounded && !unprivileged {
        return None;
    }
    let (text, line) = if bounded {
        (
            format!("CapabilityBoundingSet= of {} leaves out CAP_NET_BIND_SERVICE.", unit.unit),
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE …",
        )
    } else {
        (
            format!("{} starts as user {} without AmbientCapabilities=CAP_NET_BIND_SERVICE.", unit.unit, unit.user),
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    };
    let mut fix =
        Fix::here("Give the unit the capability.").command(format!("systemctl edit {}", shell_word(&unit.unit)));
    fix = match &unit.at {
        Some(at) => fix.config(at.file.clone(), Some(at.line), line),
        None => {
            fix.config(format!("/etc/systemd/system/{}.d/override.conf", unit.unit), None, format!("[Service]\n{line}"))
        }
    };
    let source = unit.at.as_ref().map_or_else(|| unit.unit.clone(), ToString::to_string);
    Some(Lack { text, source, pointer: view::server_pointer(instance, &["unit"]), fix })
}

fn finding(instance: &str, server: &Server, ports: &[u16], start: u32, lack: Lack, words: &Words<'_>) -> Finding {
    let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let first = ports.first().copied().unwrap_or_default();
    // Without the port nothing works; a server that does not run because of it is the worse case.
    let severity = if server.master.is_absent() { Severity::Critical } else { RULE.severity };
    let mut finding = RULE
        .finding_as(
            severity,
            view::port_scope(first),
            format!("{instance} may not bind port {list}: ports below {start} need CAP_NET_BIND_SERVICE."),
        )
        .confidence(0.95)
        .touches(Subject::service(instance))
        .because(lack.text, lack.source, lack.pointer)
        .because(
            format!("net.ipv4.ip_unprivileged_port_start = {start}"),
            "/proc/sys/net/ipv4",
            view::pointer(["kernel", "unprivileged_port_start"]),
        )
        .data("ports", ports.to_vec())
        .data("unprivileged_port_start", start)
        .fix(lack.fix)
        .fix(Fix::here("Start the server again.").command(words.restart()).verify(view::look_again(first)))
        .reference("capabilities(7)")
        .reference("ip(7), ip_unprivileged_port_start");
    for port in ports {
        finding = finding.touches(view::port_scope(*port));
    }
    finding
}
