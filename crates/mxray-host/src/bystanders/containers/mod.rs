//! Ports that containers publish: what the engine says, what Quadlet and nspawn files ask for, and what compose files ask for where the
//! engine says nothing.
//!
//! An engine is asked only while it runs: a connection to its socket would start it otherwise, and with it every container
//! that restarts by itself.

mod api;
mod compose;
mod http;
mod nspawn;
mod publish;
mod quadlet;

use super::found::{Found, Line};
use super::place::Place;
use super::shell::Variables;
use super::{Running, running};
use crate::processes::Table;
use crate::units::boot::Boot;
use api::Container;
use compose::Service;
use mxray_model::evidence::{AskedListener, FileLine};
use mxray_model::{Blind, Seen};
use publish::Published;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

/// Most listeners of all containers.
const LISTENERS_MAX: usize = 2_000;

/// A program that runs containers.
struct Engine {
    software: &'static str,
    sockets: &'static [&'static str],
    processes: &'static [&'static str],
    /// Words that its process has where the program does other things as well.
    words: &'static [&'static str],
    units: &'static [&'static str],
    /// What brings its containers back at boot.
    restarts: &'static [&'static str],
}

const ENGINES: &[Engine] = &[
    Engine {
        software: "docker",
        sockets: &["/run/docker.sock", "/var/run/docker.sock"],
        processes: &["dockerd"],
        words: &[],
        units: &["docker.service", "snap.docker.dockerd.service"],
        restarts: &["docker.service", "snap.docker.dockerd.service"],
    },
    Engine {
        software: "podman",
        sockets: &["/run/podman/podman.sock"],
        processes: &["podman"],
        words: &["system", "service"],
        units: &["podman.service"],
        restarts: &["podman-restart.service"],
    },
];

/// What an engine said.
struct Asked {
    engine: &'static Engine,
    containers: Seen<Vec<Container>>,
    at_boot: Seen<String>,
    socket: String,
}

pub(super) fn look(place: &Place, boot: &Boot, table: &Seen<Table>, found: &mut Found) -> Vec<AskedListener> {
    let until = Instant::now() + http::PATIENCE;
    let asked: Vec<Asked> = ENGINES.iter().map(|engine| ask(engine, place, boot, table, until, found)).collect();
    let mut out = Vec::new();
    let quadlets = quadlet::read(place, found);
    for quadlet in &quadlets {
        of_quadlet(quadlet, boot, table, &mut out);
    }
    for machine in nspawn::read(place, found) {
        of_machine(&machine, boot, table, &mut out);
    }
    // What runs names files that may lie anywhere.
    let mut files = compose::files(place);
    let named = asked.iter().filter_map(|asked| asked.containers.value()).flatten();
    for file in named.filter_map(|container| container.compose.as_ref()).flat_map(|(files, _)| files) {
        if files.len() < 1_000 && !files.contains(file) {
            files.push(file.clone());
        }
    }
    let services: Vec<Service> = files.iter().flat_map(|file| compose::read(place, file, found)).collect();
    let mut made = vec![false; services.len()];
    for engine in &asked {
        for container in engine.containers.value().into_iter().flatten() {
            if quadlets.iter().any(|quadlet| quadlet.container == container.name) {
                continue;
            }
            let own: Vec<usize> =
                (0..services.len()).filter(|index| services.get(*index).is_some_and(|s| is_of(s, container))).collect();
            for index in &own {
                if let Some(made) = made.get_mut(*index) {
                    *made = true;
                }
            }
            let own: Vec<&Service> = own.iter().filter_map(|index| services.get(*index)).collect();
            of_container(engine, container, &own, &mut out);
        }
    }
    let left = services.iter().zip(&made).filter(|(_, made)| !**made).map(|(service, _)| service);
    for service in left {
        of_compose(place, service, &asked, &mut out);
    }
    out.truncate(LISTENERS_MAX);
    out
}

