//! The lookup tables that Postfix's programs ask while they take or deliver mail, as far as they are files. Pure.
//!
//! Only parameters that have an effect here: a table of recipients for domains that the server does not have is never
//! opened, caches are made when they are needed, and `alias_database` is for newaliases(1) alone.

use super::depends::RESTRICTIONS;
use super::effective::items;
use super::facts::Sources;
use super::master_cf::Service;
use mxray_model::evidence::Configured;
use std::collections::BTreeSet;

/// Most tables that a report carries; large sites have some dozen.
const ASKED_MAX: usize = 300;

/// Asked by cleanup(8) and trivial-rewrite(8) for every message, or by smtpd(8) for every recipient.
const ALWAYS: [&str; 19] = [
    "virtual_alias_maps",
    "canonical_maps",
    "sender_canonical_maps",
    "recipient_canonical_maps",
    "sender_bcc_maps",
    "recipient_bcc_maps",
    "header_checks",
    "mime_header_checks",
    "nested_header_checks",
    "body_checks",
    "transport_maps",
    "relocated_maps",
    "sender_dependent_relayhost_maps",
    "sender_dependent_default_transport_maps",
    "mynetworks",
    "mydestination",
    "relay_domains",
    "virtual_mailbox_domains",
    "virtual_alias_domains",
];

/// Asked only for domains of one kind: the parameter that lists them, and the tables.
const BY_DOMAINS: [(&str, &[&str]); 3] = [
    ("virtual_mailbox_domains", &["virtual_mailbox_maps"]),
    ("relay_domains", &["relay_recipient_maps"]),
    ("mydestination", &["alias_maps", "local_recipient_maps"]),
];

/// Asked by local(8), where it delivers.
const LOCAL: [&str; 3] = ["mailbox_command_maps", "mailbox_transport_maps", "fallback_transport_maps"];

/// Asked by virtual(8), where it delivers.
const VIRTUAL: [&str; 2] = ["virtual_uid_maps", "virtual_gid_maps"];

/// Asked by smtpd(8) whatever its restrictions say.
const SMTPD: [&str; 2] = ["smtpd_milter_maps", "smtpd_command_filter"];

/// Asked by smtp(8) for what it sends. Its policies for TLS stand with the clients.
const SMTP: [&str; 5] = [
    "smtp_generic_maps",
    "smtp_header_checks",
    "smtp_mime_header_checks",
    "smtp_nested_header_checks",
    "smtp_body_checks",
];

/// Tables by the parameter that names them; each once, by the first one that does.
pub(super) struct Asked {
    /// Those that are files.
    pub tables: Vec<Configured<String>>,
    /// Those of a type that the installation does not have.
    pub typeless: Vec<Configured<String>>,
}

pub(super) fn asked(sources: &Sources<'_>) -> Asked {
    let mut found = Found { types: sources.types, list: Vec::new(), typeless: Vec::new() };
    for name in ALWAYS {
        found.add(&sources.common(name));
    }
    for (domains, names) in BY_DOMAINS {
        if items(&sources.values.plain(domains)).is_empty() {
            continue;
        }
        // The built-in defaults of local mail name tables that few hosts have.
        let lists = names.iter().map(|name| sources.common(name));
        lists.filter(|list| domains != "mydestination" || list.at.is_some()).for_each(|list| found.add(&list));
    }
    let used = |transport: &str, domains: &str, daemon: &str| {
        let transport = sources.values.plain(transport);
        let name = transport.split(':').next().unwrap_or_default().trim();
        !items(&sources.values.plain(domains)).is_empty()
            && sources.master.services.get(&format!("{name}/unix")).is_some_and(|service| service.daemon() == daemon)
    };
    if used("local_transport", "mydestination", "local") {
        LOCAL.iter().for_each(|name| found.add(&sources.common(name)));
    }
    if used("virtual_transport", "virtual_mailbox_domains", "virtual") {
        VIRTUAL.iter().for_each(|name| found.add(&sources.common(name)));
    }
    for service in sources.master.services.values() {
        match service.daemon() {
            "smtpd" => restrictions(sources, service, &mut found),
            "smtp" => {
                SMTP.iter().for_each(|name| found.add(&sources.of(service, name)));
                if sources.values.is_yes(&super::listeners::seen_by(service), "smtp_sasl_auth_enable") {
                    found.add(&sources.of(service, "smtp_sasl_password_maps"));
                }
            }
            _ => {}
        }
    }
    Asked { tables: found.list, typeless: found.typeless }
}

