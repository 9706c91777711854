//! Postfix: its instances, read through `postconf` where it may be run and from the files otherwise.
//!
//! This file is the rim that touches the machine. `lines`, `main_cf`, `master_cf`, `expand`, `effective`, `listeners`,
//! `depends` and `interpret` are pure.

mod asked;
mod attach;
mod commands;
mod defaults;
mod depends;
#[cfg(test)]
mod dumps;
mod effective;
mod expand;
mod facts;
mod forms;
mod interpret;
mod lines;
pub(crate) mod listeners;
mod logins;
pub(crate) mod main_cf;
pub(crate) mod master_cf;
mod parts;
mod postconf;
mod queue_access;
mod started;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use effective::{Item, items};
pub(crate) use lines::escaped;
pub(crate) use tables::look as tables_of;

pub(super) use logins::login;

use super::Reader;
use super::machine::Machine;
use crate::processes::Table;
use crate::programs::Programs;
use crate::{names, read, units};
use interpret::{Input, server};
use lines::Trouble;
use mxray_model::evidence::{FileLine, Problem, Server};
use mxray_model::{Blind, Seen};
use postconf::Postconf;
use started::Started;
use std::collections::BTreeMap;
use std::path::Path;

/// main.cf and master.cf are kilobytes; the largest ones seen (thousands of transports) stay under two megabytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// A list of networks in a file of its own.
const NETWORKS_BYTES_MAX: u64 = 1 << 20;
/// Most instances that are read. Sending platforms run some hundred.
const INSTANCES_MAX: usize = 256;

/// Configuration directories, where postconf cannot tell.
const CONFIG_DIRS: &[&str] = &["/etc/postfix", "/usr/local/etc/postfix", "/opt/postfix/etc"];
/// The daemon that everything starts from, by distribution. Without it and postconf, a configuration is a leftover.
const MASTERS: &[&str] = &[
    "/usr/lib/postfix/sbin/master",
    "/usr/libexec/postfix/master",
    "/usr/lib/postfix/master",
    "/usr/lib/postfix/bin/master",
    "/usr/local/libexec/postfix/master",
    "/opt/postfix/libexec/master",
];

/// The Postfix reader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Postfix;

impl Reader for Postfix {
    fn software(&self) -> &'static str {
        "postfix"
    }

    fn servers(&self, programs: &Programs) -> Seen<BTreeMap<String, Server>> {
        let postconf = Postconf::find();
        let started = started::look();
        // Zimbra has a Postfix of its own, whose programs are nowhere where others look.
        if postconf.is_absent() && !has_master() && started.directories.is_empty() {
            return Seen::Absent;
        }
        let built_in = match &postconf {
            Seen::Value(postconf) => postconf.built_in(programs),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        let told = |name: &str| built_in.value().and_then(|values| values.get(name)).cloned();
        let config_dir = told("config_directory").filter(|dir| dir.starts_with('/')).unwrap_or_else(|| {
            let with_file = CONFIG_DIRS.iter().find(|dir| may_exist(&Path::new(dir).join("main.cf")));
            (*with_file.unwrap_or(&"/etc/postfix")).to_owned()
        });
        let version = match (told("mail_version"), &built_in) {
            (Some(version), _) => Seen::Value(version),
            (None, Seen::Unknown(blind)) => Seen::Unknown(blind.clone()),
            (None, _) => Seen::not_attempted("without postconf the version stands nowhere"),
        };
        let machine = Machine::look();
        let defaults = built_in.value().cloned().unwrap_or_default();
        Installed { postconf, version, defaults, machine, programs }.all(&config_dir, &started)
    }

    fn attach(&self, servers: &mut BTreeMap<String, Server>, table: &Table) {
        attach::attach(servers, table);
    }
}

