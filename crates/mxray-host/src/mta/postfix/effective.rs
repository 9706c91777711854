//! Effective values: what was set, else the default, with every reference expanded; for the whole server or for one
//! service with its `-o` overrides. Pure.

use super::defaults::default_of;
use super::expand::{Expanded, expand};
use super::main_cf::MainCf;
use crate::mta::machine::Machine;
use mxray_model::Seen;
use std::collections::BTreeMap;

/// Unexpanded values of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    raw: BTreeMap<String, String>,
}

impl Values {
    /// From postconf's dump. Parameters of the administrator's own, which postconf leaves out while nothing known to it
    /// refers to them, are added from main.cf.
    pub fn from_dump(dump: BTreeMap<String, String>, main: &MainCf) -> Values {
        let mut raw = dump;
        for (name, assignment) in &main.values {
            raw.entry(name.clone()).or_insert_with(|| assignment.value.clone());
        }
        Values { raw }
    }

    /// From main.cf and the built-in defaults.
    pub fn from_files(config_dir: &str, main: &MainCf, machine: &Machine) -> Values {
        let mut raw: BTreeMap<String, String> =
            main.values.iter().map(|(name, assignment)| (name.clone(), assignment.value.clone())).collect();
        raw.insert("config_directory".to_owned(), config_dir.to_owned());
        let own = |name: &str| main.values.get(name).map(|assignment| assignment.value.clone());
        let host = own("myhostname").unwrap_or_else(|| default_host(machine, own("mydomain").as_deref()));
        let domain = host.split_once('.').map_or("localdomain", |(_, domain)| domain).to_owned();
        raw.entry("mydomain".to_owned()).or_insert(domain);
        raw.entry("myhostname".to_owned()).or_insert(host);
        let mut values = Values { raw };
        if !values.raw.contains_key("mynetworks")
            && values.get("mynetworks_style").is_ok_and(|style| style == "host")
            && let Some(networks) = own_networks(machine)
        {
            values.raw.insert("mynetworks".to_owned(), networks);
        }
        values
    }

    /// The unexpanded value; `None` where nobody defined the name.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.raw.get(name).map(String::as_str).or_else(|| default_of(name))
    }

    /// The expanded value for the whole server; empty where it is not defined.
    ///
    /// # Errors
    /// What the expansion stopped at, in words.
    pub fn get(&self, name: &str) -> Result<String, String> {
        self.of(&BTreeMap::new(), name).map(|expanded| expanded.text)
    }

    /// The same, and with an error as empty text: for callers behind the one that lists the problem.
    pub fn plain(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// The expanded value as one service sees it.
    ///
    /// # Errors
    /// What the expansion stopped at, in words.
    pub fn of(&self, overrides: &BTreeMap<String, String>, name: &str) -> Result<Expanded, String> {
        let lookup = |wanted: &str| overrides.get(wanted).map(String::as_str).or_else(|| self.raw(wanted));
        match lookup(name) {
            Some(text) => {
                let mut expanded = expand(text, &lookup)?;
                // As postconf shows it: what expanded to nothing at either end leaves its blanks.
                expanded.text = expanded.text.trim_matches(' ').to_owned();
                Ok(expanded)
            }
            None => Ok(Expanded { text: String::new(), undefined: Default::default() }),
        }
    }

    /// The same as plain text.
    pub fn plain_of(&self, overrides: &BTreeMap<String, String>, name: &str) -> String {
        self.of(overrides, name).map(|expanded| expanded.text).unwrap_or_default()
    }

    /// A yes/no parameter of one service. Postfix takes `yes` and `no` in any case and stops at anything else.
    pub fn is_yes(&self, overrides: &BTreeMap<String, String>, name: &str) -> bool {
        self.plain_of(overrides, name).eq_ignore_ascii_case("yes")
    }

    /// The major number of compatibility_level; 0 where it is not understood.
    pub fn compatibility(&self) -> u32 {
        let level = self.plain("compatibility_level");
        level.split('.').next().and_then(|major| major.trim().parse().ok()).unwrap_or(0)
    }
}

/// gethostname(), completed with mydomain where it is a single label.
fn default_host(machine: &Machine, domain: Option<&str>) -> String {
    if machine.host_name.contains('.') {
        machine.host_name.clone()
    } else {
        format!("{}.{}", machine.host_name, domain.unwrap_or("localdomain"))
    }
}

