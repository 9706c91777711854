//! Which processes are Dovecot's: the master, and the processes of its services below it.
//!
//! A service's process is called `dovecot/PROGRAM` (with another `instance_name`, `dovecot-NAME/PROGRAM`), after the
//! program that it runs and not after the service.

use super::services;
use crate::mta::daemon;
use crate::processes::{Row, Table};
use mxray_model::evidence::{Children, Server};
use std::collections::BTreeMap;

/// Programs of Dovecot's own that all its services need.
const NEEDED: &[&str] = &["anvil", "auth", "config", "log"];

/// Fills in `master` and `children`.
pub(crate) fn attach(servers: &mut BTreeMap<String, Server>, table: &Table) {
    // Where Dovecot runs with another configuration, and not with this one, this one is a leftover: what it asks for would
    // be missed for nothing. Then Dovecot stands among the software that is here and not read.
    servers.retain(|_, server| {
        let file = super::config_file_of(server);
        let own = daemon::first_process(table, |row| is_master(row, &file));
        own.value().is_some() || daemon::first_process(table, is_dovecot).value().is_none()
    });
    for server in servers.values_mut() {
        let file = super::config_file_of(server);
        server.master = daemon::first_process(table, |row| is_master(row, &file));
        // What runs was meant to be started, whatever its unit says.
        server.enabled |= server.master.value().is_some();
        server.children = server
            .master
            .as_ref()
            .map(|master| children(server, table.rows.values().filter(|row| row.parent == master.pid)));
    }
}

/// Its processes keep its name in the first part of their titles; the master alone has no such title.
fn is_dovecot(row: &Row) -> bool {
    let program = row.command.first().and_then(|program| program.rsplit('/').next());
    row.name == "dovecot" && program == Some("dovecot")
}

/// One that was started with another configuration is another server.
fn is_master(row: &Row, config_file: &str) -> bool {
    let given = row.command.iter().skip_while(|word| *word != "-c").nth(1);
    is_dovecot(row) && given.is_none_or(|given| given == config_file)
}

/// The processes of each service whose program no other service runs, by the service's name.
fn children<'a>(server: &Server, rows: impl Iterator<Item = &'a Row>) -> BTreeMap<String, Children> {
    let mut by_program: BTreeMap<&str, Children> = BTreeMap::new();
    for row in rows.filter(|row| !matches!(row.state, 'Z' | 'X')) {
        let Some(program) = program_of(row) else { continue };
        let entry = by_program.entry(program).or_default();
        entry.count += 1;
        entry.stopped += u32::from(matches!(row.state, 'T' | 't'));
    }
    // Those that are no mail service go by their program: auth, anvil, log.
    let mut found: BTreeMap<String, Children> = by_program
        .iter()
        .filter(|(program, _)| NEEDED.contains(program))
        .map(|(program, counted)| ((*program).to_owned(), *counted))
        .collect();
    for (_, login, user) in services::PROTOCOLS {
        for service in [login, user] {
            let programs = server.settings.get(&format!("service/{service}/executable"));
            let own = programs.map_or(*service, |setting| base(&setting.value));
            let shared = server.settings.iter().filter(|(key, setting)| {
                key.starts_with("service/") && key.ends_with("/executable") && base(&setting.value) == own
            });
            if shared.count() > 1 {
                continue;
            }
            if !server.settings.contains_key(&format!("service/{service}/process_limit")) {
                continue;
            }
            let limit = server.setting(&format!("service/{service}/process_limit")).parse().ok();
            let counted = by_program.get(own).copied().unwrap_or_default();
            found.insert((*service).to_owned(), Children { limit, ..counted });
        }
    }
    found
}

/// `imap-login` of `/usr/lib/dovecot/imap-login -x`.
fn base(command: &str) -> &str {
    let program = command.split_whitespace().next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or(program)
}

/// `imap-login` of `dovecot/imap-login [1 pre-login + 3 proxies]`.
fn program_of(row: &Row) -> Option<&str> {
    let title = row.command.first()?.split_whitespace().next()?;
    let (owner, program) = title.split_once('/')?;
    (owner == "dovecot" || owner.starts_with("dovecot-")).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::Seen;
    use mxray_model::evidence::Setting;

    fn row(pid: u32, parent: u32, name: &str, state: char, command: &[&str]) -> Row {
        Row {
            pid,
            parent,
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            uid: 0,
            state,
            started: 0,
            unit: Seen::Absent,
        }
    }

    fn attached(rows: Vec<Row>, all_visible: bool) -> Server {
        attached_or_left(rows, all_visible).unwrap()
    }

    fn attached_or_left(rows: Vec<Row>, all_visible: bool) -> Option<Server> {
        let mut server = Server { software: "dovecot".into(), config_dir: "/etc/dovecot".into(), ..Server::default() };
        let mut keep = |key: &str, value: &str| {
            server.settings.insert(key.into(), Setting { value: value.into(), at: None });
        };
        keep("service/imap-login/process_limit", "100");
        keep("service/imap/process_limit", "unlimited");
        keep("service/imap/executable", "/usr/lib/dovecot/imap imap-postlogin");
        keep("service/pop3/executable", "/opt/one");
        keep("service/pop3-login/executable", "/opt/one");
        let mut servers = BTreeMap::from([("dovecot".to_owned(), server)]);
        let table = Table { all_visible, rows: rows.into_iter().map(|row| (row.pid, row)).collect() };
        attach(&mut servers, &table);
        servers.remove("dovecot")
    }

    #[test]
    fn processes_are_counted_by_the_program_of_their_service() {
        let server = attached(
            vec![
                row(5, 1, "dovecot", 'S', &["/usr/sbin/dovecot", "-F"]),
                row(6, 5, "imap-login", 'S', &["dovecot/imap-login"]),
                row(7, 5, "imap-login", 'T', &["dovecot-two/imap-login [1 pre-login]"]),
                row(8, 5, "imap", 'S', &["dovecot/imap", "imap-postlogin"]),
                row(9, 5, "imap", 'Z', &["dovecot/imap"]),
                row(10, 4, "imap", 'S', &["dovecot/imap"]),
                row(11, 5, "auth", 'S', &["dovecot/auth", "-w"]),
            ],
            true,
        );
        assert_eq!(server.master.value().unwrap().pid, 5);
        assert!(server.enabled);
        let children = server.children.value().unwrap();
        assert_eq!(children["imap-login"], Children { count: 2, stopped: 1, limit: Some(100) });
        assert_eq!(children["auth"].count, 1);
        assert_eq!(children["imap"], Children { count: 1, stopped: 0, limit: None });
        assert!(!children.contains_key("pop3"), "two services run one program: whose process it is is not known");
    }

    #[test]
    fn another_configuration_is_another_server() {
        let other = |file: &str| row(5, 1, "dovecot", 'S', &["/usr/sbin/dovecot", "-c", file]);
        assert!(attached_or_left(vec![other("/etc/two.conf")], true).is_none(), "ours is a leftover");
        let both = vec![other("/etc/two.conf"), Row { pid: 9, ..other("/etc/dovecot/dovecot.conf") }];
        assert_eq!(attached(both, true).master.value().unwrap().pid, 9);
        assert!(attached(vec![other("/etc/dovecot/dovecot.conf")], true).master.value().is_some());
        let worker = row(6, 1, "dovecot", 'S', &["dovecot/log"]);
        assert!(attached(vec![worker], true).master.is_absent());
        assert!(attached(vec![], false).master.blind().is_some());
        assert!(attached(vec![], false).children.blind().is_some());
    }
}
