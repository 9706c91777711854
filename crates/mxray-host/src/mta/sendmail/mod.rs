//! Sendmail: its daemon, read from sendmail.cf.
//!
//! This file is the rim that touches the machine. `cf` and `interpret` are pure, `attach` judges a process table. The
//! m4 source beside sendmail.cf is read for one thing, the line that an admin edits; what holds is sendmail.cf.
//! submit.cf, for programs that hand mail in, opens no listener and is not read.

mod attach;
mod cf;
mod interpret;

use super::Reader;
use super::daemon::is_chosen;
use super::machine::Machine;
use crate::processes::Table;
use crate::programs::Programs;
use crate::{files, names, read, units};
use mxray_model::evidence::Server;
use mxray_model::{Blind, Seen, text};
use std::collections::BTreeMap;
use std::path::Path;

/// sendmail.cf has 60 KB; with long classes a few hundred.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A list of domains.
const CLASS_BYTES_MAX: u64 = 1 << 20;

/// The daemon by distribution: Debian 12, Debian before, Fedora. `/usr/sbin/sendmail` is everybody's.
const PROGRAMS: &[&str] = &[
    "/usr/libexec/sendmail/sendmail",
    "/usr/lib/sm.bin/sendmail",
    "/usr/sbin/sendmail.sendmail",
    "/usr/lib/sendmail-bin/sendmail",
];
const CONFIGS: &[&str] = &["/etc/mail/sendmail.cf", "/etc/sendmail.cf"];
/// Where it queues where the file does not say so.
const SPOOL: &str = "/var/spool/mqueue";
const UNIT: &str = "sendmail.service";

/// The Sendmail reader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sendmail;

impl Reader for Sendmail {
    fn software(&self) -> &'static str {
        "sendmail"
    }

    fn servers(&self, _: &Programs) -> Seen<BTreeMap<String, Server>> {
        if !PROGRAMS.iter().any(|path| may_exist(path)) {
            return Seen::Absent;
        }
        let found =
            CONFIGS.iter().map(|path| (*path, content(path, FILE_BYTES_MAX))).find(|(_, seen)| !seen.is_absent());
        match found {
            // A package that was never configured has no file, or an empty one.
            None => Seen::Absent,
            Some((_, Seen::Value(bytes))) if bytes.trim_ascii().is_empty() => Seen::Absent,
            Some((path, Seen::Value(bytes))) => {
                Seen::Value(BTreeMap::from([("sendmail".to_owned(), configured(path, &bytes))]))
            }
            Some((_, Seen::Absent)) => Seen::Absent,
            Some((_, Seen::Unknown(blind))) => Seen::Unknown(blind),
        }
    }

    fn attach(&self, servers: &mut BTreeMap<String, Server>, table: &Table) {
        attach::attach(servers, table);
    }
}

fn configured(path: &str, bytes: &[u8]) -> Server {
    let cf = cf::parse(bytes);
    let runs_as = cf.option("RunAsUser").map(|user| user.value.clone());
    let source = path.strip_suffix(".cf").map(|stem| format!("{stem}.mc"));
    let source = source.and_then(|path| match content(&path, FILE_BYTES_MAX) {
        Seen::Value(bytes) => Some((path, source_text(&bytes))),
        Seen::Absent | Seen::Unknown(_) => None,
    });
    let machine = Machine::look();
    let read = |path: &str| content(path, CLASS_BYTES_MAX);
    let mut server = interpret::server(&interpret::Input { file: path, cf, machine: &machine, source, read: &read });
    if Path::new("/var/log").is_dir() {
        server.directories.insert("log".to_owned(), "/var/log".to_owned());
    }
    let queue = server.directories.get("queue").cloned().unwrap_or_default();
    for (name, directory) in files::mounted_below(&queue, &["qf", "df", "xf"]) {
        server.directories.insert(format!("queue/{name}"), directory);
    }
    // `user:group`; without it everything runs as root.
    let account = runs_as.as_deref().map_or("root", |user| user.split([':', '.']).next().unwrap_or(user));
    server.egress.account = names::account(account);
    server.unit = if units::exists(UNIT) { units::limits(UNIT) } else { Seen::Absent };
    server.enabled = runs_as_daemon() && is_chosen("sendmail");
    server
}

/// Line by line, so that numbers stay right.
fn source_text(bytes: &[u8]) -> String {
    bytes.split(|byte| *byte == b'\n').map(text::untrusted).collect::<Vec<_>>().join("\n")
}

/// Debian's `/etc/mail/sendmail.conf` may say that inetd listens, or nobody.
fn runs_as_daemon() -> bool {
    const BYTES_MAX: u64 = 64 * 1024;
    let Seen::Value(bytes) = content("/etc/mail/sendmail.conf", BYTES_MAX) else { return true };
    let text = source_text(&bytes);
    let mode = text.lines().filter_map(|line| line.trim_start().strip_prefix("DAEMON_MODE=")).next_back();
    let mode = mode.map(|mode| mode.trim_matches(['"', '\'', ';', ' ']).to_ascii_lowercase());
    !matches!(mode.as_deref(), Some("none" | "inetd"))
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

/// What a sendmail.cf alone makes; see [`super::draft()`].
pub(super) fn draft(content: &str, machine: &Machine) -> Server {
    interpret::server(&interpret::Input {
        file: "/etc/mail/sendmail.cf",
        cf: cf::parse(content.as_bytes()),
        machine,
        source: None,
        read: &|_| Seen::Absent,
    })
}