fn ask(
    engine: &'static Engine,
    place: &Place,
    boot: &Boot,
    table: &Seen<Table>,
    until: Instant,
    found: &mut Found,
) -> Asked {
    let (_, at_boot) = boot.of(engine.restarts);
    let socket = engine.sockets.iter().find(|socket| place.exists(socket)).copied();
    let Some(socket) = socket else {
        return Asked { engine, containers: Seen::Absent, at_boot, socket: String::new() };
    };
    let lives = running(table, &Running { units: engine.units, processes: engine.processes, words: engine.words });
    let containers = match lives {
        Seen::Value(true) => api::containers(&place.below(socket), until),
        Seen::Value(false) | Seen::Absent => {
            Seen::not_attempted("it does not run, and a connection to its socket would start it")
        }
        Seen::Unknown(blind) => Seen::Unknown(blind),
    };
    if let Seen::Unknown(blind) = &containers {
        let line = Line { service: engine.software, file: socket, number: 0 };
        found.puzzled(line, &format!("{}: {}", engine.software, blind.why()));
    }
    Asked { engine, containers, at_boot, socket: socket.to_owned() }
}

fn is_of(service: &Service, container: &Container) -> bool {
    match &container.compose {
        Some((files, name)) => *name == service.name && files.contains(&service.project),
        None => service.container.as_deref() == Some(container.name.as_str()),
    }
}

