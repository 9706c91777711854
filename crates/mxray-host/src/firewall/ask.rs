//! Puts mail's questions to the rulesets: makes the packets, walks them, and joins those that end alike.
//!
//! A connection is two packets: the first one, and the first one that comes back. A rule that lets mail out and drops all
//! answers stops it as well.

use super::mentioned::Mentioned;
use super::plan::{Interest, Peers, Plan, Sender, internet, is_public, plan};
use super::{Rulesets, around, persisted};
use crate::routes::{self, Kind, Links, Looker, Question, Tables};
use mxray_firewall::{Ruleset, Surroundings, evaluate};
use mxray_model::evidence::{
    Direction, FilterAbout, FilterAnswer, FilterEnd, FilterQuestion, FilterVerdict, Firewall, Packet,
};
use mxray_model::{Blind, Seen};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Peers that are kept of packets that end alike.
const PEERS_KEPT: usize = 4;
/// Networks that are let in and are kept.
const ADMITTED_KEPT: usize = 8;
/// Nobody writes a rule for this port and means mail (RFC 863).
const UNRELATED: u16 = 9;

/// The rulesets, and the host around them.
#[derive(Debug)]
pub struct Way<'a> {
    rulesets: &'a [Ruleset],
    unread: Option<Blind>,
    around: Surroundings,
    tables: &'a Tables,
    looker: Looker,
    local_port: u16,
}

/// What becomes of everything that mail needs. `Unknown` where routing cannot be asked: nobody knows the interfaces then.
pub fn examine(rulesets: &Rulesets, interest: &Interest, until: Instant) -> Seen<Firewall> {
    match firewall(rulesets, interest, until) {
        Ok(firewall) => Seen::Value(firewall),
        Err(error) => Seen::Unknown(error.blind()),
    }
}

fn firewall(rulesets: &Rulesets, interest: &Interest, until: Instant) -> Result<Firewall, routes::TalkError> {
    let tables = routes::look()?;
    let plans = plan(interest, &tables);
    let cgroups = plans.iter().filter_map(|plan| plan.sender.cgroup.clone());
    let mut way = Way::new(rulesets, &tables, cgroups, interest.local_port)?;
    let mentioned = Mentioned::of(&rulesets.rulesets);
    let mut found = Firewall { tables: rulesets.tables(), unread: rulesets.unread.clone(), ..Firewall::default() };
    let by_sender = rulesets.looks_at_senders();
    for plan in &plans {
        if Instant::now() > until {
            let why = "the ruleset is so large that there was no time for all questions".to_owned();
            found.unread.insert(plan.key(), Blind::NotAttempted { why });
            break;
        }
        let question = way.question(plan, &mentioned, (interest, rulesets.rules(), by_sender), &mut found.answers);
        if let Some(question) = question {
            found.questions.insert(plan.key(), question);
        }
    }
    found.persisted = persisted::compare(rulesets, &mut way, &found);
    Ok(found)
}

/// A packet's answer, and whose it is.
struct Asked {
    peer: IpAddr,
    answer: FilterAnswer,
}

