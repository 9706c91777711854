//! The text of an assignments file, from evidence. What it says is what is; that it is what somebody wants, nobody knows yet,
//! so each entry says where its values came from.

use crate::ports::file;
use crate::ports::file::words::{TLS, V6};
use mxray_model::binding;
use mxray_model::evidence::{Evidence, Listener, Owner, PortRange, Server, Sockets, V6Policy, WantedListener};
use mxray_model::special::is_special;
use mxray_model::{Prefix, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

const HEAD: &str = "\
# Who has which port on this host: for people, for version control, and for `mxray ports audit`, which says where this host is
# not as it stands here. Written by `mxray ports init` from what listened then; what is wrong or missing, correct here.
# All keys: docs/manual/ports.md of mxray.
";

/// What the caller looked up besides.
#[derive(Debug, Default)]
pub struct Known {
    /// User names by id.
    pub users: BTreeMap<u32, String>,
    /// Packages of programs, by process.
    pub packages: BTreeMap<u32, String>,
}

/// Sockets of one owner on one port.
struct Group<'a> {
    protocol: &'a str,
    port: u16,
    owner: String,
    sockets: Vec<&'a Listener>,
}

/// The whole file.
pub fn written(evidence: &Evidence, sockets: &Sockets, known: &Known) -> String {
    let mut text = format!("{HEAD}\nversion = {}\n", file::VERSION);
    let mut names = BTreeSet::new();
    for group in groups(evidence, sockets) {
        text.push_str(&entry(evidence, known, &group, &mut names));
    }
    text.push_str("\n# Ports on which nothing may listen, such as mailboxes in clear:\n");
    text.push_str("# [[forbidden]]\n# port = 110\n# except = \"loopback\"\n# reason = \"passwords in clear\"\n");
    text
}

/// By protocol, port and owner, in this order. A UDP socket on a port that the kernel gave away is a client's.
fn groups<'a>(evidence: &Evidence, sockets: &'a Sockets) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(&str, u16, String), Vec<&Listener>> = BTreeMap::new();
    for listener in sockets.listeners.values() {
        if listener.protocol == "udp" && ephemeral(evidence, listener.port).is_some() {
            continue;
        }
        let owner = unit(evidence, listener).or_else(|| name(listener)).unwrap_or_default();
        groups.entry((&listener.protocol, listener.port, owner)).or_default().push(listener);
    }
    groups.into_iter().map(|((protocol, port, owner), sockets)| Group { protocol, port, owner, sockets }).collect()
}

fn ephemeral(evidence: &Evidence, port: u16) -> Option<PortRange> {
    binding::ephemeral(port, &evidence.kernel).value().copied()
}

fn owners(listener: &Listener) -> &[Owner] {
    listener.owners.value().map_or(&[], Vec::as_slice)
}

/// The service whose socket it is: of the processes that hold it, unless systemd alone holds it for one that is not started
/// yet. A scope (a session, a container) has another name the next time.
fn unit(evidence: &Evidence, listener: &Listener) -> Option<String> {
    let processes = evidence.processes.value();
    let of_process = |owner: &Owner| processes?.mail.get(&owner.pid)?.unit.value().cloned();
    let lasting = |unit: &String| unit.ends_with(".service") && !unit.starts_with("user@");
    let mut units = owners(listener).iter().filter(|owner| owner.pid != 1).filter_map(of_process);
    units.find(lasting).or_else(|| listener.unit.value().filter(|unit| lasting(unit)).cloned())
}

fn name(listener: &Listener) -> Option<String> {
    owners(listener).first().map(|owner| owner.name.clone())
}

/// The configured service that asks for such a socket.
fn configured<'a>(evidence: &'a Evidence, group: &Group<'_>) -> Option<(&'a str, &'a Server, &'a WantedListener)> {
    let servers = evidence.servers.value()?.iter().filter(|(_, server)| server.enabled && group.protocol == "tcp");
    let mut wanted =
        servers.flat_map(|(name, server)| server.wanted.values().map(move |wanted| (name, server, wanted)));
    // Somebody else may hold the port that it asks for.
    let is_its = |server: &Server| {
        let processes = evidence.processes.value();
        let is_own = |owner: &Owner| {
            let process = processes.and_then(|processes| processes.mail.get(&owner.pid));
            process.is_none_or(|process| {
                process.software != Seen::Absent && process.software != Seen::Value(String::new())
            }) || server.master.value().is_some_and(|master| master.pid == owner.pid)
        };
        group.sockets.iter().any(|listener| owners(listener).is_empty() || owners(listener).iter().any(is_own))
    };
    let found = wanted.find(|(_, server, wanted)| wanted.port == group.port && is_its(server))?;
    Some((found.0, found.1, found.2))
}

