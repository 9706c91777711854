//! amavis: `$inet_socket_port`, `$inet_socket_bind` and `@listen_sockets` of its Perl (amavisd-new, README.postfix).

use super::found::{Found, Line, host_and_port};
use super::perl;
use super::place::Place;
use mxray_model::Seen;
use std::collections::BTreeMap;

const WANTED: &[&str] = &["$inet_socket_port", "$inet_socket_bind", "@listen_sockets"];

pub(super) fn read(place: &Place) -> Seen<Found> {
    let mut files = place.matching("/usr/share/amavis/conf.d/*");
    files.extend(place.matching("/etc/amavis/conf.d/*"));
    // Debian's find_config_files takes names as run-parts(8) does, and leaves backups alone.
    files.retain(|file| name(file).chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    if files.is_empty() {
        files = ["/etc/amavisd/amavisd.conf", "/etc/amavisd.conf", "/etc/amavis/amavisd.conf"]
            .iter()
            .filter(|path| place.exists(path))
            .take(1)
            .map(|path| (*path).to_owned())
            .collect();
    }
    let mut variables = BTreeMap::new();
    let mut found = Found::default();
    let mut any = false;
    for file in &files {
        match place.text(file) {
            Seen::Value(text) => {
                any = true;
                perl::read(&text, file, WANTED, &mut variables);
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                found.puzzled(Line { service: "amavis", file, number: 0 }, &blind.why());
            }
        }
    }
    if !any && found.unread.is_empty() {
        return Seen::Absent;
    }
    listeners(place, &variables, &mut found);
    Seen::Value(found)
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn listeners(place: &Place, variables: &BTreeMap<String, perl::Set>, found: &mut Found) {
    let line = |set: &perl::Set| (set.file.clone(), set.line);
    for set in variables.values().filter(|set| set.items.is_none()) {
        let (file, number) = line(set);
        found.puzzled(Line { service: "amavis", file: &file, number }, "not a simple assignment");
    }
    // By default both loopback addresses (Amavis::Conf); none and an empty one are all addresses.
    let bind: Option<Vec<String>> = match variables.get("$inet_socket_bind") {
        None => {
            let six = place.machine.ipv6.then(|| "::1".to_owned());
            Some(std::iter::once("127.0.0.1".to_owned()).chain(six).collect())
        }
        Some(set) => set.items.clone().map(|items| if items.is_empty() { vec!["*".to_owned()] } else { items }),
    };
    for name in ["@listen_sockets", "$inet_socket_port"] {
        let Some(set) = variables.get(name) else { continue };
        let (file, number) = line(set);
        let line = Line { service: "amavis", file: &file, number };
        for item in set.items.iter().flatten() {
            one(place, line, item, bind.as_deref(), found);
        }
    }
}

/// A port, `inet:host:port`, `host:port`; a path is a UNIX socket.
fn one(place: &Place, line: Line<'_>, item: &str, bind: Option<&[String]>, found: &mut Found) {
    if item.is_empty() || item.starts_with('/') || item.starts_with("unix:") || item.ends_with("|unix") {
        return;
    }
    let text = item.strip_prefix("inet6:").or_else(|| item.strip_prefix("inet:")).unwrap_or(item);
    let text = text.strip_suffix("/tcp").unwrap_or(text);
    if let Some(port) = place.machine.port(text) {
        // Where the addresses are not known, the variable that sets them has been told.
        for host in bind.into_iter().flatten() {
            let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
            found.ask_host(place, line, host, port);
        }
        return;
    }
    match host_and_port(text).and_then(|(host, port)| Some((host, place.machine.port(port)?))) {
        Some((host, port)) => found.ask_host(place, line, host, port),
        None => found.puzzled(line, &format!("{item} is no socket that mxray knows")),
    }
}
