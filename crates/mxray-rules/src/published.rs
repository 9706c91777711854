//! What domains publish and what names say of sending addresses, as rules look at it: whose it is, whose move it is, who has to
//! publish a record.
//!
//! What must not live here: which of it is a fault (rules).

use crate::policies::no_domain;
use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::published::{
    Domain, DomainWhy, Listing, MailHost, MailRoute, MailRouteProblem, MailRouting, SenderAddress, SenderWhy,
};
use mxray_model::evidence::{DialOutcome, RoutePurpose, Server};
use mxray_model::{Blind, Evidence, Finding, Fix, Mover, Seen, Severity, Subject, SubjectKind, reverse_name};
use std::collections::BTreeSet;
use std::net::IpAddr;

// --- domains --------------------------------------------------------------------------------------------------

/// A domain and where its mail goes.
#[derive(Clone, Copy)]
pub struct Routed<'a> {
    pub name: &'a str,
    pub domain: &'a Domain,
    pub routing: &'a MailRouting,
}

/// All domains whose way is known; of the others the rule cannot tell.
pub fn routed<'a>(evidence: &'a Evidence, rule: &Rule, judgement: &mut Judgement) -> Vec<Routed<'a>> {
    let mut found = Vec::new();
    if evidence.names.domains.is_empty() {
        judgement.blind(rule, &no_domain());
    }
    for (name, domain) in &evidence.names.domains {
        match &domain.route {
            Seen::Value(MailRouting { route: MailRoute::Unknown { why }, .. }) => {
                judgement.blind(rule, &Blind::NotAttempted { why: format!("where mail for {name} goes: {why}") });
            }
            Seen::Value(routing) => found.push(Routed { name, domain, routing }),
            Seen::Absent => {}
            Seen::Unknown(blind) => judgement.blind(rule, blind),
        }
    }
    found
}

/// Its records are this operator's to mend: it is this host's, or somebody asked how it is.
pub fn is_ours(domain: &Domain) -> bool {
    domain.why.iter().any(DomainWhy::is_own)
}

/// Mail of this host goes there.
pub fn is_receiver(domain: &Domain) -> bool {
    domain.why.contains(&DomainWhy::Receiver)
}

/// Who of this host writes mail in its name.
pub fn written_by(domain: &Domain) -> Option<&str> {
    domain.why.iter().find_map(|why| match why {
        DomainWhy::Sends { by } => Some(by.as_str()),
        _ => None,
    })
}

/// The name of a machine here rather than a domain for people's mail: Debian's Postfix takes and writes mail for it.
pub fn is_host_name(evidence: &Evidence, name: &str) -> bool {
    let same = |other: &str| other.trim_end_matches('.').eq_ignore_ascii_case(name);
    let of_server = |server: &Server| same(&server.host_name) || server.egress.hello.iter().any(|one| same(&one.value));
    same(&evidence.vantage.host_name) || evidence.servers.value().into_iter().flatten().any(|(_, one)| of_server(one))
}

pub fn subject(name: &str) -> Subject {
    Subject::new(SubjectKind::Domain, name)
}

pub fn pointer(name: &str, rest: &[&str]) -> String {
    view::pointer(["names", "domains", name].iter().chain(rest))
}

