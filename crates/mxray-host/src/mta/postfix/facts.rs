//! What Postfix has in common with every other mail server, from its own parameters: how mail leaves, its domains, its
//! certificates, its size limit. Pure.

use super::effective::{Values, items};
use super::listeners::seen_by;
use super::main_cf::MainCf;
use super::master_cf::{MasterCf, Service};
use mxray_model::Seen;
use mxray_model::evidence::{
    CertificateFiles, ClientLogin, Configured, DomainKind, Egress, FileLine, MailDomain, Server, Setting, SmtpClient,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most domains that a report carries; hosting platforms keep theirs in tables, which count as one.
const DOMAINS_MAX: usize = 10_000;

/// Most sending services that a report carries; platforms have one for each of some hundred addresses.
const CLIENTS_MAX: usize = 1_000;
/// Most tables of one list.
const TABLES_MAX: usize = 100;

/// What the facts are read from.
pub(crate) struct Sources<'a> {
    pub values: &'a Values,
    pub main: &'a MainCf,
    /// Enabled services only.
    pub master: &'a MasterCf,
    /// With those that a switch disables. `None`: they are the same.
    pub all: Option<&'a MasterCf>,
    /// Lines of master.cf that define a service behind a comment sign, with their numbers.
    pub commented: &'a [(u32, String)],
    pub settings: &'a BTreeMap<String, Setting>,
    pub main_file: &'a str,
    pub master_file: &'a str,
    /// The services that listen for clients, as the keys of `wanted`.
    pub wanted: &'a BTreeSet<String>,
    /// The types of tables that the installation has. `None`: not known.
    pub types: Option<&'a BTreeSet<String>>,
}

impl Sources<'_> {
    pub(super) fn at(&self, name: &str) -> Option<FileLine> {
        let line = self.main.values.get(name)?.line;
        Some(FileLine { file: self.main_file.to_owned(), line })
    }

    /// A parameter as one service uses it.
    pub(super) fn of(&self, service: &Service, name: &str) -> Configured<String> {
        let at = if service.overrides.contains_key(name) {
            Some(FileLine { file: self.master_file.to_owned(), line: service.line })
        } else {
            self.at(name)
        };
        Configured { value: self.values.plain_of(&seen_by(service), name), setting: name.to_owned(), at }
    }

    pub(super) fn common(&self, name: &str) -> Configured<String> {
        Configured { value: self.values.plain(name), setting: name.to_owned(), at: self.at(name) }
    }

    /// The services that deliver by SMTP to other hosts.
    fn senders(&self) -> impl Iterator<Item = &Service> {
        self.master.services.values().filter(|service| service.kind == "unix" && service.daemon() == "smtp")
    }
}

/// All of them, in a server that knows nothing else.
pub(crate) fn common(sources: &Sources<'_>) -> Server {
    let asked = super::asked::asked(sources);
    Server {
        egress: egress(sources),
        domains: domains(sources),
        certificates: certificates(sources),
        size_limit: size_limit(sources),
        mailbox_limits: mailbox_limits(sources),
        clients: clients(sources),
        asked: asked.tables,
        typeless: asked.typeless,
        lacking: super::parts::lacking(sources),
        quoted: super::parts::quoted(sources),
        unlinked: super::parts::sockets(sources).into_iter().collect(),
        closed: Seen::not_attempted("directories were not looked at"),
        master: Seen::not_attempted("processes were not looked at"),
        children: Seen::not_attempted("processes were not looked at"),
        unit: Seen::not_attempted("units were not looked at"),
        ..Server::default()
    }
}

/// How mail leaves. Who the account is, is for the caller to look up.
fn egress(sources: &Sources<'_>) -> Egress {
    let mut bound = Vec::new();
    for service in sources.senders() {
        for name in ["smtp_bind_address", "smtp_bind_address6"] {
            let configured = sources.of(service, name);
            let address = configured.value.trim().trim_matches(['[', ']']).parse::<IpAddr>();
            let Ok(value) = address else { continue };
            let source = Configured { value, setting: configured.setting, at: configured.at };
            if !bound.contains(&source) {
                bound.push(source);
            }
        }
    }
    let relay = sources.common("relayhost");
    let smarthosts = items(&relay.value)
        .into_iter()
        .map(|host| Configured { value: host.text().to_owned(), ..relay.clone() })
        .collect();
    Egress {
        sends: sources.senders().next().is_some(),
        account: Seen::not_attempted("users were not looked up"),
        sources: bound,
        smarthosts,
        hello: hello(sources),
        root: root(sources),
    }
}

