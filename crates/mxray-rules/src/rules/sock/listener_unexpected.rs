//! SOCK103: a service that is meant for mail's own programs listens where everybody reaches it.

use crate::assigned::{self, Bound, Reach};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::{Endpoint, Listener, Purpose};
use mxray_model::special::is_special;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SOCK103",
    name: "listener-unexpected",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a mail server's internal service is open to everybody",
    page: include_str!("listener_unexpected.md"),
    check,
};

/// Why a socket is taken for one of mail's inside, and the evidence for it.
struct Inside {
    what: String,
    source: String,
    pointer: String,
}

/// Software whose ports only mail servers and administrators ask, with the names of its processes. By name, since such a service
/// need not be wired to a mail server whose configuration was read.
const HELPERS: [(&str, &[u16]); 8] = [
    ("rspamd", &[11332, 11333, 11334]),
    ("clamd", &[3310]),
    ("spamd", &[783]),
    ("opendkim", &[8891]),
    ("opendmarc", &[8893, 8892]),
    ("postgrey", &[10023]),
    ("amavis", &[10024, 10026, 9998]),
    ("postsrsd", &[10001, 10002]),
];

fn check(evidence: &Evidence) -> Said {
    // With an assignments file it is decided who may be reached: PORT104 and PORT107 say so.
    match &evidence.assignments {
        Seen::Value(_) => return Err(Judgement::nothing()),
        Seen::Absent | Seen::Unknown(_) => {}
    }
    let sockets = view::sockets(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let mut clean = true;
    for (key, listener) in &sockets.listeners {
        let Some(inside) = inside(evidence, listener) else { continue };
        match assigned::bound(evidence, listener) {
            Bound::Loopback | Bound::Private => {}
            Bound::Unknown(blind) => {
                clean = false;
                judgement.blind(&RULE, &blind);
            }
            Bound::Public => match assigned::reach(evidence, listener, is_stranger) {
                Reach::Shut(..) => {}
                Reach::Open(answer) => {
                    clean = false;
                    judgement.find(open(evidence, (key, listener), &inside, answer.as_deref()));
                }
                Reach::Unknown(blind) => {
                    clean = false;
                    judgement.blind(&RULE, &blind);
                }
                Reach::NotAsked => {
                    clean = false;
                    judgement.blind(&RULE, &assigned::not_asked(std::slice::from_ref(&inside.what)));
                }
            },
        }
    }
    if clean {
        judgement.well("no internal service of mail is open to everybody");
    }
    Ok(judgement)
}

/// Not of a private network: what is asked about strangers is asked with an address of the documentation, too.
fn is_stranger(address: IpAddr) -> bool {
    let private = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    !private || !is_special(address)
}

/// Only what the evidence shows to be internal: a service that its server is configured for as such, one that a mail server asks
/// on this host, or a known helper's usual port held by that helper.
fn inside(evidence: &Evidence, listener: &Listener) -> Option<Inside> {
    if listener.protocol != "tcp" {
        return None;
    }
    configured(evidence, listener).or_else(|| asked(evidence, listener)).or_else(|| known(evidence, listener))
}

/// Bound to all addresses, as it is where nobody thought of them. Who writes an address that others reach has another host in mind,
/// which takes or hands over the mail there.
fn configured(evidence: &Evidence, listener: &Listener) -> Option<Inside> {
    let servers = evidence.servers.value()?;
    view::enabled(servers).find_map(|(instance, server)| {
        let (key, wanted) = server.wanted.iter().find(|(_, wanted)| {
            wanted.port == listener.port
                && wanted.purpose == Purpose::Internal
                && wanted.addresses.iter().any(|own| own.is_unspecified() && view::overlaps(*own, listener))
        })?;
        Some(Inside {
            what: format!("{instance}'s {} ({})", wanted.service, wanted.purpose.as_str()),
            source: wanted.at.to_string(),
            pointer: view::server_pointer(instance, &["wanted", key]),
        })
    })
}

fn asked(evidence: &Evidence, listener: &Listener) -> Option<Inside> {
    let servers = evidence.servers.value()?;
    view::enabled(servers).find_map(|(instance, server)| {
        let (key, helper) = server.helpers.iter().find(|(_, helper)| match &helper.endpoint {
            Endpoint::Inet { host, port } => {
                let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                *port == listener.port && here
            }
            Endpoint::Unix { .. } => false,
        })?;
        Some(Inside {
            what: format!("the {} that {instance} asks on this host", helper.kind.as_str()),
            source: helper.at.as_ref().map_or_else(|| helper.setting.clone(), ToString::to_string),
            pointer: view::server_pointer(instance, &["helpers", key]),
        })
    })
}

fn known(evidence: &Evidence, listener: &Listener) -> Option<Inside> {
    let (name, _) = HELPERS.iter().find(|(_, ports)| ports.contains(&listener.port))?;
    let processes = evidence.processes.value();
    let software = |pid: u32| processes?.mail.get(&pid)?.software.value();
    let owners = listener.owners.value().into_iter().flatten();
    let is_it = |owner: &&mxray_model::evidence::Owner| {
        software(owner.pid).is_some_and(|software| software.starts_with(name)) || owner.name.starts_with(name)
    };
    let owner = owners.into_iter().find(is_it)?;
    Some(Inside {
        what: format!("{name} ({}, process {})", owner.name, owner.pid),
        source: format!("/proc/{}", owner.pid),
        pointer: view::pointer(["sockets", "value", "listeners"]),
    })
}

fn open(evidence: &Evidence, (key, listener): (&str, &Listener), inside: &Inside, answer: Option<&str>) -> Finding {
    let place = assigned::place(listener);
    let port = listener.port;
    let filter = match answer {
        Some(_) => "The packet filters let strangers in.",
        None => "There is no packet filter on this host.",
    };
    let public = evidence.addresses.value().into_iter().flatten().find(|own| evidence.declared.is_public(**own));
    RULE.finding(
        view::endpoint(&[listener.address], port),
        format!("{} listens on {place}, where everybody reaches it; only mail's own programs should.", inside.what),
    )
    .confidence(0.85)
    .touches(view::port_scope(port))
    .because(format!("Port {port} is that of {}.", inside.what), inside.source.clone(), inside.pointer.clone())
    .because(
        format!(
            "{} listens on {place}{}.",
            assigned::holder(listener),
            public.map_or_else(String::new, |own| format!("; {own} is an address of this host"))
        ),
        "sock_diag",
        view::listener_pointer(key),
    )
    .because(filter, "packet filter", assigned::reach_pointer(answer))
    .data("port", port)
    .data("address", listener.address.to_string())
    .data("service", inside.what.clone())
    .fix(
        Fix::here("Bind it to 127.0.0.1 (and ::1) in its own configuration, and restart it.")
            .command(format!("mxray sockets --listening --port {port} --pids"))
            .verify(view::look_again(port)),
    )
    .fix(
        Fix::here("Or, if another host has to reach it, let only that one in by the packet filter, and write it down.")
            .command("mxray ports init --output /etc/mxray/mxray-ports.toml"),
    )
}
