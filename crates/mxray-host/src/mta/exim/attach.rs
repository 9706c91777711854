//! Which processes are Exim's daemon, and how many connections it serves.
//!
//! The daemon forks for each connection, and its child keeps the command line; what delivers a message or runs the queue
//! starts anew with `-Mc` or `-q`. A second daemon that only runs the queue (`-q30m`) is not the one that listens.

use super::daemon::Daemon;
use super::{interpret, listeners};
use crate::mta::daemon::first_process;
use crate::mta::machine::Machine;
use crate::processes::{Row, Table};
use mxray_model::Seen;
use mxray_model::evidence::{Children, FileLine, Master, Server, Setting};
use std::collections::BTreeMap;

const NAMES: &[&str] = &["exim4", "exim", "exim-4"];

pub(super) fn attach(servers: &mut BTreeMap<String, Server>, table: &Table) {
    for server in servers.values_mut() {
        // Debian's file says whether one ought to listen; without it what runs is all that is known.
        let must_listen = !server.wanted.is_empty() && server.settings.contains_key("daemon options");
        server.master = master(table, must_listen);
        // Whatever its links say: what runs is looked at as a server.
        server.enabled |= server.master.value().is_some();
        let Seen::Value(master) = &server.master else {
            server.children = match &server.master {
                Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
                _ => Seen::Absent,
            };
            continue;
        };
        if table.rows.values().filter_map(daemon_of).any(|daemon| daemon.runs_queue) {
            let runner = Setting { value: "daemon".to_owned(), at: None };
            server.settings.insert(interpret::QUEUE_RUNNER.to_owned(), runner);
        }
        let count = children(table, master);
        if let Some(row) = table.rows.get(&master.pid) {
            as_started(server, row);
        }
        let limit = |key: &String| server.wanted.get(key).and_then(|wanted| wanted.process_limit);
        let each = server.wanted.keys().map(|key| (key.clone(), Children { limit: limit(key), ..count }));
        server.children = Seen::Value(each.collect());
    }
}

/// What a process was told, if it is one of Exim's daemons.
fn daemon_of(row: &Row) -> Option<Daemon> {
    let (program, words) = row.command.split_first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    if !NAMES.contains(&name) && !NAMES.contains(&row.name.as_str()) {
        return None;
    }
    Some(Daemon::of(words)).filter(Daemon::is_one)
}

/// The one that listens, else the one that runs the queue, where none has to listen.
fn master(table: &Table, must_listen: bool) -> Seen<Master> {
    let listening = first_process(table, |row| daemon_of(row).is_some_and(|daemon| daemon.listens));
    if listening.is_absent() && !must_listen { first_process(table, |row| daemon_of(row).is_some()) } else { listening }
}

/// Those that serve a connection each.
fn children(table: &Table, master: &Master) -> Children {
    let mut found = Children::default();
    let own = |row: &&Row| row.parent == master.pid && !matches!(row.state, 'Z' | 'X');
    for row in table.rows.values().filter(own).filter(|row| daemon_of(row).is_some_and(|daemon| daemon.listens)) {
        found.count += 1;
        found.stopped += u32::from(matches!(row.state, 'T' | 't'));
    }
    found
}

/// Where no file says how the daemon is started, the running one does.
fn as_started(server: &mut Server, row: &Row) {
    let Some(daemon) = daemon_of(row) else { return };
    if server.settings.contains_key("daemon options") {
        return;
    }
    let value = crate::secrets::command(row.command.get(1..).unwrap_or_default());
    server.settings.insert("daemon options".to_owned(), Setting { value, at: None });
    let config = server
        .wanted
        .values()
        .next()
        .map_or_else(|| FileLine { file: server.config_dir.clone(), line: 1 }, |wanted| wanted.at.clone());
    let logins = server.settings.get(interpret::LOGINS).is_some_and(|setting| setting.value == "true");
    let sources = listeners::Sources {
        settings: &server.settings,
        daemon: &daemon,
        daemon_at: None,
        machine: &Machine::look(),
        config: &config,
        logins,
    };
    server.wanted = listeners::wanted(&sources, &mut Vec::new());
}
