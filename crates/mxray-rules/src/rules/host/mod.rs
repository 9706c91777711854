//! The machine.

pub mod clock_wrong;
pub mod disk_full;
pub mod inodes_exhausted;
pub mod memory_pressure;
pub mod read_only;
pub mod resolver_dead;
pub mod resolver_differs;
pub mod resolver_first_dead;
pub mod resolver_untrusted_ad;
pub mod retransmissions_high;
pub mod software_outdated;

use crate::rule::{Judgement, Rule};
use crate::words::Words;
use mxray_model::evidence::{FileSystem, Server};
use mxray_model::{Blind, Evidence, Fix, Seen};
use std::collections::BTreeMap;

/// One look at each file system: several directories may share it.
fn by_mount_point(all: &BTreeMap<String, Seen<FileSystem>>) -> BTreeMap<&str, Vec<(&str, &FileSystem)>> {
    let mut out: BTreeMap<&str, Vec<(&str, &FileSystem)>> = BTreeMap::new();
    for (directory, seen) in all {
        if let Some(fs) = seen.value() {
            out.entry(fs.mount_point.as_str()).or_default().push((directory, fs));
        }
    }
    out
}

/// `queue, log`
fn uses(directories: &[(&str, &FileSystem)]) -> Vec<String> {
    let mut uses: Vec<String> = directories.iter().flat_map(|(_, fs)| fs.holds.iter().cloned()).collect();
    uses.sort();
    uses.dedup();
    uses
}

/// The same reason, saying which directory it is about.
fn about(directory: &str, blind: &Blind) -> Blind {
    match blind {
        Blind::NotPermitted { what, needs } => {
            Blind::NotPermitted { what: format!("{directory}: {what}"), needs: needs.clone() }
        }
        Blind::NotAttempted { why } => Blind::NotAttempted { why: format!("{directory}: {why}") },
        other => other.clone(),
    }
}

/// The instances whose queue lies on a file system.
fn servers_with_queue_on<'a>(evidence: &'a Evidence, mount: &str) -> Vec<&'a String> {
    let on_it = |server: &Server| {
        let queue = server.directories.get("queue")?;
        Some(evidence.file_systems.get(queue)?.value()?.mount_point == mount)
    };
    let servers = evidence.servers.value().into_iter().flatten();
    servers.filter(|(_, server)| on_it(server) == Some(true)).map(|(name, _)| name).collect()
}

/// The step that a server needs which ended over it: it does not come back by itself.
fn start_again(evidence: &Evidence, mount: &str) -> Option<Fix> {
    let names = servers_with_queue_on(evidence, mount);
    let servers = evidence.servers.value()?;
    let ended = names.into_iter().filter_map(|name| servers.get(name)).filter(|s| s.enabled && s.master.is_absent());
    let commands: Vec<String> = ended.map(|server| Words::new(evidence, server).start()).collect();
    let first = (!commands.is_empty()).then(|| Fix::here("Then start the server, which does not run."))?;
    Some(commands.into_iter().fold(first, Fix::command).verify("mxray doctor"))
}

/// Says for a rule about file systems what could not be looked at: single directories, or all of them.
fn blind_spots(evidence: &Evidence, rule: &Rule, judgement: &mut Judgement) {
    // Without a server's configuration nobody knows where mail keeps its files.
    if evidence.file_systems.is_empty()
        && let Some(blind) = evidence.servers.blind()
    {
        judgement.blind(rule, blind);
    }
    for (directory, seen) in &evidence.file_systems {
        if let Some(blind) = seen.blind() {
            judgement.blind(rule, &about(directory, blind));
        }
    }
}
