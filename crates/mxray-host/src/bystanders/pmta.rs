//! PowerMTA: `smtp-listener` and `http-mgmt-port` of /etc/pmta/config. Read from its documentation alone, never tried with it.

use super::found::{Found, Line, host_and_port, number};
use super::place::Place;
use mxray_model::Seen;

const FILE: &str = "/etc/pmta/config";
const FILES_MAX: usize = 200;
const LINES_MAX: usize = 200_000;

pub(super) fn read(place: &Place) -> Seen<Found> {
    let mut found = Found::default();
    let mut waiting = vec![FILE.to_owned()];
    let mut seen = 0;
    while let Some(file) = waiting.pop() {
        seen += 1;
        if seen > FILES_MAX {
            found.puzzled(Line { service: "powermta", file: &file, number: 0 }, "too many files");
            break;
        }
        match place.text(&file) {
            Seen::Value(text) => waiting.extend(parse(place, &text, &file, &mut found)),
            Seen::Absent if file == FILE => return Seen::Absent,
            Seen::Absent => {}
            Seen::Unknown(blind) if file == FILE => return Seen::Unknown(blind),
            Seen::Unknown(blind) => found.puzzled(Line { service: "powermta", file: &file, number: 0 }, &blind.why()),
        }
    }
    Seen::Value(found)
}

/// Gives the files that it includes.
pub(super) fn parse(place: &Place, text: &str, file: &str, found: &mut Found) -> Vec<String> {
    let mut included = Vec::new();
    for (index, line) in text.lines().take(LINES_MAX).enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        // `<smtp-listener 192.0.2.1:25>` opens a block with options of that listener.
        let line = line.strip_prefix('<').map_or(line, |rest| rest.trim_end_matches('>'));
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let service = Line { service: name, file, number: number(index) };
        match name.to_ascii_lowercase().as_str() {
            "smtp-listener" => listener(place, service, value, found),
            "http-mgmt-port" => match place.machine.port(value) {
                Some(port) => found.ask_host(place, service, "0.0.0.0", port),
                None => found.puzzled(service, &format!("{value}: not a port")),
            },
            "include" if value.starts_with('/') && included.len() < FILES_MAX => included.push(value.to_owned()),
            _ => {}
        }
    }
    included
}

/// `0/0:25` is every IPv4 address.
fn listener(place: &Place, line: Line<'_>, value: &str, found: &mut Found) {
    let spec = host_and_port(value).and_then(|(host, port)| Some((host, place.machine.port(port)?)));
    match spec {
        Some(("0/0" | "0.0.0.0/0", port)) => found.ask_host(place, line, "0.0.0.0", port),
        Some(("::/0", port)) => found.ask_host(place, line, "::", port),
        Some((host, port)) => found.ask_host(place, line, host, port),
        None => found.puzzled(line, &format!("{value} is no address with a port")),
    }
}
