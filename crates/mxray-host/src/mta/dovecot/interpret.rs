//! From the tree of settings to a [`Server`]: services, listeners, limits, certificates, directories. Pure.
//!
//! Settings keep doveconf's own notation: `service/imap-login/process_limit`. A key's content, a password or anything
//! else that is no chosen setting never gets from here into evidence.

use super::databases;
use super::services::{self, Limits};
use super::tree::{Tree, Value};
use crate::mta::machine::Machine;
use mxray_model::Seen;
use mxray_model::evidence::{
    CertificateFiles, Configured, Egress, FileLine, OfferedSocket, Problem, Purpose, Server, Setting, TlsMode,
    WantedListener,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The settings that rules look at.
pub(crate) const SETTINGS: &[&str] = &[
    "auth_allow_cleartext",
    "base_dir",
    "default_client_limit",
    "default_process_limit",
    "disable_plaintext_auth",
    "dovecot_config_version",
    "listen",
    "log_path",
    "mail_location",
    "mail_max_userip_connections",
    "mail_path",
    "protocols",
    "ssl",
    "submission_relay_host",
];
/// Filters may stand in each other: `local_name { protocol { … } }`.
const FILTERS_DEEP_MAX: usize = 4;
/// Certificates that are kept: one for each domain of a large site.
const CERTIFICATES_MAX: usize = 5000;
/// Sockets that are kept.
const SOCKETS_MAX: usize = 200;

/// Everything that a server is made of.
pub(crate) struct Input<'a> {
    pub config_file: &'a str,
    pub version: Seen<String>,
    pub tree: Tree,
    pub problems: Vec<Problem>,
    pub configured_by: String,
    pub machine: &'a Machine,
    /// Is there such a program?
    pub exists: &'a dyn Fn(&str) -> bool,
    /// Reads a file that a value names.
    pub read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
}

/// The server that a configuration asks for.
pub(crate) fn server(input: Input<'_>) -> Server {
    let tree = &input.tree;
    let mut problems = input.problems;
    let protocols = services::protocols(tree);
    let mut server = Server {
        software: "dovecot".to_owned(),
        version: input.version,
        config_dir: directory_of(input.config_file),
        enabled: true,
        configured_by: input.configured_by,
        host_name: input.machine.host_name.clone(),
        size_limit: Seen::Absent,
        egress: egress(tree, &protocols),
        directories: directories(tree),
        ..Server::default()
    };
    for name in SETTINGS {
        if let Some(value) = tree.value(name) {
            server.settings.insert((*name).to_owned(), setting(value));
        }
    }
    let listed = Setting {
        value: protocols.iter().cloned().collect::<Vec<_>>().join(" "),
        at: tree.value("protocols").and_then(|value| value.at.clone()),
    };
    server.settings.insert("protocols".to_owned(), listed);
    let fallback = FileLine { file: input.config_file.to_owned(), line: 1 };
    for service in services::enabled(tree, &protocols) {
        listeners(tree, service, input.machine, &fallback, &mut server, &mut problems);
        offered(tree, service, &mut server);
    }
    for section in tree.sections_of("service").filter(|section| services::is_of_interest(&section.name)) {
        let enabled = protocols.contains(section.body.text("protocol"));
        service_settings(tree, section, enabled, input.exists, &mut server);
    }
    server.helpers = databases::helpers(tree, input.read, &fallback, &mut problems);
    server.asked = databases::files(tree);
    server.certificates = certificates(tree, &server.wanted);
    server.problems = problems;
    server
}

fn setting(value: &Value) -> Setting {
    Setting { value: value.text.clone(), at: value.at.clone() }
}

fn directory_of(file: &str) -> String {
    file.rsplit_once('/').map_or(file, |(directory, _)| directory).to_owned()
}

/// Limits as they are in effect, of enabled services; and the program where it is there: only an installed service can be
/// missed.
fn service_settings(
    tree: &Tree,
    section: &super::tree::Section,
    enabled: bool,
    exists: &dyn Fn(&str) -> bool,
    server: &mut Server,
) {
    let limits = Limits::of(tree, &section.body);
    let name = &section.name;
    let mut keep = |key: &str, value: String, at: Option<FileLine>| {
        server.settings.insert(format!("service/{name}/{key}"), Setting { value, at });
    };
    let number = |limit: Option<u32>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let at = |key: &str| section.body.value(key).and_then(|value| value.at.clone());
    if enabled {
        keep("process_limit", number(limits.processes), at("process_limit"));
        keep("client_limit", number(limits.clients), at("client_limit"));
        keep("service_count", limits.requests.to_string(), at("service_count").or_else(|| at("restart_request_count")));
        keep("process_min_avail", limits.spare.to_string(), at("process_min_avail"));
    }
    // Its arguments are anybody's, and may be secrets.
    let program = section.body.text("executable").split_whitespace().next().unwrap_or_default();
    let path =
        if program.starts_with('/') { program.to_owned() } else { format!("{}/{program}", tree.text("libexec_dir")) };
    if !program.is_empty() && exists(&path) {
        keep("executable", path, at("executable"));
    }
}

