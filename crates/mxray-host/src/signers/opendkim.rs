//! OpenDKIM: opendkim.conf(5), the tables that it names, and what its command line overrides. OpenDMARC and dkimpy-milter
//! write their files the same way.

use super::unread;
use crate::processes::Row;
use crate::{read, secrets};
use mxray_model::evidence::{Endpoint, FileLine, KeyUse, Problem, Signer, SignerMode};
use mxray_model::text::untrusted;
use mxray_model::{Blind, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DKIMPY_PROGRAMS: &[&str] = &["/usr/bin/dkimpy-milter", "/usr/sbin/dkimpy-milter", "/usr/local/bin/dkimpy-milter"];
/// Options of opendkim(8) that decide something here.
const TAKEN: &[&str] = &["-x", "-p", "-b", "-d", "-k", "-s"];
const PROGRAMS: &[&str] = &["/usr/sbin/opendkim", "/usr/local/sbin/opendkim", "/usr/bin/opendkim"];
/// The file of all packages, and where a self-built one looks (opendkim(8), -x).
const CONFIG_FILES: &[&str] = &["/etc/opendkim.conf", "/usr/local/etc/opendkim.conf", "/etc/opendkim/opendkim.conf"];
/// The configuration is kilobytes; a table of a hosting platform some megabytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// opendkim.conf(5), Include.
const INCLUDES_DEPTH_MAX: u32 = 5;
/// Most entries of one table.
const ENTRIES_MAX: usize = 100_000;
/// Most problems that are told; the first ones say what is wrong.
const PROBLEMS_MAX: usize = 20;

/// Kinds of tables that are not files (opendkim(8), Data sets).
const NOT_READ: &[&str] = &["db", "dsn", "ldap", "lua", "mlua", "memcache", "repute", "socket", "erlang"];

/// One parameter, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    text: String,
    at: FileLine,
}

/// What `KeyFile` and `Selector` end in; the second is dkimpy-milter's.
const KEY_KINDS: [&str; 2] = ["", "ed25519"];

/// What was gathered.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// By name in lower case; of several the last one holds.
    values: BTreeMap<String, Value>,
    pub problems: Vec<Problem>,
}

/// How files are read: the machine's, or a test's.
pub(super) type Reading<'a> = &'a dyn Fn(&str) -> Seen<Vec<u8>>;

pub(super) fn from_disk(path: &str) -> Seen<Vec<u8>> {
    read::file(Path::new(path), FILE_BYTES_MAX).map(|content| content.bytes)
}

/// Its configuration. `Absent`: it is not installed.
pub(super) fn read(process: &Seen<Row>) -> Seen<Signer> {
    let command = process.value().map(|row| row.command.clone()).unwrap_or_default();
    let is_there = |path: &&&str| !matches!(Path::new(path).try_exists(), Ok(false));
    if command.is_empty() && !PROGRAMS.iter().any(|path| is_there(&path)) {
        return Seen::Absent;
    }
    let options = options(command.get(1..).unwrap_or_default(), TAKEN);
    let named = options.get("-x").cloned();
    let file = named.unwrap_or_else(|| {
        let first = CONFIG_FILES.iter().find(is_there).unwrap_or(&CONFIG_FILES[0]);
        (*first).to_owned()
    });
    signer(&file, &options, &from_disk)
}

/// dkimpy-milter's configuration, which its command line names first (dkimpy-milter(8)). `Absent`: it is not installed.
pub(super) fn read_dkimpy(process: &Seen<Row>) -> Seen<Signer> {
    let command = process.value().map(|row| row.command.clone()).unwrap_or_default();
    let is_there = |path: &&str| !matches!(Path::new(path).try_exists(), Ok(false));
    if command.is_empty() && !DKIMPY_PROGRAMS.iter().any(is_there) {
        return Seen::Absent;
    }
    let named = command.iter().find(|word| word.starts_with('/') && word.ends_with(".conf"));
    let file = named.map_or("/etc/dkimpy-milter/dkimpy-milter.conf", String::as_str);
    signer(file, &BTreeMap::new(), &from_disk).map(|signer| Signer { software: "dkimpy-milter".to_owned(), ..signer })
}

