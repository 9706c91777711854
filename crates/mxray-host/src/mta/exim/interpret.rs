//! What was read of Exim, as the facts that rules judge. Pure.

use super::daemon::{DEFAULT_FILE, Daemon, Defaults};
use super::list::is_expansion;
use super::sections::{Config, Statement, Value};
use super::{facts, helpers, listeners, logins};
use crate::mta::machine::Machine;
use crate::secrets;
use mxray_model::Seen;
use mxray_model::evidence::{FileLine, Problem, Server, Setting};
use std::collections::BTreeMap;

/// Exim's own defaults (specification, 14) of the options that rules look at. `None`: decided when Exim was built.
pub(crate) const OPTIONS: &[(&str, Option<&str>)] = &[
    ("acl_smtp_rcpt", Some("")),
    ("auth_advertise_hosts", Some("*")),
    ("av_scanner", Some("sophie:/var/run/sophie")),
    ("check_spool_inodes", Some("100")),
    ("check_spool_space", Some("10M")),
    ("daemon_smtp_ports", Some("smtp")),
    ("deliver_queue_load_max", Some("")),
    ("disable_ipv6", Some("false")),
    ("exim_user", None),
    ("freeze_tell", Some("")),
    ("hold_domains", Some("")),
    ("host_reject_connection", Some("")),
    ("local_interfaces", Some("<; ::0 ; 0.0.0.0")),
    ("log_file_path", None),
    ("message_size_limit", Some("50M")),
    ("primary_hostname", None),
    ("qualify_domain", None),
    ("queue_domains", Some("")),
    ("queue_only", Some("false")),
    ("queue_only_file", Some("")),
    ("queue_only_load", Some("")),
    ("queue_smtp_domains", Some("")),
    ("smtp_accept_max", Some("20")),
    ("smtp_accept_max_per_host", Some("")),
    ("smtp_accept_queue", Some("0")),
    ("smtp_accept_reserve", Some("0")),
    ("smtp_connect_backlog", Some("20")),
    ("smtp_load_reserve", Some("")),
    ("spamd_address", Some("127.0.0.1 783")),
    ("spool_directory", None),
    ("tls_advertise_hosts", Some("*")),
    ("tls_certificate", Some("")),
    ("tls_on_connect_ports", Some("")),
    ("tls_privatekey", Some("")),
];
/// Whether an authenticator here lets users log in.
pub(crate) const LOGINS: &str = "logins";
/// Who goes through the queue: `daemon`, `cron`, `none`, or `unknown` where crontabs may not be read.
pub(crate) const QUEUE_RUNNER: &str = "queue runner";
/// A hosting panel's longest list has some ten thousand names.
const VALUE_CHARS_MAX: usize = 64 * 1024;
const PROBLEMS_MAX: usize = 100;

/// What was read of the one instance.
pub(crate) struct Input<'a> {
    pub file: &'a str,
    pub config: Config,
    /// `exim -bP`, or why there is none.
    pub dump: Seen<BTreeMap<String, String>>,
    /// What this build decided, as far as a package is known to.
    pub built: &'a [(&'a str, &'a str)],
    /// Debian's answers, `dc_…`.
    pub answers: &'a BTreeMap<String, (String, FileLine)>,
    pub defaults: Option<Defaults>,
    pub machine: &'a Machine,
    /// Files that were changed after the running configuration was made of them.
    pub newer: Vec<String>,
}

