//! HAProxy: `bind` lines of its configuration (HAProxy's configuration manual, 4.2 bind and 5.1).

use super::command;
use super::found::{Found, Line, number};
use super::place::Place;
use crate::units::boot::Boot;
use mxray_model::Seen;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FILE: &str = "/etc/haproxy/haproxy.cfg";
/// Most lines of one file.
const LINES_MAX: usize = 200_000;
/// A longer range is kept where it bears on mail, and told.
const RANGE_MAX: u16 = 64;

pub(super) fn read(place: &Place, boot: &Boot) -> Seen<Found> {
    let services = ["haproxy.service"];
    let usual = "haproxy -f ${CONFIG}";
    let command = command::line(place, boot, &services, usual, &["/etc/default/haproxy"]);
    let mut files = Vec::new();
    for word in command.values(&[], Some('f')) {
        if place.below(&word.text).is_dir() {
            // Of a directory all *.cfg, in the order of the C locale.
            files.extend(place.matching(&format!("{}/*.cfg", glob::Pattern::escape(&word.text))));
        } else if !word.text.is_empty() {
            files.push(word.text);
        }
    }
    if files.is_empty() {
        files.push(FILE.to_owned());
    }
    super::clamav::each(place, &files, "haproxy", &|text, file, found| parse(place, text, file, found))
}

/// The section that a line belongs to.
#[derive(Debug, Clone, Default)]
struct Section {
    kind: String,
    name: String,
}

pub(super) fn parse(place: &Place, text: &str, file: &str, found: &mut Found) {
    let mut section = Section::default();
    let mut conditions = 0usize;
    let mut defaults_off = false;
    let mut own: Vec<super::found::Asked> = Vec::new();
    let mut off = false;
    for (index, raw) in text.lines().take(LINES_MAX).enumerate() {
        let Some(words) = words(raw) else { continue };
        let Some(first) = words.first().map(String::as_str) else { continue };
        match first {
            ".if" => conditions += 1,
            ".endif" => conditions = conditions.saturating_sub(1),
            _ if is_section(first) => {
                keep(found, &mut own, off);
                section = Section { kind: first.to_owned(), name: words.get(1).cloned().unwrap_or_default() };
                if first == "defaults" {
                    defaults_off = false;
                }
                off = defaults_off && matches!(first, "frontend" | "listen");
            }
            "disabled" if section.kind == "defaults" => defaults_off = true,
            "disabled" => off = true,
            "enabled" => off = false,
            "bind" | "dgram-bind" if has_binds(&section.kind) => {
                let service = format!("{} {}", section.kind, section.name);
                let line = Line { service: service.trim(), file, number: number(index) };
                if conditions > 0 {
                    found.puzzled(line, "stands in a condition (.if)");
                    continue;
                }
                let mut part = Found::default();
                bind(place, line, &words, first == "dgram-bind", &mut part);
                found.add(Found { asked: Vec::new(), unread: std::mem::take(&mut part.unread) });
                own.append(&mut part.asked);
            }
            "stats" if section.kind == "global" && words.get(1).is_some_and(|word| word == "socket") => {
                let line = Line { service: "stats socket", file, number: number(index) };
                // A word without a port is a path.
                if words.get(2).is_some_and(|word| word.contains('@') || word.contains(':')) {
                    bind(place, line, words.get(1..).unwrap_or_default(), false, found);
                }
            }
            _ => {}
        }
    }
    keep(found, &mut own, off);
}

fn keep(found: &mut Found, own: &mut Vec<super::found::Asked>, off: bool) {
    let asked = std::mem::take(own);
    if !off {
        found.add(Found { asked, unread: Vec::new() });
    }
}

fn is_section(word: &str) -> bool {
    const SECTIONS: &[&str] = &[
        "global",
        "defaults",
        "frontend",
        "listen",
        "backend",
        "peers",
        "resolvers",
        "mailers",
        "userlist",
        "program",
        "ring",
        "log-forward",
        "cache",
        "http-errors",
        "fcgi-app",
        "crt-store",
        "traces",
        "acme",
        "log-profile",
    ];
    SECTIONS.contains(&word)
}

fn has_binds(kind: &str) -> bool {
    matches!(kind, "frontend" | "listen" | "peers" | "log-forward")
}

/// One `bind` line: addresses, then what is said of them.
fn bind(place: &Place, line: Line<'_>, words: &[String], udp: bool, found: &mut Found) {
    let options = words.get(2..).unwrap_or_default();
    let says = |option: &str| options.iter().any(|word| word == option);
    // In another network namespace, nothing of ours is met; an interface is a socket of its own.
    if says("namespace") {
        return;
    }
    let only_six = says("v6only") || (place.only_six && !says("v4v6"));
    for item in words.get(1).map(String::as_str).unwrap_or_default().split(',') {
        address(place, line, item.trim(), (udp, only_six), found);
    }
}

fn address(place: &Place, line: Line<'_>, item: &str, (udp, only_six): (bool, bool), found: &mut Found) {
    if item.contains('$') {
        return found.puzzled(line, &format!("{item} depends on the environment"));
    }
    let (prefix, rest) = item.split_once('@').unwrap_or(("", item));
    let (six, udp) = match prefix {
        "" | "tcp" | "mptcp" => (None, udp),
        "ipv4" | "tcp4" | "mptcp4" => (Some(false), udp),
        "ipv6" | "tcp6" | "mptcp6" => (Some(true), udp),
        "udp" => (None, true),
        "udp4" | "quic4" => (Some(false), true),
        "udp6" | "quic6" => (Some(true), true),
        // unix@, abns@, abnsz@, fd@, sockpair@, rhttp@: no port of this machine.
        _ => return,
    };
    if rest.starts_with('/') || rest.is_empty() {
        return;
    }
    let Some((host, ports)) = rest.rsplit_once(':') else {
        return found.puzzled(line, &format!("{item}: no port"));
    };
    let host = host.trim_matches(['[', ']']);
    let addresses = match host {
        "" | "*" if six == Some(true) => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        // Only IPv4: for both families there is `::` with v4v6.
        "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        host => match place.machine.resolve(host) {
            Some(found) => {
                let fits = |address: &IpAddr| six.is_none_or(|six| address.is_ipv6() == six);
                found.into_iter().find(fits).into_iter().collect()
            }
            None => return found.puzzled(line, &format!("the addresses of {host} are not known from files")),
        },
    };
    let Some((first, last)) = range(place, ports) else {
        return found.puzzled(line, &format!("{ports}: not a port"));
    };
    let long = last - first > RANGE_MAX;
    if long {
        found.puzzled(line, &format!("of the ports {first}-{last} those that bear on mail are looked at"));
    }
    for address in addresses {
        for port in (first..=last).filter(|port| !long || super::bears_on_mail(*port)) {
            if let Some(asked) = found.ask(line, address, port) {
                asked.udp = udp;
                // It opens all with SO_REUSEPORT, so that a reload takes no connection away.
                asked.reuse_port = true;
                if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
                    asked.v6_only = only_six;
                }
            }
        }
    }
}

fn range(place: &Place, text: &str) -> Option<(u16, u16)> {
    if let Some(port) = place.machine.port(text) {
        return Some((port, port));
    }
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// The words of a line: quotes and backslashes as the manual's 2.2 has them, `#` begins a comment. `None`: nothing in it.
fn words(raw: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = raw.trim_start().chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') => break,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    (!out.is_empty()).then_some(out)
}
