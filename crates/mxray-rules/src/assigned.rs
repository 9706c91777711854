//! How the entries of an assignments file, the sockets and the packet filters are joined: which socket is which entry's, whose it
//! is, and from where it is reached. What of it is a fault is for the rules.

use crate::rule::{Judgement, Rule};
use crate::service_units;
use crate::view;
use mxray_model::binding::{self, Binding, Together, together};
use mxray_model::evidence::{Assignment, Assignments, Direction, FilterVerdict, Listener, Owner, Sockets, V6Policy};
use mxray_model::{Blind, Evidence, Finding, Seen, Subject};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The file; `Err` is what a rule says without it.
pub fn file<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a Assignments, Judgement> {
    view::known(&evidence.assignments, rule)
}

/// `*:25/tcp`, `127.0.0.1:53/udp`
pub fn subject(protocol: &str, addresses: &[IpAddr], port: u16) -> Subject {
    match addresses {
        [one] if !one.is_unspecified() => {
            Subject::endpoint(format!("{}/{protocol}", std::net::SocketAddr::new(*one, port)))
        }
        _ => Subject::endpoint(format!("*:{port}/{protocol}")),
    }
}

/// The subject of an entry.
pub fn subject_of(entry: &Assignment) -> Subject {
    let addresses: Vec<IpAddr> = entry.addresses.iter().copied().collect();
    subject(&entry.protocol, &addresses, entry.ports.0)
}

/// `tcp port 25`, `tcp ports 20000 to 20099`
pub fn ports_text(entry: &Assignment) -> String {
    let (first, last) = entry.ports;
    match first == last {
        true => format!("{} port {first}", entry.protocol),
        false => format!("{} ports {first} to {last}", entry.protocol),
    }
}

pub fn pointer(name: &str) -> String {
    view::pointer(["assignments", "value", "services", name])
}

/// What an entry says for people: what it is for, and whom to ask. Neither can be compared with anything; whoever has to act
/// reads it where the finding is.
pub fn for_people(finding: Finding, name: &str, entry: &Assignment) -> Finding {
    let (purpose, contact) = (entry.purpose.as_str(), entry.contact.as_str());
    let text = match (purpose, contact) {
        ("", "") => return finding,
        (purpose, "") => format!("{name} is for: {purpose}."),
        ("", contact) => format!("For {name} ask {contact}."),
        (purpose, contact) => format!("{name} is for: {purpose}. Ask {contact}."),
    };
    let given = [("purpose", purpose), ("contact", contact)].into_iter().filter(|(_, value)| !value.is_empty());
    let finding = finding.because(text, entry.at.to_string(), pointer(name));
    given.fold(finding, |finding, (key, value)| finding.data(key, value))
}

/// `0.0.0.0:25`, `[::]:25`
pub fn place(listener: &Listener) -> String {
    std::net::SocketAddr::new(listener.address, listener.port).to_string()
}

/// `master (process 812, unit postfix@-.service)`
pub fn holder(listener: &Listener) -> String {
    let unit = listener.unit.value().map(|unit| format!("unit {unit}"));
    match (listener.owners.value().and_then(|owners| owners.first()), unit) {
        (Some(owner), Some(unit)) => format!("{} (process {}, {unit})", owner.name, owner.pid),
        (Some(owner), None) => format!("{} (process {})", owner.name, owner.pid),
        (None, Some(unit)) => format!("a process of {unit}"),
        (None, None) => format!("a process of user {}", listener.uid),
    }
}

/// The sockets that an entry may ask for. Where the file names no address, every one is meant.
pub fn bindings(entry: &Assignment) -> Vec<Binding> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses: Vec<IpAddr> = match entry.addresses.is_empty() {
        true if entry.v6 == V6Policy::None => everywhere.into_iter().take(1).collect(),
        true => everywhere.into(),
        false => entry.addresses.iter().copied().collect(),
    };
    // An IPv6 wildcard stands for IPv4 as well only where the file says so.
    let v6_only = entry.v6 != V6Policy::Dual;
    let each = |address| Binding { v6_only, ..Binding::new(&entry.protocol, address, entry.ports.0) };
    addresses.into_iter().map(each).collect()
}

