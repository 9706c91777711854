//! CONF105: the configuration lets everybody send to everybody.

mod exim;

use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::words::Words;
use mxray_model::Prefix;
use mxray_model::evidence::{Server, WantedListener};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "CONF105",
    name: "relay-open-by-config",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "mynetworks or the relay rules admit the world",
    page: include_str!("relay_open_by_config.md"),
    check,
};

/// No organisation's own network is wider than this; what is shorter admits strangers.
const WORLD_V4_BITS: u8 = 7;
const WORLD_V6_BITS: u8 = 15;
/// The widest public networks that a mail server may well trust: an allocation of a provider.
const WIDE_V4_BITS: u8 = 15;
const WIDE_V6_BITS: u8 = 28;

fn check(evidence: &Evidence) -> Said {
    let servers = view::servers(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (instance, server) in view::enabled(servers).filter(|(_, server)| server.software == "postfix") {
        let public: Vec<(&String, &WantedListener)> = server
            .wanted
            .iter()
            .filter(|(_, w)| w.command == "smtpd" || w.multiplexed)
            .filter(|(_, w)| !w.is_loopback_only())
            .collect();
        if public.is_empty() {
            judgement.well(format!("{instance} takes no mail from outside, so it relays none"));
            continue;
        }
        let words = Words::new(evidence, server);
        let before = judgement.findings.len();
        // One open service is enough, and the fault is the same for all that share a parameter.
        if let Some(finding) =
            public.iter().find_map(|(key, wanted)| by_networks(evidence, instance, server, key, wanted, &words))
        {
            judgement.find(finding);
        }
        if let Some(finding) =
            public.iter().find_map(|(key, wanted)| by_restrictions(instance, server, key, wanted, &words))
        {
            judgement.find(finding);
        }
        if judgement.findings.len() > before {
            continue;
        }
        match public.iter().find_map(|(_, wanted)| unread_network(server, wanted)) {
            Some(table) => judgement.blind(
                &RULE,
                &Blind::NotAttempted {
                    why: format!("{instance}: mynetworks names the table {table}, which is not read"),
                },
            ),
            None => judgement.well(format!("{instance}: relay rules and mynetworks keep strangers out")),
        }
    }
    for (instance, server) in view::enabled(servers).filter(|(_, server)| server.software == "exim") {
        exim::by_list(evidence, instance, server, &mut judgement);
    }
    Ok(judgement)
}

/// How far a network reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Own,
    Wide,
    World,
}

/// How far one entry of `mynetworks` reaches; `None` where that does not stand in the entry itself.
fn reach(entry: &str, public: &[Prefix]) -> Option<Width> {
    // A static: table has one answer for every client (DATABASE_README).
    if entry.to_ascii_lowercase().starts_with("static:") {
        return Some(Width::World);
    }
    Some(width(view::prefix(entry)?, public))
}

/// An entry of `mynetworks` that leads to a table.
fn unread_network<'a>(server: &'a Server, wanted: &'a WantedListener) -> Option<&'a str> {
    let entries = view::list(server.setting_of(wanted, "mynetworks"));
    let is_table = |entry: &&str| !entry.starts_with('!') && reach(entry, &[]).is_none();
    trusts_networks(server, wanted).then(|| entries.into_iter().find(is_table)).flatten()
}

fn width(prefix: Prefix, public: &[Prefix]) -> Width {
    let declared = public.iter().any(|p| p.contains(prefix.address));
    let (world, wide) =
        if prefix.address.is_ipv4() { (WORLD_V4_BITS, WIDE_V4_BITS) } else { (WORLD_V6_BITS, WIDE_V6_BITS) };
    if is_nobody(prefix) {
        Width::Own
    } else if prefix.length <= world && !is_reserved(prefix) {
        Width::World
    } else if prefix.length <= wide && (declared || !is_reserved(prefix)) {
        Width::Wide
    } else {
        Width::Own
    }
}

/// Wholly inside space that no stranger sends from: loopback, private, link-local, unique local, multicast.
fn is_reserved(prefix: Prefix) -> bool {
    const RESERVED: [&str; 11] = [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "224.0.0.0/3",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    ];
    is_inside(prefix, &RESERVED)
}

/// The blocks of zeros, which no address of the Internet is in (RFC 1122 section 3.2.1.3, RFC 4291 section 2.4). In the second
/// are those of IPv4 (::ffff:0:0/96), by which no server sees a client. As addresses of a listener they mean all.
fn is_nobody(prefix: Prefix) -> bool {
    is_inside(prefix, &["0.0.0.0/8", "::/8"])
}

