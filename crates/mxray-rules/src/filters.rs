//! This host's own packet filters, as rules look at them: what became of each question, which rule decides, and how that rule is
//! changed in the words of the program that wrote it.
//!
//! What must not live here: which of it is a fault (rules).

use crate::rule::{Judgement, Rule};
use crate::view;
use mxray_model::evidence::{
    Direction, FilterAnswer, FilterEnd, FilterQuestion, FilterRule, FilterVerdict, Firewall, Packet,
};
use mxray_model::text::shell_word;
use mxray_model::{Blind, Evidence, Finding, Fix, Seen};

/// What became of one question's packets.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<'a> {
    Passes,
    /// All of them are stopped; the first one's answer.
    Stopped(&'a FilterAnswer),
    /// So many of all are stopped.
    Partly { answer: &'a FilterAnswer, stopped: u32, all: u32 },
    Unknown(Blind),
}

impl Outcome<'_> {
    pub fn is_stopped(&self) -> bool {
        matches!(self, Outcome::Stopped(_))
    }

    /// Some packets get through, and that is certain.
    pub fn lets_some_through(&self) -> bool {
        matches!(self, Outcome::Passes | Outcome::Partly { .. })
    }
}

/// The packet filters; `Err` is what the rule says where there is none, or where they could not be read.
pub fn firewall<'a>(evidence: &'a Evidence, rule: &Rule) -> Result<&'a Firewall, Judgement> {
    match &evidence.firewall {
        Seen::Value(firewall) => Ok(firewall),
        Seen::Absent => {
            let mut judgement = Judgement::nothing();
            judgement.well("this host has no packet filter of its own");
            Err(judgement)
        }
        Seen::Unknown(blind) => Err(Judgement::cannot_tell(rule, blind)),
    }
}

/// What became of a question's packets.
pub fn outcome<'a>(firewall: &'a Firewall, ends: &[FilterEnd]) -> Outcome<'a> {
    let (mut stopped, mut all) = (0, 0);
    let mut first = None;
    let mut unknown = None;
    for end in ends {
        let Some(answer) = firewall.answers.get(&end.answer) else { continue };
        all += end.packets;
        match &answer.verdict {
            FilterVerdict::Drop | FilterVerdict::Reject { .. } => {
                stopped += end.packets;
                first = first.or(Some(answer));
            }
            FilterVerdict::Pass => {}
            FilterVerdict::Queue => {
                let by = answer.by.as_ref().map_or_else(String::new, |rule| format!(" ({})", place(rule)));
                let why = format!("a program decides about these packets, to which a rule hands them (NFQUEUE){by}");
                unknown = unknown.or(Some(Blind::NotAttempted { why }));
            }
            FilterVerdict::Unknown { why } => unknown = unknown.or_else(|| Some(why.clone())),
        }
    }
    match (first, unknown) {
        (Some(answer), _) if stopped == all => Outcome::Stopped(answer),
        (_, Some(blind)) => Outcome::Unknown(blind),
        (Some(answer), None) => Outcome::Partly { answer, stopped, all },
        (None, None) if all == 0 => {
            Outcome::Unknown(Blind::NotAttempted { why: "the packet filters were not asked".to_owned() })
        }
        (None, None) => Outcome::Passes,
    }
}

/// The questions, with their keys.
pub fn questions(firewall: &Firewall) -> impl Iterator<Item = (&String, &FilterQuestion)> {
    firewall.questions.iter()
}

/// `rule 3 (handle 7) of chain input of table inet filter`, `the policy of chain input of table inet filter`.
pub fn decided_by(answer: &FilterAnswer) -> String {
    if let Some(rule) = &answer.by {
        return format!("{}: {}", place(rule), rule.text);
    }
    match base_chain(answer) {
        Some((table, chain)) => format!("the policy of chain {chain} of table {}", bare(&table)),
        None => "the packet filter".to_owned(),
    }
}

fn place(rule: &FilterRule) -> String {
    let handle = rule.handle.map_or_else(String::new, |handle| format!(" (handle {handle})"));
    let manager = rule.manager.as_ref().map_or_else(String::new, |manager| format!(", written by {manager}"));
    format!("rule {}{handle} of chain {} of table {}{manager}", rule.position, rule.chain, bare(&rule.table))
}

/// `inet filter` of `nft inet filter`, `ip filter (iptables-legacy)` of `legacy ip filter`.
fn bare(table: &str) -> String {
    match table.split_once(' ') {
        Some(("legacy", rest)) => format!("{rest} (iptables-legacy)"),
        Some((_, rest)) => rest.to_owned(),
        None => table.to_owned(),
    }
}

