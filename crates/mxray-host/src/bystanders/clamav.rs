//! ClamAV: `TCPSocket` and `TCPAddr` of clamd.conf(5), `MilterSocket` of clamav-milter.conf(5).

use super::command::settings;
use super::found::{Found, Line};
use super::place::Place;
use crate::units::boot::Boot;
use mxray_model::Seen;

pub(super) fn read_clamd(place: &Place, boot: &Boot) -> Seen<Found> {
    let mut files = vec!["/etc/clamav/clamd.conf".to_owned(), "/etc/clamd.conf".to_owned()];
    files.extend(place.matching("/etc/clamd.d/*.conf"));
    // A clamd that systemd starts by its socket unit takes the sockets that it is given, and opens none.
    let by_systemd = boot.pulls_in("clamav-daemon.socket") || boot.pulls_in("clamd.socket");
    each(place, &files, "clamd", &|text, file, found| {
        if !by_systemd {
            clamd(place, text, file, found);
        }
    })
}

fn clamd(place: &Place, text: &str, file: &str, found: &mut Found) {
    let mut port = None;
    let mut hosts = Vec::new();
    for (name, value, number) in settings(text, &[' ', '\t']) {
        match name {
            "TCPSocket" => port = Some((value, number)),
            "TCPAddr" => hosts.push((value, number)),
            _ => {}
        }
    }
    let Some((port, number)) = port else { return };
    let line = Line { service: "clamd", file, number };
    let Some(port) = place.machine.port(port) else { return found.puzzled(line, &format!("{port}: not a port")) };
    if hosts.is_empty() {
        found.ask_host(place, line, "*", port);
    }
    for (host, number) in hosts {
        found.ask_host(place, Line { number, ..line }, host, port);
    }
}

pub(super) fn read_milter(place: &Place, _: &Boot) -> Seen<Found> {
    let files = ["/etc/clamav/clamav-milter.conf", "/etc/mail/clamav-milter.conf"].map(str::to_owned);
    each(place, &files, "clamav-milter", &|text, file, found| {
        for (name, value, number) in settings(text, &[' ', '\t']) {
            if name == "MilterSocket" {
                milter(place, Line { service: "clamav-milter", file, number }, value, found);
            }
        }
    })
}

/// `inet:port[@host]`, `inet6:port[@host]`, `tcp:port`; `unix:/path`, `local:/path` and a path are no ports
/// (libmilter's `smfi_setconn`).
pub(super) fn milter(place: &Place, line: Line<'_>, text: &str, found: &mut Found) {
    if text.starts_with('/') {
        return;
    }
    let Some((kind, rest)) = text.split_once(':') else {
        return found.puzzled(line, &format!("{text} is no socket that mxray knows"));
    };
    if matches!(kind, "unix" | "local") {
        return;
    }
    let (port, host) = rest.split_once('@').unwrap_or((rest, ""));
    let six = kind == "inet6";
    let Some(port) = place.machine.port(port).filter(|_| six || matches!(kind, "inet" | "tcp")) else {
        return found.puzzled(line, &format!("{text} is no socket that mxray knows"));
    };
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() { if six { "::" } else { "0.0.0.0" } } else { host };
    match place.addresses(host) {
        // The kind says the family, and of several addresses the first is taken.
        Some(addresses) => {
            if let Some(address) = addresses.into_iter().find(|address| address.is_ipv6() == six)
                && let Some(asked) = found.ask(line, address, port)
                && address.is_unspecified()
            {
                asked.v6_only = address.is_ipv6() && place.only_six;
            }
        }
        None => found.puzzled(line, &format!("the addresses of {host} are not known from files")),
    }
}

/// Reads those of the files that are there. `Absent`: none is.
pub(super) fn each(
    place: &Place,
    files: &[String],
    service: &str,
    read: &dyn Fn(&str, &str, &mut Found),
) -> Seen<Found> {
    let mut found = Found::default();
    let mut any = false;
    for file in files {
        match place.text(file) {
            Seen::Value(text) => {
                any = true;
                read(&text, file, &mut found);
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => {
                any = true;
                found.puzzled(Line { service, file, number: 0 }, &blind.why());
            }
        }
    }
    if any { Seen::Value(found) } else { Seen::Absent }
}