/// `-p inet:8891`, `-pinet:8891`.
pub(super) fn options(words: &[String], taken: &[&'static str]) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(option) = taken.iter().copied().find(|option| word.starts_with(option)) else { continue };
        let value = match word.strip_prefix(option) {
            Some("") | None => words.next().cloned().unwrap_or_default(),
            Some(joined) => joined.to_owned(),
        };
        found.insert(option, value);
    }
    found
}

pub(super) fn signer(file: &str, options: &BTreeMap<&'static str, String>, reading: Reading<'_>) -> Seen<Signer> {
    let mut config = match Parameters::read(file, reading) {
        Seen::Value(config) => config,
        // Installed and never configured: all at its defaults.
        Seen::Absent => Parameters::default(),
        Seen::Unknown(blind) => return Seen::Unknown(blind),
    };
    let names = [("-p", "socket"), ("-b", "mode"), ("-d", "domain"), ("-k", "keyfile"), ("-s", "selector")];
    config.overridden("opendkim", options, &names);
    let keys = config.keys(reading);
    let (sockets, socket_at) = config.sockets();
    Seen::Value(Signer {
        software: "opendkim".to_owned(),
        config_file: file.to_owned(),
        mode: Seen::Value(config.mode()),
        mode_at: config.values.get("mode").map(|value| value.at.clone()),
        sockets,
        socket_at,
        domains: config.domains(reading),
        keys,
        settings: BTreeMap::new(),
        running: Seen::not_attempted("processes were not looked at"),
        enabled: Seen::not_attempted("units were not looked at"),
        problems: config.problems,
    })
}

