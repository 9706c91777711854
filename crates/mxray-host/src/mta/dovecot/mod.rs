//! Dovecot, read through `doveconf` where it may be run and from the files otherwise.
//!
//! This file is the rim that touches the machine. `syntax`, `tree`, `services`, `databases` and `interpret` are pure. doveconf knows
//! every default and shows no place; so the files are read in any case, and a value has a place where both agree.

mod attach;
mod databases;
mod interpret;
mod services;
mod syntax;
#[cfg(test)]
mod tests;
mod tree;

use super::Reader;
use super::machine::Machine;
use crate::processes::Table;
use crate::programs::{self, Programs};
use crate::{read, units};
use interpret::Input;
use mxray_model::evidence::{FileLine, Problem, Server};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tree::{Files, Missing, Parsed, Tree};

/// Debian's files are 5 KB each; sites that write one `local_name` for each domain into one file have some megabytes.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files that one pattern may name.
const MATCHES_MAX: usize = 4096;
/// It takes some 20 ms; it asks each installed protocol for its capabilities, and may look up the host name.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where packages put them: Debian and Red Hat; self-built.
const DOVECONFS: &[&str] = &["/usr/bin/doveconf", "/usr/local/bin/doveconf"];
const DAEMONS: &[&str] = &["/usr/sbin/dovecot", "/usr/local/sbin/dovecot"];
const CONFIG_FILES: &[&str] = &["/etc/dovecot/dovecot.conf", "/usr/local/etc/dovecot/dovecot.conf"];
/// Our table of defaults, in Dovecot's own notation: for where doveconf cannot be asked.
const DEFAULTS: &str = include_str!("defaults.conf");

/// The Dovecot reader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dovecot;

impl Reader for Dovecot {
    fn software(&self) -> &'static str {
        "dovecot"
    }

    fn servers(&self, programs: &Programs) -> Seen<BTreeMap<String, Server>> {
        if !DAEMONS.iter().any(|path| may_exist(Path::new(path))) {
            return Seen::Absent;
        }
        let file = CONFIG_FILES.iter().copied().find(|path| may_exist(Path::new(path)));
        let Some(file) = file else { return Seen::Absent };
        if let Seen::Unknown(blind) = read::file(Path::new(file), 1) {
            return Seen::Unknown(blind);
        }
        let own = tree::read(file, defaults(), &Disk);
        if !has_run(&own.tree) {
            return Seen::Absent;
        }
        let dump = dump(programs, file);
        let mut server = server(file, own, dump, &Machine::look(), &is_program, &connection_file);
        server.tables = super::postfix::tables_of(&server);
        server.unit = units::limits("dovecot.service");
        server.enabled = !is_switched_off(Path::new("/"));
        if !server.directories.contains_key("log")
            && let Some(log) = ["/var/log"].iter().find(|log| Path::new(log).is_dir())
        {
            server.directories.insert("log".to_owned(), (*log).to_owned());
        }
        Seen::Value(BTreeMap::from([("dovecot".to_owned(), server)]))
    }

    fn attach(&self, servers: &mut BTreeMap<String, Server>, table: &Table) {
        attach::attach(servers, table);
    }
}

/// Joins what the files and doveconf say. Pure but for `exists` and `read`.
fn server(
    file: &str,
    own: Parsed,
    dump: Seen<Vec<u8>>,
    machine: &Machine,
    exists: &dyn Fn(&str) -> bool,
    read: &dyn Fn(&str) -> Seen<Vec<u8>>,
) -> Server {
    let mut problems = own.problems;
    let (tree, version, configured_by) = match dump {
        Seen::Value(output) => {
            let mut shown = tree::text(&output).tree;
            shown.locate(&own.tree);
            // Places and the names of key files are missing; what holds is known.
            (shown, version(&output), "doveconf -a".to_owned())
        }
        Seen::Absent => (own.tree, unknown_version(), file.to_owned()),
        Seen::Unknown(blind) => {
            problems.push(refused(file, &blind));
            (own.tree, unknown_version(), file.to_owned())
        }
    };
    interpret::server(Input { config_file: file, version, tree, problems, configured_by, machine, exists, read })
}

fn unknown_version() -> Seen<String> {
    Seen::not_attempted("without doveconf the version stands nowhere")
}

/// `# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf`
fn version(dump: &[u8]) -> Seen<String> {
    let first = dump.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = untrusted(first).strip_prefix("# ").and_then(|rest| rest.split(' ').next().map(str::to_owned));
    match word.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        Some(word) => Seen::Value(word),
        None => Seen::not_attempted("doveconf did not say it"),
    }
}

/// Why doveconf gave nothing, with the place that it complains of: Dovecot does not start with such a configuration.
fn refused(file: &str, blind: &Blind) -> Problem {
    let at = |file: &str, line| FileLine { file: file.to_owned(), line };
    if let Blind::Failed { error, .. } = blind
        && let Some((_, behind)) = error.split_once("Error in configuration file ")
        && let Some((path, behind)) = behind.split_once(" line ")
        && let Some((line, text)) = behind.split_once(": ")
        && let Ok(line) = line.parse()
    {
        return Problem { at: at(path, line), text: format!("Dovecot cannot start with it: {text}") };
    }
    Problem {
        at: at(file, 1),
        text: format!(
            "doveconf could not be asked ({}): what is not set is taken to stand at Dovecot's defaults",
            blind.why()
        ),
    }
}

