//! ID105: a name in HELO that does not exist, or has no address.

use crate::published::{self, Sender};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::HelloName;
use mxray_model::{Evidence, Finding, Fix, Seen, Severity, Subject, SubjectKind};

pub const RULE: Rule = Rule {
    code: "ID105",
    name: "helo-unresolvable",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "the name that a mail server says in HELO has no address",
    page: include_str!("helo_unresolvable.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for sender in published::judged(evidence, &RULE, &mut judgement) {
        for (name, hello) in &sender.sender.hello {
            // What is no full name cannot be looked up at all (ID104).
            if !published::is_full(name) {
                continue;
            }
            match &hello.addresses {
                Seen::Value(_) => judgement.well(format!("{name}, which is said in HELO, has an address")),
                Seen::Absent => judgement.find(finding(&sender, name, hello)),
                Seen::Unknown(blind) => judgement.blind(&RULE, blind),
            }
        }
    }
    Ok(judgement)
}

fn finding(sender: &Sender<'_>, name: &str, hello: &HelloName) -> Finding {
    let at = sender.text;
    let servers: Vec<&str> = hello.servers.iter().map(String::as_str).collect();
    let who = if servers.is_empty() { "This host".to_owned() } else { servers.join(", ") };
    let summary = format!("{who} says {name} in HELO, a name without an address: many receivers refuse mail for that.");
    let mut step = Fix::here("Give the name this address; or let the server say a name that has one.")
        .record(name, published::address_kind(sender.address), at)
        .verify(sender.verify(Some(name)));
    step.who = format!("operator of the DNS zone of {name}");
    let kinds = "Neither an A nor an AAAA record";
    let mut finding = RULE
        .finding(Subject::new(SubjectKind::Name, name), summary)
        .confidence(0.96)
        .because(
            format!("{kinds} is found at {name}."),
            "DNS, A and AAAA",
            sender.pointer(&["hello", name, "addresses"]),
        )
        .data("name", name)
        .data("servers", servers)
        .reference("RFC 5321 section 2.3.5")
        .reference("RFC 5321 section 4.1.1.1")
        .touches(sender.subject());
    for server in &hello.servers {
        finding = finding.touches(Subject::service(format!("{server} egress")));
    }
    finding.fix(step)
}
