//! From the statements of smtpd.conf to what every mail server has in common. Pure.

use super::grammar::{Auth, Config, Family, For, Listen, Match, Method, Relay, Table, TableUse};
use super::logins;
use crate::interfaces::Interfaces;
use crate::mta::machine::Machine;
use crate::secrets;
use mxray_model::Seen;
use mxray_model::evidence::{
    CertificateFiles, Configured, DomainKind, Egress, Endpoint, FileLine, Helper, HelperKind, MailDomain, Problem,
    Purpose, Server, Setting, TlsMode, WantedListener,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// smtpd.conf(5), `smtp max-message-size`: 35M.
const SIZE_DEFAULT: u64 = 35 << 20;
/// Most domains, relays and addresses that a report carries of one table.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// Most lines that are told.
const PROBLEMS_MAX: usize = 100;
/// LMTP has no port of its own; mail.lmtp(8) asks getaddrinfo(3) for the service `lmtp`.
const LMTP_PORT: u16 = 24;

/// What a server is read from.
pub(crate) struct Input<'a> {
    pub file: &'a str,
    pub config: Config,
    pub machine: &'a Machine,
    pub interfaces: &'a Interfaces,
    /// From `/etc/mailname`, else the host's own name.
    pub host_name: String,
    /// The text of a table's file.
    pub read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
}

/// The one switch that closes a server.
fn closed(config: &Config) -> BTreeMap<String, Setting> {
    let rule = |at: &FileLine| Setting { value: "match from any for any reject".to_owned(), at: Some(at.clone()) };
    config.closed.iter().map(|at| ("match reject".to_owned(), rule(at))).collect()
}

pub(crate) fn server(mut input: Input<'_>) -> Server {
    let mut problems = std::mem::take(&mut input.config.troubles);
    let wanted = wanted(&input, &mut problems);
    let size = input.config.size.clone().map_or((SIZE_DEFAULT, None), |(size, at)| (size, Some(at)));
    Server {
        software: "opensmtpd".to_owned(),
        version: Seen::not_attempted("smtpd says its version only when it is run"),
        config_dir: directory(input.file),
        enabled: true,
        configured_by: input.file.to_owned(),
        host_name: input.host_name.clone(),
        settings: closed(&input.config),
        clients: logins::clients(&input.config),
        helpers: helpers(&input, &mut problems),
        egress: egress(&input, &mut problems),
        domains: domains(&input, &mut problems),
        certificates: certificates(&input, &wanted),
        size_limit: Seen::Value(Configured { value: size.0, setting: "smtp max-message-size".to_owned(), at: size.1 }),
        directories: directories(&input.config),
        wanted,
        problems: told(problems),
        // Processes and units are looked at later.
        ..Server::default()
    }
}

fn directory(file: &str) -> String {
    file.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned()
}

fn told(problems: Vec<(FileLine, String)>) -> Vec<Problem> {
    let shown = problems.into_iter().take(PROBLEMS_MAX);
    shown.map(|(at, text)| Problem { at, text: secrets::text(&text) }).collect()
}

// --- listeners ------------------------------------------------------------------------------------------------

fn wanted(input: &Input<'_>, problems: &mut Vec<(FileLine, String)>) -> BTreeMap<String, WantedListener> {
    let mut found = BTreeMap::new();
    for listen in &input.config.listeners {
        let port = match &listen.port {
            Some(name) => input.machine.port(name),
            None if listen.tls == TlsMode::Implicit => Some(465),
            None => Some(25),
        };
        let Some(port) = port else {
            let name = listen.port.as_deref().unwrap_or_default();
            problems.push((listen.at.clone(), format!("port {name} is not known: the listener is left out")));
            continue;
        };
        let addresses = addresses(listen, input).unwrap_or_else(|why| {
            problems.push((listen.at.clone(), why));
            Vec::new()
        });
        let mut key = format!("listen on {} port {port}", listen.on);
        if found.contains_key(&key) {
            key = format!("{key} ({})", listen.at);
        }
        found.insert(key, listener(listen, port, addresses));
    }
    found
}