/// Everything that holds, defaults included. Keys are hidden by doveconf itself; only `-P` would show them.
fn dump(programs: &Programs, file: &str) -> Seen<Vec<u8>> {
    for place in DOVECONFS {
        match programs::trusted(Path::new(place)) {
            Seen::Value(program) => {
                let mut command = Command::new(&program);
                command.args(["-a", "-c", file]);
                return programs.run(command, format!("run {} -a -c {file}", read::shown(&program)), PATIENCE);
            }
            Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Absent
}

fn defaults() -> Tree {
    tree::text(DEFAULTS.as_bytes()).tree
}

pub(super) fn config_file_of(server: &Server) -> String {
    format!("{}/dovecot.conf", server.config_dir)
}

/// Dovecot notes every instance that it starts, and while it runs there is its pid file.
fn has_run(tree: &Tree) -> bool {
    let noted = [("state_dir", "instances"), ("base_dir", "master.pid")];
    noted.iter().any(|(directory, name)| may_exist(&Path::new(tree.text(directory)).join(name)))
}

/// What cannot be looked at counts as there.
fn may_exist(path: &Path) -> bool {
    !matches!(path.try_exists(), Ok(false))
}

/// The file with a database's connection.
fn connection_file(path: &str) -> Seen<Vec<u8>> {
    const BYTES_MAX: u64 = 1 << 20;
    if path.starts_with('/') {
        read::file(Path::new(path), BYTES_MAX).map(|content| content.bytes)
    } else {
        Seen::Absent
    }
}

fn is_program(path: &str) -> bool {
    Path::new(path).is_file()
}

/// systemd would not start it with the machine: nothing wants its service, and that can be seen. Behind dovecot.socket it
/// comes with the first client.
fn is_switched_off(root: &Path) -> bool {
    let below = |path: &str| root.join(path);
    let managed = below("run/systemd/system").is_dir();
    let has_unit =
        ["lib", "usr/lib"].iter().any(|lib| below(&format!("{lib}/systemd/system/dovecot.service")).exists());
    if !managed || !has_unit {
        return false;
    }
    let masked = std::fs::read_link(below("etc/systemd/system/dovecot.service"))
        .is_ok_and(|target| target == Path::new("/dev/null"));
    let Ok(entries) = std::fs::read_dir(below("etc/systemd/system")) else { return false };
    let wanted = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wants" || extension == "requires"));
    let links = |directory: PathBuf| directory.join("dovecot.service").symlink_metadata().is_ok();
    masked || !wanted.into_iter().any(links)
}

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn matching(&self, from: &str, pattern: &str) -> Result<Vec<String>, Missing> {
        let directory = Path::new(from).parent().unwrap_or(Path::new("/"));
        if !pattern.contains(['*', '?', '[']) {
            return Ok(vec![directory.join(pattern).to_string_lossy().into_owned()]);
        }
        let full = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            format!("{}/{pattern}", glob::Pattern::escape(&directory.to_string_lossy()))
        };
        // For glob(3) two stars are one; here they would walk through every directory below.
        let mut full = full;
        while full.contains("**") {
            full = full.replace("**", "*");
        }
        // glob(3): neither a wildcard at a name's beginning nor one across directories.
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let paths =
            glob::glob_with(&full, options).map_err(|error| Missing::Unreadable(format!("not a pattern: {error}")))?;
        let mut found = Vec::new();
        for path in paths.take(MATCHES_MAX) {
            match path {
                Ok(path) => found.push(path.to_string_lossy().into_owned()),
                Err(error) => return Err(Missing::Unreadable(error.error().to_string())),
            }
        }
        if found.is_empty() { Err(Missing::NotThere) } else { Ok(found) }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Missing> {
        match read::file(Path::new(path), FILE_BYTES_MAX) {
            Seen::Value(content) if content.cut => {
                Err(Missing::Unreadable(format!("it is longer than {FILE_BYTES_MAX} bytes")))
            }
            Seen::Value(content) => Ok(content.bytes),
            Seen::Absent => Err(Missing::NotThere),
            Seen::Unknown(blind) => Err(Missing::Unreadable(blind.why())),
        }
    }
}

/// What a dovecot.conf alone makes, with all protocols; see [`super::draft()`].
pub(super) fn draft(content: &str, machine: &Machine) -> Server {
    struct One<'a>(&'a str);
    impl Files for One<'_> {
        fn matching(&self, _: &str, _: &str) -> Result<Vec<String>, Missing> {
            Ok(Vec::new())
        }
        fn read(&self, path: &str) -> Result<Vec<u8>, Missing> {
            if path == DRAFT { Ok(self.0.as_bytes().to_vec()) } else { Err(Missing::NotThere) }
        }
    }
    const DRAFT: &str = "/etc/dovecot/dovecot.conf";
    let whole = format!("protocols = imap pop3 lmtp submission sieve\nssl = yes\n{content}");
    server(DRAFT, tree::read(DRAFT, defaults(), &One(&whole)), Seen::Absent, machine, &|_| true, &|_| Seen::Absent)
}
