//! The packet filter's part, in the words of the program that manages it: a rule that is put in beside a manager is gone at its
//! next reload. Pure.

use super::{Edit, Part, plain};
use crate::ports::plan::decide::{exposure_words, rule_words};
use crate::ports::plan::wish::Wish;
use mxray_host::filter_managers::Installed;
use mxray_model::Prefix;
use mxray_model::evidence::{Direction, Exposure, FilterAnswer, FilterStep, FilterVerdict, Firewall};
use mxray_model::{Blind, Seen};
use std::net::IpAddr;

/// What manages the packet filter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manager {
    Ufw,
    Firewalld,
    /// nftables without a manager: the table and the chain of the input hook, where they were seen.
    Nft {
        table: String,
        chain: String,
        persisted: Option<String>,
    },
    Iptables {
        persisted: Option<String>,
    },
    /// Looked: no rule, and nothing that would load one.
    None,
    Unknown(Blind),
}

/// The networks that are called private (RFC 1918, RFC 4193).
pub const PRIVATE: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl Manager {
    /// Who is in charge. What runs counts more than what is installed.
    pub fn of(firewall: &Seen<Firewall>, installed: &Installed) -> Manager {
        let on_disk = || match installed {
            Installed { firewalld: true, .. } => Some(Manager::Firewalld),
            Installed { ufw: true, .. } => Some(Manager::Ufw),
            Installed { nft_file: Some(file), .. } => Some(nft(None, Some(file.clone()))),
            Installed { iptables_file: Some(file), .. } => Some(Manager::Iptables { persisted: Some(file.clone()) }),
            _ => None,
        };
        match firewall {
            Seen::Value(firewall) => running(firewall, installed).or_else(on_disk).unwrap_or(Manager::None),
            Seen::Absent => on_disk().unwrap_or(Manager::None),
            Seen::Unknown(blind) => on_disk().unwrap_or_else(|| Manager::Unknown(blind.clone())),
        }
    }
}

fn running(firewall: &Firewall, installed: &Installed) -> Option<Manager> {
    let by = |name: &str| firewall.tables.values().any(|table| table.manager.as_deref() == Some(name));
    if by("firewalld") {
        return Some(Manager::Firewalld);
    }
    if by("ufw") {
        return Some(Manager::Ufw);
    }
    if let Some(step) = input_step(firewall) {
        let (framework, family, table) = parts(&step.table)?;
        let compat = firewall.tables.get(&step.table).and_then(|table| table.manager.as_deref());
        if framework == "legacy" || compat == Some("iptables-nft") {
            return Some(Manager::Iptables { persisted: installed.iptables_file.clone() });
        }
        return Some(nft(Some((format!("{family} {table}"), step.chain.clone())), installed.nft_file.clone()));
    }
    let filter = |key: &&String| key.ends_with(" filter");
    let key =
        firewall.tables.keys().filter(filter).find(|key| firewall.tables.get(*key).is_some_and(|t| t.rules > 0))?;
    let (framework, family, table) = parts(key)?;
    let compat = firewall.tables.get(key).and_then(|table| table.manager.as_deref());
    if framework == "legacy" || compat == Some("iptables-nft") {
        return Some(Manager::Iptables { persisted: installed.iptables_file.clone() });
    }
    Some(nft(Some((format!("{family} {table}"), "input".to_owned())), installed.nft_file.clone()))
}

fn nft(place: Option<(String, String)>, persisted: Option<String>) -> Manager {
    let (table, chain) = place.unwrap_or_else(|| ("inet filter".to_owned(), "input".to_owned()));
    Manager::Nft { table, chain, persisted }
}

/// `nft inet filter` → framework, family, name
fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let mut words = key.splitn(3, ' ');
    Some((words.next()?, words.next()?, words.next()?))
}

/// The base chain of the input hook that packets to this host meet last: what is accepted there is accepted.
fn input_step(firewall: &Firewall) -> Option<&FilterStep> {
    let inbound = firewall.answers.values().filter(|answer| answer.packet.direction == Direction::In);
    inbound.flat_map(|answer| &answer.walk).filter(|step| step.hook == "input").max_by_key(|step| step.priority)
}