/// Docker opens one socket for each family, Podman one for IPv4 where no address is given.
fn addresses(software: &str, address: Option<IpAddr>) -> Vec<IpAddr> {
    match address {
        Some(address) => vec![address],
        None if software == "podman" => vec![Ipv4Addr::UNSPECIFIED.into()],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

fn of_container(asked: &Asked, container: &Container, services: &[&Service], out: &mut Vec<AskedListener>) {
    let at_boot = restarts(asked, container);
    let mut published = container.published.clone();
    if published.is_empty() {
        // One that does not run and was not asked about: its file says what it will ask for.
        for (one, _) in services.iter().flat_map(|service| &service.published) {
            published.extend(one.ports.iter().map(|port| (one.address, *port, one.udp)));
        }
    }
    for (address, port, udp) in published {
        let at = services.iter().find_map(|service| line_of(service, port, udp));
        let at = at.unwrap_or_else(|| FileLine { file: asked.socket.clone(), line: 0 });
        for address in addresses(asked.engine.software, address) {
            out.push(AskedListener {
                software: asked.engine.software.to_owned(),
                service: format!("container {}", container.name),
                protocol: if udp { "udp" } else { "tcp" }.to_owned(),
                address,
                port,
                v6_only: v6_only(address),
                reuse_port: false,
                unit: format!("container {}", container.name),
                at_boot: at_boot.clone(),
                running: Seen::Value(container.running),
                by_dnat: true,
                from_documentation: false,
                at: at.clone(),
            });
        }
    }
}

fn v6_only(address: IpAddr) -> Seen<bool> {
    if address.is_ipv6() { Seen::Value(true) } else { Seen::Absent }
}

fn line_of(service: &Service, port: u16, udp: bool) -> Option<FileLine> {
    let is_it = |one: &&(Published, u32)| one.0.udp == udp && one.0.ports.contains(&port);
    let (_, line) = service.published.iter().find(is_it)?;
    Some(FileLine { file: service.file.clone(), line: *line })
}

/// What the engine does with a container when it starts itself (Docker: restart policies).
fn restarts(asked: &Asked, container: &Container) -> Seen<String> {
    let policy = match &container.restart {
        Seen::Value(policy) => policy.as_str(),
        Seen::Absent => "no",
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    match (policy, container.running) {
        ("always", _) | ("unless-stopped" | "on-failure", true) => {
            asked.at_boot.clone().map(|link| format!("{link}, restart policy {policy}"))
        }
        ("unless-stopped" | "on-failure", false) => Seen::not_attempted(&format!(
            "{} does not run; whether its restart policy ({policy}) brings it back is not told",
            container.name
        )),
        _ => Seen::Absent,
    }
}

fn of_quadlet(quadlet: &quadlet::Quadlet, boot: &Boot, table: &Seen<Table>, out: &mut Vec<AskedListener>) {
    let pulled_in = quadlet.wanted.then(|| quadlet.file.clone());
    let at_boot = match (&quadlet.user, boot.of(&[&quadlet.unit]).1) {
        (None, Seen::Value(link)) => Seen::Value(link),
        (None, Seen::Unknown(blind)) => Seen::Unknown(blind),
        // The generator has not seen the file yet: the next start will. Users' units are not among the system's.
        _ => pulled_in.map_or(Seen::Absent, Seen::Value),
    };
    let units = [quadlet.unit.as_str()];
    let running = running(table, &Running { units: &units, processes: &[], words: &[] });
    for (published, line) in &quadlet.published {
        for port in &published.ports {
            for address in addresses("podman", published.address) {
                out.push(AskedListener {
                    software: "podman".to_owned(),
                    service: format!("container {}", quadlet.container),
                    protocol: if published.udp { "udp" } else { "tcp" }.to_owned(),
                    address,
                    port: *port,
                    v6_only: v6_only(address),
                    reuse_port: false,
                    unit: quadlet.unit.clone(),
                    at_boot: at_boot.clone(),
                    running: running.clone(),
                    by_dnat: quadlet.user.is_none(),
                    from_documentation: false,
                    at: FileLine { file: quadlet.file.clone(), line: *line },
                });
            }
        }
    }
}

/// A container of systemd-nspawn: rules of the packet filter lead there while it runs.
fn of_machine(machine: &nspawn::Machine, boot: &Boot, table: &Seen<Table>, out: &mut Vec<AskedListener>) {
    let unit = format!("systemd-nspawn@{}.service", machine.name);
    let units = [unit.as_str()];
    let (_, at_boot) = boot.of(&units);
    let running = running(table, &Running { units: &units, processes: &[], words: &[] });
    for (published, line) in &machine.published {
        for (port, address) in published
            .ports
            .iter()
            .flat_map(|port| addresses("nspawn", None).into_iter().map(move |address| (port, address)))
        {
            out.push(AskedListener {
                software: "systemd-nspawn".to_owned(),
                service: format!("container {}", machine.name),
                protocol: if published.udp { "udp" } else { "tcp" }.to_owned(),
                address,
                port: *port,
                v6_only: v6_only(address),
                reuse_port: false,
                unit: unit.clone(),
                at_boot: at_boot.clone(),
                running: running.clone(),
                by_dnat: true,
                from_documentation: false,
                at: FileLine { file: machine.file.clone(), line: *line },
            });
        }
    }
}

/// A file of which no container is known to have been made.
fn of_compose(place: &Place, service: &Service, asked: &[Asked], out: &mut Vec<AskedListener>) {
    // With an engine that answered, or with none at all, nothing starts it.
    let blind: Option<&Blind> = asked.iter().find_map(|asked| asked.containers.blind());
    let (at_boot, running) = match blind {
        Some(blind) => (Seen::Unknown(blind.clone()), Seen::Unknown(blind.clone())),
        None => (Seen::Absent, Seen::Value(false)),
    };
    let usual = default_address(place);
    for (published, line) in &service.published {
        for port in &published.ports {
            for address in addresses("docker", published.address.or(usual)) {
                out.push(AskedListener {
                    software: "docker".to_owned(),
                    service: format!("compose service {}", service.name),
                    protocol: if published.udp { "udp" } else { "tcp" }.to_owned(),
                    address,
                    port: *port,
                    v6_only: v6_only(address),
                    reuse_port: false,
                    unit: String::new(),
                    at_boot: at_boot.clone(),
                    running: running.clone(),
                    by_dnat: true,
                    from_documentation: false,
                    at: FileLine { file: service.file.clone(), line: *line },
                });
            }
        }
    }
}

/// `ip` of /etc/docker/daemon.json: where ports are published that name no address.
fn default_address(place: &Place) -> Option<IpAddr> {
    let text = place.text("/etc/docker/daemon.json");
    let root: serde_json::Value = serde_json::from_str(text.value()?).ok()?;
    root.get("ip")?.as_str()?.parse().ok()
}

/// For whatever stands in such files.
pub(super) fn understand(place: &Place, text: &str, bytes: &[u8], found: &mut Found) -> usize {
    let services = compose::parse(text, "any", &Variables::new(), found);
    let quadlet = quadlet::parse(&[("any".to_owned(), bytes.to_vec())], "/any/any.container", None, found);
    let _ = nspawn::parse("/any/any.nspawn", bytes.to_vec(), found);
    let answer = http::answer(bytes).map_or(0, |(_, body)| body.len());
    let _ = place;
    services.len() + quadlet.published.len() + answer + api::understand(bytes)
}
