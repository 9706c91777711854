//! LOOK004: no resolver of this host validates DNSSEC.

use crate::resolvers;
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::{DnssecAnswer, ResolverCheck};
use mxray_model::{Blind, Evidence, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "LOOK004",
    name: "resolver-not-validating",
    severity: Severity::Notice,
    since: "0.1.0",
    summary: "no resolver of this host validates DNSSEC",
    page: include_str!("resolver_not_validating.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    let mut plain: Vec<&ResolverCheck> = Vec::new();
    let (mut validates, mut blind) = (false, None);
    for check in evidence.resolver_checks.values() {
        match &check.dnssec {
            Seen::Value(DnssecAnswer::Validated) => validates = true,
            Seen::Value(DnssecAnswer::NotValidated | DnssecAnswer::Stripped) => plain.push(check),
            // Another root than the Internet's may not be signed.
            Seen::Value(DnssecAnswer::Unsigned) => {
                blind = Some(Blind::NotAttempted { why: "the root is not signed".to_owned() });
            }
            Seen::Absent => {}
            Seen::Unknown(why) => blind = Some(why.clone()),
        }
    }
    let Some(first) = plain.first().filter(|_| !validates) else {
        if validates {
            judgement.well("a resolver of this host validates DNSSEC".to_owned());
        } else {
            let none = || Blind::NotAttempted { why: "no resolver was asked".to_owned() };
            judgement.blind(&RULE, &blind.unwrap_or_else(none));
        }
        return Ok(judgement);
    };
    let addresses: Vec<String> = plain.iter().map(|check| check.server.ip().to_string()).collect();
    let strips = plain.iter().all(|check| check.dnssec == Seen::Value(DnssecAnswer::Stripped));
    let how = if strips { "takes signatures away" } else { "passes signatures on and does not check them" };
    let who = addresses.join(", ");
    let mut finding = RULE
        .finding(
            resolvers::subject(first.server.ip()),
            format!("{who} {how} (DNSSEC): mail servers of this host cannot use DANE by it, and forged answers are not noticed."),
        )
        .confidence(0.9)
        .data("servers", addresses)
        .reference("RFC 4035 section 3.2")
        .reference("RFC 7672 section 2.1")
        .fix(
            Fix::here("Run a resolver on this machine that validates, as unbound does, and name it in the file of name servers.")
                .command("dig +dnssec . SOA")
                .verify("mxray doctor"),
        );
    for check in plain {
        let text = format!(
            "{} answers for the signed SOA record of the root zone without the AD bit: it did not check the signature.",
            check.server
        );
        finding = finding.because(text, "SOA . with DO and AD", resolvers::pointer(check));
    }
    judgement.find(finding);
    Ok(judgement)
}
