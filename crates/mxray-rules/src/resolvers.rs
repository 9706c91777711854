//! Whom a mail server asks for names, what is known of those, and how much hangs on them. No rule stands here.

use crate::view;
use mxray_model::evidence::{DnsTrouble, NameServer, ResolvConf, ResolverCheck, Server};
use mxray_model::{Blind, Evidence, Seen, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The file that a server's library reads, and the name servers in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<'a> {
    pub file: String,
    /// The place of that file in the evidence.
    pub pointer: String,
    /// In the order in which they are asked; the address of this machine where the file names none.
    pub servers: Vec<IpAddr>,
    pub lines: Vec<&'a NameServer>,
    pub options: &'a [String],
}

/// What is known of one name server.
#[derive(Debug, Clone, PartialEq)]
pub enum Health<'a> {
    Answers(&'a ResolverCheck),
    Dead(&'a ResolverCheck),
    Unknown(Blind),
}

/// What a mail server cannot do without names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It does without.
    Nothing,
    /// Names of clients, block lists, policy records.
    Clients,
    /// Where mail goes.
    Destinations,
}

/// Whom the processes of this server ask: by the system's file, or by that in a root directory of their own.
///
/// # Errors
/// Why nobody knows.
pub fn asked<'a>(evidence: &'a Evidence, server: &Server) -> Result<Asked<'a>, Blind> {
    let resolver = &evidence.resolver;
    let (files, file, pointer) = match &server.egress.root {
        None => (
            Some(&resolver.system),
            "/etc/resolv.conf".to_owned(),
            view::pointer(["resolver", "system", "resolv_conf"]),
        ),
        Some(root) => {
            let pointer = view::pointer(["resolver", "roots", &root.value, "resolv_conf"]);
            (resolver.roots.get(&root.value), format!("{}/etc/resolv.conf", root.value), pointer)
        }
    };
    let Some(files) = files else {
        return Err(Blind::NotAttempted { why: format!("nobody looked at {file}") });
    };
    let conf: Option<&ResolvConf> = match &files.resolv_conf {
        Seen::Value(conf) => Some(conf).filter(|conf| unreadable(server, conf).is_none()),
        Seen::Absent => None,
        Seen::Unknown(blind) => return Err(blind.clone()),
    };
    let lines: Vec<&NameServer> = conf.into_iter().flat_map(|conf| &conf.nameservers).collect();
    let servers = match lines.as_slice() {
        [] => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        lines => lines.iter().map(|line| line.address).collect(),
    };
    Ok(Asked { file, pointer, servers, lines, options: conf.map_or(&[], |conf| &conf.options) })
}

/// Why the account that sends mail cannot read it. Where that account is not known, it is not root's.
pub fn unreadable(server: &Server, conf: &ResolvConf) -> Option<String> {
    let own = server.egress.account.value().is_some_and(|account| [0, conf.owner_uid].contains(&account.uid));
    let user = server.egress.account.value().map_or("the mail server", |account| account.name.as_str());
    // Which groups the account is in was not looked up; root's is none that a mail server keeps.
    let by_group = conf.group_readable.is_some_and(|gid| gid != 0);
    (!conf.world_readable && !by_group && !own).then(|| format!("{user} may not read it"))
}

/// What asking this address came to.
pub fn health(evidence: &Evidence, address: IpAddr) -> Health<'_> {
    const DNS_PORT: u16 = 53;
    let is_it = |check: &&ResolverCheck| check.server.ip() == address && check.server.port() == DNS_PORT;
    let Some(check) = evidence.resolver_checks.values().find(is_it) else {
        return Health::Unknown(Blind::Elsewhere {
            why: format!("the name server {address} was not asked"),
            look: "a run that connects: mxray doctor, without --no-sessions".to_owned(),
        });
    };
    match &check.answers {
        Seen::Value(true) => Health::Answers(check),
        // Whoever could not ask has not been refused.
        Seen::Value(false) if check.troubles().all(|trouble| trouble == DnsTrouble::Failed) => {
            Health::Unknown(Blind::Failed {
                step: format!("asking {address}"),
                error: "no question went out".to_owned(),
            })
        }
        Seen::Value(false) => Health::Dead(check),
        Seen::Absent => Health::Unknown(Blind::NotAttempted { why: format!("{address} was not asked") }),
        Seen::Unknown(blind) => Health::Unknown(blind.clone()),
    }
}