impl<'a> Routed<'a> {
    pub fn problems(&self) -> impl Iterator<Item = &'a MailRouteProblem> {
        self.routing.problems.iter()
    }

    pub fn by_mx(&self) -> bool {
        matches!(self.routing.route, MailRoute::Servers { .. })
    }

    /// A finding about the domain, with its MX records as what it rests on. What is wrong with a domain that only our mail goes
    /// to is its operator's business, and a notice where our mail gets there all the same.
    pub fn finding(&self, rule: &Rule, severity: Severity, stops_mail: bool, summary: String) -> Finding {
        let ours = is_ours(self.domain);
        let severity = if ours || stops_mail { severity } else { severity.min(Severity::Notice) };
        let mut finding = rule.finding_as(severity, subject(self.name), summary).confidence(0.97).because(
            self.in_words(),
            "DNS, MX",
            pointer(self.name, &["route"]),
        );
        if !ours {
            finding.whose_move = Mover::Receiver;
        }
        finding
    }

    /// `MX of example.org: 10 a.example.org, 20 b.example.org`
    pub fn in_words(&self) -> String {
        const SHOWN: usize = 6;
        let name = self.name;
        match &self.routing.route {
            MailRoute::Null => format!("MX of {name}: \"0 .\", the null MX."),
            MailRoute::Nowhere => format!("{name} exists and has neither MX nor address records."),
            MailRoute::NoSuchDomain => format!("{name} does not exist."),
            MailRoute::Unknown { why } => format!("MX of {name}: {why}."),
            MailRoute::Implicit { host } => {
                format!("{name} has no MX record and the addresses {}.", addresses(host).join(", "))
            }
            MailRoute::Servers { hosts } => {
                let shown = hosts.iter().take(SHOWN).map(|host| format!("{} {}", host.preference, host.name));
                let more =
                    if hosts.len() > SHOWN { format!(", and {} more", hosts.len() - SHOWN) } else { String::new() };
                format!("MX of {name}: {}{more}.", shown.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// A step in the zone of the domain.
    pub fn step(&self, text: impl Into<String>) -> Fix {
        zone_step(self.name, is_ours(self.domain), text).verify(format!("mxray domain {}", self.name))
    }

    /// The MX records as they are, with one host replaced or left out.
    pub fn records(&self, mut fix: Fix, change: impl Fn(&MailHost) -> Option<String>) -> Fix {
        for host in self.routing.route.hosts() {
            if let Some(target) = change(host) {
                fix = fix.record(self.name, "MX", format!("{} {}.", host.preference, target.trim_end_matches('.')));
            }
        }
        fix
    }

    /// The server that takes this domain's mail here and its name, where that has a dot: where MX may point.
    pub fn own_host(&self, evidence: &'a Evidence) -> Option<&'a str> {
        let servers = evidence.servers.value()?;
        let own = self.domain.why.iter().find_map(|why| match why {
            DomainWhy::Own { server } => servers.get(server),
            _ => None,
        })?;
        Some(own.host_name.as_str()).filter(|name| is_full(name))
    }
}

/// A step of whoever keeps the zone.
pub fn zone_step(name: &str, ours: bool, text: impl Into<String>) -> Fix {
    let mut fix = Fix::here(text);
    let whose = if ours { "DNS zone" } else { "mail" };
    fix.who = format!("operator of the {whose} of {name}");
    fix
}

/// The addresses of a host that are known.
pub fn addresses(host: &MailHost) -> Vec<String> {
    host.addresses.value().into_iter().flatten().map(IpAddr::to_string).collect()
}

/// Somebody here came through to this address.
pub fn was_reached(evidence: &Evidence, address: IpAddr) -> bool {
    let contacts = evidence.endpoints.values().flat_map(|endpoint| endpoint.addresses.values());
    contacts
        .filter(|seen| seen.dial.peer.ip() == address)
        .any(|seen| matches!(seen.dial.outcome, DialOutcome::Connected))
}

// --- names ----------------------------------------------------------------------------------------------------

/// Trees that no public DNS has (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`), and what makers of routers use.
const PRIVATE_TREES: [&str; 9] =
    ["localhost", "localdomain", "local", "internal", "home.arpa", "lan", "home", "corp", "intranet"];

/// A name that could be one of the public DNS: it has a dot, the form of a host's name (RFC 5321 section 2.3.5), and lies in no
/// private tree. `Err`: why not.
pub fn public_form(name: &str) -> Result<(), &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    let within = |tree: &&str| lower == **tree || lower.ends_with(&format!(".{tree}"));
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits) && !label.starts_with('-')
    };
    match () {
        () if PRIVATE_TREES.iter().any(within) => Err("that is a name of private networks"),
        () if !name.contains('.') => Err("it has no dot"),
        () if name.parse::<IpAddr>().is_ok() => Err("it is an address without brackets"),
        () if !name.split('.').all(label) => Err("it is no name of a host"),
        () => Ok(()),
    }
}

pub fn is_full(name: &str) -> bool {
    public_form(name).is_ok()
}

pub fn address_kind(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "A" } else { "AAAA" }
}