pub(crate) fn server(input: &Input<'_>) -> Server {
    let config_at = FileLine { file: input.file.to_owned(), line: 1 };
    let mut problems = Problems { list: Vec::new() };
    if let Some(blind) = input.dump.blind() {
        let why = blind.why();
        problems.add(
            complained_of(&why).as_ref().unwrap_or(&config_at),
            &format!("exim -bP could not be asked ({why}); read from the files"),
        );
    }
    for trouble in &input.config.troubles {
        problems.add(&trouble.at, &trouble.text);
    }
    for file in &input.newer {
        let at = FileLine { file: file.clone(), line: 1 };
        problems.add(&at, &format!("changed after {} was made of it; update-exim4.conf makes it anew", input.file));
    }
    let mut settings = settings(input);
    let daemon = daemon(input, &mut settings, &mut problems);
    let runner = if daemon.runs_queue { "daemon" } else { "none" };
    settings.insert(QUEUE_RUNNER.to_owned(), Setting { value: runner.to_owned(), at: None });
    let sources = facts::Sources { config: &input.config, settings: &settings };
    let (certificates, unclear) = facts::certificates(&sources);
    for (at, text) in unclear {
        problems.add(at.as_ref().unwrap_or(&config_at), &text);
    }
    let listening_at = input.defaults.as_ref().and_then(|defaults| defaults.listening_at.as_ref());
    let wanted = listeners::Sources {
        settings: &settings,
        daemon: &daemon,
        daemon_at: listening_at,
        machine: input.machine,
        config: &config_at,
        logins: logins(&input.config),
    };
    let mut troubles = Vec::new();
    let wanted = listeners::wanted(&wanted, &mut troubles);
    for (at, text) in troubles {
        problems.add(&at, &text);
    }
    let egress = facts::egress(&sources);
    Server {
        software: "exim".to_owned(),
        version: input.dump.as_ref().map(|dump| dump.get("exim_version").cloned().unwrap_or_default()),
        config_dir: input.file.rsplit_once('/').map_or("/", |(directory, _)| directory).to_owned(),
        enabled: true,
        configured_by: if input.dump.value().is_some() { "exim -bP" } else { "files" }.to_owned(),
        host_name: sources.value("primary_hostname").to_owned(),
        wanted,
        helpers: helpers::helpers(&sources),
        egress,
        clients: logins::clients(&input.config),
        domains: facts::domains(&sources),
        certificates,
        size_limit: facts::size_limit(&sources),
        directories: facts::directories(&sources),
        settings,
        problems: problems.list,
        // Processes and units are looked at later.
        ..Server::default()
    }
}

/// `Exim configuration error in line 7 of /etc/exim.conf:`
fn complained_of(text: &str) -> Option<FileLine> {
    let (line, rest) = text.split_once("configuration error in line ")?.1.split_once(" of ")?;
    let file = rest.split([':', ' ', ';']).next().filter(|file| file.starts_with('/'))?;
    Some(FileLine { file: file.to_owned(), line: line.parse().ok()? })
}

/// A user of this server can log in.
pub(crate) fn logins(config: &Config) -> bool {
    config.authenticators.iter().any(|one| one.options.keys().any(|name| name.starts_with("server_")))
}

struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, at: &FileLine, text: &str) {
        let problem = Problem { at: at.clone(), text: clip(&secrets::text(text), 1000) };
        if self.list.len() < PROBLEMS_MAX && !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn kept(name: &str, value: &Value) -> Setting {
    let text =
        if value.hidden { "[masked]".to_owned() } else { secrets::value(name, &clip(&value.text, VALUE_CHARS_MAX)) };
    Setting { value: text, at: Some(value.at.clone()) }
}

fn settings(input: &Input<'_>) -> BTreeMap<String, Setting> {
    let mut found = BTreeMap::new();
    let told = |name: &str| input.dump.value().and_then(|dump| dump.get(name));
    for (name, default) in OPTIONS {
        let written = input.config.main.get(*name).map(|value| kept(name, value));
        let at = written.as_ref().and_then(|setting| setting.at.clone());
        let built = || input.built.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).to_owned());
        let value = match (told(name), written) {
            (_, Some(written)) if written.value == "[masked]" => written.value,
            (Some(value), _) => secrets::value(name, &clip(value, VALUE_CHARS_MAX)),
            (None, Some(written)) if matches!(default, Some("true" | "false")) => switch(&written.value),
            (None, Some(written)) => written.value,
            (None, None) => default.map(str::to_owned).or_else(built).unwrap_or_default(),
        };
        found.insert((*name).to_owned(), Setting { value, at });
    }
    let mut fallback = |name: &str, value: &str| {
        let setting = found.entry(name.to_owned()).or_insert(Setting { value: String::new(), at: None });
        if setting.value.is_empty() {
            value.clone_into(&mut setting.value);
        }
        setting.value.clone()
    };
    let host = fallback("primary_hostname", &input.machine.host_name);
    fallback("qualify_domain", &host);
    for ((kind, name), value) in
        input.config.lists.iter().filter(|((kind, _), _)| kind == "hostlist" || kind == "domainlist")
    {
        found.insert(format!("{kind} {name}"), kept(name, value));
    }
    for (name, (value, at)) in input.answers {
        found.insert(name.clone(), Setting { value: secrets::value(name, value), at: Some(at.clone()) });
    }
    let logins = if logins(&input.config) { "true" } else { "false" };
    found.insert(LOGINS.to_owned(), Setting { value: logins.to_owned(), at: None });
    if let Some(acl) = acl(input, &found) {
        found.insert("acl for RCPT".to_owned(), acl);
    }
    found
}

