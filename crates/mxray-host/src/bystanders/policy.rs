//! Policy services and filters beside the mail server: postgrey, policyd-rate-limit, policyd-weight, postfwd, cluebringer,
//! spampd, clamsmtp. One that the mail server starts itself (policyd-spf in master.cf) has no port.

use super::clamav::each;
use super::command::{self, CommandLine, Word, settings};
use super::found::{Found, Line, host_and_port};
use super::perl;
use super::place::Place;
use super::yaml::{self, Value};
use crate::units::boot::Boot;
use mxray_model::Seen;
use mxray_model::evidence::FileLine;
use std::collections::BTreeMap;

fn puzzles(command: &CommandLine, service: &str, found: &mut Found) {
    for (name, at) in &command.puzzling {
        let line = Line { service, file: &at.file, number: at.line };
        found.puzzled(line, &format!("{name} is set in a way that is not understood"));
    }
}

/// `--inet=[HOST:]PORT`; a port alone is localhost's (postgrey(8)).
pub(super) fn postgrey(place: &Place, boot: &Boot) -> Seen<Found> {
    let files = ["/etc/default/postgrey", "/etc/sysconfig/postgrey"];
    let file = files.into_iter().find(|file| place.exists(file)).unwrap_or("/etc/default/postgrey");
    let command = command::line(place, boot, &["postgrey.service"], "postgrey $POSTGREY_OPTS", &[file]);
    let mut found = Found::default();
    puzzles(&command, "postgrey", &mut found);
    for word in command.values(&["inet"], Some('i')) {
        let line = Line { service: "postgrey", file: &word.at.file, number: word.at.line };
        let (host, port) = host_and_port(&word.text).unwrap_or(("localhost", &word.text));
        match place.machine.port(port) {
            Some(port) => found.ask_host(place, line, host, port),
            None => found.puzzled(line, &format!("{} is no socket that mxray knows", word.text)),
        }
    }
    Seen::Value(found)
}

/// `SOCKET`: a path, or an address and a port (policyd-rate-limit.yaml(5)).
pub(super) fn rate_limit(place: &Place, _: &Boot) -> Seen<Found> {
    each(place, &["/etc/policyd-rate-limit.yaml".to_owned()], "policyd-rate-limit", &|text, file, found| {
        let line = |number| Line { service: "policyd-rate-limit", file, number };
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err((number, why)) => return found.puzzled(line(number), &why),
        };
        let Some(socket) = root.get("SOCKET") else { return };
        match &socket.value {
            Value::Text(_) => {}
            Value::List(items) => {
                let texts: Vec<&str> = items.iter().filter_map(|item| item.text()).collect();
                match *texts.as_slice() {
                    [host, port] if place.machine.port(port).is_some() => {
                        let port = place.machine.port(port).unwrap_or_default();
                        found.ask_host(place, line(socket.line), host, port);
                    }
                    _ => found.puzzled(line(socket.line), "SOCKET is no pair of address and port"),
                }
            }
            Value::Map(_) => found.puzzled(line(socket.line), "SOCKET is no pair of address and port"),
        }
    })
}

/// `$TCP_PORT` and `$BIND_ADDRESS` (policyd-weight.conf(5)); without a file, 12525 on 127.0.0.1.
pub(super) fn weight(place: &Place, _: &Boot) -> Seen<Found> {
    const FILE: &str = "/etc/policyd-weight.conf";
    let mut found = Found::default();
    let mut variables = BTreeMap::new();
    match place.text(FILE) {
        Seen::Value(text) => perl::read(&text, FILE, &["$TCP_PORT", "$BIND_ADDRESS"], &mut variables),
        Seen::Absent => {}
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    }
    let value = |name: &str, usual: &str| match variables.get(name) {
        Some(set) => (set.items.clone().and_then(|items| items.first().cloned()), set.line),
        None => (Some(usual.to_owned()), 0),
    };
    let (port, number) = value("$TCP_PORT", "12525");
    let (host, host_line) = value("$BIND_ADDRESS", "127.0.0.1");
    let line = |number| Line { service: "policyd-weight", file: FILE, number };
    match (port.and_then(|port| place.machine.port(&port)), host) {
        (Some(port), Some(host)) => {
            let host = if host.trim().eq_ignore_ascii_case("all") { "0.0.0.0" } else { host.trim() };
            found.ask_host(place, line(number.max(host_line)), host, port);
        }
        (None, _) => found.puzzled(line(number), "the port is set in a way that is not understood"),
        (_, None) => found.puzzled(line(host_line), "the address is set in a way that is not understood"),
    }
    Seen::Value(found)
}

