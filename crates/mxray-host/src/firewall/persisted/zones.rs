//! firewalld's zones: the ports of mail that the files open, beside those that the running chains let in.
//!
//! Only what is certain is said: ports and services by name. Rich rules, sources and policies are not read; where a zone has them
//! it is not compared.

use super::super::Rulesets;
use super::{at_boot, nothing, text_of};
use crate::names::Services;
use mxray_firewall::Table;
use mxray_model::evidence::{FileLine, Persisted, PersistedAnswer};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Zones of one host; firewalld brings eleven.
const ZONES_MAX: usize = 64;
const PORTS: [u16; 9] = [25, 110, 143, 465, 587, 993, 995, 2525, 4190];
/// Services that firewalld has under another name than /etc/services.
const SERVICES: [(&str, u16); 9] = [
    ("smtp", 25),
    ("smtp-submission", 587),
    ("submission", 587),
    ("smtps", 465),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
    ("managesieve", 4190),
];

pub(super) fn compare(rulesets: &Rulesets) -> Vec<(String, Seen<Persisted>)> {
    const UNIT: &str = "firewalld.service";
    let tables = || rulesets.rulesets.iter().flat_map(|ruleset| &ruleset.tables);
    let Some(table) = tables().find(|table| table.manager() == Some("firewalld")) else { return Vec::new() };
    let mut found = Vec::new();
    for file in files() {
        let name = file.file_stem().map(|stem| untrusted(stem.as_encoded_bytes())).unwrap_or_default();
        let shown = crate::read::shown(&file);
        let Some(runs) = running(table, &name) else { continue };
        let seen = match text_of(&file) {
            Some(Seen::Value(text)) => match written(&String::from_utf8_lossy(&text)) {
                Ok(ports) => Seen::Value(joined(UNIT, &shown, &ports, &runs)),
                Err(what) => Seen::Unknown(Blind::NotUnderstood { what: shown.clone(), text: what }),
            },
            Some(Seen::Unknown(blind)) => Seen::Unknown(blind),
            Some(Seen::Absent) | None => continue,
        };
        found.push((shown, seen));
    }
    found
}

fn files() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/etc/firewalld/zones") else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .take(ZONES_MAX)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    files.sort();
    files
}

/// A port of mail that is open by a zone's file, and the line that opens it.
type Open = Vec<(u16, u32)>;

/// The elements `<port port="25" protocol="tcp"/>` and `<service name="smtp"/>`, as firewalld writes them one a line.
///
/// # Errors
/// What stands in the zone and could open or close a port in another way.
fn written(text: &str) -> Result<Open, String> {
    let services = Services::read();
    let mut open = Vec::new();
    for (line, number) in text.lines().zip(1u32..) {
        let line = line.trim();
        if ["<rule", "<source", "<forward-port", "<protocol"].iter().any(|other| line.starts_with(other)) {
            return Err(format!("line {number}: {}", untrusted(line.as_bytes())));
        }
        let attribute = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        if line.starts_with("<zone") && attribute("target") == Some("ACCEPT") {
            return Err(format!("line {number}: all is accepted"));
        }
        if line.starts_with("<port ") && attribute("protocol") == Some("tcp") {
            let Some(ports) = attribute("port") else { continue };
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
                return Err(format!("line {number}: {}", untrusted(line.as_bytes())));
            };
            open.extend(PORTS.into_iter().filter(|port| (first..=last).contains(port)).map(|port| (port, number)));
        }
        if line.starts_with("<service ")
            && let Some(name) = attribute("name")
        {
            let known = SERVICES.iter().find(|(known, _)| *known == name).map(|(_, port)| *port);
            open.extend(
                known.or_else(|| services.port(name).filter(|port| PORTS.contains(port))).map(|port| (port, number)),
            );
        }
    }
    Ok(open)
}

/// The ports of mail that the running chain of a zone lets in. `None`: the zone does not run.
fn running(table: &Table, zone: &str) -> Option<BTreeSet<u16>> {
    let chain = table.chain(&format!("filter_IN_{zone}_allow")).or_else(|| table.chain(&format!("IN_{zone}_allow")))?;
    let texts: Vec<String> = chain.rules.iter().map(|rule| table.text(rule)).collect();
    let named = |port: &u16| {
        texts.iter().any(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.windows(2).any(|pair| match pair {
                ["dport" | "--dport", value] => in_range(value, *port),
                _ => false,
            })
        })
    };
    Some(PORTS.into_iter().filter(named).collect())
}

/// `25`, `25-30`, `25:30`
fn in_range(value: &str, port: u16) -> bool {
    let (first, last) = value.split_once(['-', ':']).unwrap_or((value, value));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&port))
}

fn joined(unit: &str, file: &str, open: &Open, runs: &BTreeSet<u16>) -> Persisted {
    let mut persisted = nothing(unit, at_boot(unit));
    for port in runs.iter().filter(|port| !open.iter().any(|(other, _)| other == *port)) {
        persisted.only_running.push(format!("tcp dport {port} accept"));
    }
    for (port, line) in open.iter().filter(|(port, _)| !runs.contains(port)) {
        persisted.only_in_file.push(FileLine { file: file.to_owned(), line: *line });
        persisted.only_in_file_texts.push(format!("port {port}/tcp"));
    }
    persisted
}

/// Which questions the ports that differ decide: those of strangers who come in.
pub(super) fn decided(persisted: &mut Persisted, questions: &[(String, u16, bool)]) {
    for (key, port, passes_now) in questions {
        let accept = format!("tcp dport {port} accept");
        let told = format!("port {port}/tcp");
        if *passes_now && persisted.only_running.contains(&accept) {
            let answer = PersistedAnswer { passes_now: true, passes_then: false, by: "policy".to_owned(), at: None };
            persisted.differs.insert(key.clone(), answer);
        } else if let (false, Some(index)) =
            (*passes_now, persisted.only_in_file_texts.iter().position(|text| *text == told))
        {
            let at = persisted.only_in_file.get(index).cloned();
            let answer = PersistedAnswer { passes_now: false, passes_then: true, by: told, at };
            persisted.differs.insert(key.clone(), answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zones_file_opens_ports_and_services() {
        let zone = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>Public</short>\n  <service name=\"ssh\"/>\n  <service name=\"smtp\"/>\n  <port port=\"587\" protocol=\"tcp\"/>\n  <port port=\"900-1000\" protocol=\"tcp\"/>\n  <port port=\"143\" protocol=\"udp\"/>\n  <forward/>\n</zone>\n";
        assert_eq!(written(zone).unwrap(), [(25, 5), (587, 6), (993, 7), (995, 7)]);
        for other in ["<rule family=\"ipv4\">", "<source address=\"192.0.2.0/24\"/>", "<zone target=\"ACCEPT\">"] {
            assert!(written(other).is_err(), "{other}");
        }
        assert!(in_range("25", 25) && in_range("20-30", 25) && !in_range("26", 25) && !in_range("x", 25));
    }

    #[test]
    fn what_differs_decides_the_port_alone() {
        let mut persisted = joined("x.service", "/x", &vec![(587, 3)], &BTreeSet::from([25]));
        decided(
            &mut persisted,
            &[("a".to_owned(), 25, true), ("b".to_owned(), 587, false), ("c".to_owned(), 993, false)],
        );
        assert_eq!(persisted.differs.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!persisted.differs["a"].passes_then && persisted.differs["b"].passes_then);
    }
}
