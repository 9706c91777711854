//! What systemd's units say of a server: switched off while another serves its ports, or started only when somebody
//! comes. Neither is a server that ought to run and does not.

use mxray_model::evidence::{Listener, Server, SocketUnit, Unit, Units};
use mxray_model::{Evidence, Seen, Unseen};
use std::borrow::Cow;

/// Evidence as the rules judge it: a server that was given up for another one is left out.
///
/// Borrowed where there is none, which is nearly always.
pub fn in_charge(evidence: &Evidence) -> Cow<'_, Evidence> {
    let Some(servers) = evidence.servers.value() else { return Cow::Borrowed(evidence) };
    let retired: Vec<&String> = servers
        .iter()
        .filter(|(_, server)| retired(evidence, server).is_some())
        .map(|(instance, _)| instance)
        .collect();
    if retired.is_empty() {
        return Cow::Borrowed(evidence);
    }
    let mut judged = evidence.clone();
    if let Seen::Value(servers) = &mut judged.servers {
        servers.retain(|instance, _| !retired.contains(&instance));
    }
    Cow::Owned(judged)
}

/// What a report says of the servers that were given up.
pub fn notes(evidence: &Evidence) -> Vec<Unseen> {
    let servers = evidence.servers.value().into_iter().flatten();
    let note = |(instance, server): (&String, &Server)| {
        Some(Unseen {
            what: format!("{instance} ({})", server.config_dir),
            why: format!("not examined: {}", retired(evidence, server)?),
            needs: String::new(),
        })
    };
    servers.filter_map(note).collect()
}

/// Why this server is taken for one that was given up: nothing starts it, it does not run, and another program serves a
/// port of its. `None`: it is in charge, or nothing says otherwise.
///
/// A masked unit says so by itself; one that is merely not enabled may have been forgotten, so that there the other one
/// has to be mail software, or a container.
fn retired(evidence: &Evidence, server: &Server) -> Option<String> {
    let units = evidence.units.value()?;
    if !server.enabled || !server.master.is_absent() {
        return None;
    }
    let own: Vec<(&str, &Unit)> = main_units(&server.software)
        .iter()
        .filter_map(|name| Some((*name, units.services.get(*name)?.value()?)))
        .collect();
    let off = |unit: &Unit| unit.masked || unit.enabled.is_absent();
    if own.is_empty() || !own.iter().all(|(_, unit)| off(unit)) || activates(units, server).next().is_some() {
        return None;
    }
    let masked = own.iter().all(|(_, unit)| unit.masked);
    let sockets = evidence.sockets.value()?;
    let (_, held) = sockets.listeners.iter().find(|(key, listener)| {
        let asked = server.wanted.values().any(|wanted| wanted.port == listener.port && !wanted.is_loopback_only());
        asked && listener.protocol == "tcp" && takes_over(evidence, server, (key, listener), masked)
    })?;
    let (name, unit) = own.first()?;
    let how = if unit.masked { "is masked" } else { "is not enabled" };
    Some(format!("{name} {how} ({}), it does not run, and {} serves port {}", unit.file, holder(held), held.port))
}

fn holder(listener: &Listener) -> String {
    let owner = listener.owners.value().and_then(|owners| owners.first());
    owner.map_or_else(
        || listener.unit.value().cloned().unwrap_or_else(|| "another program".to_owned()),
        |owner| format!("{} (process {})", owner.name, owner.pid),
    )
}

/// Does somebody else serve mail here in its place?
fn takes_over(evidence: &Evidence, server: &Server, (key, listener): (&String, &Listener), masked: bool) -> bool {
    const ENGINES: [&str; 4] = ["docker.service", "containerd.service", "podman.service", "crio.service"];
    const PROXIES: [&str; 4] = ["docker-proxy", "rootlessport", "slirp4netns", "pasta"];
    let processes = evidence.processes.value();
    let owners = listener.owners.value().into_iter().flatten();
    let mut software = owners.clone().filter_map(|owner| processes?.mail.get(&owner.pid)?.software.value());
    // A worker of its own that outlived it is no successor.
    if software.clone().any(|software| *software == server.software) {
        return false;
    }
    let in_container = listener.unit.value().is_some_and(|unit| unit.contains(':') || ENGINES.contains(&unit.as_str()));
    masked
        || in_container
        || software.next().is_some()
        || owners.clone().any(|owner| PROXIES.contains(&owner.name.as_str()))
        || evidence.others.values().any(|other| other.listeners.contains(key))
}

