//! PostSRSd: up to 1.x two ports in /etc/default/postsrsd, from 2.x `socketmap` and `milter` of /etc/postsrsd.conf.

use super::clamav::each;
use super::command::settings;
use super::found::{Found, Line};
use super::place::Place;
use super::shell::{self, Variables};
use crate::units::boot::Boot;
use mxray_model::Seen;

const LAUNCHER: &str = "/usr/share/postsrsd/postsrsd-systemd-launcher";
const DEFAULTS: &str = "/etc/default/postsrsd";

pub(super) fn read(place: &Place, _: &Boot) -> Seen<Found> {
    // The launcher is 1.x's own; an upgraded host may have both files.
    if !place.exists(LAUNCHER) && place.exists("/etc/postsrsd.conf") {
        return each(place, &["/etc/postsrsd.conf".to_owned()], "postsrsd", &|text, file, found| {
            two(place, text, file, found);
        });
    }
    one(place)
}

/// The launcher sets what the package's file may set anew.
fn one(place: &Place) -> Seen<Found> {
    let mut variables = Variables::new();
    let mut any = false;
    for file in [LAUNCHER, DEFAULTS] {
        if let Seen::Value(text) = place.text(file) {
            any = true;
            shell::read(&text, file, &mut variables);
        }
    }
    if !any {
        return Seen::Absent;
    }
    let mut found = Found::default();
    let variable = |name: &str, usual: &str| {
        let (value, file, line) =
            variables.get(name).cloned().unwrap_or((Some(usual.to_owned()), DEFAULTS.to_owned(), 0));
        (value, file, line)
    };
    let (address, address_file, address_line) = variable("SRS_LISTEN_ADDR", "127.0.0.1");
    let Some(address) = address else {
        let line = Line { service: "postsrsd", file: &address_file, number: address_line };
        found.puzzled(line, "SRS_LISTEN_ADDR is set in a way that is not understood");
        return Seen::Value(found);
    };
    for (name, usual) in [("SRS_FORWARD_PORT", "10001"), ("SRS_REVERSE_PORT", "10002")] {
        let (port, file, number) = variable(name, usual);
        let line = Line { service: name, file: &file, number };
        match port.and_then(|port| place.machine.port(&port)) {
            Some(port) => found.ask_host(place, line, &address, port),
            None => found.puzzled(line, &format!("{name} is set in a way that is not understood")),
        }
    }
    Seen::Value(found)
}

/// `socketmap = inet:localhost:10003` (postsrsd.conf of 2.x); `unix:` is the default.
fn two(place: &Place, text: &str, file: &str, found: &mut Found) {
    for (name, value, number) in settings(text, &['=']) {
        if !matches!(name, "socketmap" | "milter") {
            continue;
        }
        let line = Line { service: name, file, number };
        let value = value.split('#').next().unwrap_or_default().trim().trim_matches('"');
        if value.is_empty() || value.starts_with("unix:") {
            continue;
        }
        let spec = value.strip_prefix("inet:").and_then(super::found::host_and_port);
        match spec.and_then(|(host, port)| Some((host, place.machine.port(port)?))) {
            Some((host, port)) => found.ask_host(place, line, host, port),
            None => found.puzzled(line, &format!("{value} is no socket that mxray knows")),
        }
    }
}