/// The base chain in which the walk ended.
fn base_chain(answer: &FilterAnswer) -> Option<(String, String)> {
    let last = answer.walk.iter().rev().find(|step| !step.hook.is_empty())?;
    Some((last.table.clone(), last.chain.clone()))
}

/// The program that wrote the rule, its chain or its table.
pub fn manager<'a>(firewall: &'a Firewall, answer: &'a FilterAnswer) -> Option<&'a str> {
    if let Some(rule) = &answer.by {
        let of_table = || firewall.tables.get(&rule.table)?.manager.as_deref();
        return rule.manager.as_deref().or_else(of_table);
    }
    let (table, _) = base_chain(answer)?;
    firewall.tables.get(&table)?.manager.as_deref()
}

/// `dropped`, `rejected with tcp reset`
pub fn stopped_how(answer: &FilterAnswer) -> String {
    match &answer.verdict {
        FilterVerdict::Reject { with } if !with.is_empty() => format!("rejected ({with})"),
        FilterVerdict::Reject { .. } => "rejected".to_owned(),
        _ => "dropped".to_owned(),
    }
}

/// Adds the deciding rule as the reason, and what a program wants to know of it.
#[must_use]
pub fn because(finding: Finding, firewall: &Firewall, key: &str, answer: &FilterAnswer) -> Finding {
    let end = firewall.questions.get(key).and_then(|question| question.ends.first());
    let source = if answer.by.as_ref().is_some_and(|rule| rule.table.starts_with("legacy")) {
        "iptables-legacy-save"
    } else {
        "nf_tables"
    };
    let packet = packet_text(&answer.packet);
    let counted = answer.by.as_ref().and_then(|rule| rule.packets).filter(|packets| *packets > 0);
    let counted = counted.map_or_else(String::new, |packets| format!(" It has matched {packets} packets."));
    let text = format!("{packet} is {} by {}.{counted}", stopped_how(answer), decided_by(answer));
    let pointer = view::pointer(["firewall", "value", "questions", key]);
    let mut finding = finding.because(text, source, pointer);
    if let Some(end) = end
        && end.packets > 1
    {
        let others: Vec<String> = end.peers.iter().map(ToString::to_string).collect();
        finding = finding.because(
            format!("The same becomes of all {} packets that were asked about, to or from {}, ….", end.packets, others.join(", ")),
            source,
            view::pointer(["firewall", "value", "questions", key, "ends"]),
        );
    }
    if let Some(rule) = &answer.by {
        finding = finding
            .data("table", rule.table.clone())
            .data("chain", rule.chain.clone())
            .data("rule", rule.text.clone())
            .data("handle", rule.handle)
            .data("position", rule.position);
    } else if let Some((table, chain)) = base_chain(answer) {
        finding = finding.data("table", table).data("chain", chain).data("rule", "policy");
    }
    finding.data("manager", manager(firewall, answer)).data("verdict", stopped_how(answer))
}

/// `A packet from 203.0.113.25 to 198.51.100.1 port 25 (tcp, sent by uid 107)`
fn packet_text(packet: &Packet) -> String {
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
    let new = packet.state == "new";
    let from = if new { String::new() } else { port(packet.source_port) };
    let to = if new { port(packet.destination_port) } else { String::new() };
    let mut about = vec![packet.protocol.clone()];
    if let Some(uid) = packet.uid {
        about.push(format!("sent by uid {uid}"));
    }
    if !new {
        about.push("an answer within a connection".to_owned());
    }
    format!("A packet from {}{from} to {}{to} ({})", packet.source, packet.destination, about.join(", "))
}

/// How the way is opened again: in the words of the program that wrote the rule, with the way back.
///
/// Nothing but what mail needs is opened: a rule that does more than stop this port stays, and gets an exception in front.
pub fn fixes(firewall: &Firewall, answer: &FilterAnswer, verify: &str) -> Vec<Fix> {
    let fix = match manager(firewall, answer) {
        Some("ufw") => ufw(answer),
        Some("firewalld") => firewalld(answer),
        Some("fail2ban") => fail2ban(answer),
        Some("crowdsec") => crowdsec(answer),
        Some("docker") => xtables(answer, "Docker leaves the chain DOCKER-USER to the admin: put the exception there.", Some("DOCKER-USER")),
        _ if is_xtables(firewall, answer) => xtables(answer, "Let the packets through.", None),
        _ => nftables(answer),
    };
    let keep = Fix::here(kept_in(firewall, answer)).verify(verify.to_owned());
    vec![fix.verify(verify.to_owned()), keep]
}

