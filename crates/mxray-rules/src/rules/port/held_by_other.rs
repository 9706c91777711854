//! PORT101: another process holds the port that a mail service is configured for.

use crate::claims::{self, Claim};
use crate::place;
use crate::rule::{Judgement, Rule, Said};
use crate::service_units;
use crate::view;
use crate::words::Words;
use mxray_model::evidence::{Listener, Owner, Process, Server, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "PORT101",
    name: "port-held-by-other",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "another process holds the port that a mail service is configured for",
    page: include_str!("held_by_other.md"),
    check,
};

/// Whose socket it is, as far as the evidence goes.
enum Holder {
    Ours,
    /// Somebody else, with what is known of them.
    Other {
        who: String,
        owner: Option<Owner>,
        unit: Option<String>,
        confidence: f32,
    },
    Hidden(Blind),
}

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in place::here(evidence, servers, &RULE, &mut judgement) {
        for (key, wanted) in &server.wanted {
            let mut clean = true;
            for (listener_key, listener) in view::listeners_of(sockets, wanted) {
                match holder(evidence, server, listener) {
                    Holder::Ours => {}
                    Holder::Hidden(blind) => {
                        clean = false;
                        judgement.blind(&RULE, &blind);
                    }
                    Holder::Other { owner: Some(owner), .. } if serves_instead(evidence, server, &owner) => {
                        clean = false;
                    }
                    // Both get connections: that nobody cannot bind, and who gets which, is another rule's.
                    Holder::Other { .. } if claims::shares(evidence, server, wanted, listener) => {
                        clean = false;
                    }
                    other => {
                        clean = false;
                        let finding = held(evidence, instance, server, (key, wanted), (listener_key, listener), &other);
                        finding.into_iter().for_each(|finding| judgement.find(finding));
                    }
                }
            }
            if clean {
                judgement.well(format!("port {} is held by nobody else", wanted.port));
            }
        }
    }
    Ok(judgement)
}

fn holder(evidence: &Evidence, server: &Server, listener: &Listener) -> Holder {
    let processes = evidence.processes.value();
    let process = |pid: u32| processes.and_then(|processes| processes.mail.get(&pid));
    let unit = listener.unit.value().cloned();
    // Opened by systemd for this very server, and handed over when it starts.
    if service_units::holds(evidence, server, listener).is_some() {
        return Holder::Ours;
    }
    if let Seen::Value(owners) = &listener.owners {
        if owners.iter().any(|owner| is_ours(server, owner.pid, process(owner.pid))) {
            return Holder::Ours;
        }
        if let Some(owner) = owners.first() {
            if let Seen::Unknown(blind) = &server.master
                && may_be_ours(server, process(owner.pid))
            {
                return Holder::Hidden(blind.clone());
            }
            let who = format!("{} (process {})", owner.name, owner.pid);
            return Holder::Other { who, owner: Some(owner.clone()), unit, confidence: 0.97 };
        }
    }
    let by_unit = unit
        .clone()
        .map_or_else(|| format!("a process of user {}", listener.uid), |unit| format!("a process of {unit}"));
    let Some(master) = server.master.value() else {
        // The mail server has no process, so it has no socket either.
        return match &server.master {
            Seen::Unknown(blind) => Holder::Hidden(blind.clone()),
            _ => Holder::Other { who: by_unit, owner: None, unit, confidence: 0.9 },
        };
    };
    let own_unit = process(master.pid).and_then(|master| master.unit.value());
    match (own_unit, &unit) {
        (Some(own), Some(its)) if own == its => return Holder::Ours,
        (Some(own), Some(its)) if own != its => {
            return Holder::Other { who: by_unit, owner: None, unit, confidence: 0.85 };
        }
        _ => {}
    }
    if listener.uid != process(master.pid).map_or(0, |master| master.uid) {
        return Holder::Other { who: by_unit, owner: None, unit, confidence: 0.8 };
    }
    Holder::Hidden(listener.owners.blind().cloned().unwrap_or_else(|| Blind::NotAttempted {
        why: format!("the process that holds port {} is not in this process namespace", listener.port),
    }))
}

/// The same software is not enough: another instance, a container, or a worker that outlived its master holds the port
/// against this server as any stranger does.
fn is_ours(server: &Server, pid: u32, process: Option<&Process>) -> bool {
    server
        .master
        .value()
        .is_some_and(|master| pid == master.pid || process.is_some_and(|process| process.parent == master.pid))
}

/// Where the server's own process is not known, a process of its software may be it.
fn may_be_ours(server: &Server, process: Option<&Process>) -> bool {
    match process.map(|process| &process.software) {
        Some(Seen::Value(software)) => *software == server.software,
        Some(Seen::Absent) => false,
        Some(Seen::Unknown(_)) | None => true,
    }
}

/// The instance whose process this is.
fn instance_of<'a>(evidence: &'a Evidence, owner: &Owner) -> Option<&'a String> {
    let process = evidence.processes.value().and_then(|processes| processes.mail.get(&owner.pid));
    let mut servers = evidence.servers.value().into_iter().flatten();
    servers.find(|(_, server)| is_ours(server, owner.pid, process)).map(|(name, _)| name)
}