fn entry(evidence: &Evidence, known: &Known, group: &Group<'_>, names: &mut BTreeSet<String>) -> String {
    let configured = configured(evidence, group);
    let mut text = String::from("\n");
    let mut line = |line: String| text.push_str(&format!("{line}\n"));
    line(format!("# {}", seen(group)));
    line("[[service]]".to_owned());
    let wished = match configured {
        Some((instance, _, wanted)) => format!("{instance} {}", wanted.service),
        None => {
            let owner = group.owner.strip_suffix(".service").unwrap_or(&group.owner);
            let owner = if owner.is_empty() { "unknown" } else { owner };
            format!("{owner} {}/{}", group.port, group.protocol)
        }
    };
    line(format!("name = {}", quoted(&unique(&wished, names))));
    if group.protocol != "tcp" {
        line(format!("protocol = {}", quoted(group.protocol)));
    }
    match ephemeral(evidence, group.port) {
        None => line(format!("port = {}", group.port)),
        Some(range) => {
            line(
                "# In net.ipv4.ip_local_port_range, so it may have been chosen at its start. If it is always this one,"
                    .to_owned(),
            );
            line(format!("# reserve it (net.ipv4.ip_local_reserved_ports), and write: port = {}", group.port));
            let (first, last) = around(evidence, range, group.port);
            line(format!("dynamic = \"{first}-{last}\""));
        }
    }
    let addresses: BTreeSet<IpAddr> = group.sockets.iter().map(|listener| listener.address).collect();
    let addresses: Vec<String> = addresses.iter().map(|address| quoted(&address.to_string())).collect();
    line(format!("addresses = [{}]", addresses.join(", ")));
    if let Some(policy) = v6(group) {
        line(format!("v6 = {}", quoted(policy)));
    }
    line(format!(
        "exposure = {}  # by the address alone; a packet filter may say otherwise",
        quoted(exposure(evidence, group))
    ));
    if let Some((_, _, wanted)) = configured {
        let tls = TLS.iter().find(|(_, mode)| *mode == wanted.tls).map_or("none", |(word, _)| *word);
        line(format!("tls = {}  # {}", quoted(tls), wanted.at));
        line(format!("purpose = {}  # {}", quoted(wanted.purpose.as_str()), wanted.at));
    }
    if let Some(owner) = owner(evidence, known, group) {
        line(owner);
    }
    line("contact = \"\"".to_owned());
    text
}

/// What the kernel showed.
fn seen(group: &Group<'_>) -> String {
    let place = |listener: &&Listener| std::net::SocketAddr::new(listener.address, listener.port).to_string();
    let places: Vec<String> = group.sockets.iter().map(place).collect();
    let holders: BTreeSet<String> = group.sockets.iter().filter_map(|listener| name(listener)).collect();
    let mut text = format!("{} on {}", group.protocol, places.join(", "));
    if !holders.is_empty() {
        let holders: Vec<String> = holders.into_iter().collect();
        let _ = write!(text, ", held by {}", holders.join(", "));
    }
    text
}

fn unique(wished: &str, names: &mut BTreeSet<String>) -> String {
    let mut name = wished.to_owned();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{wished} ({number})");
    }
    name
}

/// The part of the range without reserved ports that the port stands in.
fn around(evidence: &Evidence, range: PortRange, port: u16) -> (u16, u16) {
    let reserved = evidence.kernel.reserved_ports.value().map_or(&[][..], Vec::as_slice);
    let below = reserved.iter().filter(|kept| kept.last < port).map(|kept| kept.last.saturating_add(1)).max();
    let above = reserved.iter().filter(|kept| kept.first > port).map(|kept| kept.first.saturating_sub(1)).min();
    (below.unwrap_or(0).max(range.first), above.unwrap_or(u16::MAX).min(range.last))
}

fn v6(group: &Group<'_>) -> Option<&'static str> {
    let of_v6 = |listener: &&Listener| matches!(listener.address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none());
    let wildcard = group.sockets.iter().find(|listener| of_v6(listener) && listener.is_wildcard());
    let policy = match wildcard.map(|listener| &listener.v6_only) {
        Some(Seen::Value(true)) => V6Policy::Separate,
        Some(Seen::Value(false)) => V6Policy::Dual,
        Some(_) => return None,
        None if group.sockets.iter().any(of_v6) => return None,
        None => V6Policy::None,
    };
    V6.iter().find(|(_, known)| *known == policy).map(|(word, _)| *word)
}

/// The widest of its sockets.
fn exposure(evidence: &Evidence, group: &Group<'_>) -> &'static str {
    let public: Vec<Prefix> =
        evidence.declared.public_prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
    let is_public =
        |address: IpAddr| public.iter().any(|prefix| prefix.contains(address)) || !is_special(address.to_canonical());
    if group.sockets.iter().all(|listener| listener.is_loopback()) {
        return "loopback";
    }
    let wide = |listener: &&Listener| listener.is_wildcard() || is_public(listener.address);
    if group.sockets.iter().any(wide) { "public" } else { "private" }
}

fn owner(evidence: &Evidence, known: &Known, group: &Group<'_>) -> Option<String> {
    let first = *group.sockets.first()?;
    let user = known.users.get(&first.uid).cloned().unwrap_or_else(|| first.uid.to_string());
    let one_user = group.sockets.iter().all(|listener| listener.uid == first.uid);
    let packages: BTreeSet<&String> = group
        .sockets
        .iter()
        .flat_map(|listener| owners(listener))
        .filter(|owner| owner.pid != 1)
        .filter_map(|owner| known.packages.get(&owner.pid))
        .collect();
    let mut parts = Vec::new();
    let mut from = Vec::new();
    if let Some(unit) = group.sockets.iter().find_map(|listener| unit(evidence, listener)) {
        parts.push(format!("unit = {}", quoted(&unit)));
        from.push("its cgroup");
    }
    if one_user {
        parts.push(format!("user = {}", quoted(&user)));
        from.push("the user that opened the socket");
    }
    if let (Some(package), 1) = (packages.first(), packages.len()) {
        parts.push(format!("package = {}", quoted(package)));
        from.push("dpkg's list of its files");
    }
    (!parts.is_empty()).then(|| format!("owner = {{ {} }}  # {}", parts.join(", "), from.join(", ")))
}

/// A basic string of TOML. The text has gone through `untrusted`, which leaves nothing that steers.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => _ = write!(out, "\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