fn listeners(
    tree: &Tree,
    service: &super::tree::Section,
    machine: &Machine,
    fallback: &FileLine,
    server: &mut Server,
    problems: &mut Vec<Problem>,
) {
    let limits = Limits::of(tree, &service.body);
    for listener in service.body.sections_of("inet_listener") {
        let body = &listener.body;
        placed(&service.name, listener, server);
        let at = listener.at.clone().or_else(|| service.at.clone());
        let at = at.or_else(|| tree.value("protocols").and_then(|value| value.at.clone()));
        let at = at.unwrap_or_else(|| fallback.clone());
        let port = match body.text("port").trim() {
            "" | "0" => continue,
            text => match text.parse::<u16>() {
                Ok(port) => port,
                Err(_) => {
                    let text = format!("service {}: \"{text}\" is no port", service.name);
                    problems.push(Problem { at, text });
                    continue;
                }
            },
        };
        let implicit = is_yes(body.text("ssl"));
        // With `ssl = no` Dovecot opens none of the listeners that are TLS from the first byte.
        if implicit && tree.text("ssl") == "no" {
            continue;
        }
        let addresses = addresses(tree, body, machine).unwrap_or_else(|why| {
            problems.push(Problem { at: at.clone(), text: format!("service {}: {why}", service.name) });
            Vec::new()
        });
        let name = if listener.name.is_empty() { format!("{}:{port}", service.name) } else { listener.name.clone() };
        let wanted = WantedListener {
            service: name.clone(),
            command: service.name.clone(),
            port,
            addresses,
            purpose: purpose(service.body.text("protocol"), implicit),
            tls: tls(tree, service, implicit),
            process_limit: limits.processes,
            multiplexed: limits.per_process() != Some(1),
            overrides: overrides(tree, service.body.text("protocol"), body),
            at,
        };
        server.wanted.insert(format!("{}/{name}", service.name), wanted);
    }
}

/// What somebody wrote of a listener, so that a fix can name the line: also of one that is switched off.
fn placed(service: &str, listener: &super::tree::Section, server: &mut Server) {
    if !services::is_of_interest(service) || listener.name.is_empty() {
        return;
    }
    for key in ["address", "listen", "port"] {
        if let Some(value) = listener.body.value(key).filter(|value| value.at.is_some()) {
            let name = format!("service/{service}/inet_listener/{}/{key}", listener.name);
            server.settings.insert(name, setting(value));
        }
    }
}

/// What holds for a listener in another way than for the server: its own settings, and those in `protocol imap { … }` that
/// decide about passwords.
fn overrides(tree: &Tree, protocol: &str, body: &Tree) -> BTreeMap<String, String> {
    const PASSWORDS: [&str; 2] = ["auth_allow_cleartext", "disable_plaintext_auth"];
    let haproxy = is_yes(body.text("haproxy")).then(|| ("haproxy".to_owned(), "yes".to_owned()));
    let of_protocol = PASSWORDS.iter().filter_map(|key| {
        let value = of_protocol(tree, protocol, key)?;
        Some(((*key).to_owned(), if is_yes(value) { "yes" } else { "no" }.to_owned()))
    });
    haproxy.into_iter().chain(of_protocol).collect()
}

/// A setting of one protocol: of `protocol imap { … }`, or of `protocol !lmtp { … }`.
fn of_protocol<'a>(tree: &'a Tree, protocol: &str, key: &str) -> Option<&'a str> {
    let is_meant = |name: &str| match name.strip_prefix('!') {
        Some(other) => other.trim() != protocol,
        None => name == protocol,
    };
    let sections = tree.sections_of("protocol").filter(|section| !protocol.is_empty() && is_meant(&section.name));
    sections.filter_map(|section| section.body.value(key)).last().map(|value| value.text.as_str())
}

fn is_yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "yes" | "y" | "1")
}