fn kept_in(firewall: &Firewall, answer: &FilterAnswer) -> String {
    match manager(firewall, answer) {
        Some("ufw" | "firewalld") => "The command above also holds after the next start.".to_owned(),
        Some("fail2ban") => {
            "Keep it from being banned again: put the address behind ignoreip= in /etc/fail2ban/jail.local.".to_owned()
        }
        Some("crowdsec") => "Keep it from being banned again: cscli allowlists, or a parser whitelist.".to_owned(),
        _ if is_xtables(firewall, answer) => {
            "Write it down for the next start, where the rules are kept: netfilter-persistent save (/etc/iptables), or the script that loads them.".to_owned()
        }
        _ => "Change it in the file that loads the ruleset as well (/etc/nftables.conf, or a script), or it comes back at the next start.".to_owned(),
    }
}

/// Rules that iptables wrote, into either framework: nft should not touch them.
fn is_xtables(firewall: &Firewall, answer: &FilterAnswer) -> bool {
    let Some(table) = table_of(answer) else { return false };
    let of = firewall.tables.get(&table);
    table.starts_with("legacy")
        || of.and_then(|table| table.manager.as_deref()) == Some("iptables-nft")
        || answer.by.as_ref().is_some_and(|rule| rule.text.starts_with('-'))
}

fn table_of(answer: &FilterAnswer) -> Option<String> {
    answer.by.as_ref().map(|rule| rule.table.clone()).or_else(|| base_chain(answer).map(|(table, _)| table))
}

fn is_in(answer: &FilterAnswer) -> bool {
    answer.packet.direction != Direction::Out
}

/// The port that is to be opened: the service's.
fn port(packet: &Packet) -> u16 {
    if packet.state == "new" { packet.destination_port } else { packet.source_port }.unwrap_or_default()
}

/// An answer within a connection is stopped, not its beginning.
fn is_answer(answer: &FilterAnswer) -> bool {
    answer.packet.state != "new"
}

fn ufw(answer: &FilterAnswer) -> Fix {
    let (port, protocol) = (port(&answer.packet), &answer.packet.protocol);
    let out = if is_in(answer) { "" } else { "out " };
    // An own rule of ufw that denies is met before one that is added behind it.
    let own = answer.by.as_ref().is_some_and(|rule| rule.chain.contains("-user-"));
    let first = if own { "insert 1 " } else { "" };
    Fix::here("Let ufw allow it.")
        .command(format!("ufw {first}allow {out}{port}/{protocol}"))
        .undo(format!("ufw delete allow {out}{port}/{protocol}"))
}

/// Chains of a zone are named after it: `filter_IN_public_allow`, with iptables below it `IN_public_deny`.
fn zone(answer: &FilterAnswer) -> Option<&str> {
    let steps = answer.walk.iter().map(|step| step.chain.as_str());
    steps.filter_map(|chain| chain.strip_prefix("filter_").unwrap_or(chain).strip_prefix("IN_")).find_map(|rest| {
        let zone = rest.split('_').next()?;
        (!zone.is_empty() && !["ZONES", "POLICIES"].contains(&zone) && !rest.starts_with("policy_")).then_some(zone)
    })
}

fn firewalld(answer: &FilterAnswer) -> Fix {
    let (port, protocol) = (port(&answer.packet), &answer.packet.protocol);
    if !is_in(answer) {
        return Fix::here(
            "firewalld stops what goes out by a policy or a direct rule only: find it, and take it away.",
        )
        .command("firewall-cmd --get-active-policies")
        .command("firewall-cmd --direct --get-all-rules")
        .undo("firewall-cmd --reload");
    }
    let zone = zone(answer).map_or_else(String::new, |zone| format!("--zone={} ", shell_word(zone)));
    let option = format!("{port}/{protocol}");
    Fix::here("Open the port in firewalld's zone, now and for the next start.")
        .command(format!("firewall-cmd {zone}--add-port={option}"))
        .command(format!("firewall-cmd --permanent {zone}--add-port={option}"))
        .undo(format!("firewall-cmd {zone}--remove-port={option}; firewall-cmd --permanent {zone}--remove-port={option}"))
}

