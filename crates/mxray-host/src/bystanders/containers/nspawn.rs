//! systemd-nspawn: `Port=` of `.nspawn` files (systemd.nspawn(5)), which leads a port of this host into a container by DNAT.

use super::super::found::{Found, Line};
use super::super::place::Place;
use super::publish::{self, Published};
use crate::units;
use mxray_model::Seen;

/// In the order of preference: the first that has a file for a machine counts.
const DIRECTORIES: &[&str] = &["/etc/systemd/nspawn", "/run/systemd/nspawn", "/var/lib/machines"];
const FILES_MAX: usize = 500;

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub file: String,
    pub name: String,
    pub published: Vec<(Published, u32)>,
}

pub(super) fn read(place: &Place, found: &mut Found) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    let files = DIRECTORIES.iter().flat_map(|directory| place.matching(&format!("{directory}/*.nspawn")));
    for file in files.take(FILES_MAX) {
        let text = match place.text(&file) {
            Seen::Value(text) => text,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                found.puzzled(Line { service: "nspawn", file: &file, number: 0 }, &blind.why());
                continue;
            }
        };
        let machine = parse(&file, text.into_bytes(), found);
        if !machines.iter().any(|known| known.name == machine.name) {
            machines.push(machine);
        }
    }
    machines.retain(|machine| !machine.published.is_empty());
    machines
}

pub(super) fn parse(file: &str, text: Vec<u8>, found: &mut Found) -> Machine {
    let name = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".nspawn").to_owned();
    let mut machine = Machine { file: file.to_owned(), name, published: Vec::new() };
    for line in units::assignments(&[(file.to_owned(), text)]) {
        match (line.section.as_str(), line.key.as_str()) {
            ("Network", "Port") if line.value.is_empty() => machine.published.clear(),
            ("Network", "Port") => match port(&line.value) {
                Some(published) => machine.published.push((published, line.line)),
                None => {
                    let told = Line { service: &machine.name, file, number: line.line };
                    found.puzzled(told, &format!("{} is no port that mxray knows", line.value));
                }
            },
            _ => {}
        }
    }
    machine
}

/// `[tcp:|udp:]HOST[:CONTAINER]`
fn port(text: &str) -> Option<Published> {
    let (udp, rest) = match text.split_once(':') {
        Some(("tcp", rest)) => (false, rest),
        Some(("udp", rest)) => (true, rest),
        _ => (false, text),
    };
    let (host, container) = rest.split_once(':').unwrap_or((rest, rest));
    let (first, last) = publish::range(host)?;
    publish::range(container)?;
    (first == last).then(|| Published { address: None, ports: vec![first], udp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_with_and_without_their_parts() {
        let mut found = Found::default();
        let text =
            "[Exec]\nBoot=yes\n[Network]\nVirtualEthernet=yes\nPort=tcp:25:2525\nPort=587\nPort=udp:53\nPort=smtp\n";
        let machine = parse("/etc/systemd/nspawn/mail.nspawn", text.as_bytes().to_vec(), &mut found);
        let ports: Vec<(u16, bool, u32)> =
            machine.published.iter().map(|(one, line)| (one.ports[0], one.udp, *line)).collect();
        assert_eq!((machine.name.as_str(), ports), ("mail", vec![(25, false, 5), (587, false, 6), (53, true, 7)]));
        assert_eq!(found.unread[0].at.line, 8);
    }
}