fn is_inside(prefix: Prefix, blocks: &[&str]) -> bool {
    let mut blocks = blocks.iter().filter_map(|text| view::prefix(text));
    blocks.any(|block| prefix.length >= block.length && block.contains(prefix.address))
}

fn by_networks(
    evidence: &Evidence,
    instance: &str,
    server: &Server,
    key: &str,
    wanted: &WantedListener,
    words: &Words<'_>,
) -> Option<Finding> {
    if !trusts_networks(server, wanted) {
        return None;
    }
    let public: Vec<Prefix> = evidence.declared.public_prefixes.iter().filter_map(|text| view::prefix(text)).collect();
    let networks = view::list(server.setting_of(wanted, "mynetworks"));
    let (width, entry) = networks
        .iter()
        .filter_map(|entry| Some((reach(entry, &public)?, *entry)))
        .filter(|(width, _)| *width > Width::Own)
        .max_by_key(|(width, _)| *width)?;
    let reachable = !wanted.addresses.iter().all(is_private);
    let severity = if width == Width::World && reachable { Severity::Critical } else { Severity::Warning };
    let whom = match (width, reachable) {
        (Width::World, true) => "everybody",
        (Width::World, false) => "everybody who reaches its private address",
        _ => "a very wide public network",
    };
    let value = server.setting_of(wanted, "mynetworks");
    let (source, at) = place(server, wanted, "mynetworks", words);
    let finding = RULE
        .finding_as(
            severity,
            Subject::service(instance),
            format!("{instance} relays for {whom}: mynetworks contains {entry}."),
        )
        .confidence(if width == Width::World { 0.95 } else { 0.6 })
        .touches(view::port_scope(wanted.port))
        .because(format!("mynetworks = {value}"), source, pointer_of(instance, key, wanted, "mynetworks"))
        .data("by", "mynetworks")
        .data("network", entry)
        .data("service", wanted.service.clone())
        .reference("postconf(5), mynetworks");
    let kept: Vec<&str> = networks
        .iter()
        .copied()
        .filter(|entry| reach(entry, &public).is_none_or(|width| width == Width::Own))
        .collect();
    let kept = if kept.is_empty() { "127.0.0.0/8 [::1]/128".to_owned() } else { kept.join(" ") };
    Some(close(finding, wanted, words, "mynetworks", &kept, at, "Trust only addresses that are yours."))
}

/// An address that the internet does not route to: whoever gets there is already inside.
fn is_private(address: &IpAddr) -> bool {
    let most = if address.is_ipv4() { 32 } else { 128 };
    is_reserved(Prefix { address: *address, length: most })
}

/// Does any rule of this service let `mynetworks` relay at all?
fn trusts_networks(server: &Server, wanted: &WantedListener) -> bool {
    LISTS.iter().any(|list| server.setting_of(wanted, list).contains("permit_mynetworks"))
}

/// The lists that decide about relaying.
pub(crate) const LISTS: [&str; 2] = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"];

/// What a list does with a stranger who sends to a stranger.
#[derive(PartialEq)]
enum Stranger {
    Stopped,
    /// Let through by this word, whatever follows.
    Permitted(String),
    /// The end of the list is reached: permitted by default.
    Undecided,
}

fn stranger(list: &str) -> Stranger {
    let entries = view::list(list);
    for (index, entry) in entries.iter().enumerate() {
        let word = entry.to_ascii_lowercase();
        let before =
            index.checked_sub(1).and_then(|i| entries.get(i)).map(|w| w.to_ascii_lowercase()).unwrap_or_default();
        // It only logs what the word behind it would have done.
        if before == "warn_if_reject" {
            continue;
        }
        match word.as_str() {
            "reject" | "defer" | "reject_unauth_destination" | "defer_unauth_destination" => return Stranger::Stopped,
            "permit" => return Stranger::Permitted((*entry).to_owned()),
            _ => {}
        }
        let answer = view::answer_to_all(entry);
        let permits_all = answer.as_deref().is_some_and(|answer| matches!(answer, "ok" | "permit"));
        // A bare table is check_client_access and so on, by the list that it stands in.
        if permits_all {
            let table = before.starts_with("check_") && before.ends_with("_access");
            return Stranger::Permitted(if table { format!("{before} {entry}") } else { (*entry).to_owned() });
        }
    }
    Stranger::Undecided
}

