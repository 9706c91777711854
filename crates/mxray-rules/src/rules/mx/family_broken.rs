//! MX114: a host is published with addresses of both families, and one family is dead there.

use crate::outside::{self, Contact};
use crate::reach::{Reached, addresses, dead_family, family, family_scope, in_words, others, port25};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{ExaminedEndpoint, RecordData};
use mxray_model::{Blind, Evidence, Finding, Mover, Severity};

pub const RULE: Rule = Rule {
    code: "MX114",
    name: "mx-family-broken",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a host is published with IPv4 and IPv6 addresses, and one of the two is dead there",
    page: include_str!("family_broken.md"),
    check,
};

/// The host itself refuses in this family.
const REFUSED: f32 = 0.95;
/// It is silent in this family, in which other hosts answer.
const OTHERS_ANSWER: f32 = 0.9;
/// No other host was tried in this family: our own way may be the broken one.
const ALONE: f32 = 0.6;

fn check(evidence: &Evidence) -> Said {
    outside::endpoints(evidence, &RULE)?;
    let mut judgement = Judgement::nothing();
    for (key, endpoint) in others(evidence) {
        let all: Vec<(Contact<'_>, Reached)> = addresses(key, endpoint).collect();
        let of = |ipv4: bool| all.iter().filter(move |(contact, _)| contact.seen.dial.peer.is_ipv4() == ipv4);
        let mut bad = false;
        for ipv4 in [true, false] {
            let dead: Vec<&(Contact<'_>, Reached)> = of(ipv4).collect();
            let other_works = of(!ipv4).any(|(_, reached)| *reached == Reached::Yes);
            let (Some(first), true) = (dead.first(), other_works) else { continue };
            if dead.iter().any(|(_, reached)| *reached == Reached::Yes) {
                continue;
            }
            bad = true;
            match blind(evidence, ipv4, &dead) {
                Some(why) => judgement.blind(&RULE, &Blind::NotAttempted { why }),
                None => judgement.find(finding(evidence, (key, endpoint), ipv4, first, &dead)),
            }
        }
        if !bad && all.iter().any(|(_, reached)| *reached == Reached::Yes) {
            judgement.well(format!("{key}: accepts connections in each family that it is published with"));
        }
    }
    Ok(judgement)
}

/// Why it cannot be told whose fault it is. `None`: it can.
fn blind(evidence: &Evidence, ipv4: bool, dead: &[&(Contact<'_>, Reached)]) -> Option<String> {
    let family = family(ipv4);
    if dead.iter().all(|(_, reached)| *reached == Reached::NoFamily) {
        return Some(format!("this host has no {family}"));
    }
    if dead.iter().any(|(_, reached)| matches!(reached, Reached::Here | Reached::NoFamily | Reached::Unknown)) {
        return Some(format!("this host's own {family} does not get that far"));
    }
    let refused = dead.iter().any(|(_, reached)| matches!(reached, Reached::Closed | Reached::Unwanted));
    (!refused && (dead_family(evidence, ipv4).len() > 1 || port25(evidence, ipv4).lost.len() > 1))
        .then(|| format!("no other host answers over {family} either: this host's own {family} is suspect"))
}

fn finding(
    evidence: &Evidence,
    (key, endpoint): (&str, &ExaminedEndpoint),
    ipv4: bool,
    (first, reached): &(Contact<'_>, Reached),
    dead: &[&(Contact<'_>, Reached)],
) -> Finding {
    let (this, other) = (family(ipv4), family(!ipv4));
    let answers = others(evidence).flat_map(|(key, endpoint)| addresses(key, endpoint)).any(|(contact, reached)| {
        contact.seen.dial.peer.is_ipv4() == ipv4 && !contact.from_same_host() && reached == Reached::Yes
    });
    let refused = dead.iter().all(|(_, reached)| matches!(reached, Reached::Closed | Reached::Unwanted));
    let confidence = match (refused, answers) {
        (true, _) => REFUSED,
        (false, true) => OTHERS_ANSWER,
        (false, false) => ALONE,
    };
    let name = outside::name(endpoint);
    let doubt = if confidence < OTHERS_ANSWER {
        format!(" No other host was reached over {this} from here.")
    } else {
        String::new()
    };
    let mut finding = RULE
        .finding(
            outside::subject(key),
            format!("{name} is published with {this} and {other} addresses, and over {this} nothing accepts connections.{doubt}"),
        )
        .confidence(confidence)
        .data("family", this)
        .data("addresses", dead.iter().map(|(contact, _)| contact.at.to_owned()).collect::<Vec<_>>())
        .because(
            format!("{}: {}.", first.name(), in_words(first, reached)),
            "connect(2)",
            first.pointer(&["dial", "outcome"]),
        )
        .touches(family_scope(ipv4))
        .reference("RFC 5321 section 5.1")
        .reference("RFC 8305");
    let works = addresses(key, endpoint).find(|(_, reached)| *reached == Reached::Yes);
    if let Some((works, _)) = works {
        finding =
            finding.because(format!("{}: connected.", works.name()), "connect(2)", works.pointer(&["dial", "outcome"]));
    }
    finding.whose_move = Mover::Receiver;
    let kind = if ipv4 { "A" } else { "AAAA" };
    let published = published(evidence, &endpoint.host, kind);
    let text = format!(
        "Have the mail server listen on {this} and let connections through, or take the {kind} record of {} away{published}.",
        endpoint.host
    );
    finding.fix(outside::step(endpoint, text).verify(outside::probe_command(endpoint, "")))
}

/// What the lookup showed, where there was one.
fn published(evidence: &Evidence, host: &str, kind: &str) -> String {
    let lookup = evidence.lookups.get(&mxray_model::evidence::Lookup::key(kind, host));
    let records = lookup.map(mxray_model::evidence::Lookup::found);
    let ttl = records.as_ref().and_then(|records| {
        let is_address = |data: &RecordData| matches!(data, RecordData::A { .. } | RecordData::Aaaa { .. });
        records.value()?.iter().filter(|record| is_address(&record.data)).map(|record| record.ttl_s).max()
    });
    ttl.map_or(String::new(), |ttl| format!(" (others keep it for up to {ttl} s)"))
}
