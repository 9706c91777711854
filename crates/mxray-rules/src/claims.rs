//! Who asks for which port at the next start, in one form for mail servers, socket units and all other software; who holds it
//! now; and what the one says that does not get it. No judgement lives here.

use crate::service_units;
use crate::support::{date_of, numbers};
use crate::view;
use mxray_model::binding::{Binding, Together, together};
use mxray_model::evidence::{AskedListener, FileLine, Listener, Process, Server, SocketUnit, WantedListener};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Fix, Seen};
use std::net::IpAddr;

/// One socket that somebody asks for.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    pub by: Claimant<'a>,
    pub binding: Binding,
    pub at: &'a FileLine,
    /// JSON pointer into the evidence.
    pub pointer: String,
    pub start: Start,
    pub runs: Seen<bool>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Claimant<'a> {
    Server { instance: &'a str, server: &'a Server, wanted: &'a WantedListener },
    Socket { name: &'a str, unit: &'a SocketUnit },
    Other(&'a AskedListener),
}

/// Whether the next start happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// And why.
    Yes(String),
    /// A file that lies there, and nothing that starts it.
    No,
    Unknown(Blind),
}

impl Claim<'_> {
    /// `postfix`, `smtp.socket`, `haproxy`, `container mailpit`
    pub fn who(&self) -> String {
        match self.by {
            Claimant::Server { instance, .. } => instance.to_owned(),
            Claimant::Socket { name, .. } => name.to_owned(),
            Claimant::Other(asked) if asked.unit.starts_with("container ") => asked.unit.clone(),
            Claimant::Other(asked) => asked.software.clone(),
        }
    }

    /// The service, frontend or line that asks.
    pub fn service(&self) -> String {
        match self.by {
            Claimant::Server { wanted, .. } => wanted.service.clone(),
            Claimant::Socket { unit, .. } => format!("for {}", unit.service),
            Claimant::Other(asked) => asked.service.clone(),
        }
    }

    fn software(&self) -> &str {
        match self.by {
            Claimant::Server { server, .. } => &server.software,
            Claimant::Socket { .. } => "systemd",
            Claimant::Other(asked) => &asked.software,
        }
    }

    /// The unit that systemd knows it by; empty where none is known.
    fn unit(&self) -> &str {
        match self.by {
            Claimant::Server { server, .. } => {
                service_units::main_units(&server.software).first().copied().unwrap_or_default()
            }
            Claimant::Socket { name, .. } => name,
            Claimant::Other(asked) => &asked.unit,
        }
    }

    /// `[::]:25`
    pub fn socket(&self) -> String {
        std::net::SocketAddr::new(self.binding.address, self.binding.port).to_string()
    }

    pub fn bears_on_mail(&self) -> bool {
        /// These serve others besides; their ports are mail's where mail has them.
        const GENERAL: [&str; 6] = ["haproxy", "nginx", "inetd", "xinetd", "docker", "podman"];
        match self.by {
            Claimant::Server { .. } => true,
            Claimant::Socket { .. } => view::MAIL_PORTS.contains(&self.binding.port),
            Claimant::Other(asked) => {
                !GENERAL.contains(&asked.software.as_str()) || view::MAIL_PORTS.contains(&self.binding.port)
            }
        }
    }

    /// Its configuration was read from the maker's documentation alone.
    pub fn is_unsure(&self) -> bool {
        matches!(self.by, Claimant::Other(asked) if asked.from_documentation)
    }

    /// The same service in two places: a server's own lines, a socket unit and the service that gets its sockets.
    pub fn is_one_with(&self, other: &Claim<'_>) -> bool {
        match (self.by, other.by) {
            (Claimant::Server { instance, .. }, Claimant::Server { instance: other, .. }) => instance == other,
            (Claimant::Socket { name, .. }, Claimant::Socket { name: other, .. }) => name == other,
            (Claimant::Other(one), Claimant::Other(other)) => one.software == other.software && one.unit == other.unit,
            (Claimant::Server { server, .. }, Claimant::Socket { unit, .. })
            | (Claimant::Socket { unit, .. }, Claimant::Server { server, .. }) => {
                service_units::belongs_to(&unit.service, &server.software)
            }
            (Claimant::Other(asked), Claimant::Socket { unit, .. })
            | (Claimant::Socket { unit, .. }, Claimant::Other(asked)) => asked.unit == unit.service,
            // A server whose configuration is read twice, such as a filter that is a signer as well.
            (Claimant::Server { server, .. }, Claimant::Other(asked))
            | (Claimant::Other(asked), Claimant::Server { server, .. }) => server.software == asked.software,
        }
    }

    /// Is this socket its own, and one that it asks for?
    pub fn holds(&self, evidence: &Evidence, listener: &Listener) -> bool {
        let listening = Binding { reuse_port: false, ..Binding::of(listener) };
        together(&self.binding, &listening) != Together::Apart && self.owns(evidence, listener)
    }

    /// Is it a socket of its processes, whatever its configuration says by now?
    fn owns(&self, evidence: &Evidence, listener: &Listener) -> bool {
        let processes = evidence.processes.value();
        let owners = listener.owners.value().into_iter().flatten();
        let unit = listener.unit.value().map(String::as_str).unwrap_or_default();
        match self.by {
            Claimant::Server { server, .. } => {
                let master = server.master.value().map(|master| master.pid);
                let is_its = |pid: u32| {
                    let parent = processes.and_then(|processes| processes.mail.get(&pid)).map(|process| process.parent);
                    Some(pid) == master || (master.is_some() && parent == master)
                };
                owners.clone().any(|owner| is_its(owner.pid))
                    || (master.is_some() && service_units::belongs_to(unit, &server.software))
            }
            Claimant::Socket { name, .. } => unit == name || owners.clone().any(|owner| owner.pid == 1),
            Claimant::Other(asked) => {
                let mut processes = owners.clone().filter_map(|owner| processes?.mail.get(&owner.pid));
                let mut names = owners.clone().map(|owner| owner.name.as_str());
                (!asked.unit.is_empty() && unit == asked.unit)
                    || processes.any(|process| process.software == Seen::Value(asked.software.clone()))
                    || names.any(|name| is_process_of(&asked.software, name))
            }
        }
    }

    /// How it is kept from the port: its unit, or its line.
    pub fn withdraw(&self) -> Fix {
        let who = self.who();
        let line = (self.at.line > 0).then_some(self.at.line);
        let port = self.binding.port;
        let unit = shell_word(self.unit());
        match self.by {
            Claimant::Socket { name, .. } => Fix::here(format!("If {name} is the one to give way, disable it."))
                .command(format!("systemctl disable --now {unit}"))
                .undo(format!("systemctl enable --now {unit}")),
            Claimant::Other(asked) if asked.unit.starts_with("container ") => {
                let engine = if asked.software == "podman" { "podman" } else { "docker" };
                let name = shell_word(asked.unit.trim_start_matches("container "));
                let fix = Fix::here(format!(
                    "If {who} is the one to give way, publish another port of this host, or keep it from starting by itself."
                ))
                .command(format!("{engine} update --restart=no {name}"))
                .undo(format!("{engine} update --restart=always {name}"));
                if line.is_some() {
                    fix.config(self.at.file.clone(), line, format!("another port than {port}"))
                } else {
                    fix
                }
            }
            Claimant::Other(asked) if matches!(asked.software.as_str(), "inetd" | "xinetd") => {
                let text = if asked.software == "inetd" { "#<off># …" } else { "disable = yes" };
                Fix::here(format!(
                    "If {who} is the one to give way, switch the line off and have it read its file again."
                ))
                .config(self.at.file.clone(), line, text)
                .command(format!("systemctl reload {unit}"))
            }
            Claimant::Other(_) => {
                let fix =
                    Fix::here(format!("If {who} is the one to give way, give it another port, or do not start it."))
                        .config(self.at.file.clone(), line, format!("another port than {port}"));
                if unit.ends_with(".service") {
                    fix.command(format!("systemctl disable --now {unit}"))
                        .undo(format!("systemctl enable --now {unit}"))
                } else {
                    fix
                }
            }
            Claimant::Server { .. } => {
                Fix::here(format!("If {who} is the one to give way, take the service out, or do not start it."))
                    .config(self.at.file.clone(), line, format!("# {}", self.service()))
                    .command(format!("systemctl disable --now {unit}"))
                    .undo(format!("systemctl enable --now {unit}"))
            }
        }
    }

    /// What stands in its log when it does not get its socket.
    pub fn complaint(&self) -> String {
        complaint(self.software(), self.binding.address, self.binding.port, &self.service())
    }
}

