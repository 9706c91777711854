//! MX102: a domain that exists and to which no mail can be sent.

use crate::published::{self, Routed};
use crate::rule::{Judgement, Rule, Said};
use mxray_model::evidence::published::MailRoute;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "MX102",
    name: "no-mail-target",
    severity: Severity::Error,
    since: "0.1.0",
    summary: "a domain exists and has neither MX nor address records: nobody can send to it",
    page: include_str!("no_mail_target.md"),
    check,
};

fn check(evidence: &Evidence) -> Said {
    let mut judgement = Judgement::nothing();
    for routed in published::routed(evidence, &RULE, &mut judgement) {
        match routed.routing.route {
            MailRoute::Nowhere => judgement.find(finding(evidence, &routed)),
            MailRoute::Servers { .. } | MailRoute::Implicit { .. } => {
                judgement.well(format!("{} says where its mail goes", routed.name));
            }
            // Null is MX103's, a name that does not exist DNS101's.
            MailRoute::Null | MailRoute::NoSuchDomain | MailRoute::Unknown { .. } => {}
        }
    }
    Ok(judgement)
}

fn finding(evidence: &Evidence, routed: &Routed<'_>) -> Finding {
    let name = routed.name;
    let writes = published::written_by(routed.domain);
    let ours = published::is_ours(routed.domain);
    // Debian has the machine's own name among the domains; where nothing is written in it, nobody misses it.
    let idle = ours && writes.is_none() && published::is_host_name(evidence, name);
    let severity = if idle { Severity::Notice } else { RULE.severity };
    let effect = match (ours, writes) {
        (false, _) => "mail from here to it comes back",
        (true, Some(_)) => "answers and bounces cannot be sent, and receivers refuse mail in its name for that",
        (true, None) => "no mail can be sent to it",
    };
    let target = routed.own_host(evidence).unwrap_or("mail.example.org");
    let known = routed.own_host(evidence).is_some();
    let step = match (ours, known) {
        (false, _) => routed.step("Tell the recipient by another way, or write to another address."),
        (true, true) => routed.step("Publish where its mail goes.").record(name, "MX", format!("10 {target}.")),
        // A domain with a null MX may send nothing (RFC 7505 section 4.2).
        (true, false) if writes.is_some() => {
            routed.step("Publish an MX record that names the host which takes its mail, answers and bounces above all.")
        }
        (true, false) => routed.step(
            "Publish an MX record that names the host which takes its mail. If it is to take none, and none is written in \
             its name, publish the null MX (RFC 7505).",
        ),
    };
    let finding = routed
        .finding(&RULE, severity, true, format!("{name} exists, and has no MX, A or AAAA record: {effect}."))
        .data("writes", writes.is_some())
        .reference("RFC 5321 section 5.1");
    finding.fix(step)
}