impl<'a> Way<'a> {
    /// # Errors
    /// No netlink here.
    pub fn new(
        rulesets: &'a Rulesets,
        tables: &'a Tables,
        cgroups: impl IntoIterator<Item = String>,
        local_port: u16,
    ) -> Result<Way<'a>, routes::TalkError> {
        Ok(Way {
            rulesets: &rulesets.rulesets,
            unread: rulesets.unread.values().next().cloned(),
            around: around::surroundings(tables, cgroups),
            tables,
            looker: Looker::open()?,
            local_port,
        })
    }

    /// Walks one packet. Where a ruleset could not be read, what passes all others is not known to pass.
    pub fn walk(&self, packet: &Packet) -> FilterAnswer {
        self.walk_in(self.rulesets, packet)
    }

    pub(super) fn walk_in(&self, rulesets: &[Ruleset], packet: &Packet) -> FilterAnswer {
        let mut answer = evaluate(rulesets, packet, &self.around);
        if let (FilterVerdict::Pass, Some(blind)) = (&answer.verdict, &self.unread) {
            answer.verdict = FilterVerdict::Unknown { why: blind.clone() };
        }
        answer
    }

    /// The port that stands for those out of which connections are made.
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    pub(super) fn rulesets(&self) -> &'a [Ruleset] {
        self.rulesets
    }

    /// `None`: none of its packets has a way.
    fn question(
        &mut self,
        plan: &Plan,
        mentioned: &Mentioned,
        (interest, rules, by_sender): (&Interest, usize, bool),
        answers: &mut BTreeMap<String, FilterAnswer>,
    ) -> Option<FilterQuestion> {
        let peers = match &plan.peers {
            Peers::These(peers) => peers.clone(),
            Peers::Internet => internet(plan.ipv4, rules),
            Peers::One => internet(plan.ipv4, rules).into_iter().take(1).collect(),
        };
        let asked: Vec<Asked> = peers.iter().filter_map(|peer| self.ask(plan, *peer, &plan.sender)).collect();
        let as_root: Vec<Asked> = match (&plan.about, plan.sender.uid) {
            (FilterAbout::Enter { .. }, _) | (_, Some(0)) => Vec::new(),
            _ if !by_sender => Vec::new(),
            _ => {
                let root = Sender { uid: Some(0), gid: Some(0), cgroup: None };
                peers.iter().filter_map(|peer| self.ask(plan, *peer, &root)).collect()
            }
        };
        if asked.is_empty() {
            return None;
        }
        let all_stopped = asked.iter().all(|one| one.answer.verdict.stops());
        let strangers = plan.peers == Peers::Internet || plan.peers == Peers::One;
        let admitted = if all_stopped && strangers { self.admitted(plan, mentioned, interest) } else { Vec::new() };
        Some(FilterQuestion {
            about: plan.about,
            server: plan.server.clone(),
            protocol: plan.protocol.to_owned(),
            port: plan.port,
            ipv4: plan.ipv4,
            configured: plan.configured.clone(),
            at: plan.at.clone(),
            uid: plan.sender.uid,
            ends: joined(asked, answers),
            as_root: joined(as_root, answers),
            admitted,
        })
    }

    /// Networks that rules let in to this port, or let out to on it, and on no other: somebody chose them.
    fn admitted(&mut self, plan: &Plan, mentioned: &Mentioned, interest: &Interest) -> Vec<String> {
        let (networks, enters) = match plan.about {
            FilterAbout::Enter { .. } => (&mentioned.sources, true),
            _ => (&mentioned.destinations, false),
        };
        let unrelated = Plan { port: UNRELATED, ..plan.clone() };
        let mut found = Vec::new();
        for network in networks.iter().filter(|network| network.is_ipv4() == plan.ipv4) {
            // An own address is no network that anybody was let in from.
            if self.around.is_own(*network) == Some(true) || (!enters && !is_public(*network, &interest.known.public)) {
                continue;
            }
            let passes = |asked: Option<Asked>| asked.is_some_and(|one| one.answer.verdict == FilterVerdict::Pass);
            if passes(self.ask(plan, *network, &plan.sender)) && !passes(self.ask(&unrelated, *network, &plan.sender)) {
                found.push(network.to_string());
            }
            if found.len() == ADMITTED_KEPT {
                break;
            }
        }
        found
    }

    /// The first packet of a connection and the first that comes back; the one that decides is kept. `None`: the kernel would
    /// not send it, which is no packet filter's doing.
    fn ask(&mut self, plan: &Plan, peer: IpAddr, sender: &Sender) -> Option<Asked> {
        let (first, back) = match &plan.about {
            FilterAbout::Enter { to } => self.entering(plan, *to, peer),
            _ => self.leaving(plan, peer, sender)?,
        };
        let answer = self.walk(&first);
        // What is rewritten comes back from elsewhere, and through the same translation.
        if answer.verdict != FilterVerdict::Pass || answer.rewritten_to.is_some() {
            return Some(Asked { peer, answer });
        }
        let Some(back) = back else { return Some(Asked { peer, answer }) };
        let later = self.walk(&back);
        let counts = match later.verdict {
            FilterVerdict::Drop | FilterVerdict::Reject { .. } => true,
            // Of an answer of ours nobody knows the sender: the kernel itself sends it.
            FilterVerdict::Unknown { .. } | FilterVerdict::Queue => back.direction == Direction::In,
            FilterVerdict::Pass => false,
        };
        Some(Asked { peer, answer: if counts { later } else { answer } })
    }

    /// From a stranger to us, and our answer.
    fn entering(&mut self, plan: &Plan, to: IpAddr, peer: IpAddr) -> (Packet, Option<Packet>) {
        let first = self.packet_in(plan.protocol, (peer, Some(self.local_port)), (to, Some(plan.port)), "new");
        let back = self.reversed(&first);
        (first, Some(back))
    }

    /// From us to somebody, and the answer. `None`: no route leads there.
    fn leaving(&mut self, plan: &Plan, peer: IpAddr, sender: &Sender) -> Option<(Packet, Option<Packet>)> {
        let source = plan.sources.first().copied();
        let mut first = self.packet_out(plan.protocol, source, (peer, plan.port), sender.uid)?;
        first.gid = sender.gid;
        first.cgroup.clone_from(&sender.cgroup);
        // What goes to this machine itself is seen on its way in by the same walk.
        let to_us = first.interface_out.as_deref() == Some("lo");
        let back = (!to_us).then(|| self.reversed(&first));
        Some((first, back))
    }

    /// A packet of this host's own, with the source and interface that routing gives it.
    pub fn packet_out(
        &mut self,
        protocol: &str,
        source: Option<IpAddr>,
        (destination, port): (IpAddr, u16),
        uid: Option<u32>,
    ) -> Option<Packet> {
        let question = Question { destination, source, uid, mark: 0, port };
        let route = self.looker.lookup(&question).ok()?.outcome.ok()?;
        let local = route.kind == Kind::Local || destination.is_loopback();
        let hop = route.hops.first().copied().unwrap_or_default();
        let name = if local { "lo".to_owned() } else { self.tables.links.name(hop.interface) };
        let source = source.or(route.prefer_source).or_else(|| self.address_on(&name, destination))?;
        let interface = if local { Some(name) } else { named_by_rules(&self.tables.links, hop.interface) };
        Some(Packet {
            direction: Direction::Out,
            protocol: protocol.to_owned(),
            source,
            destination,
            source_port: Some(self.local_port),
            destination_port: Some(port),
            interface_in: None,
            interface_out: interface,
            state: "new".to_owned(),
            uid,
            gid: None,
            mark: 0,
            cgroup: None,
        })
    }

    /// A packet that comes to this host, over the interface by which an answer would leave.
    pub fn packet_in(
        &mut self,
        protocol: &str,
        (source, source_port): (IpAddr, Option<u16>),
        (destination, port): (IpAddr, Option<u16>),
        state: &str,
    ) -> Packet {
        let interface = self.interface_towards(source, destination);
        Packet {
            direction: Direction::In,
            protocol: protocol.to_owned(),
            source,
            destination,
            source_port,
            destination_port: port,
            interface_in: interface,
            interface_out: None,
            state: state.to_owned(),
            uid: None,
            gid: None,
            mark: 0,
            cgroup: None,
        }
    }

    fn interface_towards(&mut self, stranger: IpAddr, own: IpAddr) -> Option<String> {
        if stranger.is_loopback() || stranger == own {
            return Some("lo".to_owned());
        }
        let question = Question { destination: stranger, source: Some(own), uid: None, mark: 0, port: 0 };
        let answer = self.looker.lookup(&question).ok()?;
        match answer.outcome {
            Ok(route) => route.hops.first().and_then(|hop| named_by_rules(&self.tables.links, hop.interface)),
            Err(_) => {
                let holder = self.around.holder_of(own)?;
                let link = self.tables.links.0.values().find(|link| link.name == holder)?;
                named_by_rules(&self.tables.links, link.index)
            }
        }
    }

    fn address_on(&self, interface: &str, like: IpAddr) -> Option<IpAddr> {
        let of = |address: &IpAddr| address.is_ipv4() == like.is_ipv4();
        self.around.interfaces.get(interface)?.addresses.iter().map(|(address, _)| *address).find(of)
    }

    /// The first packet that answers this one.
    fn reversed(&self, packet: &Packet) -> Packet {
        let direction = match packet.direction {
            Direction::In => Direction::Out,
            Direction::Out | Direction::Forward => Direction::In,
        };
        Packet {
            direction,
            protocol: packet.protocol.clone(),
            source: packet.destination,
            destination: packet.source,
            source_port: packet.destination_port,
            destination_port: packet.source_port,
            interface_in: packet.interface_out.clone(),
            interface_out: packet.interface_in.clone(),
            state: "established".to_owned(),
            uid: None,
            gid: None,
            mark: 0,
            cgroup: None,
        }
    }
}

