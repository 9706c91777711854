//! DANE101: the domain's zone is not signed.

use crate::published;
use crate::rule::{Judgement, Rule, Said};
use crate::zones;
use mxray_model::evidence::published::{SecurityReason, SecurityState};
use mxray_model::{Evidence, Fix, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "DANE101",
    name: "dnssec-unsigned",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "the domain is not signed with DNSSEC",
    page: include_str!("dnssec_unsigned.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for (name, domain) in zones::domains(evidence, &RULE, &mut judgement) {
        // What others do not sign is theirs to decide.
        if !published::is_ours(domain) {
            continue;
        }
        let chain = match &domain.security {
            Seen::Value(chain) => chain,
            Seen::Absent => continue,
            Seen::Unknown(blind) => {
                judgement.blind(&RULE, blind);
                continue;
            }
        };
        match (chain.state, &chain.reason) {
            (SecurityState::Secure, _) => judgement.well(format!("{name} is signed with DNSSEC, from the root down")),
            (SecurityState::Insecure, Some(reason)) => {
                let old = matches!(reason, SecurityReason::Unsupported { .. });
                let step = if old {
                    "Sign the zone with an algorithm of today: ECDSAP256SHA256 (13) (RFC 8624 section 3.1)."
                } else {
                    "DANE needs it, nothing else does. To sign: let the operator of the zone switch DNSSEC on, and have the registrar publish the DS record."
                };
                let mut fix = Fix::here(step);
                fix.who = format!("operator of the DNS zone of {name}");
                let finding =
                    zones::finding(&RULE, RULE.severity, published::subject(name), domain, false, format!("{reason}."))
                        .because(
                            reason.to_string(),
                            chain.question.clone(),
                            published::pointer(name, &["security", "value"]),
                        )
                        .reference("RFC 7672 section 2.1")
                        .fix(fix.verify(format!("mxray domain --trace {name}")));
                judgement.find(finding);
            }
            // DANE102 speaks of it.
            (SecurityState::Bogus, _) => {}
            _ => {
                if let Some(blind) = chain.secure().blind() {
                    judgement.blind(&RULE, blind);
                }
            }
        }
    }
    Ok(judgement)
}
