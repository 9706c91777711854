//! Dovecot's services: which are enabled, and how many processes and clients each may have. Pure.

use super::tree::{Section, Tree};
use std::collections::BTreeSet;

/// Protocols, the service that takes connections, and the one that serves a user behind it (Dovecot's own names).
pub(crate) const PROTOCOLS: &[(&str, &str, &str)] = &[
    ("imap", "imap-login", "imap"),
    ("pop3", "pop3-login", "pop3"),
    ("sieve", "managesieve-login", "managesieve"),
    ("submission", "submission-login", "submission"),
    ("lmtp", "lmtp", "lmtp"),
];

/// The protocol that a service speaks; empty for one that is none of the mail services.
pub(crate) fn protocol_of(service: &str) -> &'static str {
    let known = PROTOCOLS.iter().find(|(_, login, user)| service == *login || service == *user);
    known.map_or("", |(protocol, _, _)| protocol)
}

/// Services whose limits and programs rules look at.
pub(crate) fn is_of_interest(service: &str) -> bool {
    !protocol_of(service).is_empty()
}

/// `protocols`: a list, and in 2.4 also a section of switches (`protocols { imap = yes }`).
pub(crate) fn protocols(tree: &Tree) -> BTreeSet<String> {
    let listed = match tree.value("protocols") {
        Some(value) => value.text.as_str(),
        // Dovecot's own default; Debian's is empty, and its packages set it by their includes.
        None => "imap pop3 lmtp",
    };
    let mut found: BTreeSet<String> =
        listed.split([' ', '\t', ',']).filter(|w| !w.is_empty() && !w.starts_with('$')).map(str::to_owned).collect();
    for section in tree.sections_of("protocols") {
        for (name, value) in &section.body.settings {
            if matches!(value.text.as_str(), "yes" | "y") {
                found.insert(name.clone());
            } else {
                found.remove(name);
            }
        }
    }
    found.remove("none");
    found
}

/// The services that are started: those of no protocol, and those of an enabled one.
pub(crate) fn enabled<'a>(tree: &'a Tree, protocols: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Section> {
    tree.sections_of("service").filter(move |section| {
        let protocol = section.body.text("protocol");
        protocol.is_empty() || protocols.contains(protocol)
    })
}

/// How much one service may take, with the server's defaults put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `None`: no limit.
    pub processes: Option<u32>,
    /// Connections of one process at a time.
    pub clients: Option<u32>,
    /// Connections after which a process ends; 0: never.
    pub requests: u32,
    /// Idle processes that are kept.
    pub spare: u32,
}

impl Limits {
    pub fn of(tree: &Tree, service: &Tree) -> Limits {
        let limit = |name: &str, default: &str, built_in: u32| match number(service.text(name)) {
            Some(0) | None if service.text(name) != "unlimited" => {
                Some(number(tree.text(default)).filter(|limit| *limit > 0).unwrap_or(built_in))
            }
            own => own,
        };
        // 2.4 calls it restart_request_count.
        let requests =
            ["restart_request_count", "service_count"].into_iter().find_map(|name| match service.text(name) {
                "unlimited" => Some(0),
                text => number(text),
            });
        Limits {
            processes: limit("process_limit", "default_process_limit", 100),
            clients: limit("client_limit", "default_client_limit", 1000),
            requests: requests.unwrap_or(0),
            spare: number(service.text("process_min_avail")).unwrap_or(0),
        }
    }

    /// Clients of one process at a time: a process that ends after one connection never has two.
    pub fn per_process(self) -> Option<u32> {
        if self.requests == 1 { Some(1) } else { self.clients }
    }
}

/// `None`: not set, or `unlimited`.
fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tree::text;
    use super::*;

    #[test]
    fn limits_come_from_the_service_or_the_server() {
        let tree = text(
            b"default_process_limit = 40\nservice a {\n process_limit = 0\n service_count = 1\n}\n\
              service b {\n process_limit = 7\n client_limit = 3\n}\nservice c {\n process_limit = unlimited\n}\n",
        )
        .tree;
        let of = |name: &str| Limits::of(&tree, &tree.section("service", name).unwrap().body);
        assert_eq!((of("a").processes, of("a").clients, of("a").per_process()), (Some(40), Some(1000), Some(1)));
        assert_eq!((of("b").processes, of("b").per_process()), (Some(7), Some(3)));
        assert_eq!(of("c").processes, None);
    }

    #[test]
    fn protocols_are_a_list_or_switches() {
        let of = |conf: &str| protocols(&text(conf.as_bytes()).tree).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(of(""), "imap lmtp pop3");
        assert_eq!(of("protocols = none"), "");
        assert_eq!(of("protocols = \" imap lmtp\""), "imap lmtp");
        assert_eq!(of("protocols {\n imap = yes\n}\nprotocols = lmtp"), "imap lmtp");
        assert_eq!(of("protocols = imap pop3\nprotocols {\n pop3 = no\n}"), "imap");
    }
}