/// Is this socket on the entry's port, at an address of it or in the way of one?
fn meets(entry: &Assignment, listener: &Listener) -> bool {
    // Ports first: on a host with hundreds of both, nearly all pairs end here.
    if listener.protocol != entry.protocol || !(entry.ports.0..=entry.ports.1).contains(&listener.port) {
        return false;
    }
    let here = Binding { port: entry.ports.0, device: None, ..Binding::of(listener) };
    bindings(entry).iter().any(|declared| together(declared, &here) != Together::Apart)
}

pub fn is_range(entry: &Assignment) -> bool {
    entry.ports.0 != entry.ports.1
}

/// Is this socket the entry's? Of a range only what may be its owner's: others may choose from it, too.
pub fn is_of(evidence: &Evidence, assignments: &Assignments, entry: &Assignment, listener: &Listener) -> bool {
    meets(entry, listener) && (!is_range(entry) || owned(evidence, assignments, entry, listener).differs.is_empty())
}

/// The entry's sockets.
pub fn listeners<'a>(
    evidence: &Evidence,
    assignments: &Assignments,
    entry: &Assignment,
    sockets: &'a Sockets,
) -> Vec<(&'a String, &'a Listener)> {
    sockets.listeners.iter().filter(|(_, listener)| is_of(evidence, assignments, entry, listener)).collect()
}

/// The entry that a port is assigned by, for a listener that serves it or would.
pub fn entry_on<'a>(assignments: &'a Assignments, protocol: &str, port: u16) -> Option<(&'a String, &'a Assignment)> {
    assignments
        .services
        .iter()
        .find(|(_, entry)| entry.protocol == protocol && !is_range(entry) && entry.ports.0 == port)
}

/// A UDP socket on a port that the kernel gave away waits for an answer; it serves nobody.
pub fn is_client(evidence: &Evidence, listener: &Listener) -> bool {
    listener.protocol == "udp" && !binding::ephemeral(listener.port, &evidence.kernel).is_absent()
}

/// Whether a socket is its declared owner's.
#[derive(Debug, Default)]
pub struct Owned {
    /// Each with what was declared, and what is: `unit`, `exim4.service`, `postfix@-.service`.
    pub differs: Vec<Difference>,
    pub blind: Vec<Blind>,
}

/// One part of an owner.
#[derive(Debug)]
pub struct Difference {
    pub what: &'static str,
    pub declared: String,
    pub actual: String,
}

/// Compares what the entry says of its owner with who holds the socket.
pub fn owned(evidence: &Evidence, assignments: &Assignments, entry: &Assignment, listener: &Listener) -> Owned {
    let mut owned = Owned::default();
    if !entry.owner.unit.is_empty() {
        unit(evidence, &entry.owner.unit, listener, &mut owned);
    }
    if !entry.owner.user.is_empty() {
        user(evidence, assignments, &entry.owner.user, listener, &mut owned);
    }
    if !entry.owner.package.is_empty() {
        package(assignments, &entry.owner.package, listener, &mut owned);
    }
    owned
}

fn owners(listener: &Listener) -> &[Owner] {
    listener.owners.value().map_or(&[], Vec::as_slice)
}

fn not_told(why: impl Into<String>) -> Blind {
    Blind::NotAttempted { why: why.into() }
}

fn unit(evidence: &Evidence, declared: &str, listener: &Listener, owned: &mut Owned) {
    let processes = evidence.processes.value();
    let of_process = |owner: &Owner| processes?.mail.get(&owner.pid)?.unit.value();
    let units: Vec<&String> = owners(listener).iter().filter_map(of_process).chain(listener.unit.value()).collect();
    if units.iter().any(|unit| same_unit(declared, unit)) {
        return;
    }
    let port = listener.port;
    // systemd opens the sockets of socket units itself, and the service may not have been started yet.
    if let Some((name, socket)) = service_units::opens(evidence, port)
        && (same_unit(declared, name) || same_unit(declared, &socket.service))
    {
        return;
    }
    let by_systemd = |owner: &Owner| owner.pid == 1;
    let others: Vec<&&String> = units.iter().filter(|unit| unit.as_str() != "init.scope").collect();
    match others.first() {
        Some(actual) => {
            owned.differs.push(Difference { what: "unit", declared: declared.to_owned(), actual: actual.to_string() });
        }
        None if owners(listener).iter().any(by_systemd) => {
            owned
                .blind
                .push(not_told(format!("systemd holds port {port} for a socket unit, and which one was not read")));
        }
        None => owned.blind.push(listener.unit.blind().cloned().unwrap_or_else(|| {
            not_told(format!("what listens on port {port} was started outside any unit that the kernel tells"))
        })),
    }
}

