//! MX103: a domain that says it takes no mail (RFC 7505).

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::{DomainWhy, MailRoute};
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "MX103",
    name: "null-mx",
    severity: Severity::Info,
    since: "0.1.0",
    summary: "a domain says that it takes no mail",
    page: include_str!("null_mx.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        match routed.routing.route {
            MailRoute::Null => judgement.find(finding(&routed)),
            MailRoute::Servers { .. } | MailRoute::Implicit { .. } => {
                judgement.well(format!("{} takes mail", routed.name));
            }
            MailRoute::Nowhere | MailRoute::NoSuchDomain | MailRoute::Unknown { .. } => {}
        }
    }
    Ok(judgement)
}

fn finding(routed: &Routed<'_>) -> Finding {
    let name = routed.name;
    let goes_there = published::is_receiver(routed.domain);
    let served: Vec<&str> = routed.domain.why.iter().filter_map(server).collect();
    let (severity, summary) = match (goes_there, served.first()) {
        (true, _) => (
            Severity::Error,
            format!("{name} takes no mail, by its own word (null MX): mail from here to it comes back at once."),
        ),
        (false, Some(server)) => (
            Severity::Warning,
            format!(
                "{name} says that it takes no mail (null MX), and {server} here is configured to take mail for it."
            ),
        ),
        (false, None) => (RULE.severity, format!("{name} takes no mail, by its own word (null MX).")),
    };
    let text = match (goes_there && !published::is_ours(routed.domain), served.is_empty()) {
        (true, _) => "Write to another address: this domain is not meant to have recipients.",
        (false, false) => {
            "Decide: put MX records that name this host in place of it, or take the domain out of the server's domains."
        }
        (false, true) => "Nothing has to be done. Should it take mail one day, put MX records in place of the null MX.",
    };
    routed
        .finding(&RULE, severity, true, summary)
        .data("mail_goes_there", goes_there)
        .data("servers", served)
        .reference("RFC 7505 section 3")
        .fix(routed.step(text))
}

fn server(why: &DomainWhy) -> Option<&str> {
    match why {
        DomainWhy::Own { server } => Some(server.as_str()),
        _ => None,
    }
}
