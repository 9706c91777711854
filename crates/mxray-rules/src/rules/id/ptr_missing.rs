//! ID101: an address that mail leaves from and that has no name.

use crate::published::{self, Sender};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::{Evidence, Finding, Fix, Mover, Seen, Severity, reverse_name};

pub const RULE: Rule = Rule {
    code: "ID101",
    name: "ptr-missing",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "an address that mail leaves from has no name (PTR)",
    page: include_str!("ptr_missing.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for sender in published::judged(evidence, &RULE, &mut judgement) {
        match &sender.sender.pointers {
            Seen::Value(names) if names.is_empty() => judgement.find(finding(evidence, &sender)),
            Seen::Value(names) => judgement.well(format!("{} has the name {}", sender.text, names.join(", "))),
            Seen::Absent => judgement.find(finding(evidence, &sender)),
            Seen::Unknown(blind) => judgement.blind(&RULE, blind),
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, sender: &Sender<'_>) -> Finding {
    let at = sender.text;
    let question = reverse_name(sender.address);
    let summary =
        format!("Mail leaves from {at}, which has no name (PTR): large receivers refuse or defer it for that.");
    let wanted = sender.wanted_name(evidence);
    let name = wanted.unwrap_or("mail.example.org");
    let text = match wanted {
        Some(_) => format!("Have the provider of {at} give it the name {name}."),
        None => format!(
            "Have the provider of {at} give it the full name of this host; mail.example.org stands for it here."
        ),
    };
    let mut finding = RULE
        .finding(sender.subject(), summary)
        .confidence(0.97)
        .because(format!("There is no PTR record at {question}."), "DNS, PTR", sender.pointer(&["pointers"]))
        .data("question", question)
        .data("name", wanted)
        .reference("RFC 1912 section 2.1")
        .fix(sender.reverse_step(text, name));
    finding.whose_move = Mover::Network;
    let leads_here = sender.sender.hello.get(name).is_some_and(|hello| {
        hello.addresses.value().is_some_and(|all| all.iter().any(|one| one.to_canonical() == sender.address))
    });
    if leads_here {
        return finding;
    }
    let mut step = Fix::here(format!("Let {name} lead back to {at}; a name that does not is worth nothing (ID102)."))
        .record(name, published::address_kind(sender.address), at)
        .verify(sender.verify(Some(name)));
    step.who = format!("operator of the DNS zone of {name}");
    finding.fix(step)
}