/// `postfix`, `postfix.service` and its instances `postfix@-.service` are one service: Debian's packages changed between them.
fn same_unit(declared: &str, actual: &str) -> bool {
    let declared = if declared.contains('.') { declared.to_owned() } else { format!("{declared}.service") };
    if declared == actual {
        return true;
    }
    let instance = actual.split_once('@').and_then(|(stem, rest)| Some((stem, rest.rsplit_once('.')?.1)));
    instance.is_some_and(|(stem, kind)| declared == format!("{stem}.{kind}") || declared == format!("{stem}@.{kind}"))
}

fn user(evidence: &Evidence, assignments: &Assignments, declared: &str, listener: &Listener, owned: &mut Owned) {
    let uid = match assignments.users.get(declared) {
        Some(Seen::Value(uid)) => *uid,
        Some(Seen::Unknown(blind)) => return owned.blind.push(blind.clone()),
        Some(Seen::Absent) => {
            return owned
                .blind
                .push(not_told(format!("the user {declared} is not in /etc/passwd; other sources are not asked")));
        }
        None => return owned.blind.push(not_told(format!("the user {declared} was not looked up"))),
    };
    let processes = evidence.processes.value();
    let of_process = |owner: &Owner| processes?.mail.get(&owner.pid).map(|process| process.uid);
    // A daemon opens its port as root and then serves as its own user: both are its users. So is whoever systemd opens it for.
    let known: Vec<u32> = owners(listener).iter().filter(|owner| owner.pid != 1).filter_map(of_process).collect();
    if listener.uid == uid || known.contains(&uid) {
        return;
    }
    if owners(listener).iter().all(|owner| owner.pid == 1) || known.is_empty() {
        let blind = listener.owners.blind().cloned();
        let why = || not_told(format!("the processes behind port {} are not known", listener.port));
        return owned.blind.push(blind.unwrap_or_else(why));
    }
    owned.differs.push(Difference {
        what: "user",
        declared: declared.to_owned(),
        actual: format!("user {}", listener.uid),
    });
}

fn package(assignments: &Assignments, declared: &str, listener: &Listener, owned: &mut Owned) {
    let of_package = match assignments.packages.get(declared) {
        Some(Seen::Value(of_package)) => of_package,
        Some(Seen::Absent) => {
            return owned.differs.push(Difference {
                what: "package",
                declared: declared.to_owned(),
                actual: format!("{}, and no package of that name is installed", holder(listener)),
            });
        }
        Some(Seen::Unknown(blind)) => return owned.blind.push(blind.clone()),
        None => return owned.blind.push(not_told(format!("the package {declared} was not looked up"))),
    };
    let mut processes = owners(listener).iter().filter(|owner| owner.pid != 1).peekable();
    if processes.peek().is_none() {
        let blind = listener.owners.blind().cloned();
        let why = || not_told(format!("the processes behind port {} are not known", listener.port));
        return owned.blind.push(blind.unwrap_or_else(why));
    }
    let mut undecided = false;
    for owner in processes {
        if of_package.running.contains(&owner.pid) {
            return;
        }
        undecided |= of_package.undecided.contains(&owner.pid);
    }
    if undecided {
        let why = format!("port {} is held by a script, and which package it is from is not known", listener.port);
        return owned.blind.push(not_told(why));
    }
    owned.differs.push(Difference {
        what: "package",
        declared: declared.to_owned(),
        actual: format!("{}, whose program is not of it", holder(listener)),
    });
}

/// Where others may find a socket, by its address.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Loopback,
    Private,
    Public,
    Unknown(Blind),
}

/// A wildcard is as public as this host's addresses are.
pub fn bound(evidence: &Evidence, listener: &Listener) -> Bound {
    if listener.is_loopback() {
        return Bound::Loopback;
    }
    if !listener.is_wildcard() {
        return if evidence.declared.is_public(listener.address) { Bound::Public } else { Bound::Private };
    }
    match &evidence.addresses {
        Seen::Value(own) => match own.iter().any(|own| listener.covers(*own) && evidence.declared.is_public(*own)) {
            true => Bound::Public,
            false if own.iter().all(IpAddr::is_loopback) => Bound::Loopback,
            false => Bound::Private,
        },
        Seen::Unknown(blind) => Bound::Unknown(blind.clone()),
        Seen::Absent => Bound::Private,
    }
}