/// Does Postfix accept the lists at all? Without one of these words before a `permit`, in one list or the other, smtpd
/// ends with "specify at least one working instance of" and takes no mail.
pub(crate) fn works(list: &str) -> bool {
    const STOPPING: [&str; 6] = [
        "reject",
        "defer",
        "reject_unauth_destination",
        "defer_unauth_destination",
        "defer_if_permit",
        "check_relay_domains",
    ];
    let words: Vec<String> = view::list(list).iter().map(|word| word.to_ascii_lowercase()).collect();
    let mut unconditional = words
        .iter()
        .enumerate()
        .filter(|(i, _)| i.checked_sub(1).and_then(|b| words.get(b)).is_none_or(|b| b != "warn_if_reject"));
    unconditional
        .find(|(_, word)| *word == "permit" || STOPPING.contains(&word.as_str()))
        .is_some_and(|(_, word)| word != "permit")
}

/// Postfix asks both lists (from 2.10 on); a stranger must get through both.
fn by_restrictions(
    instance: &str,
    server: &Server,
    key: &str,
    wanted: &WantedListener,
    words: &Words<'_>,
) -> Option<Finding> {
    let verdicts: Vec<(&str, Stranger)> =
        LISTS.iter().map(|list| (*list, stranger(server.setting_of(wanted, list)))).collect();
    if verdicts.iter().any(|(_, verdict)| *verdict == Stranger::Stopped) {
        return None;
    }
    if !LISTS.iter().any(|list| works(server.setting_of(wanted, list))) {
        return None;
    }
    let (list, word) = verdicts.into_iter().find_map(|(list, verdict)| match verdict {
        Stranger::Permitted(word) => Some((list, word)),
        Stranger::Stopped | Stranger::Undecided => None,
    })?;
    let value = server.setting_of(wanted, list);
    let (source, at) = place(server, wanted, list, words);
    let finding = RULE
        .finding(
            Subject::service(format!("{instance} {}", wanted.service)),
            format!(
                "{instance} relays for everybody: {list} permits strangers before anything stops them (\"{word}\")."
            ),
        )
        .confidence(0.9)
        .touches(Subject::service(instance))
        .touches(view::port_scope(wanted.port))
        .because(format!("{list} = {value}"), source, pointer_of(instance, key, wanted, list))
        .data("by", list)
        .data("word", word)
        .data("service", wanted.service.clone())
        .reference("postconf(5), smtpd_relay_restrictions");
    Some(close(finding, wanted, words, list, &without(value), at, "Stop strangers before anything permits them."))
}

/// The list without the words that permit everybody; where nothing is left that stops strangers, with what does.
pub(crate) fn without(value: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for entry in view::list(value) {
        if matches!(stranger(entry), Stranger::Permitted(_)) {
            if kept.last().is_some_and(|word| word.starts_with("check_") && word.ends_with("_access")) {
                kept.pop();
            }
            continue;
        }
        kept.push(entry);
    }
    if stranger(&kept.join(" ")) != Stranger::Stopped {
        kept.push("defer_unauth_destination");
    }
    kept.join(", ")
}

/// Where a service's value stands: its override in master.cf, or main.cf.
pub(crate) fn place(server: &Server, wanted: &WantedListener, parameter: &str, words: &Words<'_>) -> (String, bool) {
    if wanted.overrides.contains_key(parameter) {
        return (wanted.at.to_string(), true);
    }
    (server.set_at(parameter).map_or_else(|| words.main_cf(), ToString::to_string), false)
}

pub(crate) fn pointer_of(instance: &str, key: &str, wanted: &WantedListener, parameter: &str) -> String {
    if wanted.overrides.contains_key(parameter) {
        view::server_pointer(instance, &["wanted", key, "overrides", parameter])
    } else {
        view::server_pointer(instance, &["settings", parameter])
    }
}

fn close(
    finding: Finding,
    wanted: &WantedListener,
    words: &Words<'_>,
    parameter: &str,
    value: &str,
    overridden: bool,
    text: &str,
) -> Finding {
    let step = if overridden {
        words.override_fix(text, wanted, parameter, value)
    } else {
        words.setting_fix(text, parameter, value)
    };
    finding.fix(step).fix(
        Fix::here("Let the running server read it, and look what strangers have left in the queue.")
            .command(words.reload())
            .command("postqueue -p")
            .verify("postqueue -p | tail -n 1"),
    )
}
