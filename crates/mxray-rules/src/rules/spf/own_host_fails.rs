//! SPF117: mail of this host does not pass SPF.

use crate::authentication::{Of, change, enforced, is_hidden, is_signed, listed, ours, public_prefixes, publish, spf};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::evidence::published::{DomainWhy, SenderAddress, SenderWhy, SpfResult, SpfVerdict};
use mxray_model::{Blind, Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};
use std::net::IpAddr;

pub const RULE: Rule = Rule {
    code: "SPF117",
    name: "spf-own-host-fails",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "an address that this host's mail leaves from does not pass SPF for a domain that it writes mail for",
    page: include_str!("own_host_fails.md"),
    check,
};

/// One domain that fails for an address.
struct Failed<'a> {
    of: Of<'a>,
    verdict: &'a SpfVerdict,
    severity: Severity,
    /// Its record with the address, and with the others that fail: who publishes one after the other keeps only the last.
    record: Option<String>,
}

fn check(evidence: &Evidence) -> Said {
    if evidence.names.domains.is_empty() || evidence.names.senders.is_empty() {
        let why = "no address that mail leaves from was looked at".to_owned();
        return Err(Judgement::cannot_tell(&RULE, &Blind::NotAttempted { why }));
    }
    let public = public_prefixes(evidence);
    let mut judgement = Judgement::nothing();
    for (text, sender) in &evidence.names.senders {
        let Some(address) = view::address_of(text) else { continue };
        if is_hidden(address, &public) {
            let why = format!("{text} is private: receivers see another address, which is not known here");
            judgement.blind(&RULE, &Blind::NotAttempted { why });
            continue;
        }
        let servers = servers(evidence, sender);
        if servers.is_empty() {
            judgement.well(format!("{text}: mail goes on through another host, whose address receivers see"));
            continue;
        }
        let mut failed = Vec::new();
        for of in ours(evidence).filter(|of| sends_from(evidence, of, &servers)) {
            failed.extend(fails(evidence, of, address, sender, &mut judgement));
        }
        if !failed.is_empty() {
            judgement.find(finding(text, &servers, &failed));
        }
    }
    Ok(judgement)
}

/// The servers whose mail receivers see come from the address; empty text: the operator says so. Those with a smarthost hand
/// theirs to it.
fn servers<'a>(evidence: &'a Evidence, sender: &'a SenderAddress) -> Vec<&'a str> {
    let direct = |name: &str| {
        let server = evidence.servers.value().and_then(|servers| servers.get(name));
        server.is_none_or(|server| server.egress.smarthosts.is_empty())
    };
    let each = sender.why.iter().filter_map(|why| match why {
        SenderWhy::Asked => Some(""),
        SenderWhy::Route { server } | SenderWhy::Bound { server } => direct(server).then_some(server.as_str()),
    });
    each.collect()
}

/// One of these servers writes mail in the domain's name. What a signer signs may be any server's.
fn sends_from(evidence: &Evidence, of: &Of<'_>, servers: &[&str]) -> bool {
    let known = |by: &str| evidence.servers.value().is_some_and(|servers| servers.contains_key(by));
    of.domain.why.iter().any(|why| match why {
        DomainWhy::Sends { by } => servers.contains(&"") || !known(by) || servers.contains(&by.as_str()),
        DomainWhy::Asked => servers.contains(&"") && !of.is_parked(),
        DomainWhy::Own { .. } | DomainWhy::Signs { .. } | DomainWhy::Receiver => false,
    })
}

fn fails<'a>(
    evidence: &Evidence,
    of: Of<'a>,
    address: IpAddr,
    sender: &'a SenderAddress,
    judgement: &mut Judgement,
) -> Option<Failed<'a>> {
    let verdict = match sender.spf.get(of.name) {
        Some(verdict) => verdict,
        None => {
            let why = format!("SPF of {} was not evaluated for {address}", of.name);
            judgement.blind(&RULE, &Blind::NotAttempted { why });
            return None;
        }
    };
    match verdict.result {
        SpfResult::Pass => judgement.well(format!("{address} passes SPF for {}", of.name)),
        SpfResult::None => judgement.well(format!("{} has no SPF record that {address} could fail", of.name)),
        SpfResult::TempError => {
            let (step, error) = (format!("SPF of {} for {address}", of.name), verdict.reason.clone());
            judgement.blind(&RULE, &Blind::Failed { step, error });
        }
        SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral | SpfResult::PermError => {
            let record = of.domain.spf.value().and_then(|survey| survey.record.as_deref());
            let record = record.and_then(|record| with_all(evidence, &of, record));
            let severity = severity(evidence, &of, verdict.result);
            return Some(Failed { of, verdict, severity, record });
        }
    }
    None
}