/// The units that start a software as a whole.
pub fn main_units(software: &str) -> &'static [&'static str] {
    match software {
        "dovecot" => &["dovecot.service"],
        "exim" => &["exim4.service", "exim.service"],
        "opensmtpd" => &["opensmtpd.service", "smtpd.service"],
        "postfix" => &["postfix.service"],
        "sendmail" => &["sendmail.service"],
        _ => &[],
    }
}

/// The main unit of a server that is masked, and the file that masks it.
pub fn masked<'a>(evidence: &'a Evidence, server: &Server) -> Option<(&'a str, &'a Unit)> {
    let units = evidence.units.value()?;
    main_units(&server.software).iter().find_map(|name| {
        let (name, unit) = units.services.get_key_value(*name)?;
        let unit = unit.value().filter(|unit| unit.masked)?;
        Some((name.as_str(), unit))
    })
}

/// `smtp` of `smtp@.service`
fn stem(name: &str) -> &str {
    name.split(['@', '.']).next().unwrap_or(name)
}

/// Is this a unit of this software, `postfix@-.service` of `postfix`?
pub fn belongs_to(unit: &str, software: &str) -> bool {
    main_units(software).iter().any(|main| stem(main) == stem(unit))
}

/// Socket units that start this server, or a process of it for each connection.
fn activates<'a>(units: &'a Units, server: &'a Server) -> impl Iterator<Item = (&'a String, &'a SocketUnit)> {
    let is_its = move |socket: &&SocketUnit| !socket.unit.masked && belongs_to(&socket.service, &server.software);
    let seen = units.sockets.iter().filter_map(|(name, socket)| Some((name, socket.value()?)));
    seen.filter(move |(_, socket)| is_its(socket))
}

/// The socket unit of this server by which systemd holds a listener.
pub fn holds<'a>(evidence: &'a Evidence, server: &'a Server, listener: &Listener) -> Option<&'a String> {
    let by_systemd = match &listener.owners {
        Seen::Value(owners) => owners.iter().any(|owner| owner.pid == 1),
        // systemd opens sockets as root, before any user is set.
        Seen::Absent | Seen::Unknown(_) => listener.uid == 0,
    };
    let opens = |socket: &SocketUnit| {
        socket.listens.iter().any(|listen| listen.protocol == listener.protocol && listen.port == listener.port)
    };
    let mut units = activates(evidence.units.value()?, server).filter(|(_, socket)| opens(socket));
    units.find(|(name, _)| by_systemd || listener.unit.value() == Some(*name)).map(|(name, _)| name)
}

/// The socket unit that has systemd open a TCP port.
pub fn opens(evidence: &Evidence, port: u16) -> Option<(&String, &SocketUnit)> {
    let seen = evidence.units.value()?.sockets.iter().filter_map(|(name, socket)| Some((name, socket.value()?)));
    let in_effect = |socket: &SocketUnit| !socket.unit.masked && !socket.unit.enabled.is_absent();
    let mut found: Vec<_> = seen
        .filter(|(_, socket)| socket.listens.iter().any(|listen| listen.protocol == "tcp" && listen.port == port))
        .collect();
    // One that nothing pulls in may have been started by hand.
    found.sort_by_key(|(_, socket)| !in_effect(socket));
    found.into_iter().next()
}

/// The socket unit that starts this server when somebody connects, with a listener to show for it.
pub fn waits_for_a_client<'a>(evidence: &'a Evidence, server: &'a Server) -> Option<&'a String> {
    evidence.sockets.value()?.listeners.values().find_map(|listener| holds(evidence, server, listener))
}