/// Names of processes, 15 bytes of them, where they are not the software's own.
fn is_process_of(software: &str, name: &str) -> bool {
    let known: &[&str] = match software {
        "spamassassin" => &["spamd", "spamd child"],
        "clamav" => &["clamd"],
        "amavis" => &["amavisd", "amavisd-new", "/usr/sbin/amavi"],
        "clamsmtp" => &["clamsmtpd"],
        "cluebringer" => &["cbpolicyd"],
        "powermta" => &["pmtad", "pmtahttpd"],
        "kumomta" => &["kumod"],
        "inetd" => &["inetd", "inetutils-inetd"],
        "docker" => &["docker-proxy", "dockerd"],
        "podman" => &["conmon", "rootlessport", "pasta", "slirp4netns"],
        _ => &[],
    };
    let same = |known: &str| name == known.get(..15).unwrap_or(known);
    same(software) || known.iter().any(|known| same(known))
}

/// In the software's own words, as far as these are known.
pub fn complaint(software: &str, address: IpAddr, port: u16, service: &str) -> String {
    let socket = std::net::SocketAddr::new(address, port);
    match software {
        "postfix" => format!("fatal: bind {address} port {port}: Address already in use"),
        "exim" => format!("socket bind() to port {port} for address {address} failed: Address already in use"),
        "dovecot" => format!("listen({address}, {port}) failed: Address already in use"),
        "opensmtpd" => "bind: Address already in use".to_owned(),
        "sendmail" => "opendaemonsocket: cannot bind: Address already in use".to_owned(),
        "systemd" => "Failed to create listening socket: Address already in use".to_owned(),
        "haproxy" => format!("cannot bind socket (Address already in use) [{socket}]"),
        "nginx" => format!("bind() to {socket} failed (98: Address already in use)"),
        // Net::Server's own words.
        "amavis" | "postgrey" => format!("Can't connect to TCP port {port} on {address} [Address already in use]"),
        "spamassassin" => {
            format!("could not create IO::Socket::IP socket on [{address}]:{port}: Address already in use")
        }
        "docker" | "podman" => format!("listen tcp {socket}: bind: address already in use"),
        "inetd" => format!("{}/tcp: bind: Address already in use", service.trim_start_matches("line ")),
        _ => "Address already in use".to_owned(),
    }
}