/// A line without its comment: "truncated at the hash character" (opendkim.conf(5)).
fn meaning(line: &[u8]) -> String {
    let end = line.iter().position(|byte| *byte == b'#').unwrap_or(line.len());
    let bare = line.get(..end).unwrap_or_default();
    let blanks: Vec<u8> = bare.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
    untrusted(blanks.trim_ascii())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (u32, String)> {
    let numbered = bytes.split(|byte| *byte == b'\n').zip(1_u32..);
    numbered.map(|(line, number)| (number, meaning(line))).filter(|(_, text)| !text.is_empty())
}

impl Parameters {
    pub fn read(file: &str, reading: Reading<'_>) -> Seen<Parameters> {
        reading(file).map(|bytes| {
            let mut parameters = Parameters::default();
            parameters.add(file, &bytes, 0, reading);
            parameters
        })
    }

    /// What the command line of a program says instead.
    pub fn overridden(&mut self, program: &str, options: &BTreeMap<&'static str, String>, names: &[(&str, &str)]) {
        for (option, name) in names {
            if let Some(text) = options.get(option) {
                let at = FileLine { file: format!("command line of {program}, {option}"), line: 1 };
                self.values.insert((*name).to_owned(), Value { text: text.clone(), at });
            }
        }
    }

    /// By its name in lower case.
    pub fn text(&self, name: &str) -> Option<(&str, &FileLine)> {
        self.values.get(name).map(|value| (value.text.as_str(), &value.at))
    }

    fn add(&mut self, file: &str, bytes: &[u8], depth: u32, reading: Reading<'_>) {
        for (line, text) in lines(bytes) {
            let at = FileLine { file: file.to_owned(), line };
            let Some((name, value)) = text.split_once(char::is_whitespace) else {
                self.problem(&at, format!("{} has no value", secrets::text(&text)));
                continue;
            };
            let value = value.trim().to_owned();
            if !name.eq_ignore_ascii_case("include") {
                self.values.insert(name.to_ascii_lowercase(), Value { text: value, at });
                continue;
            }
            match reading(&value) {
                Seen::Value(bytes) if depth < INCLUDES_DEPTH_MAX => self.add(&value, &bytes, depth + 1, reading),
                Seen::Value(_) => self.problem(&at, "included too deep".to_owned()),
                Seen::Absent => self.problem(&at, format!("{value} does not exist")),
                Seen::Unknown(blind) => self.problem(&at, blind.why()),
            }
        }
    }

    fn problem(&mut self, at: &FileLine, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { at: at.clone(), text });
        }
    }

    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// It signs where the mode says so and there is something to sign with (opendkim.conf(5), Mode).
    fn mode(&self) -> SignerMode {
        let mode = self.values.get("mode").map_or("sv", |value| value.text.as_str());
        let of_kind = |kind: &str| self.has(&format!("keyfile{kind}")) && self.has(&format!("selector{kind}"));
        let one_key = self.has("domain") && KEY_KINDS.iter().any(|kind| of_kind(kind));
        let tables = self.has("keytable") && (self.has("signingtable") || self.has("setuppolicyscript"));
        SignerMode { signs: mode.contains('s') && (one_key || tables), verifies: mode.contains('v') }
    }

    pub fn sockets(&self) -> (Seen<Vec<Endpoint>>, Option<FileLine>) {
        let Some(value) = self.values.get("socket") else {
            return (Seen::Absent, None);
        };
        let root = self.values.get("changerootdirectory").map_or("", |value| value.text.trim_end_matches('/'));
        let sockets = match endpoint(&value.text, root) {
            Some(endpoint) => Seen::Value(vec![endpoint]),
            None => Seen::Unknown(Blind::NotUnderstood {
                what: format!("Socket at {}", value.at),
                text: value.text.clone(),
            }),
        };
        (sockets, Some(value.at.clone()))
    }

    fn domains(&self, reading: Reading<'_>) -> Seen<BTreeSet<String>> {
        let Some((value, of_table)) = self
            .values
            .get("signingtable")
            .map(|value| (value, true))
            .or_else(|| self.values.get("domain").map(|value| (value, false)))
        else {
            return Seen::Absent;
        };
        dataset(value, reading).map(|entries| {
            let domain = |(_, pattern): &(u32, String)| {
                let first = pattern.split_whitespace().next().unwrap_or_default();
                let domain = first.rsplit('@').next().unwrap_or_default();
                if of_table && matches!(domain, "%" | "") { "*".to_owned() } else { domain.to_owned() }
            };
            entries.iter().map(domain).collect()
        })
    }

    /// The key files. What is no path is a key itself, and is not kept.
    fn keys(&mut self, reading: Reading<'_>) -> BTreeMap<String, KeyUse> {
        let mut found = BTreeMap::new();
        if let Some(table) = self.values.get("keytable").cloned() {
            let entries = match dataset(&table, reading) {
                Seen::Value(entries) => entries,
                Seen::Absent => {
                    self.problem(&table.at, format!("KeyTable: {} does not exist", table.text));
                    return found;
                }
                Seen::Unknown(blind) => {
                    self.problem(&table.at, format!("KeyTable: {}", blind.why()));
                    return found;
                }
            };
            let file = path_of(&table.text).unwrap_or(&table.at.file).to_owned();
            let chosen = self.chosen(reading);
            for (line, entry) in entries {
                let at = FileLine { file: file.clone(), line };
                let fields: Vec<&str> = entry.split_whitespace().nth(1).unwrap_or_default().splitn(3, ':').collect();
                let &[domain, selector, path] = fields.as_slice() else {
                    self.problem(&at, "KeyTable: not DOMAIN:SELECTOR:KEY".to_owned());
                    continue;
                };
                if path.starts_with('/') && !path.contains('%') {
                    let key = entry.split_whitespace().next().unwrap_or_default();
                    let idle = chosen.as_ref().is_some_and(|chosen| !chosen.contains(key));
                    add_key(&mut found, path, domain, selector, at, idle);
                }
            }
            return found;
        }
        for kind in KEY_KINDS {
            let value = |name: &str| self.values.get(&format!("{name}{kind}"));
            if let (Some(key), Some(selector)) = (value("keyfile"), value("selector")) {
                for domain in self.domains(reading).value().into_iter().flatten() {
                    add_key(&mut found, &key.text, domain, &selector.text, key.at.clone(), false);
                }
            }
        }
        found
    }

    /// The entries of the KeyTable that the SigningTable leads to. `None`: any may be, or the table cannot be read.
    fn chosen(&self, reading: Reading<'_>) -> Option<BTreeSet<String>> {
        if self.has("setuppolicyscript") {
            return None;
        }
        let entries = match dataset(self.values.get("signingtable")?, reading) {
            Seen::Value(entries) if entries.len() < ENTRIES_MAX => entries,
            Seen::Value(_) | Seen::Absent | Seen::Unknown(_) => return None,
        };
        // `%` stands for the author's domain (opendkim.conf(5), SigningTable).
        let key = |(_, entry): &(u32, String)| entry.split_whitespace().nth(1).map(str::to_owned);
        entries.iter().map(|entry| key(entry).filter(|key| !key.contains('%'))).collect()
    }
}