/// `address` (2.3) or `listen` (2.4) of the listener, else `listen` of the server: `*`, `::`, addresses and names.
fn addresses(tree: &Tree, listener: &Tree, machine: &Machine) -> Result<Vec<IpAddr>, String> {
    let own = [listener.text("address"), listener.text("listen")].into_iter().find(|text| !text.trim().is_empty());
    let list = own.unwrap_or_else(|| tree.text("listen"));
    let mut found: Vec<IpAddr> = Vec::new();
    for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
        let these = match word {
            "*" => vec![Ipv4Addr::UNSPECIFIED.into()],
            "::" | "[::]" => vec![Ipv6Addr::UNSPECIFIED.into()],
            _ => machine.resolve(word).ok_or_else(|| format!("the address of \"{word}\" stands in DNS only"))?,
        };
        for address in these {
            if (address.is_ipv4() || machine.ipv6) && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

fn purpose(protocol: &str, implicit: bool) -> Purpose {
    match protocol {
        "imap" | "pop3" | "sieve" => Purpose::Mailbox,
        "submission" if implicit => Purpose::Submissions,
        "submission" => Purpose::Submission,
        "lmtp" => Purpose::Internal,
        _ => Purpose::Other,
    }
}

fn tls(tree: &Tree, service: &super::tree::Section, implicit: bool) -> TlsMode {
    let protocol = service.body.text("protocol");
    match of_protocol(tree, protocol, "ssl").unwrap_or_else(|| tree.text("ssl")) {
        _ if implicit => TlsMode::Implicit,
        "no" => TlsMode::None,
        // Only mail protocols know STARTTLS.
        _ if protocol.is_empty() => TlsMode::None,
        "required" if protocol != "lmtp" => TlsMode::StarttlsRequired,
        _ => TlsMode::Starttls,
    }
}

/// UNIX sockets that other programs may depend on: those of logins and of delivery, and all that somebody placed outside
/// `base_dir`.
fn offered(tree: &Tree, service: &super::tree::Section, server: &mut Server) {
    for listener in service.body.sections_of("unix_listener") {
        let absolute = listener.name.starts_with('/');
        // 2.3 and 2.4: mode 0 switches a listener off.
        let mode = listener.body.text("mode").trim();
        let off = !mode.is_empty() && mode.chars().all(|c| c == '0');
        // Those in directories of their own (`login/login`) are Dovecot's inner affairs.
        let others = matches!(service.name.as_str(), "auth" | "lmtp") && !listener.name.contains('/');
        if listener.name.is_empty() || off || !(absolute || others) || server.offered.len() >= SOCKETS_MAX {
            continue;
        }
        let path =
            if absolute { listener.name.clone() } else { format!("{}/{}", tree.text("base_dir"), listener.name) };
        let socket = OfferedSocket { service: service.name.clone(), at: listener.at.clone() };
        server.offered.insert(path, socket);
    }
}

fn egress(tree: &Tree, protocols: &BTreeSet<String>) -> Egress {
    let host = tree.value("submission_relay_host").filter(|value| !value.text.is_empty());
    let relay = host.filter(|_| protocols.contains("submission"));
    let smarthosts = relay.map(|value| {
        let port = tree.text("submission_relay_port");
        let port = if port.is_empty() { "25" } else { port };
        Configured {
            value: format!("[{}]:{port}", value.text),
            setting: "submission_relay_host".to_owned(),
            at: value.at.clone(),
        }
    });
    Egress {
        sends: relay.is_some(),
        account: Seen::not_attempted("a submission process runs as the user who sends"),
        smarthosts: smarthosts.into_iter().collect(),
        ..Egress::default()
    }
}

fn directories(tree: &Tree) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Some(directory) = mailboxes(tree) {
        found.insert("mailboxes".to_owned(), directory);
    }
    let log = tree.text("log_path");
    if let Some((directory, _)) = log.rsplit_once('/').filter(|_| log.starts_with("/var/") || log.starts_with("/srv/"))
    {
        found.insert("log".to_owned(), directory.to_owned());
    }
    found
}

/// The directory above what differs from user to user. `None`: it lies in their homes, which only the user database
/// knows.
fn mailboxes(tree: &Tree) -> Option<String> {
    let location = tree.text("mail_location");
    let mut paths = Vec::new();
    // `maildir:/var/vmail/%d/%n:INBOX=…:INDEX=…`: the inbox is where new mail goes.
    let (_, rest) = location.split_once(':').unwrap_or(("", location));
    for part in rest.split(':') {
        match part.split_once('=') {
            Some(("INBOX", path)) => paths.insert(0, path),
            Some(_) => {}
            None => paths.push(part),
        }
    }
    paths.extend([tree.text("mail_inbox_path"), tree.text("mail_path")]);
    let fixed = |path: &str| {
        let end = path.find('%').unwrap_or(path.len());
        let fixed = path.get(..end)?;
        // `/var/mail/%u`, but also `/var/mail/v-%u`: the last whole component.
        let directory = if end < path.len() { fixed.rsplit_once('/')?.0 } else { fixed.trim_end_matches('/') };
        (directory.len() > 1 && directory.starts_with('/')).then(|| directory.to_owned())
    };
    paths.into_iter().find_map(fixed)
}

/// Pairs of certificate and key, for all, for names (SNI) and for protocols.
fn certificates(tree: &Tree, wanted: &BTreeMap<String, WantedListener>) -> Vec<CertificateFiles> {
    let mut found = Vec::new();
    if tree.text("ssl") != "no" {
        let scope = Scope { pairs: Default::default(), names: BTreeSet::new(), protocol: None };
        collect(tree, &scope, 0, wanted, &mut found);
    }
    let client = [("ssl_client_cert", "ssl_client_key"), ("ssl_client_cert_file", "ssl_client_key_file")];
    for (chain, key) in client {
        if let (Some(chain), Some(key)) = (file(tree, chain), file(tree, key)) {
            let services = BTreeSet::new();
            found.push(CertificateFiles { chain, key, services, as_client: true, names: BTreeSet::new() });
        }
    }
    found
}

type Half = Option<Configured<String>>;

/// What holds where a filter's settings are read.
#[derive(Clone)]
struct Scope<'a> {
    /// Of each kind the certificate and the key.
    pairs: [(Half, Half); 3],
    names: BTreeSet<String>,
    protocol: Option<&'a str>,
}