fn listener(listen: &Listen, port: u16, addresses: Vec<IpAddr>) -> WantedListener {
    let mut listener = WantedListener {
        service: format!("listen on {}", listen.on),
        command: "smtpd".to_owned(),
        port,
        addresses,
        purpose: Purpose::Other,
        tls: listen.tls,
        process_limit: None,
        // One process serves all connections.
        multiplexed: true,
        overrides: listen.tag.iter().map(|tag| ("tag".to_owned(), tag.clone())).collect(),
        at: listen.at.clone(),
    };
    listener.purpose = match (port, listen.auth, listen.tls) {
        (_, Auth::Required, TlsMode::Implicit) | (465, ..) => Purpose::Submissions,
        (_, Auth::Required, _) | (587, ..) => Purpose::Submission,
        (25, ..) => Purpose::Relay,
        _ if listener.is_loopback_only() => Purpose::Internal,
        _ => Purpose::Other,
    };
    listener
}

/// As smtpd looks for them: an interface, an address, a name (`create_if_listener` in its parse.y).
fn addresses(listen: &Listen, input: &Input<'_>) -> Result<Vec<IpAddr>, String> {
    let on = listen.on.as_str();
    let fits = |address: &IpAddr| match listen.family {
        Some(Family::Four) => address.is_ipv4(),
        Some(Family::Six) => address.is_ipv6(),
        None => true,
    };
    let literal = on.parse::<IpAddr>().ok().map(|address| vec![address]);
    let found = match literal {
        Some(literal) => literal,
        None => match input.interfaces.addresses(on) {
            // The address of the link comes with the carrier, perhaps after smtpd's start, and no mail is sent to it.
            Seen::Value(found) if found.iter().any(fits) => {
                found.into_iter().filter(|address| !is_link_local(address)).collect()
            }
            Seen::Value(_) | Seen::Absent => named(on, input.machine).ok_or_else(|| {
                format!("{on} is no interface with an address, and as a name it stands in DNS only: smtpd does not start if it does not stand there")
            })?,
            // A name of /etc/hosts that is an interface's, too: nobody does that.
            Seen::Unknown(blind) => named(on, input.machine)
                .ok_or_else(|| format!("the addresses of the interface {on} are unknown: {}", blind.why()))?,
        },
    };
    Ok(found.into_iter().filter(fits).collect())
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// getaddrinfo(3) with AI_ADDRCONFIG: where the machine has addresses of one family only, loopback aside, names have too.
fn named(name: &str, machine: &Machine) -> Option<Vec<IpAddr>> {
    let all = machine.resolve(name)?;
    let own = machine.addresses.value()?;
    let has = |six: bool| own.iter().any(|address| address.is_ipv6() == six && !address.is_loopback());
    let (four, six) = (has(false), has(true));
    Some(all.into_iter().filter(|address| four == six || address.is_ipv6() == six).collect())
}

// --- rules and actions ------------------------------------------------------------------------------------------

/// The rules with the actions that they name.
pub(super) fn used(config: &Config) -> impl Iterator<Item = (&Match, &super::grammar::Action)> {
    config.rules.iter().filter_map(|rule| Some((rule, config.actions.get(&rule.action)?)))
}

fn domains(input: &Input<'_>, problems: &mut Vec<(FileLine, String)>) -> Vec<Configured<MailDomain>> {
    let mut found: Vec<Configured<MailDomain>> = Vec::new();
    for (rule, action) in used(&input.config) {
        let kind = match &action.method {
            Method::Relay(_) => DomainKind::Relay,
            _ if action.is_virtual => DomainKind::Virtual,
            Method::Lmtp(_) => DomainKind::Virtual,
            _ => DomainKind::Local,
        };
        let names = match &rule.target {
            For::Local => vec![input.host_name.clone()],
            // Of a rule that is for this machine alone the world sends nothing here.
            For::Domains(table) if rule.from_others => entries(table, input, &rule.at, problems),
            For::Domains(_) | For::Any | For::Other => Vec::new(),
        };
        for name in names {
            let value = MailDomain { name, kind };
            let at = Some(rule.at.clone());
            if !found.iter().any(|other| other.value == value) {
                found.push(Configured { value, setting: "match".to_owned(), at });
            }
            if found.len() >= ENTRIES_MAX {
                return found;
            }
        }
    }
    found
}

/// The values of a table. One that only smtpd can ask stands as it is written.
fn entries(table: &TableUse, input: &Input<'_>, at: &FileLine, problems: &mut Vec<(FileLine, String)>) -> Vec<String> {
    let name = match table {
        TableUse::Inline(values) => return values.iter().take(ENTRIES_MAX).cloned().collect(),
        TableUse::Named(name) => name,
    };
    match input.config.tables.get(name) {
        Some(Table::Inline(values)) => values.iter().take(ENTRIES_MAX).cloned().collect(),
        Some(Table::Other(spec)) => vec![spec.clone()],
        Some(Table::File(path)) => match (input.read)(path) {
            Seen::Value(bytes) => keys(&bytes),
            Seen::Absent => {
                problems.push((at.clone(), format!("the table {name} is in {path}, which does not exist")));
                Vec::new()
            }
            Seen::Unknown(blind) => {
                problems.push((at.clone(), format!("the table {name} is not known: {}", blind.why())));
                vec![format!("file:{path}")]
            }
        },
        None => {
            problems.push((at.clone(), format!("the table {name} is not defined in front of this line")));
            Vec::new()
        }
    }
}

/// table(5): one entry a line, its key first.
fn keys(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| *byte == b'\n').map(mxray_model::text::untrusted);
    let keys = lines.filter_map(|line| {
        let key = line.trim_start().split([' ', '\t', '#']).next().unwrap_or_default().to_owned();
        (!key.is_empty()).then_some(key)
    });
    keys.take(ENTRIES_MAX).collect()
}

