//! The sockets of signers and rspamd's workers, which `signers` has read already, in the form of all the others.

use super::found::Line;
use super::{Found, Start, insert, listener, unread};
use crate::signers::rspamd_endpoint;
use mxray_model::evidence::{Bystanders, Endpoint, FileLine, Signer};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Adds what the signers listen on.
pub fn add_signers(out: &mut Bystanders, signers: &Seen<BTreeMap<String, Signer>>) {
    for signer in signers.value().into_iter().flat_map(BTreeMap::values) {
        let unit = format!("{}.service", signer.software);
        let at_boot = match &signer.enabled {
            Seen::Value(true) => Seen::Value(format!("/etc/systemd/system/multi-user.target.wants/{unit}")),
            Seen::Value(false) | Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        let running = match &signer.running {
            Seen::Value(_) => Seen::Value(true),
            Seen::Absent => Seen::Value(false),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        let start = Start { unit, at_boot, running };
        let mut found = Found::default();
        let at = signer.socket_at.clone().unwrap_or_else(|| FileLine { file: signer.config_file.clone(), line: 0 });
        match &signer.sockets {
            Seen::Value(sockets) => sockets.iter().for_each(|socket| one(signer, socket, &at, &mut found)),
            Seen::Absent => {}
            Seen::Unknown(blind) => puzzled(signer, &at, blind, &mut found),
        }
        for (name, setting) in signer.settings.iter().filter(|(name, _)| name.ends_with(".bind_socket")) {
            let at = setting.at.clone().unwrap_or_else(|| at.clone());
            for text in setting.value.split(',').map(str::trim) {
                match rspamd_endpoint(text) {
                    Some(endpoint) => one(signer, &endpoint, &at, &mut found),
                    // systemd hands it over.
                    None if text.starts_with("systemd:") => {}
                    None => found.puzzled(line(signer, &at), &format!("{name}: {text} is no socket that mxray knows")),
                }
            }
        }
        for asked in found.asked {
            insert(out, listener(&signer.software, &start, asked));
        }
        unread(out, &signer.software, found.unread);
    }
}

fn line<'a>(signer: &'a Signer, at: &'a FileLine) -> Line<'a> {
    Line { service: &signer.software, file: &at.file, number: at.line }
}

fn puzzled(signer: &Signer, at: &FileLine, blind: &Blind, found: &mut Found) {
    found.puzzled(line(signer, at), &blind.why());
}

fn one(signer: &Signer, socket: &Endpoint, at: &FileLine, found: &mut Found) {
    let Endpoint::Inet { host, port } = socket else { return };
    // libmilter takes one address, rspamd all of them.
    let addresses: Vec<IpAddr> = match host.as_str() {
        "localhost" if signer.software == "rspamd" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
        "*" => vec![Ipv4Addr::UNSPECIFIED.into()],
        host => match host.parse() {
            Ok(address) => vec![address],
            Err(_) => {
                return found.puzzled(line(signer, at), &format!("the addresses of {host} are not known from files"));
            }
        },
    };
    for address in addresses {
        found.ask(line(signer, at), address, *port);
    }
}