fn collect<'a>(
    tree: &'a Tree,
    outer: &Scope<'a>,
    depth: usize,
    wanted: &BTreeMap<String, WantedListener>,
    found: &mut Vec<CertificateFiles>,
) {
    const KINDS: [(&str, &str); 3] =
        [("ssl_cert", "ssl_key"), ("ssl_alt_cert", "ssl_alt_key"), ("ssl_server_cert_file", "ssl_server_key_file")];
    let mut scope = outer.clone();
    let services: BTreeSet<String> = match scope.protocol {
        None => BTreeSet::new(),
        Some(protocol) => {
            let is_its = |listener: &WantedListener| services::protocol_of(&listener.command) == protocol;
            wanted.iter().filter(|(_, listener)| is_its(listener)).map(|(key, _)| key.clone()).collect()
        }
    };
    for ((chain, key), pair) in KINDS.iter().zip(&mut scope.pairs) {
        let (own_chain, own_key) = (file(tree, chain), file(tree, key));
        let is_own = own_chain.is_some() || own_key.is_some();
        pair.0 = own_chain.or(pair.0.take());
        pair.1 = own_key.or(pair.1.take());
        let unused = scope.protocol.is_some() && services.is_empty();
        if let (Some(chain), Some(key)) = (&pair.0, &pair.1)
            && is_own
            && !unused
            && found.len() < CERTIFICATES_MAX
        {
            found.push(CertificateFiles {
                chain: chain.clone(),
                key: key.clone(),
                services: services.clone(),
                as_client: false,
                names: scope.names.clone(),
            });
        }
    }
    if depth >= FILTERS_DEEP_MAX {
        return;
    }
    for section in &tree.sections {
        let inner = match section.kind.as_str() {
            "local_name" => {
                let names = section.name.split([' ', '"', ',']).filter(|name| !name.is_empty());
                Scope { names: names.map(str::to_owned).collect(), ..scope.clone() }
            }
            "protocol" if !section.name.starts_with('!') => Scope { protocol: Some(&section.name), ..scope.clone() },
            "local" | "remote" => scope.clone(),
            _ => continue,
        };
        collect(&section.body, &inner, depth + 1, wanted, found);
    }
}

/// A setting that names a file: by `<` in 2.3, by its own name (`…_file`) in 2.4. A key that stands in the configuration
/// itself is never kept.
fn file(tree: &Tree, name: &str) -> Half {
    let value = tree.value(name)?;
    let names_file = value.from_file || (name.ends_with("_file") && !value.text.starts_with("inline:"));
    let path = value.text.trim();
    (names_file && path.starts_with('/')).then(|| Configured {
        value: path.to_owned(),
        setting: name.to_owned(),
        at: value.at.clone(),
    })
}