/// Installed and never configured: the package is there, its main.cf is not, and nothing has ever run.
pub(crate) fn is_unconfigured() -> Option<String> {
    let found = match Postconf::find() {
        Seen::Value(postconf) => postconf.path(),
        Seen::Absent | Seen::Unknown(_) => return None,
    };
    let main = Path::new("/etc/postfix/main.cf");
    let is_empty = matches!(main.try_exists(), Ok(false)) && !has_run();
    (is_empty && started::look().directories.is_empty()).then(|| format!("{found}, without a main.cf"))
}

/// The services of one instance, read anew: the server that a report carries keeps its listeners only.
pub(crate) fn services(server: &Server) -> Seen<master_cf::MasterCf> {
    read::file(&Path::new(&server.config_dir).join("master.cf"), FILE_BYTES_MAX)
        .map(|content| master_cf::parse(&content.bytes))
}

fn has_master() -> bool {
    MASTERS.iter().any(|path| may_exist(Path::new(path)))
}

/// The master leaves this file for ever.
fn has_run() -> bool {
    may_exist(Path::new("/var/spool/postfix/pid/master.pid"))
}

/// What cannot be looked at counts as there: only what was looked for and not found makes Postfix absent.
fn may_exist(path: &Path) -> bool {
    !matches!(path.try_exists(), Ok(false))
}

/// Where mail waits below the queue directory; each may be a file system of its own.
const QUEUE_PARTS: &[&str] = &["incoming", "active", "deferred", "maildrop", "hold", "defer", "bounce"];

/// What all instances share.
struct Installed<'a> {
    postconf: Seen<Postconf>,
    version: Seen<String>,
    /// Of all parameters, unexpanded; empty where postconf could not be asked.
    defaults: BTreeMap<String, String>,
    machine: Machine,
    programs: &'a Programs,
}

