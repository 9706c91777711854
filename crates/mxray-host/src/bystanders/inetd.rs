//! inetd.conf and xinetd: one line or block, one port that the super server opens (inetd(8), xinetd.conf(5)).

use super::clamav::each;
use super::found::{Found, Line, number};
use super::place::Place;
use crate::units::boot::Boot;
use mxray_model::Seen;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LINES_MAX: usize = 50_000;

pub(super) fn read(place: &Place, _: &Boot) -> Seen<Found> {
    let mut files = vec!["/etc/inetd.conf".to_owned()];
    // inetutils reads these besides.
    files.extend(place.matching("/etc/inetd.d/*"));
    each(place, &files, "inetd", &|text, file, found| parse(place, text, file, found))
}

pub(super) fn parse(place: &Place, text: &str, file: &str, found: &mut Found) {
    let mut usual = "*".to_owned();
    for (index, line) in text.lines().take(LINES_MAX).enumerate() {
        let line_text = line.trim();
        if line_text.is_empty() || line_text.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line_text.split_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        // An address alone holds for what follows.
        if let ([_], Some(address)) = (words.as_slice(), first.strip_suffix(':')) {
            address.clone_into(&mut usual);
            continue;
        }
        let protocol = words.get(2).copied().unwrap_or_default().split(',').next().unwrap_or_default();
        let (udp, families): (bool, &[bool]) = match protocol {
            "tcp" => (false, &[false, true]),
            "tcp4" => (false, &[false]),
            "tcp6" | "tcp6only" | "tcp46" => (false, &[true]),
            "udp" => (true, &[false, true]),
            "udp4" => (true, &[false]),
            "udp6" | "udp6only" | "udp46" => (true, &[true]),
            // unix, rpc/tcp: no port that is written here.
            _ => continue,
        };
        let (host, name) = match first.rsplit_once(':') {
            Some((host, name)) => (host.to_owned(), name),
            None => (usual.clone(), first),
        };
        let service = format!("line {name}");
        let line = Line { service: &service, file, number: number(index) };
        let Some(port) = place.machine.port(name) else {
            // Names that are not in services(5) are dropped by inetd itself.
            if super::bears_on_mail_name(name) {
                found.puzzled(line, &format!("{name} is no known service"));
            }
            continue;
        };
        for host in host.split(',') {
            ask(place, line, host.trim_matches(['[', ']']), port, (udp, families, protocol), found);
        }
    }
}

fn ask(
    place: &Place,
    line: Line<'_>,
    host: &str,
    port: u16,
    (udp, families, protocol): (bool, &[bool], &str),
    found: &mut Found,
) {
    let wildcard = matches!(host, "" | "*");
    let addresses = if wildcard { Some(place.any()) } else { place.machine.resolve(host) };
    let Some(addresses) = addresses else {
        return found.puzzled(line, &format!("the addresses of {host} are not known from files"));
    };
    for address in addresses.into_iter().filter(|address| families.contains(&address.is_ipv6())) {
        if let Some(asked) = found.ask(line, address, port) {
            asked.udp = udp;
            asked.v6_only = address.is_ipv6() && !protocol.ends_with("46");
        }
    }
}

pub(super) fn read_xinetd(place: &Place, _: &Boot) -> Seen<Found> {
    let mut files = vec!["/etc/xinetd.conf".to_owned()];
    // Files with a dot or a tilde at the end are left out (includedir).
    let mut included = place.matching("/etc/xinetd.d/*");
    included.retain(|file| {
        let name = file.rsplit('/').next().unwrap_or(file);
        !name.contains('.') && !name.ends_with('~')
    });
    files.extend(included);
    each(place, &files, "xinetd", &|text, file, found| parse_xinetd(place, text, file, found))
}

/// A `service NAME { … }` block.
#[derive(Debug, Default)]
struct Block {
    name: String,
    line: u32,
    id: Option<String>,
    port: Option<String>,
    bind: Option<String>,
    udp: bool,
    off: bool,
    unlisted_type: bool,
    six: Option<bool>,
}

pub(super) fn parse_xinetd(place: &Place, text: &str, file: &str, found: &mut Found) {
    let mut block: Option<Block> = None;
    for (index, raw) in text.lines().take(LINES_MAX).enumerate() {
        let line = raw.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix("service").filter(|rest| rest.starts_with(char::is_whitespace)) {
            let name = name.trim().trim_end_matches('{').trim().to_owned();
            block = Some(Block { name, line: number(index), ..Block::default() });
        } else if line.starts_with('}') {
            if let Some(done) = block.take() {
                xinetd_service(place, &done, file, found);
            }
        } else if let (Some(block), Some((name, value))) = (block.as_mut(), line.split_once('=')) {
            let value = value.trim();
            match name.trim_end_matches(['+', '-']).trim() {
                "disable" => block.off = value.eq_ignore_ascii_case("yes"),
                "id" => block.id = Some(value.to_owned()),
                "port" => {
                    block.port = Some(value.to_owned());
                    block.line = number(index);
                }
                "bind" | "interface" => block.bind = Some(value.to_owned()),
                "socket_type" => block.udp = value == "dgram",
                "protocol" => block.udp |= value == "udp",
                "type" => block.unlisted_type = value.contains("RPC"),
                "flags" if value.contains("IPv6") => block.six = Some(true),
                "flags" if value.contains("IPv4") => block.six = Some(false),
                _ => {}
            }
        }
    }
}

fn xinetd_service(place: &Place, block: &Block, file: &str, found: &mut Found) {
    if block.off || block.unlisted_type {
        return;
    }
    let service = format!("service {}", block.id.as_deref().unwrap_or(&block.name));
    let line = Line { service: &service, file, number: block.line };
    let name = block.port.as_deref().unwrap_or(&block.name);
    let Some(port) = place.machine.port(name) else {
        if super::bears_on_mail_name(name) {
            found.puzzled(line, &format!("{name} is no known service"));
        }
        return;
    };
    let addresses = match (block.bind.as_deref(), block.six) {
        (Some(host), _) => place.machine.resolve(host),
        (None, Some(false)) => Some(vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]),
        // One IPv6 socket takes both families, where the kernel has IPv6.
        (None, _) if place.machine.ipv6 => Some(vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)]),
        (None, _) => Some(vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]),
    };
    let Some(addresses) = addresses else {
        return found.puzzled(line, "its address is not known from files");
    };
    for address in addresses {
        if let Some(asked) = found.ask(line, address, port) {
            asked.udp = block.udp;
            asked.v6_only = address.is_ipv6() && !(address.is_unspecified() && block.bind.is_none() && !place.only_six);
        }
    }
}
