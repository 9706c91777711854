//! The local services that one instance depends on: milters, logins, policy services, filters, delivery, tables.
//!
//! Pure. Only what the configuration asks for; whether anything listens there is `mta::helpers`.

use super::effective::{Item, Values, items};
use super::listeners::{pass_service, seen_by};
use super::main_cf::MainCf;
use super::master_cf::{MasterCf, Service};
use crate::mta::machine::Machine;
use mxray_model::Seen;
use mxray_model::evidence::{Endpoint, FileLine, Helper, HelperKind, WantedListener};
use std::collections::{BTreeMap, BTreeSet};

/// Most helpers that are kept; more than a few dozen is no real configuration.
const HELPERS_MAX: usize = 500;

/// Every restriction list of smtpd(8): each may ask a policy service, and tables.
pub(super) const RESTRICTIONS: [&str; 8] = [
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_etrn_restrictions",
];

/// What one instance's dependencies are read from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub values: &'a Values,
    pub main: &'a MainCf,
    /// Enabled services only.
    pub master: &'a MasterCf,
    pub machine: &'a Machine,
    pub wanted: &'a BTreeMap<String, WantedListener>,
    pub main_file: &'a str,
    pub master_file: &'a str,
    /// Path of saslauthd's socket, where the Cyrus library's own configuration names it.
    pub saslauthd: Option<&'a str>,
    /// Reads a file that a value names.
    pub read: &'a dyn Fn(&str) -> Seen<Vec<u8>>,
}

/// The helpers by `smtpd_milters unix:/run/opendkim/opendkim.sock`.
pub(crate) fn helpers(sources: &Sources<'_>) -> BTreeMap<String, Helper> {
    let screened = sources.master.services.iter().filter(|(_, service)| service.daemon() == "postscreen");
    let screened = screened.filter_map(|(key, postscreen)| {
        Some((key.clone(), pass_service(sources.values, sources.master, postscreen)?.key()))
    });
    let mut found = Found { sources, screened: screened.collect(), helpers: BTreeMap::new() };
    for service in sources.master.services.values() {
        match service.daemon() {
            "smtpd" => {
                found.milters("smtpd_milters", service);
                found.logins(service);
                found.policies(service);
                found.content_filter(service);
                found.proxy_filter(service);
            }
            "cleanup" => found.milters("non_smtpd_milters", service),
            "pickup" => found.content_filter(service),
            _ => {}
        }
    }
    found.delivery();
    found.lookups();
    found.helpers
}

struct Found<'s> {
    sources: &'s Sources<'s>,
    /// Listeners of postscreen, each with the service that it hands its connections to.
    screened: Vec<(String, String)>,
    helpers: BTreeMap<String, Helper>,
}

/// One dependency on the way into the map.
struct Need<'a> {
    kind: HelperKind,
    setting: &'a str,
    endpoint: Endpoint,
    at: Option<FileLine>,
    by: BTreeSet<String>,
    on_failure: String,
}

