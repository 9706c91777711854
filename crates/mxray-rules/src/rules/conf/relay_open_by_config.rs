//! CONF105: the configuration lets everybody send to everybody.

use crate::rule::{Judgement, Rule};
use crate::view::{self, Prefix, Words};
use mxray_model::evidence::{Server, WantedListener};
use mxray_model::{Evidence, Finding, Fix, Severity, Subject};

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

fn check(evidence: &Evidence) -> Judgement {
    let servers = match view::servers(evidence, &RULE) {
        Ok(servers) => servers,
        Err(judgement) => return judgement,
    };
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
        if judgement.findings.len() == before {
            judgement.well(format!("{instance}: relay rules and mynetworks keep strangers out"));
        }
    }
    judgement
}

/// How far a network reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Own,
    Wide,
    World,
}

fn width(prefix: Prefix, public: &[Prefix]) -> Width {
    let declared = public.iter().any(|p| p.contains(prefix.address));
    let (world, wide) =
        if prefix.address.is_ipv4() { (WORLD_V4_BITS, WIDE_V4_BITS) } else { (WORLD_V6_BITS, WIDE_V6_BITS) };
    if prefix.length <= world && !is_reserved(prefix) {
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
    RESERVED
        .iter()
        .filter_map(|text| Prefix::parse(text))
        .any(|reserved| prefix.length >= reserved.length && reserved.contains(prefix.address))
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
    let public: Vec<Prefix> = evidence.declared.public_prefixes.iter().filter_map(|text| Prefix::parse(text)).collect();
    let networks = view::list(server.setting_of(wanted, "mynetworks"));
    let (width, entry) = networks
        .iter()
        .filter_map(|entry| Some((width(Prefix::parse(entry)?, &public), *entry)))
        .filter(|(width, _)| *width > Width::Own)
        .max_by_key(|(width, _)| *width)?;
    let severity = if width == Width::World { Severity::Critical } else { Severity::Warning };
    let whom = if width == Width::World { "everybody" } else { "a very wide public network" };
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
        .filter(|entry| Prefix::parse(entry).is_none_or(|prefix| self::width(prefix, &public) == Width::Own))
        .collect();
    let kept = if kept.is_empty() { "127.0.0.0/8 [::1]/128".to_owned() } else { kept.join(" ") };
    Some(close(finding, wanted, words, "mynetworks", &kept, at, "Trust only addresses that are yours."))
}

/// Does any rule of this service let `mynetworks` relay at all?
fn trusts_networks(server: &Server, wanted: &WantedListener) -> bool {
    LISTS.iter().any(|list| server.setting_of(wanted, list).contains("permit_mynetworks"))
}

const LISTS: [&str; 2] = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"];

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
        match word.as_str() {
            "reject" | "defer" | "reject_unauth_destination" | "defer_unauth_destination" => return Stranger::Stopped,
            "permit" => return Stranger::Permitted((*entry).to_owned()),
            _ => {}
        }
        let before =
            index.checked_sub(1).and_then(|i| entries.get(i)).map(|w| w.to_ascii_lowercase()).unwrap_or_default();
        let permits_all = matches!(word.as_str(), "static:ok" | "static:permit" | "static:{ok}" | "static:{permit}");
        let of_all = before.starts_with("check_") && before.ends_with("_access");
        if permits_all && (of_all || before.is_empty()) {
            return Stranger::Permitted(format!("{before} {entry}"));
        }
    }
    Stranger::Undecided
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
    // With no word against strangers anywhere, Postfix refuses to take mail at all rather than to relay it.
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
    let safe = "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination";
    Some(close(finding, wanted, words, list, safe, at, "Stop strangers before anything permits them."))
}

/// Where a service's value stands: its override in master.cf, or main.cf.
fn place(server: &Server, wanted: &WantedListener, parameter: &str, words: &Words<'_>) -> (String, bool) {
    if wanted.overrides.contains_key(parameter) {
        return (wanted.at.to_string(), true);
    }
    (server.set_at(parameter).map_or_else(|| words.main_cf(), ToString::to_string), false)
}

fn pointer_of(instance: &str, key: &str, wanted: &WantedListener, parameter: &str) -> String {
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
        Fix::here(text)
            .command(words.set_override(&format!("{}/inet", wanted.service), parameter, value))
            .config(wanted.at.file.clone(), Some(wanted.at.line), format!("-o {{ {parameter} = {value} }}"))
            .verify(words.show(parameter))
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