/// The record with all addresses that mail in the domain's name leaves from and that it does not have.
fn with_all(evidence: &Evidence, of: &Of<'_>, record: &str) -> Option<String> {
    let public = public_prefixes(evidence);
    let lacks = |sender: &SenderAddress| {
        let result = sender.spf.get(of.name).map(|verdict| verdict.result);
        let servers = servers(evidence, sender);
        matches!(result, Some(SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral))
            && !servers.is_empty()
            && sends_from(evidence, of, &servers)
    };
    let failing = evidence.names.senders.iter().filter(|(_, sender)| lacks(sender));
    let addresses =
        failing.filter_map(|(text, _)| view::address_of(text)).filter(|address| !is_hidden(*address, &public));
    // Each is put in front, so the last of them comes first.
    let addresses: Vec<IpAddr> = addresses.collect();
    let full = addresses
        .iter()
        .rev()
        .fold(record.to_owned(), |record, address| spf::with_address(&record, *address).unwrap_or(record));
    (full != record).then_some(full)
}

/// Receivers refuse `fail`. The rest counts against the mail, unless DMARC asks for refusal and nothing else vouches for it.
fn severity(evidence: &Evidence, of: &Of<'_>, result: SpfResult) -> Severity {
    let unsigned = is_signed(evidence, of.name) == Seen::Value(false);
    match result {
        SpfResult::Fail => Severity::Critical,
        _ if enforced(of.domain).is_some() && unsigned => Severity::Critical,
        SpfResult::Neutral => Severity::Warning,
        _ => Severity::Error,
    }
}

fn finding(text: &str, servers: &[&str], failed: &[Failed<'_>]) -> Finding {
    let severity = failed.iter().map(|one| one.severity).max().unwrap_or(RULE.severity);
    let results: Vec<String> =
        failed.iter().map(|one| format!("{} ({})", one.of.name, one.verdict.result.as_str())).collect();
    let effect = match severity {
        Severity::Critical => "receivers refuse its mail",
        _ => "receivers distrust its mail",
    };
    let summary = format!("{text}, which mail leaves from, does not pass SPF for {}: {effect}.", listed(&results));
    let domains: Vec<&str> = failed.iter().map(|one| one.of.name).collect();
    let mut finding = RULE
        .finding_as(severity, Subject::new(SubjectKind::Address, text), summary)
        .data("address", text)
        .data("domains", domains)
        .data("results", failed.iter().map(|one| one.verdict.result.as_str()).collect::<Vec<_>>());
    for server in servers.iter().filter(|server| !server.is_empty()) {
        finding = finding.touches(Subject::service(format!("{server} egress")));
    }
    for one in failed {
        let pointer = view::pointer(["names", "senders", text, "spf", one.of.name]);
        finding = finding.because(
            format!("SPF of {} for {text}: {}, {}", one.of.name, one.verdict.result.as_str(), one.verdict.reason),
            format!("TXT {}", one.of.name),
            pointer,
        );
        // What is wrong with the record itself explains that it comes to nothing.
        if one.verdict.result == SpfResult::PermError {
            finding = finding.touches(one.of.subject());
        }
        finding = finding.fix(step(text, one));
    }
    finding
        .fix(Fix::here(
            "Or have mail leave from an address that the record has: the address that the server binds to, or the routes, \
             decide which it is. Later changes of the network then change it again.",
        ))
        .reference("RFC 7208 section 2.6")
        .reference("RFC 7208 section 10.1")
}

fn step(text: &str, one: &Failed<'_>) -> Fix {
    let verify = format!("mxray domain {} --spf --ip {text}", one.of.name);
    let step = match (&one.record, one.verdict.result) {
        (Some(record), SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral) => publish(
            format!(
                "Have the SPF record of {} name all addresses that mail leaves from; receivers see it when the old record's TTL is over.",
                one.of.name
            ),
            one.of.name,
            record,
        ),
        _ => change(format!(
            "Mend the SPF record of {}, so that it can be evaluated, with ip4: or ip6: {text} in it.",
            one.of.name
        )),
    };
    step.verify(verify)
}