/// `--interface` and `--port` (postfwd(8)): 127.0.0.1 and 10040.
pub(super) fn postfwd(place: &Place, boot: &Boot) -> Seen<Found> {
    let usual = "postfwd $ARGS --interface ${INET} --port ${PORT}";
    let command = command::line(place, boot, &["postfwd.service"], usual, &["/etc/default/postfwd"]);
    let mut found = Found::default();
    puzzles(&command, "postfwd", &mut found);
    if found.unread.is_empty() {
        host_and_port_options(place, &command, ("postfwd", "127.0.0.1", "10040"), "/etc/default/postfwd", &mut found);
    }
    Seen::Value(found)
}

fn host_and_port_options(
    place: &Place,
    command: &CommandLine,
    (service, host, port): (&str, &str, &str),
    file: &str,
    found: &mut Found,
) {
    let unset = |text: &str| Word {
        text: text.to_owned(),
        at: command.at.clone().unwrap_or_else(|| FileLine { file: file.to_owned(), line: 0 }),
    };
    let last = |long: &[&str], short, usual| {
        let given = command.values(long, short).into_iter().rev().find(|word| !word.text.is_empty());
        given.unwrap_or_else(|| unset(usual))
    };
    let host = last(&["interface", "host"], Some('i'), host);
    let port = last(&["port"], Some('p'), port);
    let line = Line { service, file: &port.at.file, number: port.at.line };
    match place.machine.port(&port.text) {
        Some(port) => found.ask_host(place, line, &host.text, port),
        None => found.puzzled(line, &format!("{}: not a port", port.text)),
    }
}

/// `LISTENHOST` and `LISTENPORT`, which Debian's unit makes the command line of (spampd(1)): 127.0.0.1 and 10025.
pub(super) fn spampd(place: &Place, boot: &Boot) -> Seen<Found> {
    const FILE: &str = "/etc/default/spampd";
    let usual = "spampd --host=${LISTENHOST} --port=${LISTENPORT} $ADDOPTS";
    let own = boot.command(&["spampd.service"]);
    let made = own.value().is_none_or(|command| command.text.contains("SPAMPD_ARGS"));
    let services: &[&str] = if made { &[] } else { &["spampd.service"] };
    let command = command::line(place, boot, services, usual, &[FILE]);
    let mut found = Found::default();
    puzzles(&command, "spampd", &mut found);
    if found.unread.is_empty() {
        host_and_port_options(place, &command, ("spampd", "127.0.0.1", "10025"), FILE, &mut found);
    }
    Seen::Value(found)
}

/// `Listen:` (clamsmtpd.conf(5)): all local addresses on port 10025.
pub(super) fn clamsmtp(place: &Place, _: &Boot) -> Seen<Found> {
    each(place, &["/etc/clamsmtpd.conf".to_owned()], "clamsmtp", &|text, file, found| {
        let listen = settings(text, &[':']).filter(|(name, ..)| name.eq_ignore_ascii_case("Listen")).last();
        let (value, number) = listen.map_or(("10025", 0), |(_, value, number)| (value, number));
        let line = Line { service: "clamsmtp", file, number };
        if value.starts_with('/') || value.starts_with("unix:") {
            return;
        }
        let value = value.strip_prefix("inet:").unwrap_or(value);
        let (host, port) = host_and_port(value).unwrap_or(("0.0.0.0", value));
        match place.machine.port(port) {
            Some(port) => found.ask_host(place, line, host, port),
            None => found.puzzled(line, &format!("{value} is no socket that mxray knows")),
        }
    })
}

/// `[server]` with `host` and `port`: all addresses and 10031 (cluebringer.conf, from its documentation).
pub(super) fn cluebringer(place: &Place, _: &Boot) -> Seen<Found> {
    let files = ["/etc/cluebringer/cluebringer.conf", "/etc/policyd/cluebringer.conf", "/etc/policyd/policyd.conf"];
    each(place, &files.map(str::to_owned), "cluebringer", &|text, file, found| {
        let mut section = String::new();
        let (mut host, mut port) = (("*".to_owned(), 0), ("10031".to_owned(), 0));
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim().to_ascii_lowercase();
            } else if let Some((name, value)) = line.split_once('=').filter(|_| section == "server") {
                let value = (value.trim().to_owned(), super::found::number(index));
                match name.trim() {
                    "host" => host = value,
                    "port" => port = value,
                    _ => {}
                }
            }
        }
        let line = Line { service: "cluebringer", file, number: port.1.max(host.1) };
        match place.machine.port(&port.0) {
            Some(port) => found.ask_host(place, line, if host.0 == "*" { "0.0.0.0" } else { &host.0 }, port),
            None => found.puzzled(line, &format!("{}: not a port", port.0)),
        }
    })
}
