//! What stands around the examined services: the other network namespaces, and the units that start them. When they are
//! looked for, and what a report says of what was not examined because of them.

use crate::parts::{Parts, Pending};
use mxray_host::namespaces::{self, Interest};
use mxray_host::processes::Table;
use mxray_host::{bystanders, mta, units};
use mxray_model::evidence::{Bystanders, Evidence, Namespace, Namespaces, Place, Server, Signer, Units};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Starts the look. `None`: without a list of processes there is nothing to start from.
pub fn start(
    parts: &mut Parts<'_>,
    table: &Arc<Seen<Table>>,
    servers: &Seen<BTreeMap<String, Server>>,
) -> Option<Pending<Seen<Namespaces>>> {
    table.value()?;
    let (table, servers) = (Arc::clone(table), servers.value().cloned().unwrap_or_default());
    Some(parts.start("network namespaces", move || {
        let ports = ports(&servers);
        let interest = Interest { servers: &servers, ports: &ports, all: false };
        table.value().map_or(Seen::Absent, |table| namespaces::look(table, &interest))
    }))
}

/// Starts reading the units.
pub fn start_units(
    parts: &mut Parts<'_>,
    table: &Arc<Seen<Table>>,
    servers: &Seen<BTreeMap<String, Server>>,
) -> Pending<Seen<Units>> {
    let (table, servers) = (Arc::clone(table), servers.value().cloned().unwrap_or_default());
    parts.start("units", move || {
        let of_mail = table.value().into_iter().flat_map(|table| table.rows.values());
        let of_mail = of_mail.filter(|row| mta::software_of(row, &servers).value().is_some());
        let also: BTreeSet<String> = of_mail.filter_map(|row| row.unit.value().cloned()).collect();
        units::look(&table, &also, &ports(&servers))
    })
}

/// Starts reading what software besides mail servers asks for.
pub fn start_bystanders(parts: &mut Parts<'_>, table: &Arc<Seen<Table>>) -> Pending<Seen<Bystanders>> {
    let table = Arc::clone(table);
    parts.start("other software's listeners", move || bystanders::look(&table))
}

/// What was read, with what the signers listen on.
pub fn finish_bystanders(
    parts: &mut Parts<'_>,
    pending: Pending<Seen<Bystanders>>,
    signers: &Seen<BTreeMap<String, Signer>>,
) -> Seen<Bystanders> {
    let mut seen = parts.wait(pending).unwrap_or_else(Seen::Unknown);
    if let Seen::Value(bystanders) = &mut seen {
        bystanders::add_signers(bystanders, signers);
    }
    seen
}

/// On these a listener bears on mail.
fn ports(servers: &BTreeMap<String, Server>) -> BTreeSet<u16> {
    let wanted = servers.values().flat_map(|server| server.wanted.values().map(|wanted| wanted.port));
    namespaces::MAIL_PORTS.iter().chain(bystanders::FILTER_PORTS).copied().chain(wanted).collect()
}

/// What was found.
pub fn finish(
    parts: &mut Parts<'_>,
    pending: Option<Pending<Seen<Namespaces>>>,
    table: &Seen<Table>,
) -> Seen<Namespaces> {
    match (pending, table) {
        (Some(pending), _) => parts.wait(pending).unwrap_or_else(Seen::Unknown),
        (None, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
        (None, Seen::Value(_) | Seen::Absent) => Seen::not_attempted("there is no list of processes"),
    }
}

/// Why the sockets of a server that runs were not among those that were seen.
pub fn hides(evidence: &Evidence, instance: &str) -> Option<Blind> {
    match evidence.namespaces.value()?.servers.get(instance)? {
        Seen::Value(Place::Elsewhere { namespace }) => Some(Blind::Elsewhere {
            why: format!("it runs in another network namespace ({namespace}) than the one that was looked at"),
            look: format!("mxray --netns {} doctor", shell_word(namespace)),
        }),
        Seen::Value(Place::Here) | Seen::Absent | Seen::Unknown(_) => None,
    }
}

/// Mail listeners that nobody examined, because they are in another namespace.
pub fn notes(evidence: &Evidence) -> Vec<Unseen> {
    let Some(namespaces) = evidence.namespaces.value() else { return Vec::new() };
    let ours = evidence.vantage.network_namespace.value().map_or_else(String::new, |inode| format!(" (net:[{inode}])"));
    let listening =
        namespaces.others.iter().filter(|(_, other)| other.listeners.value().is_some_and(|l| !l.is_empty()));
    let note = |(key, other): (&String, &Namespace)| Unseen {
        what: format!("mail listeners in network namespace {key}: {}", listed(other)),
        why: format!("the examination saw the sockets of one network namespace, its own{ours}"),
        needs: needs(key, other),
    };
    listening.map(note).collect()
}

/// A container has its own files, too: another namespace's sockets beside our files would be compared with the wrong
/// configuration.
fn needs(key: &str, other: &Namespace) -> String {
    let key = shell_word(key);
    if other.units.iter().any(|unit| unit.contains(':')) {
        return format!(
            "mxray --netns {key} sockets --listening for its sockets, a run inside the container for all else"
        );
    }
    format!("mxray --netns {key} doctor")
}

/// `port 25, 587 of postfix (system-postfix.slice)`
fn listed(namespace: &Namespace) -> String {
    let port = |listener: &String| listener.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let ports: BTreeSet<u16> = namespace.listeners.value().into_iter().flatten().filter_map(port).collect();
    let join = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(", ");
    let ports = join(&mut ports.iter().map(ToString::to_string));
    let who = join(&mut namespace.units.iter().chain(&namespace.software).cloned());
    if who.is_empty() { format!("port {ports}") } else { format!("port {ports} ({who})") }
}