impl Found<'_> {
    fn add(&mut self, need: Need<'_>) {
        if self.is_own(&need.endpoint) {
            return;
        }
        let key = format!("{} {}", need.setting, need.endpoint);
        if let Some(known) = self.helpers.get_mut(&key) {
            // Empty stands for all mail and stays so.
            if !known.needed_by.is_empty() && !need.by.is_empty() {
                known.needed_by.extend(need.by);
            } else {
                known.needed_by.clear();
            }
            return;
        }
        if self.helpers.len() == HELPERS_MAX {
            return;
        }
        let helper = Helper {
            kind: need.kind,
            endpoint: need.endpoint,
            setting: need.setting.to_owned(),
            at: need.at,
            needed_by: need.by,
            on_failure: need.on_failure,
            connects_as: Seen::not_attempted("who connects was not looked up"),
            state: Seen::not_attempted("not joined with the sockets yet"),
        };
        self.helpers.insert(key, helper);
    }

    /// What Postfix's own master listens on is a part of the server: its listeners, and services run by spawn(8).
    fn is_own(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Unix { path } => {
                let queue = self.sources.values.plain("queue_directory");
                let Some(name) = path.strip_prefix(queue.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
                    return false;
                };
                self.sources.master.services.values().any(|service| {
                    service.kind == "unix"
                        && name.split_once('/')
                            == Some((if service.private { "private" } else { "public" }, service.name.as_str()))
                })
            }
            Endpoint::Inet { host, port } => {
                let machine = self.sources.machine;
                let own = |address| machine.is_own(address) == Seen::Value(true);
                machine.resolve(host).is_some_and(|addresses| addresses.into_iter().any(own))
                    && self.sources.wanted.values().any(|listener| listener.port == *port)
            }
        }
    }

    /// Where a value was set that this service uses.
    fn place(&self, service: Option<&Service>, name: &str) -> Option<FileLine> {
        if let Some(service) = service
            && service.overrides.contains_key(name)
        {
            return Some(FileLine { file: self.sources.master_file.to_owned(), line: service.line });
        }
        let assignment = self.sources.main.values.get(name)?;
        Some(FileLine { file: self.sources.main_file.to_owned(), line: assignment.line })
    }

    /// The service, and for one behind postscreen the listener whose connections it serves.
    fn served(&self, service: &Service) -> BTreeSet<String> {
        let own = service.key();
        let listeners = self.screened.iter().filter(|(_, behind)| *behind == own).map(|(listener, _)| listener.clone());
        listeners.chain(std::iter::once(own.clone())).collect()
    }

    fn is_chrooted(&self, service: &Service) -> bool {
        // The built-in default turned from y to n with compatibility level 1.
        service.chroot.unwrap_or_else(|| self.sources.values.compatibility() < 1)
    }

    /// A socket path as the service's process finds it: its working directory, and in a chroot its root, is the queue
    /// directory.
    fn socket_path(&self, path: &str, service: &Service) -> String {
        let queue = self.sources.values.plain("queue_directory");
        let bare = path.trim_start_matches('/');
        if path.starts_with('/') && !self.is_chrooted(service) {
            format!("/{bare}")
        } else {
            format!("{}/{bare}", queue.trim_end_matches('/'))
        }
    }

    /// `unix:path`, `local:path`, `inet:host:port`.
    fn endpoint(&self, text: &str, service: &Service) -> Option<Endpoint> {
        let (kind, rest) = text.split_once(':')?;
        match kind.to_ascii_lowercase().as_str() {
            "unix" | "local" if !rest.is_empty() => Some(Endpoint::Unix { path: self.socket_path(rest, service) }),
            "inet" => self.inet(rest, None),
            _ => None,
        }
    }

    /// `host:port`, `[v6]:port`, and with a default port also the host alone. No host is the local one.
    fn inet(&self, text: &str, default_port: Option<u16>) -> Option<Endpoint> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, behind) = rest.split_once(']')?;
            (host, behind.strip_prefix(':'))
        } else {
            match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None if default_port.is_none() => ("", Some(text)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(port) => self.sources.machine.port(port)?,
            None => default_port?,
        };
        let host = host.strip_prefix("ipv6:").or_else(|| host.strip_prefix("IPv6:")).unwrap_or(host);
        let host = if host.is_empty() { "localhost" } else { host };
        Some(Endpoint::Inet { host: host.to_owned(), port })
    }

    fn milters(&mut self, name: &str, service: &Service) {
        let seen = seen_by(service);
        let list = self.sources.values.plain_of(&seen, name);
        let default = self.sources.values.plain_of(&seen, "milter_default_action");
        for item in items(&list) {
            let (head, settings) = item.head_and_settings();
            let Some(endpoint) = self.endpoint(head, service) else { continue };
            let own = settings.iter().rev().find(|(key, _)| *key == "default_action").map(|(_, value)| *value);
            self.add(Need {
                kind: HelperKind::Milter,
                setting: name,
                endpoint,
                at: self.place(Some(service), name),
                by: self.served(service),
                on_failure: own.unwrap_or(&default).to_owned(),
            });
        }
    }

    fn logins(&mut self, service: &Service) {
        let seen = seen_by(service);
        let values = self.sources.values;
        if !values.is_yes(&seen, "smtpd_sasl_auth_enable") {
            return;
        }
        let path = values.plain_of(&seen, "smtpd_sasl_path");
        let endpoint = match values.plain_of(&seen, "smtpd_sasl_type").as_str() {
            "dovecot" if path.starts_with("inet:") || path.starts_with("unix:") => self.endpoint(&path, service),
            "dovecot" if !path.is_empty() => Some(Endpoint::Unix { path: self.socket_path(&path, service) }),
            "cyrus" => self.sources.saslauthd.map(|socket| Endpoint::Unix { path: self.socket_path(socket, service) }),
            _ => None,
        };
        let Some(endpoint) = endpoint else { return };
        let at = self.place(Some(service), "smtpd_sasl_path");
        let at = at.or_else(|| self.place(Some(service), "smtpd_sasl_auth_enable"));
        self.add(Need {
            kind: HelperKind::Sasl,
            setting: "smtpd_sasl_path",
            endpoint,
            at,
            by: self.served(service),
            // smtpd ends with "fatal: no SASL authentication mechanisms": the client loses its connection.
            on_failure: "disconnect".to_owned(),
        });
    }

    fn policies(&mut self, service: &Service) {
        let seen = seen_by(service);
        let values = self.sources.values;
        let classes = values.plain_of(&seen, "smtpd_restriction_classes");
        let classes = items(&classes).into_iter().filter_map(|item| match item {
            Item::Word(word) => Some(word),
            Item::Group(_) => None,
        });
        let default = values.plain_of(&seen, "smtpd_policy_service_default_action");
        for name in RESTRICTIONS.iter().copied().chain(classes) {
            let list = values.plain_of(&seen, name);
            let mut entries = items(&list).into_iter();
            while let Some(entry) = entries.next() {
                if entry != Item::Word("check_policy_service") {
                    continue;
                }
                let Some(asked) = entries.next() else { break };
                let (head, settings) = asked.head_and_settings();
                let Some(endpoint) = self.endpoint(head, service) else { continue };
                let own = settings.iter().rev().find(|(key, _)| *key == "default_action").map(|(_, value)| *value);
                self.add(Need {
                    kind: HelperKind::Policy,
                    setting: name,
                    endpoint,
                    at: self.place(Some(service), name),
                    by: self.served(service),
                    on_failure: action(own.unwrap_or(&default)).to_owned(),
                });
            }
        }
    }

    fn content_filter(&mut self, service: &Service) {
        let filter = self.sources.values.plain_of(&seen_by(service), "content_filter");
        if let Some(endpoint) = self.next_hop(&filter) {
            self.add(Need {
                kind: HelperKind::ContentFilter,
                setting: "content_filter",
                endpoint,
                at: self.place(Some(service), "content_filter"),
                by: self.served(service),
                on_failure: "defer".to_owned(),
            });
        }
    }

    fn proxy_filter(&mut self, service: &Service) {
        let filter = self.sources.values.plain_of(&seen_by(service), "smtpd_proxy_filter");
        if filter.is_empty() {
            return;
        }
        let endpoint = if filter.starts_with("unix:") || filter.starts_with("inet:") {
            self.endpoint(&filter, service)
        } else {
            self.inet(&filter, None)
        };
        let Some(endpoint) = endpoint else { return };
        self.add(Need {
            kind: HelperKind::ContentFilter,
            setting: "smtpd_proxy_filter",
            endpoint,
            at: self.place(Some(service), "smtpd_proxy_filter"),
            by: self.served(service),
            on_failure: "tempfail".to_owned(),
        });
    }

    /// `transport:next-hop`, where the transport is an SMTP or LMTP client and the next hop names its server.
    fn next_hop(&self, text: &str) -> Option<Endpoint> {
        let (transport, hop) = text.trim().split_once(':')?;
        let service = self.sources.master.services.get(&format!("{transport}/unix"))?;
        let default_port = match service.daemon() {
            "smtp" => 25,
            "lmtp" => self.sources.machine.port(&self.sources.values.plain("lmtp_tcp_port")).unwrap_or(24),
            _ => return None,
        };
        if hop.is_empty() {
            return None;
        }
        if hop.starts_with("unix:") {
            return self.endpoint(hop, service);
        }
        self.inet(hop.strip_prefix("inet:").unwrap_or(hop), Some(default_port))
    }

    fn delivery(&mut self) {
        let values = self.sources.values;
        let used = |domains: &str| !values.plain(domains).trim_matches([' ', ',']).is_empty();
        for (setting, domains) in [
            ("local_transport", "mydestination"),
            ("mailbox_transport", "mydestination"),
            ("fallback_transport", "mydestination"),
            ("virtual_transport", "virtual_mailbox_domains"),
            ("relay_transport", "relay_domains"),
        ] {
            if !used(domains) {
                continue;
            }
            let Some(endpoint) = self.next_hop(&values.plain(setting)) else { continue };
            self.add(Need {
                kind: HelperKind::Delivery,
                setting,
                endpoint,
                at: self.place(None, setting),
                by: BTreeSet::new(),
                on_failure: "defer".to_owned(),
            });
        }
    }

    /// Tables that are asked over a socket, in any parameter that was set.
    fn lookups(&mut self) {
        let main = self.sources.main;
        for name in main.values.keys() {
            let value = self.sources.values.plain(name);
            self.tables(name, &value, None);
        }
        for service in self.sources.master.services.values() {
            let seen = seen_by(service);
            for name in service.overrides.keys() {
                let value = self.sources.values.plain_of(&seen, name);
                self.tables(name, &value, Some(service));
            }
        }
    }

    fn tables(&mut self, name: &str, value: &str, service: Option<&Service>) {
        let services = &self.sources.master.services;
        let running = |daemon: &str| services.values().find(|service| service.daemon() == daemon);
        let asking = match name {
            name if name.starts_with("smtp_") => "smtp",
            name if name.starts_with("lmtp_") => "lmtp",
            "transport_maps" => "trivial-rewrite",
            _ => "smtpd",
        };
        let Some(reader) = service.or_else(|| running(asking)) else { return };
        for item in items(value) {
            let Item::Word(word) = item else { continue };
            let (word, reader) = match word.strip_prefix("proxy:") {
                Some(rest) => (rest, running("proxymap").unwrap_or(reader)),
                None => (word, reader),
            };
            let Some(endpoint) = self.table(word, reader) else { continue };
            self.add(Need {
                kind: HelperKind::Lookup,
                setting: name,
                endpoint,
                at: self.place(service, name),
                by: service.map(|service| self.served(service)).unwrap_or_default(),
                on_failure: "tempfail".to_owned(),
            });
        }
    }

    /// The server behind one table, where there is one.
    fn table(&self, word: &str, reader: &Service) -> Option<Endpoint> {
        let (kind, rest) = word.split_once(':')?;
        match kind {
            // `unix:path:name`, `inet:host:port:name`
            "socketmap" => rest.rsplit_once(':').and_then(|(server, _)| self.endpoint(server, reader)),
            "tcp" => self.inet(rest, None),
            "mysql" => self.database(rest, "hosts", 3306, reader),
            "pgsql" => self.database(rest, "hosts", 5432, reader),
            "memcache" => self.database(rest, "memcache", 11211, reader),
            _ => None,
        }
    }

    /// The one server that a table's own file names. With several of them the loss of one is no fault.
    fn database(&self, file: &str, parameter: &str, port: u16, reader: &Service) -> Option<Endpoint> {
        let Seen::Value(bytes) = (self.sources.read)(file) else { return None };
        let table = super::main_cf::parse(&bytes);
        let hosts = &table.values.get(parameter)?.value;
        let [Item::Word(host)] = items(hosts)[..] else { return None };
        match host {
            // libmysqlclient takes this name for its own socket, whose place is compiled in.
            "localhost" if parameter == "hosts" && port == 3306 => None,
            host if host.starts_with("unix:") => match self.endpoint(host, reader)? {
                // PostgreSQL names the directory; the socket in it carries the port.
                Endpoint::Unix { path } if port == 5432 => {
                    Some(Endpoint::Unix { path: format!("{path}/.s.PGSQL.5432") })
                }
                endpoint => Some(endpoint),
            },
            host => self.inet(host.strip_prefix("inet:").unwrap_or(host), Some(port)),
        }
    }
}

/// A policy service's default action in the words of the milters' ones.
fn action(text: &str) -> &str {
    let word = text.split_whitespace().next().unwrap_or_default();
    let lower = word.to_ascii_lowercase();
    if word.starts_with('4') || lower.starts_with("defer") {
        "tempfail"
    } else if word.starts_with('5') || lower == "reject" {
        "reject"
    } else if matches!(lower.as_str(), "ok" | "dunno") || lower.starts_with("permit") {
        "accept"
    } else {
        text
    }
}