/// A switch may be written as `yes` and `no`, too (specification, 6.11).
fn switch(value: &str) -> String {
    match value {
        "yes" => "true".to_owned(),
        "no" => "false".to_owned(),
        other => other.to_owned(),
    }
}

/// The list that decides about each recipient, one statement a line, without what only writes and sets.
fn acl(input: &Input<'_>, settings: &BTreeMap<String, Setting>) -> Option<Setting> {
    let name = settings.get("acl_smtp_rcpt").map(|setting| setting.value.as_str()).filter(|name| !name.is_empty())?;
    if is_expansion(name) {
        return None;
    }
    // A bare verb is a list of one statement (specification, 43.1).
    let Some(statements) = input.config.acls.get(name) else {
        let at = settings.get("acl_smtp_rcpt").and_then(|setting| setting.at.clone());
        return matches!(name, "accept" | "deny").then(|| Setting { value: name.to_owned(), at });
    };
    let lines: Vec<String> =
        statements.iter().map(|statement| format!("{}:{}", statement.at.line, shown(statement))).collect();
    let at = statements.first().map(|first| first.at.clone());
    Some(Setting { value: clip(&lines.join("\n"), VALUE_CHARS_MAX), at })
}

/// What a statement tests.
fn shown(statement: &Statement) -> String {
    const NO_TESTS: [&str; 11] = [
        "add_header",
        "continue",
        "control",
        "delay",
        "log_message",
        "log_reject_target",
        "logwrite",
        "message",
        "queue",
        "remove_header",
        "udpsend",
    ];
    let tests = statement.conditions.iter().filter(|(name, _)| !NO_TESTS.contains(&name.as_str()));
    let texts = tests.map(|(name, value)| {
        let value = secrets::text(&value.split_whitespace().collect::<Vec<_>>().join(" "));
        if value.is_empty() { name.clone() } else { format!("{name} = {value}") }
    });
    std::iter::once(statement.verb.clone()).chain(texts).collect::<Vec<_>>().join(" | ")
}

/// How the daemon is started, as far as a file says so.
fn daemon(input: &Input<'_>, settings: &mut BTreeMap<String, Setting>, problems: &mut Problems) -> Daemon {
    let Some(defaults) = &input.defaults else {
        // Units and scripts of other systems start it like this.
        return Daemon { listens: true, runs_queue: true, ..Daemon::default() };
    };
    for (line, text) in &defaults.unclear {
        problems.add(&FileLine { file: DEFAULT_FILE.to_owned(), line: *line }, text);
    }
    let value = secrets::text(&defaults.commands.join("; "));
    settings.insert("daemon options".to_owned(), Setting { value, at: defaults.at.clone() });
    defaults.daemon.clone()
}
