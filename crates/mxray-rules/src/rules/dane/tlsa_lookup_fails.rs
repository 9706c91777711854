//! DANE108: TLSA records of a host cannot be looked up, and its other records are signed: senders with DANE wait.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::evidence::published::{Domain, SecurityReason, SecurityState};
use mxray_model::evidence::{DnsOutcome, Lookup};
use mxray_model::text::shell_word;
use mxray_model::{Evidence, Fix, Severity};

pub const RULE: Rule = Rule {
    code: "DANE108",
    name: "tlsa-lookup-fails",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "the lookup of a mail host's TLSA records fails: senders that use DANE do not deliver",
    page: include_str!("tlsa_lookup_fails.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        let tlsa = domain.secured.iter().filter_map(|(key, chain)| Some((key.strip_prefix("TLSA ")?, chain)));
        for (asked, chain) in tlsa {
            let host = asked.strip_prefix("_25._tcp.").unwrap_or(asked);
            // Of a host whose addresses are not signed, nobody asks for TLSA records (RFC 7672 section 2.2.2).
            if !is_signed(domain, host) {
                continue;
            }
            let lookup = evidence.lookups.get(&Lookup::key("TLSA", asked));
            let failed = lookup
                .is_some_and(|lookup| matches!(&lookup.outcome, DnsOutcome::Refused { rcode } if rcode == "SERVFAIL"));
            let said = match (&chain.state, &chain.reason) {
                (SecurityState::Secure | SecurityState::Insecure, _) if !failed => {
                    judgement.well(format!("{host}: its TLSA records can be looked up"));
                    continue;
                }
                (SecurityState::Bogus, Some(reason)) if failed || zones::is_positive(reason) => reason.to_string(),
                (_, Some(SecurityReason::NotAnswered { why, .. })) if failed => why.clone(),
                _ if failed => "the name servers say SERVFAIL".to_owned(),
                _ => {
                    if let Some(blind) = chain.secure().blind() {
                        judgement.blind(&RULE, blind);
                    }
                    continue;
                }
            };
            judgement.find(finding((name, domain), asked, host, &said));
        }
    }
    Ok(judgement)
}

fn is_signed(domain: &Domain, host: &str) -> bool {
    let secure = |kind: &str| {
        let chain = domain.secured.get(&Lookup::key(kind, host));
        chain.is_some_and(|chain| chain.state == SecurityState::Secure && chain.denial.is_none())
    };
    secure("A") || secure("AAAA")
}

fn finding((name, domain): (&str, &Domain), asked: &str, host: &str, said: &str) -> mxray_model::Finding {
    let summary = format!(
        "The TLSA records of {host} cannot be looked up ({said}), and its addresses are signed: senders that use DANE keep their mail for {name}."
    );
    let mut fix = Fix::here(
        "Have the servers of the zone answer questions for TLSA, also where there are none: with NOERROR or NXDOMAIN, and the proof of it. Servers and firewalls that drop record types which they do not know are the usual cause.",
    );
    fix.who = format!("operator of the DNS zone of {host}");
    zones::finding(&RULE, RULE.severity, published::subject(name), domain, true, summary)
        .confidence(0.9)
        .because(
            format!("TLSA {asked}: {said}."),
            "DNS",
            published::pointer(name, &["secured", &Lookup::key("TLSA", asked)]),
        )
        .touches(zones::name_subject(asked))
        .data("host", host)
        .reference("RFC 7672 section 2.1.1")
        .fix(
            fix.command(format!("dig +dnssec {} TLSA", shell_word(asked)))
                .verify(format!("mxray domain {}", shell_word(name))),
        )
}