/// The jail, by the names that fail2ban gives: chain `f2b-postfix`, set `addr-set-postfix`, `addr6-set-postfix`.
fn jail(answer: &FilterAnswer) -> Option<&str> {
    let rule = answer.by.as_ref()?;
    if let Some(jail) = rule.chain.strip_prefix("f2b-").filter(|jail| *jail != "chain") {
        return Some(jail);
    }
    let words = rule.text.split(|c: char| c.is_whitespace() || c == '@' || c == '"');
    let mut sets = words.filter_map(|word| {
        word.strip_prefix("addr-set-").or_else(|| word.strip_prefix("addr6-set-")).or_else(|| word.strip_prefix("f2b-"))
    });
    sets.next()
}

fn fail2ban(answer: &FilterAnswer) -> Fix {
    let far = answer.packet_far_end();
    match jail(answer) {
        Some(jail) => {
            let jail = shell_word(jail);
            Fix::here("fail2ban has banned this address: lift the ban.")
                .command(format!("fail2ban-client set {jail} unbanip {far}"))
                .undo(format!("fail2ban-client set {jail} banip {far}"))
        }
        None => Fix::here("fail2ban has banned this address: lift the ban in all jails.")
            .command(format!("fail2ban-client unban {far}"))
            .undo("fail2ban bans it again where its log gives reason"),
    }
}

fn crowdsec(answer: &FilterAnswer) -> Fix {
    let far = answer.packet_far_end();
    Fix::here("CrowdSec has banned this address: lift the ban.")
        .command(format!("cscli decisions delete --ip {far}"))
        .undo(format!("cscli decisions add --ip {far}"))
}

/// Does the rule stop this one port, and nothing else that its words show?
fn names_port_alone(rule: &FilterRule, port: u16) -> bool {
    let words: Vec<&str> = rule.text.split_whitespace().collect();
    let behind = words.windows(2).filter(|pair| matches!(pair.first(), Some(&("dport" | "--dport" | "--dports"))));
    let ports: Vec<&str> = behind.filter_map(|pair| pair.get(1).copied()).collect();
    ports == [port.to_string().as_str()]
}

fn nftables(answer: &FilterAnswer) -> Fix {
    let (port, protocol) = (port(&answer.packet), &answer.packet.protocol);
    let exception =
        if is_answer(answer) { "ct state established,related accept".to_owned() } else { format!("{protocol} dport {port} accept") };
    match (&answer.by, base_chain(answer)) {
        (Some(rule), _) => {
            let at = format!("{} {}", bare(&rule.table), shell_word(&rule.chain));
            let handle = rule.handle.unwrap_or_default();
            if !is_answer(answer) && names_port_alone(rule, port) {
                let back = match rule.position {
                    0 | 1 => format!("nft insert rule {at} '{}'", rule.text),
                    position => format!("nft add rule {at} index {} '{}'", position - 2, rule.text),
                };
                return Fix::here("Take the rule away.")
                    .command(format!("nft delete rule {at} handle {handle}"))
                    .undo(back);
            }
            Fix::here("Let it pass before the rule is met; the rule itself does more than stop this port.")
                .command(format!("nft insert rule {at} position {handle} {exception}"))
                .undo(format!("nft -a list chain {at} shows the new rule's handle N: nft delete rule {at} handle N"))
        }
        (None, Some((table, chain))) => {
            let at = format!("{} {}", bare(&table), shell_word(&chain));
            Fix::here("Nothing lets it pass, and the chain's policy drops what nothing lets pass: let it pass.")
                .command(format!("nft insert rule {at} {exception}"))
                .undo(format!("nft -a list chain {at} shows the new rule's handle N: nft delete rule {at} handle N"))
        }
        (None, None) => Fix::here("Look at the ruleset, and let it pass.").command("nft list ruleset"),
    }
}

