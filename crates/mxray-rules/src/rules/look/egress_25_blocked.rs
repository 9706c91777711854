//! LOOK005: port 25 towards the Internet is closed to us, whoever the destination is.

use crate::outside::{self, Contact};
use crate::reach::{SMTP, WEB, egress_scope, in_words, port25, unrelated};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Blind, Evidence, Finding, Fix, Mover, Subject};

pub const RULE: Rule = Rule {
    code: "LOOK005",
    name: "egress-25-blocked",
    severity: mxray_model::Severity::Error,
    since: "0.1.0",
    summary: "port 25 of hosts that have nothing to do with each other is dead, and their port 443 answers: something near us stops it",
    page: include_str!("egress_25_blocked.md"),
    check,
};

/// Two hosts may be down, or dislike us, at the same time.
const TWO: f32 = 0.8;
const MORE: f32 = 0.95;
/// So many do that seldom.
const MANY: usize = 3;

fn check(evidence: &Evidence) -> Said {
    outside::endpoints(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    let families = [port25(evidence, true), port25(evidence, false)];
    let blocked: Vec<bool> = families.iter().map(|family| family.lost.len() > 1).collect();
    if blocked.contains(&true) {
        let lost: Vec<Contact<'_>> =
            families.iter().filter(|family| family.lost.len() > 1).flat_map(|family| family.lost.clone()).collect();
        judgement.find(finding(&lost));
        return Ok(judgement);
    }
    if let Some((contact, reached)) = families.iter().find_map(|family| family.open.as_ref()) {
        let how = in_words(contact, reached);
        judgement.well(format!("port 25 is open towards others: {}: {how}", contact.name()));
        return Ok(judgement);
    }
    if let Some(one) = families.iter().find_map(|family| family.lost.first()) {
        let why = format!("{} is dead and its port {WEB} answers; one host alone may be at fault itself", one.name());
        judgement.blind(&RULE, &elsewhere(why));
    } else if let Some((contact, reached)) = families.iter().find_map(|family| family.other.as_ref()) {
        let why = format!("{}: {}; nothing shows whose fault that is", contact.name(), in_words(contact, reached));
        judgement.blind(&RULE, &elsewhere(why));
    } else {
        judgement.blind(&RULE, &elsewhere("port 25 of no other host was tried".to_owned()));
    }
    Ok(judgement)
}

fn elsewhere(why: String) -> Blind {
    Blind::Elsewhere { why, look: "connections to more hosts: mxray doctor DOMAIN DOMAIN".to_owned() }
}

fn finding(lost: &[Contact<'_>]) -> Finding {
    let names: Vec<String> = lost.iter().map(Contact::name).collect();
    let is_ipv4 = |contact: &Contact<'_>| contact.seen.dial.peer.is_ipv4();
    let of = |ipv4: bool| lost.iter().any(|contact| is_ipv4(contact) == ipv4);
    let over = match (of(true), of(false)) {
        (true, false) => " over IPv4",
        (false, true) => " over IPv6",
        _ => "",
    };
    let count = unrelated(lost).len();
    let summary = format!(
        "Port 25 of {count} hosts that have nothing to do with each other cannot be reached from here{over}, while their port {WEB} answers: outgoing mail is blocked."
    );
    let mut finding = RULE
        .finding(Subject::host(), summary)
        .confidence(if count >= MANY { MORE } else { TWO })
        .data("hosts", names)
        .reference("RFC 5321 section 4.5.4.2")
        .reference("RFC 8314 section 3.3");
    for ipv4 in [true, false].into_iter().filter(|ipv4| of(*ipv4)) {
        finding = finding.touches(egress_scope(SMTP, ipv4));
    }
    let Some(first) = lost.first() else { return finding };
    for contact in lost.iter().take(MANY) {
        let reached = crate::reach::reached(&contact.seen.dial);
        let text = format!("{}: {}; port {WEB}: connected.", contact.name(), in_words(contact, &reached));
        finding = finding.because(text, "connect(2)", contact.pointer(&["dial", "outcome"]));
    }
    if let Some(way) = first.seen.dial.distance.value()
        && let Some(hop) = way.last_hop()
    {
        finding = finding.data("last_hop", hop.ttl).data("last_hop_address", hop.from.to_string()).because(
            format!("The last that was heard of is hop {}, {}.", hop.ttl, hop.from),
            "TTL",
            first.pointer(&["dial", "distance", "value"]),
        );
    }
    finding.whose_move = Mover::Network;
    let verify = outside::probe_command(first.endpoint, "");
    let here =
        Fix::here("Look whether this host's own filter stops it; a packet that it drops looks the same from here.")
            .command("nft list ruleset | grep -n -e 'dport 25' -e 'dport smtp'")
            .verify(verify.clone());
    let mut provider = Fix::here(
        "Ask the provider to open outgoing port 25 for this address; most have a form for it. Until then hand the mail to a relay on port 587 or 465, with a login.",
    )
    .verify(verify);
    provider.who = "provider".to_owned();
    finding.fix(here).fix(provider)
}
