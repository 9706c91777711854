//! What the processes of every daemon have in common, and what is told where no process can be seen.

use crate::processes::{Row, Table};
use mxray_model::evidence::{Master, Server};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;

/// Why "no such process" cannot be said.
pub(crate) fn hidden() -> Blind {
    Blind::NotPermitted {
        what: "see other users' processes (/proc is mounted with hidepid)".to_owned(),
        needs: "root".to_owned(),
    }
}

/// In a container that we are not in, as far as its unit tells.
pub(crate) fn is_elsewhere(row: &Row, table: &Table) -> bool {
    const SIGNS: &[&str] =
        &["docker", "libpod", "podman", "lxc", "containerd", "crio", "machine-", "nspawn", "container"];
    let ours = table.rows.get(&std::process::id()).map(|own| &own.unit);
    match &row.unit {
        Seen::Value(unit) => ours != Some(&row.unit) && SIGNS.iter().any(|sign| unit.contains(sign)),
        Seen::Absent => false,
        Seen::Unknown(_) => true,
    }
}

/// The first process of a daemon: of those that `is_it` takes for one of its processes, one whose parent is none of them.
/// A process of a container that we are not in is not meant.
///
/// `Absent` only where all processes can be seen.
pub(crate) fn first_process(table: &Table, is_it: impl Fn(&Row) -> bool) -> Seen<Master> {
    let lives = |row: &&Row| !matches!(row.state, 'Z' | 'X') && is_it(row) && !is_elsewhere(row, table);
    let is_child = |row: &Row| table.rows.get(&row.parent).is_some_and(|parent| lives(&parent));
    match table.rows.values().filter(lives).find(|row| !is_child(row)) {
        Some(row) => Seen::Value(Master { pid: row.pid, state: row.state }),
        None if table.all_visible => Seen::Absent,
        None => Seen::Unknown(hidden()),
    }
}

/// Fedora and its kin install several mail servers side by side; the link `mta` says which one is meant to run. Without
/// the link it is the one that is there.
pub(crate) fn is_chosen(name: &str) -> bool {
    std::fs::read_link("/etc/alternatives/mta").map_or(true, |target| names_it(&target, name))
}

/// `/usr/sbin/sendmail.postfix`
fn names_it(target: &std::path::Path, name: &str) -> bool {
    target.extension().is_none_or(|extension| extension == name)
}

/// Nothing is known about the processes of any server.
pub(crate) fn unknown(servers: &mut BTreeMap<String, Server>, blind: &Blind) {
    for server in servers.values_mut() {
        server.master = Seen::Unknown(blind.clone());
        server.children = Seen::Unknown(blind.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, name: &str, state: char) -> Row {
        Row {
            pid,
            parent,
            name: name.to_owned(),
            command: vec![name.to_owned()],
            uid: 0,
            state,
            started: 0,
            unit: Seen::Absent,
        }
    }

    fn first(rows: Vec<Row>, all_visible: bool) -> Seen<Master> {
        let table = Table { all_visible, rows: rows.into_iter().map(|row| (row.pid, row)).collect() };
        first_process(&table, |row| row.name == "dovecot")
    }

    #[test]
    fn of_several_servers_the_chosen_one_is_meant() {
        let target = std::path::Path::new("/usr/sbin/sendmail.postfix");
        assert!(names_it(target, "postfix") && !names_it(target, "sendmail"));
        assert!(names_it(std::path::Path::new("/usr/sbin/exim"), "sendmail"));
    }

    #[test]
    fn the_first_process_is_nobodys_child() {
        let found = first(vec![row(3, 7, "dovecot", 'S'), row(7, 1, "dovecot", 'T'), row(9, 1, "init", 'S')], true);
        assert_eq!(found, Seen::Value(Master { pid: 7, state: 'T' }));
        assert!(first(vec![row(7, 1, "dovecot", 'Z')], true).is_absent());
        assert!(first(vec![], false).blind().is_some());
    }
}
