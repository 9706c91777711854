//! FW101: this host's own packet filters stop outgoing mail.

use crate::leaving::{self, Stopped};
use crate::rule::{Judgement, Rule, Said};
use crate::{filters, unprivileged};
use mxray_model::{Evidence, Finding, Seen, Severity};

pub const RULE: Rule = Rule {
    code: "FW101",
    name: "egress-blocked-here",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "this host's own packet filters stop what the mail server sends",
    page: include_str!("egress_blocked_here.md"),
    check,
};

/// The ruleset itself was read; packets of one kind stand for all.
const CONFIDENCE: f32 = 0.97;

fn check(evidence: &Evidence) -> Said {
    if let Seen::Unknown(blind) = &evidence.firewall {
        return unprivileged::egress(evidence, &RULE, blind);
    }
    let firewall = filters::firewall(evidence, &RULE)?;
    let found = leaving::find(evidence, firewall);
    let mut judgement = Judgement::nothing();
    for blind in &found.blind {
        judgement.blind(&RULE, blind);
    }
    for text in found.well {
        judgement.well(text);
    }
    for one in found.stopped.iter().filter(|one| !one.root_passes) {
        judgement.find(leaving::decorated(finding(one), firewall, one));
    }
    Ok(judgement)
}

fn finding(one: &Stopped<'_>) -> Finding {
    let how = filters::stopped_how(one.answer);
    let who = if one.answer.by.is_some() { "a rule" } else { "the policy" };
    let what = if one.answer.packet.state == "new" {
        format!("What {} sends to {} is {how} by {who} of this host itself", one.server, one.what)
    } else {
        format!("What {} answers to {} is {how} by {who} of this host itself", one.what, one.server)
    };
    RULE.finding_as(one.severity, one.subject.clone(), format!("{what}: {}.", one.effect))
        .confidence(CONFIDENCE)
        .reference("nft(8)")
        .reference("iptables(8)")
}
