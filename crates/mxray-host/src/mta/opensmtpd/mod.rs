//! OpenSMTPD 6.4 and later: its one instance, read from smtpd.conf and what that includes.
//!
//! This file and `logins` are the rim that touches the machine. `lexer`, `grammar` and `interpret` are pure, `attach` judges a process
//! table. smtpd prints nothing of its configuration (`smtpd -n` checks its syntax and reads private keys for it), so it is
//! never run. Whether mail is paused (`smtpctl pause`) only the running daemon knows, and it is not asked.

mod attach;
mod grammar;
mod interpret;
mod lexer;
mod logins;
#[cfg(test)]
mod tests;

pub(super) use logins::login;

use super::Reader;
use super::daemon::is_chosen;
use super::machine::Machine;
use crate::interfaces::Interfaces;
use crate::processes::Table;
use crate::programs::Programs;
use crate::{files, names, read, units};
use mxray_model::evidence::{FileLine, Problem, Server, UnitLimits};
use mxray_model::{Blind, Seen, text};
use std::collections::BTreeMap;
use std::path::Path;

/// smtpd.conf is some kilobytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A table of domains or hosts in a file of its own.
const TABLE_BYTES_MAX: u64 = 1 << 20;

/// The daemon by distribution. `/usr/sbin/smtpd` is nobody else's: Postfix keeps its own among its private programs.
const PROGRAMS: &[&str] = &[
    "/usr/sbin/smtpd",
    "/usr/sbin/opensmtpd",
    "/usr/bin/smtpd",
    "/usr/local/sbin/smtpd",
    "/usr/lib/x86_64-linux-gnu/opensmtpd/smtpd",
];
/// Where its configuration stands: Debian; Arch, Alpine, Gentoo and Void; Fedora and SUSE; as upstream builds it.
const CONFIGS: &[&str] = &[
    "/etc/smtpd.conf",
    "/etc/smtpd/smtpd.conf",
    "/etc/opensmtpd/smtpd.conf",
    "/etc/mail/smtpd.conf",
    "/usr/local/etc/smtpd.conf",
    "/usr/local/etc/mail/smtpd.conf",
];
/// The queue; chosen when smtpd is built, and the same everywhere.
pub(crate) const SPOOL: &str = "/var/spool/smtpd";
/// Its parts; each may be a file system of its own.
const SPOOL_PARTS: &[&str] = &["incoming", "offline", "purge", "queue", "temporary"];
/// The user that opens connections, by distribution.
const ACCOUNTS: &[&str] = &["opensmtpd", "_smtpd", "smtpd"];
const UNITS: &[&str] = &["opensmtpd.service", "smtpd.service"];

/// The OpenSMTPD reader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OpenSmtpd;

impl Reader for OpenSmtpd {
    fn software(&self) -> &'static str {
        "opensmtpd"
    }

    fn servers(&self, _: &Programs) -> Seen<BTreeMap<String, Server>> {
        if !PROGRAMS.iter().any(|path| may_exist(path)) {
            return Seen::Absent;
        }
        let found =
            CONFIGS.iter().map(|path| (*path, content(path, FILE_BYTES_MAX))).find(|(_, seen)| !seen.is_absent());
        let server = match found {
            Some((path, Seen::Value(bytes))) => configured(path, &bytes),
            Some((_, Seen::Unknown(blind))) => return Seen::Unknown(blind),
            // It makes its spool at its first start.
            _ if !may_exist(&format!("{SPOOL}/queue")) => return Seen::Absent,
            _ => without_configuration(),
        };
        Seen::Value(BTreeMap::from([("opensmtpd".to_owned(), server)]))
    }

    fn attach(&self, servers: &mut BTreeMap<String, Server>, table: &Table) {
        attach::attach(servers, table);
    }
}

fn configured(path: &str, bytes: &[u8]) -> Server {
    let machine = Machine::look();
    let read = |path: &str| content(path, TABLE_BYTES_MAX);
    let mut server = interpret::server(interpret::Input {
        file: path,
        config: grammar::parse(path, bytes, &read),
        host_name: host_name(&machine),
        machine: &machine,
        interfaces: &Interfaces::look(),
        read: &read,
    });
    for (name, directory) in files::mounted_below(SPOOL, SPOOL_PARTS) {
        server.directories.insert(format!("queue/{name}"), directory);
    }
    if Path::new("/var/log").is_dir() {
        server.directories.insert("log".to_owned(), "/var/log".to_owned());
    }
    server.egress.account =
        ACCOUNTS.iter().map(|name| names::account(name)).find(|seen| !seen.is_absent()).unwrap_or(Seen::Absent);
    server.unit = unit();
    server.enabled = is_chosen("opensmtpd");
    server
}

/// It has run here, and its configuration is gone.
fn without_configuration() -> Server {
    let file = CONFIGS.first().copied().unwrap_or_default();
    let at = FileLine { file: file.to_owned(), line: 1 };
    Server {
        software: "opensmtpd".to_owned(),
        config_dir: "/etc".to_owned(),
        enabled: true,
        configured_by: file.to_owned(),
        directories: BTreeMap::from([("queue".to_owned(), SPOOL.to_owned())]),
        unit: unit(),
        problems: vec![Problem { at, text: "smtpd.conf does not exist: smtpd cannot start".to_owned() }],
        ..Server::default()
    }
}

fn unit() -> Seen<UnitLimits> {
    UNITS.iter().find(|unit| units::exists(unit)).map_or(Seen::Absent, |unit| units::limits(unit))
}

/// A file that is cut is not understood: what it says further down may change everything.
fn content(path: &str, limit: u64) -> Seen<Vec<u8>> {
    match read::file(Path::new(path), limit) {
        Seen::Value(content) if content.cut => {
            Seen::Unknown(Blind::NotUnderstood { what: path.to_owned(), text: format!("longer than {limit} bytes") })
        }
        other => other.map(|content| content.bytes),
    }
}

/// What cannot be looked at counts as there: only what was looked for and not found makes it absent.
fn may_exist(path: &str) -> bool {
    !matches!(Path::new(path).try_exists(), Ok(false))
}

/// `getmailname` in smtpd: the first line of /etc/mailname, else the host's own name.
fn host_name(machine: &Machine) -> String {
    const BYTES_MAX: u64 = 4096;
    if let Seen::Value(bytes) = content("/etc/mailname", BYTES_MAX) {
        let first = text::untrusted(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii());
        if !first.is_empty() {
            return first;
        }
    }
    machine.host_name.clone()
}

/// What a configuration file alone makes; see [`super::draft()`].
pub(super) fn draft(content: &str, machine: &Machine) -> Server {
    const FILE: &str = "/etc/smtpd.conf";
    let read = |_: &str| Seen::Absent;
    interpret::server(interpret::Input {
        file: FILE,
        config: grammar::parse(FILE, content.as_bytes(), &read),
        machine,
        interfaces: &Interfaces::default(),
        host_name: machine.host_name.clone(),
        read: &read,
    })
}