fn xtables(answer: &FilterAnswer, text: &str, into: Option<&str>) -> Fix {
    let (port, protocol) = (port(&answer.packet), &answer.packet.protocol);
    let table = table_of(answer).unwrap_or_default();
    let mut parts = table.split(' ');
    let (framework, _, name) = (parts.next(), parts.next(), parts.next().unwrap_or("filter"));
    let program = match (answer.packet.source.is_ipv4(), framework == Some("legacy")) {
        (true, false) => "iptables",
        (false, false) => "ip6tables",
        (true, true) => "iptables-legacy",
        (false, true) => "ip6tables-legacy",
    };
    let table = if name == "filter" { String::new() } else { format!(" -t {}", shell_word(name)) };
    if let Some(rule) = answer.by.as_ref().filter(|rule| !is_answer(answer) && names_port_alone(rule, port)) {
        let chain = shell_word(&rule.chain);
        // Where the text is nft's, iptables cannot take it back.
        let undo = if rule.text.starts_with('-') {
            format!("{program}{table} -I {chain} {} {}", rule.position, rule.text)
        } else {
            format!("{program}{table} -I {chain} {} with what {program}{table} -S {chain} showed there before", rule.position)
        };
        return Fix::here("Take the rule away.")
            .command(format!("{program}{table} -S {chain} {}", rule.position))
            .command(format!("{program}{table} -D {chain} {}", rule.position))
            .undo(undo);
    }
    let chain = into.map_or_else(
        || answer.by.as_ref().map(|rule| rule.chain.clone()).or_else(|| base_chain(answer).map(|(_, chain)| chain)),
        |chain| Some(chain.to_owned()),
    );
    let chain = shell_word(&chain.unwrap_or_else(|| "INPUT".to_owned()));
    let place = answer.by.as_ref().filter(|_| into.is_none()).map_or(1, |rule| rule.position.max(1));
    let what = if is_answer(answer) {
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned()
    } else {
        format!("-p {protocol} --dport {port} -j ACCEPT")
    };
    Fix::here(text)
        .command(format!("{program}{table} -I {chain} {place} {what}"))
        .undo(format!("{program}{table} -D {chain} {what}"))
}

/// The command that shows the same walk again.
pub fn explain_in(port: u16, protocol: &str, ipv4: bool) -> String {
    let udp = if protocol == "udp" { " --udp" } else { "" };
    let from = if ipv4 { "" } else { " --from 2001:600::1" };
    format!("mxray ports explain {port} --in{udp}{from}")
}

/// The same of what leaves.
pub fn explain_out(question: &FilterQuestion, answer: &FilterAnswer) -> String {
    let udp = if question.protocol == "udp" { " --udp" } else { "" };
    let to = answer.packet_far_end();
    let user = question.uid.map_or_else(String::new, |uid| format!(" --as {uid}"));
    format!("mxray ports explain {} --out{udp} --to {to}{user}", question.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> FilterRule {
        FilterRule {
            table: "nft inet filter".to_owned(),
            chain: "input".to_owned(),
            handle: Some(7),
            position: 3,
            text: text.to_owned(),
            packets: None,
            comment: None,
            manager: None,
            by_sender: false,
        }
    }

    #[test]
    fn a_rule_that_does_more_is_not_taken_away() {
        assert!(names_port_alone(&rule("tcp dport 25 drop"), 25));
        assert!(names_port_alone(&rule("-p tcp -m tcp --dport 25 -j DROP"), 25));
        for more in ["drop", "tcp dport { 25, 139 } drop", "tcp dport 1-1023 drop", "tcp dport @closed drop", "tcp sport 25 drop"] {
            assert!(!names_port_alone(&rule(more), 25), "{more}");
        }
    }

    #[test]
    fn zones_and_jails_are_read_from_names() {
        let step = |chain: &str| mxray_model::evidence::FilterStep {
            table: "nft inet firewalld".to_owned(),
            chain: chain.to_owned(),
            hook: String::new(),
            priority: 0,
            depth: 1,
            rule: None,
            said: String::new(),
        };
        let packet: Packet = serde_json::from_value(serde_json::json!({
            "direction": "in", "protocol": "tcp", "source": "192.0.2.7", "destination": "192.0.2.1", "source_port": null,
            "destination_port": 25, "interface_in": null, "interface_out": null, "state": "new", "uid": null, "gid": null,
            "mark": 0, "cgroup": null
        }))
        .unwrap();
        let walk = ["filter_INPUT", "filter_INPUT_ZONES", "filter_IN_public", "filter_IN_public_allow"].map(step).to_vec();
        let mut answer =
            FilterAnswer { packet, verdict: FilterVerdict::Drop, by: None, walk, rewritten_to: None };
        assert_eq!(zone(&answer), Some("public"));
        for (chain, text, expected) in [
            ("f2b-postfix-sasl", "ip saddr 192.0.2.7 reject", Some("postfix-sasl")),
            ("f2b-chain", "tcp dport 25 ip saddr @addr-set-postfix reject", Some("postfix")),
            ("INPUT", "-p tcp -m set --match-set f2b-sshd src -j REJECT", Some("sshd")),
            ("INPUT", "drop", None),
        ] {
            answer.by = Some(FilterRule { chain: chain.to_owned(), ..rule(text) });
            assert_eq!(jail(&answer), expected, "{chain} {text}");
        }
    }
}
