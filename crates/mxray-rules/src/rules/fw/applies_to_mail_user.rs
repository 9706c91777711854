//! FW114: a rule by user, group, mark or cgroup stops the mail server, and root's packets pass.

use crate::filters;
use crate::leaving::{self, Stopped};
use crate::rule::{Judgement, Rule, Said};
use crate::view;
use mxray_model::{Evidence, Finding, Severity};

pub const RULE: Rule = Rule {
    code: "FW114",
    name: "rule-applies-to-mail-user",
    severity: Severity::Critical,
    since: "0.1.0",
    summary: "a rule by user, group, mark or cgroup stops the mail server, while root's packets pass",
    page: include_str!("applies_to_mail_user.md"),
    check,
};

const CONFIDENCE: f32 = 0.97;

fn check(evidence: &Evidence) -> Said {
    let firewall = filters::firewall(evidence, &RULE)?;
    let found = leaving::find(evidence, firewall);
    let mut judgement = Judgement::nothing();
    let differs: Vec<&Stopped<'_>> = found.stopped.iter().filter(|one| one.root_passes).collect();
    for one in &differs {
        judgement.find(leaving::decorated(finding(one), firewall, one));
    }
    for blind in &found.blind {
        judgement.blind(&RULE, blind);
    }
    if differs.is_empty() && found.blind.is_empty() {
        judgement.well("no rule by user, group or cgroup stops the mail server and lets root pass");
    }
    Ok(judgement)
}

fn finding(one: &Stopped<'_>) -> Finding {
    let user = one.question.uid.map_or_else(String::new, |uid| format!(" (user {uid})"));
    let summary = format!(
        "The packet filter of this host stops {}{user} on the way to {}, and lets root pass: {}, and whoever tries it as root finds nothing wrong.",
        one.server, one.what, one.effect
    );
    RULE.finding_as(one.severity, one.subject.clone(), summary)
        .confidence(CONFIDENCE)
        .because(
            "The same packet of root passes.",
            "nf_tables",
            view::pointer(["firewall", "value", "questions", one.key, "as_root"]),
        )
        .reference("nft(8), \"meta skuid\"")
        .reference("iptables-extensions(8), \"owner\"")
}