/// How a dead name server shows itself over UDP, as libraries ask.
pub fn trouble(check: &ResolverCheck) -> DnsTrouble {
    if check.refused {
        return DnsTrouble::PortClosed;
    }
    let mut counted: BTreeMap<DnsTrouble, usize> = BTreeMap::new();
    for trouble in check.troubles() {
        *counted.entry(trouble).or_default() += 1;
    }
    counted.into_iter().max_by_key(|(_, count)| *count).map_or(DnsTrouble::Silent, |(trouble, _)| trouble)
}

/// What hangs on names for this server.
pub fn need(evidence: &Evidence, server: &Server) -> Need {
    let is_off =
        server.setting("disable_dns_lookups") == "yes" || server.setting("smtp_dns_support_level") == "disabled";
    let hosts = &server.egress.smarthosts;
    let by_name = hosts.is_empty() || !hosts.iter().all(|host| is_literal(&host.value));
    if server.egress.sends && by_name && !is_off && !is_transport_without_names(server.setting("default_transport")) {
        return Need::Destinations;
    }
    let takes_from_outside = server
        .wanted
        .values()
        .any(|wanted| view::is_public_smtp(wanted) && !wanted.addresses.iter().all(IpAddr::is_loopback));
    if takes_from_outside && !is_off && view::receives_mail(evidence, server).is_some() {
        return Need::Clients;
    }
    Need::Nothing
}

/// Postfix's default_transport(5) with an address behind it, or with a way that leads to no other host.
fn is_transport_without_names(value: &str) -> bool {
    const INSIDE: [&str; 6] = ["error", "retry", "discard", "local", "virtual", "maildrop"];
    let (name, hop) = value.split_once(':').unwrap_or((value, ""));
    INSIDE.contains(&name.trim()) || hop.starts_with("unix:") || is_literal(hop.trim_start_matches("inet:").trim())
}

/// `[192.0.2.1]:587`, `[ipv6:2001:db8::1]`, `192.0.2.1`
pub fn is_literal(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(host, |(inner, _)| inner);
    let bare =
        inner.get(..5).filter(|head| head.eq_ignore_ascii_case("ipv6:")).map_or(inner, |head| &inner[head.len()..]);
    bare.parse::<IpAddr>().is_ok()
}

/// An address of this machine: what it answers has crossed no network.
pub fn is_ours(evidence: &Evidence, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let listed = evidence.addresses.value().is_some_and(|own| own.contains(&address));
    address.is_loopback() || address.is_unspecified() || listed
}

pub fn subject(address: IpAddr) -> Subject {
    Subject::new(SubjectKind::Resolver, address.to_string())
}

pub fn pointer(check: &ResolverCheck) -> String {
    view::pointer(["resolver_checks", &ResolverCheck::key(&check.server)])
}

pub fn texts(addresses: &[IpAddr]) -> String {
    strings(addresses).join(", ")
}

pub fn strings(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_that_need_no_names() {
        for value in ["error:no mail from here", "smtp:[192.0.2.1]:25", "lmtp:unix:private/x", "discard:", "local"] {
            assert!(is_transport_without_names(value), "{value}");
        }
        for value in ["smtp", "smtp:", "", "smtp:[mail.example.org]", "relay:example.org"] {
            assert!(!is_transport_without_names(value), "{value}");
        }
    }

    #[test]
    fn literals_need_no_resolver() {
        for host in ["[192.0.2.1]:587", "[192.0.2.1]", "192.0.2.1", "[IPv6:2001:db8::1]:25", "[ipv6:::1]"] {
            assert!(is_literal(host), "{host}");
        }
        for host in ["[smtp.example.com]:587", "smtp.example.com", "", "[", "[]"] {
            assert!(!is_literal(host), "{host}");
        }
    }
}
