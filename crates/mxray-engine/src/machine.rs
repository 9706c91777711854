//! The parts of an examination that look at the machine itself: clock, name resolution, memory, software.

use crate::parts::{Parts, Pending};
use mxray_host::memory::Watched;
use mxray_host::processes::Table;
use mxray_host::programs::Programs;
use mxray_host::{clock, memory, mta, resolver, tls_library};
use mxray_model::evidence::{
    Clock, Evidence, Memory, Resolver, ResolverFiles, Server, Software, Stamp, StampKind, TlsLibrary,
};
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was started, and is joined at the end.
pub(crate) struct Started {
    resolver: Pending<Resolver>,
    memory: Pending<(Memory, Seen<BTreeMap<String, Watched>>)>,
    tls_libraries: Pending<Seen<BTreeMap<String, TlsLibrary>>>,
}

/// A program may be asked here, so this has to be awaited before programs are ended.
pub(crate) fn start_clock(parts: &mut Parts<'_>, table: &Arc<Seen<Table>>, programs: &Programs) -> Pending<Clock> {
    let (table, programs) = (Arc::clone(table), programs.clone());
    parts.start("clock", move || clock::look(&table, &programs))
}

/// What needs the servers' configuration.
pub(crate) fn start(
    parts: &mut Parts<'_>,
    servers: &Seen<BTreeMap<String, Server>>,
    table: &Arc<Seen<Table>>,
) -> Started {
    let known: BTreeMap<String, Server> = servers.value().cloned().unwrap_or_default();
    let roots: BTreeSet<String> =
        known.values().filter_map(|server| server.egress.root.as_ref()).map(|root| root.value.clone()).collect();
    let mail = mail_processes(table, &known);
    let pids = match &**table {
        Seen::Value(table) if mail.is_empty() && !table.all_visible => Seen::Unknown(Blind::NotPermitted {
            what: "other users' processes are hidden (hidepid)".to_owned(),
            needs: "cap_sys_ptrace".to_owned(),
        }),
        seen => seen.as_ref().map(|_| mail.keys().copied().collect()),
    };
    let kinds = pids.as_ref().map(|_: &BTreeSet<u32>| kinds(table, &mail));
    Started {
        tls_libraries: parts.start("TLS libraries", move || tls_library::look(&kinds)),
        resolver: parts.start("name resolution", move || resolver::look(roots, &pids)),
        memory: parts.start("memory", move || (memory::look(), memory::watch(&mail))),
    }
}

fn mail_processes(table: &Seen<Table>, servers: &BTreeMap<String, Server>) -> BTreeMap<u32, String> {
    let rows = table.value().into_iter().flat_map(|table| table.rows.values());
    rows.filter_map(|row| Some((row.pid, mta::software_of(row, servers).value()?.clone()))).collect()
}

/// One process of each kind: hundreds of workers of one name map the same libraries.
fn kinds(table: &Seen<Table>, mail: &BTreeMap<u32, String>) -> BTreeMap<u32, String> {
    let mut seen = BTreeSet::new();
    let rows = table.value().into_iter().flat_map(|table| table.rows.values());
    rows.filter_map(|row| Some((row, mail.get(&row.pid)?)))
        .filter(|(row, software)| seen.insert((row.name.as_str(), row.uid, software.as_str())))
        .map(|(row, software)| (row.pid, software.clone()))
        .collect()
}

/// Waits for what was started; a part that did not come back leaves its facts unknown.
pub(crate) fn join(
    parts: &mut Parts<'_>,
    evidence: &mut Evidence,
    clock: Result<Clock, Blind>,
    software: Pending<Software>,
    started: Started,
) {
    evidence.clock = clock.unwrap_or_else(|blind| Clock {
        now_s: Seen::Unknown(blind.clone()),
        today: Seen::Unknown(blind.clone()),
        kernel: Seen::Unknown(blind.clone()),
        daemons: Seen::Unknown(blind),
        past: BTreeMap::new(),
    });
    // What collects is what knows when it was made: a replay by a later version must not ask its own age.
    if let Some(at_s) = mxray_rules::made_after_s() {
        evidence.clock.past.insert("mxray".to_owned(), Seen::Value(Stamp { at_s, kind: StampKind::Built }));
    }
    evidence.software = parts.wait(software).unwrap_or_else(|blind| Software {
        distribution: Seen::Unknown(blind.clone()),
        extended_support: Seen::Unknown(blind.clone()),
        packages: Seen::Unknown(blind),
        tls_libraries: Seen::Absent,
    });
    evidence.software.tls_libraries = parts.wait(started.tls_libraries).unwrap_or_else(Seen::Unknown);
    evidence.resolver = parts.wait(started.resolver).unwrap_or_else(|blind| Resolver {
        system: ResolverFiles { resolv_conf: Seen::Unknown(blind.clone()), hosts_line: Seen::Unknown(blind.clone()) },
        upstream: Seen::Unknown(blind.clone()),
        roots: BTreeMap::new(),
        processes: Seen::Unknown(blind),
    });
    evidence.memory = match parts.wait(started.memory) {
        Ok((memory, watched)) => {
            let groups = parts.start("memory again", move || memory::groups(watched));
            Memory { groups: parts.wait(groups).unwrap_or_else(Seen::Unknown), ..memory }
        }
        Err(blind) => {
            Memory { total_bytes: Seen::Unknown(blind.clone()), groups: Seen::Unknown(blind), ..Memory::default() }
        }
    };
}