/// The lists as one smtpd(8) sees them (what stands behind `check_…_access` is a table), with the admin's own classes.
fn restrictions(sources: &Sources<'_>, service: &Service, found: &mut Found<'_>) {
    SMTPD.iter().for_each(|name| found.add(&sources.of(service, name)));
    let classes = sources.of(service, "smtpd_restriction_classes");
    let classes: Vec<String> = items(&classes.value).into_iter().map(|item| item.text().to_owned()).collect();
    let mut senders = false;
    for name in RESTRICTIONS {
        let list = sources.of(service, name);
        found.add(&list);
        senders |= list.value.contains("sender_login_mismatch");
        for class in classes.iter().filter(|class| items(&list.value).iter().any(|item| item.text() == class.as_str()))
        {
            found.add(&sources.of(service, class));
        }
    }
    if senders {
        found.add(&sources.of(service, "smtpd_sender_login_maps"));
    }
}

struct Found<'a> {
    types: Option<&'a BTreeSet<String>>,
    list: Vec<Configured<String>>,
    typeless: Vec<Configured<String>>,
}

impl Found<'_> {
    /// The tables of one list. `type:/path`, also negated or behind `proxy:`; what stands in the list itself is no file.
    fn add(&mut self, list: &Configured<String>) {
        for item in items(&list.value) {
            let word = item.text().trim_start_matches('!');
            // A path in a list of domains or networks stands for the lines of that file.
            if word.starts_with('/') && super::interpret::LISTS_WITH_FILES.contains(&list.setting.as_str()) {
                put(&mut self.list, word, list);
                continue;
            }
            let word = word.strip_prefix("proxy:").unwrap_or(word);
            let Some((kind, path)) = word.split_once(':') else { continue };
            let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase());
            if is_kind && self.lacks_type(kind, word) {
                // What stands in the list itself may hold a password.
                let name = if path.starts_with('/') { word } else { kind };
                put(&mut self.typeless, name, list);
                continue;
            }
            if !is_kind || !path.starts_with('/') || word.contains('{') || super::tables::opened(kind).is_none() {
                continue;
            }
            put(&mut self.list, word, list);
        }
    }

    /// `inet:` and `unix:` name sockets of policy services, and `fd:` and the like are the beginnings of IPv6 addresses.
    fn lacks_type(&self, kind: &str, word: &str) -> bool {
        let is_address = kind.bytes().all(|byte| byte.is_ascii_hexdigit()) && word.contains("::");
        !matches!(kind, "inet" | "unix") && !is_address && self.types.is_some_and(|types| !types.contains(kind))
    }
}