/// Everybody who asks, those whose configuration was read.
pub fn all<'a>(evidence: &'a Evidence, servers: &[(&'a String, &'a Server)]) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for (instance, server) in servers {
        for (key, wanted) in &server.wanted {
            for address in &wanted.addresses {
                claims.push(Claim {
                    by: Claimant::Server { instance, server, wanted },
                    binding: of_server(server, wanted, *address),
                    at: &wanted.at,
                    pointer: view::server_pointer(instance, &["wanted", key]),
                    start: server_start(evidence, server),
                    runs: match &server.master {
                        Seen::Value(_) => Seen::Value(true),
                        Seen::Absent => Seen::Value(false),
                        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
                    },
                });
            }
        }
    }
    claims.extend(sockets(evidence));
    claims.extend(others(evidence));
    claims
}

/// Servers that listen in both families open a socket for each, and have the IPv6 one refuse IPv4 (IPV6_V6ONLY); Sendmail
/// leaves it to the system.
fn of_server(server: &Server, wanted: &WantedListener, address: IpAddr) -> Binding {
    let both = wanted.addresses.iter().any(IpAddr::is_ipv4);
    let v6_only = address.is_ipv6() && (server.software != "sendmail" || both);
    Binding { v6_only, reuse_port: reuses_port(server), ..Binding::new("tcp", address, wanted.port) }
}