impl Installed<'_> {
    fn all(&self, config_dir: &str, started: &Started) -> Seen<BTreeMap<String, Server>> {
        // Nothing in the built-in place: what runs is all that there is.
        let is_empty = read::file(&Path::new(config_dir).join("main.cf"), 1).is_absent();
        let replaced = started.besides(&[config_dir.to_owned()]).into_iter().next().filter(|_| is_empty);
        if is_empty && replaced.is_none() {
            match started.somewhere() {
                Some(blind) => return Seen::Unknown(blind),
                None if !has_run() => return Seen::Absent,
                None => {}
            }
        }
        let config_dir = replaced.as_deref().unwrap_or(config_dir);
        let mut primary = match self.instance(config_dir, true) {
            Ok(primary) => primary,
            Err(blind) => return Seen::Unknown(blind),
        };
        if let Some(blind) = started.doubt(&primary) {
            return Seen::Unknown(blind);
        }
        let directories = primary.setting("multi_instance_directories").to_owned();
        let mut others = self.unlisted(started, &mut primary);
        for item in items(&directories).into_iter().take(INSTANCES_MAX) {
            let Item::Word(directory) = item else { continue };
            let directory = directory.trim_end_matches('/');
            if directory == config_dir || !directory.starts_with('/') {
                continue;
            }
            match self.instance(directory, false) {
                Ok(server) => others.push(server),
                Err(blind) => primary.problems.push(Problem {
                    at: primary
                        .set_at("multi_instance_directories")
                        .cloned()
                        .unwrap_or(FileLine { file: format!("{config_dir}/main.cf"), line: 1 }),
                    text: format!("the instance in {directory} could not be read: {}", blind.why()),
                }),
            }
        }
        let mut servers = BTreeMap::new();
        for server in std::iter::once(primary).chain(others) {
            servers.insert(self.key(&server, &servers), server);
        }
        Seen::Value(servers)
    }

    /// Instances that run without being named in the primary one's main.cf. One of them may be what really runs in its place.
    fn unlisted(&self, started: &Started, primary: &mut Server) -> Vec<Server> {
        let listed = items(primary.setting("multi_instance_directories")).into_iter().filter_map(|item| match item {
            Item::Word(directory) => Some(directory.to_owned()),
            _ => None,
        });
        let known: Vec<String> = listed.chain([primary.config_dir.clone()]).collect();
        let mut others = Vec::new();
        for directory in started.besides(&known).into_iter().take(INSTANCES_MAX) {
            match self.instance(&directory, true) {
                Ok(server) if started.is_replaced(primary, &server) => *primary = server,
                Ok(server) => others.push(server),
                Err(blind) => primary.problems.push(Problem {
                    at: FileLine { file: format!("{directory}/main.cf"), line: 1 },
                    text: format!("Postfix was started with it, and it could not be read: {}", blind.why()),
                }),
            }
        }
        others
    }

    /// The instance's own name; `postfix` for one that has none, or its directory where that is taken.
    fn key(&self, server: &Server, taken: &BTreeMap<String, Server>) -> String {
        let name = server.setting("multi_instance_name");
        let name = if name.is_empty() { "postfix" } else { name };
        if taken.contains_key(name) { server.config_dir.clone() } else { name.to_owned() }
    }

    fn instance(&self, config_dir: &str, primary: bool) -> Result<Server, Blind> {
        let (main_bytes, main_trouble) = configuration(config_dir, "main.cf")?;
        let (master_bytes, master_trouble) = configuration(config_dir, "master.cf")?;
        let mut main = main_cf::parse(&main_bytes);
        main.troubles.extend(main_trouble);
        let mut master = master_cf::parse(&master_bytes);
        let commented = parts::commented_lines(&master_bytes);
        master.troubles.extend(master_trouble);
        let dump = match &self.postconf {
            Seen::Value(postconf) => postconf.values(self.programs, config_dir),
            Seen::Absent => Seen::not_attempted("postconf is not installed"),
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        let types = match &self.postconf {
            Seen::Value(postconf) => postconf.types(self.programs, config_dir),
            Seen::Absent => Seen::Absent,
            Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        };
        let read = |path: &str| crate::read::file(Path::new(path), NETWORKS_BYTES_MAX).map(|content| content.bytes);
        let saslauthd = saslauthd(config_dir);
        // A service with `n` in the unprivileged column connects to its helpers as root.
        let connects =
            |name: &str| matches!(name, "smtpd" | "cleanup" | "lmtp" | "smtp" | "trivial-rewrite" | "proxymap");
        let unprivileged = master.services.values().all(|service| service.unprivileged || !connects(service.daemon()));
        let mut server = server(&Input {
            config_dir,
            version: self.version.clone(),
            dump,
            types,
            defaults: &self.defaults,
            main,
            master,
            commented: &commented,
            machine: &self.machine,
            primary,
            saslauthd: saslauthd.value().cloned(),
            read: &read,
            runnable: &commands::unrunnable,
        });
        if let Some(blind) = saslauthd.blind()
            && asks_cyrus(&server)
        {
            let at = FileLine { file: format!("{config_dir}/sasl/smtpd.conf"), line: 1 };
            server.problems.push(Problem { at, text: format!("where logins are checked is unknown: {}", blind.why()) });
        }
        if !server.directories.contains_key("log")
            // A log that is not there, or cannot be made there, would be in the same place.
            && let Some(directory) = ["/var/log"].iter().find(|log| Path::new(log).is_dir())
        {
            server.directories.insert("log".to_owned(), (*directory).to_owned());
        }
        for (name, directory) in crate::files::mounted_below(server.setting("queue_directory"), QUEUE_PARTS) {
            server.directories.insert(format!("queue/{name}"), directory);
        }
        server.tables = tables::look(&server);
        server.rewrites = tables::rewrites(&server);
        server.unlisted = tables::unlisted(&server);
        server.unit = unit(&server, primary);
        server.egress.account = names::account(server.setting("mail_owner"));
        server.closed = queue_access::closed(&server);
        let queue = Path::new(server.setting("queue_directory")).to_owned();
        let sockets = std::mem::take(&mut server.unlinked).into_iter().map(|socket| queue.join(socket));
        // Where nobody may look, the socket counts as there.
        server.unlinked =
            sockets.filter(|path| matches!(path.try_exists(), Ok(false))).map(|path| read::shown(&path)).collect();
        if unprivileged {
            let account = &server.egress.account;
            server.helpers.values_mut().for_each(|helper| helper.connects_as = account.clone());
        }
        Ok(server)
    }
}

