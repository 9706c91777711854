//! SPF101: no SPF record.

use crate::authentication::{Of, each, is_hidden, is_host_name, is_signed, public_prefixes, publish, spf};
use crate::rule::{Rule, Said};
use mxray_model::evidence::published::{SpfFlaw, SpfProblem, SpfSurvey};
use mxray_model::{Evidence, Finding, Seen, Severity};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SPF101",
    name: "spf-missing",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "a domain has no SPF record",
    page: include_str!("missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    each(evidence, &RULE, |of, judgement| match &of.domain.spf {
        Seen::Value(survey) if is_missing(survey) => judgement.find(finding(evidence, of, near_misses(survey))),
        Seen::Value(_) => judgement.well(format!("{} has an SPF record", of.name)),
        Seen::Absent => judgement.find(finding(evidence, of, Vec::new())),
        Seen::Unknown(blind) => judgement.blind(&RULE, blind),
    })
}

fn is_missing(survey: &SpfSurvey) -> bool {
    let missing = |problem: &SpfProblem| *problem == SpfProblem::Missing;
    survey.record.is_none() && survey.flaws.iter().any(|flaw| flaw.depth == 0 && missing(&flaw.problem))
}

/// Texts that are meant to be a record, with their places.
fn near_misses(survey: &SpfSurvey) -> Vec<(usize, &str, &str)> {
    fn near((at, flaw): (usize, &SpfFlaw)) -> Option<(usize, &str, &str)> {
        match &flaw.problem {
            SpfProblem::NotRecord { text, why } => Some((at, text, why)),
            _ => None,
        }
    }
    survey.flaws.iter().enumerate().filter_map(near).collect()
}

/// How bad it is, and for whom.
fn weight(evidence: &Evidence, of: &Of<'_>) -> (Severity, &'static str) {
    if !of.sends() {
        let parked = if of.is_parked() { Severity::Notice } else { RULE.severity };
        return (parked, "anybody can send in its name without SPF telling receivers otherwise");
    }
    if is_host_name(evidence, of.name) {
        return (
            Severity::Notice,
            "what this host writes in its own name, as of cron and for bounces, has no SPF result",
        );
    }
    match is_signed(evidence, of.name) {
        Seen::Value(true) => (RULE.severity, "its mail rests on DKIM alone"),
        _ => (Severity::Error, "large receivers refuse mail that neither SPF nor DKIM vouches for"),
    }
}

fn finding(evidence: &Evidence, of: &Of<'_>, near: Vec<(usize, &str, &str)>) -> Finding {
    let (severity, effect) = weight(evidence, of);
    let pointer = of.pointer(&["spf"]);
    let mut finding = RULE
        .finding_as(severity, of.subject(), format!("{} has no SPF record: {effect}.", of.name))
        .because(format!("no TXT record of {} begins with v=spf1", of.name), format!("TXT {}", of.name), pointer)
        .data("domain", of.name)
        .data("near", near.iter().map(|(_, text, _)| *text).collect::<Vec<_>>());
    for (at, text, why) in near {
        let pointer = of.pointer(&["spf", "value", "flaws", &at.to_string()]);
        finding = finding.because(format!("\"{text}\" is no record: {why}"), format!("TXT {}", of.name), pointer);
    }
    let (text, record) = proposed(evidence, of);
    finding
        .fix(spf::verified(publish(text, of.name, &record), of))
        .reference("RFC 7208 section 3")
        .reference("RFC 7208 section 10.1.2")
}

/// A record with the addresses that mail is known to leave from; or one that lets nobody send.
fn proposed(evidence: &Evidence, of: &Of<'_>) -> (String, String) {
    if !of.sends() && of.is_null_mx() {
        return ("If nothing is sent in its name, publish that.".to_owned(), "v=spf1 -all".to_owned());
    }
    let public = public_prefixes(evidence);
    let known = evidence.names.senders.keys().filter_map(|text| text.parse::<IpAddr>().ok());
    let addresses: BTreeSet<IpAddr> = known.filter(|address| !is_hidden(*address, &public)).collect();
    if !of.sends() || addresses.is_empty() {
        let text = "Publish a record that names every host that sends its mail; mx stands for those that take it. If nothing \
                    else sends, this is enough.";
        return (text.to_owned(), "v=spf1 mx ~all".to_owned());
    }
    let kind = |address: &IpAddr| if address.is_ipv4() { "ip4" } else { "ip6" };
    let terms: Vec<String> = addresses.iter().map(|address| format!("{}:{address}", kind(address))).collect();
    let text = "Publish a record with the addresses that mail leaves from; add those of everybody else who sends for it \
                before ~all, and make that -all when none is left out.";
    (text.to_owned(), format!("v=spf1 {} ~all", terms.join(" ")))
}
