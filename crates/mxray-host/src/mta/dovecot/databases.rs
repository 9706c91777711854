//! Databases that Dovecot asks for its users: where the server of a `sql` passdb or userdb listens. Pure; the file that
//! 2.3 keeps the connection in is read through the caller's function.
//!
//! Of the connection, host and port are kept and nothing else: the password stands beside them.

use super::tree::{self, Section, Tree};
use mxray_model::evidence::{Configured, Endpoint, FileLine, Helper, HelperKind, Problem};
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// Databases by kind, with the port that their clients take.
const PORTS: [(&str, u16); 2] = [("mysql", 3306), ("pgsql", 5432)];

/// The servers, by `passdb sql inet:127.0.0.1:3306`. One of several to choose from is not depended on.
pub(crate) fn helpers(
    tree: &Tree,
    read: &dyn Fn(&str) -> Seen<Vec<u8>>,
    fallback: &FileLine,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Helper> {
    let mut found = BTreeMap::new();
    for section in tree.sections.iter().filter(|section| matches!(section.kind.as_str(), "passdb" | "userdb")) {
        let at = section.at.as_ref().unwrap_or(fallback);
        match server_of(tree, section, read) {
            Ok(Some(endpoint)) => {
                let setting = format!("{} sql", section.kind);
                found.entry(format!("{setting} {endpoint}")).or_insert_with(|| Helper {
                    kind: HelperKind::Lookup,
                    endpoint,
                    setting,
                    at: section.at.clone(),
                    needed_by: BTreeSet::new(),
                    on_failure: "no_login".to_owned(),
                    connects_as: Seen::not_attempted("who connects was not looked up"),
                    state: Seen::not_attempted("sockets were not looked at"),
                });
            }
            Ok(None) => {}
            Err(blind) => {
                let text = format!("the database behind this {} is not known: {}", section.kind, blind.why());
                problems.push(Problem { at: at.clone(), text });
            }
        }
    }
    found
}

/// The files of users that passdb and userdb of the kind `passwd-file` name, by `passwd-file:/etc/dovecot/users`. One whose
/// path depends on the user stands for many, and is left out.
pub(crate) fn files(tree: &Tree) -> Vec<Configured<String>> {
    let mut found: Vec<Configured<String>> = Vec::new();
    for section in tree.sections.iter().filter(|section| matches!(section.kind.as_str(), "passdb" | "userdb")) {
        // 2.4: `passdb passwd-file { passwd_file_path = … }`; 2.3: `driver`, and the path as the last word of `args`.
        let path = if section.name == "passwd-file" {
            section.body.text("passwd_file_path")
        } else if section.body.text("driver") == "passwd-file" {
            section.body.text("args").split_whitespace().next_back().unwrap_or_default()
        } else {
            continue;
        };
        if !path.starts_with('/') || path.contains('%') {
            continue;
        }
        let value = format!("passwd-file:{path}");
        if !found.iter().any(|known| known.value == value) {
            found.push(Configured { value, setting: section.kind.clone(), at: section.at.clone() });
        }
    }
    found
}

fn server_of(tree: &Tree, section: &Section, read: &dyn Fn(&str) -> Seen<Vec<u8>>) -> Result<Option<Endpoint>, Blind> {
    // 2.4: `passdb sql { … }`, and `mysql localhost { … }` for all of them.
    if section.name == "sql" || section.body.text("passdb_driver") == "sql" {
        let driver = tree.text("sql_driver");
        let mut servers = tree.sections_of(driver);
        return Ok(match (servers.next(), servers.next()) {
            (Some(one), None) => endpoint(driver, &one.name, one.body.text(&format!("{driver}_port"))),
            _ => None,
        });
    }
    if section.body.text("driver") != "sql" {
        return Ok(None);
    }
    let path = section.body.text("args");
    let content = match read(path) {
        Seen::Value(content) => content,
        Seen::Absent => return Ok(None),
        Seen::Unknown(blind) => return Err(blind),
    };
    let file = tree::text(&content).tree;
    let (mut hosts, mut port) = (Vec::new(), "");
    for word in file.text("connect").split_whitespace() {
        match word.split_once('=') {
            Some(("host", host)) => hosts.push(host),
            Some(("port", value)) => port = value,
            _ => {}
        }
    }
    Ok(match hosts.as_slice() {
        [one] => endpoint(file.text("driver"), one, port),
        _ => None,
    })
}

/// `None` where the place is not told: libmysqlclient takes `localhost` for a socket whose path is compiled in.
fn endpoint(driver: &str, host: &str, port: &str) -> Option<Endpoint> {
    let (_, default) = PORTS.iter().find(|(name, _)| *name == driver)?;
    let port = if port.is_empty() { *default } else { port.parse().ok()? };
    match (driver, host) {
        (_, "") | ("mysql", "localhost") => None,
        // PostgreSQL names the directory (libpq, host).
        ("pgsql", host) if host.starts_with('/') => {
            Some(Endpoint::Unix { path: format!("{}/.s.PGSQL.{port}", host.trim_end_matches('/')) })
        }
        (_, host) if host.starts_with('/') => Some(Endpoint::Unix { path: host.to_owned() }),
        (_, host) => Some(Endpoint::Inet { host: host.to_owned(), port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(conf: &str, file: &'static str) -> (Vec<String>, usize) {
        let read = |path: &str| match path {
            "/etc/dovecot/sql.conf" => Seen::Value(file.as_bytes().to_vec()),
            "/etc/dovecot/secret.conf" => {
                Seen::Unknown(Blind::NotPermitted { what: "read it".into(), needs: "root".into() })
            }
            _ => Seen::Absent,
        };
        let mut problems = Vec::new();
        let fallback = FileLine { file: "/etc/dovecot/dovecot.conf".into(), line: 1 };
        let helpers = helpers(&tree::text(conf.as_bytes()).tree, &read, &fallback, &mut problems);
        assert!(!format!("{helpers:?}{problems:?}").contains("hunter2"));
        (helpers.into_keys().collect(), problems.len())
    }

    #[test]
    fn files_of_users_are_named_once() {
        let conf = "passdb {\n driver = passwd-file\n args = scheme=CRYPT username_format=%u /etc/dovecot/users\n}\n\
                    userdb {\n driver = passwd-file\n args = /etc/dovecot/users\n}\n\
                    passdb passwd-file {\n passwd_file_path = /srv/users\n}\n\
                    passdb {\n driver = passwd-file\n args = /srv/%d/passwd\n}\npassdb {\n driver = pam\n}\n";
        let found: Vec<String> = files(&tree::text(conf.as_bytes()).tree)
            .into_iter()
            .map(|file| format!("{} {}", file.setting, file.value))
            .collect();
        assert_eq!(found, ["passdb passwd-file:/etc/dovecot/users", "passdb passwd-file:/srv/users"]);
    }

    #[test]
    fn the_database_server_is_known_by_host_and_port_alone() {
        let conf = "passdb {\n driver = sql\n args = /etc/dovecot/sql.conf\n}\n";
        for (file, wanted) in [
            (
                "driver = mysql\nconnect = host=127.0.0.1 dbname=mail user=m password=hunter2\n",
                vec!["passdb sql inet:127.0.0.1:3306"],
            ),
            (
                "driver = mysql\nconnect = \"host=/run/mysqld/mysqld.sock password=hunter2\"\n",
                vec!["passdb sql unix:/run/mysqld/mysqld.sock"],
            ),
            (
                "driver = pgsql\nconnect = host=/run/postgresql port=5433 password=hunter2\n",
                vec!["passdb sql unix:/run/postgresql/.s.PGSQL.5433"],
            ),
            ("driver = pgsql\nconnect = host=localhost password=hunter2\n", vec!["passdb sql inet:localhost:5432"]),
            ("driver = mysql\nconnect = host=localhost password=hunter2\n", vec![]),
            ("driver = mysql\nconnect = host=192.0.2.1 host=192.0.2.2 password=hunter2\n", vec![]),
            ("driver = sqlite\nconnect = /etc/dovecot/users.sqlite\n", vec![]),
        ] {
            assert_eq!(found(conf, file), (wanted.into_iter().map(str::to_owned).collect(), 0), "{file}");
        }
        assert_eq!(found("userdb {\n driver = sql\n args = /etc/dovecot/secret.conf\n}\n", ""), (vec![], 1));
        assert_eq!(found("passdb {\n driver = pam\n}\n", ""), (vec![], 0));
        let new = "sql_driver = pgsql\npgsql 127.0.0.1 {\n parameters {\n  password = hunter2\n }\n}\npassdb sql {\n}\nuserdb sql {\n}\n";
        assert_eq!(found(new, "").0, ["passdb sql inet:127.0.0.1:5432", "userdb sql inet:127.0.0.1:5432"]);
    }
}