/// Packets that end alike as one, the most first.
fn joined(asked: Vec<Asked>, answers: &mut BTreeMap<String, FilterAnswer>) -> Vec<FilterEnd> {
    let mut ends: Vec<(FilterAnswer, FilterEnd)> = Vec::new();
    for Asked { peer, answer } in asked {
        match ends.iter_mut().find(|(known, _)| ends_alike(known, &answer)) {
            Some((_, end)) => {
                end.packets += 1;
                if end.peers.len() < PEERS_KEPT {
                    end.peers.push(peer);
                }
            }
            None => {
                let key = words(&answer.packet);
                ends.push((answer, FilterEnd { answer: key, packets: 1, peers: vec![peer] }));
            }
        }
    }
    ends.sort_by(|(_, a), (_, b)| b.packets.cmp(&a.packets).then_with(|| a.answer.cmp(&b.answer)));
    let keep = |(answer, end): (FilterAnswer, FilterEnd)| {
        answers.entry(end.answer.clone()).or_insert(answer);
        end
    };
    ends.into_iter().map(keep).collect()
}

fn ends_alike(one: &FilterAnswer, other: &FilterAnswer) -> bool {
    let rewritten = |answer: &FilterAnswer| answer.rewritten_to.clone();
    one.verdict == other.verdict
        && one.by == other.by
        && rewritten(one) == rewritten(other)
        && one.packet.direction == other.packet.direction
}

