//! Where a server runs, against where the examination looked: sockets are told of one network namespace only.
//!
//! A rule that concludes anything from a listener that is not there, or from one that somebody else holds, goes through
//! [`here`]: of a server that runs in another namespace it cannot tell, and says which command can.

use crate::rule::{Judgement, Rule};
use crate::service_units;
use crate::view;
use mxray_model::evidence::{Endpoint, Namespace, Place, Server, Setting};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Seen};
use std::collections::BTreeMap;

/// The servers that ought to run and whose sockets were seen; for each of the others the rule cannot tell.
pub fn here<'a>(
    evidence: &Evidence,
    servers: &'a BTreeMap<String, Server>,
    rule: &Rule,
    judgement: &mut Judgement,
) -> Vec<(&'a String, &'a Server)> {
    view::enabled(servers)
        .filter(|(instance, server)| match elsewhere(evidence, instance, server) {
            Some(blind) => {
                judgement.blind(rule, &blind);
                false
            }
            None => true,
        })
        .collect()
}

/// Why this server's sockets are not among those that were seen. `None`: they are, or nothing says otherwise.
pub fn elsewhere(evidence: &Evidence, instance: &str, server: &Server) -> Option<Blind> {
    let (key, sure) = namespace_of(evidence, instance, server)?;
    let runs = if sure { "runs" } else { "may run" };
    Some(Blind::Elsewhere {
        why: format!("{instance} {runs} in another network namespace ({key}) than the one that was looked at"),
        look: command(key),
    })
}

/// How the examination is repeated there.
pub fn command(key: &str) -> String {
    format!("mxray --netns {} doctor", shell_word(key))
}

/// A server that runs in a namespace without any interface but loopback.
pub fn cut_off<'a>(evidence: &'a Evidence, instance: &str, server: &Server) -> Option<(&'a str, &'a Namespace)> {
    let (key, sure) = namespace_of(evidence, instance, server)?;
    let namespace = evidence.namespaces.value()?.others.get(key)?;
    (sure && namespace.is_cut_off()).then_some((key, namespace))
}

/// The unit of this server that takes the network away, and the line that says so.
pub fn private_network<'a>(evidence: &'a Evidence, server: &Server) -> Option<(&'a str, &'a Setting)> {
    let name = unit_of(evidence, server)?;
    let (name, unit) = evidence.units.value()?.services.get_key_value(name)?;
    let unit = unit.value().filter(|unit| unit.is_yes("PrivateNetwork"))?;
    Some((name, unit.settings.get("PrivateNetwork")?))
}

/// The unit that its first process runs in.
pub fn unit_of<'a>(evidence: &'a Evidence, server: &Server) -> Option<&'a str> {
    let master = server.master.value()?;
    evidence.processes.value()?.mail.get(&master.pid)?.unit.value().map(String::as_str)
}

/// The namespace that it runs in, where that is another one; and whether its own process says so. Where no process is
/// known for certain to be its own, the same software on one of its ports in another namespace may be it.
fn namespace_of<'a>(evidence: &'a Evidence, instance: &str, server: &Server) -> Option<(&'a str, bool)> {
    let namespaces = evidence.namespaces.value()?;
    match namespaces.servers.get(instance) {
        Some(Seen::Value(Place::Elsewhere { namespace })) => Some((namespace, true)),
        Some(Seen::Value(Place::Here) | Seen::Absent) | None => None,
        Some(Seen::Unknown(_)) => {
            let serves = |namespace: &Namespace| {
                let ports = namespace.listeners.value().into_iter().flatten().filter_map(|text| port(text));
                namespace.software.contains(&server.software)
                    && ports.into_iter().any(|port| server.wanted.values().any(|wanted| wanted.port == port))
            };
            let seen = namespaces.others.iter().find(|(_, namespace)| serves(namespace)).map(|(key, _)| key.as_str());
            Some((seen.or_else(|| by_unit(evidence, server))?, false))
        }
    }
}

/// The namespace that the unit of this software is started in, by its name (NetworkNamespacePath=, systemd.exec(5)).
fn by_unit<'a>(evidence: &'a Evidence, server: &Server) -> Option<&'a str> {
    let of_it = |name: &str| service_units::belongs_to(name, &server.software);
    let units = evidence.units.value()?.services.iter().filter(|(name, _)| of_it(name));
    let paths = units.filter_map(|(_, unit)| unit.value()?.settings.get("NetworkNamespacePath"));
    paths.map(|setting| setting.value.as_str()).find_map(|path| path.rsplit('/').next().filter(|name| !name.is_empty()))
}

/// The port of `tcp/0.0.0.0:25`.
pub fn port(listener: &str) -> Option<u16> {
    listener.rsplit_once(':')?.1.parse().ok()
}

/// A helper's state where its server runs elsewhere: a TCP endpoint means a port of that namespace. UNIX sockets are
/// files, the same for all.
pub fn helper_blind(evidence: &Evidence, instance: &str, server: &Server, endpoint: &Endpoint) -> Option<Blind> {
    match endpoint {
        Endpoint::Inet { .. } => elsewhere(evidence, instance, server),
        Endpoint::Unix { .. } => None,
    }
}