/// Postfix sets SO_REUSEPORT on all that it listens on since 3.6 (its HISTORY, 20200425). Of an unknown version the current
/// ways are assumed.
fn reuses_port(server: &Server) -> bool {
    server.software == "postfix" && server.version.value().is_none_or(|version| numbers(version) >= vec![3, 6])
}

/// Does the holder of a listener share it with this service, by what both set before they bind?
pub fn shares(evidence: &Evidence, server: &Server, wanted: &WantedListener, listener: &Listener) -> bool {
    // It may listen where its file says so no more: what it sets before a bind is the same.
    let mut claims = others(evidence).into_iter().filter(|claim| claim.binding.port == listener.port);
    let Some(claim) = claims.find(|claim| claim.owns(evidence, listener)) else { return false };
    let held = Binding { reuse_port: claim.binding.reuse_port, ..Binding::of(listener) };
    wanted.addresses.iter().all(|address| together(&of_server(server, wanted, *address), &held) != Together::Refused)
}

fn server_start(evidence: &Evidence, server: &Server) -> Start {
    let at_boot = evidence.bystanders.value().and_then(|bystanders| bystanders.servers_at_boot.get(&server.software));
    match (&server.master, at_boot) {
        (_, Some(Seen::Value(link))) => Start::Yes(format!("it is started with the machine ({link})")),
        (Seen::Value(master), _) => Start::Yes(format!("it runs (process {})", master.pid)),
        (Seen::Absent, Some(Seen::Absent)) => Start::No,
        (Seen::Unknown(blind), Some(Seen::Absent)) | (_, Some(Seen::Unknown(blind))) => Start::Unknown(blind.clone()),
        (_, None) => {
            Start::Unknown(Blind::NotAttempted { why: format!("what starts {} is not known", server.software) })
        }
    }
}

/// Listen lines of socket units; a port alone is one socket for both families.
fn sockets(evidence: &Evidence) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    let units = evidence.units.value().into_iter().flat_map(|units| &units.sockets);
    for (name, unit) in units.filter_map(|(name, unit)| Some((name, unit.value()?))) {
        let held = evidence.sockets.value().into_iter().flat_map(|sockets| sockets.listeners.values());
        for (index, listen) in unit.listens.iter().enumerate().filter(|(_, listen)| listen.protocol == "tcp") {
            let both = listen.addresses.iter().any(IpAddr::is_ipv6) && listen.addresses.iter().any(IpAddr::is_ipv4);
            let addresses = listen.addresses.iter().filter(|address| !both || address.is_ipv6());
            for address in addresses {
                let v6_only = address.is_ipv6() && !both;
                let binding = Binding {
                    v6_only,
                    reuse_port: unit.unit.is_yes("ReusePort"),
                    device: Some(unit.unit.setting("BindToDevice").to_owned()).filter(|device| !device.is_empty()),
                    ..Binding::new("tcp", *address, listen.port)
                };
                let by = Claimant::Socket { name, unit };
                let is_open = |listener: &Listener| {
                    let by_unit = listener.unit.value() == Some(name);
                    let by_pid =
                        listener.owners.value().is_some_and(|owners| owners.iter().any(|owner| owner.pid == 1));
                    listener.port == listen.port && listener.address == *address && (by_unit || by_pid)
                };
                let open = held.clone().any(is_open);
                let pointer =
                    view::pointer(["units", "value", "sockets", name, "value", "listens", &index.to_string()]);
                claims.push(Claim {
                    by,
                    binding,
                    at: &listen.at,
                    pointer,
                    start: socket_start(unit, open),
                    runs: Seen::Value(open),
                });
            }
        }
    }
    claims
}