fn add_key(found: &mut BTreeMap<String, KeyUse>, path: &str, domain: &str, selector: &str, at: FileLine, idle: bool) {
    let key = found.entry(path.to_owned()).or_insert_with(|| unread(at));
    let name = format!("{selector}._domainkey.{domain}");
    // Two entries may have one name; it is idle where both are.
    let known = key.names.contains(&name);
    match idle {
        true if !known => _ = key.idle.insert(name.clone()),
        true => {}
        false => _ = key.idle.remove(&name),
    }
    key.names.insert(name);
}

/// The file behind a dataset, where it is one: a path alone, `file:` or `refile:` (opendkim(8), Data sets).
fn path_of(text: &str) -> Option<&str> {
    let bare = text.strip_prefix("refile:").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    bare.starts_with('/').then_some(bare)
}

/// The entries of a dataset with their lines. Databases and directories are not read.
fn dataset(value: &Value, reading: Reading<'_>) -> Seen<Vec<(u32, String)>> {
    if let Some(path) = path_of(&value.text) {
        return reading(path).map(|bytes| lines(&bytes).take(ENTRIES_MAX).collect());
    }
    let list = value.text.strip_prefix("csl:").unwrap_or(&value.text);
    if let Some((kind, _)) = list.split_once(':').filter(|(kind, _)| NOT_READ.contains(kind)) {
        return Seen::not_attempted(&format!("tables of the kind {kind} are not read ({})", value.at));
    }
    Seen::Value(list.split(',').map(|item| (value.at.line, item.trim().to_owned())).collect())
}

