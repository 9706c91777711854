//! ROUTE104: mail that leaves from an address which names were not prepared for, while another one of this host was.

use crate::prepared::{self, Spare};
use crate::published::{self, Sender};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Blind, Evidence, Finding, Fix, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "ROUTE104",
    name: "source-address-unprepared",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "mail leaves from an address without a name or outside SPF, and another own address has both",
    page: include_str!("source_unprepared.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for sender in published::judged(evidence, &RULE, &mut judgement).into_iter().filter(Sender::is_in_use) {
        let nameless = sender.sender.confirmed.is_absent();
        let refused = prepared::refused(&sender);
        let spares = prepared::spares(evidence, &sender);
        if !nameless && refused.is_empty() {
            match prepared::undecided(&sender) {
                Some(why) => judgement.blind(&RULE, &Blind::NotAttempted { why }),
                None => judgement.well(format!("names are prepared for {}, which mail leaves from", sender.text)),
            }
            continue;
        }
        match spares.iter().find(|spare| prepared::is_prepared(&sender, spare)) {
            Some(spare) => judgement.find(finding(evidence, &sender, spare, nameless, &refused)),
            // Then it is the address that has to be prepared (ID101, ID102, SPF117).
            None => judgement.well(format!("no other address of this host is better prepared than {}", sender.text)),
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, sender: &Sender<'_>, spare: &Spare<'_>, nameless: bool, refused: &[&str]) -> Finding {
    let (at, other) = (sender.text, spare.text);
    let mut lacks = Vec::new();
    if nameless {
        lacks.push(
            if sender.sender.pointers.is_absent() { "has no name (PTR)" } else { "has no name that leads back to it" }
                .to_owned(),
        );
    }
    if let Some(first) = refused.first() {
        let more = if refused.len() > 1 { format!(" and {} more", refused.len() - 1) } else { String::new() };
        lacks.push(format!("does not pass SPF of {first}{more}"));
    }
    let summary = format!(
        "Mail leaves from {at}, which {}; {other}, another address of this host, is prepared for it.",
        lacks.join(" and ")
    );
    let named = spare.sender.confirmed.value().into_iter().flatten().next().cloned().unwrap_or_default();
    let mut finding = RULE
        .finding(sender.subject(), summary)
        .confidence(0.92)
        .because(format!("{at} {}.", lacks.join(" and ")), "DNS", sender.pointer(&[]))
        .because(
            format!("{other} has the name {named}, which leads back to it."),
            "DNS, PTR",
            spare.pointer(&["confirmed"]),
        )
        .data("prepared", other)
        .data("nameless", nameless)
        .data("outside_spf_of", refused.to_vec())
        .data("bound", prepared::is_bound(sender))
        .reference("RFC 6724")
        .reference("ip-route(8), src");
    if let Some((text, pointer)) = prepared::route_reason(evidence, sender) {
        finding = finding.because(text, super::SOURCE, pointer);
    }
    for server in sender.servers() {
        finding = finding.touches(Subject::service(format!("{server} egress")));
    }
    let step = prepared::bind_step(evidence, sender, spare);
    let finding = finding.fix(step);
    if prepared::is_bound(sender) {
        return finding;
    }
    let to = published::sent_from(evidence, sender).first().map(|(_, answer)| answer.destination);
    let Some(to) = to else { return finding };
    let text = format!(
        "Or let the route say it: give it \"src {other}\" where the network is configured, so that all of this host's connections leave from there."
    );
    finding.fix(Fix::here(text).command(format!("ip route get {to}")).verify(format!("mxray routes {to}")))
}
