//! Who has which port, as one table of declared, configured and actual, for `ports doc` and `ports diff`. Pure: it is made of
//! evidence, so a saved report gives the same table as the host did.

use super::plan::decide::{exposure_words, rule_words};
use super::plan::facts::endpoint;
use super::plan::gather;
use mxray_model::evidence::{Assignment, Direction, Evidence, FilterVerdict, Listener, PortOwner, TlsMode, V6Policy};
use mxray_model::special::is_special;
use mxray_model::{Prefix, Seen, Unseen};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One port of one transport.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub declared: BTreeMap<String, Declared>,
    /// Why nobody may listen, where that was decided.
    pub forbidden: Option<String>,
    /// By `postfix smtp/inet`.
    pub configured: BTreeMap<String, Configured>,
    pub actual: Option<Actual>,
    /// What this host's packet filters do with packets to it, where that was asked.
    pub filtered: BTreeSet<String>,
}

/// What the assignments file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub owner: String,
    pub addresses: BTreeSet<String>,
    pub exposure: String,
    pub tls: &'static str,
    pub v6: &'static str,
    pub range: Option<(u16, u16)>,
    pub purpose: String,
    pub contact: String,
    pub at: String,
}

/// What a configuration asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    pub addresses: BTreeSet<String>,
    pub unit: String,
    /// `yes`, `no`, `unknown`
    pub at_boot: &'static str,
    pub at: String,
}

/// What listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    pub addresses: BTreeSet<String>,
    /// Units, else the names of processes; never their ids, which change.
    pub owners: BTreeSet<String>,
    pub uids: BTreeSet<u32>,
    pub reach: Reach,
}

/// From where the bound addresses can be reached, whatever filters stand in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    #[default]
    Loopback,
    Private,
    Public,
}

impl Reach {
    pub fn as_str(self) -> &'static str {
        match self {
            Reach::Loopback => "loopback",
            Reach::Private => "private",
            Reach::Public => "public",
        }
    }
}

/// Transport and port.
pub type Key = (u16, String);

/// The table, in the order of ports, and what is missing from it.
pub fn table(evidence: &Evidence) -> (BTreeMap<Key, Standing>, Vec<Unseen>) {
    let mut table: BTreeMap<Key, Standing> = BTreeMap::new();
    let mut unseen = gather::unseen(evidence);
    declared(evidence, &mut table, &mut unseen);
    for (port, all) in gather::asked(evidence) {
        for asked in all {
            let standing = table.entry((port, asked.binding.protocol.clone())).or_default();
            let configured = standing.configured.entry(format!("{} {}", asked.software, asked.service)).or_default();
            configured.addresses.insert(asked.binding.address.to_string());
            configured.unit.clone_from(&asked.unit);
            configured.at = asked.at.to_string();
            configured.at_boot = match (&asked.at_boot, &asked.running) {
                (Seen::Value(_), _) => "yes",
                (Seen::Absent, _) => "no",
                (Seen::Unknown(_), _) => "unknown",
            };
        }
    }
    actual(evidence, &mut table, &mut unseen);
    filtered(evidence, &mut table);
    unseen.sort();
    unseen.dedup();
    (table, unseen)
}

fn declared(evidence: &Evidence, table: &mut BTreeMap<Key, Standing>, unseen: &mut Vec<Unseen>) {
    let assignments = match &evidence.assignments {
        Seen::Value(assignments) => assignments,
        Seen::Absent => return,
        Seen::Unknown(blind) => {
            let what = "the assignments file".to_owned();
            return unseen.push(Unseen { what, why: blind.why(), needs: blind.needs() });
        }
    };
    for (name, entry) in &assignments.services {
        let (first, last) = entry.ports;
        let standing = table.entry((first, entry.protocol.clone())).or_default();
        standing.declared.insert(name.clone(), of_entry(entry, (first != last).then_some((first, last))));
    }
    for entry in assignments.forbidden.values() {
        let except = if entry.except_loopback { " (but on loopback)" } else { "" };
        let standing = table.entry((entry.port, entry.protocol.clone())).or_default();
        standing.forbidden =
            Some(format!("must not listen{except}: {}", entry.reason).trim_end_matches([':', ' ']).to_owned());
    }
}

fn of_entry(entry: &Assignment, range: Option<(u16, u16)>) -> Declared {
    Declared {
        owner: owner(&entry.owner),
        addresses: entry.addresses.iter().map(IpAddr::to_string).collect(),
        exposure: exposure_words(&entry.exposure),
        tls: match entry.tls {
            None => "",
            Some(TlsMode::None) => "none",
            Some(TlsMode::Starttls) => "STARTTLS",
            Some(TlsMode::StarttlsRequired) => "STARTTLS required",
            Some(TlsMode::Implicit) => "from the first byte",
        },
        v6: match entry.v6 {
            V6Policy::Any => "any",
            V6Policy::None => "none",
            V6Policy::Dual => "dual",
            V6Policy::Separate => "separate",
        },
        range,
        purpose: entry.purpose.clone(),
        contact: entry.contact.clone(),
        at: entry.at.to_string(),
    }
}