/// `local:path`, `inet:port[@host]`, `inet6:port[@host]`; a bare path is a local one (opendkim.conf(5), Socket).
fn endpoint(text: &str, root: &str) -> Option<Endpoint> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (kind, rest),
        None if text.starts_with('/') => ("local", text),
        None => return None,
    };
    match kind.to_ascii_lowercase().as_str() {
        "local" | "unix" if rest.starts_with('/') => Some(Endpoint::Unix { path: format!("{root}{rest}") }),
        family @ ("inet" | "inet6") => {
            let (port, host) = rest.split_once('@').unwrap_or((rest, ""));
            let host = host.trim_matches(['[', ']']);
            let any = if family == "inet" { "0.0.0.0" } else { "::" };
            let host = if host.is_empty() { any } else { host };
            Some(Endpoint::Inet { host: host.to_owned(), port: port.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)], command: &[&str]) -> Signer {
        let reading = |path: &str| match files.iter().find(|(name, _)| *name == path) {
            Some((_, "forbidden")) => {
                Seen::Unknown(Blind::NotPermitted { what: format!("read {path}"), needs: "root".into() })
            }
            Some((_, text)) => Seen::Value(text.as_bytes().to_vec()),
            None => Seen::Absent,
        };
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let seen = signer("/etc/opendkim.conf", &options(&words, TAKEN), &reading);
        seen.value().expect("a configuration").clone()
    }

    #[test]
    fn one_key_in_the_main_file() {
        let text = "# comment\nMode\tsv\nDomain example.org, example.net\nSelector  s2025 # the new one\n\
                    KeyFile /etc/dkimkeys/s.private\nSocket local:/run/opendkim/opendkim.sock\n";
        let signer = of(&[("/etc/opendkim.conf", text)], &[]);
        assert_eq!(signer.mode, Seen::Value(SignerMode { signs: true, verifies: true }));
        assert_eq!(signer.mode_at.unwrap().line, 2);
        let path = "/run/opendkim/opendkim.sock".to_owned();
        assert_eq!(signer.sockets, Seen::Value(vec![Endpoint::Unix { path }]));
        let names = &signer.keys["/etc/dkimkeys/s.private"].names;
        assert_eq!(
            names.iter().map(String::as_str).collect::<Vec<_>>(),
            ["s2025._domainkey.example.net", "s2025._domainkey.example.org"]
        );
        assert_eq!(signer.problems, []);
    }

    #[test]
    fn tables_in_files_and_no_key_of_them_is_kept() {
        let files = [
            (
                "/etc/opendkim.conf",
                "KeyTable file:/etc/dkim/keys\nSigningTable refile:/etc/dkim/signing\nSocket inet:8891@localhost\n",
            ),
            ("/etc/dkim/keys", "a example.org:s1:/etc/dkim/a.private\nb\texample.net:s2:MIIEowIBAAK\nbroken\n"),
            ("/etc/dkim/signing", "*@example.org a\n*@example.net b\n"),
        ];
        let signer = of(&files, &[]);
        assert_eq!(signer.mode, Seen::Value(SignerMode { signs: true, verifies: true }));
        assert_eq!(signer.keys.len(), 1);
        assert_eq!(signer.keys["/etc/dkim/a.private"].at.to_string(), "/etc/dkim/keys:1");
        assert_eq!(signer.problems[0].at.to_string(), "/etc/dkim/keys:3");
        assert!(!format!("{signer:?}").contains("MIIEow"));
        assert_eq!(signer.domains.value().unwrap().len(), 2);
        assert_eq!(signer.sockets, Seen::Value(vec![Endpoint::Inet { host: "localhost".into(), port: 8891 }]));
    }

    #[test]
    fn a_key_that_nothing_chooses_is_idle() {
        let conf = "KeyTable file:/etc/dkim/keys\nSigningTable refile:/etc/dkim/signing\nSocket inet:8891@localhost\n";
        let keys = "now example.org:s1:/etc/dkim/a.private\nnext example.org:s2:/etc/dkim/b.private\n";
        let idle = |signing: &str| -> Vec<String> {
            let files = [("/etc/opendkim.conf", conf), ("/etc/dkim/keys", keys), ("/etc/dkim/signing", signing)];
            of(&files, &[]).keys.values().flat_map(|key| key.idle.clone()).collect()
        };
        assert_eq!(idle("*@example.org now\n"), ["s2._domainkey.example.org"]);
        assert!(idle("*@example.org now\n*@lists.example.org next\n").is_empty());
        // A key by the author's domain may be any.
        assert!(idle("*@example.org %\n").is_empty());
    }

    #[test]
    fn without_keys_or_in_mode_v_it_verifies_only() {
        let signer = of(&[("/etc/opendkim.conf", "Socket inet:8891\n")], &[]);
        assert_eq!(signer.mode, Seen::Value(SignerMode { signs: false, verifies: true }));
        assert_eq!(signer.sockets, Seen::Value(vec![Endpoint::Inet { host: "0.0.0.0".into(), port: 8891 }]));
        let text = "Mode v\nDomain a.example\nSelector s\nKeyFile /k\n";
        assert!(!of(&[("/etc/opendkim.conf", text)], &[]).mode.value().unwrap().signs);
        assert!(of(&[("/etc/opendkim.conf", text)], &["-b", "sv", "-p", "local:/s"]).mode.value().unwrap().signs);
        assert!(of(&[], &[]).sockets.is_absent());
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_table() {
        let text =
            "KeyTable /etc/dkim/keys\nSigningTable dsn:mysql://u:p@h/db/table\nSocket what:ever\nInclude /none\n";
        let signer = of(&[("/etc/opendkim.conf", text), ("/etc/dkim/keys", "forbidden")], &[]);
        assert!(signer.domains.blind().is_some() && signer.sockets.blind().is_some());
        assert_eq!(signer.problems.len(), 2);
        assert!(signer.problems.iter().any(|problem| problem.text.contains("not permitted")));
    }

    #[test]
    fn dkimpy_has_a_second_key() {
        let text = "Domain example.org\nKeyFileEd25519 /k/ed.key\nSelectorEd25519 ed\nSocket local:/run/d.sock\n";
        let signer = of(&[("/etc/opendkim.conf", text)], &[]);
        assert!(signer.mode.value().unwrap().signs);
        assert!(signer.keys["/k/ed.key"].names.contains("ed._domainkey.example.org"));
    }

    #[test]
    fn a_chroot_stands_in_front_of_the_socket() {
        let text = "Socket local:/run/o.sock\nChangeRootDirectory /var/spool/postfix/\n";
        let path = "/var/spool/postfix/run/o.sock".to_owned();
        assert_eq!(of(&[("/etc/opendkim.conf", text)], &[]).sockets, Seen::Value(vec![Endpoint::Unix { path }]));
    }
}
