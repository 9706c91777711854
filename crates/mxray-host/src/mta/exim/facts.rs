//! What Exim has in common with every other mail server: how mail leaves, its domains, its certificates, its size limit,
//! its directories. Pure.

use super::list::{is_expansion, items};
use super::sections::{Config, Driver, Value};
use crate::secrets;
use mxray_model::Seen;
use mxray_model::evidence::{CertificateFiles, Configured, DomainKind, Egress, FileLine, MailDomain, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most domains that a report carries; hosting platforms keep theirs in tables, which count as one.
const DOMAINS_MAX: usize = 10_000;
/// Lists that name each other.
const DEPTH_MAX: u32 = 8;

pub(crate) struct Sources<'a> {
    pub config: &'a Config,
    /// The main options, defaults included.
    pub settings: &'a BTreeMap<String, Setting>,
}

impl Sources<'_> {
    pub fn value(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    fn configured(&self, name: &str) -> Configured<String> {
        let at = self.settings.get(name).and_then(|setting| setting.at.clone());
        Configured { value: self.value(name).to_owned(), setting: name.to_owned(), at }
    }

    /// A router and the transport that it hands mail to.
    fn routes(&self) -> impl Iterator<Item = (&Driver, &Driver)> {
        self.config
            .routers
            .iter()
            .filter_map(|router| Some((router, self.config.transport(router.option("transport"))?)))
    }
}

/// A transport that opens connections to other hosts.
fn leaves(transport: &Driver) -> bool {
    transport.is("smtp") && transport.option("protocol") != "lmtp"
}

/// Is this router for domains that are not this host's? One whose domains stand in a table is for exceptions.
fn is_for_others(router: &Driver) -> bool {
    let Some(domains) = router.options.get("domains") else { return true };
    let items = items(&domains.text);
    let negated = items.first().is_some_and(|first| first.starts_with('!'));
    items.iter().any(|item| item == "*") || (negated && !is_expansion(&domains.text))
}

pub(crate) fn egress(sources: &Sources<'_>) -> Egress {
    let mut smarthosts = Vec::new();
    let mut by_mx = false;
    for (router, _) in sources.routes().filter(|(router, transport)| leaves(transport) && is_for_others(router)) {
        match router.option("driver") {
            "dnslookup" => by_mx = true,
            "manualroute" if !by_mx => smarthosts.extend(routes_for_all(router)),
            _ => {}
        }
    }
    let sends = by_mx
        || !smarthosts.is_empty()
        || sources.routes().any(|(router, transport)| leaves(transport) && is_for_others(router));
    Egress {
        sends,
        account: Seen::not_attempted("users were not looked up"),
        sources: bound(sources),
        smarthosts,
        hello: hello(sources),
        root: None,
    }
}