fn put(tables: &mut Vec<Configured<String>>, name: &str, list: &Configured<String>) {
    if tables.len() < ASKED_MAX && !tables.iter().any(|known| known.value == name) {
        tables.push(Configured { value: name.to_owned(), setting: list.setting.clone(), at: list.at.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{effective::Values, main_cf, master_cf};
    use super::*;
    use crate::mta::machine::Machine;
    use std::collections::BTreeMap;

    fn of(main: &str, master: &str) -> Vec<(String, String)> {
        pairs(all(main, master, None).tables)
    }

    fn pairs(tables: Vec<Configured<String>>) -> Vec<(String, String)> {
        tables.into_iter().map(|table| (table.setting, table.value)).collect()
    }

    fn all(main: &str, master: &str, types: Option<&BTreeSet<String>>) -> Asked {
        let main = main_cf::parse(main.as_bytes());
        let master = master_cf::parse(master.as_bytes());
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        asked(&Sources {
            values: &values,
            main: &main,
            master: &master,
            all: None,
            commented: &[],
            settings: &BTreeMap::new(),
            main_file: "/etc/postfix/main.cf",
            master_file: "/etc/postfix/master.cf",
            wanted: &BTreeSet::new(),
            types,
        })
    }

    fn pair(setting: &str, table: &str) -> (String, String) {
        (setting.to_owned(), table.to_owned())
    }

    #[test]
    fn only_what_is_asked_here_counts() {
        let main = "virtual_alias_maps = hash:/v, proxy:mysql:/m.cf, inline:{a=b}, ldap:inline\nalias_database = hash:/gone\n\
                    virtual_mailbox_maps = hash:/boxes\nsmtp_sasl_password_maps = hash:/passwords\nalias_maps = hash:/aliases\n\
                    smtpd_tls_session_cache_database = btree:/var/lib/postfix/cache\nvirtual_mailbox_domains =\nmydestination =\n";
        let master = "smtp inet n - y - - smtpd\nsmtp unix - - y - - smtp\nlocal unix - n n - - local\n";
        assert_eq!(
            of(main, master),
            [pair("virtual_alias_maps", "hash:/v"), pair("virtual_alias_maps", "mysql:/m.cf")]
        );
        let found = of(
            &main.replace(
                "mydestination =",
                "mydestination = a.example\nsmtp_sasl_auth_enable = yes\nvirtual_mailbox_domains = b.example",
            ),
            master,
        );
        for table in ["hash:/boxes", "hash:/passwords", "hash:/aliases"] {
            assert!(found.iter().any(|(_, name)| name == table), "{table}: {found:?}");
        }
    }

    #[test]
    fn a_table_of_a_type_that_is_not_installed_is_told_apart() {
        let main = "virtual_alias_maps = hash:/v, proxy:mysql:/m.cf, inline:{a=b}\nheader_checks = pcre:/h\n\
                    mynetworks = 127.0.0.0/8, fd::/8, cidr:/n\nsender_canonical_maps = ldap:inline\n\
                    smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:10023, check_sender_access static:OK\n";
        let master = "smtp inet n - y - - smtpd\n";
        let types = ["hash", "inline", "cidr", "static"].map(str::to_owned).into();
        let found = all(main, master, Some(&types));
        let typeless = [
            pair("virtual_alias_maps", "mysql:/m.cf"),
            pair("sender_canonical_maps", "ldap"),
            pair("header_checks", "pcre:/h"),
        ];
        assert_eq!(pairs(found.typeless), typeless);
        assert_eq!(pairs(found.tables), [pair("virtual_alias_maps", "hash:/v"), pair("mynetworks", "cidr:/n")]);
        // Where the types are not known, nothing is said of them.
        assert_eq!(pairs(all(main, master, None).typeless), []);
    }

    #[test]
    fn restrictions_are_those_of_the_service() {
        let main = "smtpd_recipient_restrictions = check_recipient_access hash:/r, strict, !cidr:/n, permit\n\
                    smtpd_restriction_classes = strict unused\nstrict = check_sender_access pcre:/s\nunused = check_sender_access hash:/u\n\
                    smtpd_sender_login_maps = hash:/logins\n";
        let master = "smtp inet n - y - - smtpd -o smtpd_recipient_restrictions=reject\n";
        assert_eq!(of(main, master), []);
        let found = of(main, "smtp inet n - y - - smtpd -o smtpd_sender_restrictions=reject_sender_login_mismatch\n");
        let mut tables: Vec<&str> = found.iter().map(|(_, table)| table.as_str()).collect();
        tables.sort_unstable();
        assert_eq!(tables, ["cidr:/n", "hash:/logins", "hash:/r", "pcre:/s"]);
    }
}