/// Another mail server has the port by its own configuration, and this one does not run: that nothing is broken now, and
/// something will be at the next start, is PORT102's to say. Not where this one is meant to receive mail and the other is not.
fn serves_instead(evidence: &Evidence, server: &Server, owner: &Owner) -> bool {
    let Some(other) = instance_of(evidence, owner) else { return false };
    let Some(other) = evidence.servers.value().and_then(|servers| servers.get(other)) else { return false };
    let receives = |server: &Server| view::receives_mail(evidence, server).is_some();
    server.master.is_absent()
        && other.enabled
        && other.software != server.software
        && (receives(other) || !receives(server))
}

fn held(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    (key, wanted): (&str, &WantedListener),
    (listener_key, listener): (&str, &Listener),
    holder: &Holder,
) -> Option<Finding> {
    let Holder::Other { who, owner, unit, confidence } = holder else { return None };
    let words = Words::new(evidence, server);
    let running = !server.master.is_absent();
    let effect = if running { "cannot serve it" } else { "cannot start" };
    let mut finding = RULE
        .finding(
            view::port_scope(wanted.port),
            format!(
                "{who} holds port {}, so {instance} {effect}: {} is configured there.",
                wanted.port, wanted.service
            ),
        )
        .confidence(*confidence)
        .because(
            format!("{} asks for port {} ({}).", wanted.service, wanted.port, wanted.command),
            wanted.at.to_string(),
            view::server_pointer(instance, &["wanted", key]),
        )
        .because(
            format!("{who} listens on {}.", view::endpoint(&[listener.address], listener.port).value),
            "sock_diag",
            view::listener_pointer(listener_key),
        )
        .data("port", wanted.port)
        .data("holder", who.clone())
        .data("holder_unit", unit.clone().unwrap_or_default())
        .data("service", wanted.service.clone())
        .reference("bind(2), EADDRINUSE");
    let asked = claims::asked_for(evidence, listener);
    finding = told_of_holder(evidence, finding, listener, asked.as_ref());
    let address = wanted.addresses.first().copied().unwrap_or(listener.address);
    finding = finding.data("log", claims::complaint(&server.software, address, wanted.port, &wanted.service));
    if !running || waits_for(evidence, server, wanted.port) {
        finding = finding.touches(Subject::service(instance));
    }
    // Some open their ports in turn and wait at the one that they cannot have (Sendmail); others open none at all.
    for other in server.wanted.values().filter(|other| is_silent(evidence, other)) {
        finding = finding.touches(view::port_scope(other.port));
    }
    if let Some(owner) = owner {
        finding = finding.data("holder_pid", owner.pid).data("holder_process", owner.name.clone());
    }
    let look = Fix::here("Make sure that it is not needed there.")
        .command(format!("mxray sockets --listening --port {} --pids", wanted.port));
    let stop = match owner.as_ref().and_then(|owner| instance_of(evidence, owner)) {
        Some(other) if view::is_dovecot(server) => leave_to(other, wanted, &words),
        _ => stop(evidence, owner.as_ref(), unit.as_deref(), wanted, &words),
    };
    let stop = match &asked {
        // The line is where it can be given another port instead.
        Some(claim) if stop.config.is_empty() && claim.at.line > 0 => {
            stop.config(claim.at.file.clone(), Some(claim.at.line), format!("another port than {}", wanted.port))
        }
        _ => stop,
    };
    let start = if running { words.reload() } else { words.start() };
    let then = Fix::here("Let the mail server take the port.").command(start).verify(view::look_again(wanted.port));
    Some(finding.fix(look).fix(stop).fix(then))
}

/// Of two servers that share a configuration's way of listening, one gives the port up.
fn leave_to(other: &str, wanted: &WantedListener, words: &Words<'_>) -> Fix {
    words.nested_fix(
        &format!("The server {other} serves the port: take the listener out of one of the two."),
        &format!("service/{}/inet_listener/{}", wanted.command, wanted.service),
        &[("port", "0".to_owned())],
    )
}

/// Since when it has the port, and the line of its own configuration that asks for it.
fn told_of_holder(evidence: &Evidence, finding: Finding, listener: &Listener, asked: Option<&Claim<'_>>) -> Finding {
    let mut finding = finding;
    if let Some((started, text)) = claims::since(evidence, listener)
        && let Some(owner) = listener.owners.value().and_then(|owners| owners.first())
    {
        let pointer = view::pointer(["processes", "value", "mail", &owner.pid.to_string()]);
        finding = finding
            .because(format!("It runs since {text}."), format!("/proc/{}/stat", owner.pid), pointer)
            .data("holder_since_s", started);
    }
    if let Some(claim) = asked {
        finding = finding
            .because(
                format!("{} is configured for it ({}).", claim.who(), claim.service()),
                claims::place_text(claim.at),
                claim.pointer.clone(),
            )
            .data("holder_at", claims::place_text(claim.at));
    }
    finding
}