fn socket_start(unit: &SocketUnit, open: bool) -> Start {
    match &unit.unit.enabled {
        _ if open => Start::Yes("systemd holds it open".to_owned()),
        _ if unit.unit.masked => Start::No,
        Seen::Value(link) => Start::Yes(format!("it is started with the machine ({link})")),
        Seen::Absent => Start::No,
        Seen::Unknown(blind) => Start::Unknown(blind.clone()),
    }
}

fn others(evidence: &Evidence) -> Vec<Claim<'_>> {
    let listeners = evidence.bystanders.value().into_iter().flat_map(|bystanders| &bystanders.listeners);
    listeners.map(|(key, asked)| of_other(key, asked)).collect()
}

fn of_other<'a>(key: &str, asked: &'a AskedListener) -> Claim<'a> {
    let binding = Binding {
        v6_only: asked.v6_only == Seen::Value(true),
        reuse_port: asked.reuse_port,
        ..Binding::new(&asked.protocol, asked.address, asked.port)
    };
    let start = match (&asked.at_boot, &asked.running) {
        (Seen::Value(link), _) => Start::Yes(format!("it is started with the machine ({link})")),
        (_, Seen::Value(true)) => Start::Yes("it runs".to_owned()),
        (Seen::Absent, Seen::Value(false) | Seen::Absent) => Start::No,
        (Seen::Unknown(blind), _) | (Seen::Absent, Seen::Unknown(blind)) => Start::Unknown(blind.clone()),
    };
    let pointer = view::pointer(["bystanders", "value", "listeners", key]);
    Claim { by: Claimant::Other(asked), binding, at: &asked.at, pointer, start, runs: asked.running.clone() }
}

/// The configuration of other software that asked for this listener.
pub fn asked_for<'a>(evidence: &'a Evidence, listener: &Listener) -> Option<Claim<'a>> {
    let mut claims = others(evidence).into_iter().chain(sockets(evidence));
    claims.find(|claim| claim.start != Start::No && claim.holds(evidence, listener))
}

/// `/etc/inetd.conf:12`, or the file alone where no line says so.
pub fn place_text(at: &FileLine) -> String {
    if at.line == 0 { at.file.clone() } else { at.to_string() }
}

/// Since when a listener's process lives, as `2026-05-01 08:13 UTC`.
pub fn since<'a>(evidence: &'a Evidence, listener: &Listener) -> Option<(i64, String)> {
    let processes = &evidence.processes.value()?.mail;
    let alive = |process: &'a Process| process.started_s.value().copied();
    let started = listener.owners.value()?.iter().filter_map(|owner| alive(processes.get(&owner.pid)?)).min()?;
    Some((started, moment(started)))
}

/// Seconds since 1970 as a date and a time of day.
fn moment(seconds: i64) -> String {
    let of_day = seconds.rem_euclid(86_400);
    format!("{} {:02}:{:02} UTC", date_of(seconds), of_day / 3600, of_day % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_to_the_minute() {
        assert_eq!(moment(1_777_644_000), "2026-05-01 14:00 UTC");
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
    }

    #[test]
    fn the_kernel_keeps_fifteen_bytes_of_a_name() {
        assert!(is_process_of("policyd-rate-limit", "policyd-rate-li"));
        assert!(is_process_of("docker", "docker-proxy") && !is_process_of("docker", "dock"));
    }
}