// --- sending addresses ----------------------------------------------------------------------------------------

/// An address that receivers see.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub text: &'a str,
    pub address: IpAddr,
    pub sender: &'a SenderAddress,
}

/// Public addresses from which mail goes straight to receivers; of the others the rule says why they are not judged.
pub fn judged<'a>(evidence: &'a Evidence, rule: &Rule, judgement: &mut Judgement) -> Vec<Sender<'a>> {
    if evidence.names.senders.is_empty() {
        let servers = evidence.servers.value();
        let mut sending = servers.into_iter().flatten().filter(|(_, server)| server.enabled && sends_directly(server));
        // Without a server that sends by itself there is no address to ask about.
        if servers.is_none() || sending.next().is_some() {
            let why = "no public address that mail leaves from is known".to_owned();
            let look = "mxray domain DOMAIN --ip PUBLIC-ADDRESS".to_owned();
            judgement.blind(rule, &Blind::Elsewhere { why, look });
        }
        return Vec::new();
    }
    let private = evidence.names.senders.iter().filter(|(_, sender)| is_direct(evidence, sender));
    let private = private.filter_map(|(text, _)| text.parse::<IpAddr>().ok());
    for address in private.filter(|address| !evidence.declared.is_public(*address)) {
        let why =
            format!("mail leaves from {address}, which is private: receivers see an address that is not known here");
        let look = "mxray domain DOMAIN --ip PUBLIC-ADDRESS".to_owned();
        judgement.blind(rule, &Blind::Elsewhere { why, look });
    }
    senders(evidence)
}

/// Public addresses from which mail goes straight to receivers. Behind a smarthost it is the smarthost that they see, and
/// behind a router that translates it is an address that this host does not know.
pub fn senders(evidence: &Evidence) -> Vec<Sender<'_>> {
    let all = evidence.names.senders.iter().filter(|(_, sender)| is_direct(evidence, sender));
    all.filter_map(|(text, sender)| Some(Sender { text, address: text.parse().ok()?, sender }))
        .filter(|sender| evidence.declared.is_public(sender.address))
        .collect()
}

fn is_direct(evidence: &Evidence, sender: &SenderAddress) -> bool {
    sender.why.iter().any(|why| match why {
        SenderWhy::Asked => true,
        SenderWhy::Route { server } | SenderWhy::Bound { server } => {
            let server = evidence.servers.value().and_then(|servers| servers.get(server));
            server.is_none_or(sends_directly)
        }
    })
}

/// Its mail goes to the hosts of each receiver, not to one that passes it on.
pub fn sends_directly(server: &Server) -> bool {
    let mut carried = server.egress.sends && server.egress.smarthosts.is_empty();
    if server.software == "postfix" {
        let default = server.setting("default_transport");
        carried &= !view::has_relayhost(server)
            && !matches!(view::transport_name(default), "error" | "retry" | "discard")
            && !default.contains('[');
    }
    carried
}

impl<'a> Sender<'a> {
    pub fn subject(&self) -> Subject {
        Subject::new(SubjectKind::Address, self.text)
    }

    pub fn pointer(&self, rest: &[&str]) -> String {
        view::pointer(["names", "senders", self.text].iter().chain(rest))
    }