/// The names of the services that carry mail to other hosts; one that feeds a filter may say anything.
fn hello(sources: &Sources<'_>) -> Vec<Configured<String>> {
    let mut found = Vec::new();
    for service in sources.senders().filter(|service| matches!(service.name.as_str(), "smtp" | "relay")) {
        let name = sources.of(service, "smtp_helo_name");
        if !name.value.is_empty() && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The queue directory is the root of services whose chroot column says so.
fn root(sources: &Sources<'_>) -> Option<Configured<String>> {
    // Since compatibility level 1 the column's default is `n` (postconf(5), chroot).
    let by_default = sources.values.compatibility() < 1;
    let service = sources.senders().find(|service| service.chroot.unwrap_or(by_default))?;
    Some(Configured {
        value: sources.values.plain("queue_directory"),
        setting: format!("chroot of {}", service.key()),
        at: Some(FileLine { file: sources.master_file.to_owned(), line: service.line }),
    })
}

fn domains(sources: &Sources<'_>) -> Vec<Configured<MailDomain>> {
    const LISTS: [(&str, DomainKind); 4] = [
        ("mydestination", DomainKind::Local),
        ("virtual_mailbox_domains", DomainKind::Virtual),
        ("virtual_alias_domains", DomainKind::Virtual),
        ("relay_domains", DomainKind::Relay),
    ];
    let mut found = Vec::new();
    for (name, kind) in LISTS {
        let Some(setting) = sources.settings.get(name) else { continue };
        // By default relay_domains repeats mydestination, and virtual_alias_domains its maps.
        if kind != DomainKind::Local && setting.at.is_none() {
            continue;
        }
        for item in items(&setting.value) {
            let value = MailDomain { name: item.text().to_owned(), kind };
            found.push(Configured { value, setting: name.to_owned(), at: setting.at.clone() });
        }
    }
    found.truncate(DOMAINS_MAX);
    found
}

fn size_limit(sources: &Sources<'_>) -> Seen<Configured<u64>> {
    let limit = sources.common("message_size_limit");
    match limit.value.trim().parse() {
        Ok(0) => Seen::Absent,
        Ok(value) => Seen::Value(Configured { value, setting: limit.setting, at: limit.at }),
        Err(_) => Seen::not_attempted(&format!("message_size_limit is no number: {}", limit.value)),
    }
}

/// The limits of local(8) and virtual(8), where mail is handed to them.
fn mailbox_limits(sources: &Sources<'_>) -> BTreeMap<String, Configured<u64>> {
    let mut found = BTreeMap::new();
    for (transport, domains) in [("local_transport", "mydestination"), ("virtual_transport", "virtual_mailbox_domains")]
    {
        if items(&sources.values.plain(domains)).is_empty() {
            continue;
        }
        let transport = sources.values.plain(transport);
        let name = transport.split(':').next().unwrap_or_default().trim();
        let Some(service) = sources.master.services.get(&format!("{name}/unix")) else { continue };
        let setting = match service.daemon() {
            "local" => "mailbox_size_limit",
            "virtual" => "virtual_mailbox_limit",
            _ => continue,
        };
        let limit = sources.of(service, setting);
        if let Ok(value @ 1..) = limit.value.trim().parse::<u64>() {
            found.insert(service.key(), Configured { value, setting: limit.setting, at: limit.at });
        }
    }
    found
}

/// What the services that deliver to other hosts ask of TLS.
fn clients(sources: &Sources<'_>) -> BTreeMap<String, SmtpClient> {
    let client = |service: &Service| {
        let mut tls_level = sources.of(service, "smtp_tls_security_level");
        tls_level.value = tls_level.value.trim().to_ascii_lowercase();
        let mut dns_support = sources.of(service, "smtp_dns_support_level");
        dns_support.value = dns_support.value.trim().to_ascii_lowercase();
        let maps = sources.of(service, "smtp_tls_policy_maps");
        let names = items(&maps.value).into_iter().map(|item| {
            let name = item.text();
            // What an inline table holds is no name.
            if name.contains('{') {
                "inline:".to_owned()
            } else {
                name.strip_prefix("proxy:").unwrap_or(name).to_owned()
            }
        });
        let value = names.take(TABLES_MAX).collect();
        let policy_tables = Configured { value, setting: maps.setting, at: maps.at };
        SmtpClient {
            tls_level,
            dns_support,
            policy_tables,
            rewriting: rewriting(sources, service),
            login: login(sources, service),
        }
    };
    sources.senders().take(CLIENTS_MAX).map(|service| (service.key(), client(service))).collect()
}

/// What stands in a name itself may be a password.
fn login(sources: &Sources<'_>, service: &Service) -> Option<ClientLogin> {
    if sources.of(service, "smtp_sasl_auth_enable").value.trim() != "yes" {
        return None;
    }
    let maps = sources.of(service, "smtp_sasl_password_maps");
    let name = |item: &str| {
        let name = item.strip_prefix("proxy:").unwrap_or(item);
        let (kind, path) = name.split_once(':').unwrap_or((name, ""));
        if path.starts_with('/') { name.to_owned() } else { format!("{kind}:") }
    };
    let value = items(&maps.value).into_iter().take(TABLES_MAX).map(|item| name(item.text())).collect();
    Some(ClientLogin {
        tables: Configured { value, setting: maps.setting, at: maps.at },
        mechanisms: sources.of(service, "smtp_sasl_mechanism_filter").value.trim().to_ascii_lowercase(),
        options: sources.of(service, "smtp_sasl_tls_security_options").value.trim().to_ascii_lowercase(),
    })
}

/// The tables by which smtp(8) changes headers, bodies and addresses of what it sends.
const REWRITING: [&str; 5] = [
    "smtp_header_checks",
    "smtp_mime_header_checks",
    "smtp_nested_header_checks",
    "smtp_body_checks",
    "smtp_generic_maps",
];

fn rewriting(sources: &Sources<'_>, service: &Service) -> Vec<Configured<String>> {
    let mut found = Vec::new();
    for name in REWRITING {
        let list = sources.of(service, name);
        // What stands in the list itself is no file.
        for item in items(&list.value).into_iter().take(TABLES_MAX).filter(|item| !item.text().contains('{')) {
            let table = item.text();
            let value = table.strip_prefix("proxy:").unwrap_or(table).to_owned();
            found.push(Configured { value, ..list.clone() });
        }
    }
    found
}

/// Certificate and key parameters; the key's default is the certificate's file (postconf(5)).
const PAIRS: [(&str, &str); 3] =
    [("tls_cert_file", "tls_key_file"), ("tls_eccert_file", "tls_eckey_file"), ("tls_dcert_file", "tls_dkey_file")];

fn certificates(sources: &Sources<'_>) -> Vec<CertificateFiles> {
    let mut found: Vec<CertificateFiles> = Vec::new();
    let servers = sources.master.services.values().filter(|service| matches!(service.daemon(), "smtpd" | "tlsproxy"));
    for service in servers {
        for mut files in of_service(sources, service, "smtpd", false) {
            files.services = [service.key()].into_iter().filter(|key| sources.wanted.contains(key)).collect();
            add(&mut found, files);
        }
    }
    for service in sources.senders() {
        for files in of_service(sources, service, "smtp", true) {
            add(&mut found, files);
        }
    }
    found
}

/// One pair that several services share stands once.
fn add(found: &mut Vec<CertificateFiles>, files: CertificateFiles) {
    let same = |other: &&mut CertificateFiles| {
        other.chain == files.chain && other.key == files.key && other.as_client == files.as_client
    };
    match found.iter_mut().find(same) {
        Some(other) => other.services.extend(files.services),
        None => found.push(files),
    }
}

fn of_service(sources: &Sources<'_>, service: &Service, side: &str, as_client: bool) -> Vec<CertificateFiles> {
    let pair = |chain: Configured<String>, key: Configured<String>| CertificateFiles {
        chain,
        key,
        services: BTreeSet::new(),
        as_client,
        names: BTreeSet::new(),
    };
    let chains = sources.of(service, &format!("{side}_tls_chain_files"));
    if !chains.value.trim().is_empty() {
        // Each file holds a key and then its chain (postconf(5), smtpd_tls_chain_files), or begins or continues one.
        return items(&chains.value)
            .into_iter()
            .map(|file| {
                let one = Configured { value: file.text().to_owned(), ..chains.clone() };
                pair(one.clone(), one)
            })
            .collect();
    }
    let mut found = Vec::new();
    for (chain, key) in PAIRS {
        let chain = sources.of(service, &format!("{side}_{chain}"));
        let mut key = sources.of(service, &format!("{side}_{key}"));
        if key.value.is_empty() {
            key.value.clone_from(&chain.value);
        }
        if chain.value.starts_with('/') {
            found.push(pair(chain, key));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{main_cf, master_cf};
    use super::*;
    use crate::mta::machine::Machine;

    fn with<T>(main: &str, master: &str, look: impl Fn(&Sources<'_>) -> T) -> T {
        let main = main_cf::parse(main.as_bytes());
        let master = master_cf::parse(master.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        let settings = ["mydestination", "relay_domains", "virtual_mailbox_domains", "virtual_alias_domains"]
            .into_iter()
            .map(|name| {
                let at = main.values.get(name).map(|set| FileLine { file: "main.cf".into(), line: set.line });
                (name.to_owned(), Setting { value: values.plain(name), at })
            })
            .collect();
        look(&Sources {
            values: &values,
            main: &main,
            master: &master,
            all: None,
            commented: &[],
            settings: &settings,
            main_file: "main.cf",
            master_file: "master.cf",
            wanted: &master.services.keys().filter(|key| key.ends_with("/inet")).cloned().collect(),
            types: None,
        })
    }

    #[test]
    fn sources_and_root_come_from_the_services_that_send() {
        let main = "smtp_bind_address = 192.0.2.1\ncompatibility_level = 3.6\nrelayhost = [smtp.example.net]:587\n";
        let master = "smtp unix - - y - - smtp\nbulk unix - - n - - smtp -o smtp_bind_address=192.0.2.7\n\
                      bounce unix - - y - 0 bounce\n";
        let egress = with(main, master, egress);
        let bound: Vec<String> = egress.sources.iter().map(|source| source.value.to_string()).collect();
        assert_eq!(bound, ["192.0.2.7", "192.0.2.1"]);
        assert_eq!(egress.sources[0].at.as_ref().unwrap().to_string(), "master.cf:2");
        assert_eq!(egress.root.unwrap().setting, "chroot of smtp/unix");
        assert_eq!(egress.smarthosts[0].value, "[smtp.example.net]:587");
        assert!(!with(main, "smtp inet n - n - - smtpd\n", super::egress).sends);
    }

    #[test]
    fn a_pair_that_services_share_stands_once_and_the_key_defaults_to_the_certificate() {
        let main = "smtpd_tls_cert_file = /c.pem\nsmtpd_tls_key_file = /k.pem\nsmtp_tls_cert_file = /client.pem\n";
        let master = "smtp inet n - n - - smtpd\nsubmission inet n - n - - smtpd\nsmtp unix - - n - - smtp\n\
                      smtps inet n - n - - smtpd -o smtpd_tls_cert_file=/own.pem -o smtpd_tls_key_file=$smtpd_tls_cert_file\n";
        let found = with(main, master, certificates);
        let short: Vec<_> = found
            .iter()
            .map(|files| (files.chain.value.as_str(), files.key.value.as_str(), files.services.len(), files.as_client))
            .collect();
        assert_eq!(
            short,
            [
                ("/c.pem", "/k.pem", 2, false),
                ("/own.pem", "/own.pem", 1, false),
                ("/client.pem", "/client.pem", 0, true)
            ]
        );
    }

    #[test]
    fn domains_have_their_kind_and_defaults_repeat_nothing() {
        let found = with("mydestination = a.example\nvirtual_mailbox_domains = hash:/v, b.example\n", "", domains);
        let names: Vec<_> = found.iter().map(|domain| (domain.value.name.as_str(), domain.value.kind)).collect();
        assert_eq!(
            names,
            [("a.example", DomainKind::Local), ("hash:/v", DomainKind::Virtual), ("b.example", DomainKind::Virtual)]
        );
    }
}