fn owner(owner: &PortOwner) -> String {
    let user = if owner.user.is_empty() { String::new() } else { format!("user {}", owner.user) };
    let package = if owner.package.is_empty() { String::new() } else { format!("package {}", owner.package) };
    let words = [owner.unit.clone(), user, package];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

fn actual(evidence: &Evidence, table: &mut BTreeMap<Key, Standing>, unseen: &mut Vec<Unseen>) {
    let sockets = match &evidence.sockets {
        Seen::Value(sockets) => sockets,
        Seen::Absent => return,
        Seen::Unknown(blind) => {
            return unseen.push(Unseen { what: "sockets".to_owned(), why: blind.why(), needs: blind.needs() });
        }
    };
    if sockets.listeners_left_out > 0 {
        unseen.push(Unseen {
            what: format!("{} more listeners", sockets.listeners_left_out),
            why: "the examination left them out, because there are so many".to_owned(),
            needs: "mxray sockets --listening".to_owned(),
        });
    }
    for listener in sockets.listeners.values() {
        let key = (listener.port, listener.protocol.clone());
        // A program's own UDP socket for a question (DNS, time) stands there for moments, on a port that the kernel chose.
        if listener.protocol == "udp" && is_ephemeral(listener.port, evidence) && !table.contains_key(&key) {
            continue;
        }
        let standing = table.entry(key).or_default();
        let actual = standing.actual.get_or_insert_default();
        actual.addresses.insert(listener.address.to_string());
        actual.owners.extend(owners(listener));
        actual.uids.insert(listener.uid);
        actual.reach = actual.reach.max(reach(listener, evidence));
    }
}

fn is_ephemeral(port: u16, evidence: &Evidence) -> bool {
    match &evidence.kernel.local_ports {
        Seen::Value(range) => (range.first..=range.last).contains(&port),
        Seen::Absent | Seen::Unknown(_) => port >= 32768,
    }
}

/// The unit, or who holds it. Which of the two is known does not change from run to run on one host.
fn owners(listener: &Listener) -> Vec<String> {
    if let Seen::Value(unit) = &listener.unit {
        return vec![unit.clone()];
    }
    listener.owners.value().into_iter().flatten().map(|owner| owner.name.clone()).collect()
}

fn reach(listener: &Listener, evidence: &Evidence) -> Reach {
    let declared: Vec<Prefix> = evidence.declared.public_prefixes.iter().filter_map(|text| text.parse().ok()).collect();
    let of = |address: IpAddr| match address.to_canonical() {
        address if address.is_loopback() => Reach::Loopback,
        address if declared.iter().any(|prefix| prefix.contains(address)) => Reach::Public,
        address if is_special(address) => Reach::Private,
        _ => Reach::Public,
    };
    if !listener.is_wildcard() {
        return of(listener.address);
    }
    // All addresses of this host that it takes; where they are not known, the worst.
    match &evidence.addresses {
        Seen::Value(own) => {
            own.iter().filter(|own| listener.covers(**own)).map(|own| of(*own)).max().unwrap_or_default()
        }
        Seen::Absent | Seen::Unknown(_) => Reach::Public,
    }
}

/// What the packet filters do with new connections to the ports of the table.
fn filtered(evidence: &Evidence, table: &mut BTreeMap<Key, Standing>) {
    for answer in evidence.firewall.value().into_iter().flat_map(|firewall| firewall.answers.values()) {
        let packet = &answer.packet;
        let (Direction::In, Some(port)) = (packet.direction, packet.destination_port) else { continue };
        let Some(standing) = table.get_mut(&(port, packet.protocol.clone())) else { continue };
        let by = answer.by.as_ref().map_or_else(String::new, |rule| format!(" by {}", rule_words(rule)));
        let said = match &answer.verdict {
            FilterVerdict::Pass => "let in".to_owned(),
            FilterVerdict::Drop => format!("dropped{by}"),
            FilterVerdict::Reject { with } => format!("rejected with {with}{by}"),
            FilterVerdict::Queue => "handed to a program".to_owned(),
            FilterVerdict::Unknown { .. } => "not known".to_owned(),
        };
        let to = match answer.rewritten_to.as_ref().map(|to| (to.address, to.port)) {
            Some((Some(address), to)) => format!(", taken to {}", endpoint(address, to.unwrap_or(port))),
            Some((None, Some(to))) => format!(", taken to port {to}"),
            _ => String::new(),
        };
        standing.filtered.insert(format!("from {}: {said}{to}", packet.source));
    }
}