/// A server that runs and opens none of its ports: it waits for the one that is held, as Exim's daemon does.
fn waits_for(evidence: &Evidence, server: &Server, port: u16) -> bool {
    let Some(sockets) = evidence.sockets.value() else { return false };
    let mut others =
        server.wanted.values().filter(|wanted| wanted.port != port && !wanted.addresses.is_empty()).peekable();
    others.peek().is_some() && others.all(|wanted| view::listeners_of(sockets, wanted).is_empty())
}

fn is_silent(evidence: &Evidence, wanted: &WantedListener) -> bool {
    evidence.sockets.value().is_some_and(|sockets| view::listeners_on(sockets, wanted.port).is_empty())
}

/// A worker of a mail server whose configuration we read, and whose master is gone: it now belongs to init.
fn is_leftover(evidence: &Evidence, process: &Process) -> bool {
    let mut servers = evidence.servers.value().into_iter().flat_map(|servers| servers.values());
    process.parent == 1
        && !matches!(process.name.as_str(), "master" | "dovecot")
        && servers.any(|server| process.software == Seen::Value(server.software.clone()))
}

/// All of them that run the same program as this holder, if it is one: they hold the port together, and each alone is
/// enough to keep it.
fn leftovers(evidence: &Evidence, owner: &Owner) -> Option<String> {
    let processes = evidence.processes.value()?;
    let holder = processes.mail.get(&owner.pid).filter(|process| is_leftover(evidence, process))?;
    let others = processes
        .mail
        .iter()
        .filter(|(pid, process)| **pid == owner.pid || (process.name == holder.name && is_leftover(evidence, process)));
    Some(others.map(|(pid, _)| pid.to_string()).collect::<Vec<_>>().join(" "))
}

/// How the holder is made to let go. What serves others besides (init, a container engine) is never ended for it.
fn stop(
    evidence: &Evidence,
    owner: Option<&Owner>,
    unit: Option<&str>,
    wanted: &WantedListener,
    words: &Words<'_>,
) -> Fix {
    let port = wanted.port;
    if let Some(other) = owner.and_then(|owner| instance_of(evidence, owner)) {
        let fix = Fix::here(format!(
            "The instance {other} serves the port: give each instance its own address, or take the service out of one."
        ));
        if !words.is_postfix() {
            return fix.config(wanted.at.file.clone(), Some(wanted.at.line), format!("# {}", wanted.service));
        }
        return fix.command(words.set("inet_interfaces", "ADDRESS OF THIS INSTANCE")).config(
            wanted.at.file.clone(),
            Some(wanted.at.line),
            format!("# {} inet …", wanted.service),
        );
    }
    let name = owner.map_or("", |owner| owner.name.as_str());
    if owner.is_some_and(|owner| owner.pid == 1)
        && let Some((name, socket)) = service_units::opens(evidence, port)
    {
        let at = socket.listens.iter().find(|listen| listen.port == port).map(|listen| listen.at.to_string());
        let name = shell_word(name);
        return Fix::here(format!(
            "systemd holds it for {name} ({}), which starts {}: disable that socket unit.",
            at.unwrap_or_else(|| socket.unit.file.clone()),
            socket.service
        ))
        .command(format!("systemctl disable --now {name}"))
        .undo(format!("systemctl enable --now {name}"));
    }
    if owner.is_some_and(|owner| owner.pid == 1) {
        return Fix::here("systemd holds it for a socket unit: find the unit that names the port, and disable that.")
            .command(format!("systemctl list-sockets --all | grep -w {port}"))
            .command("systemctl disable --now NAME.socket")
            .undo("systemctl enable --now NAME.socket");
    }
    let scope = unit.and_then(|unit| unit.strip_prefix("docker-")?.strip_suffix(".scope"));
    if scope.is_some() || matches!(name, "docker-proxy" | "rootlessport") {
        let container = scope.map_or("NAME", |id| id.get(..12).unwrap_or(id));
        return Fix::here("A container publishes the port: stop it, or publish another port of this host.")
            .command(format!("docker ps --filter publish={port}"))
            .command(format!("docker stop {}", shell_word(container)))
            .undo(format!("docker start {}", shell_word(container)));
    }
    if let Some(pids) = owner.and_then(|owner| leftovers(evidence, owner)) {
        return Fix::here(
            "Workers that outlived their master: end them. Their unit is the mail server's own, leave that.",
        )
        .command(format!("kill {pids}; kill -CONT {pids}"));
    }
    let managed = evidence.vantage.service_manager == Seen::Value("systemd".to_owned());
    match (unit.filter(|unit| managed && unit.ends_with(".service")), owner) {
        (Some(unit), _) => Fix::here("Stop it, and keep it from coming back at the next start of the machine.")
            .command(format!("systemctl disable --now {}", shell_word(unit)))
            .undo(format!("systemctl enable --now {}", shell_word(unit))),
        (None, Some(owner)) => {
            Fix::here("End it, and take it out of whatever starts it.").command(format!("kill {}", owner.pid))
        }
        (None, None) => Fix::here("Find it as root, and end it."),
    }
}
