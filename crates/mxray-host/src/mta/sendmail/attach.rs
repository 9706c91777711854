//! Which process is sendmail's daemon: the one of its pid file, else the one that calls itself a taker of connections.

use crate::mta::daemon::{first_process, hidden, is_elsewhere};
use crate::processes::{Row, Table};
use crate::read;
use mxray_model::evidence::{Children, FileLine, Master, Problem, Server};
use mxray_model::{Seen, text};
use std::collections::BTreeMap;
use std::path::Path;

/// A pid and the command line.
const PID_FILE_BYTES_MAX: u64 = 4096;

pub(crate) fn attach(servers: &mut BTreeMap<String, Server>, table: &Table) {
    for server in servers.values_mut() {
        server.master = master(server.setting("PidFile"), table);
        server.children = match &server.master {
            Seen::Value(master) => Seen::Value(children(server, table, master.pid)),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        if let Some(problem) = refuses(server, table) {
            server.problems.push(problem);
        }
    }
}

fn master(pid_file: &str, table: &Table) -> Seen<Master> {
    let by_file = pid_of(pid_file).and_then(|pid| table.rows.get(&pid));
    if let Some(row) = by_file.filter(|row| is_sendmail(row) && !is_elsewhere(row, table)) {
        return Seen::Value(Master { pid: row.pid, state: row.state });
    }
    match first_process(table, is_daemon) {
        Seen::Absent if !table.all_visible => Seen::Unknown(hidden()),
        found => found,
    }
}

/// The first line of the file.
fn pid_of(path: &str) -> Option<u32> {
    let seen = read::file(Path::new(path), PID_FILE_BYTES_MAX);
    let first = text::untrusted(seen.value()?.bytes.split(|byte| *byte == b'\n').next()?);
    first.trim().parse().ok()
}

fn is_sendmail(row: &Row) -> bool {
    let program = row.command.first().map_or("", |first| first.split_whitespace().next().unwrap_or_default());
    let program = program.rsplit('/').next().unwrap_or(program);
    !matches!(row.state, 'Z' | 'X')
        && (row.name.starts_with("sendmail") || program.trim_end_matches(':').starts_with("sendmail"))
}

/// `sendmail: MTA: accepting connections`, or `rejecting`, or `delaying`; before it has a title, `sendmail -bd`. A runner
/// of queues is none.
fn is_daemon(row: &Row) -> bool {
    let title = row.command.join(" ");
    is_sendmail(row)
        && (title.contains("ing connections") || row.command.iter().any(|word| matches!(word.as_str(), "-bd" | "-bD")))
}

/// Each connection has a process of its own; there are only so many where a limit is set.
fn children(server: &Server, table: &Table, pid: u32) -> BTreeMap<String, Children> {
    let own = || table.rows.values().filter(|row| row.parent == pid && !matches!(row.state, 'Z' | 'X'));
    let count = u32::try_from(own().count()).unwrap_or(u32::MAX);
    let stopped = u32::try_from(own().filter(|row| matches!(row.state, 'T' | 't')).count()).unwrap_or(u32::MAX);
    let limited = server.wanted.iter().filter(|(_, listener)| listener.process_limit.is_some());
    limited.map(|(key, listener)| (key.clone(), Children { count, stopped, limit: listener.process_limit })).collect()
}

/// While the load is too high, too many processes run or the disk is full, it closes its ports, and says so in its title.
fn refuses(server: &Server, table: &Table) -> Option<Problem> {
    let row = table.rows.get(&server.master.value()?.pid)?;
    let title = row.command.join(" ");
    title.contains("rejecting connections").then(|| Problem {
        at: FileLine { file: server.configured_by.clone(), line: 1 },
        text: format!("the running daemon says of itself: {title}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, name: &str, command: &[&str]) -> Row {
        Row {
            pid,
            parent,
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            uid: 0,
            state: 'S',
            started: 0,
            unit: Seen::Absent,
        }
    }

    fn attached(rows: &[Row], all_visible: bool) -> Server {
        let table = Table { all_visible, rows: rows.iter().map(|row| (row.pid, row.clone())).collect() };
        let mut servers = BTreeMap::from([("sendmail".to_owned(), Server::default())]);
        attach(&mut servers, &table);
        servers.remove("sendmail").unwrap()
    }

    #[test]
    fn the_daemon_is_no_runner_of_queues_and_no_other_software() {
        let runner = row(7, 1, "sendmail", &["sendmail: MSP: Queue runner@00:10:00 for /var/spool/mqueue-client"]);
        let daemon = row(9, 1, "sendmail", &["sendmail: MTA: accepting connections"]);
        let child = row(10, 9, "sendmail", &["sendmail: MTA: server client [192.0.2.1] cmd read"]);
        let found = attached(&[runner.clone(), daemon, child], true);
        assert_eq!(found.master, Seen::Value(Master { pid: 9, state: 'S' }));
        assert!(attached(&[runner.clone(), row(3, 1, "exim4", &["exim4", "-bd"])], true).master.is_absent());
        assert!(attached(&[runner], false).master.blind().is_some());
    }

    #[test]
    fn a_daemon_that_has_closed_its_ports_is_quoted() {
        let title = "sendmail: MTA: rejecting connections on daemon MTA: load average: 40";
        let found = attached(&[row(9, 1, "sendmail", &[title])], true);
        assert!(found.problems[0].text.contains("load average: 40"));
    }
}