/// The edit, after what the filters do now (`firewall`'s answers are those to the packets that the service is to get).
pub fn edit(wish: &Wish, manager: &Manager, firewall: &Seen<Firewall>) -> Edit {
    if wish.exposure == Exposure::Loopback {
        let text =
            "No rule: packets to loopback addresses pass every usual ruleset, and nobody else is to reach the port.";
        return Edit::new(Part::Firewall, "", text);
    }
    let answers: Vec<&FilterAnswer> = firewall.value().into_iter().flat_map(|all| all.answers.values()).collect();
    if !answers.is_empty() && answers.iter().all(|answer| answer.verdict == FilterVerdict::Pass) {
        let whom = exposure_words(&wish.exposure);
        let text = format!(
            "No rule: what comes from {whom} to port {}/{} passes the running ruleset already.",
            wish.port, wish.protocol
        );
        return Edit::new(Part::Firewall, "", text);
    }
    let mut edit = rule(wish, manager);
    if let Some(stopped) = answers.iter().find(|answer| answer.verdict.stops()) {
        let by = match &stopped.by {
            Some(rule) => rule_words(rule),
            None => "a chain's policy".to_owned(),
        };
        edit.text = format!(
            "Now {by} stops what is to come in (`mxray ports explain {}` shows the walk). {}",
            wish.port, edit.text
        );
    }
    edit
}

fn rule(wish: &Wish, manager: &Manager) -> Edit {
    let sources = sources(&wish.exposure);
    match manager {
        Manager::Ufw => ufw(wish, &sources),
        Manager::Firewalld => firewalld(wish, &sources),
        Manager::Nft { table, chain, persisted } => nftables(wish, &sources, table, chain, persisted.as_deref()),
        Manager::Iptables { persisted } => iptables(wish, &sources, persisted.as_deref()),
        Manager::None if wish.exposure != Exposure::Public && is_open(wish) => {
            let text = "No packet filter was found on this host, so nothing keeps others out: bind the service to an address that only those have a way to.";
            Edit::new(Part::Firewall, "", text)
        }
        Manager::None => {
            let text =
                "No rule: no packet filter was found on this host (a provider's in front of it is not seen from here).";
            Edit::new(Part::Firewall, "", text)
        }
        Manager::Unknown(blind) => {
            let to = format!("{}/{}", wish.port, wish.protocol);
            let from = if sources.is_empty() { "anywhere".to_owned() } else { words(&sources) };
            let needs = blind.needs();
            let needs = if needs.is_empty() { needs } else { format!("; with {needs} the command stands here") };
            let text =
                format!("Let {to} in from {from}. What filters here could not be seen ({}){needs}.", blind.why());
            Edit::new(Part::Firewall, "", text)
        }
    }
}

/// Listens on all addresses.
fn is_open(wish: &Wish) -> bool {
    wish.addresses.is_empty() || wish.addresses.iter().any(IpAddr::is_unspecified)
}

/// Empty: from anywhere.
fn sources(exposure: &Exposure) -> Vec<Prefix> {
    let parsed = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect();
    match exposure {
        Exposure::Loopback | Exposure::Public => Vec::new(),
        Exposure::Private => PRIVATE.iter().filter_map(|text| text.parse().ok()).collect(),
        Exposure::Prefixes(prefixes) => parsed(prefixes),
    }
}