/// What this host's packet filters do with those who come to a socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// They come in. The answer that says so; none where there is no filter at all.
    Open(Option<String>),
    /// The answer that says that they do not, and the rule.
    Shut(String, String),
    /// There are filters, and nobody asked them about this port.
    NotAsked,
    Unknown(Blind),
}

/// Asks the filters' answers about packets from those addresses that `from` takes.
pub fn reach(evidence: &Evidence, listener: &Listener, from: impl Fn(IpAddr) -> bool) -> Reach {
    let firewall = match &evidence.firewall {
        Seen::Value(firewall) => firewall,
        Seen::Absent => return Reach::Open(None),
        Seen::Unknown(blind) => return Reach::Unknown(blind.clone()),
    };
    let asked = firewall.answers.iter().filter(|(_, answer)| {
        let packet = &answer.packet;
        packet.direction == Direction::In
            && packet.protocol == listener.protocol
            && packet.destination_port == Some(listener.port)
            && listener.covers(packet.destination)
            && !packet.source.is_loopback()
            && from(packet.source)
    });
    let mut shut = None;
    let mut blind = None;
    for (key, answer) in asked {
        match &answer.verdict {
            FilterVerdict::Pass => return Reach::Open(Some(key.clone())),
            FilterVerdict::Drop | FilterVerdict::Reject { .. } => {
                let rule = answer.by.as_ref().map_or_else(|| "a chain's policy".to_owned(), |rule| rule.text.clone());
                shut = Some(Reach::Shut(key.clone(), rule));
            }
            FilterVerdict::Queue => blind = Some(not_told("a program behind NFQUEUE decides")),
            FilterVerdict::Unknown { why } => blind = Some(why.clone()),
        }
    }
    match (blind, shut) {
        (Some(blind), _) => Reach::Unknown(blind),
        (None, Some(shut)) => shut,
        (None, None) => Reach::NotAsked,
    }
}

/// What a rule says of ports that the packet filters were not asked about.
pub fn not_asked(services: &[String]) -> Blind {
    not_told(format!("there are packet filters, and they were not asked about {}", services.join(", ")))
}

/// A JSON pointer to an answer of the packet filters, or to the statement that there are none.
pub fn reach_pointer(answer: Option<&str>) -> String {
    match answer {
        Some(key) => view::pointer(["firewall", "value", "answers", key]),
        None => "/firewall".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mxray_model::evidence::{Exposure, FileLine, PortOwner};

    #[test]
    fn instances_are_their_service() {
        for (declared, actual) in [
            ("postfix.service", "postfix@-.service"),
            ("postfix", "postfix.service"),
            ("postfix@-.service", "postfix@-.service"),
            ("smtp@.service", "smtp@7-192.0.2.1:25.service"),
        ] {
            assert!(same_unit(declared, actual), "{declared} {actual}");
        }
        for (declared, actual) in [
            ("exim4.service", "postfix.service"),
            ("postfix@a.service", "postfix@b.service"),
            ("ssh.socket", "ssh.service"),
        ] {
            assert!(!same_unit(declared, actual), "{declared} {actual}");
        }
    }

    #[test]
    fn whoever_acts_reads_whom_to_ask() {
        let rule = crate::rules::CATALOGUE.iter().find(|rule| rule.code == "PORT105").unwrap();
        let bare = || rule.finding(Subject::service("sieve"), "nothing listens".to_owned());
        let entry = |purpose: &str, contact: &str| Assignment {
            at: FileLine { file: "/etc/mxray/mxray-ports.toml".to_owned(), line: 3 },
            protocol: "tcp".to_owned(),
            ports: (4190, 4190),
            addresses: [].into(),
            owner: PortOwner::default(),
            v6: V6Policy::Any,
            exposure: Exposure::Public,
            tls: None,
            purpose: purpose.to_owned(),
            contact: contact.to_owned(),
        };
        let told = for_people(bare(), "sieve", &entry("filters of users", "ticket 4711"));
        assert_eq!(told.because[0].text, "sieve is for: filters of users. Ask ticket 4711.");
        assert_eq!(
            (told.data["purpose"].as_str(), told.data["contact"].as_str()),
            (Some("filters of users"), Some("ticket 4711"))
        );
        assert_eq!(for_people(bare(), "sieve", &entry("", "")), bare());
        assert_eq!(for_people(bare(), "sieve", &entry("", "a@b")).because[0].text, "For sieve ask a@b.");
    }
}