/// How mail leaves. Who the account is, is for the caller to look up.
fn egress(input: &Input<'_>, problems: &mut Vec<(FileLine, String)>) -> Egress {
    let mut egress = Egress { account: Seen::not_attempted("users were not looked up"), ..Egress::default() };
    let mut by_mx = false;
    for (rule, action) in used(&input.config) {
        let Method::Relay(relay) = &action.method else { continue };
        egress.sends = true;
        let name = relay.helo.clone().unwrap_or_else(|| input.host_name.clone());
        let hello = Configured { value: name, setting: "relay helo".to_owned(), at: Some(action.at.clone()) };
        if !relay.helo_by_source && !hello.value.is_empty() && !egress.hello.contains(&hello) {
            egress.hello.push(hello);
        }
        for text in relay.source.iter().flat_map(|table| entries(table, input, &action.at, problems)) {
            let Ok(value) = text.parse::<IpAddr>() else { continue };
            let source = Configured { value, setting: "relay src".to_owned(), at: Some(action.at.clone()) };
            if !egress.sources.contains(&source) {
                egress.sources.push(source);
            }
        }
        // A host for one domain is a route of that domain; a host for all others is a smarthost.
        if matches!(rule.target, For::Any | For::Other) {
            by_mx |= relay.host.is_none();
            for smarthost in smarthosts(relay, &action.at, input, problems) {
                if !egress.smarthosts.contains(&smarthost) {
                    egress.smarthosts.push(smarthost);
                }
            }
        }
    }
    if by_mx {
        egress.smarthosts.clear();
    }
    egress
}

fn smarthosts(
    relay: &Relay,
    at: &FileLine,
    input: &Input<'_>,
    problems: &mut Vec<(FileLine, String)>,
) -> Vec<Configured<String>> {
    let urls = relay.host.iter().flat_map(|table| entries(table, input, at, problems));
    let hosts =
        urls.map(|url| Configured { value: smarthost(&url), setting: "relay host".to_owned(), at: Some(at.clone()) });
    hosts.collect()
}

/// `smtp+tls://label@mail.example.com:587` as `[mail.example.com]:587`: the host itself, not its MX.
pub(super) fn smarthost(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("smtp", url));
    // What stands in front of the @ is a label of the table of logins.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let default = if scheme.eq_ignore_ascii_case("smtps") { Some("465") } else { None };
    match port.or(default) {
        Some(port) => format!("[{host}]:{port}"),
        None => format!("[{host}]"),
    }
}