/// The default of mynetworks where mynetworks_style is `host`: every own address for itself, loopback as a network.
fn own_networks(machine: &Machine) -> Option<String> {
    let Seen::Value(own) = &machine.addresses else { return None };
    let mut networks = Vec::new();
    for address in own {
        networks.push(match address {
            std::net::IpAddr::V4(v4) if v4.is_loopback() => "127.0.0.0/8".to_owned(),
            std::net::IpAddr::V4(v4) => format!("{v4}/32"),
            std::net::IpAddr::V6(v6) => format!("[{v6}]/128"),
        });
    }
    networks.dedup();
    Some(networks.join(" "))
}

/// Splits a list at commas and white space, as Postfix does; what stands in braces is one item without them.
pub(crate) fn items(text: &str) -> Vec<Item<'_>> {
    let is_separator = |c: char| matches!(c, ',' | ' ' | '\t' | '\r' | '\n');
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches(is_separator);
    while !rest.is_empty() {
        let (item, tail) = if rest.starts_with('{') {
            let (inner, tail) = group(rest);
            (Item::Group(inner.trim()), tail)
        } else {
            let (word, tail) = rest.split_at(rest.find(is_separator).unwrap_or(rest.len()));
            (Item::Word(word), tail)
        };
        found.push(item);
        rest = tail.trim_start_matches(is_separator);
    }
    found
}

/// The inside of the braces that `text` begins with. One that is never closed reaches to the end.
fn group(text: &str) -> (&str, &str) {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return (text.get(1..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        }
    }
    (text.get(1..).unwrap_or_default(), "")
}

/// One item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Word(&'a str),
    Group(&'a str),
}

impl<'a> Item<'a> {
    /// As written, without the braces.
    pub fn text(self) -> &'a str {
        match self {
            Item::Word(text) | Item::Group(text) => text,
        }
    }

    /// The first word, and the `name = value` settings behind it in a group.
    pub fn head_and_settings(self) -> (&'a str, Vec<(&'a str, &'a str)>) {
        match self {
            Item::Word(word) => (word, Vec::new()),
            Item::Group(inner) => {
                let mut parts = inner.split(',').flat_map(|part| {
                    // `{ inet:host:1 default_action=accept }`: white space separates too.
                    let part = part.trim();
                    if part.contains('=') && part.contains(" =") {
                        vec![part]
                    } else {
                        part.split_whitespace().collect()
                    }
                });
                let head = parts.next().unwrap_or_default();
                let settings =
                    parts.filter_map(|part| part.split_once('=')).map(|(name, value)| (name.trim(), value.trim()));
                (head, settings.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::main_cf::parse;
    use super::*;

    #[test]
    fn lists_split_at_commas_white_space_and_braces() {
        assert_eq!(
            items(" a, b c,{ inet:x:1, default_action = accept },d "),
            [
                Item::Word("a"),
                Item::Word("b"),
                Item::Word("c"),
                Item::Group("inet:x:1, default_action = accept"),
                Item::Word("d")
            ]
        );
        assert_eq!(items("{unclosed"), [Item::Group("unclosed")]);
        assert_eq!(items(" ,\t "), []);
        let (head, settings) = Item::Group("unix:a/b, default_action = accept, connect_timeout=5s").head_and_settings();
        assert_eq!((head, settings), ("unix:a/b", vec![("default_action", "accept"), ("connect_timeout", "5s")]));
    }

    #[test]
    fn a_service_sees_its_overrides_also_through_references() {
        let main = parse(b"smtpd_client_restrictions = $mua\nmua = permit\n");
        let values = Values::from_files("/etc/postfix", &main, &Machine::default());
        let overrides = BTreeMap::from([("mua".to_owned(), "reject".to_owned())]);
        assert_eq!(values.plain("smtpd_client_restrictions"), "permit");
        assert_eq!(values.plain_of(&overrides, "smtpd_client_restrictions"), "reject");
    }

    #[test]
    fn host_name_and_networks_default_to_the_machine() {
        let machine = Machine {
            host_name: "vm".into(),
            addresses: Seen::Value(["127.0.0.1", "192.0.2.2", "::1"].iter().map(|a| a.parse().unwrap()).collect()),
            ..Machine::default()
        };
        let values = Values::from_files("/etc/postfix", &parse(b"compatibility_level = 3.6\n"), &machine);
        assert_eq!(values.plain("myhostname"), "vm.localdomain");
        assert_eq!(values.plain("mydestination"), "vm.localdomain, localhost.localdomain, localhost");
        assert_eq!(values.plain("mynetworks"), "127.0.0.0/8 192.0.2.2/32 [::1]/128");
        assert_eq!(values.plain("relay_domains"), "");
        let old = Values::from_files("/etc/postfix", &parse(b"myhostname = mx.example.org\n"), &machine);
        assert_eq!(old.plain("relay_domains"), "mx.example.org, localhost.example.org, localhost");
        assert_eq!(old.plain("mynetworks"), "");
    }
}