/// `helo_data` of the transports in use, by default `$primary_hostname` (specification, 30.4). What has to be expanded is not
/// known, and a transport that is not known leaves nothing to say of the others.
fn hello(sources: &Sources<'_>) -> Vec<Configured<String>> {
    let own = sources.value("primary_hostname");
    let mut found = Vec::new();
    for (_, transport) in sources.routes().filter(|(_, transport)| leaves(transport)) {
        let (text, at) = match transport.options.get("helo_data") {
            Some(option) => (option.text.as_str(), Some(option.at.clone())),
            None => ("$primary_hostname", None),
        };
        let value = match text {
            "$primary_hostname" | "${primary_hostname}" => own,
            other if is_expansion(other) => continue,
            other => other,
        };
        let name = Configured { value: value.to_owned(), setting: format!("helo_data of {}", transport.name), at };
        if !value.is_empty() && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Routers that hand mail for others to hosts that are named, each with its transport.
pub(super) fn smarthost_routes(config: &Config) -> impl Iterator<Item = (&Driver, &Driver)> {
    let routes = config.routers.iter().filter(|router| router.is("manualroute") && is_for_others(router));
    let routes = routes.filter_map(|router| Some((router, config.transport(router.option("transport"))?)));
    routes.filter(|(_, transport)| leaves(transport))
}

/// The hosts of `route_list` whose pattern is every domain: `* smarthost.example::587 byname`.
pub(super) fn routes_for_all(router: &Driver) -> Vec<Configured<String>> {
    let Some(list) = router.options.get("route_list") else { return Vec::new() };
    // Rules are separated by semicolons here, hosts in them by colons (specification, 20.3).
    let rules = if list.text.starts_with('<') { items(&list.text) } else { items(&format!("<;{}", list.text)) };
    let mut found = Vec::new();
    for rule in rules {
        let Some((pattern, rest)) = rule.split_once(char::is_whitespace) else { continue };
        if pattern != "*" && !pattern.starts_with('!') {
            continue;
        }
        let rest = rest.trim_start();
        let hosts = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            // Words behind the hosts are options; hosts may have white space around their colons.
            None => hosts_before_options(rest),
        };
        if is_expansion(hosts) {
            continue;
        }
        for host in items(hosts).into_iter().filter(|host| !host.is_empty() && host != "+") {
            found.push(Configured {
                value: host,
                setting: format!("route_list of {}", router.name),
                at: Some(list.at.clone()),
            });
        }
    }
    found
}

fn hosts_before_options(text: &str) -> &str {
    const OPTIONS: [&str; 8] =
        ["randomize", "no_randomize", "byname", "bydns", "bydns_a", "ipv4_only", "ipv4_prefer", "defer"];
    let options = OPTIONS.iter().filter_map(|option| text.find(&format!(" {option}")));
    options.min().and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Addresses that outgoing connections are bound to.
fn bound(sources: &Sources<'_>) -> Vec<Configured<IpAddr>> {
    let mut found: Vec<Configured<IpAddr>> = Vec::new();
    let in_use: BTreeSet<&str> = sources.routes().map(|(_, transport)| transport.name.as_str()).collect();
    for transport in sources.config.transports.iter().filter(|t| leaves(t) && in_use.contains(t.name.as_str())) {
        let Some(interface) = transport.options.get("interface") else { continue };
        for value in items(&interface.text).iter().filter_map(|item| item.trim_matches(['[', ']']).parse().ok()) {
            let setting = format!("interface of {}", transport.name);
            found.push(Configured { value, setting, at: Some(interface.at.clone()) });
        }
    }
    found
}

/// Domains by the named lists that Debian and Exim's own default have, and by those that a router delivers for.
pub(crate) fn domains(sources: &Sources<'_>) -> Vec<Configured<MailDomain>> {
    let mut lists = vec![("local_domains", DomainKind::Local)];
    let is_delivery = |router: &&Driver| router.is("accept") || router.is("redirect");
    let named: Vec<String> = sources
        .config
        .routers
        .iter()
        .filter(is_delivery)
        .flat_map(|router| items(router.option("domains")))
        .filter_map(|item| item.strip_prefix('+').map(str::to_owned))
        .collect();
    for name in &named {
        if !lists.iter().any(|(known, _)| known == name) {
            lists.push((name, if name.contains("relay") { DomainKind::Relay } else { DomainKind::Virtual }));
        }
    }
    for name in ["relay_to_domains", "relay_domains"] {
        if !lists.iter().any(|(known, _)| *known == name) {
            lists.push((name, DomainKind::Relay));
        }
    }
    let mut found: Vec<Configured<MailDomain>> = Vec::new();
    for (name, kind) in lists {
        let Some(list) = sources.config.list("domainlist", name) else { continue };
        for item in members(sources, list, 0) {
            let value = MailDomain { name: item, kind };
            let known = found.iter().any(|other| other.value.name == value.name);
            if !known && found.len() < DOMAINS_MAX {
                found.push(Configured { value, setting: name.to_owned(), at: Some(list.at.clone()) });
            }
        }
    }
    found
}

/// What stands in a list of domains: `@` is the host itself, `+name` another list, what is negated is none of them. A
/// value that Exim has to expand, or that hides a secret, stands as one.
fn members(sources: &Sources<'_>, list: &Value, depth: u32) -> Vec<String> {
    if list.hidden {
        return vec!["(hidden)".to_owned()];
    }
    if is_expansion(&list.text) {
        return vec![secrets::text(&list.text)];
    }
    let mut out = Vec::new();
    for item in items(&list.text) {
        if let Some(other) = item.strip_prefix('+').and_then(|name| sources.config.list("domainlist", name)) {
            if depth < DEPTH_MAX {
                out.extend(members(sources, other, depth + 1));
            }
        } else if item == "@" {
            out.push(sources.value("primary_hostname").to_owned());
        } else if !item.is_empty() && !item.starts_with(['!', '@', '+']) {
            out.push(secrets::text(&item));
        }
        if out.len() >= DOMAINS_MAX {
            break;
        }
    }
    out
}

/// `50M`: a number with K, M or G behind it, powers of 1024 (specification, 14.13).
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.chars().last()? {
        'k' | 'K' => (text.get(..text.len() - 1)?, 1 << 10),
        'm' | 'M' => (text.get(..text.len() - 1)?, 1 << 20),
        'g' | 'G' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

pub(crate) fn size_limit(sources: &Sources<'_>) -> Seen<Configured<u64>> {
    let limit = sources.configured("message_size_limit");
    match size(&limit.value) {
        Some(0) => Seen::Absent,
        Some(value) => Seen::Value(Configured { value, setting: limit.setting, at: limit.at }),
        None => Seen::not_attempted(&format!("message_size_limit is decided for each message: {}", limit.value)),
    }
}

/// Certificates with their keys, and those whose names only Exim can expand.
pub(crate) fn certificates(sources: &Sources<'_>) -> (Vec<CertificateFiles>, Vec<(Option<FileLine>, String)>) {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    let mut add = |chain: Configured<String>, mut key: Configured<String>, as_client: bool| {
        if key.value.is_empty() {
            key.value.clone_from(&chain.value);
        }
        for side in [&chain, &key] {
            if is_expansion(&side.value) {
                unclear
                    .push((side.at.clone(), format!("{} is decided for each connection and not read", side.setting)));
                return;
            }
        }
        let keys = items(&key.value);
        for (index, file) in items(&chain.value).into_iter().enumerate().filter(|(_, file)| file.starts_with('/')) {
            let own = keys.get(index).or(keys.last()).cloned().unwrap_or_else(|| file.clone());
            found.push(CertificateFiles {
                chain: Configured { value: file, ..chain.clone() },
                key: Configured { value: own, ..key.clone() },
                services: BTreeSet::new(),
                as_client,
                names: BTreeSet::new(),
            });
        }
    };
    if !items(sources.value("tls_advertise_hosts")).is_empty() || !sources.value("tls_on_connect_ports").is_empty() {
        add(sources.configured("tls_certificate"), sources.configured("tls_privatekey"), false);
    }
    let in_use: BTreeSet<&str> = sources.routes().map(|(_, transport)| transport.name.as_str()).collect();
    for transport in sources.config.transports.iter().filter(|t| leaves(t) && in_use.contains(t.name.as_str())) {
        let option = |name: &str| Configured {
            value: transport.option(name).to_owned(),
            setting: format!("{name} of {}", transport.name),
            at: transport.options.get(name).map(|value| value.at.clone()),
        };
        if !transport.option("tls_certificate").is_empty() {
            add(option("tls_certificate"), option("tls_privatekey"), true);
        }
    }
    (found, unclear)
}

/// Directories by use; a file's name counts up to the first part that differs from mail to mail.
pub(crate) fn directories(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let spool = sources.value("spool_directory");
    if spool.starts_with('/') && !is_expansion(spool) {
        found.insert("queue".to_owned(), spool.to_owned());
    }
    if let Some(log) = items(sources.value("log_file_path")).iter().find(|path| path.starts_with('/')) {
        found.insert("log".to_owned(), above(log));
    }
    for (_, transport) in sources.routes().filter(|(_, transport)| transport.is("appendfile")) {
        let place =
            [transport.option("directory"), transport.option("file")].into_iter().find(|place| place.starts_with('/'));
        if let Some(place) = place.map(above).filter(|place| place != "/") {
            found.entry("mailboxes".to_owned()).or_insert(place);
        }
    }
    found
}

/// The directory above the last part, or above the first one that has to be expanded.
fn above(path: &str) -> String {
    let fixed = path.split(['$', '%']).next().unwrap_or(path);
    match fixed.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}
