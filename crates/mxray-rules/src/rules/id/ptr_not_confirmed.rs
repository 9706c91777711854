//! ID102: an address that mail leaves from whose names do not lead back.

use crate::published::{self, Sender};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Finding, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "ID102",
    name: "ptr-not-confirmed",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the name of an address that mail leaves from does not lead back to it",
    page: include_str!("ptr_not_confirmed.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for sender in published::judged(evidence, &RULE, &mut judgement) {
        let names = match &sender.sender.pointers {
            Seen::Value(names) if !names.is_empty() => names,
            // Without a name there is none to confirm (ID101).
            Seen::Value(_) | Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        match &sender.sender.confirmed {
            Seen::Value(good) => judgement.well(format!("{} leads back to {}", good.join(", "), sender.text)),
            Seen::Absent => judgement.find(finding(&sender, names)),
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

fn finding(sender: &Sender<'_>, names: &[String]) -> Finding {
    const SHOWN: usize = 3;
    let at = sender.text;
    let kind = published::address_kind(sender.address);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let verb = if names.len() == 1 { "has" } else { "have" };
    let summary = format!(
        "Mail leaves from {at}, whose name {shown}{more} does not lead back to it: receivers take it for a host without a name."
    );
    // The name that is said in HELO, where it is one of them.
    let name = names.iter().find(|name| sender.sender.hello.contains_key(*name)).or(names.first());
    let name = name.map_or("", String::as_str);
    let mut step = Fix::here(format!(
        "Give {name} this address; or have the provider of {at} put another name in the PTR record."
    ))
    .record(name, kind, at)
    .verify(sender.verify(Some(name)));
    step.who = format!("operator of the DNS zone of {name}");
    RULE.finding(sender.subject(), summary)
        .confidence(0.97)
        .because(format!("PTR of {at}: {shown}{more}."), "DNS, PTR", sender.pointer(&["pointers"]))
        .because(
            format!("{shown}{more} {verb} no {kind} record {at}."),
            format!("DNS, {kind}"),
            sender.pointer(&["confirmed"]),
        )
        .data("names", names.to_vec())
        .reference("RFC 1912 section 2.1")
        .reference("RFC 8601 section 2.7.3")
        .fix(step)
}
