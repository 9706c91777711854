//! LOOK003: the resolver makes up addresses for names that do not exist.

use crate::policies::no_domain;
use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use crate::zones;
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::{Evidence, Fix, Seen, Severity, Subject};

pub const RULE: Rule = Rule {
    code: "LOOK003",
    name: "resolver-rewrites",
    severity: Severity::Warning,
    since: "0.1.0",
    summary: "the resolver has addresses for names that do not exist",
    page: include_str!("resolver_rewrites.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    match &evidence.names.rewrites {
        Seen::Value(true) => {}
        Seen::Value(false) | Seen::Absent => {
            judgement.well("the resolver says of a name that nobody has that it does not exist".to_owned());
            return Ok(judgement);
        }
        Seen::Unknown(_) if evidence.names.domains.is_empty() => {
            judgement.blind(&RULE, &no_domain());
            return Ok(judgement);
        }
        Seen::Unknown(blind) => {
            judgement.blind(&RULE, blind);
            return Ok(judgement);
        }
    }
    let made_up = |lookup: &&Lookup| lookup.outcome == DnsOutcome::Found && zones::is_made_up(&lookup.name);
    let found: Vec<&Lookup> = evidence.lookups.values().filter(made_up).collect();
    let server = found.iter().find_map(|lookup| lookup.tries.last()).map(|one| one.server.ip());
    let subject = server.map_or_else(Subject::host, resolvers::subject);
    let who = server.map_or_else(|| "The resolver".to_owned(), |server| format!("The resolver {server}"));
    let mut addresses: Vec<String> = Vec::new();
    for address in found.iter().filter_map(|lookup| lookup.addresses().value().cloned()).flatten() {
        let text = address.to_string();
        if !addresses.contains(&text) {
            addresses.push(text);
        }
    }
    let says = addresses.first().map_or_else(String::new, |address| format!(" ({address})"));
    let summary = format!(
        "{who} has addresses for names that nobody has{says}: mail for misspelled domains waits for days instead of coming back, and lists seem to list everything."
    );
    let finding = RULE
        .finding(subject, summary)
        .confidence(0.9)
        .because("Names that were made up a moment ago have addresses.", "DNS, A", view::pointer(["names", "rewrites"]))
        .data("addresses", addresses)
        .reference("RFC 8020")
        .reference("RFC 5782 section 2.1")
        .fix(
            Fix::here(
                "Run a resolver on this machine that asks the domains' own name servers (unbound, for instance), or have the provider switch its help for typing errors off.",
            )
            .command("dig a-name-that-nobody-has.com A")
            .verify("mxray doctor"),
        );
    judgement.find(finding);
    Ok(judgement)
}