/// The interface that rules see. In a VRF a packet meets prerouting and output more than once, as the interface's and as the VRF's
/// (l3mdev_ip_rcv, vrf_output): which of the two a rule is asked about is not one answer.
fn named_by_rules(links: &Links, index: u32) -> Option<String> {
    let is_vrf = links.0.get(&index).is_some_and(|link| link.kind == "vrf");
    (!is_vrf && links.vrf_of(index).is_none()).then(|| links.name(index))
}

/// A packet in words: the key of its answer.
pub fn words(packet: &Packet) -> String {
    let end = |address: IpAddr, port: Option<u16>| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    let direction = match packet.direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::Forward => "forward",
    };
    let new = packet.state == "new";
    let source = if new { packet.source.to_string() } else { end(packet.source, packet.source_port) };
    let destination = end(packet.destination, if new { packet.destination_port } else { None });
    let mut text = format!("{direction} {} {source} > {destination}", packet.protocol);
    if let Some(interface) = packet.interface_in.as_ref().or(packet.interface_out.as_ref()) {
        text.push_str(&format!(" on {interface}"));
    }
    if let Some(uid) = packet.uid {
        text.push_str(&format!(" by uid {uid}"));
    }
    if !new {
        text.push_str(&format!(" {}", packet.state));
    }
    text
}

/// One packet that a person asks about, and the answer to it where it passes: the first of each that decides.
pub fn explain(way: &mut Way<'_>, packet: &Packet) -> (FilterAnswer, Option<FilterAnswer>) {
    let answer = way.walk(packet);
    let to_us = packet.interface_out.as_deref() == Some("lo") || packet.interface_in.as_deref() == Some("lo");
    let goes_on = answer.verdict == FilterVerdict::Pass && answer.rewritten_to.is_none() && packet.state == "new";
    let back = (goes_on && !to_us).then(|| way.walk(&way.reversed(packet)));
    (answer, back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Link;

    #[test]
    fn what_belongs_to_a_vrf_has_two_names_to_rules() {
        let link = |index, name: &str, master, kind: &str| {
            let (name, kind) = (name.to_owned(), kind.to_owned());
            (index, Link { index, name, flags: 1, mtu: 1500, master, kind })
        };
        let links = Links(
            [
                link(2, "eth0", None, ""),
                link(3, "blue", None, "vrf"),
                link(4, "eth1", Some(3), ""),
                link(5, "br0", None, "bridge"),
            ]
            .into(),
        );
        let named = |index| named_by_rules(&links, index);
        assert_eq!((named(2).as_deref(), named(5).as_deref()), (Some("eth0"), Some("br0")));
        assert_eq!((named(3), named(4)), (None, None));
    }
}