/// LMTP servers that mail for local users is handed to.
fn helpers(input: &Input<'_>, problems: &mut Vec<(FileLine, String)>) -> BTreeMap<String, Helper> {
    let mut found = BTreeMap::new();
    for (_, action) in used(&input.config) {
        let Method::Lmtp(destination) = &action.method else { continue };
        let Some(endpoint) = endpoint(destination, input.machine) else {
            problems.push((action.at.clone(), format!("lmtp {destination}: not understood")));
            continue;
        };
        let helper = Helper {
            kind: HelperKind::Delivery,
            endpoint,
            setting: "lmtp".to_owned(),
            at: Some(action.at.clone()),
            needed_by: BTreeSet::new(),
            on_failure: "defer".to_owned(),
            connects_as: Seen::not_attempted("who connects was not looked up"),
            state: Seen::not_attempted("sockets were not looked at"),
        };
        found.insert(format!("lmtp {}", helper.endpoint), helper);
    }
    found
}

/// `/path`, `host:port`, `[v6]:port`, `host`.
fn endpoint(destination: &str, machine: &Machine) -> Option<Endpoint> {
    if destination.starts_with('/') {
        return Some(Endpoint::Unix { path: destination.to_owned() });
    }
    let (host, port) = match destination.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => destination.split_once(':').map_or((destination, None), |(host, port)| (host, Some(port))),
    };
    let host = host.strip_prefix("IPv6:").or_else(|| host.strip_prefix("ipv6:")).unwrap_or(host);
    let port = port.map_or_else(|| machine.port("lmtp").or(Some(LMTP_PORT)), |port| machine.port(port))?;
    (!host.is_empty()).then(|| Endpoint::Inet { host: host.to_owned(), port })
}

fn directories(config: &Config) -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("queue".to_owned(), super::SPOOL.to_owned())]);
    for (_, action) in used(config) {
        let Method::Maildir(Some(path)) = &action.method else { continue };
        // `/var/vmail/%{dest.domain}/…`: what stands in front of the first thing that varies.
        let fixed = path.split('%').next().unwrap_or_default();
        if let Some((directory, _)) = fixed.rsplit_once('/').filter(|(directory, _)| directory.starts_with('/')) {
            found.insert("mailboxes".to_owned(), directory.to_owned());
        }
    }
    found
}

// --- certificates ---------------------------------------------------------------------------------------------

fn certificates(input: &Input<'_>, wanted: &BTreeMap<String, WantedListener>) -> Vec<CertificateFiles> {
    let config = &input.config;
    let mut found = Vec::new();
    let as_client: BTreeSet<&String> = used(config)
        .filter_map(|(_, action)| match &action.method {
            Method::Relay(relay) => relay.pki.as_ref(),
            _ => None,
        })
        .collect();
    for (name, pki) in &config.pkis {
        let (Some(cert), Some(key)) = (&pki.cert, &pki.key) else { continue };
        let configured = |(value, at): &(String, FileLine), part: &str| Configured {
            value: value.clone(),
            setting: format!("pki {name} {part}"),
            at: Some(at.clone()),
        };
        let files = |services: BTreeSet<String>, as_client: bool, names: BTreeSet<String>| CertificateFiles {
            chain: configured(cert, "cert"),
            key: configured(key, "key"),
            services,
            as_client,
            names,
        };
        let services = services_of(name, input, wanted);
        if !services.is_empty() {
            found.push(files(services, false, BTreeSet::new()));
        } else if wanted.values().any(|listener| listener.tls != TlsMode::None) && name != "*" {
            // Whoever asks for the name gets it, on every listener that does TLS.
            found.push(files(BTreeSet::new(), false, BTreeSet::from([name.clone()])));
        }
        if as_client.contains(name) {
            found.push(files(BTreeSet::new(), true, BTreeSet::new()));
        }
    }
    found
}

/// The listeners that present a pki: those that name it, and those that name none, where it is the host's own or `*`.
fn services_of(name: &str, input: &Input<'_>, wanted: &BTreeMap<String, WantedListener>) -> BTreeSet<String> {
    let own = input.host_name.to_ascii_lowercase();
    let fallback = if input.config.pkis.contains_key(&own) { own.as_str() } else { "*" };
    let uses = |listen: &Listen| match listen.pkis.as_slice() {
        [] => listen.tls != TlsMode::None && name == fallback,
        named => named.iter().any(|other| other == name),
    };
    let by_line: BTreeSet<&FileLine> =
        input.config.listeners.iter().filter(|listen| uses(listen)).map(|listen| &listen.at).collect();
    wanted.iter().filter(|(_, listener)| by_line.contains(&listener.at)).map(|(key, _)| key.clone()).collect()
}