    /// The servers of this host whose mail leaves from there.
    pub fn servers(&self) -> BTreeSet<&'a str> {
        let of = |why: &'a SenderWhy| match why {
            SenderWhy::Route { server } | SenderWhy::Bound { server } => Some(server.as_str()),
            SenderWhy::Asked => None,
        };
        self.sender.why.iter().filter_map(of).collect()
    }

    /// This host is seen to send from there; not only asked about.
    pub fn is_in_use(&self) -> bool {
        self.sender.why.iter().any(|why| !matches!(why, SenderWhy::Asked))
    }

    /// The name that the address ought to have: the one that is said in HELO, as far as it is a public one.
    pub fn wanted_name(&self, evidence: &'a Evidence) -> Option<&'a str> {
        let hello = self.sender.hello.iter();
        let leads_here = |addresses: &Seen<Vec<IpAddr>>| {
            addresses.value().is_some_and(|all| all.iter().any(|one| one.to_canonical() == self.address))
        };
        let mut names: Vec<(bool, &str)> =
            hello.map(|(name, hello)| (!leads_here(&hello.addresses), name.as_str())).collect();
        names.sort();
        let own = evidence.vantage.host_name.as_str();
        let own = Some(own).filter(|_| self.is_in_use());
        names.into_iter().map(|(_, name)| name).chain(own).find(|name| is_full(name))
    }

    /// A step of whoever runs the reverse zone.
    pub fn reverse_step(&self, text: impl Into<String>, name: &str) -> Fix {
        let mut fix = Fix::here(text);
        fix.who = format!("provider of {} (whoever the reverse zone is delegated to)", self.text);
        fix.record(reverse_name(self.address), "PTR", format!("{}.", name.trim_end_matches('.')))
            .verify(self.verify(Some(name)))
    }

    pub fn verify(&self, name: Option<&str>) -> String {
        let domain = self.sender.spf.keys().next().map(String::as_str).or(name).unwrap_or("DOMAIN");
        format!("mxray domain {domain} --ip {}", self.text)
    }
}

/// What the kernel answered for these servers that leads to a source address: a destination, and the answer's key.
pub fn sent_from<'a>(
    evidence: &'a Evidence,
    sender: &Sender<'_>,
) -> Vec<(&'a str, &'a mxray_model::evidence::RouteAnswer)> {
    use mxray_model::evidence::RouteOutcome;
    let servers = sender.servers();
    let answers = evidence.routing.value().into_iter().flat_map(|routing| &routing.answers);
    answers
        .filter(|(_, answer)| servers.contains(answer.server.as_str()))
        .filter(|(_, answer)| !matches!(answer.purpose, RoutePurpose::Smarthost | RoutePurpose::Transport))
        .filter(|(_, answer)| match &answer.outcome {
            Seen::Value(RouteOutcome::Sent(taken)) => taken.source == Some(sender.address),
            _ => false,
        })
        .map(|(key, answer)| (key.as_str(), answer))
        .collect()
}

// --- lists ----------------------------------------------------------------------------------------------------

/// How much a listing weighs, by what receivers do with the list. `None`: it is none, or a good one.
pub fn listing_severity(listing: &Listing) -> Option<Severity> {
    if listing.listed.value() != Some(&true) || listing.allow {
        return None;
    }
    Some(match (listing.netblock, listing.policy, listing.tier) {
        (true, ..) => Severity::Notice,
        (_, true, _) => Severity::Warning,
        (_, _, 1) => Severity::Error,
        _ => Severity::Notice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_public_name() {
        for good in ["mail.example.org", "MAIL.example.org.", "a-b.example", "xn--bcher-kva.example", "m_1.example.org"]
        {
            assert_eq!(public_form(good), Ok(()), "{good}");
        }
        for bad in
            ["localhost", "mail", "localhost.localdomain", "mail.corp.local", "192.0.2.1", "a..b", "", "-a.b", "x.lan"]
        {
            assert!(public_form(bad).is_err(), "{bad}");
        }
    }
}
