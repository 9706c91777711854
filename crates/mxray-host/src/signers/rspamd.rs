//! rspamd: which of its workers speak the milter protocol, and with which keys its module `dkim_signing` signs.
//!
//! Read from the files alone (`ucl.rs`). `rspamadm configdump` knows the same and is not run: it runs the Lua code of
//! the configuration, asks resolvers, and writes compiled patterns into rspamd's own directory.
//! What must not live here: UCL itself, and whether a mail server asks rspamd.

use super::ucl::{Files, Parser, Section, Value, is_true};
use super::unread;
use crate::processes::Row;
use crate::read;
use mxray_model::evidence::{Endpoint, FileLine, KeyUse, Problem, Setting, Signer, SignerMode};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PROGRAMS: &[&str] = &["/usr/bin/rspamd", "/usr/sbin/rspamd", "/usr/local/bin/rspamd"];
const CONFIG_FILES: &[&str] = &["/etc/rspamd/rspamd.conf", "/usr/local/etc/rspamd/rspamd.conf"];
/// The configuration is kilobytes; a map of a hosting platform some megabytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most names of a directory that are looked at.
const NAMES_MAX: usize = 20_000;
/// Most keys that are kept; hosting platforms have one for each of some thousand domains.
const KEYS_MAX: usize = 20_000;
/// The port of a `bind_socket` without one (`DEFAULT_BIND_PORT`).
const DEFAULT_PORT: u16 = 11333;
/// What decides whether a message is signed, told as it stands.
const TOLD: &[&str] = &[
    "enabled",
    "sign_local",
    "sign_authenticated",
    "sign_inbound",
    "use_domain",
    "use_esld",
    "selector",
    "path",
    "try_fallback",
    "allow_hdrfrom_mismatch",
    "allow_username_mismatch",
    "allow_envfrom_empty",
    "allow_hdrfrom_multiple",
];

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Seen<Vec<u8>> {
        match read::file(Path::new(path), FILE_BYTES_MAX) {
            Seen::Value(content) if content.cut => {
                read::failed("read", Path::new(path), &format!("longer than {FILE_BYTES_MAX} bytes"))
            }
            other => other.map(|content| content.bytes),
        }
    }

    fn list(&self, directory: &str) -> Seen<Vec<String>> {
        let at = Path::new(directory);
        let entries = match std::fs::read_dir(at) {
            Ok(entries) => entries,
            Err(error) => return read::refused("list", at, &error),
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect();
        names.sort();
        Seen::Value(names)
    }
}

/// Its configuration. `Absent`: it is not installed.
pub(super) fn read(process: &Seen<Row>) -> Seen<Signer> {
    let command = process.value().map(|row| row.command.clone()).unwrap_or_default();
    let is_there = |path: &&&str| !matches!(Path::new(path).try_exists(), Ok(false));
    if command.is_empty() && !PROGRAMS.iter().any(|path| is_there(&path)) {
        return Seen::Absent;
    }
    // A running rspamd has written its title over its options; those are left where it could not.
    let named = command.iter().skip_while(|word| *word != "-c").nth(1).filter(|path| path.starts_with('/'));
    let file = named.cloned().unwrap_or_else(|| {
        let first = CONFIG_FILES.iter().find(is_there).unwrap_or(&CONFIG_FILES[0]);
        (*first).to_owned()
    });
    signer(&file, &Disk)
}