/// One of the two files. Missing is a fault of the server; forbidden means that nothing can be said about it.
fn configuration(config_dir: &str, name: &str) -> Result<(Vec<u8>, Option<Trouble>), Blind> {
    match read::file(&Path::new(config_dir).join(name), FILE_BYTES_MAX) {
        Seen::Value(content) => {
            let trouble = content.cut.then(|| {
                Trouble::new(1, format!("{name} is longer than {FILE_BYTES_MAX} bytes; the rest is not read"))
            });
            Ok((content.bytes, trouble))
        }
        Seen::Absent => Ok((Vec::new(), Some(Trouble::new(1, format!("{name} does not exist: Postfix cannot start"))))),
        Seen::Unknown(blind) => Err(blind),
    }
}

/// The unit that starts an instance: Debian's template `postfix@-.service` (`-`: the primary one), else postfix.service.
fn unit(server: &Server, primary: bool) -> Seen<mxray_model::evidence::UnitLimits> {
    let name = server.setting("multi_instance_name");
    let instance = if primary || name.is_empty() { "-" } else { name };
    let template = format!("postfix@{instance}.service");
    if units::exists(&template) { units::limits(&template) } else { units::limits("postfix.service") }
}

/// Logins are checked through the Cyrus library, by the whole server or by one service.
fn asks_cyrus(server: &Server) -> bool {
    server.wanted.values().any(|listener| {
        let is = |name: &str, wanted: &str| server.setting_of(listener, name).eq_ignore_ascii_case(wanted);
        is("smtpd_sasl_type", "cyrus") && is("smtpd_sasl_auth_enable", "yes")
    })
}

/// Where the Cyrus library's smtpd.conf asks saslauthd, and where that listens. `Absent`: it does not ask it.
fn saslauthd(config_dir: &str) -> Seen<String> {
    const BYTES_MAX: u64 = 64 * 1024;
    let own = format!("{config_dir}/sasl/smtpd.conf");
    for path in [own.as_str(), "/usr/lib/sasl2/smtpd.conf", "/usr/lib64/sasl2/smtpd.conf", "/etc/sasl2/smtpd.conf"] {
        match read::file(Path::new(path), BYTES_MAX) {
            Seen::Value(content) => return saslauthd_socket(&content.bytes).map_or(Seen::Absent, Seen::Value),
            Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Absent
}

/// `pwcheck_method: saslauthd`, and `saslauthd_path:` where it is not at its default.
fn saslauthd_socket(bytes: &[u8]) -> Option<String> {
    let mut asks = false;
    let mut path = "/var/run/saslauthd/mux".to_owned();
    for line in lines::logical(bytes).0 {
        match line.text.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("pwcheck_method", methods)) => asks = methods.split_whitespace().any(|method| method == "saslauthd"),
            Some(("saslauthd_path", value)) => path = value.to_owned(),
            _ => {}
        }
    }
    asks.then_some(path)
}

/// What a master.cf alone makes; see [`super::draft()`].
pub(super) fn draft(master: &str, machine: &Machine) -> Server {
    server(&Input {
        config_dir: "/etc/postfix",
        version: Seen::not_attempted("a draft"),
        dump: Seen::Absent,
        types: Seen::Absent,
        defaults: &BTreeMap::new(),
        main: main_cf::parse(b"inet_interfaces = all\n"),
        master: master_cf::parse(master.as_bytes()),
        commented: &[],
        machine,
        primary: true,
        saslauthd: None,
        read: &|_| Seen::Absent,
        runnable: &|_| BTreeMap::new(),
    })
}
