//! Which processes are OpenSMTPD's: the parent that root keeps, and its workers, which call themselves `smtpd: queue`.

use crate::mta::daemon::first_process;
use crate::processes::{Row, Table};
use mxray_model::evidence::{Children, Server};
use std::collections::BTreeMap;

/// What workers call themselves: 6.x, then 7.x.
const WORKERS: &[&str] =
    &["control", "klondike", "lookup", "pony express", "queue", "scheduler", "crypto", "dispatcher"];

pub(crate) fn attach(servers: &mut BTreeMap<String, Server>, table: &Table) {
    let master = first_process(table, is_parent);
    for server in servers.values_mut() {
        server.children = master.as_ref().map(|master| children(table, master.pid));
        server.master = master.clone();
    }
}

/// The program's name is Postfix's, too: that one is started by its master with its service type, and not as root.
fn is_parent(row: &Row) -> bool {
    let Some(first) = row.command.first() else { return false };
    let program = first.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    let program = program.rsplit('/').next().unwrap_or(program);
    row.uid == 0
        && matches!(program, "smtpd" | "opensmtpd")
        && matches!(row.name.as_str(), "smtpd" | "opensmtpd")
        && worker(row).is_none()
        && !row.command.iter().any(|word| word == "-t" || word == "-n")
}

/// `queue` of `smtpd: queue`
fn worker(row: &Row) -> Option<&'static str> {
    let title = row.command.first()?.strip_prefix("smtpd: ")?;
    WORKERS.iter().find(|name| title.trim_end() == **name).copied()
}

fn children(table: &Table, parent: u32) -> BTreeMap<String, Children> {
    let mut found: BTreeMap<String, Children> = BTreeMap::new();
    for row in table.rows.values().filter(|row| row.parent == parent && !matches!(row.state, 'Z' | 'X')) {
        let Some(name) = worker(row) else { continue };
        let children = found.entry(name.to_owned()).or_default();
        children.count += 1;
        children.stopped += u32::from(matches!(row.state, 'T' | 't'));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Seen;
    use mxray_model::evidence::Master;

    fn row(pid: u32, parent: u32, uid: u32, state: char, command: &[&str]) -> Row {
        Row {
            pid,
            parent,
            name: "smtpd".to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            uid,
            state,
            started: 0,
            unit: Seen::Absent,
        }
    }

    fn attached(rows: &[Row]) -> Server {
        let table = Table { all_visible: true, rows: rows.iter().map(|row| (row.pid, row.clone())).collect() };
        let mut servers = BTreeMap::from([("opensmtpd".to_owned(), Server::default())]);
        attach(&mut servers, &table);
        servers.remove("opensmtpd").unwrap()
    }

    #[test]
    fn the_parent_and_its_workers_are_found_as_they_call_themselves() {
        for title in ["smtpd", "/usr/sbin/smtpd", "smtpd: [priv]"] {
            let server = attached(&[
                row(40, 1, 0, 'S', &[title]),
                row(44, 40, 107, 'T', &["smtpd: pony express"]),
                row(45, 40, 108, 'S', &["smtpd: queue"]),
            ]);
            assert_eq!(server.master, Seen::Value(Master { pid: 40, state: 'S' }), "{title}");
            let children = server.children.value().unwrap();
            assert_eq!(children["pony express"], Children { count: 1, stopped: 1, limit: None });
            assert_eq!(children.len(), 2);
        }
    }

    #[test]
    fn postfix_and_a_worker_left_behind_are_no_parent() {
        let server = attached(&[
            row(50, 9, 0, 'S', &["smtpd", "-n", "smtp", "-t", "inet", "-u"]),
            row(51, 1, 107, 'T', &["smtpd: pony express"]),
            row(52, 1, 1000, 'S', &["/home/dev/smtpd"]),
            row(53, 1, 0, 'Z', &["smtpd"]),
        ]);
        assert!(server.master.is_absent() && server.children.is_absent());
    }
}
