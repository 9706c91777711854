//! From evidence to facts about ports: what each configuration asks for, and what starts it. Pure.

use super::decide::CONFIGURATION;
use super::facts::Asked;
use super::wish::stem;
use mxray_model::binding::Binding;
use mxray_model::evidence::{AskedListener, Evidence, Server, SocketUnit, Units, WantedListener};
use mxray_model::{Blind, Seen, Unseen};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What all configuration asks for, by port.
pub fn asked(evidence: &Evidence) -> BTreeMap<u16, Vec<Asked>> {
    let mut found: BTreeMap<u16, Vec<Asked>> = BTreeMap::new();
    let mut keep = |asked: Asked| found.entry(asked.binding.port).or_default().push(asked);
    for (name, server) in evidence.servers.value().into_iter().flatten() {
        let at_boot = starts(server, &evidence.units);
        for (key, wanted) in &server.wanted {
            for address in &wanted.addresses {
                keep(of_server(name, server, key, wanted, *address, &at_boot));
            }
        }
    }
    let units = evidence.units.value().into_iter().flat_map(|units| &units.sockets);
    for (name, unit) in units.filter_map(|(name, unit)| Some((name, unit.value()?))).filter(|(_, u)| !u.unit.masked) {
        for asked in of_socket_unit(name, unit) {
            keep(asked);
        }
    }
    for listener in evidence.bystanders.value().into_iter().flat_map(|all| all.listeners.values()) {
        keep(of_bystander(listener));
    }
    found
}

fn of_server(
    name: &str,
    server: &Server,
    key: &str,
    wanted: &WantedListener,
    address: IpAddr,
    at_boot: &Seen<String>,
) -> Asked {
    let four_too = wanted.addresses.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    // Postfix, Dovecot and OpenSMTPD open an IPv6 socket that refuses IPv4; Exim and sendmail where they open both.
    let separate = matches!(server.software.as_str(), "postfix" | "dovecot" | "opensmtpd") || four_too;
    let v6_only = address.is_ipv6() && separate;
    Asked {
        software: name.to_owned(),
        service: key.to_owned(),
        binding: Binding { v6_only, ..Binding::new("tcp", address, wanted.port) },
        unit: server.unit.value().map_or_else(String::new, |unit| unit.unit.clone()),
        at_boot: if server.enabled { at_boot.clone() } else { Seen::Absent },
        running: match &server.master {
            Seen::Value(_) => Seen::Value(true),
            Seen::Absent => Seen::Value(false),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        },
        by_dnat: false,
        from_documentation: false,
        at: wanted.at.clone(),
    }
}

/// What starts a mail server at boot: one of the units that packages give it.
fn starts(server: &Server, units: &Seen<Units>) -> Seen<String> {
    let units = match units {
        Seen::Value(units) => units,
        Seen::Absent => return Seen::not_attempted("systemd does not start services here, and nothing else is asked"),
        Seen::Unknown(blind) => return Seen::Unknown(blind.clone()),
    };
    let names: &[&str] = match server.software.as_str() {
        "exim" => &["exim", "exim4"],
        "opensmtpd" => &["opensmtpd", "smtpd"],
        other => &[other],
    };
    let own = units.services.iter().filter(|(unit, _)| {
        let head = stem(unit).split('@').next().unwrap_or(unit);
        names.contains(&head)
    });
    let mut answer = Seen::Absent;
    for (name, unit) in own {
        match unit.as_ref().map(|unit| (unit.masked, &unit.enabled)) {
            Seen::Value((true, _)) | Seen::Absent => {}
            Seen::Value((false, Seen::Value(link))) => return Seen::Value(format!("{name}, {link}")),
            Seen::Value((false, Seen::Absent)) => {}
            Seen::Value((false, Seen::Unknown(blind))) => answer = Seen::Unknown(blind.clone()),
            Seen::Unknown(blind) => answer = Seen::Unknown(blind),
        }
    }
    answer
}

fn of_socket_unit(name: &str, unit: &SocketUnit) -> Vec<Asked> {
    let mut found = Vec::new();
    for listen in unit.listens.iter().filter(|listen| listen.port != 0) {
        let wildcard = |address: &&IpAddr| address.is_ipv6() && address.is_unspecified();
        let both = listen.addresses.iter().any(|address| wildcard(&address))
            && listen.addresses.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        // One socket for both families stands as two addresses.
        let bound = listen.addresses.iter().filter(|address| !(both && address.is_ipv4()));
        for address in bound {
            let v6_only = address.is_ipv6() && address.is_unspecified() && !both;
            let reuse_port = unit.unit.is_yes("ReusePort");
            let device = Some(unit.unit.setting("BindToDevice")).filter(|device| !device.is_empty()).map(str::to_owned);
            found.push(Asked {
                software: "systemd".to_owned(),
                service: unit.service.clone(),
                binding: Binding {
                    v6_only,
                    reuse_port,
                    device,
                    ..Binding::new(&listen.protocol, *address, listen.port)
                },
                unit: name.to_owned(),
                at_boot: unit.unit.enabled.clone(),
                running: Seen::Value(false),
                by_dnat: false,
                from_documentation: false,
                at: listen.at.clone(),
            });
        }
    }
    found
}

fn of_bystander(listener: &AskedListener) -> Asked {
    Asked {
        software: listener.software.clone(),
        service: listener.service.clone(),
        binding: Binding {
            v6_only: listener.v6_only == Seen::Value(true),
            reuse_port: listener.reuse_port,
            ..Binding::new(&listener.protocol, listener.address, listener.port)
        },
        unit: listener.unit.clone(),
        at_boot: listener.at_boot.clone(),
        running: listener.running.clone(),
        by_dnat: listener.by_dnat,
        from_documentation: listener.from_documentation,
        at: listener.at.clone(),
    }
}

/// Configuration that could ask for a port and was not read.
pub fn unseen(evidence: &Evidence) -> Vec<Unseen> {
    let mut found = Vec::new();
    let mut tell = |what: String, blind: &Blind| {
        found.push(Unseen { what: format!("{CONFIGURATION}{what}"), why: blind.why(), needs: blind.needs() });
    };
    for (software, blind) in &evidence.unread {
        tell(software.clone(), blind);
    }
    if let (Seen::Unknown(blind), true) = (&evidence.servers, evidence.unread.is_empty()) {
        tell("mail servers".to_owned(), blind);
    }
    match &evidence.units {
        Seen::Unknown(blind) => tell("systemd's units".to_owned(), blind),
        Seen::Value(units) => {
            for (name, unit) in &units.sockets {
                if let Seen::Unknown(blind) = unit {
                    tell(name.clone(), blind);
                }
            }
        }
        Seen::Absent => {}
    }
    match &evidence.bystanders {
        Seen::Unknown(blind) => tell("software besides mail servers".to_owned(), blind),
        Seen::Value(bystanders) => {
            for (software, problem) in &bystanders.unread {
                let text = format!("{}: {}", problem.at, problem.text);
                tell(software.clone(), &Blind::NotAttempted { why: text });
            }
        }
        Seen::Absent => {}
    }
    for (name, other) in &evidence.others {
        // One that runs and holds nothing here is in another network namespace, or only sends.
        if !other.listeners.is_empty() || other.running.blind().is_some() {
            let why = format!("mxray does not read it ({})", other.found);
            tell(name.clone(), &Blind::NotAttempted { why });
        }
    }
    found
}