/// The names that rspamd itself puts into its configuration, as packages build it.
fn variables(file: &str) -> BTreeMap<&'static str, String> {
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let (usr, var) = if file.starts_with("/usr/local/") { ("/usr/local", "/usr/local/var") } else { ("/usr", "/var") };
    let run = if var == "/var" { "/run/rspamd".to_owned() } else { format!("{var}/run/rspamd") };
    BTreeMap::from([
        ("CONFDIR", directory.to_owned()),
        ("LOCAL_CONFDIR", directory.to_owned()),
        ("DBDIR", format!("{var}/lib/rspamd")),
        ("LOGDIR", format!("{var}/log/rspamd")),
        ("RUNDIR", run),
        ("SHAREDIR", format!("{usr}/share/rspamd")),
        ("PLUGINSDIR", format!("{usr}/share/rspamd/plugins")),
        ("RULESDIR", format!("{usr}/share/rspamd/rules")),
        ("LUALIBDIR", format!("{usr}/share/rspamd/lualib")),
        ("WWWDIR", format!("{usr}/share/rspamd/www")),
        ("PREFIX", usr.to_owned()),
    ])
}

pub(super) fn signer(file: &str, files: &dyn Files) -> Seen<Signer> {
    let mut parser = Parser::new(files, variables(file));
    let root = match parser.file(file) {
        Seen::Value(root) => root,
        Seen::Absent => return read::failed("read", Path::new(file), "there is no such file"),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let mut settings = BTreeMap::new();
    let (sockets, socket_at) = sockets(&root, &mut settings);
    let signing = Signing::read(&root, &mut parser);
    for name in TOLD {
        if let Some((text, at)) = signing.options.text(name) {
            let setting = Setting { value: text.to_owned(), at: Some(at.clone()) };
            settings.insert(format!("dkim_signing.{name}"), setting);
        }
    }
    Seen::Value(Signer {
        software: "rspamd".to_owned(),
        config_file: file.to_owned(),
        mode: signing.signs.map(|signs| SignerMode { signs, verifies: true }),
        mode_at: signing.at,
        sockets,
        socket_at,
        domains: signing.domains,
        keys: signing.keys,
        settings,
        running: Seen::not_attempted("processes were not looked at"),
        enabled: Seen::not_attempted("units were not looked at"),
        problems: parser.problems,
    })
}

/// The milter sockets. What other workers listen on is told and not used.
fn sockets(root: &Section, settings: &mut BTreeMap<String, Setting>) -> (Seen<Vec<Endpoint>>, Option<FileLine>) {
    let mut found = Vec::new();
    let mut first = None;
    let mut unknown = root.blind.clone();
    for (kind, worker) in workers(root) {
        let off = worker.text("enabled").is_some_and(|(text, _)| !is_true(text))
            || worker.text("count").is_some_and(|(text, _)| text.parse::<i64>().is_ok_and(|count| count < 0));
        if off {
            continue;
        }
        let binds = worker.all("bind_socket");
        let milter =
            matches!(kind, "rspamd_proxy" | "proxy") && worker.text("milter").is_some_and(|(text, _)| is_true(text));
        if !milter {
            let texts: Vec<&str> = binds.iter().filter_map(|entry| entry.text()).collect();
            let at = binds.first().map(|entry| entry.at.clone());
            if !texts.is_empty() {
                settings.insert(format!("worker.{kind}.bind_socket"), Setting { value: texts.join(", "), at });
            }
            // Whether it is a milter may stand in what could not be read.
            if matches!(kind, "rspamd_proxy" | "proxy") {
                unknown = unknown.or_else(|| worker.blind.clone());
            }
            continue;
        }
        unknown = unknown.or_else(|| worker.blind.clone());
        for entry in binds {
            first.get_or_insert_with(|| entry.at.clone());
            match entry.text().and_then(endpoint) {
                Some(endpoint) => found.push(endpoint),
                None => {
                    unknown = unknown.or_else(|| {
                        let text = entry.text().unwrap_or("not a text").to_owned();
                        Some(Blind::NotUnderstood { what: format!("bind_socket at {}", entry.at), text })
                    });
                }
            }
        }
    }
    let sockets = match unknown {
        Some(blind) => Seen::Unknown(blind),
        None if found.is_empty() => Seen::Absent,
        None => Seen::Value(found),
    };
    (sockets, first)
}

/// All workers with their kind: `worker "normal" {…}`, or `worker { type = "normal"; … }`.
fn workers(root: &Section) -> Vec<(&str, &Section)> {
    let mut found = Vec::new();
    for section in root.sections("worker") {
        if let Some((kind, _)) = section.text("type") {
            found.push((kind, section));
            continue;
        }
        for (name, entries) in &section.entries {
            for worker in entries.iter().filter_map(|entry| entry.section()) {
                found.push((worker.text("type").map_or(name.as_str(), |(kind, _)| kind), worker));
            }
        }
    }
    found
}

/// `localhost:11332`, `*:11332`, `[::1]:11332`, `/run/rspamd/milter.sock mode=0660 owner=nobody`.
pub(crate) fn endpoint(text: &str) -> Option<Endpoint> {
    let text = text.split_whitespace().next().unwrap_or_default();
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') {
        return Some(Endpoint::Unix { path: path.to_owned() });
    }
    if text.starts_with("systemd:") || text.is_empty() {
        return None;
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let host = match host {
        "*" | "*v4" => "0.0.0.0",
        "*v6" => "::",
        host => host,
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    Some(Endpoint::Inet { host: host.to_owned(), port })
}

/// What `dkim_signing` would do.
struct Signing {
    /// As rspamd's modules see them: of several sections of one name the later one's keys hold.
    options: Section,
    signs: Seen<bool>,
    at: Option<FileLine>,
    domains: Seen<BTreeSet<String>>,
    keys: BTreeMap<String, KeyUse>,
}

impl Signing {
    fn read(root: &Section, parser: &mut Parser<'_>) -> Signing {
        let mut options = Section { blind: root.blind.clone(), ..Section::default() };
        for section in root.sections("dkim_signing") {
            options.entries.extend(section.entries.clone());
            options.blind = options.blind.or_else(|| section.blind.clone());
        }
        let at = ["domain", "path_map", "key_table", "selector_map", "path"]
            .into_iter()
            .find_map(|name| options.all(name).last().map(|entry| entry.at.clone()));
        let mut signing =
            Signing { options, signs: Seen::Value(false), at, domains: Seen::Absent, keys: BTreeMap::new() };
        let without_module = !root.entries.contains_key("dkim_signing");
        if signing.says_no("enabled") || (without_module && signing.options.blind.is_none()) {
            return signing;
        }
        let blind = signing.gather(parser);
        let found: BTreeSet<String> =
            signing.keys.values().flat_map(|key| &key.names).map(|name| domain_of(name)).collect();
        signing.signs = match blind {
            _ if !signing.keys.is_empty() => Seen::Value(true),
            Some(blind) => Seen::Unknown(blind),
            None => Seen::Value(false),
        };
        if !found.is_empty() {
            signing.domains = Seen::Value(found);
        }
        signing
    }

    fn says_no(&self, name: &str) -> bool {
        self.options.text(name).is_some_and(|(text, _)| !is_true(text))
    }

    fn says_yes(&self, name: &str) -> bool {
        self.options.text(name).is_some_and(|(text, _)| is_true(text))
    }

    /// The keys, wherever they are named. What comes back is what could not be seen of them.
    fn gather(&mut self, parser: &mut Parser<'_>) -> Option<Blind> {
        let mut blind = self.options.blind.clone();
        for (name, what) in
            [("use_redis", "Redis"), ("use_vault", "a vault"), ("use_http_headers", "the request itself")]
        {
            if self.says_yes(name) {
                let why = format!("rspamd takes its keys from {what} ({name}), which is not asked");
                blind = blind.or(Some(Blind::NotAttempted { why }));
            }
        }
        if self.options.entries.contains_key("sign_condition") {
            let why = "rspamd's own Lua code decides what is signed (sign_condition)".to_owned();
            blind = blind.or(Some(Blind::NotAttempted { why }));
        }
        if blind.is_some() && self.options.blind.is_none() {
            return blind;
        }
        let path = self.options.text("path").map(|(text, at)| (text.to_owned(), at.clone()));
        let default =
            format!("{}/dkim/$domain.$selector.key", parser.variables.get("DBDIR").map_or("", String::as_str));
        let (path, at) =
            path.unwrap_or_else(|| (default, FileLine { file: "the default of path".to_owned(), line: 0 }));
        let selector = self.options.text("selector").map_or("dkim", |(text, _)| text).to_owned();
        if self.options.entries.contains_key("signing_table") && self.options.entries.contains_key("key_table") {
            let seen = self.key_table(&selector, parser);
            return blind.or(seen);
        }
        self.of_domains(&path, &selector);
        let maps = self.maps(&path, &selector, parser);
        let fallback =
            if self.says_no("try_fallback") { None } else { self.fallback(&path, &selector, &at, parser.files) };
        blind.or(maps).or(fallback)
    }

    fn add(&mut self, path: &str, domain: &str, selector: &str, at: &FileLine) {
        let path = path.replace("$domain", domain).replace("$selector", selector);
        if path.starts_with('/') && self.keys.len() < KEYS_MAX {
            let key = self.keys.entry(path).or_insert_with(|| unread(at.clone()));
            key.names.insert(format!("{selector}._domainkey.{domain}"));
        }
    }

    /// `domain { example.org { selector = …; path = …; } }`
    fn of_domains(&mut self, path: &str, selector: &str) {
        let mut found = Vec::new();
        for section in self.options.sections("domain") {
            for (domain, entries) in &section.entries {
                for own in entries.iter().filter_map(|entry| Some((entry.section()?, &entry.at))) {
                    let (own, at) = own;
                    let mut uses = own.sections("selectors");
                    if uses.is_empty() || own.text("selector").is_some() || own.text("path").is_some() {
                        uses.push(own);
                    }
                    for one in uses {
                        let selector = one.text("selector").map_or(selector, |(text, _)| text).to_owned();
                        let (path, at) = one.text("path").unwrap_or((path, at));
                        found.push((path.to_owned(), domain.clone(), selector, at.clone()));
                    }
                }
            }
        }
        for (path, domain, selector, at) in found {
            self.add(&path, &domain, &selector, &at);
        }
    }

    /// `selector_map`, `path_map`: what a domain's selector and file are.
    fn maps(&mut self, path: &str, selector: &str, parser: &mut Parser<'_>) -> Option<Blind> {
        let mut uses: BTreeMap<String, (Option<String>, Option<String>, FileLine)> = BTreeMap::new();
        let mut blind = None;
        for name in ["selector_map", "path_map"] {
            match self.map(name, parser) {
                Seen::Value(entries) => {
                    for (domain, value, at) in entries {
                        let entry = uses.entry(domain).or_insert((None, None, at));
                        *(if name == "path_map" { &mut entry.1 } else { &mut entry.0 }) = Some(value);
                    }
                }
                Seen::Absent => {}
                Seen::Unknown(why) => blind = blind.or(Some(why)),
            }
        }
        for (domain, (own_selector, own_path, at)) in uses {
            let path = own_path.as_deref().unwrap_or(path);
            self.add(path, &domain, own_selector.as_deref().unwrap_or(selector), &at);
        }
        blind
    }

    /// `key_table`: NAME, and DOMAIN:KEY or DOMAIN:SELECTOR:KEY, as in OpenDKIM. A key that is no path is not kept.
    fn key_table(&mut self, selector: &str, parser: &mut Parser<'_>) -> Option<Blind> {
        let entries = match self.map("key_table", parser) {
            Seen::Value(entries) => entries,
            Seen::Absent => return None,
            Seen::Unknown(blind) => return Some(blind),
        };
        for (_, value, at) in entries {
            match value.splitn(3, ':').collect::<Vec<_>>().as_slice() {
                [domain, selector, path] if path.starts_with('/') => self.add(path, domain, selector, &at),
                [domain, path] if path.starts_with('/') => self.add(path, domain, selector, &at),
                _ => {}
            }
        }
        None
    }

    /// A map's entries: lines of a file, or a list that stands in the configuration. `Absent`: it is not set.
    fn map(&self, name: &str, parser: &mut Parser<'_>) -> Seen<Vec<(String, String, FileLine)>> {
        let entries = self.options.all(name);
        if entries.is_empty() {
            return Seen::Absent;
        }
        let pair = |text: &str, at: FileLine| {
            let (key, value) = text.split_once(char::is_whitespace)?;
            Some((key.to_owned(), value.trim().trim_matches('"').to_owned(), at))
        };
        let mut found = Vec::new();
        for entry in entries {
            let text = match &entry.value {
                Value::Text(text) => text,
                Value::List(_) | Value::Section(_) => return not_a_file(name, &entry.at),
            };
            let bare = text.strip_prefix("file://").or_else(|| text.strip_prefix("fallback+file://")).unwrap_or(text);
            if let Some(pair) = pair(text, entry.at.clone()) {
                found.push(pair);
            } else if bare.starts_with('/') {
                match parser.files.read(bare) {
                    Seen::Value(bytes) => {
                        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1_u32..) {
                            let kept = line.split(|byte| *byte == b'#').next().unwrap_or_default();
                            let at = FileLine { file: bare.to_owned(), line: number };
                            found.extend(pair(&untrusted(&without_tabs(kept.trim_ascii())), at));
                        }
                    }
                    Seen::Absent => parser
                        .problems
                        .push(Problem { at: entry.at.clone(), text: format!("{name}: {bare} does not exist") }),
                    Seen::Unknown(blind) => return Seen::Unknown(blind),
                }
            } else {
                return not_a_file(name, &entry.at);
            }
        }
        Seen::Value(found)
    }

    /// Domains of which nothing is said: their files by the pattern in `path`, as far as they are there.
    fn fallback(&mut self, path: &str, selector: &str, at: &FileLine, files: &dyn Files) -> Option<Blind> {
        let pattern = path.replace("$selector", selector);
        let Some((before, after)) = pattern.split_once("$domain") else {
            return match files.read(&pattern) {
                Seen::Absent => None,
                Seen::Value(_) => {
                    self.add(&pattern, "*", selector, at);
                    None
                }
                Seen::Unknown(blind) => {
                    self.add(&pattern, "*", selector, at);
                    Some(blind)
                }
            };
        };
        let (directory, prefix) = before.rsplit_once('/').unwrap_or_default();
        let (suffix, below) = after.split_once('/').map_or((after, None), |(suffix, below)| (suffix, Some(below)));
        let names = match files.list(directory) {
            Seen::Value(names) => names,
            Seen::Absent => return None,
            Seen::Unknown(blind) => return Some(blind),
        };
        for name in names {
            let domain = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).unwrap_or_default();
            // A name below a directory may hold the domain once more.
            let file = match below {
                Some(below) => format!("{directory}/{name}/{}", below.replace("$domain", domain)),
                None => format!("{directory}/{name}"),
            };
            if domain.contains('.') && (below.is_none() || !files.read(&file).is_absent()) {
                self.add(&file, &untrusted(domain.as_bytes()), selector, at);
            }
        }
        None
    }
}

fn not_a_file<T>(name: &str, at: &FileLine) -> Seen<T> {
    Seen::not_attempted(&format!("{name} at {at} is no file of this host"))
}

/// `s._domainkey.example.org`
fn domain_of(name: &str) -> String {
    name.split_once("._domainkey.").map_or(name, |(_, domain)| domain).to_owned()
}

/// A tab is a blank here, and no character to be shown.
fn without_tabs(line: &[u8]) -> Vec<u8> {
    line.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect()
}

#[cfg(test)]
#[path = "rspamd_tests.rs"]
mod tests;
