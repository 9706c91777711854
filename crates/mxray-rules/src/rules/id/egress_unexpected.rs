//! ID108: mail that leaves from another address than the one that was meant.

use crate::prepared::{self, Spare};
use crate::published::{self, Sender};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::SpfVerdict;
use mxray_model::{Blind, Evidence, Finding, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "ID108",
    name: "egress-ip-unexpected",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "mail leaves from another address of this host than the one that DNS was prepared for",
    page: include_str!("egress_unexpected.md"),
    check,
};

/// The name in HELO alone: it may lead to another address by intent.
const BY_NAME: f32 = 0.7;
const BY_SPF: f32 = 0.9;

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for sender in published::judged(evidence, &RULE, &mut judgement).into_iter().filter(Sender::is_in_use) {
        let spares = prepared::spares(evidence, &sender);
        let by_spf = spares.iter().find_map(|spare| Some((spare, prepared::passes_instead(&sender, spare)?)));
        if let Some((spare, domain)) = by_spf {
            judgement.find(spf(evidence, &sender, spare, domain));
            continue;
        }
        if let Some((spare, name)) = spares.iter().find_map(|spare| Some((spare, name_instead(&sender, spare)?))) {
            judgement.find(hello(evidence, &sender, spare, name));
            continue;
        }
        match prepared::undecided(&sender) {
            Some(why) if !spares.is_empty() => judgement.blind(&RULE, &Blind::NotAttempted { why }),
            _ => judgement
                .well(format!("nothing says that mail was meant to leave from another address than {}", sender.text)),
        }
    }
    Ok(judgement)
}

/// The name in HELO leads to the other address and not to this one, which has no confirmed name.
fn name_instead<'a>(sender: &Sender<'a>, spare: &Spare<'_>) -> Option<&'a str> {
    if !sender.sender.confirmed.is_absent() {
        return None;
    }
    sender.sender.hello.iter().find_map(|(name, hello)| {
        let known = hello.addresses.value()?;
        let has = |address| known.iter().any(|one| one.to_canonical() == address);
        (has(spare.address) && !has(sender.address)).then_some(name.as_str())
    })
}

fn spf(evidence: &Evidence, sender: &Sender<'_>, spare: &Spare<'_>, domain: &str) -> Finding {
    let (at, other) = (sender.text, spare.text);
    let result = sender.sender.spf.get(domain).map_or("fail", |verdict| verdict.result.as_str());
    let summary = format!(
        "Mail leaves from {at}, and SPF of {domain} names {other}, another address of this host: receivers see \"{result}\"."
    );
    let reason = |verdict: Option<&SpfVerdict>| verdict.map(|verdict| verdict.reason.clone()).unwrap_or_default();
    finding(evidence, sender, spare, RULE.severity, summary)
        .confidence(BY_SPF)
        .because(
            format!("SPF of {domain} for {at}: {result}: {}", reason(sender.sender.spf.get(domain))),
            "SPF",
            sender.pointer(&["spf", domain]),
        )
        .because(
            format!("SPF of {domain} for {other}: pass: {}", reason(spare.sender.spf.get(domain))),
            "SPF",
            spare.pointer(&["spf", domain]),
        )
        .data("meant_by", format!("SPF of {domain}"))
}

fn hello(evidence: &Evidence, sender: &Sender<'_>, spare: &Spare<'_>, name: &str) -> Finding {
    let (at, other) = (sender.text, spare.text);
    let summary =
        format!("Mail leaves from {at}, and {name}, the name in HELO, leads to {other}, another address of this host.");
    finding(evidence, sender, spare, Severity::Warning, summary)
        .confidence(BY_NAME)
        .because(format!("{name} leads to {other}, not to {at}."), "DNS", sender.pointer(&["hello", name, "addresses"]))
        .data("meant_by", format!("HELO {name}"))
}

fn finding(
    evidence: &Evidence,
    sender: &Sender<'_>,
    spare: &Spare<'_>,
    severity: Severity,
    summary: String,
) -> Finding {
    let mut finding = RULE.finding_as(severity, sender.subject(), summary);
    for server in sender.servers() {
        finding = finding.touches(Subject::service(format!("{server} egress")));
    }
    finding
        .data("meant", spare.text)
        .reference("RFC 7208 section 2.2")
        .fix(prepared::bind_step(evidence, sender, spare))
}