fn words(sources: &[Prefix]) -> String {
    sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn is_four(prefix: &Prefix) -> bool {
    prefix.address.is_ipv4()
}

/// The one address that the service is bound to, where it is one. A rule then says so.
fn destination(wish: &Wish) -> Option<IpAddr> {
    match wish.addresses.as_slice() {
        [address] if !address.is_unspecified() => Some(address.to_canonical()),
        _ => None,
    }
}

/// Does the service take packets of this family at all?
fn takes(wish: &Wish, four: bool) -> bool {
    use mxray_model::evidence::V6Policy;
    let none = wish.addresses.is_empty();
    let named = wish.addresses.iter().any(|address| {
        let canonical = address.to_canonical();
        canonical.is_ipv4() == four || (four && address.is_unspecified() && wish.v6 == V6Policy::Dual)
    });
    named || (none && (four || wish.v6 != V6Policy::None))
}

fn comment(wish: &Wish) -> String {
    plain(&wish.service).map_or_else(|| "mxray".to_owned(), str::to_owned)
}

fn ufw(wish: &Wish, sources: &[Prefix]) -> Edit {
    let mut edit = Edit::new(Part::Firewall, "ufw", "ufw manages the packet filter here:");
    let (port, protocol, comment) = (wish.port, &wish.protocol, comment(wish));
    let to = destination(wish).map_or_else(|| "any".to_owned(), |address| address.to_string());
    if sources.is_empty() && to == "any" {
        edit.commands.push(format!("ufw allow {port}/{protocol} comment {comment}"));
    } else if sources.is_empty() {
        edit.commands.push(format!("ufw allow proto {protocol} from any to {to} port {port} comment {comment}"));
    }
    for source in sources.iter().filter(|source| takes(wish, is_four(source))) {
        edit.commands.push(format!("ufw allow proto {protocol} from {source} to {to} port {port} comment {comment}"));
    }
    edit.commands.push("ufw status numbered".to_owned());
    edit
}

fn firewalld(wish: &Wish, sources: &[Prefix]) -> Edit {
    let mut edit = Edit::new(Part::Firewall, "firewalld", "firewalld manages the packet filter here (default zone):");
    let (port, protocol) = (wish.port, &wish.protocol);
    if sources.is_empty() {
        edit.commands.push(format!("firewall-cmd --permanent --add-port={port}/{protocol}"));
    }
    for source in sources.iter().filter(|source| takes(wish, is_four(source))) {
        let family = if is_four(source) { "ipv4" } else { "ipv6" };
        edit.commands.push(format!(
            "firewall-cmd --permanent --add-rich-rule='rule family=\"{family}\" source address=\"{source}\" port port=\"{port}\" protocol=\"{protocol}\" accept'"
        ));
    }
    edit.commands.push("firewall-cmd --reload".to_owned());
    edit
}

fn nftables(wish: &Wish, sources: &[Prefix], table: &str, chain: &str, persisted: Option<&str>) -> Edit {
    let text = "nftables without a manager: the rule in front of the others, and the same line in the file that is loaded at boot:";
    let mut edit = Edit::new(Part::Firewall, "nft", text);
    let (port, protocol, comment) = (wish.port, &wish.protocol, comment(wish));
    let family = table.split(' ').next().unwrap_or_default();
    let to = |four: bool| match destination(wish) {
        Some(address) => format!("{} daddr {address} ", if four { "ip" } else { "ip6" }),
        None => String::new(),
    };
    let mut rules: Vec<String> = Vec::new();
    if sources.is_empty() {
        let four = destination(wish).is_none_or(|address| address.is_ipv4());
        rules.push(format!("{}{protocol} dport {port} accept comment \"{comment}\"", to(four)));
    }
    for four in [true, false] {
        let fits = match family {
            "ip" => four,
            "ip6" => !four,
            _ => true,
        };
        let own: Vec<String> =
            sources.iter().filter(|source| is_four(source) == four).map(ToString::to_string).collect();
        if own.is_empty() || !fits || !takes(wish, four) {
            continue;
        }
        let (word, set) = (if four { "ip" } else { "ip6" }, own.join(", "));
        rules
            .push(format!("{word} saddr {{ {set} }} {}{protocol} dport {port} accept comment \"{comment}\"", to(four)));
    }
    // The shell takes braces and quotes for its own: the rule is one word.
    edit.commands = rules.iter().map(|rule| format!("nft 'insert rule {table} {chain} {rule}'")).collect();
    edit.file = Some(persisted.unwrap_or("/etc/nftables.conf").to_owned());
    edit.lines = rules;
    edit
}

fn iptables(wish: &Wish, sources: &[Prefix], persisted: Option<&str>) -> Edit {
    let mut edit =
        Edit::new(Part::Firewall, "iptables", "iptables, in front of the other rules, and saved for the next start:");
    let (port, protocol, comment) = (wish.port, &wish.protocol, comment(wish));
    for four in [true, false] {
        let program = if four { "iptables" } else { "ip6tables" };
        let to = match destination(wish) {
            Some(address) if address.is_ipv4() == four => format!(" -d {address}"),
            Some(_) => continue,
            None => String::new(),
        };
        if !takes(wish, four) {
            continue;
        }
        let own: Vec<&Prefix> = sources.iter().filter(|source| is_four(source) == four).collect();
        let rule = |from: String| {
            format!(
                "{program} -I INPUT{from}{to} -p {protocol} --dport {port} -m comment --comment {comment} -j ACCEPT"
            )
        };
        if sources.is_empty() {
            edit.commands.push(rule(String::new()));
        }
        edit.commands.extend(own.iter().map(|source| rule(format!(" -s {source}"))));
    }
    match persisted {
        Some(file) => {
            edit.file = Some(file.to_owned());
            edit.commands.push("netfilter-persistent save".to_owned());
        }
        None => {
            edit.text = format!(
                "{} nothing here saves it, so whatever loads the ruleset at boot needs the same line.",
                edit.text
            );
        }
    }
    edit
}
